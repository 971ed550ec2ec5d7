"""Where the ledger is kept: two tables of a SQL database, and how they look in Arrow."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine import URL, Connection, Engine

from geoquarry.engine.catalog import sqlite_url

LEDGER_FILE = "ledger.db"
BUSY_S = 10
"""How long SQLite waits for another process before it gives up, seconds."""
META = MetaData()
JOBS = Table(
    "geoquarry_jobs",
    META,
    Column("commit_id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("method", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("package_version", String(64), nullable=False),
    Column("request", Text),
    Column("retries", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("error_class", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("born", String(128), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("heard", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("seconds", Float),
    Column("snapshot_id", BigInteger),
    Column("cancel", Integer, nullable=False),
    Index("geoquarry_jobs_by_id", "job_id"),
)
UNITS = Table(
    "geoquarry_units",
    META,
    Column("commit_id", String(64), primary_key=True),
    Column("unit", String(700), primary_key=True),
    Column("item", Text, nullable=False),
    Column("tile_x", Integer),
    Column("tile_y", Integer),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("error_class", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("seconds", Float),
    sqlite_with_rowid=False,  # the key is the table: half the bytes to write
)
TABLES = {"jobs": JOBS, "units": UNITS}
"""What SQL calls ``geoquarry.jobs`` and ``geoquarry.units``."""
TIMES = ("started", "heard", "ended")
"""Columns that hold a time: microseconds since the epoch, UTC."""
_ARROW = {BigInteger: pa.int64(), Integer: pa.int32(), Float: pa.float64()}


def ledger_url(location: str) -> URL:
    """The ledger of a warehouse folder: a file of its own, so that no commit ever waits for it."""
    return sqlite_url(os.path.join(location, LEDGER_FILE)).update_query_dict(
        {"timeout": str(BUSY_S)}
    )


def connect(url: URL, *, own_file: bool) -> Engine:
    """A pool of connections; nothing is opened yet.

    Parameters
    ----------
    url : URL
    own_file : bool
        The database is a file that holds nothing else, so that it may be set up for many writers.
    """
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    if own_file:
        event.listen(engine, "do_connect", _as_it_lies)
        event.listen(engine, "connect", _for_many_writers)
    return engine


def _as_it_lies(_dialect: Any, _record: Any, words: list[Any], options: dict[str, Any]) -> None:
    """Where nothing may be written, a ledger that nobody has open is read as it lies.

    SQLite makes two files beside a WAL database to read it, unless it is told that none is needed:
    https://www.sqlite.org/wal.html#read_only_databases
    """
    path = words[0]
    if os.access(os.path.dirname(path), os.W_OK) or os.path.exists(f"{path}-wal"):
        return
    words[0] = f"{Path(path).as_uri()}?immutable=1"
    options["uri"] = True


def _for_many_writers(connection: Any, _record: Any) -> None:
    """Readers and the writer do not wait for each other; the disk is waited for by none.

    After a power cut the last second of the ledger may be missing, never more than that, and
    nothing of the tables.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def there(engine: Engine) -> bool:
    """Whether anything was ever recorded; a reader makes no ledger."""
    path = engine.url.database
    if engine.dialect.name == "sqlite" and not (path and os.path.exists(path)):
        return False
    return bool(inspect(engine).has_table(UNITS.name))


def make(engine: Engine) -> None:
    """Make the tables if missing."""
    META.create_all(engine)


def arrow_schema(table: Table) -> pa.Schema:
    """The schema of one of the two in Arrow.

    >>> str(arrow_schema(JOBS).field("started").type)
    'timestamp[us, tz=UTC]'
    """
    return pa.schema(
        [
            pa.field(
                column.name,
                pa.timestamp("us", "UTC")
                if column.name in TIMES
                else _ARROW.get(type(column.type), pa.string()),
            )
            for column in table.columns
        ]
    )


def read(connection: Connection | None, name: str) -> pa.Table:
    """All rows of ``jobs`` or ``units``, oldest job first; none without a connection."""
    table = TABLES[name]
    schema = arrow_schema(table)
    if connection is None:
        return schema.empty_table()
    if name == "jobs":
        chosen = select(JOBS).order_by(JOBS.c.started, JOBS.c.commit_id)
    else:
        chosen = select(UNITS).order_by(UNITS.c.commit_id, UNITS.c.unit)
    columns = list(zip(*connection.execute(chosen), strict=True))
    if not columns:
        return schema.empty_table()
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def plain(row: RowMapping) -> dict[str, Any]:
    """A row with times as such."""
    return {name: _time(value) if name in TIMES else value for name, value in row.items()}


def _time(value: int | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value / 1e6, UTC)
