"""Clouds of a simulated scene, and the shadows they throw."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from geoquarry.udfs.landscape_relief import Field, fractal, step

CLOUD_WAVELENGTH_UM = (0.50, 0.90, 1.25, 1.65, 2.20, 2.45)
CLOUD_REFLECTANCE = (0.78, 0.78, 0.72, 0.52, 0.36, 0.30)
"""TOA reflectance of a thick water cloud: bright and white, darker where droplets absorb. The
shape follows Nakajima and King 1990 (doi 10.1175/1520-0469(1990)047<1878:DOTOTA>2.0.CO;2); the
numbers are rounded by us."""
SKY_WAVELENGTH_UM = (0.45, 0.56, 0.66, 0.81, 1.25, 1.65, 2.45)
SKY_SHARE = (0.35, 0.24, 0.17, 0.12, 0.05, 0.03, 0.02)
"""Share of the light on level ground that comes from the sky, not the sun, in clear air; ours, for
a sun about 40 degrees from the zenith. It is what lights a shadow."""


@dataclass(frozen=True)
class Clouds:
    """Clouds over one lattice.

    Attributes
    ----------
    opacity : float32, shape (y, x)
        0 = clear, 1 = the ground is hidden.
    brightness : float32, shape (y, x)
        Factor on the reflectance of a thick cloud.
    shadow : float32, shape (y, x)
        Part of the direct sunlight that is missing on the ground.
    """

    opacity: Field
    brightness: Field
    shadow: Field


def clouds(
    shape: tuple[int, int],
    *,
    pixel_m: float,
    cover: float,
    size_m: float,
    height_m: float,
    sun_zenith_deg: float,
    sun_azimuth_deg: float,
    rng: np.random.Generator,
) -> Clouds:
    """Cumulus with opaque cores and thin edges, and their shadows.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a north-up lattice.
    pixel_m : float
    cover : float
        Share of the frame with an opacity above one half, 0 to below 1.
    size_m : float
        Diameter of the larger clouds.
    height_m : float
        Of the clouds above the ground: shadows fall ``height_m * tan(sun zenith)`` away from the
        sun. Seen from straight above, as if the sensor looked down vertically.
    sun_zenith_deg, sun_azimuth_deg : float
        Azimuth clockwise from north.
    rng : numpy.random.Generator

    Returns
    -------
    clouds : Clouds

    Examples
    --------
    >>> sky = clouds((40, 40), pixel_m=30, cover=0.2, size_m=300, height_m=500, sun_zenith_deg=30,
    ...              sun_azimuth_deg=120, rng=np.random.default_rng(3))
    >>> round(float((sky.opacity > 0.5).mean()), 1)
    0.2
    """
    if cover <= 0:
        clear = np.zeros(shape, np.float32)
        return Clouds(clear, np.ones(shape, np.float32), clear)
    # Shadows of clouds beyond the frame fall into it, too: make the sky larger than the frame.
    down, right = shadow_offset_m(height_m, sun_zenith_deg, sun_azimuth_deg)
    margin = math.ceil(max(abs(down), abs(right)) / pixel_m) + 2
    sky = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    mass = fractal(sky, rng, slope=2.3, longest_px=2 * size_m / pixel_m)
    inner = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    limit = float(np.quantile(mass[inner], 1 - cover))
    opacity = step(mass, limit - 0.18, limit + 0.18)
    brightness = (0.72 + 0.28 * step(mass, limit, limit + 1.0)).astype(np.float32)
    moved: Field = ndimage.shift(
        opacity, (down / pixel_m, right / pixel_m), order=1, mode="constant", output=np.float32
    )
    return Clouds(opacity[inner].copy(), brightness[inner].copy(), moved[inner].copy())


def shadow_offset_m(
    height_m: float, sun_zenith_deg: float, sun_azimuth_deg: float
) -> tuple[float, float]:
    """From a cloud to its shadow: metres down (south) and right (east) in a north-up image.

    >>> down, right = shadow_offset_m(1000.0, 45.0, 135.0)  # sun in the south-east
    >>> round(down), round(right)
    (-707, -707)
    """
    length = height_m * math.tan(math.radians(sun_zenith_deg))
    azimuth = math.radians(sun_azimuth_deg)
    return length * math.cos(azimuth), -length * math.sin(azimuth)


def shaded(reflectance: Field, shadow: Field, wavelength_um: float) -> Field:
    """Apparent reflectance of ground from which a cloud takes the sun; the sky still lights it.

    >>> float(shaded(np.float32(0.5), np.float32(1.0), 1.65))
    0.015
    """
    sky = np.float32(np.interp(wavelength_um, SKY_WAVELENGTH_UM, SKY_SHARE))
    return reflectance * (1 - shadow * (1 - sky))


def clouded(
    radiance: Field, sky: Clouds, *, wavelength_um: float, radiance_per_reflectance: float
) -> Field:
    """Radiance at the sensor with clouds before the ground.

    Parameters
    ----------
    radiance : float32, shape (y, x)
        Of the ground as seen through clear air.
    sky : Clouds
        On the same lattice.
    wavelength_um : float
        Band centre.
    radiance_per_reflectance : float
        Radiance of a surface of TOA reflectance 1: E0 cos(sun zenith) / (pi d^2).

    Returns
    -------
    radiance : float32, shape (y, x)
    """
    thick = np.interp(wavelength_um, CLOUD_WAVELENGTH_UM, CLOUD_REFLECTANCE)
    cloud = np.float32(thick * radiance_per_reflectance) * sky.brightness
    return radiance + sky.opacity * (cloud - radiance)
