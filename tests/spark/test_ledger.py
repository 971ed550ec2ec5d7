"""The ledger of jobs that Spark computes: the same units, cancelled and read from elsewhere."""

import time
from importlib.util import find_spec

import pytest
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine.local import open_engine
from geoquarry.engine.run import Cancelled
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import tiles_schema

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pip install '.[spark]'"),
]
PARAMS = {"mosaic": "min", "scope": "tile"}


@pytest.fixture
def filled(spark_engine, tmp_path):
    engine = spark_engine(tmp_path / "w")
    engine.create("aster", tiles_schema(SENSOR.name, GRID))
    engine.append("aster", made_up_rows([(x, 5) for x in range(30)], granules=2))
    return engine


def test_units_are_those_of_the_local_engine_and_sql_answers_here(filled):
    trigger = Trigger("mosaic", "aster", "maps", params=PARAMS)
    filled.run(job_of(filled, trigger)).wait(120)
    query = "SELECT state, count(*) AS n FROM geoquarry.units GROUP BY state"
    assert filled.sql(query).read_all().to_pylist() == [{"state": "done", "n": 30}]
    units = filled.warehouse.ledger.table("units").to_pylist()
    assert all(unit["attempts"] == 1 and unit["seconds"] > 0 for unit in units)
    with pytest.raises(UsageError, match="--engine local"):
        filled.sql("SELECT * FROM geoquarry.units, aster")


def test_cancel_from_elsewhere_stops_it_and_commits_nothing(filled):
    run = filled.run(job_of(filled, Trigger("mosaic", "aster", "maps", params=PARAMS)))
    ledger = open_engine(filled.warehouse.location).warehouse.ledger
    while run.status == "planning" or not ledger.jobs():
        time.sleep(0.01)
    commit_id = ledger.jobs()[0]["commit_id"]
    ledger.cancel(commit_id)
    with pytest.raises(Cancelled):
        run.wait(60)
    assert ledger.find(commit_id)["status"] == "cancelled"
    assert filled.read("maps").read_all().num_rows == 0
    report = filled.run(job_of(filled, Trigger("mosaic", "aster", "maps", params=PARAMS))).wait(120)
    assert (report.commit_id, report.counts["ok"]) == (commit_id, 30)
