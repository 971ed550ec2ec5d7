"""A disk that fills and a warehouse that is read-only: really so, where mounting is allowed."""

import gc
import os
import sqlite3
import subprocess

import pyarrow.parquet as pq
import pytest
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine import failpoint
from geoquarry.engine.ledger_tables import LEDGER_FILE
from geoquarry.engine.local import open_engine
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = pytest.mark.kill
SIZE = 8 << 20
LEFT = (0, 12 << 10, 48 << 10, 96 << 10)


def mount(*words):
    """Mount something, or skip the test where that is not allowed."""
    try:
        subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not allowed here: {error}")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a few MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk, left):
    """Leave so many bytes; answers the file to delete."""
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(found.f_bavail * found.f_frsize - left, 0)))
    return ballast


@pytest.fixture
def ask(capsys):
    def run(*words):
        capsys.readouterr()
        code = main([*map(str, words)])
        out, said = capsys.readouterr()
        return code, out, said

    return run


def filled(folder):
    engine = open_engine(str(folder), workers=2)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", made_up_rows([(x, 0) for x in range(3)], granules=2))
    return engine


def state(engine):
    return {
        name: (
            engine.describe(name)["rows"],
            parity_digest(engine.read(name).read_all().to_pylist()),
        )
        for name in engine.tables()
    }


@pytest.fixture
def ingest_words(tmp_path):
    folder = tmp_path / "scenes"
    about = simulate(folder, size=64, scenes=1, seed=5, atmosphere={n: [0.02] * 9 for n in AIR})
    return ["ingest", folder / about["scenes"][0]["file"], "--grid", GRID, "--table", "aster"]


AIR = ("xa", "xb", "xc")
STATE = ("--aod", "0.1", "--dem", "1000")


def commands(place, rows, ingest_words):
    """What writes into a warehouse, or beside it."""
    return {
        "run": ["run", "mineral_indices", "tiles", "maps"],
        "upload": ["upload", rows, "tiles"],
        "ingest": [*ingest_words, *STATE],
        "export": ["export", "tiles", place / "out"],
        "download": ["download", "tiles", place / "rows.csv"],
    }


def test_a_disk_that_fills(small_disk, ask, tmp_path, told, ingest_words):
    """One clear error whatever step it meets; what was there stays; with room all goes on."""
    engine = filled(small_disk / "warehouse")
    rows = tmp_path / "rows.parquet"
    pq.write_table(engine.read("tiles").read_all(), rows)
    where = ["--warehouse", small_disk / "warehouse"]
    before = state(engine)
    for name, words in commands(small_disk, rows, ingest_words).items():
        refused = 0
        for left in LEFT:
            ballast = fill(small_disk, left)
            code, _, said = ask(*words, *where)
            ballast.unlink()
            if code == 0:
                continue
            refused += 1
            assert code == 1, said
            assert "Traceback" not in said
            assert "pace" in said or "full" in said, said  # "No space left", "is full"
            assert "again" in said, said
            now = state(engine)
            assert {key: now[key] for key in before} == before
            for table in engine.tables():
                assert engine.check(table) == []
            assert not list(small_disk.rglob(".part*"))
        assert refused >= 2, name
        code, _, said = ask(*words, *where)
        assert code == 0, said
        before = state(engine)
        told(f"full disk, {name}", f"tmpfs, {refused} fillings", "1, named; room: 0", 6, 6)
    assert ask("vacuum", "--older-than", "0s", "--keep", "1", *where)[0] == 0
    assert state(engine) == before


@pytest.mark.parametrize("what", ["ENOSPC", "EROFS"])
def test_a_disk_that_refuses(ask, tmp_path, told, ingest_words, monkeypatch, what):
    """The same where nothing can be mounted: each file from the n-th on is refused."""
    engine = filled(tmp_path / "warehouse")
    rows = tmp_path / "rows.parquet"
    pq.write_table(engine.read("tiles").read_all(), rows)
    where = ["--warehouse", tmp_path / "warehouse"]
    before = state(engine)
    works = commands(tmp_path, rows, ingest_words)
    for name in ("run", "upload", "ingest"):
        for number in (1, 3, 5):
            armed = failpoint.read(f"file.create:{number}+:{what}")
            monkeypatch.setattr(failpoint, "_armed", armed)
            code, _, said = ask(*works[name], *where)
            monkeypatch.setattr(failpoint, "_armed", None)
            assert code == 1, (name, number, said)
            assert "Cannot write" in said, said
            now = state(engine)
            assert {key: now[key] for key in before} == before
        assert ask(*works[name], *where)[0] == 0
        before = state(engine)
        assert all(engine.check(table) == [] for table in engine.tables())
        told(f"{what}, {name}", "injected at 3 files", "1, named; then 0", 6, 6)


@pytest.mark.parametrize("ledger", ["closed", "open elsewhere"])
def test_a_warehouse_that_is_read_only(ask, tmp_path, told, ingest_words, ledger):
    """What only reads goes on; what would write says so, at once."""
    house = tmp_path / "warehouse"
    engine = filled(house)
    rows = tmp_path / "rows.parquet"
    pq.write_table(engine.read("tiles").read_all(), rows)
    where = ["--warehouse", house]
    assert ask("run", "mosaic", "tiles", "maps", *where)[0] == 0
    before = state(engine)
    gc.collect()  # the connections of the commands above
    held = sqlite3.connect(house / LEDGER_FILE)
    assert held.execute("SELECT count(*) FROM geoquarry_jobs").fetchone() > (0,)
    if ledger == "closed":
        held.close()
    assert (house / f"{LEDGER_FILE}-wal").exists() == (ledger != "closed")
    mount("--bind", house, house)
    try:
        mount("-o", "remount,ro,bind", house)
        for words in (
            ["tables"],
            ["describe", "tiles"],
            ["history", "maps"],
            ["check", "tiles"],
            ["sql", "SELECT count(*) FROM tiles"],
            ["jobs"],
            ["download", "maps", tmp_path / "maps.parquet"],
            ["export", "maps", tmp_path / "out"],
        ):
            code, out, said = ask(*words, *where)
            assert code == 0, (words, said)
            assert words != ["jobs"] or "mosaic" in out, out
        for words in (
            ["run", "mosaic", "tiles", "new"],
            ["upload", rows, "tiles"],
            ["upload", rows, "new"],
            [*ingest_words, *STATE],
            ["drop", "maps"],
        ):
            code, _, said = ask(*words, *where)
            assert code == 1, (words, said)
            assert "ead-only" in said or "readonly" in said, (words, said)
            assert "Traceback" not in said
        assert state(engine) == before
    finally:
        subprocess.run(["umount", "-l", house], check=True)
        held.close()
    assert ask("run", "mosaic", "tiles", "new", *where)[0] == 0
    told("a read-only warehouse", "bind mount", "reading 0, writing 1, named", 9, 9)
