"""The ozone climatology against what is known of the ozone layer."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from geoquarry.schemas.climate import STANDARD_COLUMNS
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.ozone import ozone_column


def at(latitude, month, day=16):
    return ozone_column(latitude, datetime(2004, month, day))


@pytest.mark.parametrize(
    ("latitude", "month", "dobson"),
    [
        (-67.5, 1, 295.3),
        (-37.5, 1, 276.0),
        (-2.5, 1, 249.4),
        (17.5, 1, 238.0),
        (42.5, 1, 336.7),
        (57.5, 1, 379.6),
        (-52.5, 2, 292.2),
        (37.5, 2, 322.3),
        (-22.5, 3, 253.8),
        (27.5, 3, 276.3),
        (47.5, 3, 384.3),
        (72.5, 3, 428.4),
    ],
)
def test_near_what_another_instrument_saw_in_one_year(latitude, month, dobson):
    """Zonal means of SBUV/2 on NOAA-17 in 2004 (NOAA version 8, n17_v8_mn2004_du.dat)."""
    assert at(latitude, month) == pytest.approx(dobson / 1000, rel=0.06)


def test_the_shape_of_the_ozone_layer():
    tropics = [at(lat, month) for lat in range(-20, 21, 5) for month in range(1, 13)]
    assert min(tropics) > 0.24
    assert max(tropics) < 0.29
    spring = [at(lat, month) for lat in (60, 65, 70, 75) for month in (3, 4)]
    assert min(spring) > 0.35
    assert max(spring) < 0.45
    everywhere = [at(lat, month) for lat in range(-60, 91, 3) for month in range(1, 13)]
    assert min(everywhere) > 0.2
    assert max(everywhere) < 0.5
    assert at(-75, 10) < 0.2  # the hole
    # The standard atmospheres within the scatter of real ones; the subarctic winter is a high one.
    for name, latitude, month in (("T", 15, 7), ("MS", 45, 7), ("MW", 45, 1), ("SS", 60, 7)):
        assert at(latitude, month) == pytest.approx(STANDARD_COLUMNS[name][1], rel=0.13)


def test_nothing_jumps_in_place_or_time():
    latitudes = np.arange(-90, 90.01, 0.5)
    days = [datetime(2003, 12, 1) + timedelta(days=d) for d in range(0, 400, 5)]
    field = np.array([[ozone_column(lat, day) for lat in latitudes] for day in days])
    assert np.isfinite(field).all()
    assert np.abs(np.diff(field, axis=1)).max() < 0.005
    inhabited = latitudes > -60  # the hole opens within weeks
    assert np.abs(np.diff(field[:, inhabited], axis=0)).max() < 0.008


def test_polar_night_takes_the_next_zone():
    assert at(80, 12) == at(65, 12)


@pytest.mark.parametrize("latitude", [91.0, float("nan")])
def test_no_such_place(latitude):
    with pytest.raises(InputError, match="No climate at latitude"):
        at(latitude, 1)
