"""What a tile answers: a UDF is asked, its answer checked, and a failure is a row that says so.

The same on every engine, and without pyarrow, since some workers have none.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from geoquarry.schemas.blob import header
from geoquarry.schemas.errors import BlobError, TableError, UsageError

STATUS = ("ok", "partial", "empty", "failed")
GOOD = frozenset(STATUS[:3])
"""States of a row that a failed one never replaces."""
LONGEST_MESSAGE = 2000
OWN = ("grid", "tile_x", "tile_y", "method", "input_digest")
"""Columns of an answer that the engine writes, not the UDF."""
Udf = Callable[[Iterable[Mapping[str, Any]], "TileJob"], Mapping[str, Any]]


@dataclass(frozen=True)
class TileJob:
    """What a UDF is told about the tile it works on.

    Attributes
    ----------
    method : str
    params : dict
    sensor, grid : str
    tile_x, tile_y : int
    spill_dir : str
        A folder of its own, deleted afterwards.
    """

    method: str
    params: dict[str, Any]
    sensor: str
    grid: str
    tile_x: int
    tile_y: int
    spill_dir: str


@dataclass(frozen=True)
class Call:
    """One tile of a job as plain data; everything in it can be written as JSON.

    Attributes
    ----------
    method : str
    params : dict
    sensor, grid : str
    tile_x, tile_y : int
    input_digest : str
    granules : tuple of str
        Of its source rows; what a failed tile says it was made of.
    provenance : dict
        What the engine knows; what the UDF says is added.
    """

    method: str
    params: dict[str, Any]
    sensor: str
    grid: str
    tile_x: int
    tile_y: int
    input_digest: str
    granules: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What a table of answers takes.

    Attributes
    ----------
    names : tuple of str
        All its columns.
    rasters : dict of str -> str or None
        BINARY columns and the dtype that each declares.
    """

    names: tuple[str, ...]
    rasters: Mapping[str, str | None]


class Tile:
    """One tile from the call of its UDF to the row of its answer.

    Parameters
    ----------
    call : Call
    target : Target

    Examples
    --------
    >>> call = Call("toy", {}, "aster_l1t", "res-30_tilesize-96", 3, 5, "digest", ("G1",))
    >>> with Tile(call, Target(("status",), {})) as tile:
    ...     row = tile.row(lambda job: 1 / 0)
    >>> row["status"], row["message"], row["granules"]
    ('failed', 'ZeroDivisionError: division by zero', ['G1'])
    """

    def __init__(self, call: Call, target: Target) -> None:
        self.call, self.target = call, target
        try:
            self._spill_dir = tempfile.mkdtemp(prefix="geoquarry-")
        except OSError:  # a sandbox without such a place: all goes well unless a tile must spill
            self._spill_dir = ""
        self.job = TileJob(
            call.method,
            dict(call.params),
            call.sensor,
            call.grid,
            call.tile_x,
            call.tile_y,
            self._spill_dir,
        )

    def __enter__(self) -> "Tile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._spill_dir:
            shutil.rmtree(self._spill_dir, ignore_errors=True)

    def row(
        self,
        ask: Callable[[TileJob], Mapping[str, Any]],
        *,
        accept: Callable[[dict[str, Any]], Any] = lambda row: None,
        through: tuple[type[BaseException], ...] = (),
    ) -> dict[str, Any]:
        """The row of the target that this tile gives; ``failed`` with the reason if it has none.

        Parameters
        ----------
        ask : callable (TileJob) -> mapping
            Calls the UDF.
        accept : callable (row)
            Raises if the table cannot take the row: a wrong type is this tile's failure, too.
        through : tuple of exception types
            Not this tile's failure: they go on up.
        """
        call = self.call
        row: dict[str, Any] = {name: getattr(call, name) for name in OWN}
        try:
            answer = dict(ask(self.job))
            said = answer.pop("provenance", None) or {}
            row.update(checked(answer, self.target))
            row["provenance"] = json.dumps({**call.provenance, **said}, sort_keys=True)
            accept(row)
        except through:
            raise
        except Exception as error:
            row = {name: getattr(call, name) for name in OWN}
            row["status"] = "failed"
            row["message"] = f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
            row["granules"] = sorted(set(call.granules))
            row["provenance"] = json.dumps(call.provenance, sort_keys=True)
        row.setdefault("message", "")
        return row


def checked(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    """What a UDF answered, if it fits the target table.

    Raises
    ------
    TableError
        An unknown column or status, a missing or damaged raster, another dtype than declared.
    """
    status = answer.get("status")
    if status not in STATUS:
        raise TableError(
            f"The UDF answered status {status!r}; it must be one of {', '.join(STATUS)}."
        )
    unknown = set(answer) - set(target.names) | set(OWN) & set(answer)
    if unknown:
        raise TableError(
            f"The UDF answered columns that are not its own: {', '.join(sorted(unknown))}."
        )
    for name, declared in target.rasters.items():
        value = answer.get(name)
        if value is None:
            if status in ("ok", "partial") and declared is not None:
                raise TableError(f"The UDF answered status {status!r} but no {name!r}.")
            continue
        try:
            dtype = header(value).dtype
        except (BlobError, TypeError) as error:
            raise TableError(
                f"The UDF answered {name!r}, which is no tile blob: {error}"
            ) from error
        if declared is not None and dtype != declared:
            raise TableError(
                f"The UDF answered {name!r} as {dtype}, the table declares {declared}."
            )
    return {**answer, "granules": sorted(answer.get("granules") or [])}


def find_udf(name: str) -> Any:
    """The function behind ``package.module:function``.

    Raises
    ------
    UsageError
        No such module or function.

    Examples
    --------
    >>> find_udf("json:dumps") is json.dumps
    True
    """
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"No UDF {name!r} ({error}). Write it as package.module:function."
        ) from error
