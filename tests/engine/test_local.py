"""The local engine's verbs: rows in, jobs, rows out, and what happens when things die."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from geoquarry.engine import driver as driver_module
from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.engine.sql import ScalarFunction
from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.errors import BlobError, StorageError, TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import OutputBand, results_schema

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


def job(**changes):
    params = changes.pop("params", {})
    return Job(**{
        "source": "aster", "target": "map", "method": "toy", "params": params,
        "udf": "toy_udfs:fold", "columns": ("granule_id", "b01"), "schema": toy.RESULTS,
        "package_version": "1", **changes,
    })  # fmt: skip


def band(raster):
    return int(decode(raster)[0, 0])


FUNCTIONS = {
    "tile_value": ScalarFunction(
        lambda raster, row, col: float(decode(raster)[row, col]),
        (pa.binary(), pa.int32(), pa.int32()),
        pa.float64(),
    ),
    "tile_stats": ScalarFunction(
        lambda raster: {"count": decode(raster).size, "mean": float(decode(raster).mean())},
        (pa.binary(),),
        pa.struct([("count", pa.int64()), ("mean", pa.float64())]),
    ),
}


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(str(tmp_path / "wh"), workers=2, functions=FUNCTIONS)
    engine.create("aster", toy.TILES)
    return engine


def fill(engine):
    """Three granules over tiles (0..2, 0); granule n has value n + 1, so the sum is 6."""
    with engine.appender("aster") as appender:
        for n in range(3):
            rows = [toy.row(f"G{n}", x, 0, value=n + 1) for x in range(3)]
            appender.add_granule(f"G{n}", rows)
    toy.CALLS.clear()
    return engine


@pytest.fixture
def filled(engine):
    return fill(engine)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The same, for tests that only look."""
    engine = open_engine(str(tmp_path_factory.mktemp("wh")), workers=2, functions=FUNCTIONS)
    engine.create("aster", toy.TILES)
    return fill(engine)


def keys(engine):
    found = engine.read("aster", columns=["granule_id", "tile_x", "tile_y"]).read_all()
    return sorted(tuple(row.values()) for row in found.to_pylist())


def results(engine):
    return toy.values(engine.read("map").read_all())


# -- rows in --------------------------------------------------------------------------------


def test_a_granule_that_moves_takes_its_old_tiles_along(engine):
    with engine.appender("aster") as appender:
        appender.add_granule("G1", [toy.row("G1", 0, 0), toy.row("G1", 1, 0)])
        appender.add_granule("G2", [toy.row("G2", 0, 0)])
    with engine.appender("aster") as appender:
        appender.add_granule("G1", [toy.row("G1", 1, 0), toy.row("G1", 2, 0)])
    assert keys(engine) == [("G1", 1, 0), ("G1", 2, 0), ("G2", 0, 0)]


def test_with_tiles_the_other_rows_of_the_granule_stay(engine):
    with engine.appender("aster") as appender:
        appender.add_granule("G1", [toy.row("G1", x, 0, value=1) for x in range(3)])
    with engine.appender("aster") as appender:
        rows = [toy.row("G1", 1, 0, value=9)]
        appender.add_granule("G1", rows, tiles=[(1, 0), (2, 0)])
    found = engine.read("aster", columns=["tile_x", "b01"]).read_all().to_pylist()
    assert {row["tile_x"]: band(row["b01"]) for row in found} == {0: 1, 1: 9}
    assert engine.check("aster") == []


def test_a_newer_production_replaces_the_older(engine):
    with engine.appender("aster") as appender:
        appender.add_granule("old", [toy.row("old", 0, 0), toy.row("old", 1, 0)])
        appender.add_granule("new", [toy.row("new", 0, 0)], replaces={"old"})
    assert keys(engine) == [("new", 0, 0)]


def test_a_granule_without_rows_takes_its_old_rows_away(engine):
    engine.append("aster", [toy.row("G1", 0, 0), toy.row("G2", 0, 0)])
    with engine.appender("aster") as appender:
        appender.add_granule("G1", [])
    assert keys(engine) == [("G2", 0, 0)]


def test_ingest_commits_in_groups_and_what_was_added_before_an_error(engine):
    def broken():
        yield toy.row("bad", 0, 0)
        raise OSError("the scene ends here")

    def ingest(appender):
        with appender:
            for n in range(5):
                appender.add_granule(f"G{n}", [toy.row(f"G{n}", 0, 0)])
            appender.add_granule("bad", broken())

    appender = engine.appender("aster", granules=2)
    with pytest.raises(OSError, match="ends here"):
        ingest(appender)
    assert [found["added_rows"] for found in engine.history("aster")] == [2, 2, 1]
    assert appender.report.rows == 5
    assert len(keys(engine)) == 5


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"grid": "webmercator-30m-1024"}, TableError, "res-30_tilesize-96.*webmercator-30m-1024"),
        ({"sensor": "sentinel2_l2a"}, TableError, "aster_l1t.*sentinel2_l2a"),
        ({"b01": b"hex?"}, BlobError, "b01"),
        ({"granule_id": "G2"}, TableError, "G2.*G1"),
    ],
)
def test_a_row_of_another_kind_is_refused_and_nothing_of_it_stored(engine, change, error, words):
    rows = [toy.row("G1", 0, 0), toy.row("G1", 1, 0) | change]
    with pytest.raises(error, match=words), engine.appender("aster") as appender:
        appender.add_granule("G1", rows)
    assert keys(engine) == []
    assert not list(Path(engine.describe("aster")["location"]).rglob("data/**/*.parquet"))


def test_append_replaces_by_key_in_any_order_and_refuses_a_key_twice(engine, monkeypatch):
    monkeypatch.setattr("geoquarry.engine.appender.OPEN_WRITERS", 2)
    mixed = [toy.row(f"G{n}", x, 0) for x in range(3) for n in range(4)]
    assert engine.append("aster", mixed).rows == 12
    engine.append("aster", [toy.row("G1", 1, 0, value=9)])
    found = engine.read("aster", columns=["b01"], where="granule_id = 'G1'").read_all()
    assert [band(value) for value in found.column(0).to_pylist()] == [1, 9, 1]
    assert len(keys(engine)) == 12
    with pytest.raises(TableError, match="comes twice"):
        engine.append("aster", [toy.row("G9", 0, 0), toy.row("G9", 0, 0)])
    assert len(keys(engine)) == 12


def test_odd_granule_ids_are_kept_and_stay_inside_the_folder(engine):
    names = ["../../up", "a/b", 'it\'s "quoted"', "ümlaut", "a" * 300, "a b", "a_b"]
    engine.append("aster", [toy.row(name, 0, 0) for name in names])
    assert [key[0] for key in keys(engine)] == sorted(names)
    quoted = engine.read("aster", ["tile_x"], where="granule_id = 'it''s \"quoted\"'").read_all()
    assert quoted.num_rows == 1
    assert not list(Path(engine.warehouse.location).parent.rglob("up*"))


# -- jobs -----------------------------------------------------------------------------------


def test_run_writes_one_row_per_tile_with_its_provenance(filled):
    report = filled.run(job(params={"how": "sum"})).wait()
    assert report.counts == {
        "ok": 3, "partial": 0, "empty": 0, "failed": 0, "skipped": 0, "resumed": 0
    }  # fmt: skip
    assert results(filled) == {(x, 0): 6 for x in range(3)}
    row = filled.read("map", columns=["granules", "provenance", "method", "grid"]).read_all()[0:1]
    row = row.to_pylist()[0]
    assert row["granules"] == ["G0", "G1", "G2"]
    assert '"how": "sum"' in row["provenance"]
    assert '"quality": 1' in row["provenance"]
    assert '"package_version": "1"' in row["provenance"]
    assert (row["method"], row["grid"]) == ("toy", toy.GRID)
    assert filled.history("map")[-1]["job_id"] == report.job_id
    assert filled.describe("map")["files"] == 3


def test_up_to_date_tiles_are_skipped_and_changed_ones_computed(filled):
    filled.run(job()).wait()
    toy.CALLS.clear()
    again = filled.run(job()).wait()
    assert (again.counts["skipped"], toy.CALLS) == (3, [])
    assert len(filled.history("map")) == 1
    with filled.appender("aster") as appender:  # the same content again: nothing to do
        rows = [toy.row("G1", x, 0, value=2, ingest_id="other") for x in range(3)]
        appender.add_granule("G1", rows)
    assert filled.run(job()).wait().counts["skipped"] == 3
    with filled.appender("aster") as appender:
        appender.add_granule("G1", [toy.row("G1", 1, 0, value=100)], tiles=[(1, 0)])
    report = filled.run(job()).wait()
    assert (report.counts["ok"], report.counts["skipped"], toy.CALLS) == (1, 2, [(1, 0)])
    assert results(filled)[1, 0] == 104
    assert filled.run(job(revision="a better table")).wait().counts["skipped"] == 0
    assert filled.run(job(revision="a better table")).wait().counts["skipped"] == 3


def test_min_then_max_then_min_gives_min_again(filled):
    for how, expected in (("min", 1), ("max", 3), ("min", 1)):
        filled.run(job(params={"how": how})).wait()
        assert set(results(filled).values()) == {expected}


def test_where_and_tiles_choose_and_other_results_stay(filled):
    filled.run(job()).wait()
    filled.run(job(where="granule_id <> 'G2'", tiles=((1, 0),))).wait()
    assert results(filled) == {(0, 0): 6, (1, 0): 3, (2, 0): 6}


def test_overwrite_replaces_the_whole_content(filled):
    filled.run(job()).wait()
    filled.run(job(tiles=((1, 0),), overwrite=True)).wait()
    assert results(filled) == {(1, 0): 6}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_tile_is_listed_and_never_replaces_a_good_row(filled, overwrite):
    filled.run(job(tiles=((1, 0),))).wait()
    fail = {"fail": [[1, 0], [2, 0]], "how": "min"}
    report = filled.run(job(params=fail, overwrite=overwrite)).wait()
    assert (report.counts["ok"], report.counts["failed"]) == (1, 2)
    assert [(f.tile_x, f.message) for f in report.failed] == [
        (1, "ValueError: toy failure"), (2, "ValueError: toy failure")
    ]  # fmt: skip
    assert results(filled) == {(0, 0): 1, (1, 0): 6}
    rows = filled.read("map", columns=["tile_x", "status", "message"]).read_all().to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert rows[2]["message"] == "ValueError: toy failure"
    mended = filled.run(job(params={"how": "min"})).wait()
    assert mended.counts["failed"] == 0
    assert set(results(filled).values()) == {1}


def test_a_damaged_data_file_fails_only_the_tiles_that_need_it(filled):
    table = filled.warehouse.table("aster")
    with filled.appender("aster") as appender:
        appender.add_granule("G3", [toy.row("G3", 2, 0)])
    path = next(f.file_path for f in table.refresh().files() if "G3" in f.file_path)
    Path(path).write_bytes(b"")
    report = filled.run(job()).wait()
    assert (report.counts["ok"], report.counts["failed"]) == (2, 1)
    assert "G3" in report.failed[0].message
    assert any("G3" in problem.where for problem in filled.check("aster"))


def test_a_udf_that_answers_nonsense_is_a_failed_tile(filled):
    report = filled.run(job(udf="toy_udfs:wrong")).wait()
    assert report.counts["failed"] == 3
    assert "uint8, the table declares int16" in report.failed[0].message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "aster"}, "both"),
        ({"udf": "toy_udfs:nothing"}, "No UDF"),
        ({"columns": ("b99",)}, "b99"),
        ({"where": "1=1; DROP TABLE aster"}, "not one condition"),
        ({"source": "nosuch"}, "No table"),
        ({"target": "a b"}, "no table name"),
        (
            {"schema": results_schema("aster_l1t", "modis-500m-256", "toy", [])},
            "res-30_tilesize-96.*modis-500m-256",
        ),
    ],
)
def test_a_job_that_cannot_run_says_so_before_it_starts(shown, changes, words):
    with pytest.raises((UsageError, TableError), match=words):
        shown.run(job(**changes))
    assert shown.tables() == ["aster"]


@pytest.mark.parametrize(
    "schema",
    [
        results_schema("aster_l1t", toy.GRID, "other", [OutputBand("value", "toy value")]),
        results_schema("aster_l1t", toy.GRID, "toy", [OutputBand("value", "x", dtype="float32")]),
    ],
)
def test_a_target_of_another_method_or_bands_is_refused(filled, schema):
    filled.run(job()).wait()
    method = "other" if "other" in str(schema.metadata) else "toy"
    with pytest.raises(TableError, match="Choose another target"):
        filled.run(job(schema=schema, method=method))


def test_explain_counts_and_writes_nothing(shown):
    plan = shown.explain(job(where="granule_id <> 'G2'"))
    assert (plan.tiles, plan.rows, plan.granules, plan.skipped) == (3, 6, 2, 0)
    assert plan.largest_tile_rows == 2
    assert shown.tables() == ["aster"]


def test_cancel_commits_nothing_and_resume_reuses_finished_parts(engine):
    engine.append("aster", [toy.row("G0", x, 0) for x in range(12)])
    slow = job(params={"seconds": 0.05})
    run = engine.run(slow)
    while run.progress[0] < 3 and run.status in ("planning", "running"):
        time.sleep(0.005)
    run.cancel()
    with pytest.raises(Cancelled):
        run.wait()
    assert run.status == "cancelled"
    assert results(engine) == {}
    toy.CALLS.clear()
    # The note of this very process counts as alive until it is given up.
    for note in Path(engine.describe("map")["location"], "parts").rglob("*.json"):
        note.write_text(note.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
    report = engine.run(job(params={"seconds": 0.05}, resume=True)).wait()
    assert report.counts["resumed"] >= 3
    assert len(toy.CALLS) == 12 - report.counts["resumed"]
    assert results(engine) == {(x, 0): 1 for x in range(12)}
    assert engine.check("map") == []


def test_tiles_arrive_lazily_and_memory_holds_few_of_them(engine):
    engine.append("aster", [toy.row("G0", x, 0) for x in range(40)])
    run = engine.run(job(params={"seconds": 0.01}))
    threads = set()
    while run.status in ("planning", "running"):
        threads |= {t.name for t in threading.enumerate() if t.name.startswith("tile")}
        time.sleep(0.005)
    assert run.wait().counts["ok"] == 40
    assert run.progress == (40, 40)
    assert 1 <= len(threads) <= 2


KILLED = """
    import os, signal, sys
    sys.path[:0] = [{folder!r}]
    import toy; sys.modules["toy_udfs"] = toy
    from geoquarry.engine import driver
    from geoquarry.engine.local import open_engine
    from geoquarry.schemas.job import Job
    def die(*args, **named):
        os.kill(os.getpid(), signal.SIGKILL)
    driver.{point} = die
    job = Job(source="aster", target="map", method="toy", params={{}}, udf="toy_udfs:fold",
              columns=("granule_id", "b01"), schema=toy.RESULTS, package_version="1")
    open_engine(sys.argv[1], workers=2).run(job).wait()
"""


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("point", ["commit", "forget_note"])
def test_killed_before_or_after_the_commit_the_same_command_ends_the_same(filled, point, resume):
    code = textwrap.dedent(KILLED).format(folder=str(Path(__file__).parent), point=point)
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, filled.warehouse.location], env=env)
    assert done.returncode == -signal.SIGKILL
    committed = point == "forget_note"
    assert len(results(filled)) == (3 if committed else 0)
    report = filled.run(job(resume=resume)).wait()
    if committed:
        assert report.counts["skipped"] == 3
    else:
        assert report.counts["resumed"] == (3 if resume else 0)
    assert results(filled) == {(x, 0): 6 for x in range(3)}
    assert len(filled.history("map")) == 1
    assert filled.vacuum("map", timedelta(0), keep=1).kept_unfinished == 0
    assert filled.check("map") == []
    data = list(Path(filled.describe("map")["location"], "data").rglob("*.parquet"))
    assert len(data) == 3


def test_a_full_disk_stops_the_job_and_leaves_the_table(filled, monkeypatch):
    filled.run(job()).wait()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geoquarry.engine.datafile.finish", full)
    with pytest.raises(StorageError, match="No space left"):
        filled.run(job(params={"how": "min"})).wait()
    monkeypatch.undo()
    assert set(results(filled).values()) == {6}


def test_commit_properties_name_the_source_snapshot(filled):
    filled.run(job()).wait()
    said = filled.history("map")[-1]["properties"]
    assert said["source-snapshot"] == str(filled.describe("aster")["snapshot_id"])
    assert driver_module.job_id(
        job(), filled.warehouse.table("aster"), filled.warehouse.table("map")
    ) == said["job-id"]  # fmt: skip


# -- rows out -------------------------------------------------------------------------------


def test_read_orders_by_tile_then_granule_one_row_per_batch(shown):
    found = shown.read("aster", columns=["tile_x", "granule_id", "b01"])
    batches = list(found)
    assert {batch.num_rows for batch in batches} == {1}
    order = [(b.column(0)[0].as_py(), b.column(1)[0].as_py()) for b in batches]
    assert order == sorted(order)
    assert shown.read("aster").schema.equals(toy.TILES, check_metadata=True)
    with pytest.raises(UsageError, match="nosuch"):
        shown.read("aster", columns=["nosuch"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT count(*) AS n FROM aster", [{"n": 9}]),
        ("SELECT tile_value(b01, 0, 0) AS v FROM aster WHERE granule_id='G2' AND tile_x=0",
         [{"v": 3.0}]),
        ("SELECT tile_stats(B01).count AS c FROM aster LIMIT 1", [{"c": 64}]),
        ("SELECT tile_value(b09, 0, 0) AS v FROM aster LIMIT 1", [{"v": None}]),
        ("WITH t AS (SELECT DISTINCT granule_id g FROM aster) SELECT count(*) AS n FROM t",
         [{"n": 3}]),
        ("SELECT count(*) AS n FROM aster a JOIN aster b USING (tile_x, granule_id)", [{"n": 9}]),
        ("SELECT count(*) AS n FROM (SELECT * FROM aster)", [{"n": 9}]),
        ("SELECT 1 AS n UNION ALL SELECT 2", [{"n": 1}, {"n": 2}]),
        ("SELECT granule_id FROM aster GROUP BY ALL HAVING max(octet_length(b02)) > 0 ORDER BY 1"
         " LIMIT 1", [{"granule_id": "G0"}]),
    ],
)  # fmt: skip
def test_sql_answers(shown, text, expected):
    assert shown.sql(text).read_all().to_pylist() == expected


def test_sql_on_metadata_opens_no_data_file(shown, monkeypatch):
    shown.sql("SELECT count(*) FROM aster").read_all()

    def forbidden(*args, **named):
        raise AssertionError("a data file was opened")

    monkeypatch.setattr("pyarrow.dataset.dataset", forbidden)
    found = shown.sql("SELECT tile_x, avg(cloud_fraction) c FROM aster GROUP BY tile_x").read_all()
    assert found.num_rows == 3


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE aster",
        "DELETE FROM aster",
        "INSERT INTO aster SELECT * FROM aster",
        "CREATE TABLE x AS SELECT 1",
        "SELECT 1; SELECT 2",
        "COPY aster TO '/tmp/x'",
        "ATTACH '/tmp/x.db'",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM other.aster",
        "SELECT * FROM nosuch",
        "SELECT nosuch FROM aster",
        "SELECT tile_value(b01, 99, 99) FROM aster",
        "SELECT (",
        "",
    ],
)
def test_sql_refuses(shown, text):
    with pytest.raises(UsageError):
        shown.sql(text).read_all()


def test_sql_on_an_empty_table(engine):
    assert engine.sql("SELECT * FROM aster").read_all().num_rows == 0
    assert engine.sql("SELECT count(*) AS n FROM aster").read_all().to_pylist() == [{"n": 0}]
    assert engine.read("aster").read_all().num_rows == 0


# -- housekeeping ---------------------------------------------------------------------------


def test_vacuum_deletes_what_nobody_references_and_nothing_else(filled):
    for how in ("min", "max", "sum"):
        filled.run(job(params={"how": how})).wait()
    location = Path(filled.describe("map")["location"])
    assert len(list(location.glob("data/*/*.parquet"))) == 9
    assert filled.vacuum("map").files == 0  # all younger than seven days
    first = filled.history("map")[0]["snapshot_id"]
    kept = filled.vacuum("map", timedelta(0), keep=3)
    assert kept.snapshots == 0
    assert toy.values(filled.read("map", as_of=first).read_all())[0, 0] == 1
    assert filled.vacuum("map", timedelta(0), keep=1, dry_run=True).snapshots == 2
    report = filled.vacuum("map", timedelta(0), keep=1)
    assert report.snapshots == 2
    assert len(list(location.glob("data/*/*.parquet"))) == 3
    assert len(list(location.glob("index/*/*.parquet"))) == 3
    assert results(filled) == {(x, 0): 6 for x in range(3)}
    assert filled.check("map") == []
    filled.run(job(params={"how": "min"})).wait()
    assert set(results(filled).values()) == {1}


def test_vacuum_keeps_files_of_a_writer_that_is_still_at_work(engine):
    with engine.appender("aster") as appender:
        appender.add_granule("G1", [toy.row("G1", 0, 0)])
        report = engine.vacuum("aster", timedelta(0), keep=1)
        assert report.kept_unfinished > 0
    assert keys(engine) == [("G1", 0, 0)]
    assert engine.check("aster") == []


def test_check_finds_damage(filled):
    assert filled.check("aster") == []
    table = filled.warehouse.table("aster")
    path = Path(table.files()[0].file_path)
    content = bytearray(path.read_bytes())
    at = content.index(encode(np.full((8, 8), 1, np.uint8))[20:])
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    problems = filled.check("aster")
    assert any("digest" in problem.message for problem in problems)
    assert any("column b0" in problem.where for problem in problems)
    path.unlink()
    assert any(path.name in problem.where for problem in filled.check("aster"))


def test_two_jobs_into_one_table_at_once(filled):
    runs = [
        filled.run(job(params={"how": how, "seconds": 0.01}, tiles=((x, 0), (x + 1, 0))))
        for x, how in ((0, "min"), (1, "max"))
    ]
    for run in runs:
        run.wait()
    found = filled.read("map", columns=["tile_x"]).read_all().column(0).to_pylist()
    assert Counter(found) == {0: 1, 1: 1, 2: 1}


def test_a_float_table_is_its_own_kind(filled):
    """NaN, nodata of float32 bands, does not equal itself; the table is the same all the same."""
    bands = [OutputBand("value", "a value", dtype="float32", scale=1.0, nodata=float("nan"))]
    schema = results_schema("aster_l1t", "res-30_tilesize-96", "toy", bands)
    filled.ensure("floats", schema)
    filled.ensure("floats", schema)
    with pytest.raises(TableError, match="was made for"):
        filled.ensure("floats", results_schema("aster_l1t", "res-30_tilesize-96", "other", bands))
