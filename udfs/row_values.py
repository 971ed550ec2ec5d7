"""Values of one row of a `tiles` table, checked as they are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import InputError

AGAIN = "ingest the granule again"
OR_GIVE = "ingest the granule again, or give xa, xb, xc"
"""What to do about a row whose atmosphere is not known."""


class RowIssue(InputError):
    """One column of one row cannot be used."""

    def __init__(self, column: str, error: str) -> None:
        super().__init__(error)
        self.column = column


def row_issue(row: Mapping[str, Any], issue: RowIssue) -> dict[str, str]:
    """An issue as results list it."""
    return {"granule_id": str(row["granule_id"]), "column": issue.column, "error": str(issue)}


def sorted_issues(issues: list[dict[str, str]]) -> list[dict[str, str]]:
    """By granule, column and text, so that the order of the rows cannot matter."""
    return sorted(issues, key=lambda issue: (issue["granule_id"], issue["column"], issue["error"]))


def per_band(
    row: Mapping[str, Any], name: str, count: int, advice: str = AGAIN
) -> NDArray[np.float64]:
    """Finite numbers of a list column, one per band: float64, shape (band,).

    Raises
    ------
    RowIssue
        None (``advice`` says what to do), too few or too many, or not finite.

    Examples
    --------
    >>> per_band({"xa": [0.1, 0.2]}, "xa", 2)
    array([0.1, 0.2])
    """
    value = row.get(name)
    if value is None:
        raise RowIssue(name, f"row has no {name}; {advice}")
    array = _numbers(value)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise RowIssue(name, f"{count} finite numbers expected, one per band, found {value!r}")
    return array


def number(row: Mapping[str, Any], name: str, advice: str = AGAIN) -> float:
    """A finite number of a scalar column.

    Raises
    ------
    RowIssue
        None (``advice`` says what to do), or not finite.

    Examples
    --------
    >>> number({"aod550": 0.1}, "aod550")
    0.1
    """
    value = row.get(name)
    if value is None:
        raise RowIssue(name, f"row has no {name}; {advice}")
    array = _numbers(value)
    if array.shape != () or not np.isfinite(array):
        raise RowIssue(name, f"a finite number expected, found {value!r}; {advice}")
    return float(array)


def lattice(
    row: Mapping[str, Any], name: str, points: int, advice: str = AGAIN
) -> NDArray[np.float64] | None:
    """Values on a square lattice over the tile.

    Parameters
    ----------
    row : mapping
    name : str
        A list column, row-major from the tile's north-west corner.
    points : int
        Per side.
    advice : str
        What to do when it is damaged.

    Returns
    -------
    values : float64, shape (points, points)
        From the north, from the west; None where the row has no such lattice.

    Raises
    ------
    RowIssue
        Another number of points, or not finite.
    """
    value = row.get(name)
    if value is None:
        return None
    array = _numbers(value)
    if array.shape != (points * points,) or not np.isfinite(array).all():
        raise RowIssue(name, f"{points} x {points} finite numbers expected; {advice}")
    return array.reshape(points, points)


def whole(row: Mapping[str, Any], name: str) -> int:
    """A whole number that says where a window lies.

    Raises
    ------
    RowIssue
        None.
    """
    value = row.get(name)
    if value is None:
        raise RowIssue(name, f"row does not say where its window lies; {AGAIN}")
    return int(value)


def raster(
    row: Mapping[str, Any], name: str, shape: tuple[int, ...] | None, dtypes: Sequence[str]
) -> NDArray[Any]:
    """A raster out of its blob.

    Parameters
    ----------
    row : mapping
    name : str
    shape : (int, int) or None
        It must have; None = any.
    dtypes : sequence of str
        It may have.

    Returns
    -------
    raster : array, shape (y, x)

    Raises
    ------
    RowIssue
        Missing, damaged, or another shape or dtype.
    """
    value = row.get(name)
    if value is None:
        raise RowIssue(name, "the raster is missing")
    try:
        array = decode(value)
    except (InputError, TypeError, ValueError) as error:
        raise RowIssue(name, str(error)) from error
    if array.dtype.name not in dtypes or (shape is not None and array.shape != shape):
        wanted = f"{' or '.join(dtypes)}" + ("" if shape is None else f" {shape}")
        raise RowIssue(name, f"{wanted} expected, {array.dtype.name} {array.shape} found")
    return array


def _numbers(value: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return np.full(0, np.nan)
