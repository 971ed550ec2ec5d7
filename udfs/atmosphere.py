"""Take the atmosphere off a radiance, and put it on again."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def remove_atmosphere(
    radiance: NDArray[np.floating], xa: ArrayLike, xb: ArrayLike, xc: ArrayLike
) -> NDArray[np.floating]:
    """Turn radiance at the sensor into surface reflectance.

    ``y = xa * radiance - xb; reflectance = y / (1 + xc * y)`` (6S v1.1; Vermote et al. 1997,
    IEEE TGRS 35, 675-686), for a flat Lambertian surface whose surroundings look like itself.

    Parameters
    ----------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where not observed.
    xa, xb, xc : float, shape (band,) or (band, y, x)
        Coefficients as in the tables, see `schemas.coefficients`.

    Returns
    -------
    reflectance : float32, shape (band, y, x)
        Surface reflectance, unitless; NaN where not observed, negative where the atmosphere was
        overestimated. float64 radiance is computed and returned as float64.

    Raises
    ------
    ValueError
        A coefficient has another shape than (band,) or that of the radiance.

    Examples
    --------
    >>> radiance = np.array([[[np.nan, 3.0]]], dtype="float32")
    >>> remove_atmosphere(radiance, xa=[0.25], xb=[0.25], xc=[2.0])
    array([[[ nan, 0.25]]], dtype=float32)
    """
    scale, offset, albedo = (_per_band(c, radiance) for c in (xa, xb, xc))
    out = np.empty(radiance.shape, scale.dtype)
    for band, y in enumerate(out):  # band by band: temporaries of one band only
        np.multiply(radiance[band], scale[band], out=y)
        y -= offset[band]
        denominator = y * albedo[band]
        denominator += 1  # a Python int leaves the dtype as it is
        y /= denominator
    return out


def add_atmosphere(
    reflectance: NDArray[np.floating], xa: ArrayLike, xb: ArrayLike, xc: ArrayLike
) -> NDArray[np.floating]:
    """Turn surface reflectance into radiance at the sensor: the inverse of `remove_atmosphere`.

    ``y = reflectance / (1 - xc * reflectance); radiance = (y + xb) / xa``.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
        Surface reflectance, unitless; NaN where unknown.
    xa, xb, xc : float, shape (band,) or (band, y, x)
        Coefficients as in the tables.

    Returns
    -------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1]; NaN where unknown. float64 stays float64.

    Raises
    ------
    ValueError
        A coefficient has another shape than (band,) or that of the reflectance.

    Examples
    --------
    >>> add_atmosphere(np.full((1, 1, 1), 0.25, "float32"), xa=[0.25], xb=[0.25], xc=[2.0])
    array([[[3.]]], dtype=float32)
    """
    scale, offset, albedo = (_per_band(c, reflectance) for c in (xa, xb, xc))
    out = np.empty(reflectance.shape, scale.dtype)
    for band, y in enumerate(out):
        np.multiply(reflectance[band], albedo[band], out=y)
        np.subtract(1, y, out=y)
        np.divide(reflectance[band], y, out=y)
        y += offset[band]
        y /= scale[band]
    return out


def _per_band(coefficient: ArrayLike, image: NDArray[np.floating]) -> NDArray[np.floating]:
    """A coefficient in the image's dtype, as (band, 1, 1) or (band, y, x)."""
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    array: NDArray[np.floating] = np.asarray(coefficient, dtype)
    if image.ndim == 3 and array.shape == image.shape:
        return array
    if image.ndim == 3 and array.shape == image.shape[:1]:
        return array[:, None, None]
    raise ValueError(
        f"Coefficients of shape {array.shape} do not fit an image of shape {image.shape}; "
        "give one number per band, or one per pixel as (band, y, x)."
    )
