"""What lies above a surface, of the water vapour and the ozone of the standard atmosphere."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.schemas.atmosphere import ozone_above, ozone_fraction, water_above, water_fraction

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
