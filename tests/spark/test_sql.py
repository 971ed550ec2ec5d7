"""The SQL plan and SQL in a session: statements, plain queries, and what is refused."""

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest
import toy
from rows import GRID, SENSOR, made_up_row, made_up_rows
from test_engines_agree import filled

from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.jobs.functions import scalar_functions
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import tiles_schema

pytestmark = [pytest.mark.spark]

TILES = ((3, 5), (4, 5))
RASTERS = ("flags", "count", *SENSOR.names)
STATEMENT = """
INSERT OVERWRITE TABLE {target}
SELECT tile_x, tile_y, mosaic(*, mosaic => 'min')
FROM tiles WHERE acquired < '2003-09-01' AND cloud_fraction < 0.99
GROUP BY tile_x, tile_y
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A warehouse of two tiles and four granules; its path is a trap for Hadoop's patterns."""
    found = tmp_path_factory.mktemp("sql") / "x=5" / "a [1]{b}* %20"
    filled(found, made_up_rows(TILES), workers=2)
    return str(found)


@pytest.fixture(scope="module")
def local(folder):
    return open_engine(folder, functions=scalar_functions())


@pytest.fixture(scope="module")
def session(spark, folder):
    """The session, knowing our tables and functions."""
    from geoquarry.engine.spark_statement import register

    spark.conf.set("spark.sql.shuffle.partitions", "2")
    assert "tiles" in register(spark, folder)
    yield spark
    spark.conf.unset("spark.sql.shuffle.partitions")


def rasters(rows):
    """Rows of tiles as a digest over what a call in a query and a job both give."""
    keep = ("tile_x", "tile_y", "granules", "status", *RASTERS)
    plain = [row if isinstance(row, dict) else row.asDict(recursive=True) for row in rows]
    found = [{name: row[name] for name in keep} for row in plain]
    for row in found:
        row |= {name: bytes(row[name]) for name in RASTERS}
    return parity_digest(found)


def on_local(engine, target, **params):
    """What the local engine makes of the same tiles."""
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", target, params=params)))
    return rasters(engine.read(target).read_all().to_pylist())


def test_a_statement_is_a_job_as_on_the_local_engine(session, folder, local):
    from geoquarry.engine.spark_statement import sql

    report = sql(session, STATEMENT.format(target="by_spark"), folder)
    assert report.counts["ok"] + report.counts["partial"] == len(TILES)
    params = {"mosaic": "min"}
    where = "acquired < '2003-09-01' AND cloud_fraction < 0.99"
    trigger = Trigger("mosaic", "tiles", "by_local", where, params, overwrite=True)
    run_phases(local, job_of(local, trigger))
    ours, theirs = (local.read(n).read_all().to_pylist() for n in ("by_spark", "by_local"))
    assert parity_digest(ours) == parity_digest(theirs)
    assert {row["input_digest"] for row in ours} == {row["input_digest"] for row in theirs}
    assert [row["granules"] for row in ours] == [["granule_000", "granule_001", "granule_002"]] * 2
    assert local.check("by_spark") == []
    # The second time nothing has changed, so `run` would skip; OVERWRITE computes again.
    assert sql(session, STATEMENT.format(target="by_spark"), folder).counts["skipped"] == 0
    assert sql(session, "SELECT count(*) AS n FROM by_spark", folder).collect()[0].n == len(TILES)


def test_an_insert_that_is_no_job_is_refused(session, folder):
    from geoquarry.engine.spark_statement import sql

    with pytest.raises(UsageError, match="Form: INSERT"):
        sql(session, "INSERT INTO tiles SELECT * FROM tiles", folder)


@pytest.mark.parametrize("how", ["min", "mean"])
def test_parameters_take_effect_in_plain_sql(session, local, how):
    found = session.sql(
        f"""SELECT tile_x, tile_y, r.* FROM (
            SELECT tile_x, tile_y, merge(struct(*), '{{"mosaic": "{how}"}}') AS r
            FROM tiles GROUP BY tile_x, tile_y)"""
    ).collect()
    assert len(found) == len(TILES)
    assert all(f'"mosaic": "{how}"' in row.provenance for row in found)
    expected = {h: on_local(local, f"{how}_{h}", mosaic=h, scope="tile") for h in ("min", "mean")}
    assert rasters(found) == expected.pop(how)
    assert rasters(found) not in expected.values()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("mosaic(struct(*), mosaic => 'min')", "<parameters as JSON>"),
        ("mosaic(struct(*), '{\"colour\": 1}')", "no parameter 'colour'"),
    ],
)
def test_a_wrong_call_fails_and_says_how_to_write_it(session, call, said):
    """The others are in test_group.py: each takes Spark four attempts to believe."""
    query = f"SELECT tile_x, tile_y, {call} AS r FROM tiles GROUP BY tile_x, tile_y"
    with pytest.raises(Exception, match="(?s)" + said):
        session.sql(query).collect()


def test_a_tile_that_fails_says_so_and_the_others_go_on(session):
    found = session.sql(
        """SELECT tile_x, mosaic(struct(*), '{}') AS r FROM (
            SELECT * EXCEPT (b01), if(tile_x = 3, unhex('00'), b01) AS b01 FROM tiles)
        GROUP BY tile_x, tile_y"""
    ).collect()
    answers = {row.tile_x: row.r for row in found}
    assert {x: r.status for x, r in answers.items()} == {3: "failed", 4: "ok"}
    assert {issue.column for issue in answers[3].issues} == {"b01"}


def test_a_method_knows_all_its_bands(session):
    found = session.sql("DESCRIBE (SELECT mineral_indices(struct(*), '{}') AS r FROM tiles)")
    assert "clay" in found.collect()[0].data_type


def test_scalar_functions_answer_as_on_the_local_engine(session, local):
    text = """SELECT granule_id, tile_x, tile_stats(b01).mean AS mean, tile_stats(b01).count AS n,
              tile_value(b02, 40, 50) AS value, tile_stats(elevation).count AS nothing
              FROM tiles ORDER BY granule_id, tile_x, tile_y"""
    ours = [row.asDict() for row in session.sql(text).collect()]
    assert ours == local.sql(text).read_all().to_pylist()
    assert {row["nothing"] for row in ours} == {None}


def test_select_is_for_queries_on_our_tables(session, local):
    from geoquarry.engine.spark_statement import select

    def ask(text):
        return select(session, local.warehouse, text, scalar_functions()).read_all().to_pylist()

    text = "SELECT count(*) AS n FROM tiles WHERE acquired < '2003-04-11 18:00:01'"
    assert ask(text) == [{"n": 4}]
    assert ask(text) == local.sql(text.replace("'2003", "TIMESTAMPTZ '2003")).read_all().to_pylist()
    for text, said in [
        ("DROP TABLE tiles", "not one SELECT"),
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("SELECT * FROM csv.`/etc/passwd`", "without dots"),
        ("SELECT * FROM nowhere", "No table 'nowhere'"),
        ("SELECT no_such FROM tiles", "no_such"),
        ("SELECT reflect('java.lang.System', 'getenv')", "not for queries"),
        ("SELECT mosaic(struct(*), '{}') r FROM tiles WHERE", "Cannot read|SQL"),
    ]:
        with pytest.raises(UsageError, match=said):
            ask(text)


def test_a_session_that_is_not_in_utc_is_refused(session, folder):
    from geoquarry.engine.spark_statement import register, sql

    other = session.newSession()
    other.conf.set("spark.sql.session.timeZone", "America/New_York")
    with pytest.raises(UsageError, match="America/New_York"):
        register(other, folder)
    with pytest.raises(UsageError, match="America/New_York"):
        sql(other, "SELECT 1", folder)


def test_the_warehouse_is_said_once(session, folder, monkeypatch):
    from geoquarry.engine.spark_statement import sql

    assert sql(session, "SELECT count(*) AS n FROM tiles").collect()[0].n == 8
    fresh = session.newSession()
    monkeypatch.delenv("GEOQUARRY_WAREHOUSE", raising=False)
    with pytest.raises(UsageError, match="Which warehouse"):
        sql(fresh, "SELECT 1")
    monkeypatch.setenv("GEOQUARRY_WAREHOUSE", folder)
    assert sql(fresh, "SELECT max(tile_x) AS x FROM Tiles").collect()[0].x == 4
    with pytest.raises(UsageError, match="There is no warehouse"):
        sql(fresh, "SELECT 1", folder + "no")


def test_a_view_has_columns_that_old_files_lack_and_no_others(session, tmp_path):
    from geoquarry.engine.spark_statement import register

    engine = open_engine(str(tmp_path / "wh"))
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    assert register(session.newSession(), str(tmp_path / "wh")) == ["tiles"]
    other = session.newSession()
    register(other, str(tmp_path / "wh"))
    assert other.sql("SELECT * FROM tiles").collect() == []
    engine.append("tiles", [made_up_row(3, 5, 0)])
    with engine.warehouse.table("tiles").iceberg.update_schema() as update:
        from pyiceberg.types import StringType

        update.add_column("later", StringType())
    register(other, str(tmp_path / "wh"))
    row = other.sql("SELECT * FROM tiles").collect()[0].asDict()
    assert list(row) == engine.schema("tiles").names
    assert row["later"] is None
    assert bytes(row["b01"]) == bytes(made_up_row(3, 5, 0)["b01"])


def test_the_command_speaks_sql_to_spark(session, folder, capsys, monkeypatch):
    from geoquarry.engine import spark as engine
    from geoquarry.jobs.__main__ import main

    def ask(*words):
        code = main(["sql", "--engine", "spark", "--warehouse", folder, "--json", *words])
        return code, json.loads(capsys.readouterr().out or "null")

    monkeypatch.setitem(engine.PLANS, "direct", None)  # an INSERT takes the SQL plan by itself
    code, report = ask(STATEMENT.format(target="by_command"))
    assert code == 0
    assert report["tiles"] == len(TILES)
    text = "SELECT count(*) AS n, sum(tile_stats(b01).count) > 0 AS b FROM by_command"
    assert ask(text) == (0, [{"n": 2, "b": True}])
    monkeypatch.setitem(engine.PLANS, "sql", None)
    with pytest.raises(TypeError):
        ask(STATEMENT.format(target="by_command"), "--plan", "direct")


def toy_job(**params):
    return Job("source", "out", "toy", params, "toy:fold", ("granule_id", "b01"), toy.RESULTS)


@pytest.fixture
def toys(session, tmp_path):
    """An engine on the SQL plan with three tiles of two granules."""
    from geoquarry.engine.spark import open_engine as on_spark

    engine = on_spark(str(tmp_path / "toys"), session=session, plan="sql")
    engine.create("source", toy.TILES)
    engine.append("source", [toy.row(g, x, 0, x + 1) for g in "ab" for x in range(3)])
    return engine


def test_a_condition_and_a_failed_tile_on_the_sql_plan(toys):
    job = toy_job(fail=[[1, 0]])
    report = toys.run(job).wait()
    assert (report.counts["ok"], report.counts["failed"]) == (2, 1)
    assert "toy failure" in report.failed[0].message
    assert toy.values(toys.read("out").read_all()) == {(0, 0): 2, (2, 0): 6}
    some = Job(**vars(toy_job()) | {"where": "granule_id = 'b' AND tile_x < 2", "overwrite": True})
    toys.run(some).wait()
    assert toy.values(toys.read("out").read_all()) == {(0, 0): 1, (1, 0): 2}


def test_cancelling_leaves_nothing_committed(toys):
    run = toys.run(toy_job(seconds=60))
    while run.status == "planning":
        time.sleep(0.05)
    time.sleep(2)
    run.cancel()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        run.wait()
    assert time.monotonic() - begun < 60
    assert toys.history("out") == []
    assert toys.run(toy_job()).wait().counts["ok"] == 3


def test_rows_that_spark_loses_are_noticed(toys, session):
    (damaged,) = Path(toys.warehouse.location).glob("tables/source/data/*/*b.parquet")
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    session.conf.set("spark.sql.files.ignoreCorruptFiles", "true")
    try:
        report = toys.run(toy_job()).wait()
    finally:
        session.conf.unset("spark.sql.files.ignoreCorruptFiles")
    assert report.counts["failed"] == 3
    assert "1 of 2 rows" in report.failed[0].message
    with pytest.raises(GeoquarryError, match=r"b\.parquet.*Nothing under way was committed"):
        toys.run(toy_job()).wait()
    damaged.unlink()
    with pytest.raises(GeoquarryError, match=r"b\.parquet.*Nothing under way was committed"):
        toys.run(toy_job()).wait()


@pytest.mark.heavy
def test_a_column_may_hold_more_than_2_gb_in_a_group(spark):
    from pyspark.sql import functions

    from geoquarry.engine.spark_udf import group_function, struct_of

    gives = pa.schema([("nbytes", pa.int64()), ("rows", pa.int64())])

    def weigh(group):
        sizes = [len(row["b01"]) for row in group]
        return struct_of({"nbytes": sum(sizes), "rows": len(sizes)}, gives)

    rows = spark.range(2200).selectExpr("id", "unhex(repeat('ab', 1024 * 1024)) AS b01")
    call = group_function("weigh", weigh, gives)(functions.struct("*"), functions.lit("{}"))
    found = rows.groupBy().agg(call.alias("r")).collect()[0].r
    assert found.rows == 2200
    assert found.nbytes == 2200 * 2**20 > 2**31
