"""The meaning of the coefficients: they invert the physics."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.schemas.coefficients import coefficients_from_transmittances


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
