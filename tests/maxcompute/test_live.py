"""A real MaxCompute project, for whoever has one: the story of the loopback tests, told there.

It runs with ``-m odps_live`` when ``ODPS_TEST_ENDPOINT`` names an endpoint; project and
credentials come from the usual variables (docs/maxcompute.md). Everything it makes is called
``gqtest_...`` and is dropped at the end, also when it fails. It stores and scans a few megabytes.
"""

import os
import uuid
from datetime import timedelta

import pytest
from rows import GRID, SENSOR, mixed_rows

from geoquarry.engine.local import open_engine as open_local
from geoquarry.jobs.adopt import adopt
from geoquarry.jobs.download import download
from geoquarry.jobs.export import export
from geoquarry.jobs.functions import scalar_functions
from geoquarry.jobs.publish import publish
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.jobs.upload import upload
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.tables import tiles_schema

ENDPOINT = "ODPS_TEST_ENDPOINT"
JOBS = {"maps": "mosaic", "colours": "color_balancing", "minerals": "mineral_indices"}
PLANS = ("collect", "udtf")

pytestmark = [pytest.mark.odps_live]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Our engine on the project, with names of its own; everything is dropped at the end."""
    if not os.environ.get(ENDPOINT):
        pytest.skip(
            f"no live project: set {ENDPOINT}, ODPS_PROJECT_NAME and credentials, see "
            "docs/maxcompute.md"
        )
    pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
    from geoquarry.engine.maxcompute import open_engine

    prefix = f"gqtest_{uuid.uuid4().hex[:8]}_"
    found = open_engine(
        str(tmp_path_factory.mktemp("live")),
        endpoint=os.environ[ENDPOINT],
        prefix=prefix,
        functions=scalar_functions(),
    )
    try:
        yield found
    finally:
        sweep(found, prefix)


def sweep(engine, prefix):
    """Drop tables, helpers, functions and resources whose names begin with the prefix."""
    client = engine.connection.odps
    kinds = (
        (client.list_tables, client.delete_table),
        (client.list_functions, client.delete_function),
        (client.list_resources, client.delete_resource),
    )
    for listed, delete in kinds:
        for found in list(listed(prefix=prefix)):
            if found.name.lower().startswith(prefix):
                delete(found.name)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same rows and results on this host."""
    found = open_local(str(tmp_path_factory.mktemp("local") / "house"), workers=1)
    found.create("aster", tiles_schema(SENSOR.name, GRID))
    found.append("aster", mixed_rows())
    for target, method in JOBS.items():
        run_phases(found, job_of(found, Trigger(method, "aster", target)))
    return found


@pytest.fixture(scope="module")
def filled(engine, local, tmp_path_factory):
    """The rows uploaded, through a file as a user would."""
    path = tmp_path_factory.mktemp("rows") / "aster.parquet"
    count = download(local, "aster", path)
    report = upload(engine, path, "aster")
    assert (report.rows, report.failed) == (count, [])
    return engine


def digest(engine, table):
    return parity_digest(engine.read(table).read_all().to_pylist())


def test_rows_arrive_as_they_were(filled, local):
    assert filled.tables() == ["aster"]
    assert filled.schema("aster").equals(local.schema("aster"), check_metadata=True)
    assert filled.describe("aster")["rows"] == 12
    assert digest(filled, "aster") == digest(local, "aster")
    assert filled.check("aster") == []


def test_the_same_rows_again_change_nothing(filled, local):
    filled.append("aster", mixed_rows()[:4])
    assert filled.describe("aster")["rows"] == 12
    assert digest(filled, "aster") == digest(local, "aster")


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("target", JOBS)
def test_results_equal_the_local_engines(filled, local, target, plan):
    filled.plan = plan
    name = f"{target}_{plan}"
    report = run_phases(filled, job_of(filled, Trigger(JOBS[target], "aster", name)))
    assert report.counts["ok"] == 3, report
    assert digest(filled, name) == digest(local, target)
    assert not run_phases(filled, job_of(filled, Trigger(JOBS[target], "aster", name))).failed


def test_sql_is_answered(filled):
    found = filled.sql("SELECT COUNT(*) AS n FROM aster WHERE cloud_fraction < 2")
    assert found.read_all().to_pylist() == [{"n": 12}]


def test_results_come_down_and_become_maps(filled, local, tmp_path):
    run_phases(filled, job_of(filled, Trigger("mosaic", "aster", "maps_collect")))
    for each, table, name in ((filled, "maps_collect", "there"), (local, "maps", "here")):
        assert download(each, table, tmp_path / f"{name}.csv", hexadecimal="pixels") == 3
        assert len(export(each, table, tmp_path / name)) == 3


def test_published_layouts(filled):
    theirs = filled.connection.physical("theirs")  # published tables go by their full names
    assert publish(filled, "aster", theirs, where="xa IS NOT NULL") > 0
    report = adopt(filled, theirs, "adopted")
    assert (report.rows, report.failed) == (filled.describe("adopted")["rows"], [])


def test_what_is_dropped_is_gone(filled):
    filled.create("briefly", tiles_schema(SENSOR.name, GRID))
    filled.drop("briefly")
    assert "briefly" not in filled.tables()
    filled.vacuum("aster", older_than=timedelta(0))
    assert not [name for name in filled.tables() if "__" in name]


def test_errors_say_what_to_do(filled):
    with pytest.raises(GeoquarryError, match="No table 'nowhere'"):
        filled.describe("nowhere")
