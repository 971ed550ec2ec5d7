"""The ledger: what became of each unit of each job, also when processes die or disks are full."""

import importlib.util
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from geoquarry.engine.lease import Process, this_process
from geoquarry.engine.ledger import Ledger, Unit
from geoquarry.engine.ledger_reader import DIED
from geoquarry.engine.ledger_tables import ledger_url
from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.schemas.errors import TableError, UnknownName, UsageError
from geoquarry.schemas.job import Job

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]
KEYS = [Unit(tile=(x, 0)) for x in range(3)]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(ledger_url(str(tmp_path)), own_file=True)


@pytest.fixture
def filled(tmp_path):
    engine = open_engine(str(tmp_path / "w"), workers=2)
    engine.create("aster", toy.TILES)
    engine.append(
        "aster", [toy.row(f"G{g}", x, 0, value=g + 1) for g in range(3) for x in range(3)]
    )
    return engine


def job(**options):
    params = options.pop("params", {})
    return Job(
        source="aster",
        target="map",
        method="toy",
        params=params,
        udf=options.pop("udf", "toy_udfs:fold"),
        columns=("granule_id", "b01"),
        schema=toy.RESULTS,
        package_version="1",
        **options,
    )


def cut_off(record, error=None):
    """End a job by an exception."""
    error = error or RuntimeError("cut off")
    record.__enter__().__exit__(type(error), error, None)
    return record


def states(ledger, commit_id):
    return {unit["unit"]: unit["state"] for unit in ledger.units(commit_id)}


# -- one page of the ledger ----------------------------------------------------------------------


def test_units_are_written_with_states_reasons_attempts_and_times(ledger):
    with ledger.job("run", job_id="a" * 32, method="toy", source="s", target="t") as record:
        record.plan(KEYS)
        record.start(KEYS[0])
        record.finish(KEYS[0], "done")
        record.finish(KEYS[1], "failed", "no light", error_class="ValueError", seconds=2.5)
        record.finish(KEYS[2], "empty", "no pixel")
        record.finish(Unit("scene.hdf"), "skipped", "up to date")
    [found] = ledger.jobs()
    assert (found["status"], found["kind"], found["target"]) == ("partial", "run", "t")
    assert found["seconds"] < 60
    assert found["started"] <= found["ended"]
    assert {s: n for s, n in found["units"].items() if n} == {
        "done": 1, "failed": 1, "empty": 1, "skipped": 1
    }  # fmt: skip
    units = {unit["unit"]: unit for unit in ledger.units(record.commit_id)}
    bad = units["1,0"]
    assert (bad["reason"], bad["error_class"], bad["seconds"]) == ("no light", "ValueError", 2.5)
    assert [unit["attempts"] for unit in units.values()] == [1, 1, 1, 0]
    assert (bad["tile_x"], bad["tile_y"], units["scene.hdf"]["tile_x"]) == (1, 0, None)


def test_a_reader_makes_no_ledger(ledger, tmp_path):
    assert ledger.jobs() == []
    assert ledger.table("jobs").num_rows == 0
    assert ledger.prune(timedelta(0)) == 0
    with pytest.raises(UnknownName, match="geoquarry jobs"):
        ledger.find("abcdef")
    assert list(tmp_path.iterdir()) == []


def test_jobs_are_found_by_the_beginning_of_an_id(ledger):
    for name in ("a1b2c3", "a1b2d4"):
        ledger.job("run", job_id=name).__enter__().__exit__(None, None, None)
    assert ledger.find("a1b2c")["job_id"] == "a1b2c3"
    with pytest.raises(UsageError, match="2 jobs begin"):
        ledger.find("a1b2")
    with pytest.raises(UsageError, match="too short"):
        ledger.find("a")
    with pytest.raises(UnknownName):
        ledger.find("%%%%")


def test_an_error_and_secrets_in_it(ledger):
    request = {"command": "x", "at": "s3://ann:hush@store", "token": "hush"}
    record = ledger.job("run", job_id="aaaa", request=request)
    record.plan(KEYS)
    record.start(KEYS[0])
    record.finish(KEYS[1], "failed", "password=hush", error_class="E")
    cut_off(record, ValueError("postgresql://ann:hush@host refused"))
    [found] = ledger.jobs()
    assert (found["status"], found["error_class"]) == ("failed", "ValueError")
    assert states(ledger, record.commit_id) == {"0,0": "pending", "1,0": "failed", "2,0": "pending"}
    assert "hush" not in str(found) + str(ledger.units(record.commit_id))


def test_a_unit_splits_into_others(ledger):
    with ledger.job("ingest", job_id="aaaa") as record:
        scene = Unit("a.hdf")
        record.plan([scene])
        record.flush()
        record.start(scene)
        parts = [Unit("a.hdf", (x, 1)) for x in (1, 2)]
        record.split(scene, parts)
        record.flush()
        assert states(ledger, record.commit_id) == {"a.hdf 1,1": "running", "a.hdf 2,1": "running"}
        for part in parts:
            record.finish(part, "done")
    found = ledger.units(record.commit_id)
    assert [(unit["state"], unit["attempts"]) for unit in found] == [("done", 1)] * 2
    assert all(unit["seconds"] >= 0 for unit in found)


def test_attempts_count_on_through_resume_and_retry(ledger):
    first = ledger.job("run", job_id="aaaa")
    first.plan(KEYS)
    first.finish(KEYS[0], "failed", "x")
    cut_off(first)
    with ledger.job("run", job_id="aaaa", resume=[first.commit_id]) as again:
        assert (again.commit_id, again.resumed) == (first.commit_id, True)
        again.plan(KEYS)
        again.finish(KEYS[0], "failed", "x")
        again.finish(KEYS[1], "done", tried=False)
        again.finish(KEYS[2], "done")
    assert [unit["attempts"] for unit in ledger.units(first.commit_id)] == [2, 0, 1]
    assert ledger.jobs()[0]["attempts"] == 2
    with ledger.job("run", job_id="b", request={"retries": first.commit_id}) as third:
        third.finish(KEYS[0], "done")
    assert [unit["attempts"] for unit in ledger.units(third.commit_id)] == [3]
    assert ledger.last_try(first.commit_id)["commit_id"] == third.commit_id


def test_only_one_continues_a_job_and_none_a_living_one(ledger):
    with ledger.job("run", job_id="aaaa", source="aster") as living:
        assert ledger.read_since("aster") == ledger.jobs()[0]["started"]
        assert ledger.read_since("other") is None
        with ledger.job("run", job_id="aaaa", resume=[living.commit_id]) as other:
            assert (other.resumed, other.commit_id == living.commit_id) == (False, False)
        assert ledger.unfinished("run", "aaaa") == []
        assert not ledger.has_ended(living.commit_id)
    assert ledger.has_ended(living.commit_id)
    assert ledger.read_since("aster") is None
    # Ten at once take over one page.
    over = cut_off(ledger.job("run", job_id="bbbb"))
    assert ledger.unfinished("run", "bbbb") == [over.commit_id]
    taken = []

    def take():
        taken.append(ledger.job("run", job_id="bbbb", resume=[over.commit_id]).resumed)

    threads = [threading.Thread(target=take) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 9 + [True]


def test_long_names_are_cut_and_stay_different():
    names = {Unit("x" * 5000 + end, (1, 2)).name for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) == 700


# -- processes that die --------------------------------------------------------------------------


def test_processes_are_told_apart():
    here = this_process()
    assert here.is_live(0, 0)
    assert not Process(here.host, here.pid, here.born + "0").is_live(time.time(), 1)
    assert not Process(here.host, 2**22 + 1, here.born).is_live(time.time(), 1)
    elsewhere = Process("elsewhere", here.pid, "otherboot-1-1")
    assert elsewhere.is_live(time.time() - 50, 60)
    assert not elsewhere.is_live(time.time() - 70, 60)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = Process(here.host, child.pid)
    assert other.is_live(0, 0)
    child.kill()
    child.wait()
    assert not other.is_live(0, 0)


KILLED = """
    import os, signal, sys, time
    from geoquarry.engine.ledger import Ledger, Unit
    from geoquarry.engine.ledger_tables import ledger_url
    record = Ledger(ledger_url(sys.argv[1]), own_file=True).job("run", job_id="aaaa").__enter__()
    units = [Unit(tile=(x, 0)) for x in range(4)]
    record.plan(units)
    record.finish(units[0], "done")
    record.start(units[1])
    other = Ledger(ledger_url(sys.argv[1]), own_file=True)
    while not other.units(record.commit_id, ["running"]):  # until the next beat has written it
        time.sleep(0.05)
    record.finish(units[1], "done")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_units_of_a_killed_process_are_found_by_the_next_reader(ledger, tmp_path):
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    assert subprocess.run(command, env=env).returncode == -signal.SIGKILL
    units = ledger.table("units").to_pylist()
    assert [(unit["state"], unit["reason"]) for unit in units] == [
        ("done", ""),
        ("failed", DIED),
        ("pending", f"{DIED} before its turn"),
        ("pending", f"{DIED} before its turn"),
    ]
    [found] = ledger.jobs()
    assert (found["status"], found["reason"], found["error_class"]) == (
        "failed", DIED, "ProcessDied"
    )  # fmt: skip
    assert ledger.unfinished("run", "aaaa") == [found["commit_id"]]


def test_a_job_of_another_host_lives_until_its_lease_ends(ledger):
    record = ledger.job("run", job_id="aaaa")
    with ledger._database.begin() as connection:
        connection.execute(text("UPDATE geoquarry_jobs SET host = 'elsewhere', born = ''"))
    assert ledger.jobs()[0]["status"] == "running"
    with ledger._database.begin() as connection:
        connection.execute(text("UPDATE geoquarry_jobs SET heard = heard - 121000000"))
    assert ledger.jobs()[0]["status"] == "failed"
    assert ledger.unfinished("run", "aaaa") == [record.commit_id]


# -- cancelling ----------------------------------------------------------------------------------


def test_cancel_reaches_another_process_within_two_seconds(filled):
    filled.append("aster", [toy.row("G0", x, 0) for x in range(150)])  # 8 s if nobody stops it
    run = filled.run(job(params={"seconds": 0.1}))
    while run.progress[0] < 2:
        time.sleep(0.01)
    other = open_engine(filled.warehouse.location).warehouse.ledger
    [found] = other.jobs()
    assert found["status"] == "running"
    asked = time.monotonic()
    other.cancel(found["commit_id"])
    with pytest.raises(Cancelled):
        run.wait()
    assert time.monotonic() - asked < 10  # two seconds where nothing else is at work
    assert filled.read("map").read_all().num_rows == 0
    [found] = other.jobs()
    assert (found["status"], found["reason"]) == ("cancelled", "job cancel")
    assert found["units"]["running"] == 0
    assert found["units"]["pending"] > 0
    with pytest.raises(UsageError, match="is cancelled"):
        other.cancel(found["commit_id"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "time", SimpleNamespace(sleep=lambda seconds: None))
        again = filled.run(job(params={"seconds": 0.1}, resume=True)).wait()
    assert again.commit_id == found["commit_id"]
    assert again.counts["resumed"] >= found["units"]["done"] > 0
    assert other.jobs()[0]["status"] == "done"


def test_a_job_that_another_process_took_over_stops(ledger):
    stopped = threading.Event()
    with ledger.job("run", job_id="a", on_cancel=stopped.set) as record:
        with ledger._database.begin() as connection:
            connection.execute(text("UPDATE geoquarry_jobs SET pid = pid + 1"))
        assert stopped.wait(60)
        with pytest.raises(Cancelled, match="taken it over"):
            record.check()


# -- trouble with the ledger is not the job's ------------------------------------------------------


def test_a_ledger_that_cannot_be_written_costs_one_warning(filled, monkeypatch, caplog):
    Path(filled.warehouse.location, "ledger.db").mkdir()
    with caplog.at_level(logging.WARNING):
        assert filled.run(job()).wait().counts["ok"] == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the job goes on" in caplog.text
    with pytest.raises(TableError, match="ledger does not answer"):
        filled.warehouse.ledger.jobs()
    assert filled.run(job(params={"how": "min"}, resume=True)).wait().counts["ok"] == 3


def test_what_could_not_be_written_is_written_later(ledger, monkeypatch, caplog):
    with ledger.job("run", job_id="aaaa") as record:
        store = record._store
        monkeypatch.setattr(record, "_store", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        record.plan(KEYS)
        for key in KEYS:
            record.finish(key, "done")
        record.flush()
        assert "full" in caplog.text
        assert ledger.units(record.commit_id) == []
        monkeypatch.setattr(record, "_store", store)
    assert set(states(ledger, record.commit_id).values()) == {"done"}
    assert len(caplog.records) == 1


# -- jobs of the engine --------------------------------------------------------------------------


def test_a_run_is_written_down_and_readable_in_sql(filled):
    report = filled.run(job(params={"fail": [[1, 0]]})).wait()
    rows = filled.sql(
        "SELECT u.unit, u.state, u.error_class, u.reason, j.job_id, j.snapshot_id "
        "FROM geoquarry.jobs j JOIN geoquarry.units u USING (commit_id) ORDER BY unit"
    ).read_all()
    assert rows["state"].to_pylist() == ["done", "failed", "done"]
    assert rows["error_class"].to_pylist()[1] == "ValueError"
    assert rows["reason"].to_pylist()[1] == "toy failure"
    assert set(rows["job_id"].to_pylist()) == {report.job_id}
    assert set(rows["snapshot_id"].to_pylist()) == {report.snapshot_id}
    seconds = filled.warehouse.ledger.table("units")["seconds"].to_pylist()
    assert all(0 < value < 10 for value in seconds)
    # Beside tables, in any case, and never in their way.
    text = "SELECT (SELECT count(*) FROM aster) a, (SELECT count(*) FROM GeoQuarry.Units) u"
    assert filled.sql(text).read_all().to_pylist() == [{"a": 9, "u": 3}]
    with pytest.raises(UsageError, match="without dots"):
        filled.sql("SELECT * FROM geoquarry.aster")
    with pytest.raises(UsageError, match="without dots"):
        filled.sql("SELECT * FROM other.jobs")
    again = filled.run(job(params={"fail": [[1, 0]]})).wait()
    newest = filled.warehouse.ledger.jobs(1)[0]
    assert newest["commit_id"] == again.commit_id
    assert {s: n for s, n in newest["units"].items() if n} == {"skipped": 2, "failed": 1}


def test_only_tiles_whose_inputs_changed_are_computed(filled):
    filled.run(job()).wait()
    filled.append("aster", [toy.row("G1", 2, 0, value=7)])  # one granule is replaced in one tile
    report = filled.run(job()).wait()
    assert (report.counts["ok"], report.counts["skipped"]) == (1, 2)
    assert toy.values(filled.read("map").read_all()) == {(0, 0): 6, (1, 0): 6, (2, 0): 11}
    assert filled.run(job(where="tile_x < 2 OR granule_id <> 'G1'")).wait().counts["ok"] == 1
    report = filled.run(job(params={"how": "min"})).wait()  # a parameter is another question
    assert (report.counts["ok"], report.counts["skipped"]) == (3, 0)


def test_a_job_killed_after_its_commit_counts_as_done(filled, monkeypatch):
    def die(*args):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("geoquarry.engine.driver.forget_note", die)
        with pytest.raises(SystemExit):
            filled.run(job()).wait()
    ledger = filled.warehouse.ledger
    assert ledger.jobs()[0]["status"] == "failed"
    assert filled.run(job()).wait().counts["skipped"] == 3
    assert [found["status"] for found in ledger.jobs()] == ["done", "done"]
    assert not list(Path(filled.describe("map")["location"], "parts").rglob("*.json"))


def test_old_jobs_are_forgotten(ledger):
    for name in ("aaaa", "bbbb"):
        with ledger.job("run", job_id=name) as record:
            record.finish(KEYS[0], "done")
    with ledger._database.begin() as connection:
        connection.execute(
            text("UPDATE geoquarry_jobs SET heard = heard - 91 * 86400000000 WHERE job_id = 'aaaa'")
        )
    living = ledger.job("run", job_id="cccc")
    assert ledger.prune(timedelta(days=90), dry_run=True) == 1
    assert ledger.prune(timedelta(days=90)) == 1
    assert {found["job_id"] for found in ledger.jobs()} == {"bbbb", "cccc"}
    assert ledger.table("units").num_rows == 1
    assert ledger.prune(timedelta(0)) == 1
    assert ledger.jobs()[0]["commit_id"] == living.commit_id


MANY = """
    import sys
    from geoquarry.engine.ledger import Ledger, Unit
    from geoquarry.engine.ledger_tables import ledger_url
    ledger = Ledger(ledger_url(sys.argv[1]), own_file=True)
    for round_ in range(5):
        with ledger.job("run", job_id=sys.argv[2] * 8) as record:
            for x in range(400):
                record.finish(Unit(tile=(x, round_)), "done")
"""


@pytest.mark.kill
def test_many_processes_write_one_ledger(ledger, tmp_path):
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(MANY), str(tmp_path)]
    started = [
        subprocess.Popen([*command, name], env=env, stderr=subprocess.PIPE, text=True)
        for name in "abcd"
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    assert [found["units"]["done"] for found in ledger.jobs()] == [400] * 20
    assert {found["status"] for found in ledger.jobs()} == {"done"}


def test_the_work_does_not_wait_for_the_database(ledger, monkeypatch):
    """The database is stuck: saying something goes on all the same."""
    stuck, loose, stored = threading.Event(), threading.Event(), threading.Event()
    with ledger.job("run", job_id="aaaa") as record:
        store = record._store

        def slow(*arguments):
            stuck.set()
            loose.wait(20)
            store(*arguments)
            stored.set()

        monkeypatch.setattr(record, "_store", slow)
        record.plan(KEYS)
        assert stuck.wait(60)
        for key in KEYS:
            record.start(key)
            record.finish(key, "done")
        assert not stored.is_set()
        loose.set()
    assert set(states(ledger, record.commit_id).values()) == {"done"}
