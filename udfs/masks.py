"""What a pixel of a granule shows: edge, saturation, cloud, shadow, snow, water, as flag bits.

Made for the whole granule in its own north-up frame, on top-of-atmosphere reflectance, because a
buffer in metres or a shadow kilometres away from its cloud cannot be right inside one tile. Bands
are known by *role* (green, red, nir, swir16, ...), so any sensor that has them can be masked.

It claims thick cloud over land, salt, sand and gypsum alike as long as the SWIR can be used, and
does not claim thin cirrus, nor ice cloud beside snow. Without the SWIR, bright ground is cloud: the
temporal test of the mosaic gives it back. docs/masks.md has the measured figures.

Sources
-------
Hall, Riggs & Salomonson 1995, Remote Sens. Environ. 54, 127 (snow: NDSI > 0.4, NIR > 0.11).
Irish 2000, Proc. SPIE 4049, 348 (ACCA: NIR / SWIR > 1 keeps bright soil out of the clouds);
Hulley & Hook 2008, Geophys. Res. Lett. 35, L16812, brought its passes to ASTER, with the TIR.
Zhu & Woodcock 2012, Remote Sens. Environ. 118, 83 (Fmask: whiteness, water from NDVI and NIR,
shadow by moving the cloud along the sun's direction until it fits the dark pixels).
McFeeters 1996, Int. J. Remote Sens. 17, 1425 and Xu 2006, ibid. 27, 3025 (NDWI, MNDWI > 0).
Thresholds without a name beside them are ours, set on simulated scenes.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.schemas import flags
from geoquarry.schemas.errors import InputError
from geoquarry.udfs.cloud_test import find_clouds
from geoquarry.udfs.morphology import Mask, dilate, inside, majority
from geoquarry.udfs.shadow import Reflectance, find_dark, find_shadows, shadow_shift
from geoquarry.udfs.warp import SATURATED_DN, SIXTEENTHS

MASK_VERSION = "2"
"""Changes whenever a flag of the same granule may change; stored beside the flags."""

NEEDED = ("green", "red", "nir")
"""Roles without which nothing can be masked; the SWIR is used when it can be trusted."""


def granule_flags(
    dn: Mapping[str, NDArray[Any]],
    reflectance_toa: Reflectance,
    *,
    pixel_m: float,
    sun_zenith_deg: float,
    sun_azimuth_deg: float,
    unreliable: Collection[str] = (),
    edge_m: float = 240.0,
    cloud_buffer_m: float = 90.0,
    shadow_buffer_m: float = 60.0,
) -> NDArray[np.uint16]:
    """Flag every pixel of a granule.

    Parameters
    ----------
    dn : role -> uint8 or uint16, shape (y, x)
        Counts of **all** bands on one lattice: uint8, or uint16 sixteenths from
        `geoquarry.udfs.warp.to_coarse_lattice`; 0 = not observed, 255 (4080) = saturated.
    reflectance_toa : role -> float32, shape (y, x)
        Top-of-atmosphere reflectance, NaN = not observed; ``green red nir`` and, if the sensor
        has them, ``swir16``, ``swir22_7``, ``swir23_8``, ``swir24_9``. A saturated pixel
        carries the reflectance of its count.
    pixel_m : float
        Pixel size of the lattice [m].
    sun_zenith_deg, sun_azimuth_deg : float
        Direction to the sun; azimuth clockwise from the top of the image.
    unreliable : collection of str
        Roles whose counts exist but must not be used. They take no part in any test, and the
        whole granule gets SWIR_UNRELIABLE.
    edge_m : float
        Width lost along the footprint's edge and wide gaps (the reference loses 8 pixels of 30 m).
    cloud_buffer_m, shadow_buffer_m : float
        Safety margin around clouds and their shadows. 90 m around clouds find as much of them
        as 150 m (within 0.2 %), at half the clear ground.

    Returns
    -------
    flags : uint16, shape (y, x)
        Bits NOT_OBSERVED, SATURATED, SWIR_UNRELIABLE, CLOUD, SHADOW, SNOW, WATER.
        Pixels lost to the edge keep their other bits.

    Raises
    ------
    InputError
        A needed role is missing or unreliable, or an unreliable one is not SWIR.

    Examples
    --------
    >>> dn = {role: np.full((40, 40), 90, "uint8") for role in ("green", "red", "nir")}
    >>> rho = {role: np.full((40, 40), 0.25, "float32") for role in dn}
    >>> bits = granule_flags(dn, rho, pixel_m=30, sun_zenith_deg=30, sun_azimuth_deg=140)
    >>> int(bits[20, 20]), int(bits[7, 20]) == flags.NOT_OBSERVED
    (0, True)
    """
    for role in NEEDED:
        if role not in dn or role not in reflectance_toa or role in unreliable:
            raise InputError(
                f"Masks need a usable band of role {role!r}; usable here: "
                f"{', '.join(r for r in dn if r not in unreliable) or 'none'}. "
                "Leave this granule out, or mask it elsewhere."
            )
    strange = [role for role in unreliable if not role.startswith("swir")]
    if strange:
        raise InputError(
            f"Bands of role {', '.join(strange)} are said to be unreliable; only SWIR bands can be "
            "left out of a granule. Leave the granule out."
        )
    used = [band for role, band in dn.items() if role not in unreliable]
    rho = {r: b for r, b in reflectance_toa.items() if r in dn and r not in unreliable}
    observed = np.ones(used[0].shape, bool)
    for band in used:
        observed &= band != 0
    full = {role: is_saturated(dn[role]) for role in rho}

    bits = np.zeros(observed.shape, np.uint16)
    if unreliable:
        bits |= np.uint16(flags.SWIR_UNRELIABLE)
    for band in used:
        bits[is_saturated(band)] |= flags.SATURATED

    snow = find_snow(rho) & observed
    cloud = find_clouds(rho, full, snow, pixel_m=pixel_m) & observed
    water = find_water(rho) & observed & ~cloud
    shadow = find_shadows(
        cloud,
        find_dark(rho, observed & ~cloud, pixel_m=pixel_m),
        observed,
        pixel_m=pixel_m,
        shift_m_per_m=shadow_shift(sun_zenith_deg, sun_azimuth_deg),
    )
    shadow &= ~lakes(water, shadow)
    cloud = dilate(cloud, cloud_buffer_m / pixel_m) & observed
    shadow = dilate(shadow, shadow_buffer_m / pixel_m) & observed & ~cloud
    # A deep shadow passes the water tests, so where a cloud explains the darkness it is shadow.
    for found, bit in (
        (~inside(observed, edge_m / pixel_m), flags.NOT_OBSERVED),
        (cloud, flags.CLOUD),
        (shadow, flags.SHADOW),
        (snow & ~cloud, flags.SNOW),
        (water & ~shadow & ~cloud, flags.WATER),
    ):
        bits[found] |= bit
    return bits


def is_saturated(dn: NDArray[Any]) -> Mask:
    """Where the detector was at its limit: 255, or 4080 in sixteenths (uint16)."""
    saturated: Mask = dn == SATURATED_DN * (SIXTEENTHS if dn.dtype == np.uint16 else 1)
    return saturated


def find_snow(rho: Reflectance) -> Mask:
    """Snow: bright in green and NIR, dark in the SWIR (Hall et al. 1995).

    Green must exceed 0.3, because the air's light alone gives dark shadows an NDSI above 0.4. SWIR
    above 0.25 is left to the clouds: ice clouds reach NDSI 0.4, too. Nothing without swir16.
    """
    if "swir16" not in rho:
        return np.zeros(rho["green"].shape, bool)
    green, swir = rho["green"], rho["swir16"]
    snow: Mask = ratio_above(green, swir, np.float32(0.4))
    snow &= (rho["nir"] > np.float32(0.11)) & (green > np.float32(0.3))
    snow &= swir < np.float32(0.25)
    return majority(snow)


def find_water(rho: Reflectance) -> Mask:
    """Open water: dark and falling towards the NIR (Fmask), green above NIR and SWIR.

    Without swir16, NDWI must exceed 0.3, or dark slopes under a low sun would be lakes.
    """
    green, red, nir = rho["green"], rho["red"], rho["nir"]
    water: Mask = ~ratio_above(nir, red, np.float32(0.01)) & (nir < np.float32(0.11))
    water |= ~ratio_above(nir, red, np.float32(0.1)) & (nir < np.float32(0.05))
    if "swir16" in rho:
        water &= (green > nir) & (green > rho["swir16"])  # NDWI > 0, MNDWI > 0
    else:
        water &= ratio_above(green, nir, np.float32(0.3))
    return water


def lakes(water: Mask, shadow: Mask) -> Mask:
    """Bodies that pass the water tests and mostly lie outside the shadows found.

    A deep shadow passes the water tests too, but then the moved cloud covers most of it.
    """
    body, count = ndimage.label(water)
    size = np.bincount(body[water], minlength=count + 1)
    covered = np.bincount(body[water & shadow], minlength=count + 1)
    lake = covered < 0.5 * size
    lake[0] = False
    found: Mask = lake[body]
    return found


def ratio_above(a: NDArray[np.float32], b: NDArray[np.float32], limit: np.float32) -> Mask:
    """Whether (a - b) / (a + b) > limit, for a + b > 0, without the division."""
    above: Mask = (a - b) > limit * (a + b)
    return above
