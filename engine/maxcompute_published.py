"""Tables of a MaxCompute project that are not ours: rows of them, and rows written for others.

A table in a published layout has no facts, no digests and no zones, and its rows have no order. A
download session numbers them, which is all that a walk through a large table needs: first which
rows there are (their key columns only), then some of them, in ranges.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_ddl import listed, literal, odps_type, quoted, schema_of
from geoquarry.engine.maxcompute_download import Part, read_whole
from geoquarry.engine.maxcompute_errors import SessionGone
from geoquarry.engine.maxcompute_limits import (
    BATCH_BYTES,
    HELPER_BYTES,
    NAME_BYTES,
    check_comment,
    check_names,
    check_row,
)
from geoquarry.engine.maxcompute_note import maker, note_text
from geoquarry.engine.maxcompute_spool import Spool
from geoquarry.engine.maxcompute_tables import HELPER, drop_physical, helper_name
from geoquarry.engine.maxcompute_upload import upload
from geoquarry.schemas.errors import GeoquarryError, TableError, UnknownName, UsageError
from geoquarry.schemas.tables import facts

if TYPE_CHECKING:
    from geoquarry.engine.maxcompute import Engine

__all__ = ["PublishedTable", "SessionGone", "write_published"]

REQUEST_BYTES = BATCH_BYTES
"""About what one request brings; a single row may be larger."""
REQUEST_ROWS = 1024
"""At most, however small they are."""
NAME = re.compile(r"(\w+\.){0,2}[a-z]\w*", re.ASCII | re.IGNORECASE)


class PublishedTable:
    """A table of anybody's, its rows numbered as one download session shows them.

    Parameters
    ----------
    engine : Engine
    name : str
        As it is called in the project, or ``project.table``.

    Attributes
    ----------
    name : str
    columns : list of str

    Raises
    ------
    UnknownName
        There is no such table.
    UsageError
        It is partitioned.
    """

    def __init__(self, engine: "Engine", name: str) -> None:
        found = _lookup(engine.connection, name)
        partitions = [column.name for column in found.table_schema.partitions or ()]
        if partitions:
            raise UsageError(
                f"Table {name!r} is partitioned by {', '.join(partitions)}; the published ones are "
                "not. Copy what you need of it first: CREATE TABLE ... AS SELECT ... WHERE."
            )
        self.name = name
        self.columns = [column.name for column in found.table_schema.simple_columns]
        self._part = Part(engine.connection, name)

    def values(self, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """A few narrow columns of all rows, by number."""
        found = read_whole(self._part, columns)
        return list(zip(*(found.column(name).to_pylist() for name in columns), strict=True))

    def rows(self, numbers: Iterable[int], columns: Sequence[str]) -> Iterator[list[Any]]:
        """Some rows, in the order given; few are in memory at a time.

        Parameters
        ----------
        numbers : iterable of int
            As of `values`; those that follow each other come in one request.
        columns : sequence of str

        Raises
        ------
        SessionGone
            The numbers mean nothing any more: make a new object and look at `values` again.
        """
        fits = 1  # until the size of a row is known
        for run in runs(numbers):
            first = run.start
            while first < run.stop:
                found = self._part.read(columns, first, min(fits, run.stop - first))
                for place in range(found.num_rows):
                    yield [found.column(name)[place].as_py() for name in columns]
                first += found.num_rows
                each = max(found.nbytes // found.num_rows, 1)
                fits = max(1, min(REQUEST_BYTES // each, REQUEST_ROWS))


def runs(numbers: Iterable[int]) -> Iterator[range]:
    """Numbers as ranges of those that follow each other.

    >>> list(runs([3, 4, 5, 9, 1]))
    [range(3, 6), range(9, 10), range(1, 2)]
    """
    start = stop = 0
    for number in numbers:
        if number != stop or start == stop:
            if start != stop:
                yield range(start, stop)
            start = number
        stop = number + 1
    if start != stop:
        yield range(start, stop)


def write_published(
    engine: "Engine",
    name: str,
    columns: Mapping[str, pa.DataType],
    records: Iterable[Sequence[str]],
    *,
    about: str,
) -> int:
    """Make a table of these columns hold these records, and nothing else, in one commit.

    Parameters
    ----------
    engine : Engine
    name : str
        As it is called in the project. Made when it does not exist.
    columns : mapping of str -> pa.DataType
        int64 (BIGINT) or string.
    records : iterable of sequence of str
        Text also of numbers; empty is NULL. Spooled to the disk, one in memory at a time.
    about : str
        The table's comment.

    Returns
    -------
    rows : int

    Raises
    ------
    UsageError
        There is a table of that name with other columns, or one of ours; no record came.
    TableError
        A value that MaxCompute does not take.
    """
    connection = engine.connection
    schema = pa.schema(list(columns.items()))
    _refuse_other(connection, name, schema)
    check_names(name.rpartition(".")[2], list(columns))
    key = tuple(field.name for field in schema if pa.types.is_integer(field.type))
    with Spool(schema, engine.scratch()) as spool:
        for record in records:
            values = [
                pa.array([_cell(text, field.type)], field.type)
                for text, field in zip(record, schema, strict=True)
            ]
            batch = pa.RecordBatch.from_arrays(values, schema=schema)
            spool.add(batch, check_row(batch, name, key, connection.max_cell_bytes))
        spool.finish()
        if not spool.rows:
            raise UsageError(f"No row to write to {name!r}; it stays as it is.")
        # Beside the table first: whether an upload was done is told by how many rows are there, and
        # a table that is written again has often had as many before.
        own = connection.prefix + name.rpartition(".")[2].lower()
        staging = helper_name(own[: NAME_BYTES - HELPER_BYTES], "new")
        try:
            connection.execute(_create(staging, schema, note_text(maker())) + " LIFECYCLE 1")
            sent = upload(connection, staging, spool)
            connection.execute(_create(name, schema, about))
            connection.execute(
                f"INSERT OVERWRITE TABLE {_whole(name)}\n"  # nosec B608
                f"SELECT {listed(list(columns))} FROM {quoted(staging)}"
            )
        finally:
            with suppress(GeoquarryError):  # left over: the service deletes it after a day
                drop_physical(connection, staging)
        return sent.rows


def _lookup(connection: Connection, name: str) -> Any:
    """PyODPS's handle of a table, known to exist."""
    if not NAME.fullmatch(name) or HELPER.fullmatch(name.rpartition(".")[2].lower()):
        raise UsageError(
            f"{name!r} cannot be a published table: use NAME or PROJECT.NAME, of letters, digits "
            "and underscores, and none of the names of helpers such as aster__new_0123456789ab."
        )

    def ask() -> Any:
        table = connection.odps.get_table(name)
        table.reload()
        return table

    return connection.patiently(ask, f"table {name!r}")


def _refuse_other(connection: Connection, name: str, schema: pa.Schema) -> None:
    """Never replace a table that is not plainly one of this layout."""
    try:
        found = _lookup(connection, name)
    except UnknownName:
        return
    if facts(schema_of((), found.comment or "")):
        raise UsageError(
            f"{name!r} is a table of geoquarry's own layout and is not replaced by a published "
            "one. Choose another name."
        )
    there = {c.name.lower(): str(c.type).upper() for c in found.table_schema.columns}
    wanted = {field.name: odps_type(field.type) for field in schema}
    if there != wanted:
        odd = sorted(n for n in {*there, *wanted} if there.get(n) != wanted.get(n))
        raise UsageError(
            f"There is a table {name!r} with other columns ({', '.join(odd[:8])}). Only a table of "
            "the same layout and spelling is replaced: choose another name, or drop that one."
        )


def _create(name: str, schema: pa.Schema, about: str) -> str:
    columns = ", ".join(f"{quoted(field.name)} {odps_type(field.type)}" for field in schema)
    comment = literal(check_comment(about, f"Table {name!r}"))
    return f"CREATE TABLE IF NOT EXISTS {_whole(name)} ({columns}) COMMENT {comment}"


def _whole(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _cell(text: str, type_: pa.DataType) -> int | str | None:
    if text == "":
        return None
    if not pa.types.is_integer(type_):
        return text
    try:
        return int(text)
    except ValueError:
        raise TableError(f"{text[:40]!r} is no whole number, but the column holds such.") from None
