"""Rows of a MaxCompute table in and out: the same as on the local engine, also when many write."""

import datetime as dt
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pytest
from rows import GRID, made_up_row, made_up_rows, mixed_rows

from geoquarry.engine import local, maxcompute_lock
from geoquarry.engine.maxcompute_append import put_rows
from geoquarry.engine.maxcompute_commit import replace_rows
from geoquarry.engine.maxcompute_connection import FULL_SCAN
from geoquarry.engine.maxcompute_lock import Lock, lease_left_s
from geoquarry.engine.maxcompute_spool import spooled
from geoquarry.engine.maxcompute_tables import drop_physical, helper_name, make_helper
from geoquarry.engine.maxcompute_upload import upload
from geoquarry.jobs.download import download
from geoquarry.jobs.upload import upload as upload_file
from geoquarry.schemas import blob
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import CommitConflict, TableError, UnknownName, UsageError
from geoquarry.schemas.harmony_tables import gains_schema
from geoquarry.schemas.tables import OutputBand, results_schema, tiles_schema

pytestmark = pytest.mark.maxcompute

TILES = tiles_schema("aster_l1t", GRID)
FAR = ((3, 5), (4, 5), (15, 15), (16, 15), (40, 80))


@pytest.fixture
def engine(maxcompute_engine):
    found = maxcompute_engine()
    found.create("aster", TILES)
    return found


@pytest.fixture
def here(tmp_path):
    found = local.open_engine(str(tmp_path / "local"))
    found.create("aster", TILES)
    return found


def content(engine, table="aster"):
    return parity_digest(engine.read(table).read_all().to_pylist())


def keys(engine, **options):
    rows = engine.read("aster", ["tile_x", "tile_y", "granule_id"], **options).read_all()
    return [tuple(row.values()) for row in rows.to_pylist()]


def left_over(odps):
    return [table.name for table in odps.list_tables() if "__" in table.name]


def test_rows_come_back_as_on_the_local_engine(engine, here, odps):
    rows = [*made_up_rows(FAR), made_up_row(3, 6, 9, given=False)]
    for one in (engine, here):
        report = one.append("aster", rows)
        assert (report.rows, report.units) == (21, 5)
    mine, theirs = (one.read("aster").read_all() for one in (engine, here))
    assert mine.schema.equals(theirs.schema, check_metadata=True)
    assert mine.select(["tile_x", "tile_y", "granule_id"]).equals(
        theirs.select(["tile_x", "tile_y", "granule_id"])
    )
    assert content(engine) == content(here)
    stored = mine["b01"][0].as_py()
    assert blob.header(stored).codec == "zlib"  # workers have no zstd
    assert all(batch.num_rows == 1 for batch in engine.read("aster", ["b01"]))
    assert engine.check("aster") == []
    assert left_over(odps) == []


WHERE = [
    "acquired < '2003-06-01'",
    "acquired = TIMESTAMP '2003-01-01 18:00:00'",
    "cloud_fraction < 0.5 AND tile_x / 2 = 1.5",
    "xa IS NULL",
    "xa[1] > 0.002 AND granule_id LIKE '%_001'",
    "meta->>'n' IS NULL AND len(gain_code) = 9",
    "granule_id IN ('granule_002', 'it''s') OR tile_y = 80",
    "false",
]


@pytest.mark.parametrize("where", WHERE)
def test_conditions_mean_what_they_mean_locally(engine, here, where, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    for one in (engine, here):
        one.append("aster", [*made_up_rows(FAR, granules=2), made_up_row(3, 6, 9, given=False)])
    assert keys(engine, where=where) == keys(here, where=where)
    tiles = [(3, 5), (40, 80), (99, 99)]
    assert keys(engine, where=where, tiles=tiles) == keys(here, where=where, tiles=tiles)
    columns = ["b3n", "acquired", "view_zenith_deg", "tile_x"]
    mine, theirs = (one.read("aster", columns, where=where).read_all() for one in (engine, here))
    assert mine.drop(["b3n"]).equals(theirs.drop(["b3n"]))
    for a, b in zip(mine["b3n"], theirs["b3n"], strict=True):
        assert np.array_equal(blob.decode(a.as_py()), blob.decode(b.as_py()))
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("where", ["", WHERE[0], WHERE[4], "false"])
def test_many_zones_are_asked_for_in_one_statement(engine, here, where, monkeypatch, server):
    for one in (engine, here):
        one.append("aster", [*made_up_rows(FAR, granules=2), made_up_row(3, 6, 9, given=False)])
    monkeypatch.setattr("geoquarry.engine.maxcompute_connection.SESSIONS", 2)
    engine.connection._opened.clear()
    server.requests.clear()
    columns = ["granule_id", "acquired", "xa", "tile_y", "tile_x"]
    mine, theirs = (one.read("aster", columns, where=where).read_all() for one in (engine, here))
    assert mine.equals(theirs)
    assert server.count("download.create") == 0
    mine, theirs = (
        parity_digest(one.read("aster", where=where).read_all().to_pylist())
        for one in (engine, here)
    )
    assert mine == theirs


def test_conditions_are_refused_as_locally(engine):
    engine.append("aster", mixed_rows(granules=1))
    for where in ("b01 IS NULL", "nothing = 1", "tile_x = (SELECT 1)"):
        with pytest.raises(UsageError):
            engine.read("aster", where=where)
    with pytest.raises(UnknownName, match="no column 'b99'"):
        engine.read("aster", ["b99"])


def test_a_row_of_the_same_key_is_replaced_and_the_others_stay(engine, here, odps):
    for one in (engine, here):
        one.append("aster", made_up_rows(FAR))
        one.append("aster", [made_up_row(3, 5, 1, seed=7), made_up_row(40, 80, 8)])
        one.append("aster", [])
    assert content(engine) == content(here)
    assert engine.describe("aster")["rows"] == 21
    assert left_over(odps) == []


def test_only_zones_that_are_touched_are_written(engine, server):
    engine.append("aster", made_up_rows(FAR, granules=2))
    server.requests.clear()
    engine.append("aster", [made_up_row(15, 15, 0, seed=3)])
    [statement] = [
        request.body.decode() for request in server.requests if b"INSERT" in request.body
    ]
    assert "INSERT OVERWRITE" in statement
    assert "x0000_y0000" in statement
    assert "x0002_y0005" not in statement
    server.requests.clear()
    engine.append("aster", [made_up_row(15, 15, 5)])  # replaces nothing: nothing is copied
    assert any(b"INSERT INTO" in request.body for request in server.requests)


def test_what_is_refused_is_refused_before_anything_is_sent(engine, server):
    engine.append("aster", [made_up_row(3, 5, 0)])
    before = content(engine)
    server.requests.clear()
    noise = np.random.default_rng(0).integers(0, 255, (3000, 3000)).astype(np.uint8)
    large = made_up_row(4, 5, 0) | {"b02": blob.encode(noise, codec="raw")}
    bad = {
        "column 'b02': 8.58 MiB; MaxCompute takes 8 MiB": large,
        "comes twice": made_up_row(3, 5, 0),
        "a row has 'other'": made_up_row(4, 5, 1) | {"grid": "other"},
        "no column 'more'": made_up_row(4, 5, 1) | {"more": 1},
        "Not a tile blob": made_up_row(4, 5, 1) | {"b01": b"x" * 40},
        "int32 expected": made_up_row(4, 5, 1) | {"row0": "many"},
    }
    for said, row in bad.items():
        with pytest.raises(Exception, match=said):
            engine.append("aster", [made_up_row(3, 5, 0), row])
    assert {request.method for request in server.requests} <= {"GET"}
    assert content(engine) == before
    assert list(engine.scratch().iterdir()) == []


def test_the_projects_own_maximum(maxcompute_engine, server):
    noise = np.random.default_rng(0).integers(0, 255, (3000, 3000)).astype(np.uint8)
    large = made_up_row(4, 5, 0) | {"b02": blob.encode(noise, codec="raw")}
    engine = maxcompute_engine(max_cell_bytes=16 << 20)
    engine.create("aster", TILES)
    with pytest.raises(TableError, match=r"8\.58 MiB; the project takes 8 MiB"):
        engine.append("aster", [large])
    assert server.count("upload.block") == 0
    server.max_field_size = 16 << 20
    engine.append("aster", [large])
    assert engine.describe("aster")["rows"] == 1


def test_many_blocks_in_parallel_and_one_commit(engine, server, monkeypatch):
    monkeypatch.setattr("geoquarry.engine.maxcompute_spool.BLOCK_BYTES", 100_000)
    monkeypatch.setattr("geoquarry.engine.maxcompute_spool.BATCH_BYTES", 40_000)
    rows = made_up_rows(FAR)
    report = engine.append("aster", rows)
    assert report.files == server.count("upload.block") > 4
    assert server.count("upload.create") == server.count("upload.commit") == 1
    assert max(server.batch_bytes) < 80_000
    assert engine.describe("aster")["rows"] == 20
    assert engine.check("aster") == []


def test_granules_replace_all_their_rows(engine, here):
    for one in (engine, here):
        one.append("aster", made_up_rows(FAR))
        with one.appender("aster", granules=2) as appender:
            appender.add_granule("granule_000", [made_up_row(3, 5, 0, seed=2)])
            appender.add_granule("granule_001", [], tiles=[(4, 5), (40, 80)])
            appender.add_granule("granule_007", [made_up_row(9, 9, 7)], replaces=["granule_002"])
            appender.add_granule("granule_003", [])
        assert appender.report.rows == 2
        assert len(appender.report.commit_ids) == 2
    assert keys(engine) == keys(here)
    assert content(engine) == content(here)
    assert engine.describe("aster")["zones"] == len({(x // 16, y // 16) for x, y, _ in keys(here)})


def test_files_on_their_way_are_deleted(engine, tmp_path):
    with engine.appender("aster") as appender:
        appender.add_granule("granule_000", [made_up_row(3, 5, 0)])
    assert list((tmp_path / "maxcompute").rglob("*/data/*/*.parquet")) == []
    appender = engine.appender("aster")
    appender.files.write("granule_001", [made_up_row(3, 5, 1)])  # a process that is killed now
    assert len(list((tmp_path / "maxcompute").rglob("*/data/*/*.parquet"))) == 1
    appender.close()
    assert engine.vacuum("aster", dt.timedelta(0)).files >= 1
    assert list((tmp_path / "maxcompute").rglob("*/data/*/*.parquet")) == []


def staged(engine, schema, name, rows):
    """A staging table as a job makes it."""
    table = engine.table(name)
    staging = make_helper(engine.connection, helper_name(table.physical, "result"), schema)
    batches = (pa.RecordBatch.from_pylist([row], schema=schema) for row in rows)
    with spooled(batches, table.layout, engine.scratch()) as spool:
        upload(engine.connection, staging, spool)
    return table, staging


RESULTS = results_schema("aster_l1t", GRID, "mosaic", [OutputBand("b01", "a band")])


def answer(x, y, status, value=1):
    raster = {
        "flags": blob.encode(np.zeros((2, 2), np.uint16)),
        "count": blob.encode(np.ones((2, 2), np.uint8)),
        "b01": blob.encode(np.full((2, 2), value, np.int16)),
    }
    row = dict.fromkeys(RESULTS.names) | {"grid": GRID, "method": "mosaic", "granules": []}
    row |= {"tile_x": x, "tile_y": y, "status": status, "message": str(value)}
    return row | (raster if status == "ok" else {})


def said(engine):
    rows = engine.read("map", ["tile_x", "tile_y", "status", "message"]).read_all().to_pylist()
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("whole", [False, True])
def test_a_failed_tile_does_not_replace_a_good_one(engine, whole):
    engine.create("map", RESULTS)
    old = [answer(1, 1, "ok"), answer(2, 1, "failed"), answer(3, 1, "ok"), answer(40, 1, "ok")]
    replace_rows(*staged(engine, RESULTS, "map", old), keep_good=True)
    new = [answer(1, 1, "failed", 2), answer(2, 1, "failed", 2), answer(3, 1, "ok", 2)]
    new.append(answer(5, 1, "failed", 2))
    table, staging = staged(engine, RESULTS, "map", new)
    first = replace_rows(table, staging, keep_good=True, whole=whole)
    wanted = [(1, 1, "ok", "1"), (2, 1, "failed", "2"), (3, 1, "ok", "2"), (5, 1, "failed", "2")]
    assert said(engine) == wanted + ([] if whole else [(40, 1, "ok", "1")])
    assert first.added == 3
    replace_rows(table, staging, keep_good=True, whole=whole)  # again: nothing changes
    assert said(engine) == wanted + ([] if whole else [(40, 1, "ok", "1")])
    assert engine.check("map") == []


def test_the_whole_content_can_be_replaced_by_nothing(engine):
    engine.create("map", RESULTS)
    replace_rows(*staged(engine, RESULTS, "map", [answer(1, 1, "ok"), answer(40, 1, "ok")]))
    replace_rows(*staged(engine, RESULTS, "map", []), whole=True)
    assert said(engine) == []
    assert engine.describe("map")["snapshot_id"] is None


def test_a_table_without_tiles(engine, here):
    schema = gains_schema("aster_l1t", GRID)
    row = {"grid": GRID, "harmony_gain": [1.0] * 9, "harmony_offset": None, "pixels": 2**40}
    for one in (engine, here):
        one.create("gains", schema)
        one.append("gains", [row | {"granule_id": name, "component": 1} for name in "abc"])
        one.append("gains", [row | {"granule_id": "b", "component": 2}])
    mine, theirs = (one.read("gains").read_all() for one in (engine, here))
    assert mine.equals(theirs)
    assert keys_of(mine) == ["a", "b", "c"]
    replace_rows(*staged(engine, schema, "gains", []), whole=True)
    assert engine.read("gains").read_all().num_rows == 0
    assert engine.describe("gains")["snapshot_id"] is None


def keys_of(table):
    return table["granule_id"].to_pylist()


def test_two_writers_at_once_lose_nothing(engine, maxcompute_engine, odps):
    def write(number):
        own = maxcompute_engine()
        for place in range(2):
            own.append("aster", [made_up_row(3, 5 + place, number), made_up_row(4, 5, number)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys(engine))) == len(keys(engine)) == 12
    assert left_over(odps) == []


WRITER = """
import sys
sys.path[:0] = {paths!r}
from rows import made_up_row
from geoquarry.engine.maxcompute import open_engine
engine = open_engine(sys.argv[1], project={project!r}, endpoint={endpoint!r},
                     tunnel_endpoint={tunnel!r}, access_id={id!r}, secret_file=sys.argv[2])
engine.append("aster", [made_up_row(x, 5, int(sys.argv[3])) for x in (3, 4, 40)])
"""


def sent(odps):
    """Whether a lock names the statement that its process has sent."""
    for name in left_over(odps):
        if "__lock_" in name:
            table = odps.get_table(name)
            table.reload()  # the client remembers tables
            if "instance" in (table.comment or ""):
                return True
    return False


def test_two_processes_and_one_that_was_killed(engine, server, tmp_path, odps):
    secret = tmp_path / "secret"
    secret.write_text(server.secret)
    code = WRITER.format(
        paths=[path for path in sys.path if path],
        project=server.project,
        endpoint=server.endpoint,
        tunnel=server.tunnel_endpoint,
        id=server.access_id,
    )

    def start(number):
        words = [sys.executable, "-c", code, str(tmp_path / f"wh{number}"), str(secret)]
        return subprocess.Popen([*words, str(number)])

    slow = server.faults.add("task_slow", times=1, match="INSERT OVERWRITE", seconds=8)
    killed = start(0)
    until = time.monotonic() + 60
    while not (slow.hits and sent(odps)) and time.monotonic() < until:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert left_over(odps) != []  # its lock and its rows on their way
    writers = [start(1), start(2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert len(keys(engine)) == 9  # what the killed one had sent came first, then the others
    again = start(0)
    assert again.wait(120) == 0
    assert len(set(keys(engine))) == len(keys(engine)) == 9
    assert left_over(odps) == []  # also the rows on their way of the killed one
    assert engine.check("aster") == []


def test_a_lock_is_held_by_one_and_taken_from_the_dead(engine, odps):
    connection = engine.connection
    with Lock(connection, "aster"), pytest.raises(CommitConflict, match="have been writing"):
        Lock(connection, "aster", patience_s=0.3).__enter__()
    assert left_over(odps) == []
    dead = Lock(connection, "aster", lease_s=0.0)
    dead._make()  # a process that was killed: nobody renews or drops it
    time.sleep(1.1)
    with Lock(connection, "aster", patience_s=5):
        assert len(left_over(odps)) == 1
    assert left_over(odps) == []


def test_a_lock_of_a_namesake_of_this_host_is_believed(engine, odps):
    other = Lock(engine.connection, "aster")
    other.about |= {"pid": 2**22 + 1, "born": "0ther-1-1"}  # a number that is nobody's here
    other._make()
    with pytest.raises(CommitConflict, match="have been writing"):
        Lock(engine.connection, "aster", patience_s=0.3).__enter__()
    other._drop()


def test_a_lock_outlives_a_statement_that_does_not_end(engine, odps, server, monkeypatch):
    monkeypatch.setattr(maxcompute_lock, "SETTLE_S", 0.0)
    connection = engine.connection
    server.faults.add("task_slow", match="COUNT", seconds=300)
    instance = connection.start("SELECT COUNT(*) AS n FROM `aster`", FULL_SCAN)

    def given_up():
        with Lock(connection, "aster") as lock:
            lock.note(instance)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        given_up()
    assert len(left_over(odps)) == 1
    with pytest.raises(CommitConflict, match="have been writing"):
        Lock(connection, "aster", patience_s=0.3).__enter__()
    connection.stop(instance)
    with Lock(connection, "aster", patience_s=60):
        pass
    assert left_over(odps) == []


def test_a_lock_is_renewed_while_it_is_held(engine, odps):
    with Lock(engine.connection, "aster", lease_s=9) as lock:  # renewed after 3 s
        (first,) = left_over(odps)
        until = time.monotonic() + 60
        while (now := left_over(odps)) in ([first], []) or len(now) > 1:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert lease_left_s(now[0]) > lease_left_s(first)
        lock.holds()
        with pytest.raises(CommitConflict):
            Lock(engine.connection, "aster", patience_s=0.3).__enter__()
    assert left_over(odps) == []


def test_a_table_that_changes_while_it_is_read(engine):
    engine.append("aster", made_up_rows(FAR, granules=2))
    reader = engine.read("aster", where="granule_id = 'granule_001'")
    engine.append("aster", [made_up_row(x, y, 0, seed=4) for x, y in FAR])
    assert reader.read_all().num_rows == 5  # rows that did not change are found
    reader = engine.read("aster", where="granule_id = 'granule_000'")
    assert reader.read_all().num_rows == 5


def test_files_up_and_down(engine, here, tmp_path):
    here.append("aster", mixed_rows(granules=2))
    for name in ("a.parquet", "a.csv"):
        download(here, "aster", tmp_path / name)
        assert upload_file(engine, tmp_path / name, "again").rows == 6
        assert content(engine, "again") == content(here)
        download(engine, "again", tmp_path / f"b-{name}")
        assert upload_file(here, tmp_path / f"b-{name}", f"back{name[2:3]}").rows == 6
        assert content(here, f"back{name[2:3]}") == content(here)
        engine.drop("again")


def test_put_rows_can_be_given_up(engine, odps):
    def stop():
        raise UsageError("enough")

    rows = [pa.RecordBatch.from_pylist([made_up_row(3, 5, 0)], schema=TILES)]
    with pytest.raises(UsageError, match="enough"):
        put_rows(engine.table("aster"), rows, engine.scratch(), check=stop)
    assert engine.describe("aster")["rows"] == 0
    assert left_over(odps) == []
    drop_physical(engine.connection, "not_there")
