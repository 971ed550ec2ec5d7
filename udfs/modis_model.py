"""What MODIS would report over ground of which another sensor's bands are known."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.landscape_relief import Field

CENTRE_UM = (0.645, 0.859, 0.469, 0.555, 1.240, 1.640, 2.130)
"""Red, NIR, blue, green, 1240, 1640, 2130 nm: MOD09 User's Guide v1.4 (2015), table 1."""
NEAR_2130_UM = (2.10, 2.22)
SCALE = 10_000
RANGE = (0, 16_000)


def modis_bands(reflectance: NDArray[np.float32], facts: Sensor) -> NDArray[np.float32]:
    """Seven MODIS bands from a sensor with green, red, NIR and SWIR bands.

    Red, NIR, green and 1640 nm are taken as they are; 1240 nm lies on the line between NIR and
    1640; blue on the line through red and green, kept within 0.3 and 1.2 of the green (iron oxides
    bend the line); 2130 nm is the mean of the bands between 2.10 and 2.22 um.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
    facts : Sensor
        Its bands, in the same order.

    Returns
    -------
    reflectance : float32, shape (7, y, x)

    Raises
    ------
    ValueError
        The sensor lacks a band that is needed.

    Examples
    --------
    >>> from geoquarry.schemas.sensor import sensor
    >>> grey = np.full((9, 1, 1), 0.25, dtype="float32")
    >>> modis_bands(grey, sensor("aster_l1t")).ravel().tolist()
    [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]
    """
    centre = [sum(band.wavelength_um) / 2 for band in facts.bands]
    places = {role: facts.role(role) for role in ("green", "red", "nir", "swir16")}
    swir2 = [i for i, um in enumerate(centre) if NEAR_2130_UM[0] <= um <= NEAR_2130_UM[1]]
    if None in places.values() or not swir2:
        raise ValueError(f"{facts.name} lacks green, red, NIR, 1.6 um or 2.1-2.2 um bands.")
    at = {role: int(place) for role, place in places.items() if place is not None}
    green, red, nir, swir16 = (reflectance[i] for i in at.values())
    beyond = (centre[at["green"]] - CENTRE_UM[2]) / (centre[at["red"]] - centre[at["green"]])
    blue = np.clip(green - np.float32(beyond) * (red - green), 0.3 * green, 1.2 * green)
    between = (CENTRE_UM[4] - centre[at["nir"]]) / (centre[at["swir16"]] - centre[at["nir"]])
    nir_1240 = nir + np.float32(between) * (swir16 - nir)
    swir_2130 = sum(reflectance[i] for i in swir2) / np.float32(len(swir2))
    stacked = np.stack([red, nir, blue, green, nir_1240, swir16, swir_2130])
    return stacked.astype(np.float32)


def as_stored(reflectance: Field) -> NDArray[np.int16]:
    """Steps of 1e-4 within the product's valid range.

    >>> as_stored(np.array([-0.1, 0.25, 9.0], dtype="float32")).tolist()
    [0, 2500, 16000]
    """
    stored: NDArray[np.int16] = np.clip(np.rint(reflectance * SCALE), *RANGE).astype(np.int16)
    return stored
