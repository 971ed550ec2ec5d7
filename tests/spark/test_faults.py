"""Whatever dies on the way, no tile is lost and none comes twice."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster import wait_for
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine.driver import Driver
from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled, Run
from geoquarry.engine.spark_tasks import job_group, stream
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.tables import tiles_schema

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark"),
]
TILES = ((3, 5), (4, 5), (4, 6), (5, 6), (5, 7))
ROWS = made_up_rows(TILES, granules=2)


@pytest.fixture
def engine(spark_engine, tmp_path):
    engine = spark_engine(tmp_path / "wh")
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", ROWS)
    return engine


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def job(engine, notes, target="map", **trouble):
    params = {"mosaic": "min", "scope": "tile"}
    found = job_of(engine, Trigger("mosaic", "tiles", target, params=params))
    trouble = {"folder": str(notes), **trouble}
    return replace(found, udf="trouble:compute", params={**found.params, "trouble": trouble})


def rows_of(engine, target="map"):
    return engine.read(target).read_all().to_pylist()


def attempts_per_tile(notes):
    from trouble import attempts

    counts = {}
    for tile, _, _ in attempts(notes):
        counts[tile] = counts.get(tile, 0) + 1
    return counts


def expected(engine, made):
    """The digest of what the local engine makes of the same job."""
    local = open_engine(engine.warehouse.location, workers=1)
    local.run(replace(made, target="local")).wait()
    return parity_digest(rows_of(local, "local"))


def data_files(engine, target="map"):
    folder = Path(engine.describe(target)["location"], "data")
    return [path for path in folder.rglob("*") if path.is_file()]


def give_up(engine, target="map"):
    """The note of this very process counts as alive until it is given up."""
    for note in Path(engine.describe(target)["location"], "parts").rglob("*.json"):
        note.write_text(note.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))


def committed(engine, target="map"):
    return {file.file_path for file in engine.warehouse.table(target).files()}


def test_a_killed_python_worker_costs_nothing(engine, notes):
    made = job(engine, notes, kill=[[4, 5]], exit=[[5, 7]])
    report = engine.run(made).wait(120)
    assert (report.counts["ok"], report.failed) == (5, [])
    found = attempts_per_tile(notes)
    assert found["4_5"] >= 2
    assert found["5_7"] >= 2
    assert len(rows_of(engine)) == 5
    assert parity_digest(rows_of(engine)) == expected(engine, made)
    assert engine.check("map") == []


def with_work(engine, made, wrap):
    """Run a job whose tiles are computed by something around `TileWork`."""

    def execute(work, tasks, run):
        return stream(
            engine.session, wrap(work), tasks, check=run.check, group="wrapped", about="a test"
        )

    driver = Driver(engine.warehouse, made)
    return Run(lambda run: driver.run(run, execute))


def test_a_task_that_breaks_once_is_tried_again_and_its_file_is_vacuumed(engine, notes):
    from trouble import BreaksAfterWriting

    made = job(engine, notes)
    report = with_work(engine, made, lambda work: BreaksAfterWriting(work, str(notes))).wait(120)
    assert (report.counts["ok"], report.failed) == (5, [])
    assert len(rows_of(engine)) == 5
    assert len(data_files(engine)) == 10  # every first attempt wrote its file, and then broke
    assert len(committed(engine)) == 5
    gone = engine.vacuum("map", older_than=timedelta(0), keep=1)
    assert gone.files >= 10  # files and their indices
    assert {str(path) for path in data_files(engine)} == committed(engine)
    assert parity_digest(rows_of(engine)) == expected(engine, made)
    assert engine.check("map") == []


def test_a_task_that_always_breaks_ends_the_job_with_its_reason(engine, notes):
    from trouble import BreaksAfterWriting

    made = replace(job(engine, notes), tiles=((4, 5),))
    run = with_work(engine, made, lambda work: BreaksAfterWriting(work, str(notes), always=True))
    with pytest.raises(GeoquarryError, match="OSError: the disk is full, says the test"):
        run.wait(120)
    assert rows_of(engine) == []
    assert engine.history("map") == []
    assert engine.run(made).wait(120).counts["ok"] == 1


def test_a_worker_that_always_dies_ends_the_job_with_a_reason(engine, notes):
    made = replace(job(engine, notes, kill=[[4, 5]]), tiles=((4, 5), (4, 6)))
    name = Path(notes, "kill-4_5")
    stop = threading.Event()

    def forget():
        while not stop.wait(0.01):
            name.unlink(missing_ok=True)

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        with pytest.raises(GeoquarryError, match="died again and again"):
            engine.run(made).wait(120)
    finally:
        stop.set()
        thread.join()
    assert rows_of(engine) == []


def test_of_two_attempts_at_a_tile_the_reported_one_is_committed(engine, notes):
    """What speculation does: both attempts write, one is heard of."""
    made = job(engine, notes)

    def execute(work, tasks, run):
        for task in tasks:
            first, second = work(task), work(task)
            assert first.file.path != second.file.path
            yield first if task.tile_x % 2 else second

    driver = Driver(engine.warehouse, made)
    assert Run(lambda run: driver.run(run, execute)).wait(60).counts["ok"] == 5
    assert (len(rows_of(engine)), len(data_files(engine))) == (5, 10)
    engine.vacuum("map", older_than=timedelta(0), keep=1)
    assert {str(path) for path in data_files(engine)} == committed(engine)
    assert engine.check("map") == []


def test_cancel_stops_the_tasks_and_commits_nothing(engine, notes):
    made = job(engine, notes, seconds=1.0)
    context = engine.session.sparkContext
    run = engine.run(made)
    while run.progress[0] < 1:
        time.sleep(0.02)
    (note,) = Path(engine.describe("map")["location"], "parts").rglob("*.json")
    (active,) = context.statusTracker().getJobIdsForGroup(job_group(note.stem))
    assert context.statusTracker().getJobInfo(active).status == "RUNNING"
    since = time.monotonic()
    run.cancel()
    with pytest.raises(Cancelled):
        run.wait(60)
    assert time.monotonic() - since < 5
    assert run.status == "cancelled"
    assert context.statusTracker().getActiveJobsIds() == []
    assert rows_of(engine) == []
    assert engine.history("map") == []
    assert 1 <= run.progress[0] < 5
    give_up(engine)
    again = engine.run(replace(made, resume=True)).wait(60)
    assert again.counts["ok"] == 5
    assert again.counts["resumed"] >= 1
    assert len(rows_of(engine)) == 5
    assert parity_digest(rows_of(engine)) == expected(engine, made)
    engine.vacuum("map", older_than=timedelta(0), keep=1)
    assert {str(path) for path in data_files(engine)} == committed(engine)


INTERRUPTED = """
    import sys
    from geoquarry.jobs import run
    from geoquarry.jobs.__main__ import main
    run.UDF = "trouble:slow"
    sys.exit(main(["run", "mosaic", "tiles", "map", "--mosaic", "min", "--scope", "tile",
                   "--warehouse", sys.argv[1], "--engine", "spark", "--workers", "1"]))
"""


def test_ctrl_c_in_a_terminal_stops_everything_and_commits_nothing(engine, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), engine.warehouse.location],
        env=env,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(
            lambda: process.poll() is not None or (engine.exists("map") and data_files(engine)),
            "tile",
        )
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells all processes of the command
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert "stopped; run it again" in err
        assert "Traceback" not in err
        assert "SparkException" not in err
        assert engine.warehouse.ledger.jobs()[0]["status"] == "cancelled"
        wait_for(lambda: not group_lives(process.pid), "end of Java and its workers", 30)
    finally:
        if group_lives(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert rows_of(engine) == []
    assert engine.history("map") == []
    made = job_of(engine, Trigger("mosaic", "tiles", "map", params={"mosaic": "min"}))
    assert engine.run(replace(made, resume=True)).wait(60).counts["ok"] == 5


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_resumed_run_takes_the_newest_complete_attempt(engine, notes):
    made = job(engine, notes)
    newest = []

    def execute(work, tasks, run):
        for task in tasks[:2]:
            work(task)
            newest.append(work(task).file.path)
        half = Path(newest[0]).with_name("x5_y6-0a1b2c3d.parquet.4e5f6a7b.tmp")
        half.write_bytes(b"a worker was killed while it wrote this")
        raise GeoquarryError("the driver dies here, says the test")
        yield

    driver = Driver(engine.warehouse, made)
    with pytest.raises(GeoquarryError, match="the driver dies"):
        Run(lambda run: driver.run(run, execute)).wait(60)
    give_up(engine)
    report = engine.run(replace(made, resume=True)).wait(60)
    assert (report.counts["ok"], report.counts["resumed"]) == (5, 2)
    assert set(newest) < committed(engine)
    engine.vacuum("map", older_than=timedelta(0), keep=1)
    assert {str(path) for path in data_files(engine)} == committed(engine)
    assert parity_digest(rows_of(engine)) == expected(engine, made)
