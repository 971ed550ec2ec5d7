"""An upload is a job: a unit per row, a retry of what failed, and one commit or none."""

import json

import pytest
from command import KILLED, geoquarry
from rows import GRID, SENSOR, made_up_row, made_up_rows

from geoquarry.engine.ledger import Record
from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.download import download
from geoquarry.jobs.upload import upload
from geoquarry.schemas.tables import tiles_schema


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(str(tmp_path / "w"), workers=2)
    engine.create("aster", tiles_schema(SENSOR.name, GRID))
    engine.append("aster", made_up_rows([(3, 5), (4, 5), (4, 6)], granules=3, size=64))
    return engine


@pytest.fixture
def ask(engine, capsys):
    def give(*words, code=0):
        where = ["--warehouse", engine.warehouse.location, "--json"]
        found = main([*map(str, words), *where])
        out, err = capsys.readouterr()
        assert found == code, err
        return json.loads(out)

    return give


def newest(engine):
    return engine.warehouse.ledger.jobs(1)[0]


def counted(row):
    return {state: number for state, number in row["units"].items() if number}


@pytest.fixture
def spoiled(engine, tmp_path):
    """A CSV file of nine rows, two of them bad, and the text that is right."""
    path = tmp_path / "rows.csv"
    download(engine, "aster", path)
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    lines[2] = lines[2].replace("granule_", "granule_,", 1)  # a field too many
    lines[5] = lines[5].replace(f"{SENSOR.name},", "another,", 1)
    path.write_text("".join(lines))
    return path, whole


def test_an_upload_is_a_job_and_tries_again_only_what_failed(engine, ask, spoiled):
    path, whole = spoiled
    report = ask("upload", path, "new", code=3)
    assert (report["rows"], len(report["failed"])) == (7, 2)
    row = newest(engine)
    assert (row["status"], counted(row)) == ("partial", {"done": 7, "failed": 2})
    assert (row["source"], row["target"]) == (str(path), "new")
    assert row["snapshot_id"] == engine.describe("new")["snapshot_id"]
    assert engine.history("new")[-1]["commit_id"] == row["commit_id"]
    shown = ask("job", "show", row["commit_id"])["shown"]
    assert [(unit["unit"], unit["error_class"]) for unit in shown] == [
        ("row 2", "InputError"), ("row 5", "InputError")
    ]  # fmt: skip
    assert "line 3" in shown[0]["reason"]
    # Somebody has replaced a row since: what was stored is not put back.
    engine.append("new", [made_up_row(3, 5, 0, seed=9)])
    path.write_text(whole)
    assert ask("job", "retry", row["commit_id"]) == {"rows": 2, "skipped": 7, "failed": []}
    assert engine.describe("new")["rows"] == 9
    expected = made_up_row(3, 5, 0, seed=9)["b04"]
    (kept,) = engine.read("new", ["b04"], "granule_id = 'granule_000'", tiles=[(3, 5)]).read_all()
    assert kept[0].as_py() == expected
    row = newest(engine)
    assert (row["status"], counted(row)) == ("done", {"done": 2, "skipped": 7})
    assert ask("job", "retry", row["commit_id"]) == {"retried": 0}
    assert ask("upload", path, "new") == {"rows": 9, "skipped": 0, "failed": []}


def test_rows_that_are_gone_are_uploaded_again(engine, ask, spoiled):
    path, whole = spoiled
    ask("upload", path, "new", code=3)
    engine.drop("new")
    path.write_text(whole)
    row = newest(engine)
    assert ask("job", "retry", row["commit_id"]) == {"rows": 9, "skipped": 0, "failed": []}


def test_an_upload_that_is_cancelled_stores_nothing(engine, ask, spoiled, monkeypatch):
    path, whole = spoiled
    path.write_text(whole)
    finished = []

    def asked(self):
        finished.append(self)
        if len(finished) == 5:
            raise Cancelled("stop")

    monkeypatch.setattr(Record, "check", asked)
    with pytest.raises(Cancelled):
        upload(engine, path, "aster")
    assert [row["kind"] for row in engine.history("aster")] == ["append"]
    row = newest(engine)
    assert (row["status"], counted(row)) == ("cancelled", {"pending": 4})
    monkeypatch.undo()
    assert upload(engine, path, "aster").rows == 9


def test_an_upload_that_died_after_its_commit_counts_as_done(engine, spoiled):
    path, whole = spoiled
    path.write_text(whole)
    where = ["--warehouse", engine.warehouse.location]
    ended = geoquarry("upload", path, "new", *where, failpoint="commit.landed")
    assert ended.code == KILLED
    row = newest(engine)
    assert (row["status"], row["reason"]) == ("failed", "its process died")
    assert upload(engine, path, "new").rows == 9
    first = engine.warehouse.ledger.find(row["commit_id"])
    assert first["status"] == "done"
    assert first["snapshot_id"] == engine.history("new")[0]["snapshot_id"]
    assert engine.describe("new")["rows"] == 9
