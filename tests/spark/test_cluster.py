"""A standalone cluster of two workers: what dies there costs time, but no tile."""

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster import driver, executor_of, kill, standalone, wait_for
from rows import GRID, SENSOR, made_up_rows
from trouble import attempts

from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
TESTS = Path(__file__).resolve().parents[1]
TILES = [(x, y) for x in range(3, 7) for y in range(5, 8)]


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    with standalone(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The local engine on a warehouse that the cluster sees as well."""
    engine = open_engine(str(tmp_path_factory.mktemp("shared") / "wh"), workers=1)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", made_up_rows(TILES, granules=2))
    return engine


def submit(engine, master, folder, target, conf=None, **trouble):
    """Start a driver program; the workers find the helpers, but not geoquarry: that is shipped."""
    settings = {
        "spark.executorEnv.PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "spark")]),
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        **(conf or {}),
    }
    trouble = {"folder": str(folder), **trouble}
    words = json.dumps([engine.warehouse.location, master, settings, target, trouble])
    return driver(words, folder, [path for path in sys.path if path]), trouble


def outcome(process):
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def same_as_local(engine, target, trouble):
    params = {"mosaic": "min", "scope": "tile"}
    made = job_of(engine, Trigger("mosaic", "tiles", f"{target}_local", params=params))
    made = replace(made, udf="trouble:compute", params={**made.params, "trouble": trouble})
    engine.run(made).wait()
    digests = {
        parity_digest(engine.read(name).read_all().to_pylist())
        for name in (target, f"{target}_local")
    }
    return len(digests) == 1


def left_over(engine, target):
    """Data files that are not committed."""
    committed = {file.file_path for file in engine.warehouse.table(target).files()}
    folder = Path(engine.describe(target)["location"], "data")
    return {str(path) for path in folder.rglob("*.parquet")} - committed


def strike(process, folder, begun, victim):
    """Kill a Python worker, or the executor above it, once so many tiles were begun."""
    wait_for(lambda: process.poll() is not None or len(attempts(folder)) >= begun, "tiles")
    living = [p for _, p, _ in attempts(folder) if Path(f"/proc/{p}").exists()]
    if living:  # else the driver has died, which `outcome` tells
        kill(executor_of(living[0]) if victim == "executor" else living[0])


def test_a_killed_python_worker_and_a_killed_executor_cost_no_tile(engine, master, tmp_path):
    process, trouble = submit(engine, master, tmp_path, "killed", seconds=0.4)
    try:
        strike(process, tmp_path, 2, "Python worker")
        strike(process, tmp_path, 6, "executor")
        report = outcome(process)
    finally:
        process.kill()
    assert report["counts"]["ok"] == len(TILES)
    assert report["failed"] == []
    tried = attempts(tmp_path)
    assert {tile for tile, _, _ in tried} == {f"{x}_{y}" for x, y in TILES}
    assert len(tried) >= len(TILES) + 2  # what was killed was begun again
    assert all("geoquarry.zip" in module for _, _, module in tried)
    rows = engine.read("killed", ["tile_x", "tile_y"]).read_all().to_pylist()
    assert sorted((row["tile_x"], row["tile_y"]) for row in rows) == TILES
    assert same_as_local(engine, "killed", trouble)
    assert engine.check("killed") == []


def test_a_straggler_is_run_twice_and_committed_once(engine, master, tmp_path):
    conf = {
        "spark.speculation": "true",
        "spark.speculation.interval": "100ms",
        "spark.speculation.minTaskRuntime": "0ms",
        "spark.speculation.quantile": "0.5",
    }
    process, trouble = submit(engine, master, tmp_path, "twice", conf, stall=[TILES[4]])
    report = outcome(process)
    assert report["counts"]["ok"] == len(TILES)
    assert report["seconds"] < 60  # nobody waited for the first attempt
    tried = Counter(tile for tile, _, _ in attempts(tmp_path))
    assert tried["{}_{}".format(*TILES[4])] == 2
    rows = engine.read("twice", ["tile_x", "tile_y"]).read_all().to_pylist()
    assert sorted((row["tile_x"], row["tile_y"]) for row in rows) == TILES
    assert same_as_local(engine, "twice", trouble)
    engine.vacuum("twice", timedelta(0), keep=1)
    assert left_over(engine, "twice") == set()
    assert engine.check("twice") == []
