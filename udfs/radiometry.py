"""Counts, radiance and top-of-atmosphere reflectance, forth and back."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

SATURATED = 255


def dn_to_radiance(
    dn: NDArray[np.integer[Any]],
    scale: ArrayLike,
    offset: ArrayLike,
    *,
    nodata: int = 0,
    dtype: DTypeLike = np.float32,
) -> NDArray[np.floating]:
    """Turn counts into radiance: ``radiance = scale * dn + offset``.

    Parameters
    ----------
    dn : integer, shape (band, y, x)
        Counts as stored; uint8 for ASTER, any integer after a radiometric step.
    scale, offset : float, shape (band,)
        As in the tables. ASTER: scale = unit conversion coefficient, offset = -scale, so that
        DN 1 is zero radiance (ASTER Users Handbook v2, 2002).
    nodata : int
        The count that means "not observed".
    dtype : float32 or float64
        Of the arithmetic and of the result.

    Returns
    -------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where not observed.

    Examples
    --------
    >>> dn_to_radiance(np.array([[[0, 1, 3]]], dtype="uint8"), scale=[0.5], offset=[-0.5])
    array([[[nan,  0.,  1.]]], dtype=float32)
    """
    radiance: NDArray[np.floating] = dn.astype(dtype)
    radiance *= _per_band(scale, dtype)
    radiance += _per_band(offset, dtype)
    radiance[dn == nodata] = np.nan
    return radiance


def radiance_to_dn(
    radiance: NDArray[np.floating], scale: ArrayLike, offset: ArrayLike
) -> NDArray[np.uint8]:
    """Turn radiance into the counts a sensor would send down.

    Parameters
    ----------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where not observed.
    scale, offset : float, shape (band,)
        ``radiance = scale * dn + offset``.

    Returns
    -------
    dn : uint8, shape (band, y, x)
        Rounded to the nearest count (a tie to the even one); 0 only where not observed, at
        least 1 where observed, 255 where saturated.

    Examples
    --------
    >>> radiance = np.array([[[np.nan, -1.0, 1.0, 1000.0]]], dtype="float32")
    >>> radiance_to_dn(radiance, scale=[0.5], offset=[-0.5])
    array([[[  0,   1,   3, 255]]], dtype=uint8)
    """
    observed = ~np.isnan(radiance)
    # float64: a float32 quotient could fall on the other side of a half.
    dn = (radiance - _per_band(offset, np.float64)) / _per_band(scale, np.float64)
    dn = np.clip(np.rint(dn), 1, SATURATED)
    return np.where(observed, dn, 0).astype(np.uint8)


def radiance_to_reflectance_toa(
    radiance: NDArray[np.floating],
    irradiance_w_m2_um: ArrayLike,
    sun_zenith_deg: float,
    earth_sun_distance_au: float,
) -> NDArray[np.floating]:
    """Turn radiance into top-of-atmosphere reflectance.

    ``reflectance_toa = pi * radiance * d^2 / (E0 * cos(sun zenith))``.

    Parameters
    ----------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where not observed.
    irradiance_w_m2_um : float, shape (band,)
        E0, the band solar irradiance at 1 AU.
    sun_zenith_deg : float
        Of the scene.
    earth_sun_distance_au : float
        d, on the day of acquisition.

    Returns
    -------
    reflectance_toa : float32, shape (band, y, x)
        Unitless, 1 = a perfect white surface without an atmosphere; NaN where not observed.

    Examples
    --------
    >>> radiance = np.full((1, 1, 1), 0.25, "float32")
    >>> radiance_to_reflectance_toa(radiance, [np.pi], sun_zenith_deg=0, earth_sun_distance_au=1)
    array([[[0.25]]], dtype=float32)
    """
    factor = _reflectance_per_radiance(irradiance_w_m2_um, sun_zenith_deg, earth_sun_distance_au)
    return radiance * _per_band(factor, radiance.dtype)


def reflectance_toa_to_radiance(
    reflectance_toa: NDArray[np.floating],
    irradiance_w_m2_um: ArrayLike,
    sun_zenith_deg: float,
    earth_sun_distance_au: float,
) -> NDArray[np.floating]:
    """Turn top-of-atmosphere reflectance into radiance: `radiance_to_reflectance_toa` inverted.

    Parameters
    ----------
    reflectance_toa : float32, shape (band, y, x)
        Unitless; NaN where unknown.
    irradiance_w_m2_um : float, shape (band,)
        Band solar irradiance at 1 AU.
    sun_zenith_deg, earth_sun_distance_au : float
        Position of the sun.

    Returns
    -------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where unknown.

    Examples
    --------
    >>> reflectance_toa_to_radiance(np.full((1, 1, 1), 0.5, "float32"), [np.pi], 0, 1)
    array([[[0.5]]], dtype=float32)
    """
    factor = _reflectance_per_radiance(irradiance_w_m2_um, sun_zenith_deg, earth_sun_distance_au)
    return reflectance_toa * _per_band(1 / factor, reflectance_toa.dtype)


def _reflectance_per_radiance(
    irradiance_w_m2_um: ArrayLike, sun_zenith_deg: float, earth_sun_distance_au: float
) -> NDArray[np.float64]:
    sun = np.asarray(irradiance_w_m2_um, np.float64) * np.cos(np.deg2rad(sun_zenith_deg))
    factor: NDArray[np.float64] = np.pi * earth_sun_distance_au**2 / sun
    return factor


def _per_band(value: ArrayLike, dtype: DTypeLike) -> NDArray[np.floating]:
    array: NDArray[np.floating] = np.asarray(value, dtype)
    return array[:, None, None]
