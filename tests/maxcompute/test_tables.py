"""Tables of a MaxCompute project through our engine: made, described, cared for, kept apart."""

import datetime as dt
import json
import re
import traceback

import pyarrow as pa
import pytest
from rows import GRID, made_up_row, mixed_rows

from geoquarry.engine.maxcompute_lock import Lock
from geoquarry.engine.maxcompute_tables import helper_name
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.ingest import _grid_of
from geoquarry.schemas.errors import TableError, UnknownName, UsageError
from geoquarry.schemas.harmony_tables import gains_schema
from geoquarry.schemas.tables import OutputBand, facts, results_schema, tiles_schema

pytestmark = pytest.mark.maxcompute

TILES = tiles_schema("aster_l1t", GRID)
RESULTS = results_schema("aster_l1t", GRID, "mosaic", [OutputBand("b01", "a band", "float32")])


@pytest.fixture
def engine(maxcompute_engine):
    return maxcompute_engine()


def test_a_table_is_what_it_was_made_for(engine, odps):
    for name, schema in {"aster": TILES, "map": RESULTS, "gains": gains_schema("a", GRID)}.items():
        engine.create(name, schema)
        found = engine.schema(name)
        assert found.remove_metadata().equals(schema.remove_metadata(), check_metadata=True)
        assert facts(found) == facts(schema)
    assert engine.tables() == ["aster", "gains", "map"]
    assert engine.exists("aster")
    assert not engine.exists("other")
    own = odps.get_table("aster").table_schema
    assert own["b01"].type.name == "binary"
    assert own["tile_x"].type.name == "bigint"
    assert [column.name for column in own.partitions] == ["zone"]
    assert not odps.get_table("gains").table_schema.partitions
    with pytest.raises(TableError, match="'aster' exists already"):
        engine.create("aster", TILES)
    engine.ensure("aster", TILES)
    with pytest.raises(TableError, match="was made for"):
        engine.ensure("map", TILES)


def test_describe_and_history(engine):
    engine.create("aster", TILES)
    new = engine.describe("aster")
    assert (new["rows"], new["snapshot_id"], new["zones"]) == (0, None, 0)
    assert engine.history("aster") == []
    engine.append("aster", [made_up_row(x, 5, 0) for x in (3, 15, 16, 40)])
    about = engine.describe("aster")
    assert (about["rows"], about["zones"], about["facts"]["kind"]) == (4, 3, "tiles")
    assert about["columns"][3] == {
        "name": "granule_id",
        "type": "string",
        "about": "product identity: file name without extension",
        "key": True,
    }
    assert about["nbytes"] > 1000
    [present] = engine.history("aster")
    assert present["snapshot_id"] == about["snapshot_id"]
    assert abs(present["committed"] - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert engine.read("aster", ["tile_x"], as_of=about["snapshot_id"]).read_all().num_rows == 4
    with pytest.raises(UsageError, match="has no snapshot 5: MaxCompute keeps the present"):
        engine.read("aster", as_of=5)


def test_names_that_are_not_there(engine):
    engine.create("aster", TILES)
    with pytest.raises(UnknownName, match=r"No table 'astre' in MaxCompute project .* aster\."):
        engine.read("astre")
    with pytest.raises(UnknownName, match="No table 'x'"):
        engine.drop("x")
    with pytest.raises(UsageError, match="no table name"):
        engine.exists("a b")
    with pytest.raises(UsageError, match="begins with a letter"):
        engine.create("_x", TILES)
    with pytest.raises(UsageError, match="looks like a helper"):
        engine.create("aster__new_0123456789ab", TILES)
    with pytest.raises(UnknownName, match="no column 'zone'"):
        engine.read("aster", ["zone"])


def test_tables_of_others_are_in_nobodys_way(engine, odps, server, tmp_path, monkeypatch, capsys):
    engine.create("aster", TILES)
    odps.execute_sql("CREATE TABLE parted (a bigint) PARTITIONED BY (dt string)")
    odps.execute_sql("CREATE TABLE odd (a map<string,string>)")
    odps.execute_sql("CREATE TABLE sites__new_york (a bigint) COMMENT '{\"geoquarry\": 1}'")
    assert engine.tables() == ["aster", "odd", "parted", "sites__new_york"]
    monkeypatch.setenv("ODPS_ACCESS_ID", server.access_id)
    monkeypatch.setenv("ODPS_ACCESS_KEY", server.secret)
    place = ["--engine", "maxcompute", "--project", server.project, "--endpoint", server.endpoint]
    place += ["--tunnel-endpoint", server.tunnel_endpoint, "--warehouse", str(tmp_path / "house")]
    assert main(["tables", "--json", *place]) == 0
    told, said = capsys.readouterr()
    kinds = {row["table"]: (row["kind"], row["rows"]) for row in json.loads(told)}
    assert kinds == {
        "aster": ("tiles", 0), "odd": (None, None), "parted": (None, None),
        "sites__new_york": (None, 0),
    }  # fmt: skip
    assert "'parted' is partitioned by dt" in said
    assert "odd: Type" in said
    assert main(["vacuum", "--older-than", "0s", *place]) == 0
    assert odps.exist_table("sites__new_york")
    assert main(["vacuum", "parted", *place]) == 2
    with pytest.raises(UsageError, match="holds None, not tiles"):
        _grid_of(engine, "sites__new_york", None)


def test_a_prefix_keeps_two_users_of_a_project_apart(maxcompute_engine, odps):
    mine, yours = maxcompute_engine(prefix="Me_"), maxcompute_engine(prefix="you_")
    mine.create("aster", TILES)
    mine.append("aster", mixed_rows(granules=1))
    assert mine.tables() == ["aster"]
    assert yours.tables() == []
    assert [table.name for table in odps.list_tables()] == ["me_aster"]
    found = mine.sql("SELECT aster.tile_x, COUNT(*) AS n FROM aster GROUP BY aster.tile_x")
    assert sorted(map(tuple, (row.values() for row in found.read_all().to_pylist()))) == [
        (3, 1),
        (4, 2),
    ]
    with pytest.raises(TableError, match="you_aster"):
        yours.sql("SELECT COUNT(*) FROM aster")


def test_drop_and_vacuum_take_what_is_left_over(engine, odps):
    engine.create("aster", TILES)
    engine.create("aster_map", RESULTS)
    left = [helper_name("aster", kind) for kind in ("new", "tasks", "result")]
    for name in [*left, helper_name("aster_map", "new")]:
        odps.create_table(name, "x bigint")
    assert engine.tables() == ["aster", "aster_map"]
    day = dt.timedelta(days=1)
    assert engine.vacuum("aster", day).kept_unfinished == 3
    assert engine.vacuum("aster", dt.timedelta(0), dry_run=True).files == 3
    assert odps.exist_table(left[0])
    assert engine.vacuum("aster", dt.timedelta(0)).files == 3
    assert not odps.exist_table(left[0])
    engine.drop("aster_map")
    assert [table.name for table in odps.list_tables()] == ["aster"]
    with Lock(engine.connection, "aster") as lock:
        engine.vacuum("aster", dt.timedelta(0))
        assert odps.exist_table(lock._names[0])
    with pytest.raises(UsageError, match="negative"):
        engine.vacuum("aster", -day)


def test_old_functions_go_and_those_of_others_stay(engine, odps):
    engine.create("aster", TILES)
    for prefix in ("geoquarry_", "somebody_"):
        odps.create_resource(f"{prefix}x.py", "py", file_obj="class F: pass")
        odps.create_function(f"{prefix}f", class_type=f"{prefix}x.F", resources=[f"{prefix}x.py"])
    assert engine.vacuum("aster", dt.timedelta(days=1)).files == 0
    assert engine.vacuum("aster", dt.timedelta(0)).files == 2
    assert [f.name for f in odps.list_functions()] == ["somebody_f"]
    assert [r.name for r in odps.list_resources()] == ["somebody_x.py"]


def test_a_table_of_another_program_can_be_read(engine, odps):
    odps.create_table("theirs", "a bigint, b string comment 'text'", lifecycle=3)
    odps.execute_sql("INSERT INTO TABLE theirs SELECT 1, 'x' UNION ALL SELECT 2, NULL")
    assert engine.describe("theirs")["lifecycle_days"] == 3
    found = engine.read("theirs", where="a > 1").read_all()
    assert found.to_pylist() == [{"a": 2, "b": None}]
    odps.create_table("split", ("a bigint", "day string"))
    with pytest.raises(UsageError, match="partitioned by day"):
        engine.schema("split")


def test_sql_is_answered_there(engine):
    engine.create("aster", TILES)
    engine.append("aster", mixed_rows())
    found = engine.sql(
        "SELECT tile_x, tile_y, COUNT(*) AS n, MAX(acquired) AS last FROM aster "
        "WHERE acquired < TIMESTAMP '2003-09-01 00:00:00' GROUP BY tile_x, tile_y"
    )
    assert found.schema.field("last").type == pa.timestamp("us", tz="UTC")
    rows = found.read_all().to_pylist()
    assert {row["n"] for row in rows} == {3}
    assert {row["last"] for row in rows} == {dt.datetime(2003, 7, 20, 18, tzinfo=dt.UTC)}
    assert engine.sql("SELECT tile_x FROM aster WHERE 1 = 0").read_all().num_rows == 0
    with pytest.raises(UsageError, match="not one SELECT"):
        engine.sql("DROP TABLE aster")
    with pytest.raises(TableError, match="ODPS-0130"):
        engine.sql("SELECT nothing FROM aster")


def test_no_secret_is_shown(maxcompute_engine, server, capsys, monkeypatch):
    engine = maxcompute_engine()
    assert server.secret not in repr(engine) + repr(engine.connection)
    wrong = maxcompute_engine(secret_access_key="not-the-secret-55")
    with pytest.raises(UsageError, match="Check the access id and its secret") as caught:
        wrong.tables()
    assert "not-the-secret-55" not in "".join(traceback.format_exception(caught.value))
    assert server.said(server.secret) == []
    monkeypatch.setenv("ODPS_ACCESS_ID", server.access_id)
    monkeypatch.setenv("ODPS_ACCESS_KEY", server.secret)
    monkeypatch.setenv("ODPS_PROJECT_NAME", server.project)
    monkeypatch.setenv("ODPS_ENDPOINT", server.endpoint)
    assert main(["doctor", "--json"]) in (0, 1)
    out = capsys.readouterr().out
    assert re.search(r"ODPS_ACCESS_KEY.*answers", out)
    assert server.secret not in out


def test_temporary_credentials(maxcompute_engine, server):
    access_id, secret, token = server.sts
    engine = maxcompute_engine(access_id=access_id, secret_access_key=secret, security_token=token)
    assert engine.tables() == []
    assert token not in repr(engine.connection)


def test_options_that_make_no_sense(maxcompute_engine):
    with pytest.raises(UsageError, match="No plan 'fast'"):
        maxcompute_engine(plan="fast")
    with pytest.raises(UsageError, match="--catalog"):
        maxcompute_engine(catalog="sqlite://")
    with pytest.raises(UsageError, match="folder of this host"):
        maxcompute_engine(location="s3://bucket/x")
    with pytest.raises(UsageError, match="at least 1"):
        maxcompute_engine(workers=0)
