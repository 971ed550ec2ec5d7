"""Arithmetic of the closed loop, for its test and benchmarks/accuracy.py: needs no pytest."""

import numpy as np

from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.radiometry import dn_to_radiance

NAMES = sensor("aster_l1t").names
AIR = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}
"""Coefficients of an ordinary summer day; with them the loop needs no 6S."""


def recovered(dn, granule):
    """Surface reflectance of counts (band, y, x), NaN where not observed."""
    radiance = dn_to_radiance(dn, granule.radiance_scale, granule.radiance_offset)
    return remove_atmosphere(radiance, **AIR)


def rounding_error(place, granule):
    """RMS that rounding to whole counts alone leaves in reflectance."""
    return granule.radiance_scale[place] * AIR["xa"][place] / np.sqrt(12)


def smoothed(fine, shape):
    """1-2-1 on each axis about every second pixel: the test's own two lines of it."""
    padded = np.pad(fine, 1, constant_values=np.nan)
    line = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    both = (line[:, :-2] + 2 * line[:, 1:-1] + line[:, 2:]) / 4
    out = np.full(shape, np.nan)
    part = both[::2, ::2][: shape[0], : shape[1]]
    out[: part.shape[0], : part.shape[1]] = part
    return out
