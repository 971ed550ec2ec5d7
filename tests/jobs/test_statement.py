"""The SQL statement that triggers a job."""

import pytest

from geoquarry.jobs.statement import Trigger, read_statement
from geoquarry.schemas.errors import UsageError

METHODS = {"mosaic", "mineral_indices"}
DESIGN = """
INSERT OVERWRITE TABLE indices
SELECT tile_x, tile_y, mineral_indices(*, mosaic => 'median')
FROM aster WHERE acquired < '2008-04-01' AND cloud_fraction < 0.6
GROUP BY tile_x, tile_y
"""


def test_the_designs_statement():
    assert read_statement(DESIGN, METHODS) == Trigger(
        method="mineral_indices",
        source="aster",
        target="indices",
        where="acquired < '2008-04-01' AND cloud_fraction < 0.6",
        params={"mosaic": "median"},
        overwrite=True,
    )


def test_insert_into_and_typed_parameters():
    found = read_statement(
        "insert into m select mosaic(*, mosaic => 'min', n => 3, x => -0.5, on => true) as r, "
        "tile_y, tile_x from t group by tile_y, tile_x",
        METHODS,
    )
    assert found is not None
    assert found.params == {"mosaic": "min", "n": 3, "x": -0.5, "on": True}
    assert not found.overwrite
    assert found.where == ""


def test_ordinary_sql_is_left_to_the_engine():
    assert read_statement("SELECT count(*) FROM aster WHERE cloud_fraction < 0.1", METHODS) is None
    assert read_statement("WITH a AS (SELECT 1) SELECT * FROM a", METHODS) is None


@pytest.mark.parametrize(
    "text",
    ["", "SELECT {'a': 1::HUGEINT}", "SELECT 1; SELECT 2", "DROP TABLE aster", "not sql at all ("],
)
def test_whatever_is_no_insert_is_left_to_the_engine(text):
    assert read_statement(text, METHODS) is None


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT tile_x, tile_y, nothing(*) FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, mosaic(*) FROM a GROUP BY tile_x",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM a",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(b01) FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*, 'min') FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*, n => b01) FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM a GROUP BY tile_x, tile_y LIMIT 3",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM a JOIN b GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM a GROUP BY tile_x, tile_y HAVING 1",
        "INSERT INTO t (a) SELECT tile_x, tile_y, mosaic(*) FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, count(*) FROM a GROUP BY tile_x, tile_y",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM (SELECT 1) GROUP BY tile_x, tile_y",
        "INSERT INTO (",
        "INSERT INTO t SELECT tile_x, tile_y, mosaic(*) FROM a GROUP BY tile_x, tile_y; SELECT 1",
    ],
)
def test_anything_else_is_refused_with_the_form(text):
    with pytest.raises(UsageError):
        read_statement(text, METHODS)
