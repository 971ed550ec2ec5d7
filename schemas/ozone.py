"""Ozone where nothing was measured: the zonal mean of its month."""

from datetime import datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.climate import refuse_latitude, seasonal
from geoquarry.schemas.csvfile import read_rows

SOURCE = "zonal mean of the season (SBUV, 2005-2024)"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CM_ATM_PER_DOBSON = 1e-3


def ozone_column(latitude_deg: float, when: datetime) -> float:
    """Total ozone column of a place and day, linear between the table's zones and months.

    The table (``ozone_climatology.csv``, with its source) holds means over 10 degrees of latitude
    and 20 years. Beyond 75 degrees the last zone counts.

    Parameters
    ----------
    latitude_deg : float
        North positive.
    when : datetime
        Its month and day count.

    Returns
    -------
    ozone_cm_atm : float
        Column above the zone's mean ground, taken as sea level; see `ozone_above`. Between 0.24
        and 0.42, but for the Antarctic spring (down to 0.196).

    Raises
    ------
    InputError
        There is no such latitude.

    Examples
    --------
    >>> [round(ozone_column(lat, datetime(2006, 3, 16)), 3) for lat in (-45, 0, 38, 65)]
    [0.272, 0.251, 0.337, 0.416]
    """
    refuse_latitude(latitude_deg)
    latitudes, columns = _table()
    by_zone = seasonal(columns, when)
    return float(np.interp(latitude_deg, latitudes, by_zone))


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes, and columns [cm-atm] (zone, month), gaps filled from the equator's side."""
    rows = read_rows("ozone_climatology")
    latitudes = np.array([float(row["latitude_deg"]) for row in rows])
    dobson = np.array([[float(row[month] or "nan") for month in MONTHS] for row in rows])
    for place in np.argsort(np.abs(latitudes)):
        towards = place + (1 if latitudes[place] < 0 else -1)
        gaps = np.isnan(dobson[place])
        dobson[place, gaps] = dobson[towards, gaps]
    return latitudes, dobson * CM_ATM_PER_DOBSON
