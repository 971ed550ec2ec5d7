"""At every step of a commit the disk says no: the table is as before or after it, never between."""

import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest
from command import files_below
from pyiceberg.io.pyarrow import PyArrowFile
from rows import GRID, SENSOR, made_up_row

from geoquarry.engine import commit, datafile, driver, failpoint, note, swap, table
from geoquarry.engine.files import SharedFileIO, begin
from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import StorageError, UsageError
from geoquarry.schemas.tables import tiles_schema

OLD = [made_up_row(x, 0, g, size=16) for g in (0, 1) for x in (0, 1)]
NEW = [made_up_row(x, 0, g, size=16, seed=1) for g in (1, 2) for x in (0, 1)]
ONCE = ["append.noted", "append.landed", "note.half", "datafile.row", "datafile.index"]
ONCE += ["datafile.done", "commit.planned", "commit.manifests", "commit.catalog", "commit.landed"]


@pytest.fixture
def arm(monkeypatch):
    """Arm a fail point in this process; "" disarms."""
    return lambda text: monkeypatch.setattr(failpoint, "_armed", failpoint.read(text))


def filled(folder):
    engine = open_engine(str(folder), workers=1)
    engine.create("t", tiles_schema(SENSOR.name, GRID))
    engine.append("t", OLD)
    return engine


def digest(engine):
    return parity_digest(engine.read("t").read_all().to_pylist())


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Digests before, when the first of the two granules is in, and after."""
    engine = filled(tmp_path_factory.mktemp("quiet"))
    found = [digest(engine)]
    engine.append("t", [row for row in NEW if row["granule_id"] == "granule_001"])
    found.append(digest(engine))
    engine.append("t", NEW)
    return [*found, digest(engine)]


def append(engine):
    engine.append("t", NEW)


def ingest(engine):
    with engine.appender("t") as appender:
        for granule in ("granule_001", "granule_002"):
            rows = [row for row in NEW if row["granule_id"] == granule]
            appender.add_granule(granule, rows)


def tried(write, folder, states, arm, point):
    """One failing attempt and a second one; whether the first one met the point at all."""
    filled(folder)
    arm(f"{point}:EIO")
    engine = open_engine(str(folder), workers=1)  # armed before it is opened
    met = None
    try:
        write(engine)
    except (OSError, StorageError) as error:
        met = error if isinstance(error, OSError) else error.__cause__
    arm("")
    assert met is None or f"(fail point {point.split(':')[0]})" in str(met)
    # An ingest commits the granules that are whole, also when the next one fails.
    assert digest(engine) in (states if write is ingest else (states[0], states[2]))
    assert engine.check("t") == []
    write(engine)
    assert digest(engine) == states[2]
    engine.vacuum("t", timedelta(0), keep=1)
    about = engine.describe("t")
    for room in ("data", "index"):
        assert len(files_below(Path(about["location"], room))) == about["files"] == 3
    assert files_below(Path(about["location"], "parts")) == []
    assert engine.check("t") == []
    return met is not None


@pytest.mark.kill
@pytest.mark.parametrize("write", [append, ingest])
def test_an_error_at_each_step(tmp_path, states, arm, write):
    """An ingest that meets it once commits on its way out: that is no error then."""
    for point in ONCE:
        met = tried(write, tmp_path / point, states, arm, point)
        assert met or (write is ingest and point.startswith(("append.landed", "commit"))), point


@pytest.mark.kill
@pytest.mark.parametrize("write", [append, ingest])
@pytest.mark.parametrize("what", ["file.create", "file.finish"])
def test_an_error_at_each_file(tmp_path, states, arm, write, what):
    """All files of a commit, one by one: data, index, note, manifests, list, metadata."""
    for number in range(1, 30):
        point = f"{what}:{number}+"
        if not tried(write, tmp_path / str(number), states, arm, point):
            break
    assert number > {"file.create": 8, "file.finish": 5}[what]


@pytest.mark.parametrize("moment", ["datafile.done", "commit.planned", "commit.manifests"])
def test_a_vacuum_in_the_middle_of_a_commit(tmp_path, states, monkeypatch, moment):
    """However young the files that it may take: those of a commit that is about to land stay."""
    engine = filled(tmp_path)
    met = []

    def vacuum(name):
        if name == moment and not met:
            met.append(name)
            time.sleep(0.01)  # younger files than the vacuum are spared anyway
            open_engine(str(tmp_path)).vacuum("t", timedelta(0), keep=1)

    for module in (commit, datafile, swap):
        monkeypatch.setattr(module, "failpoint", vacuum)
    engine.append("t", NEW)
    assert met
    table._manifests.clear()  # what this process remembers is no proof
    assert digest(engine) == states[2]
    assert engine.check("t") == []


def test_a_vacuum_takes_nothing_that_a_job_reads(tmp_path, monkeypatch):
    """Its rows are replaced and the snapshot is old enough to go: the job ends as if alone."""
    engine = filled(tmp_path)
    job = job_of(engine, Trigger("mosaic", "t", "maps", params={"scope": "tile"}))
    met = []

    def replaced(name):
        if name == "run.planned" and not met:
            met.append(name)
            engine.append("t", NEW)
            assert engine.vacuum("t", timedelta(0), keep=1).snapshots == 0

    monkeypatch.setattr(driver, "failpoint", replaced)
    assert engine.run(job).wait().counts["ok"] == 2
    assert met
    assert engine.vacuum("t", timedelta(0), keep=1).snapshots == 1


def test_a_file_that_is_not_wanted_any_more(tmp_path, arm):
    """Killed between a data file and its index: the vacuum takes the other half."""
    engine = filled(tmp_path)
    appender = engine.appender("t")
    file = appender.files.write("granule_009", [made_up_row(0, 0, 9, size=16)])
    arm("granule.discard:EIO")
    with pytest.raises(OSError, match=r"granule\.discard"):
        appender.files.discard(file)
    arm("")
    appender.close()
    engine.vacuum("t", timedelta(0), keep=1)
    assert len(files_below(Path(engine.describe("t")["location"], "index"))) == 2
    assert engine.check("t") == []


def test_the_cached_index_is_no_obstacle(tmp_path, arm):
    engine = filled(tmp_path)
    arm("index.cache:ENOSPC")
    engine.append("t", [made_up_row(0, 0, g, size=16) for g in range(20)])
    arm("")
    assert len(engine.read("t", ["tile_x"]).read_all()) == 22
    assert not list(engine.warehouse.cache_path("index/any").parent.glob("*.tmp"))


def test_a_cache_that_a_killed_process_left_goes_with_the_next_vacuum(tmp_path):
    engine = filled(tmp_path)
    left = engine.warehouse.cache_path(f"index/{engine.describe('t')['uuid']}.1234abcd.tmp")
    left.write_bytes(b"half")
    engine.vacuum("t")
    assert not left.exists()


@pytest.mark.parametrize("text", ["nothing.such", "file.create:0", "file.create:1:EWHAT", "a b"])
def test_a_point_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="names: "):
        failpoint.read(text)


def test_every_point_is_passed_where_it_is_said():
    """No point that no code passes, and no code that passes one that is not told."""
    house = Path(failpoint.__file__).resolve().parents[1]
    code = "".join(
        path.read_text()
        for room in ("engine", "jobs")
        for path in (house / room).glob("*.py")
        if path.name != "failpoint.py"
    )
    assert set(re.findall(r'failpoint\("([^"]+)"\)', code)) == set(failpoint.POINTS)


def test_a_folder_that_goes_away_before_its_first_file_is_made_again(tmp_path, monkeypatch):
    """A vacuum sweeps empty folders; a writer may have made one a moment ago."""
    folder, taken = tmp_path / "data" / "commit", []
    made = PyArrowFile.create

    def create(self, overwrite=False):
        if len(taken) < 2:
            taken.append(folder)
            raise FileNotFoundError(folder)
        return made(self, overwrite)

    monkeypatch.setattr(PyArrowFile, "create", create)
    with begin(SharedFileIO(), str(folder / "a.parquet")) as stream:
        stream.write(b"rows")
    assert (folder / "a.parquet").read_bytes() == b"rows"
    assert len(taken) == 2


def test_a_half_written_note_that_goes_away_is_written_again(tmp_path, monkeypatch):
    """A vacuum that spares nothing takes files that nobody has noted down, also a note itself."""
    engine, real, taken = open_engine(str(tmp_path / "w")), note.finish, []
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))

    def finish(open_path, path):
        if not taken:
            taken.append(open_path)
            os.unlink(open_path)
        real(open_path, path)

    monkeypatch.setattr(note, "finish", finish)
    engine.append("tiles", OLD)
    assert len(taken) == 1
    assert engine.describe("tiles")["rows"] == len(OLD)
