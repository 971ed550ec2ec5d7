"""`ingest` on Spark: scenes as tasks; the table is the one that the local engine makes."""

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from geoquarry.engine.local import open_engine
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas.digest import parity_digest

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pip install '.[spark]'"),
]
AIR = {"xa": [0.01] * 9, "xb": [0.01] * 9, "xc": [0.05] * 9}
SCENES = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Scenes of one place, with everything that goes with them."""
    folder = tmp_path_factory.mktemp("scenes")
    return folder, simulate(folder, size=48, scenes=SCENES, seed=5, atmosphere=AIR)


def paths(made):
    folder, about = made
    return [folder / scene["file"] for scene in about["scenes"]]


def options(made):
    folder, about = made
    return {
        "aod": [folder / name for name in about["aod"]],
        "dem": [folder / name for name in about["dem"]],
        "reference": folder / about["reference"],
        "grid_name": about["grid"],
    }


def copied(path, folder, new_id):
    """The same scene under another product identity of the same length."""
    assert len(path.stem) == len(new_id)
    target = folder / f"{new_id}.hdf"
    target.write_bytes(path.read_bytes().replace(path.stem.encode(), new_id.encode()))
    return target


@pytest.fixture(scope="module")
def as_local(made, tmp_path_factory):
    """Rows of the local engine."""
    engine = open_engine(str(tmp_path_factory.mktemp("local") / "w"), workers=1)
    ingest(engine, paths(made), "t", **options(made))
    return engine.read("t").read_all().to_pylist()


def test_scenes_go_to_workers_and_the_table_is_the_same(made, as_local, spark_engine, tmp_path):
    engine = spark_engine(tmp_path / "w")
    done = []
    report = ingest(Watched(engine, done), paths(made), "t", **options(made))
    assert report.granules == [path.stem for path in paths(made)]  # in the order given
    assert report.rows == len(as_local)
    assert len(done) == SCENES - 1  # the first was read here, because there was no table
    assert len(engine.history("t")) == 1
    assert parity_digest(engine.read("t").read_all().to_pylist()) == parity_digest(as_local)
    assert engine.check("t") == []
    again = ingest(Watched(engine, done), paths(made)[::-1], "t", **options(made))
    assert len(done) == 2 * SCENES - 1  # now there is one
    assert again.rows == report.rows
    assert parity_digest(engine.read("t").read_all().to_pylist()) == parity_digest(as_local)


class Watched:
    """An engine that notes what came from its workers."""

    def __init__(self, engine, done):
        self._engine, self._done = engine, done

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def each(self, work, items, check):
        for answer in self._engine.each(work, items, check):
            self._done.append(answer)
            yield answer


def test_a_scene_that_fails_is_listed_and_the_others_go_on(made, spark_engine, tmp_path):
    first, *rest = paths(made)
    broken = tmp_path / "AST_L1T_00306182003175858_20150516014601_1.hdf"
    broken.write_bytes(first.read_bytes()[:5000])
    engine = spark_engine(tmp_path / "w")
    report = ingest(engine, [first, broken, *rest], "t", **options(made))
    assert report.exit_code == 3
    assert [Path(item["scene"]) for item in report.failed] == [broken]
    assert "truncated" in report.failed[0]["reason"]
    assert report.granules == [path.stem for path in (first, *rest)]


def test_two_productions_at_once_leave_the_newer_and_no_file_of_the_older(
    made, spark_engine, tmp_path
):
    other, first = paths(made)[:2]
    newer = copied(first, tmp_path, f"{first.stem[:26]}20990101000000_10000")
    for number, both in enumerate(([first, newer], [newer, first])):
        engine = spark_engine(tmp_path / f"w{number}")
        ingest(engine, [other, *both], "t", **options(made))
        found = engine.read("t", ["granule_id"]).read_all()["granule_id"]
        assert set(found.to_pylist()) == {other.stem, newer.stem}


def test_a_worker_that_dies_after_writing_leaves_an_orphan_and_no_second_row(
    made, as_local, spark_engine, tmp_path, monkeypatch
):
    from deadly_scenes import DeadlyWork, trap

    monkeypatch.setattr("geoquarry.jobs.ingest.SceneWork", DeadlyWork)
    engine = spark_engine(tmp_path / "w")
    _, second, third, _ = paths(made)
    for scene in (second, third):
        trap(scene).touch()
    report = ingest(engine, paths(made), "t", **options(made))
    assert not trap(second).exists()
    assert not trap(third).exists()
    assert report.failed == []
    assert report.rows == len(as_local)
    assert parity_digest(engine.read("t").read_all().to_pylist()) == parity_digest(as_local)
    assert len(list(tmp_path.rglob("data/*/AST*.parquet"))) == SCENES + 2
    swept = engine.vacuum("t", older_than=timedelta(0), keep=1)
    assert swept.kept_unfinished == 0
    assert len(list(tmp_path.rglob("data/*/AST*.parquet"))) == SCENES
    assert engine.check("t") == []
    assert parity_digest(engine.read("t").read_all().to_pylist()) == parity_digest(as_local)


def test_masks_anew_on_workers(made, as_local, spark_engine, tmp_path):
    engine = spark_engine(tmp_path / "w")
    ingest(engine, paths(made), "t", **options(made))
    report = ingest(engine, paths(made), "t", refresh_flags=True)
    assert report.rows == len(as_local)
    assert len(engine.history("t")) == 2
    assert parity_digest(engine.read("t").read_all().to_pylist()) == parity_digest(as_local)
