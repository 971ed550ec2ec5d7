"""Targets of SQL: the statement that starts a job, conditions, and SELECT."""

import atexit
import datetime as dt

import duckdb
import pyarrow as pa
from fuzz.registry import Target, words

from geoquarry.engine.duck import connect
from geoquarry.engine.sql import parse_select, reads_whole_rows, table_names
from geoquarry.engine.where import condition
from geoquarry.jobs.statement import read_statement
from geoquarry.schemas.tables import ISSUE, TIMESTAMP

SCHEMA = pa.schema(
    [
        pa.field("tile_x", pa.int32(), nullable=False),
        ("granule_id", pa.string()),
        ("acquired", TIMESTAMP),
        ("aod550", pa.float64()),
        ("xa", pa.list_(pa.float64())),
        ("issues", pa.list_(ISSUE)),
        ("b01", pa.binary()),
    ]
)
ROWS = pa.Table.from_pylist(
    [
        {"tile_x": 2**31 - 1, "granule_id": "AST_L1T_%'\"", "aod550": 0.1, "xa": [1.0, None]},
        {"tile_x": -1, "acquired": dt.datetime(2006, 6, 18, tzinfo=dt.UTC), "aod550": float("nan")},
    ],
    SCHEMA,
).drop(["b01"])
METHODS = {"mosaic", "mineral_indices"}
_connection: list[duckdb.DuckDBPyConnection] = []


def where(data: bytes) -> None:
    """A condition: what is accepted is its own normal form and reaches nothing but the columns."""
    text = data.decode("utf-8", "surrogateescape")
    normal = condition(text, SCHEMA)
    assert condition(normal, SCHEMA) == normal, normal
    if normal:
        assert '"b01"' not in normal
        _asked(normal)


def _asked(normal: str) -> None:
    """Run it as planning does, on two rows; what DuckDB says is told as a wrong condition."""
    if not _connection:
        _connection.append(connect())
        atexit.register(_connection[0].close)
        _connection[0].register("rows", ROWS)
    try:
        found = _connection[0].sql(f"SELECT tile_x FROM rows WHERE ({normal})").fetchall()
    except duckdb.Error as error:
        if isinstance(error, duckdb.FatalException | duckdb.InternalException):
            _connection.clear()  # such a connection answers nothing more; jobs have one per query
        return
    assert len(found) <= ROWS.num_rows
    assert all(len(row) == 1 for row in found)


def statement(data: bytes) -> None:
    """The statement that starts a job; its condition is checked as the job does."""
    found = read_statement(data.decode("utf-8", "surrogateescape"), METHODS)
    if found is not None:
        assert found.method in METHODS
        assert found.source
        assert found.target
        condition(found.where, SCHEMA)


def select(data: bytes) -> None:
    """A SELECT, and which tables it reads."""
    tree = parse_select(data.decode("utf-8", "surrogateescape"))
    assert all(isinstance(name, str) for name in table_names(tree))
    reads_whole_rows(tree)


WORDS = words(
    "SELECT FROM WHERE GROUP BY AND OR NOT IN BETWEEN LIKE IS NULL CAST AS CASE WHEN THEN END ( ) "
    "tile_x tile_y acquired aod550 xa b01 mosaic(*) => -- /* */ ; ' \" ` :: -> ->> [ ] {{ $$ @ ? "
    "INTERVAL DATE TRY_CAST UNION WITH OVERWRITE TABLE INSERT INTO LATERAL UNNEST PIVOT 1e999 0x1"
)
TARGETS = (
    Target("where", where, (
        b"acquired < '2008-04-01' AND aod550 < 0.6", b"granule_id LIKE 'AST%' OR tile_x IN (1, 2)",
        b"NOT (aod550 BETWEEN 0 AND 1) AND xa[1] > 2", b"CAST(tile_x AS VARCHAR) = '1'",
        b"year(acquired) = 2006 AND lower(granule_id) IS NOT NULL",
        b"CASE WHEN tile_x > 1 THEN aod550 ELSE -1 END >= 0",
        b"acquired > DATE '2006-01-01' + INTERVAL 3 DAY"), WORDS, share=40, longest=400),
    Target("statement", statement, (
        b"INSERT OVERWRITE TABLE i SELECT tile_x, tile_y, mineral_indices(*, mosaic => 'median') "
        b"FROM a WHERE acquired < '2008-04-01' AND aod550 < 0.6 GROUP BY tile_x, tile_y",
        b"INSERT INTO t SELECT tile_x, tile_y, mosaic(*, n => -3, x => [1.5, 'a'], y => true) AS r "
        b"FROM a GROUP BY tile_y, tile_x"), WORDS, share=20, longest=500),
    Target("select", select, (
        b"SELECT count(*) FROM aster WHERE aod550 < 0.1",
        b"WITH x AS (SELECT * FROM a) SELECT x.b, t.* FROM x JOIN t USING (tile_x) LIMIT 3",
        b"SELECT tile_stats(b01).mean FROM a UNION ALL SELECT 1"), WORDS, share=20, longest=500),
)  # fmt: skip
