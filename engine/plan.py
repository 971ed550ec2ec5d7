"""From a condition to tasks: which rows of which files make up each tile. No pixel is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from geoquarry.engine.choose import rows_wanted
from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST, ROW_GROUP
from geoquarry.engine.index import FILE, load_index
from geoquarry.engine.table import Table
from geoquarry.engine.where import condition
from geoquarry.schemas.job import Lookup


@dataclass(frozen=True, slots=True)
class RowRef:
    """Where one row lies.

    Attributes
    ----------
    file : str
        Data file, relative to the table's ``data/`` folder.
    row_group : int
    granule_id : str
        Empty in tables without granules.
    row_digest : str
    nbytes : int
    """

    file: str
    row_group: int
    granule_id: str
    row_digest: str
    nbytes: int
    given: Mapping[str, Any] | None = None
    """Columns of other tables that join this row."""


@dataclass(frozen=True, slots=True)
class TileTask:
    """One tile and its rows, sorted by granule."""

    tile_x: int
    tile_y: int
    rows: tuple[RowRef, ...]
    given: Mapping[str, Any] | None = None
    """Columns of other tables that join every row of the tile."""


def plan(
    table: Table,
    where: str = "",
    tiles: Sequence[tuple[int, int]] | None = None,
    snapshot_id: int | None = None,
) -> list[TileTask]:
    """Group the rows that satisfy a condition by tile.

    Parameters
    ----------
    table : Table
    where : str
        SQL on non-BINARY columns; date literals mean UTC.
    tiles : sequence of (tile_x, tile_y), optional
        Only these.
    snapshot_id : int, optional
        Default: the current snapshot.

    Returns
    -------
    tasks : list of TileTask
        By tile_y, then tile_x.

    Raises
    ------
    UsageError
        The condition cannot be read or is refused, or fails on the data (e.g. a bad cast).
    """
    granules = "granule_id" in table.schema.names
    granule = '"granule_id"' if granules else "''"
    found = select_index(
        table,
        f"tile_x, tile_y, {FILE}, {ROW_GROUP}, {granule}, {ROW_DIGEST}, {ROW_BYTES}",
        where,
        tiles,
        snapshot_id,
        order=f"tile_y, tile_x, {granule + ', ' if granules else ''}{FILE}, {ROW_GROUP}",
    )
    lists = [column.to_pylist() for column in found.columns]
    tasks = []
    for (x, y), rows in groupby(zip(*lists, strict=True), key=itemgetter(0, 1)):
        tasks.append(TileTask(x, y, tuple(RowRef(*row[2:]) for row in rows)))
    return tasks


def looked_up(table: Table, lookup: Lookup) -> list[dict[str, Any]]:
    """The rows of a small table that a lookup names: its key and its columns."""
    names = ", ".join(f'"{name}"' for name in (*lookup.on, *lookup.columns))
    found: list[dict[str, Any]] = select_index(table, names, snapshot_id=lookup.as_of).to_pylist()
    return found


def attach(
    tasks: Iterable[TileTask], lookup: Lookup, rows: Iterable[Mapping[str, Any]]
) -> list[TileTask]:
    """Tasks whose rows know what a small table says about them.

    Parameters
    ----------
    tasks : iterable of TileTask
    lookup : Lookup
        By ``granule_id``, or by ``tile_x`` and ``tile_y``.
    rows : iterable of mapping
        Of the table that the lookup names, with its key and its columns; see `looked_up`.
    """
    known = {
        tuple(row[name] for name in lookup.on): {name: row[name] for name in lookup.columns}
        for row in rows
    }
    nothing = dict.fromkeys(lookup.columns)
    if lookup.on == ("granule_id",):

        def join(ref: RowRef) -> RowRef:
            own = known.get((ref.granule_id,), nothing)
            return replace(ref, given={**(ref.given or {}), **own})

        return [replace(task, rows=tuple(map(join, task.rows))) for task in tasks]

    def place(task: TileTask) -> TileTask:
        own = known.get((task.tile_x, task.tile_y), nothing)
        return replace(task, given={**(task.given or {}), **own})

    return [place(task) for task in tasks]


def select_index(
    table: Table,
    select: str,
    where: str = "",
    tiles: Iterable[tuple[int, int]] | None = None,
    snapshot_id: int | None = None,
    order: str = "",
) -> pa.Table:
    """Ask the index of a table; ``select`` and ``order`` are ours, ``where`` is the user's."""
    wanted = condition(where, table.schema)
    names = [n for n in table.schema.names if f'"{n}"' in f"{wanted} {select}"]
    index = load_index(table, [*table.layout.key, *names], snapshot_id)
    return rows_wanted(
        index, table.name, select=select, wanted=wanted, where=where, tiles=tiles, order=order
    )
