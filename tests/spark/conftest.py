"""One Spark session for all tests of a process, and an engine on it."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
IMPORTABLE = (TESTS, TESTS / "engine", TESTS / "spark")
"""Folders whose modules (rows, toy, trouble, ...) Python workers can import, like this process."""
sys.path.extend(str(folder) for folder in IMPORTABLE if str(folder) not in sys.path)


@pytest.fixture(scope="session")
def spark():
    """A session on two cores with four attempts for every task."""
    pytest.importorskip("pyspark", reason="needs pyspark: pip install '.[spark]'")
    from geoquarry.engine.spark_session import start

    session = start("local[2,4]", {"spark.driver.memory": "1g"})
    yield session
    session.stop()


@pytest.fixture(scope="session")
def spark_engine(spark):
    """Open a warehouse with the Spark engine: ``spark_engine(folder, plan="direct")``."""
    from geoquarry.engine.spark import open_engine

    def opened(folder, **options):
        return open_engine(str(folder), session=spark, **options)

    return opened
