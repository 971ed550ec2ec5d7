"""What MaxCompute takes at most, checked here before a byte is sent.

Documented by the service: "SQL limits" (names, comments, columns, cells, SQL text) and "overview of
the data transmission service" (records, blocks, sessions). The tunnel client checks none of them
for Arrow data, and the service says so only after everything was sent.
"""

import re
from collections.abc import Iterator

import pyarrow as pa

from geoquarry.schemas.errors import TableError, UsageError

CELL_BYTES = 8 * 2**20
"""One value; a project may have its own maximum (``odps.sql.cfile2.field.maxsize``)."""
RECORD_BYTES = 200 * 10**6
"""One row through the tunnel."""
COLUMNS = 1200
NAME_BYTES = 128
HELPER_BYTES = 53
"""Of the longest ending of a helper table: ``__result_``, 8 of a job's id, 32 of a commit's, 4."""
COMMENT_BYTES = 1024
SQL_BYTES = 2 * 2**20
PARTITIONS = 60_000
"""Of one table."""
PARTITIONS_READ = 10_000
"""By one statement."""
PARTITIONS_WRITTEN = 10_000
"""By one statement: more fail ("a single instance cannot output data to more than 10000
partitions", https://www.alibabacloud.com/help/en/maxcompute/user-guide/odps-0123031), and an INSERT
OVERWRITE of more would not be atomic, see "ACID semantics"."""
PARTITIONS_OF_WORKER = 512
"""By one process of a statement ("Insert or overwrite data into dynamic partitions",
https://www.alibabacloud.com/help/en/maxcompute/user-guide/insert-or-overwrite-data-into-dynamic-partitions)."""
BLOCKS = 20_000
"""Blocks of one upload session."""
BATCH_BYTES = 16 * 2**20
"""Most of one Arrow batch, unless a single row has more."""
BLOCK_BYTES = 64 * 2**20
"""What one block of an upload holds: fewer blocks than seconds, so that no rate limit is met."""


def check_names(table: str, names: list[str]) -> None:
    """Refuse a table that MaxCompute cannot hold.

    Raises
    ------
    UsageError
        A table name that does not begin with a letter, or is too long.
    TableError
        Too many columns, or one with a capital letter, which the service would not keep.

    Examples
    --------
    >>> check_names("_new", ["a"])
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: '_new' cannot be a table of MaxCompute: ...
    """
    if not table[:1].isalpha() or len(table.encode()) > NAME_BYTES:
        raise UsageError(
            f"{table!r} cannot be a table of MaxCompute: a name begins with a letter and has at "
            f"most {NAME_BYTES} bytes."
        )
    if len(names) > COLUMNS:
        raise TableError(
            f"Table {table!r} would have {len(names)} columns; MaxCompute takes {COLUMNS}."
        )
    capital = [name for name in names if name != name.lower()]
    if capital:
        raise TableError(
            f"Table {table!r}: MaxCompute knows no capital letters in names of columns; rename "
            f"{', '.join(capital)}."
        )


def check_prefix(prefix: str) -> str:
    """A prefix of all names as it came in, if names can begin with it.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> check_prefix("me_")
    'me_'
    """
    if prefix and not re.fullmatch(r"[a-z]\w*", prefix, re.ASCII):
        raise UsageError(
            f"Prefix {prefix!r}: names in MaxCompute begin with a letter and have letters, digits "
            "and underscores."
        )
    if prefix:
        check_room(f"{prefix}x")
    return prefix


def check_room(table: str) -> None:
    """Refuse a name, prefix included, that leaves no room for those of its helper tables.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> check_room("a" * 75)
    >>> check_room("a" * 76)
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: 'a...a' has 76 bytes, its prefix included, of 75 ...
    """
    size, most = len(table.encode()), NAME_BYTES - HELPER_BYTES
    if size > most:
        raise UsageError(
            f"{table!r} has {size} bytes, its prefix included, of {most} that a table's name may "
            f"have here: MaxCompute takes {NAME_BYTES}, and helper tables such as "
            f"{table[:12]}...__result_... add {HELPER_BYTES}. Choose a shorter name or --prefix."
        )


def check_zones(table: str, *, have: int, new: int, written: int, read: int) -> None:
    """Refuse a commit that MaxCompute cannot do in one statement, or a table cannot hold.

    Parameters
    ----------
    table : str
    have, new : int
        Zones (partitions) of the table, and those that the commit adds.
    written, read : int
        By the statement.

    Raises
    ------
    TableError

    Examples
    --------
    >>> check_zones("aster", have=59_999, new=2, written=2, read=0)
    Traceback (most recent call last):
    geoquarry.schemas.errors.TableError: Table 'aster' has 59999 zones and would get 2 more; ...
    """
    less = "Work on fewer tiles at a time (--tiles, --where; fewer scenes when ingesting)"
    if have + new > PARTITIONS:
        raise TableError(
            f"Table {table!r} has {have} zones and would get {new} more; MaxCompute takes "
            f"{PARTITIONS} partitions per table, and nothing was sent. Keep another table for "
            "another region, or use a grid of larger tiles."
        )
    if written > PARTITIONS_WRITTEN:
        raise TableError(
            f"Table {table!r}: {written} zones would be written at once; MaxCompute writes "
            f"{PARTITIONS_WRITTEN} partitions in one statement, and nothing was sent. {less}."
        )
    if read > PARTITIONS_READ:
        raise TableError(
            f"Table {table!r}: rows of {read} zones would have to be compared; MaxCompute reads "
            f"{PARTITIONS_READ} partitions in one statement, and nothing was sent. {less}, or keep "
            "another table for another region."
        )


def spread(zones: int) -> dict[str, str]:
    """Settings of a statement that writes many partitions: enough workers for all of them.

    Rows go to workers by their partition (``reshuffle``, which is the default), so four times the
    workers that would do leave room for chance.

    >>> spread(512), spread(513)["odps.stage.reducer.num"]
    ({}, '5')
    """
    if zones <= PARTITIONS_OF_WORKER:
        return {}
    workers = -(-4 * zones // PARTITIONS_OF_WORKER)
    return {"odps.sql.reshuffle.dynamicpt": "true", "odps.stage.reducer.num": str(workers)}


def check_comment(text: str, what: str) -> str:
    """A comment as it came in, if it is short enough.

    Raises
    ------
    TableError
    """
    if len(text.encode()) > COMMENT_BYTES:
        raise TableError(
            f"{what}: {len(text.encode())} bytes of description; MaxCompute takes {COMMENT_BYTES}."
        )
    return text


def check_sql(text: str) -> str:
    """A statement as it came in, if it is short enough.

    Raises
    ------
    UsageError
    """
    size = len(text.encode())
    if size > SQL_BYTES:
        raise UsageError(
            f"A statement of {size / 2**20:.1f} MiB is over MaxCompute's limit of 2 MiB. Work on "
            "fewer tiles at a time (--tiles, --where)."
        )
    return text


def check_row(
    batch: pa.RecordBatch, table: str, key: tuple[str, ...], cell_bytes: int = CELL_BYTES
) -> int:
    """Refuse a one-row batch with a value or a sum that MaxCompute does not take.

    Parameters
    ----------
    batch : pa.RecordBatch
        One row as it will be sent.
    table : str
    key : tuple of str
        Columns that name the row in an error.
    cell_bytes : int
        Largest value.

    Returns
    -------
    largest : int
        Bytes of its largest value.

    Raises
    ------
    TableError
        Names row and column.
    """
    sizes = dict(_sizes(batch))
    largest = max(sizes, key=lambda name: sizes[name])
    if sizes[largest] > cell_bytes:
        raise TableError(
            f"Table {table!r}, row {_named(batch, key)}, column {largest!r}: "
            f"{sizes[largest] / 2**20:.2f} MiB; MaxCompute takes {cell_bytes / 2**20:g} MiB per "
            "value. Use a grid of smaller tiles, or have the project's maximum raised "
            "(odps.sql.cfile2.field.maxsize) and give max_cell_bytes."
        )
    total = sum(sizes.values())
    if total > RECORD_BYTES:
        raise TableError(
            f"Table {table!r}, row {_named(batch, key)}: {total / 1e6:.0f} MB; MaxCompute takes "
            f"{RECORD_BYTES / 1e6:.0f} MB per row. Use a grid of smaller tiles."
        )
    return sizes[largest]


def _sizes(batch: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        value = column[0]
        if not value.is_valid:
            yield name, 0
        elif pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            yield name, value.as_buffer().size
        else:
            yield name, column.slice(0, 1).nbytes


def _named(batch: pa.RecordBatch, key: tuple[str, ...]) -> str:
    return ", ".join(f"{name}={batch.column(name)[0].as_py()!r}" for name in key)
