"""One story, every engine: the same rows give the same result, however they are carried.

tests/spark/test_parity.py and tests/maxcompute/test_parity.py carry the same jobs elsewhere.
"""

import random

import pytest
from rows import GRID, SENSOR, mixed_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.tables import tiles_schema
from geoquarry.udfs import methods

ROWS = mixed_rows()
JOBS = [
    *(("mosaic", {"mosaic": name}) for name in sorted(methods.MOSAICS)),
    *(("color_balancing", {"balance": name}) for name in sorted(methods.BALANCES)),
    ("mineral_indices", {}),
    ("mineral_indices", {"dtype": "float32", "mosaic": "mean"}),
    ("mosaic", {"mosaic": "mean", "dtype": "float32", "atmosphere": "per_tile"}),
]
IDS = [f"{method}-{params}" for method, params in JOBS]


def filled(folder, rows, *, workers, one_by_one=False, executor="thread"):
    """A warehouse holding the rows in the order given, on the local engine."""
    engine = open_engine(str(folder), workers=workers, executor=executor)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    if one_by_one:
        for row in rows:
            engine.append("tiles", [row])
    else:
        engine.append("tiles", rows)
    return engine


def digest_of_job(engine, method, params, target):
    """Run a job in all its phases; the digest of what it stored."""
    report = run_phases(engine, job_of(engine, Trigger(method, "tiles", target, params=params)))
    assert report.counts["ok"] == 3, (engine.name, report)
    rows = engine.read(target).read_all().to_pylist()
    assert len(rows) == 3
    return parity_digest(rows)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """The ways to carry the same rows; the first is the yardstick."""
    folder = tmp_path_factory.mktemp("agree")
    shuffled = random.Random(7).sample(ROWS, len(ROWS))
    return {
        "local, one thread": filled(folder / "one", ROWS, workers=1),
        "local, two threads": filled(folder / "two", ROWS, workers=2),
        "local, shuffled, row by row": filled(
            folder / "shuffled", shuffled, workers=2, one_by_one=True
        ),
    }


@pytest.mark.parametrize(("method", "params"), JOBS, ids=IDS)
def test_every_engine_gives_the_same_answer(engines, method, params):
    target = f"out_{JOBS.index((method, params))}"
    digests = {
        name: digest_of_job(engine, method, params, target) for name, engine in engines.items()
    }
    assert len(set(digests.values())) == 1, digests


def test_processes_give_the_same_answer_as_threads(engines, tmp_path):
    trigger = Trigger("mineral_indices", "tiles", "alike")
    threads = engines["local, one thread"]
    processes = filled(tmp_path / "processes", ROWS, workers=2, executor="process")
    digests = set()
    for engine in (threads, processes):
        assert run_phases(engine, job_of(engine, trigger)).counts["ok"] == 3
        digests.add(parity_digest(engine.read("alike").read_all().to_pylist()))
    assert len(digests) == 1


def test_a_job_can_read_its_source_as_it_was(engines, tmp_path):
    engine = filled(tmp_path / "past", ROWS[:6], workers=1)
    then = engine.history("tiles")[-1]["snapshot_id"]
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "before")))
    engine.append("tiles", ROWS[6:])
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "past"), as_of=then))
    run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "now")))
    before, past, now = (
        parity_digest(engine.read(name).read_all().to_pylist())
        for name in ("before", "past", "now")
    )
    assert before == past != now
    with pytest.raises(GeoquarryError, match="12345"):
        run_phases(engine, job_of(engine, Trigger("mosaic", "tiles", "never"), as_of=12345))


def test_different_parameters_give_different_answers(engines):
    """The digest above could not tell engines apart if it could not tell these apart."""
    engine = engines["local, one thread"]
    seen = set()
    for name in ("min", "mean", "median"):
        trigger = Trigger("mosaic", "tiles", "out", params={"mosaic": name}, overwrite=True)
        run_phases(engine, job_of(engine, trigger))
        seen.add(parity_digest(engine.read("out").read_all().to_pylist()))
    assert len(seen) == 3
