"""What a process that was killed leaves at the service: its statement, and its helper tables."""

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from toys import TILES, job, row, statements, values

from geoquarry.engine import maxcompute_note
from geoquarry.engine.maxcompute_note import note_text
from geoquarry.engine.maxcompute_tables import helper_name

pytestmark = [pytest.mark.maxcompute]
COMPUTE = "JOIN `maps__tasks"
WHOLE = {(0, 0): 5, (1, 0): 5}
WEEK = timedelta(days=7)
PROCESS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
sys.path[:0] = {paths!r}
from toys import job, row
from geoquarry.engine.maxcompute import open_engine
engine = open_engine(sys.argv[1], project={project!r}, endpoint={endpoint!r},
                     tunnel_endpoint={tunnel!r}, access_id={id!r}, secret_file=sys.argv[2])
{does}
"""
RUNS = "engine.run(job()).wait()"
APPENDS = "engine.append('aster', [row('C', 0, 0, 7)])"


@pytest.fixture
def engine(maxcompute_engine):
    found = maxcompute_engine()
    found.create("aster", TILES)
    found.append("aster", [row(g, x, 0, v) for x in (0, 1) for g, v in (("A", 2), ("B", 3))])
    return found


@pytest.fixture
def another(server, tmp_path):
    """Starts a process of its own that does something with the engine."""
    started = []

    def start(does):
        secret = tmp_path / "secret"
        secret.write_text(server.secret)
        code = PROCESS.format(
            paths=[path for path in sys.path if path],
            project=server.project,
            endpoint=server.endpoint,
            tunnel=server.tunnel_endpoint,
            id=server.access_id,
            does=does,
        )
        words = [sys.executable, "-c", code, str(tmp_path / "maxcompute"), str(secret)]
        started.append(subprocess.Popen(words, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(said, process=None):
    """Wait for something to be so, as long as the process lives that shall make it so."""
    limit = time.monotonic() + 120
    while not said():
        assert time.monotonic() < limit
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def helpers_left(server):
    return sorted(name for _, name in list(server.catalog.tables) if "__" in name)


def noted(server, kind="result"):
    """Whether a helper table names the statement that its process has sent."""
    tables = [table for (_, name), table in list(server.catalog.tables.items()) if kind in name]
    return any("instance" in table.comment for table in tables)


def computing(server):
    """The instances that compute tiles, oldest first."""
    return [one for one in list(server.instances.all.values()) if COMPUTE in one.query]


@pytest.fixture
def killed(engine, server, another):
    """A job whose process was killed while its statement was at work; the instance of that."""

    def kill(seconds=3600):
        server.faults.add("task_slow", match=COMPUTE, seconds=seconds)
        process = another(RUNS)
        until(lambda: noted(server), process)
        process.kill()
        process.wait()
        (instance,) = computing(server)
        assert not instance.done.is_set()
        assert [name.split("__")[1].split("_")[0] for name in helpers_left(server)] == [
            "result",
            "tasks",
        ]
        return instance

    return kill


def test_the_next_run_stops_it_and_is_whole(killed, engine, server):
    instance = killed()
    assert engine.run(job()).wait().counts["ok"] == 2
    assert instance.status == "Cancelled"
    assert values(engine) == WHOLE
    assert helpers_left(server) == []


def test_another_job_into_the_same_table_stops_it_before_it_begins(killed, engine, server):
    instance = killed()
    assert engine.run(job(other=1)).wait().counts["ok"] == 2
    assert instance.status == "Cancelled"
    assert instance.ended < computing(server)[-1].started
    assert helpers_left(server) == []


def test_a_run_that_resumes_it_waits_for_it_and_pays_once(killed, engine, server):
    instance = killed(seconds=6)
    run = engine.run(job(resume=True))
    report = run.wait()
    assert (report.counts["ok"], report.counts["resumed"]) == (2, 2)
    assert run.instance_id == instance.name
    assert instance.status == "Success"
    assert computing(server) == [instance]
    assert values(engine) == WHOLE
    assert helpers_left(server) == []


def test_what_it_has_computed_is_kept_for_a_resume_by_other_jobs_and_vacuum(killed, engine, server):
    instance = killed(seconds=1)
    until(instance.done.is_set)
    engine.run(job(other=1, tiles=((0, 0),))).wait()
    engine.vacuum("maps", WEEK)
    (left,) = helpers_left(server)  # its results; nobody needs its tasks
    assert "__result_" in left
    engine.vacuum("maps", timedelta(0))
    assert helpers_left(server) == []


def test_vacuum_stops_it_however_young_it_is(killed, engine, server):
    instance = killed()
    dry = engine.vacuum("maps", WEEK, dry_run=True)
    assert not instance.done.is_set()
    assert engine.vacuum("maps", WEEK).files == dry.files == 2
    assert instance.status == "Cancelled"
    assert helpers_left(server) == []


def test_dropping_the_table_stops_it(killed, engine, server):
    instance = killed()
    engine.drop("maps")
    assert instance.status == "Cancelled"
    assert helpers_left(server) == []


@pytest.mark.parametrize("by", ["vacuum", "the next run"])
def test_what_the_second_interrupt_leaves_goes(engine, server, another, by):
    server.faults.add("task_slow", match=COMPUTE, seconds=3600)
    process = another(RUNS)
    until(lambda: noted(server), process)
    instance = computing(server)[0]
    server.faults.add("task_slow", match="DROP TABLE", seconds=5, times=None)
    begun = time.monotonic()
    while process.poll() is None:  # somebody is in a hurry; tidying up would take ten seconds
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert time.monotonic() - begun < 8
    server.faults.clear()
    assert helpers_left(server) != []
    if by == "vacuum":
        engine.vacuum("maps", WEEK)
    else:
        engine.run(job()).wait()
        assert values(engine) == WHOLE
    assert instance.status == "Cancelled"
    assert helpers_left(server) == []


@pytest.mark.parametrize("by", ["vacuum", "the next writer"])
def test_rows_on_their_way_of_a_dead_writer_go(engine, server, another, by):
    server.faults.add("5xx", match="upload.block", times=None)  # it tries for a minute
    process = another(APPENDS)
    until(lambda: any("__new_" in name for name in helpers_left(server)), process)
    process.kill()
    process.wait()
    server.faults.clear()
    assert helpers_left(server) != []
    if by == "vacuum":
        engine.vacuum("aster", WEEK)
    else:
        engine.append("aster", [row("C", 0, 0, 7)])
    assert helpers_left(server) == []


# -- who lives ---------------------------------------------------------------------------------


def test_nothing_of_a_living_process_is_touched(engine, server, maxcompute_engine, another):
    slow = server.faults.add("task_slow", match=COMPUTE, seconds=8)
    process = another(RUNS)
    until(lambda: noted(server), process)
    assert slow.hits
    other = maxcompute_engine()
    other.vacuum("maps", timedelta(0))
    assert other.run(job(other=1)).wait().counts["ok"] == 2
    (first, second) = computing(server)
    assert not first.done.is_set()
    assert second.status == "Success"
    assert len(helpers_left(server)) == 2
    assert process.wait(60) == 0, process.stderr.read()
    assert first.status == "Success"
    assert helpers_left(server) == []


@pytest.mark.parametrize(("heard_s", "lives"), [(10, True), (700, False)])
def test_a_process_of_another_host_is_believed_for_a_while(engine, server, heard_s, lives):
    engine.ensure("maps", job().schema)
    server.faults.add("task_slow", match="SELECT 1", seconds=3600)
    instance = engine.connection.start("SELECT 1 AS one")
    about = {"host": "another", "pid": 1, "born": "", "heard": time.time() - heard_s}
    left = helper_name("maps", "result")
    told = note_text(about | {"instance": instance.id})
    engine.connection.execute(f"CREATE TABLE {left} (a BIGINT) COMMENT '{told}'")
    engine.vacuum("maps", timedelta(0))
    assert (helpers_left(server) == [left]) is lives
    assert server.instances.all[instance.id].done.is_set() is not lives


def test_a_note_is_kept_fresh_while_its_process_lives(engine, server, monkeypatch):
    monkeypatch.setattr(maxcompute_note.Note.__init__, "__defaults__", (3.0,))
    server.faults.add("task_slow", match=COMPUTE, seconds=4)
    run = engine.run(job())
    until(lambda: noted(server))
    run.wait()
    told = statements(server, "ALTER TABLE `maps__result")
    assert len(told) >= 3  # once with the instance, then every second
    assert all(run.instance_id in text for text in told[1:])
