"""Water vapour into 6S: columns above the surface, low and high."""

from functools import cache

import pytest

from geoquarry.engine import sixs
from geoquarry.schemas.atmosphere import water_fraction
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.lut import lut

ASTER = sensor("aster_l1t")
WATER_BANDS = Sensor(ASTER.name, tuple(b for b in ASTER.bands if b.name in ("b08", "b09")))
WHY_NOT = sixs.available()
needs_sixs = pytest.mark.skipif(WHY_NOT is not None, reason=f"needs 6S: {WHY_NOT}")
PLATEAU_M = 4000.0


@cache
def seen(elevation_m, water_vapour_g_cm2):
    """6S in bands 8 and 9."""
    return sixs.correction(
        WATER_BANDS,
        sun_zenith_deg=40.0,
        sun_azimuth_deg=0.0,
        view_zenith_deg=[0.0, 0.0],
        view_azimuth_deg=[0.0, 0.0],
        aod550=0.1,
        elevation_m=elevation_m,
        water_vapour_g_cm2=water_vapour_g_cm2,
        ozone_cm_atm=0.3,
        earth_sun_distance_au=1.0,
    ).optics


@needs_sixs
def test_a_column_passed_straight_to_6s_would_spoil_the_ratio():
    """At 4 km a typical column of 0.3 g/cm2 would be taken for 0.04; at sea level nothing changes.

    An index of bands 9 and 8 would be 4 to 8 % off, more than the absorption it looks for.
    """
    b08, b09 = seen(PLATEAU_M, 0.3)
    straight08, straight09 = seen(PLATEAU_M, 0.3 * water_fraction(PLATEAU_M))
    off = (b09.gas / b08.gas) / (straight09.gas / straight08.gas) - 1
    assert -0.08 < off < -0.04
    # Our column means the same on the plateau and at sea level, but for the thinner air.
    low08, low09 = seen(0.0, 0.3)
    thin = (low09.gas / low08.gas) / (b09.gas / b08.gas) - 1
    assert abs(thin) < 0.015
    # Water itself: thinner air absorbs less with as much water, but more than with half of it.
    half08, half09 = seen(0.0, 0.15)
    assert low08.water < b08.water < half08.water
    assert low09.water < b09.water < half09.water


@needs_sixs
@pytest.mark.parametrize(
    ("elevation_m", "water"), [(0.0, 0.3), (PLATEAU_M, 0.3), (PLATEAU_M, 0.3 * water_fraction(4e3))]
)
def test_the_table_means_the_same_columns(elevation_m, water):
    found = lut(ASTER.name, "Continental").optics(
        sun_zenith_deg=40.0,
        view_zenith_deg=0.0,
        relative_azimuth_deg=0.0,
        aod550=0.1,
        elevation_m=elevation_m,
        water_vapour_g_cm2=water,
        ozone_cm_atm=0.3,
    )
    for name, direct in zip(WATER_BANDS.names, seen(elevation_m, water), strict=True):
        assert found.gas[ASTER.position(name), 0] == pytest.approx(direct.gas, abs=3e-4)
