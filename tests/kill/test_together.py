"""Processes that meet in one warehouse: nothing lost, nothing twice, no commit given up."""

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from command import KILLED, geoquarry, start, wait
from rows import GRID, SENSOR, made_up_row, made_up_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = pytest.mark.kill
PRELUDE = """
import sys
sys.path.insert(0, {tests!r})
from datetime import timedelta
from rows import made_up_row
from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
engine = open_engine({house!r}, workers=1)
print("ready", flush=True)
sys.stdin.readline()
"""
INGEST = """
for round_ in range({rounds}):
    for granule in {granules}:
        with engine.appender("tiles") as appender:
            rows = [made_up_row(x, 5, granule, size=16, seed={seed}) for x in (3, 4)]
            appender.add_granule(rows[0]["granule_id"], rows)
"""
RUN = """
for round_ in range({rounds}):
    for mosaic in ("min", "median"):
        trigger = Trigger("mosaic", "tiles", "maps", params={{"mosaic": mosaic}})
        run_phases(engine, job_of(engine, trigger))
"""
VACUUM = """
for round_ in range({rounds}):
    for table in engine.tables():
        engine.vacuum(table, older_than=timedelta(seconds={seconds}), keep=2)
"""


def begin(code, house, **values):
    tests = str(Path(__file__).parents[1])
    text = (PRELUDE + code).format(tests=tests, house=str(house), **values)
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def all_at_once(*jobs):
    """Let processes go when all are ready; each must end well."""
    for job in jobs:
        assert job.stdout.readline() == "ready\n", job.stderr.read()
    for job in jobs:
        job.stdin.write("go\n")
        job.stdin.flush()
    for job in jobs:
        _, said = job.communicate(timeout=600)
        assert job.returncode == 0, said


def digest(engine, table):
    return parity_digest(engine.read(table).read_all().to_pylist())


@pytest.fixture
def house(tmp_path):
    engine = open_engine(str(tmp_path / "w"), workers=2)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    return engine


@pytest.mark.parametrize("writers", [2, 4])
@pytest.mark.parametrize("keys", ["same keys", "other keys"])
def test_writers_of_one_table(house, rounds, writers, keys):
    """Each commit is one snapshot: none is lost, none comes twice, none is given up."""
    location, count = house.warehouse.location, 2 * rounds
    granules = [[0, 1] if keys == "same keys" else [2 * n, 2 * n + 1] for n in range(writers)]
    all_at_once(
        *(
            begin(INGEST, location, rounds=count, granules=mine, seed=number)
            for number, mine in enumerate(granules)
        )
    )
    commits = [row["commit_id"] for row in house.history("tiles")]
    assert len(commits) == len(set(commits)) == writers * count * 2
    rows = house.read("tiles").read_all().to_pylist()
    found = Counter((row["granule_id"], row["tile_x"]) for row in rows)
    wanted = {(f"granule_{g:03d}", x) for mine in granules for g in mine for x in (3, 4)}
    assert found == Counter(wanted)
    for granule in {g for mine in granules for g in mine}:
        # Both rows of a granule come from one and the same writer.
        mine = [row for row in rows if row["granule_id"] == f"granule_{granule:03d}"]
        writer = [
            [made_up_row(row["tile_x"], 5, granule, size=16, seed=n)["b01"] for n in range(writers)]
            for row in mine
        ]
        assert len({known.index(row["b01"]) for known, row in zip(writer, mine, strict=True)}) == 1
    assert house.check("tiles") == []


def test_writers_beside_vacuums_that_spare_nothing(house, rounds):
    """`--older-than 0s` takes all that is not needed, and nothing that a writer is about to use."""
    location, count = house.warehouse.location, 2 * rounds
    house.append("tiles", [made_up_row(x, 5, 9, size=16) for x in (3, 4)])
    all_at_once(
        begin(INGEST, location, rounds=count, granules=[1, 2], seed=0),
        begin(INGEST, location, rounds=count, granules=[2, 3], seed=0),
        begin(VACUUM, location, rounds=4 * count, seconds=0),
        begin(VACUUM, location, rounds=4 * count, seconds=0),
    )
    rows = house.read("tiles", ["granule_id", "tile_x"]).read_all().to_pylist()
    wanted = {(f"granule_{g:03d}", x) for g in (1, 2, 3, 9) for x in (3, 4)}
    assert Counter((row["granule_id"], row["tile_x"]) for row in rows) == Counter(wanted)
    assert house.check("tiles") == []


def test_ingest_beside_run_beside_vacuum(house, rounds):
    """Four ingests (two of the same granules), runs and vacuums: nothing lost, nothing doubled."""
    location = house.warehouse.location
    house.append("tiles", [made_up_row(x, 5, 0, size=16) for x in (3, 4)])
    run_phases(house, job_of(house, Trigger("mosaic", "tiles", "maps")))
    all_at_once(
        begin(INGEST, location, rounds=rounds, granules=[1, 2, 3], seed=0),
        begin(INGEST, location, rounds=rounds, granules=[4, 5, 6], seed=0),
        begin(INGEST, location, rounds=rounds, granules=[7, 8], seed=0),
        begin(INGEST, location, rounds=rounds, granules=[8, 7], seed=0),
        begin(RUN, location, rounds=rounds),
        begin(VACUUM, location, rounds=rounds, seconds=5),
    )
    rows = house.read("tiles", ["granule_id", "tile_x"]).read_all().to_pylist()
    wanted = {(f"granule_{g:03d}", x) for g in range(9) for x in (3, 4)}
    assert Counter((row["granule_id"], row["tile_x"]) for row in rows) == Counter(wanted)
    assert house.check("tiles") == []
    run_phases(house, job_of(house, Trigger("mosaic", "tiles", "maps")))
    assert len(house.read("maps", ["tile_x"]).read_all()) == 2
    assert house.check("maps") == []


@pytest.fixture
def filled(house):
    house.append("tiles", made_up_rows([(x, y) for x in range(3) for y in range(2)], granules=3))
    return house


def test_the_same_job_twice_at_once(filled):
    """Both end well; the table is that of one."""
    where = ["--warehouse", filled.warehouse.location]
    assert geoquarry("run", "mineral_indices", "tiles", "alone", *where).code == 0
    words = ["run", "mineral_indices", "tiles", "maps", *where]
    jobs = [start(*words) for _ in range(2)]
    ended = [wait(job) for job in jobs]
    assert [one.code for one in ended] == [0, 0], ended
    assert digest(filled, "maps") == digest(filled, "alone")
    for table in ("maps", "maps_sums", "maps_gains", "maps_field"):
        assert filled.check(table) == []


def test_the_same_job_twice_at_once_and_one_is_killed(filled):
    """What the living one has written is not taken for what the dead one left."""
    where = ["--warehouse", filled.warehouse.location]
    assert geoquarry("run", "mosaic", "tiles", "alone", *where).code == 0
    for number, point in enumerate(("run.tile:8", "commit.manifests:3", "run.computed")):
        maps = f"maps{number}"
        words = ["run", "mosaic", "tiles", maps, *where]
        jobs = [start(*words, failpoint=point), start(*words)]
        ended = [wait(job) for job in jobs]
        # The other one may have been so quick that nothing was left to do.
        assert (ended[0].code, ended[1].code) in [(KILLED, 0), (0, 0)], ended
        assert digest(filled, maps) == digest(filled, "alone")
        filled.vacuum(maps, timedelta(0), keep=1)
        assert filled.check(maps) == []


def test_two_jobs_into_one_table_at_once(filled):
    """Other tiles of one method: all of both; the same tiles: one of the two, tile by tile."""
    where = ["--warehouse", filled.warehouse.location]
    words = ["run", "mosaic", "tiles"]
    scope = ["--scope", "tile", *where]
    for table, mosaic in (("least", "min"), ("middle", "median")):
        assert geoquarry(*words, table, "--mosaic", mosaic, *scope).code == 0
    left = ["--tiles", "0,0", "0,1", "1,0", "--mosaic", "min"]
    right = ["--tiles", "1,0", "1,1", "2,0", "2,1", "--mosaic", "median"]
    jobs = [start(*words, "both", *tiles, *scope) for tiles in (left, right)]
    ended = [wait(job) for job in jobs]
    assert [one.code for one in ended] == [0, 0], ended
    least, middle, both = (
        {
            (row["tile_x"], row["tile_y"]): parity_digest([row])
            for row in filled.read(t).read_all().to_pylist()
        }
        for t in ("least", "middle", "both")
    )
    assert both.keys() == least.keys()
    for tile, found in both.items():
        wanted = {(0, 0): [least], (0, 1): [least], (1, 0): [least, middle]}.get(tile, [middle])
        assert found in [table[tile] for table in wanted], tile
    assert filled.check("both") == []
