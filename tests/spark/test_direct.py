"""The direct plan: a tile is a task, answers stream to the driver, which commits once."""

import json
import os
import re
import time
from importlib.util import find_spec

import pytest
import toy
from moto.server import ThreadedMotoServer
from pyarrow import fs
from rows import GRID, SENSOR, mixed_rows

from geoquarry.engine import sixs
from geoquarry.engine.local import open_engine
from geoquarry.jobs import lut_build
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import lut_tables
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.job import Job
from geoquarry.schemas.lut_grid import LutGrid, lut_grid
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import tiles_schema
from geoquarry.udfs import lut_file

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark"),
]


def job(**changes):
    return Job(**{
        "source": "aster", "target": "map", "method": "toy", "params": {}, "udf": "toy:fold",
        "columns": ("granule_id", "b01"), "schema": toy.RESULTS, "package_version": "1", **changes,
    })  # fmt: skip


def filled(engine, tiles=3):
    """Three granules, the n-th of value n + 1, so that the sum is 6."""
    engine.create("aster", toy.TILES)
    with engine.appender("aster") as appender:
        for n in range(3):
            rows = [toy.row(f"G{n}", x, 0, value=n + 1) for x in range(tiles)]
            appender.add_granule(f"G{n}", rows)
    return engine


def test_verbs_are_those_of_the_local_engine(spark_engine, tmp_path):
    engine = filled(spark_engine(tmp_path / "wh"))
    assert engine.name == "spark"
    assert engine.explain(job()).tiles == 3
    assert engine.run(job()).wait().counts["ok"] == 3
    assert toy.values(engine.read("map").read_all()) == {(x, 0): 6 for x in range(3)}
    assert engine.run(job()).wait().counts["skipped"] == 3
    engine.append("aster", [toy.row("G0", 0, 0, value=7)])
    report = engine.run(job()).wait()
    assert (report.counts["ok"], report.counts["skipped"]) == (1, 2)
    assert toy.values(engine.read("map").read_all())[0, 0] == 12
    assert [found["kind"] for found in engine.history("map")] == ["run toy"] * 2
    assert engine.check("map") == []


def test_a_failed_tile_is_a_row_with_its_reason(spark_engine, tmp_path):
    engine = filled(spark_engine(tmp_path / "wh"))
    report = engine.run(job(params={"fail": [[1, 0]]})).wait()
    assert (report.counts["ok"], report.counts["failed"]) == (2, 1)
    assert [(f.tile_x, f.message) for f in report.failed] == [(1, "ValueError: toy failure")]
    rows = {row["tile_x"]: row for row in engine.read("map").read_all().to_pylist()}
    assert rows[1]["status"] == "failed"


def test_answers_come_one_by_one(spark_engine, tmp_path):
    engine = filled(spark_engine(tmp_path / "wh"), tiles=8)
    run = engine.run(job(params={"seconds": 0.1}))
    seen = set()
    while run.status in ("planning", "running"):
        seen.add(run.progress)
        time.sleep(0.01)
    assert run.wait().counts["ok"] == 8
    assert run.progress == (8, 8)
    assert len({done for done, total in seen if 0 < done < total == 8}) >= 2


@pytest.mark.parametrize("most", [2000, 7])
def test_every_item_is_answered_once_also_when_items_share_tasks(spark, monkeypatch, most):
    from geoquarry.engine import spark_tasks

    monkeypatch.setattr(spark_tasks, "MOST_TASKS", most)
    monkeypatch.setattr(spark_tasks, "TASKS_PER_CORE", 1)
    found = spark_tasks.stream(
        spark, abs, range(-50, 0), check=lambda: None, group="all", about="absolute values"
    )
    assert sorted(found) == list(range(1, 51))
    (number,) = spark.sparkContext.statusTracker().getJobIdsForGroup("all")[:1]
    (stage,) = spark.sparkContext.statusTracker().getJobInfo(number).stageIds
    assert spark.sparkContext.statusTracker().getStageInfo(stage).numTasks == min(most, 50)


def test_what_workers_cannot_import_is_said_in_words(spark):
    from geoquarry.engine.spark_tasks import explained, stream

    with pytest.raises(GeoquarryError, match="Spark gave up: ValueError: math domain error"):
        list(stream(spark, __import__("math").sqrt, [-1], check=lambda: None, group="g", about=""))
    said = explained(RuntimeError("x\nModuleNotFoundError: No module named 'geoquarry'\n"))
    assert "cannot import geoquarry" in str(said)


def test_a_map_of_two_phases_is_the_one_of_the_local_engine(spark_engine, tmp_path):
    rows, digests = mixed_rows(), []
    for engine in (spark_engine(tmp_path / "spark"), open_engine(str(tmp_path / "local"))):
        engine.create("tiles", tiles_schema(SENSOR.name, GRID))
        engine.append("tiles", rows)
        report = run_phases(engine, job_of(engine, Trigger("mineral_indices", "tiles", "map")))
        assert report.counts["ok"] == 3
        digests.append(parity_digest(engine.read("map").read_all().to_pylist()))
    assert digests[0] == digests[1]


def test_the_command_line(spark, tmp_path, capsys):
    engine = open_engine(str(tmp_path / "wh"))
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", mixed_rows(granules=2))
    command = ["run", "mosaic", "tiles", "map", "--warehouse", str(tmp_path / "wh"), "--json"]
    command += ["--engine", "spark", "--master", "local[2]", "--conf", "spark.driver.memory=1g"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["ok"] == 3
    assert main([*command, "--conf", "spark.no.such=1"]) == 2
    assert "Spark runs already" in capsys.readouterr().err


def test_a_warehouse_in_an_object_store(spark_engine, tmp_path, monkeypatch):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        for name in [name for name in os.environ if re.match("AWS_|GEOQUARRY_", name)]:
            monkeypatch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": address,  # workers do not see it: options travel with the work
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "not-to-be-printed",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        store = fs.S3FileSystem(
            endpoint_override=address, region="us-east-1", allow_bucket_creation=True
        )
        store.create_dir("quarry")
        engine = filled(
            spark_engine("s3://quarry/wh", catalog=f"sqlite:///{tmp_path}/cat/catalog.db")
        )
        assert engine.run(job()).wait().counts["ok"] == 3
        assert toy.values(engine.read("map").read_all()) == {(x, 0): 6 for x in range(3)}
        assert engine.check("map") == []
    finally:
        server.stop()


def test_lut_build_runs_6s_on_the_workers(spark, tmp_path, monkeypatch):
    def small(_sensor, detail="full"):
        parts = {}
        for name, part in lut_grid(sensor("aster_l1t"), "coarse").groups["infrared"].items():
            axes = {
                axis: nodes if axis == "view" else (nodes[0], nodes[-1])
                for axis, nodes in part.axes.items()
            }
            parts[name] = type(part)(name, ("b09",), axes)
        return LutGrid("aster_l1t", detail, {"infrared": parts})

    monkeypatch.setattr(lut_build, "UDF", "trouble:invented_air")
    monkeypatch.setattr(lut_build, "lut_grid", small)
    monkeypatch.setattr(sixs, "version", lambda: "6SV of this test")
    monkeypatch.setattr(lut_tables, "BATCH", 50)
    tables = []
    for engine in ("spark", "local"):
        out = tmp_path / f"{engine}.npz"
        place = ["--warehouse", str(tmp_path / engine), "--engine", engine, "--out", str(out)]
        assert main(["lut", "build", *place]) == 0
        tables.append(lut_file.unpack(out.read_bytes(), str(out)))
    (on_spark, about), (here, _) = tables
    assert about["provenance"]["sixs"] == "6SV of this test"
    assert set(on_spark) == set(here)
    assert all((on_spark[name] == array).all() for name, array in here.items())
