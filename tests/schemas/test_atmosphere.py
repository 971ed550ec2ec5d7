"""Standard columns, what lies above a surface, and the meaning of the coefficients."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.schemas.atmosphere import (
    STANDARD_COLUMNS,
    coefficients_from_transmittances,
    ozone_above,
    ozone_fraction,
    seasonal,
    standard_columns,
    standard_water,
    water_above,
    water_fraction,
)
from geoquarry.schemas.errors import InputError

SHARES = [1, 0.649, 0.402, 0.239, 0.138, 0.078, 0.042]
"""Of the US 1962 water vapour above 0 ... 6 km, as measured on 6S by others."""


def test_fractions_are_those_of_6s():
    found = [water_fraction(1000.0 * km) for km in range(7)]
    np.testing.assert_allclose(found, SHARES, rtol=0, atol=1.1e-3)
    # Columns that 6S v1.1 prints above 0.5 and 5 km for its US 1962 profile.
    np.testing.assert_allclose(1.4234 * water_fraction(500.0), 1.152, atol=6e-4)
    np.testing.assert_allclose(0.3437 * ozone_fraction(5000.0), 0.332, atol=6e-4)


@given(st.floats(0, 9000), st.floats(0, 9000))
def test_less_lies_above_a_higher_surface(a, b):
    low, high = sorted((a, b))
    assert 0 < water_fraction(high) <= water_fraction(low) <= 1
    assert 0.9 < ozone_fraction(high) <= ozone_fraction(low) <= 1


def test_outside_the_profile_the_nearest_level_counts():
    assert water_above(2.0, -400.0) == 2.0
    assert water_above(2.0, 9500.0) == water_above(2.0, 9000.0)
    assert ozone_above(0.3, 0.0) == 0.3


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


@given(
    path=st.floats(0, 0.3),
    gas=st.floats(0.3, 1),
    down=st.floats(0.4, 1),
    up=st.floats(0.4, 1),
    albedo=st.floats(0, 0.3),
    rho=st.floats(0, 1),
    zenith=st.floats(0, 80),
)
def test_coefficients_invert_the_physics(path, gas, down, up, albedo, rho, zenith):
    toa = path + gas * down * up * rho / (1 - albedo * rho)
    sun = 1500 * np.cos(np.deg2rad(zenith)) / 1.01**2
    xa, xb, xc = coefficients_from_transmittances(
        path_reflectance=path,
        gas=gas,
        down=down,
        up=up,
        spherical_albedo=albedo,
        irradiance_w_m2_um=1500.0,
        sun_zenith_deg=zenith,
        earth_sun_distance_au=1.01,
    )
    y = xa * (toa * sun / np.pi) - xb
    np.testing.assert_allclose(y / (1 + xc * y), rho, rtol=1e-9, atol=1e-9)
