"""Statements and instances of the stand-in for MaxCompute."""

import datetime as dt

import pyarrow as pa
import pytest

pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
pytest.importorskip("sqlglot_maxcompute", reason="needs sqlglot-maxcompute")
from odps import errors, options
from odps_client import HINTS, asked, client_settings, created, filled, rows  # noqa: F401

pytestmark = [pytest.mark.maxcompute, pytest.mark.usefixtures("client_settings")]


def test_inserts_into_partitions(odps):
    filled(odps)
    created(odps, "zoned", "a bigint, l array<bigint>", "zone string")
    insert = "INSERT {} TABLE zoned PARTITION (zone) SELECT a, l, g FROM t WHERE {}"
    odps.execute_sql(insert.format("INTO", "a < 6"), hints=HINTS)
    odps.execute_sql(insert.format("OVERWRITE", "a = 19"), hints=HINTS)
    odps.execute_sql("INSERT INTO TABLE zoned PARTITION (zone='g9') SELECT 7, NULL", hints=HINTS)
    query = "SELECT zone, COLLECT_LIST(a) AS a FROM zoned GROUP BY zone"
    found = asked(odps, query, **{"odps.sql.allow.fullscan": "true"})
    assert {r["zone"]: sorted(r["a"]) for r in found} == {
        "g0": [0, 3],
        "g1": [19],  # only partitions that appear are replaced
        "g2": [2, 5],
        "g9": [7],
    }


@pytest.mark.parametrize(
    "query",
    ["SELECT 1", "SELECT g, b, g, t, l FROM t", "SELECT a, b, g, CAST(t AS STRING), l FROM t",
     "SELECT CAST(a AS DOUBLE), b, g, t, l FROM t"],
)  # fmt: skip
def test_an_insert_of_other_columns_is_refused(odps, query):
    filled(odps)
    with pytest.raises(errors.ODPSError, match="column number/types"):
        odps.execute_sql(f"INSERT INTO TABLE t {query}", hints=HINTS)


def test_joins_and_whole_replacement(odps):
    filled(odps)
    filled(odps, "s", rows(10, start=15))
    odps.execute_sql(
        "INSERT OVERWRITE TABLE t SELECT * FROM (SELECT t.* FROM t LEFT ANTI JOIN s ON t.a = s.a"
        " UNION ALL SELECT * FROM s) u",
        hints=HINTS,
    )
    assert sorted(r["a"] for r in asked(odps, "SELECT a FROM t")) == list(range(25))


def test_instants_are_written_in_the_session_zone(odps):
    filled(odps)
    query = "SELECT CAST(t AS STRING) AS s, t FROM t WHERE a = 0"
    (row,) = asked(odps, query)
    assert row["s"] == "2003-01-01 18:00:00"
    options.local_timezone = None  # or PyODPS puts it in the place of the hint
    for zone in ("Asia/Shanghai", ""):  # the project's own is the same
        said = asked(odps, query, **{"odps.sql.timezone": zone})
        assert said[0]["s"] == "2003-01-02 02:00:00"
    options.local_timezone = False
    back = "SELECT CAST('2003-01-01 18:00:00.25' AS TIMESTAMP) AS t"
    assert asked(odps, back)[0]["t"] == pa.scalar(dt.datetime(2003, 1, 1, 18, 0, 0, 250000)).as_py()


def test_collect_list_has_no_order(odps):
    filled(odps)
    orders = {tuple(asked(odps, "SELECT COLLECT_LIST(a) AS l FROM t")[0]["l"]) for _ in range(4)}
    assert len(orders) > 1
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(20))}
    found = asked(odps, "SELECT COLLECT_LIST(IF(a > 17, a, NULL)) AS l FROM t")[0]["l"]
    assert sorted(found) == [18, 19]


def test_only_the_named_partitions_are_read(odps, server):
    created(odps, "zoned", "a bigint", "zone string")
    odps.execute_sql(
        "INSERT INTO TABLE zoned PARTITION (zone) SELECT a, g FROM"
        " (SELECT 1 AS a, 'p' AS g UNION ALL SELECT 2, 'q' UNION ALL SELECT 3, 'r') u",
        hints=HINTS,
    )
    instance = odps.execute_sql("SELECT z.a FROM zoned z WHERE z.zone IN ('p', 'q') AND z.a > 0")
    assert server.instances.all[instance.id].scanned == {"zoned": [("p",), ("q",)]}


def test_an_instance_runs_and_tells_about_itself(odps, server):
    server.delay_s = 3
    instance = odps.run_sql("SELECT 1 AS one", unique_identifier_id="the same")
    assert odps.run_sql("SELECT 1 AS one", unique_identifier_id="the same").id == instance.id
    assert instance.is_running()
    assert "token=" in instance.get_logview_address()
    instance.wait_for_success()
    assert instance.is_successful()
    stages = instance.get_task_progress(instance.get_task_names()[0]).stages
    assert stages[0].finished_percentage == 100
    assert instance.get_task_cost().cpu_cost == 100
    assert instance.get_sql_query().strip().startswith("SELECT 1")


def test_an_instance_is_stopped(odps, server):
    server.delay_s = 30
    instance = odps.run_sql("SELECT 1")
    instance.stop()
    with pytest.raises(errors.ODPSError, match="CANCELLED"):
        instance.wait_for_success()
    with pytest.raises(errors.InvalidStateSetting):
        instance.stop()
