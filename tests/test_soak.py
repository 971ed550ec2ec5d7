"""Long stories, many rounds: writers that meet, and jobs that are killed at any moment."""

import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from rows import GRID, SENSOR, made_up_row, made_up_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = pytest.mark.heavy
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
"""
INGEST = """
for round_ in range({rounds}):
    for granule in {granules}:
        with engine.appender("tiles") as appender:
            rows = [made_up_row(x, 5, granule, size=16) for x in (3, 4)]
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
        engine.vacuum(table, older_than=timedelta(seconds=5), keep=2)
"""


def start(code, house, **values):
    tests = str(Path(__file__).parent)
    text = (PRELUDE + code).format(tests=tests, house=str(house), **values)
    return subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True)


def finish(*jobs):
    for job in jobs:
        _, said = job.communicate(timeout=600)
        assert job.returncode == 0, said


def test_writers_readers_and_a_vacuum_meet(tmp_path, rounds):
    """Four ingests (two of the same granules), runs and vacuums: nothing lost, nothing doubled."""
    house = tmp_path / "w"
    engine = open_engine(str(house))
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", [made_up_row(x, 5, 0, size=16) for x in (3, 4)])
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "maps")))
    finish(
        start(INGEST, house, rounds=rounds, granules=[1, 2, 3]),
        start(INGEST, house, rounds=rounds, granules=[4, 5, 6]),
        start(INGEST, house, rounds=rounds, granules=[7, 8]),
        start(INGEST, house, rounds=rounds, granules=[8, 7]),
        start(RUN, house, rounds=rounds),
        start(VACUUM, house, rounds=rounds),
    )
    keys = [
        (row["granule_id"], row["tile_x"])
        for row in engine.read("tiles", ["granule_id", "tile_x"]).read_all().to_pylist()
    ]
    assert sorted(keys) == sorted({(f"granule_{g:03d}", x) for g in range(9) for x in (3, 4)})
    assert engine.check("tiles") == []
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "maps")))
    assert len(engine.read("maps", ["tile_x"]).read_all()) == 2
    assert engine.check("maps") == []


def test_a_job_killed_at_any_moment_ends_in_the_same_table(tmp_path, rounds):
    """SIGKILL at random moments, then the same command again: the digest of the quiet run."""
    tiles = [(x, y) for x in range(4) for y in range(3)]
    rows = made_up_rows(tiles, granules=3)
    trigger = Trigger("mineral_indices", "tiles", "maps")

    def filled(name):
        engine = open_engine(str(tmp_path / name), workers=2)
        engine.create("tiles", tiles_schema(SENSOR.name, GRID))
        engine.append("tiles", rows)
        return engine

    quiet = filled("quiet")
    began = time.monotonic()
    run_phases(quiet, job_of(quiet, trigger))
    length = time.monotonic() - began
    expected = parity_digest(quiet.read("maps").read_all().to_pylist())
    code = "run_phases(engine, job_of(engine, Trigger('mineral_indices', 'tiles', 'maps')))"
    moments = random.Random(11)
    for number in range(2 * rounds):
        engine = filled(f"killed{number}")
        job = start(code, engine.warehouse.location)
        time.sleep(1.5 + moments.uniform(0, 2 * length + 0.5))
        job.send_signal(signal.SIGKILL)
        job.communicate()
        again = job_of(engine, trigger, resume=bool(number % 2))
        run_phases(engine, again)
        assert parity_digest(engine.read("maps").read_all().to_pylist()) == expected
        engine.vacuum("maps", older_than=timedelta(0), keep=1)
        assert engine.check("maps") == []
        data = list(Path(engine.describe("maps")["location"], "data").rglob("*.parquet"))
        assert len(data) == len(tiles)  # no orphan stays
