"""Thick cloud of one granule: bright, white, and darker in the SWIR, as drops and ice are."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.udfs.morphology import Mask, dilate, majority
from geoquarry.udfs.shadow import Reflectance

CERTAIN_RATIO = 1.07
"""NIR / SWIR of certain cloud: drops and ice absorb at 1.6 um. In the simulated clouds, of drops of
three sizes under gases and with 2 % of calibration error, it is 1.10 to 2.2 where they are opaque;
over salt, clay, limestone and pale silt it is 0.97 to 1.05, over gypsum up to 1.09."""
HUMP = ("swir22_7", "swir23_8", "swir24_9")
HUMP_FROM, HUMP_SLOPE = 0.02, 2.0
"""Gypsum absorbs near 2.2 and 2.4 um and less in between: the middle one of these bands is 1.03 to
1.15 of the mean of the others (clouds: 0.90 to 1.02). By how much it exceeds 1.02 raises
`CERTAIN_RATIO` twofold: about the line that parts both clusters best with 2 % of error per band."""
RATIO_WITHOUT_HUMP = 1.10
"""Of certain cloud where the sensor lacks those bands; gypsum stays below, and cloud of small drops
now and then."""
LIKELY_BELOW = 0.03
"""By how much thin cloud over soil may lie below the ratio of certain cloud."""
VISIBLE_ONLY_GREEN = 0.93
"""Without the SWIR: green of certain cloud against red and NIR. Soil, clay and salt rise more."""
GROWS_M = 300.0
"""How far from certain cloud a likely pixel may lie: beyond it bright ground that touches a cloud
stays ground. 600 m found no more cloud."""
NEAR_SNOW_RATIO, NEAR_SNOW_SWIR = 2.5, 0.30
SNOW_M = 300.0
"""Around snow the ground is partly covered, and its mixtures look like thin ice cloud:
there, likely cloud has a NIR / SWIR below the one, certain cloud a SWIR above the other."""
LEAST_M2 = 5 * 30.0**2
"""Certain cloud that a body needs."""


def find_clouds(rho: Reflectance, full: Mapping[str, Mask], snow: Mask, *, pixel_m: float) -> Mask:
    """Thick cloud: certain cores, and what is likely cloud around them.

    *Likely* is green > 0.24, white (green, red and NIR within 0.3 of the NIR) and NIR / SWIR above
    1.04. *Certain* is green > 0.30, green > 0.85 NIR and NIR / SWIR above 1.07; both ratios rise
    where the ground may be gypsum. Both are asked for more within 300 m of snow.

    Single pixels pass by the misregistration of bands on rough bright ground, so most of a 3 x 3
    neighbourhood must agree, and a body needs certain cloud worth five pixels of 30 m.

    Without swir16 only brightness and whiteness are left, so both are asked for more strictly
    (green 0.34 and 0.42; 0.15; green > 0.93 of red and NIR): snow, gypsum and limestone pass.

    Parameters
    ----------
    rho : role -> float32, shape (y, x)
        TOA reflectance, NaN = not observed.
    full : role -> bool, shape (y, x)
        Saturated pixels. Their reflectance is a lower limit: it counts as bright, and no test
        that a larger value could turn is held against them.
    snow : bool, shape (y, x)
        Never cloud.
    pixel_m : float
        Pixel size [m].

    Returns
    -------
    cloud : bool, shape (y, x)
        Without any buffer.

    Examples
    --------
    >>> gypsum, cloud = np.full((9, 9), 0.7, "float32"), np.full((9, 9), 0.6, "float32")
    >>> full = dict.fromkeys(("green", "red", "nir"), np.zeros((9, 9), bool))
    >>> for swir in (0.67, 0.5):
    ...     rho = dict.fromkeys(full, gypsum) | {"swir16": np.full((9, 9), swir, "float32")}
    ...     bool(find_clouds(rho, full, ~cloud.astype(bool), pixel_m=30)[4, 4])
    False
    True
    """
    green, red, nir = rho["green"], rho["red"], rho["nir"]
    swir = rho.get("swir16")
    core, least = (0.30, 0.24) if swir is not None else (0.42, 0.34)
    low, high = np.minimum(np.minimum(green, red), nir), np.maximum(np.maximum(green, red), nir)
    white: Mask = high - low < np.float32(0.3 if swir is not None else 0.15) * nir
    white |= full["green"] | full["red"] | full["nir"]
    likely = ((green > np.float32(least)) | full["green"]) & white & ~snow
    certain = likely & ((green > np.float32(core)) | full["green"])
    if swir is not None:
        # A cloud is as bright in red and green: they answer where the NIR is saturated.
        top = nir
        if full["nir"].any():
            red_or_green = np.where(full["red"], np.where(full["green"], np.float32(9), green), red)
            top = np.where(full["nir"], np.maximum(nir, red_or_green), nir).astype(np.float32)
        ratio = _certain_ratio(rho, full)
        likely &= top > (ratio - np.float32(LIKELY_BELOW)) * swir
        certain &= top > ratio * swir
        certain &= (green > np.float32(0.85) * nir) | full["green"]
        if snow.any():
            near = dilate(snow, SNOW_M / pixel_m)
            likely &= ~near | (nir < np.float32(NEAR_SNOW_RATIO) * swir)
            certain &= likely & (~near | (swir > np.float32(NEAR_SNOW_SWIR)))
    else:
        certain &= (green > np.float32(VISIBLE_ONLY_GREEN) * np.maximum(red, nir)) | full["green"]
    certain = majority(certain)
    body, count = ndimage.label(certain, np.ones((3, 3), int))
    keep = np.bincount(body.ravel(), minlength=count + 1) * pixel_m**2 >= LEAST_M2
    keep[0] = False
    certain = keep[body]
    around = majority(likely) & dilate(certain, GROWS_M / pixel_m) | certain
    grown: Mask = ndimage.binary_propagation(certain, np.ones((3, 3), bool), around)
    return grown


def _certain_ratio(rho: Reflectance, full: Mapping[str, Mask]) -> NDArray[np.float32]:
    """NIR / SWIR that certain cloud exceeds, pixel by pixel: more where there may be gypsum."""
    if not all(role in rho for role in HUMP):
        return np.full(rho["green"].shape, RATIO_WITHOUT_HUMP, np.float32)
    left, middle, right = (rho[role] for role in HUMP)
    hump = np.float32(2) * middle / np.maximum(left + right, np.float32(0.02)) - np.float32(1)
    ratio: NDArray[np.float32] = np.clip(
        hump - np.float32(HUMP_FROM), np.float32(0), np.float32(0.2)
    )
    ratio *= np.float32(HUMP_SLOPE)
    # Saturated shoulders make a hump of any spectrum.
    ratio[full[HUMP[0]] | full[HUMP[2]]] = 0
    ratio += np.float32(CERTAIN_RATIO)
    return ratio
