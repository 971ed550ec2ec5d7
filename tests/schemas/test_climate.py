"""Standard columns by latitude and season, and no steps between them."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from geoquarry.schemas.climate import STANDARD_COLUMNS, seasonal, standard_columns, standard_water
from geoquarry.schemas.errors import InputError


def test_standard_columns_follow_the_table_of_py6s():
    profile = pytest.importorskip("Py6S").AtmosProfile
    names = dict(zip("123456", ("T", "MS", "MW", "SS", "SW", "US"), strict=True))
    for month in range(1, 13):
        for latitude in (-84, -77.0, -60, -25, -5, 0.0, 15, 24.9, 35, 45, 64.0, 80):
            code = profile.FromLatitudeAndDate(latitude, f"2004-{month:02}-15")
            assert standard_columns(latitude, month) == STANDARD_COLUMNS[names[code]]
    assert standard_columns(90.0, 1) == standard_columns(80.0, 1)


@pytest.mark.parametrize(("latitude", "month"), [(91.0, 1), (float("nan"), 1), (0.0, 13)])
def test_no_such_place_or_month(latitude, month):
    with pytest.raises(InputError, match="No standard atmosphere"):
        standard_columns(latitude, month)


def test_standard_water_meets_the_table_and_never_jumps():
    for month in range(1, 13):
        middle = (
            datetime(2007, month, 1) + (datetime(2007, month, 28) - datetime(2007, month, 1)) / 2
        )
        for latitude in (-60, -20, 0, 40):
            expected = standard_columns(latitude, month)[0]
            # The middle of the month, give or take a day.
            assert standard_water(latitude, middle) == pytest.approx(expected, rel=0.1)
    latitudes = np.arange(-90, 90.01, 0.25)
    for day in range(0, 366, 20):
        columns = standard_water(latitudes, datetime(2006, 1, 1) + timedelta(days=day))
        assert np.abs(np.diff(columns)).max() < 0.06  # g cm-2 over a tile; the table jumps by 1.2
    with pytest.raises(InputError, match="No climate at latitude"):
        standard_water([0.0, 91.0], datetime(2006, 1, 1))


def test_seasons_are_a_ring():
    months = np.arange(12.0)
    days = [datetime(2007, 1, 1) + timedelta(days=d) for d in range(365)]
    found = np.array([float(seasonal(months, day)) for day in days])
    assert found[45] == pytest.approx(1.0, abs=0.1)  # 15 February
    assert found[0] == pytest.approx(5.5)  # half December, half January
    assert np.abs(np.diff([*found[-40:], *found[:40]])).max() < 0.4
