"""Small tables that join the rows of a job, and tables that keep all rows in one file."""

import importlib.util
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from geoquarry.engine.local import open_engine
from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job, Lookup
from geoquarry.schemas.tables import column, with_facts

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


def small(*fields):
    key = [column("grid", pa.string(), "grid name", key=True), *fields]
    facts = {"kind": "small", "sensor": "aster_l1t", "grid": toy.GRID, "unit": ["grid"]}
    return with_facts(pa.schema(key), facts)


WEIGHTS = small(
    column("granule_id", pa.string(), "granule", key=True), column("weight", pa.int32(), "weight")
)
BONUS = small(
    column("tile_x", pa.int32(), "x", key=True),
    column("tile_y", pa.int32(), "y", key=True),
    column("bonus", pa.int32(), "bonus"),
)


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(str(tmp_path / "warehouse"), workers=1)
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row(g, x, 0, v) for x in (0, 1) for g, v in (("A", 2), ("B", 3))])
    engine.create("weights", WEIGHTS)
    engine.create("bonuses", BONUS)
    weigh(engine, A=10, B=100)
    engine.append("bonuses", [{"grid": toy.GRID, "tile_x": 1, "tile_y": 0, "bonus": 7}])
    toy.CALLS.clear()
    return engine


def weigh(engine, **weights):
    rows = [{"grid": toy.GRID, "granule_id": k, "weight": v} for k, v in weights.items()]
    engine.append("weights", rows)


def job(engine, on=("granule_id",)):
    now = {name: engine.describe(name)["snapshot_id"] for name in ("weights", "bonuses")}
    return Job(
        source="aster", target="map", method="toy", params={}, udf="toy_udfs:weigh",
        columns=("granule_id", "b01"), schema=toy.RESULTS, package_version="1",
        lookups=(
            Lookup("weights", on, ("weight",), now["weights"]),
            Lookup("bonuses", ("tile_x", "tile_y"), ("bonus",), now["bonuses"]),
        ),
    )  # fmt: skip


def values(engine):
    rows = engine.read("map", ["tile_x", "value"]).read_all().to_pylist()
    return {row["tile_x"]: int(decode(row["value"])[0, 0]) for row in rows}


def test_rows_carry_what_the_small_tables_say(engine):
    assert engine.run(job(engine)).wait().counts["ok"] == 2
    assert values(engine) == {0: 2 * 10 + 3 * 100, 1: 2 * 10 + 3 * 100 + 2 * 7}


def test_rows_that_find_nothing_get_null(engine):
    engine.append("aster", [toy.row("C", 0, 0, 50)])
    engine.run(job(engine)).wait()
    assert values(engine)[0] == 320


def test_only_tiles_whose_values_changed_are_computed_again(engine):
    engine.append("aster", [toy.row("C", 2, 0, 5)])
    weigh(engine, C=1)
    engine.run(job(engine)).wait()
    toy.CALLS.clear()
    assert engine.run(job(engine)).wait().counts["skipped"] == 3
    weigh(engine, C=2)
    report = engine.run(job(engine)).wait()
    assert (report.counts["ok"], report.counts["skipped"], toy.CALLS) == (1, 2, [(2, 0)])
    assert values(engine)[2] == 10


def test_a_lookup_reads_the_snapshot_it_names(engine):
    then = job(engine)
    weigh(engine, A=0, B=0)
    engine.run(then).wait()
    assert values(engine)[0] == 320


def test_processes_get_the_values_too(engine, tmp_path):
    other = open_engine(str(tmp_path / "warehouse"), workers=1, executor="process")
    found = job(engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        # A spawned process knows no module that was loaded by path.
        found = Job(**{**found.__dict__, "udf": "toy:weigh"})
        sys.path.insert(0, str(Path(__file__).parent))
        try:
            assert other.run(found).wait().counts["ok"] == 2
        finally:
            sys.path.pop(0)
    assert values(engine)[1] == 334


def test_other_keys_are_refused(engine):
    with pytest.raises(UsageError, match="granule_id or by tile_x, tile_y"):
        engine.run(job(engine, on=("tile_y",))).wait()


def test_a_small_table_keeps_all_rows_in_one_file_whoever_adds_to_it(engine):
    assert engine.describe("weights")["files"] == 1
    engine.append("weights", [{"grid": toy.GRID, "granule_id": "A", "weight": 1}])
    rows = engine.read("weights").read_all().to_pylist()
    assert {row["granule_id"]: row["weight"] for row in rows} == {"A": 1, "B": 100}
    assert engine.check("weights") == []
    engine.vacuum("weights", keep=1)
    assert len(engine.read("weights").read_all()) == 2
