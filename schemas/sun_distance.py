"""How far the sun is."""

import numpy as np


def earth_sun_distance_au(day_of_year: float) -> float:
    """Distance to the sun on a day of the year.

    ``d = 1 - 0.01672 cos(0.9856 deg (day - 4))``: the Earth's orbit to first order in its
    eccentricity, with 360/365.25 degrees a day from the perihelion on about 4 January. Within
    0.0007 AU of the low-precision formula of the Astronomical Almanac in 2000-2008. 6S (routine
    VARSOL) has the same form, the public reference implementation the same numbers.

    Parameters
    ----------
    day_of_year : float
        1 = 1 January.

    Examples
    --------
    >>> earth_sun_distance_au(4)
    0.98328
    """
    return float(1 - 0.01672 * np.cos(np.deg2rad(0.9856 * (day_of_year - 4))))
