"""Correction coefficients: what the columns ``xa``, ``xb``, ``xc`` mean."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def coefficients_from_transmittances(
    *,
    path_reflectance: ArrayLike,
    gas: ArrayLike,
    down: ArrayLike,
    up: ArrayLike,
    spherical_albedo: ArrayLike,
    irradiance_w_m2_um: ArrayLike,
    sun_zenith_deg: ArrayLike,
    earth_sun_distance_au: ArrayLike,
    coupling: ArrayLike = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Correction coefficients, from what the atmosphere does to light.

    At the top of the atmosphere a Lambertian surface of reflectance rho looks like
    ``rho_toa = path + gas * down * up * coupling * rho / (1 - albedo * rho)`` (Vermote et al.
    1997, IEEE TGRS 35, 675-686, eq. 1-3, gases in the path term included). Solved for rho:
    ``y = xa * radiance - xb; rho = y / (1 + xc * y)``.

    Parameters
    ----------
    path_reflectance : float
        Reflectance of a black surface as seen from above, gases included.
    gas : float
        Two-way transmittance of all gases.
    down, up : float
        Scattering transmittance from the sun and to the sensor, direct and diffuse.
    spherical_albedo : float
        Reflectance of the atmosphere for light from below.
    irradiance_w_m2_um : float
        Band solar irradiance at 1 AU.
    sun_zenith_deg, earth_sun_distance_au : float
        Position of the sun.
    coupling : float
        Mean of the product of gas and scattering transmittance within the band, over the
        product of their means.

    Returns
    -------
    xa, xb, xc : float64, broadcast of the arguments
        ``xa`` in W-1 m2 sr um, the others unitless.

    Examples
    --------
    >>> xa, xb, xc = coefficients_from_transmittances(
    ...     path_reflectance=0.125, gas=1, down=0.5, up=0.5, spherical_albedo=0.25,
    ...     irradiance_w_m2_um=4 * np.pi, sun_zenith_deg=0, earth_sun_distance_au=1)
    >>> float(xa), float(xb), float(xc)
    (1.0, 0.5, 0.25)
    """
    through = np.asarray(gas, np.float64) * np.asarray(down) * np.asarray(up) * np.asarray(coupling)
    sun = np.asarray(irradiance_w_m2_um) * np.cos(np.deg2rad(sun_zenith_deg))
    xa = np.pi * np.asarray(earth_sun_distance_au, np.float64) ** 2 / (sun * through)
    xb = np.asarray(path_reflectance, np.float64) / through
    return xa, xb, np.broadcast_to(np.asarray(spherical_albedo, np.float64), xb.shape)
