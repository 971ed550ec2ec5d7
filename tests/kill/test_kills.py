"""SIGKILL at named points or any moment, then the same command again: the table of the quiet run.

`--kills 5 --seed 1` in CI; `--kills 30 --seed 0 --at-random` for a soak.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from command import files_below, geoquarry, kill_once, timed
from rows import GRID, SENSOR, made_up_row

from geoquarry.engine.failpoint import POINTS
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = pytest.mark.kill

WRITING = ["note.half", "file.create", "file.create:4", "file.create:7", "datafile.row"]
WRITING += ["datafile.row:4", "datafile.index", "datafile.index:2", "datafile.done", "file.finish"]
WRITING += ["datafile.done:2", "file.finish:3", "file.finish:6"]
COMMITTING = ["commit.planned", "commit.manifests", "commit.catalog", "commit.landed"]
INGEST = [*WRITING, *COMMITTING, "append.noted", "append.landed", "ingest.scene", "ingest.scene:3"]
RUN = [*WRITING, *COMMITTING, "run.planned", "run.tile", "run.tile:4", "run.computed", "run.landed"]
RUN += ["run.tile:9", "run.computed:2", "commit.manifests:4", "commit.catalog:4", "run.landed:2"]
EXPORT = ["export.begun", "export.begun:4", "export.file", "export.file:5", "export.file:6"]
EXPORT += ["atomic.written", "atomic.written:3", "atomic.written:6"]
COMMIT = [*COMMITTING, "append.noted", "append.landed", "file.create:8", "file.create:9"]
COMMIT += ["file.create:10", "file.finish:5"]
VACUUM = ["vacuum.expired", "file.delete", "file.delete:5", "file.delete:9"]
IN_PROCESS = {"granule.discard", "index.cache"}
"""Points that tests/kill/test_commit_steps.py passes."""


def digest(engine, table):
    return parity_digest(engine.read(table).read_all().to_pylist())


def in_order(engine, *tables):
    """Nothing twice, nothing damaged, and after a vacuum nothing that nobody needs."""
    for table in tables:
        assert engine.check(table) == []
        keys = engine.read(table, list(engine.warehouse.table(table).layout.key)).read_all()
        assert len({tuple(row.values()) for row in keys.to_pylist()}) == len(keys)
        engine.vacuum(table, timedelta(0), keep=1)
        about = engine.describe(table)
        for room in ("data", "index"):
            assert len(files_below(Path(about["location"], room))) == about["files"]
        assert files_below(Path(about["location"], "parts")) == []
        assert engine.check(table) == []
    assert list(engine.warehouse.cache_path("index/any").parent.glob("*.tmp")) == []


def sampled(points, moments, kills):
    """Points in an order of chance, each once before any comes twice."""
    found = []
    while len(found) < kills:
        found += moments.sample(points, len(points))
    return found[:kills]


def story(words, points, moments, kills, at_random, length_s):
    """Kill, then let the caller look and go on: (number, how it was killed)."""
    for number, point in enumerate(sampled(points, moments, kills)):
        here = [word.replace("{n}", str(number)) for word in map(str, words)]
        how = kill_once(here, [point], moments, length_s, at_random=at_random)
        print(f"{words[0]} {number}: killed at {how}")
        yield number, here, how


def test_every_point_is_killed_somewhere():
    told = {point.split(":")[0] for point in [*INGEST, *RUN, *EXPORT, *COMMIT, *VACUUM]}
    assert told | IN_PROCESS == set(POINTS)


def test_ingest(house, ingest_words, moments, kills, at_random):
    """Into a new table and, every second time, over rows that are there."""
    where = ["--warehouse", house.warehouse.location]
    length_s = timed(*ingest_words, *where, "--table", "quiet")
    expected = digest(house, "quiet")
    words = [*ingest_words, *where, "--table", "killed{n}"]
    for number in range(1, kills, 2):
        house.create(f"killed{number}", house.schema("quiet"))
        house.append(f"killed{number}", house.read("quiet").read_all().to_batches())
    for number, here, how in story(words, INGEST, moments, kills, at_random, length_s):
        table = f"killed{number}"
        if house.exists(table) and house.describe(table)["rows"]:  # all of it, or not begun
            assert digest(house, table) == expected, how
        assert geoquarry(*here).code == 0, how
        assert digest(house, table) == expected, how
        in_order(house, table)


def test_run(house, moments, kills, at_random):
    """Both phases; every second time with --resume; nothing is seen before all of it is."""
    words = ["run", "mineral_indices", "tiles", "maps{n}", "--warehouse", house.warehouse.location]
    length_s = timed(*(word.replace("{n}", "") for word in words))
    expected = digest(house, "maps")
    for number, here, how in story(words, RUN, moments, kills, at_random, length_s):
        table = f"maps{number}"
        if house.exists(table) and house.describe(table)["rows"]:
            assert digest(house, table) == expected, how
        again = geoquarry(*here, *(["--resume"] if number % 2 else []))
        assert again.code == 0, (how, again)
        assert digest(house, table) == expected, how
        own = [name for name in house.tables() if name.startswith(f"{table}_")]
        assert len(own) == 3
        in_order(house, table, *own)


def pictures(folder):
    """Name -> pixels and tags of the files there."""
    found = {}
    for path in folder.glob("*.tif"):
        if not path.name.startswith("."):
            with rasterio.open(path) as file:
                found[path.name] = file.read(), file.tags(), file.descriptions
    return found


@pytest.mark.parametrize("options", [(), ("--merge", "--flags")], ids=["tiles", "merged"])
def test_export(house, tmp_path, moments, kills, at_random, options):
    """A file under its name is a whole file, and in the end nothing else is there."""
    where = ["--warehouse", house.warehouse.location]
    if not house.exists("exported"):
        assert geoquarry("run", "mosaic", "tiles", "exported", *where).code == 0
    words = ["export", "exported", tmp_path / "out{n}", *where, *options]
    length_s = timed(*(str(word).replace("{n}", "") for word in words))
    expected = pictures(tmp_path / "out")
    points = [p for p in EXPORT if not options or p[-1] not in "3456"]
    count = (kills + 1) // 2 if options else kills
    for number, here, how in story(words, points, moments, count, at_random, length_s):
        out = tmp_path / f"out{number}"
        for name, (pixels, *rest) in pictures(out).items():
            np.testing.assert_array_equal(pixels, expected[name][0], err_msg=how)
            assert rest == list(expected[name][1:]), how
        assert geoquarry(*here).code == 0, how
        assert pictures(out).keys() == expected.keys()
        assert len(files_below(out)) == len(expected), (how, files_below(out))


def test_commit(house, tmp_path, moments, kills, at_random):
    """An upload replaces some rows and adds others: all of them, or none."""
    fresh = [made_up_row(x, 0, g, size=16, seed=1) for g in (1, 2) for x in (0, 1)]
    file = tmp_path / "rows.parquet"
    house.create("fresh", tiles_schema(SENSOR.name, GRID))
    house.append("fresh", fresh)
    pq.write_table(house.read("fresh").read_all(), file)
    old = [made_up_row(x, 0, g, size=16) for g in (0, 1) for x in (0, 1)]
    tables = [f"t{number}" for number in range(kills)]
    for table in ["t", *tables]:
        house.create(table, tiles_schema(SENSOR.name, GRID))
        house.append(table, old)
    before = digest(house, "t")
    words = ["upload", file, "t{n}", "--warehouse", house.warehouse.location]
    length_s = timed(*(str(word).replace("{n}", "") for word in words))
    expected = digest(house, "t")
    for number, here, how in story(words, COMMIT, moments, kills, at_random, length_s):
        assert digest(house, f"t{number}") in (before, expected), how
        assert geoquarry(*here).code == 0, how
        assert digest(house, f"t{number}") == expected, how
        in_order(house, f"t{number}")


def test_vacuum(house, moments, kills, at_random):
    """A vacuum that is killed has taken nothing that is needed; the next one takes the rest."""
    tables = [f"v{number}" for number in range(kills)]
    for table in ["v", *tables]:
        house.create(table, tiles_schema(SENSOR.name, GRID))
        for seed in range(3):
            house.append(table, [made_up_row(x, 0, 0, size=16, seed=seed) for x in (0, 1)])
    expected = digest(house, "v")
    words = ["vacuum", "v{n}", "--older-than", "0s", "--keep", "1"]
    words += ["--warehouse", house.warehouse.location]
    length_s = timed(*(word.replace("{n}", "") for word in words))
    for number, here, how in story(words, VACUUM, moments, kills, at_random, length_s):
        table = f"v{number}"
        assert digest(house, table) == expected, how
        assert house.check(table) == [], how
        assert geoquarry(*here).code == 0, how
        assert digest(house, table) == expected, how
        in_order(house, table)
