"""The reference image of one tile: the same for all its granules, taken from one of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.row_values import RowIssue, raster, row_issue

COLUMNS = tuple(f"ref_{place}" for place in range(1, 8))


class TileReference:
    """Keeps the reference of the smallest granule id that has one, so that order cannot matter.

    Attributes
    ----------
    raster : int16, shape (reference band, y, x), or None
    """

    def __init__(self) -> None:
        self.raster: NDArray[np.int16] | None = None
        self._name = ""
        self._issues: list[dict[str, str]] = []

    def update(self, row: Mapping[str, Any]) -> None:
        """Take one source row; what cannot be read is listed."""
        name = str(row["granule_id"])
        if self.raster is not None and self._name <= name:
            return
        try:
            found = decode_reference(row)
        except RowIssue as issue:
            self._issues.append(row_issue(row, issue))
            return
        if found is not None:
            self._name, self.raster = name, found

    @property
    def issues(self) -> list[dict[str, str]]:
        """Those met on the way to the reference taken: the same in any order of the rows."""
        if self.raster is None:
            return self._issues
        return [issue for issue in self._issues if issue["granule_id"] < self._name]


def decode_reference(row: Mapping[str, Any]) -> NDArray[np.int16] | None:
    """Reference bands of a row: int16, shape (band, y, x); None where the row has none.

    Raises
    ------
    RowIssue
        A band is missing or damaged.
    """
    if all(row.get(name) is None for name in COLUMNS):
        return None
    bands = [raster(row, COLUMNS[0], None, ("int16",))]
    bands += [raster(row, name, bands[0].shape, ("int16",)) for name in COLUMNS[1:]]
    return np.stack(bands)
