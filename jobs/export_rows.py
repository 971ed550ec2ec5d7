"""The rows of an export: what there is, then one by one, so that damage costs only its own rows."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from geoquarry.engine.exchange import rows_of
from geoquarry.engine.files import UNREADABLE
from geoquarry.engine.local import Engine
from geoquarry.schemas.errors import TableError

Row = dict[str, Any]
Found = tuple[Row, Exception | None]
"""A row with its rasters, or as it was listed and why it cannot be read."""
DONE_STATUS = ("ok", "partial")
TROUBLE = (TableError, *UNREADABLE)
"""What a data file that cannot be read looks like."""
PATIENCE_S = 120.0
"""Nothing could be read for that long: no damaged file but a storage that does not answer."""


def listed(
    engine: Engine,
    table: str,
    kind: str,
    tiles: Sequence[tuple[int, int]] | None,
    as_of: int | None,
) -> Iterator[tuple[Row, tuple[str, str] | None]]:
    """Rows without their rasters, and why there is no map: ``empty`` or ``failed``, in words.

    Raises
    ------
    TableError
        The table has no rows here.
    """
    more = ["status", "message"] if kind == "results" else ["granule_id"]
    found = engine.read(table, ["tile_x", "tile_y", *more], as_of=as_of, tiles=tiles)
    rows = list(rows_of(found))
    if not rows:
        raise TableError(f"Nothing to export: {table!r} has no rows{' there' if tiles else ''}.")
    times = Counter(map(key_of, rows))
    for row in rows:
        status = row.get("status", "ok")
        if status not in DONE_STATUS:
            said = f"{status}: {row['message'] or 'no reason given'}"
            yield row, ("empty" if status == "empty" else "failed", said)
        elif (number := times.pop(key_of(row), 0)) > 1:
            said = f"its key is in {table!r} {number} times. `geoquarry check` lists the files."
            yield row, ("failed", said)
        elif number:  # else the same key again, which was told
            yield row, None


def each(
    engine: Engine,
    table: str,
    columns: Sequence[str],
    wanted: Sequence[Row],
    as_of: int | None,
    check: Callable[[], None],
) -> Iterator[Found]:
    """Rows with their rasters, one in memory.

    All are read in one go. Where that breaks off, the next row is the one that cannot be read: it
    is tried by itself, and the others are read on from there.

    Parameters
    ----------
    engine : Engine
    table : str
    columns : sequence of str
        The key and status among them.
    wanted : sequence of dict
        Rows as `listed` gave them, in that order.
    as_of : int or None
        The snapshot that they are of.
    check : callable
        Asked between rows whether to go on; what it raises ends everything.
    """
    left = {key_of(row): row for row in wanted}
    last = time.monotonic()
    while left:
        try:
            tiles = [key[:2] for key in left]
            with closing(engine.read(table, columns, as_of=as_of, tiles=tiles)) as reader:
                for row in rows_of(reader):
                    check()
                    if left.pop(key_of(row), None) is not None:
                        yield row, None
                        last = time.monotonic()
            break
        except TROUBLE:
            check()
            if time.monotonic() - last > PATIENCE_S:
                raise
            key = next(iter(left))
            yield _alone(engine, table, columns, left.pop(key), as_of)
    for row in left.values():
        yield row, _elsewhere(table)


def _alone(
    engine: Engine, table: str, columns: Sequence[str], row: Row, as_of: int | None
) -> Found:
    """One row by itself."""
    where = ""
    if "granule_id" in row:
        where = "granule_id = '{}'".format(row["granule_id"].replace("'", "''"))
    try:
        tile = [(row["tile_x"], row["tile_y"])]
        with closing(engine.read(table, columns, where, as_of=as_of, tiles=tile)) as reader:
            for found in rows_of(reader):
                if key_of(found) == key_of(row):
                    return found, None
    except TableError as error:
        return row, error
    except TROUBLE as error:
        said = f"Table {table!r} cannot be read there: {error}. `geoquarry check` says where."
        return row, TableError(said)
    return row, _elsewhere(table)


def _elsewhere(table: str) -> TableError:
    said = f"Table {table!r}: the data file of that row holds another one."
    return TableError(f"{said} `geoquarry check` says which.")


def key_of(row: Row) -> tuple[Any, ...]:
    """What tells the rows of one table apart."""
    return row["tile_x"], row["tile_y"], row.get("granule_id", "")
