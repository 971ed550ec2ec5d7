"""The Spark half of tests/test_engines_agree.py: the same digests, however Spark carries the rows.

The other half shows that the local engine gives one answer for any order and number of threads.
"""

import random
from contextlib import contextmanager

import pytest
from test_engines_agree import IDS, JOBS, ROWS, digest_of_job, filled

from geoquarry.engine.warehouse import open_warehouse

pytestmark = [pytest.mark.spark]

ONE_ROW = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1",
    "spark.sql.execution.arrow.useLargeVarTypes": "true",
}
FEW = {"spark.sql.shuffle.partitions": "3"}
"""Three tiles need no more."""


@contextmanager
def settings(session, values):
    """Settings of a session, for a while."""
    for name, value in values.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name in values:
            session.conf.unset(name)


@pytest.fixture(scope="module")
def ways(tmp_path_factory, spark):
    """The ways to carry the same rows: an engine, and settings of the session for it."""
    from geoquarry.engine.spark import Engine

    folder = tmp_path_factory.mktemp("parity")
    local = filled(folder / "ordered", ROWS, workers=1)
    shuffled = random.Random(7).sample(ROWS, len(ROWS))
    filled(folder / "shuffled", shuffled, workers=1, one_by_one=True)

    def on_spark(name, plan):
        return Engine(open_warehouse(str(folder / name)), session=spark, plan=plan)

    return {
        "local": (local, {}),
        "direct": (on_spark("ordered", "direct"), {}),
        "sql": (on_spark("ordered", "sql"), FEW),
        "sql, shuffled, one granule per batch": (on_spark("shuffled", "sql"), FEW | ONE_ROW),
    }


@pytest.mark.parametrize(("method", "params"), JOBS, ids=IDS)
def test_spark_gives_the_same_answer(ways, spark, method, params):
    digests = {}
    for name, (engine, values) in ways.items():
        target = f"out_{JOBS.index((method, params))}_{name.partition(',')[0]}"
        with settings(spark, values):
            digests[name] = digest_of_job(engine, method, params, target)
    assert len(set(digests.values())) == 1, digests
