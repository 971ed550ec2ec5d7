"""`jobs`, `job show`, `job retry`, `job cancel`; and jobs that go on where they were cut off."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rows import GRID, SENSOR, made_up_row, made_up_rows

from geoquarry.engine.ledger import Unit
from geoquarry.engine.local import Engine, open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.jobs import export_files, intake
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.export import export
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.run import job_of
from geoquarry.jobs.simulate import simulate
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import blob
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

AIR = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}
"""Air of the simulated scenes, so that 6S need not run."""
TILES = [(3, 5), (4, 5), (4, 6)]
DAMAGED = blob.encode(np.arange(4096, dtype=np.uint8).reshape(64, 64))[:40]
"""A blob whose header is whole and whose pixels are not."""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOQUARRY_WAREHOUSE", str(tmp_path / "w"))
    engine = open_engine(str(tmp_path / "w"), workers=2)
    engine.create("aster", tiles_schema(SENSOR.name, GRID))
    engine.append("aster", made_up_rows(TILES, granules=3, size=64))
    return engine


@pytest.fixture
def ask(engine, capsys):
    def give(*words, code=0):
        found = main([str(word) for word in words] + ["--json"])
        out, err = capsys.readouterr()
        assert found == code, err
        return json.loads(out) if out else err

    return give


def newest(engine, kind):
    return next(row for row in engine.warehouse.ledger.jobs() if row["kind"] == kind)


def counted(row):
    return {state: number for state, number in row["units"].items() if number}


def spoil(engine, tile=(4, 5), granule=1, **columns):
    """Replace columns of one row."""
    row = made_up_row(*tile, granule) | columns
    engine.append("aster", [row])


# -- looking -------------------------------------------------------------------------------------


def test_every_command_is_a_job_with_its_units(engine, ask, tmp_path, capsys):
    report = ask("run", "mineral_indices", "aster", "maps")
    files = ask("export", "maps", tmp_path / "out", "--flags")["files"]
    jobs = ask("jobs")
    assert [(row["kind"], row["method"]) for row in jobs] == [
        ("export", "cog"), ("run", "mineral_indices"), ("run", "sums")
    ]  # fmt: skip
    assert [row["status"] for row in jobs] == ["done"] * 3
    assert (jobs[1]["job_id"], jobs[1]["commit_id"]) == (report["job_id"], report["commit_id"])
    assert jobs[1]["snapshot_id"] == report["snapshot_id"]
    assert [counted(row) for row in jobs] == [{"done": 6}, {"done": 3}, {"done": 3}]
    assert ask("jobs", "--limit", 1) == jobs[:1]
    shown = ask("job", "show", jobs[0]["commit_id"][:8], "--units")
    assert sorted(unit["item"] for unit in shown["shown"]) == [Path(f).name for f in files]
    assert shown["request"]["out_dir"] == str(tmp_path / "out")
    assert ask("sql", "SELECT count(*) n FROM geoquarry.units") == [{"n": 12}]
    assert main(["jobs"]) == 0
    assert main(["job", "show", jobs[1]["job_id"]]) == 0
    out = capsys.readouterr().out
    assert "3 done" in out
    assert "mineral_indices" in out
    assert main(["job", "show", "nowhere"]) == 2
    assert main(["jobs", "--limit", "0"]) == 2


def test_a_warehouse_without_jobs_has_none(engine, ask):
    assert ask("jobs") == []
    assert ask("sql", "SELECT * FROM geoquarry.jobs") == []
    assert "ledger.db" not in os.listdir(engine.warehouse.location)


def test_vacuum_forgets_old_jobs(engine, ask):
    ask("run", "mosaic", "aster", "maps", "--scope", "tile")
    ask("vacuum", "--jobs-older-than", "0s", "--explain")
    ask("vacuum")
    ask("vacuum", "aster", "--jobs-older-than", "0s")
    assert len(ask("jobs")) == 1
    ask("vacuum", "--jobs-older-than", "0s")
    assert ask("jobs") == []


# -- trying again --------------------------------------------------------------------------------


def test_rows_left_out_are_listed_and_tried_again_after_mending(engine, ask, capsys):
    run_phases(engine, job_of(engine, Trigger("mosaic", "aster", "quiet")))
    expected = parity_digest(engine.read("quiet").read_all().to_pylist())
    spoil(engine, b04=DAMAGED)
    report = ask("run", "mosaic", "aster", "maps", code=3)
    assert [(bad["tile_x"], bad["tile_y"], bad["granule_id"]) for bad in report["issues"]] == [
        (4, 5, "granule_001")
    ]
    assert main(["run", "mosaic", "aster", "maps", "--overwrite"]) == 3
    assert "tile 4,5 without granule_001, b04: " in capsys.readouterr().err
    row = newest(engine, "run")
    assert (row["status"], counted(row)) == ("partial", {"done": 3})
    [unit] = ask("job", "show", row["commit_id"])["shown"]
    assert (unit["unit"], unit["error_class"]) == ("4,5", "RowsLeftOut")
    assert "granule_001" in unit["reason"]
    spoil(engine)  # mended
    report = ask("job", "retry", row["commit_id"])
    assert report["issues"] == []
    assert parity_digest(engine.read("maps").read_all().to_pylist()) == expected
    assert ask("job", "retry", row["commit_id"]) == {"retried": 0}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_failed_tiles_are_tried_again_and_only_they(engine, ask, overwrite):
    for granule in range(3):
        spoil(engine, granule=granule, b04=DAMAGED)
    words = ["run", "mosaic", "aster", "maps", "--scope", "tile", *overwrite]
    report = ask(*words, code=3)
    assert [(bad["tile_x"], bad["tile_y"]) for bad in report["failed"]] == [(4, 5)]
    [unit] = ask("job", "show", report["job_id"])["shown"]
    assert (unit["state"], unit["attempts"]) == ("failed", 1)
    report = ask("job", "retry", report["job_id"], code=1)  # not mended: it fails again
    [unit] = ask("job", "show", report["job_id"])["shown"]
    assert (unit["state"], unit["attempts"]) == ("failed", 2)
    for granule in range(3):
        spoil(engine, granule=granule)
    report = ask("job", "retry", report["job_id"])
    assert (report["tiles"], report["counts"]["ok"]) == (1, 1)
    assert engine.read("maps", ["status"]).read_all()["status"].to_pylist() == ["ok"] * 3


def test_export_tries_failed_tiles_again(engine, ask, tmp_path):
    for granule in range(3):
        spoil(engine, granule=granule, b04=DAMAGED)
    ask("run", "mosaic", "aster", "maps", "--scope", "tile", code=3)
    assert len(ask("export", "maps", tmp_path / "out", code=3)["files"]) == 2
    row = newest(engine, "export")
    assert (row["status"], counted(row)) == ("partial", {"done": 2, "failed": 1})
    for granule in range(3):
        spoil(engine, granule=granule)
    ask("run", "mosaic", "aster", "maps", "--scope", "tile")
    assert ask("job", "retry", row["commit_id"])["files"] == [
        str(tmp_path / "out" / "maps_x4_y5.tif")
    ]


def test_what_still_runs_or_came_from_elsewhere_is_not_tried_again(engine, ask):
    ledger = engine.warehouse.ledger
    with ledger.job("run", job_id="aaaaaa") as record:
        assert "still at work" in ask("job", "retry", record.commit_id, code=2)
    with pytest.raises(ValueError), ledger.job("run", job_id="bbbbbb"):
        raise ValueError
    assert "not started by a command" in ask("job", "retry", "bbbbbb", code=2)


def test_what_the_ledger_does_not_keep_is_not_guessed(engine, ask, monkeypatch):
    """Part of a path looks like a password: another path is not tried in its place."""
    run_phases(engine, job_of(engine, Trigger("mosaic", "aster", "maps", params={"scope": "tile"})))
    monkeypatch.setattr(export_files, "write_geotiff", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(engine, "maps", Path(engine.warehouse.location, "token=abc", "out"))
    row = newest(engine, "export")
    assert "abc" not in json.dumps(row, default=str)
    assert "give the same command again" in ask("job", "retry", row["commit_id"], code=2)


def test_the_same_scene_twice_is_ingested_once(engine, scenes):
    folder, about = scenes
    path = folder / about["scenes"][0]["file"]
    report = ingest(engine, [path, path], "t", aod=0.1, dem=1200.0, grid_name=about["grid"])
    assert report.rows == engine.read("t").read_all().num_rows
    assert len(report.granules) == 1


# -- incremental ---------------------------------------------------------------------------------


def test_incremental_computes_exactly_the_tiles_that_inputs_touch(engine, ask):
    words = ["run", "mosaic", "aster", "maps", "--scope", "tile", "--incremental"]
    assert ask(*words)["counts"]["ok"] == 3
    before = {r["tile_x"] * 10 + r["tile_y"]: r for r in engine.read("maps").read_all().to_pylist()}
    spoil(engine, tile=(4, 6), elevation_m=900.0)
    assert ask(*words)["counts"] | {"partial": 0} == {
        "ok": 1, "partial": 0, "empty": 0, "failed": 0, "skipped": 2, "resumed": 0
    }  # fmt: skip
    after = {r["tile_x"] * 10 + r["tile_y"]: r for r in engine.read("maps").read_all().to_pylist()}
    assert [key for key in after if after[key] != before[key]] == [46]
    assert counted(newest(engine, "run")) == {"done": 1, "skipped": 2}
    assert ask(*words, "--mosaic", "min")["counts"]["ok"] == 3  # a parameter touches all
    with pytest.raises(SystemExit):
        main([*words, "--overwrite"])


# -- cut off -------------------------------------------------------------------------------------


@pytest.mark.kill
@pytest.mark.parametrize("again", ["the same command", "job retry"])
def test_a_run_that_was_killed_goes_on_where_it_stood(engine, ask, again):
    words = ["run", "mosaic", "aster", "maps", "--scope", "tile", "--workers", "1"]
    command = [sys.executable, "-m", "geoquarry", *words]
    env = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    env["GEOQUARRY_FAILPOINT"] = "run.tile:2"
    assert subprocess.run(command, env=env, stderr=subprocess.DEVNULL).returncode == -9
    [row] = ask("jobs")
    assert (row["status"], row["reason"]) == ("failed", "its process died")
    report = ask(*(words if again == "the same command" else ["job", "retry", row["commit_id"]]))
    assert report["commit_id"] == row["commit_id"]
    assert report["counts"]["resumed"] == 2
    [row] = ask("jobs")
    assert (row["status"], row["attempts"], counted(row)) == ("done", 2, {"done": 3})


class OneByOne(Engine):
    """Commits every granule, as an ingest of thousands does from time to time."""

    def appender(self, table, **options):
        return super().appender(table, **{**options, "granules": 1})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return folder, simulate(folder, size=48, scenes=3, seed=5, atmosphere=AIR)


@pytest.mark.kill
def test_an_ingest_that_was_cut_off_skips_what_it_had_stored(engine, scenes, monkeypatch, ask):
    folder, about = scenes
    paths = [folder / scene["file"] for scene in about["scenes"]]
    options = {"aod": 0.1, "dem": 1200.0, "grid_name": about["grid"]}
    engine = OneByOne(engine.warehouse, workers=1)
    whole = ingest(engine, paths, "quiet", **options)
    expected = parity_digest(engine.read("quiet").read_all().to_pylist())
    take = intake.Intake.take
    taken = []

    def stops(self, done):
        if len(taken) == 2:
            raise RuntimeError("the machine goes down")
        taken.append(done.found.scene)
        take(self, done)

    monkeypatch.setattr(intake.Intake, "take", stops)
    with pytest.raises(RuntimeError):
        ingest(engine, paths, "t", **options)
    row = newest(engine, "ingest")
    assert row["status"] == "failed"
    assert row["units"]["pending"] == 1
    monkeypatch.setattr(intake.Intake, "take", take)
    report = ingest(engine, paths, "t", **options)
    assert [Path(item["scene"]) for item in report.skipped] == taken
    assert len(report.granules) == 1
    assert parity_digest(engine.read("t").read_all().to_pylist()) == expected
    again = newest(engine, "ingest")
    assert (again["commit_id"], again["attempts"]) == (row["commit_id"], 2)
    assert counted(again) == {"done": whole.rows}
    assert len(set(engine.read("t", ["ingest_id"]).read_all()["ingest_id"].to_pylist())) == 1
    # It came to its end: who says it again means it.
    assert len(ingest(engine, paths, "t", **options).granules) == 3


def test_a_stored_scene_whose_rows_are_gone_is_ingested_again(engine, scenes, monkeypatch):
    folder, about = scenes
    paths = [folder / scene["file"] for scene in about["scenes"]][:2]
    options = {"aod": 0.1, "dem": 1200.0, "grid_name": about["grid"]}
    engine = OneByOne(engine.warehouse, workers=1)
    settle = intake.Intake.settle
    monkeypatch.setattr(intake.Intake, "settle", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ingest(engine, paths, "t", **options)
    monkeypatch.setattr(intake.Intake, "settle", settle)
    with engine.appender("t") as appender:
        appender.add_granule(paths[0].stem, [])
    report = ingest(engine, paths, "t", **options)
    assert report.granules == [paths[0].stem]


def test_a_scene_that_failed_is_tried_again_after_mending(engine, scenes, ask, tmp_path, capsys):
    folder, about = scenes
    good, other = (folder / scene["file"] for scene in about["scenes"][:2])
    broken = tmp_path / other.name
    broken.write_bytes(other.read_bytes()[:3000])
    rows = tmp_path / "rows.csv"
    words = ["--table", "t", "--aod", 0.1, "--dem", 1200, "--grid", about["grid"], "--csv", rows]
    ask("ingest", good, broken, *words, code=3)
    lines = rows.read_text().count("\n")
    row = newest(engine, "ingest")
    assert row["status"] == "partial"
    assert ask("history", "t")[-1]["job_commit_id"] == row["commit_id"]
    main(["history", "t"])
    assert row["commit_id"] in capsys.readouterr().out
    [unit] = ask("job", "show", row["commit_id"])["shown"]
    assert (unit["item"], unit["error_class"]) == (str(broken), "InputError")
    broken.write_bytes(other.read_bytes())
    assert ask("job", "retry", row["commit_id"])["granules"] == [other.stem]
    assert ask("job", "retry", row["commit_id"]) == {"retried": 0}
    held = engine.read("t", ["granule_id"]).read_all().num_rows  # the CSV keeps what it had
    assert lines < rows.read_text().count("\n") == held + 1


def test_an_export_that_was_cut_off_writes_what_is_missing(engine, tmp_path, monkeypatch):
    run_phases(engine, job_of(engine, Trigger("mosaic", "aster", "maps", params={"scope": "tile"})))
    out = tmp_path / "out"
    write = export_files.write_geotiff
    written = []

    def stops(path, *arguments, **options):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path, *arguments, **options)

    monkeypatch.setattr(export_files, "write_geotiff", stops)
    with pytest.raises(OSError, match="No space"):
        export(engine, "maps", out)
    monkeypatch.setattr(export_files, "write_geotiff", write)
    whole, seen = written[0].read_bytes(), written[0].stat()
    written[0].write_bytes(whole[:-9] + bytes(9))  # as long and as old as it was, and not the same
    os.utime(written[0], ns=(seen.st_atime_ns, seen.st_mtime_ns))
    os.utime(written[1], (time.time() + 60, time.time() + 60))  # touched, and still the same
    kept = written[1].stat().st_mtime_ns
    assert len(export(engine, "maps", out)) == 3
    assert written[1].stat().st_mtime_ns == kept
    assert written[0].read_bytes() == whole
    row = newest(engine, "export")
    assert (row["status"], row["attempts"], counted(row)) == ("done", 2, {"done": 3})


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.kill
def test_cancel_stops_an_ingest_which_commits_nothing_more(engine, scenes, monkeypatch, ask):
    folder, about = scenes
    paths = [folder / scene["file"] for scene in about["scenes"]]
    take = intake.Intake.take

    def asked(self, done):
        take(self, done)
        self.record.flush()
        self.engine.warehouse.ledger.cancel(self.record.commit_id)
        while not self.record.cancelled:
            time.sleep(0.05)

    monkeypatch.setattr(intake.Intake, "take", asked)
    with pytest.raises(Cancelled, match="job cancel"):
        ingest(engine, paths, "t", aod=0.1, dem=1200.0, grid_name=about["grid"])
    row = newest(engine, "ingest")
    assert (row["status"], row["reason"]) == ("cancelled", "job cancel")
    assert counted(row) == {"pending": 3}
    assert engine.read("t").read_all().num_rows == 0
    monkeypatch.setattr(intake.Intake, "take", take)
    assert len(ask("job", "retry", row["commit_id"])["granules"]) == 3


@pytest.mark.kill
def test_job_cancel_stops_another_process(engine, ask):
    """A run of many rows in a process of its own stops long before it would have ended.

    How soon that is, tests/engine/test_ledger.py measures; here a loaded machine may take its time.
    """
    pixels = made_up_row(0, 9, 0)
    engine.append("aster", [{**pixels, "tile_x": x} for x in range(200)])
    words = ["run", "mosaic", "aster", "maps", "--scope", "tile", "--workers", "1"]
    env = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-m", "geoquarry", *words], env=env, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not any(row["status"] == "running" for row in engine.warehouse.ledger.jobs()):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    row = newest(engine, "run")
    ask("job", "cancel", row["commit_id"])
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cancelled" in said
    found = newest(engine, "run")
    assert (found["status"], found["reason"]) == ("cancelled", "job cancel")
    assert found["units"]["pending"] > 0
    assert engine.read("maps").read_all().num_rows == 0
    assert "does not run" in ask("job", "cancel", row["commit_id"], code=2)


def test_cancel_of_an_older_run_names_the_phase_that_runs(engine, ask):
    ledger = engine.warehouse.ledger
    with ledger.job("run", job_id="a" * 32, commit_id="b" * 32, target="maps"):
        pass
    with ledger.job("run", job_id="c" * 32, commit_id="d" * 32, target="maps_sums"):
        said = ask("job", "cancel", "a" * 32, code=2)
        assert "does not run: it is done" in said
        assert f"into 'maps_sums' does: `geoquarry job cancel {'d' * 12}`" in said


def test_people_read_whole_reasons(engine, capsys):
    reason = " ".join(f"word{i}" for i in range(60))
    with engine.warehouse.ledger.job("run", job_id="a" * 32, target="maps") as record:
        record.plan([Unit(tile=(3, 5))])
        record.finish(Unit(tile=(3, 5)), "failed", reason, error_class="InputError")
    assert main(["job", "show", "a" * 32]) == 0
    out = capsys.readouterr().out
    assert reason in " ".join(out.split())
    assert main(["jobs"]) == 0
    assert "word0 word1" in capsys.readouterr().out
