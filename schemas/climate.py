"""Water vapour where nothing was measured: standard atmospheres by latitude and season."""

import calendar
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.schemas.errors import InputError

STANDARD_COLUMNS = {
    "T": (4.120, 0.247),
    "MS": (2.930, 0.319),
    "MW": (0.853, 0.395),
    "SS": (2.100, 0.345),
    "SW": (0.419, 0.480),
    "US": (1.424, 0.344),
}
"""Water vapour [g cm-2] and ozone [cm-atm] at sea level: tropical, midlatitude and subarctic
summer and winter, US 1962. Source: the profiles of 6S v1.1 (McClatchey et al. 1972). Its label
says 0.480 for the ozone of the subarctic summer; the profile it computes with holds 0.345."""

SEASONS = {
    (1, 2, 3, 4): "SW SW MW MW SS MS T T T T T MS SS SS MW MW MW",
    (5, 6): "SW MW MW SS SS MS T T T T T MS SS SS MW MW MW",
    (7, 8): "MW MW SS SS MS T T T T T MS MS SS MW MW MW SW",
    (9, 10): "MW MW SS SS MS T T T T T MS MS SS MW MW MW MW",
    (11, 12): "SW SW MW SS SS MS T T T T T MS SS SS MW MW MW",
}
"""Standard atmosphere by month, from 80 north to 80 south in steps of 10 degrees.

Source: FLAASH user's guide, table 2-2, as used by Py6S ``AtmosProfile.FromLatitudeAndDate``."""


def standard_columns(latitude_deg: float, month: int) -> tuple[float, float]:
    """Water vapour and ozone at sea level where nothing was measured.

    Parameters
    ----------
    latitude_deg : float
        North positive.
    month : int
        1 to 12.

    Returns
    -------
    water_vapour_g_cm2, ozone_cm_atm : float
        Columns above sea level; see `atmosphere.water_above` and `ozone_above`.

    Raises
    ------
    InputError
        There is no such month or latitude.

    Examples
    --------
    >>> standard_columns(38.0, 7)
    (2.93, 0.319)
    """
    if not (abs(latitude_deg) <= 90 and month in range(1, 13)):
        raise InputError(
            f"No standard atmosphere for latitude {latitude_deg!r} and month {month!r}. "
            "Give degrees between -90 and 90 and a month from 1 to 12."
        )
    row = next(text for months, text in SEASONS.items() if month in months).split()
    north = min(max(round(latitude_deg, -1), -80), 80)
    return STANDARD_COLUMNS[row[(80 - int(north)) // 10]]


def standard_water(latitude_deg: ArrayLike, when: datetime) -> NDArray[np.float64]:
    """Water vapour above sea level where nothing was measured, without steps.

    The columns of `standard_columns`, linear in latitude between the rows of its table and in time
    between the middles of the months: the table itself jumps by up to a factor of 2.5 from row to
    row.

    Parameters
    ----------
    latitude_deg : float
        North positive; beyond 80 degrees the last row counts.
    when : datetime
        Its month and day count.

    Returns
    -------
    water_vapour_g_cm2 : float64, shape of ``latitude_deg``
        Column above sea level; see `atmosphere.water_above`.

    Raises
    ------
    InputError
        There is no such latitude.

    Examples
    --------
    >>> standard_water([34.0, 35.0, 36.0], datetime(2006, 7, 16)).round(2)
    array([3.63, 3.51, 3.39])
    """
    refuse_latitude(latitude_deg)
    at = np.asarray(latitude_deg, np.float64)
    latitudes = np.arange(-80.0, 81.0, 10.0)
    by_month = [[standard_columns(row, month)[0] for month in range(1, 13)] for row in latitudes]
    found: NDArray[np.float64] = np.interp(at, latitudes, seasonal(by_month, when))
    return found


def seasonal(by_month: ArrayLike, when: datetime) -> NDArray[np.float64]:
    """Values of a day from values of months: linear between their middles, December to January too.

    Parameters
    ----------
    by_month : float, shape (..., 12)
        Of January to December, each for the middle of its month.
    when : datetime

    Returns
    -------
    values : float64, shape (...)

    Examples
    --------
    >>> float(seasonal([0.0] * 11 + [1.0], datetime(2007, 1, 1)))
    0.5
    """
    values = np.asarray(by_month, np.float64)
    days = calendar.monthrange(when.year, when.month)[1]
    since = when.month - 1.5 + (when.day - 1 + when.hour / 24) / days
    before = int(np.floor(since))
    part = since - before
    return values[..., before % 12] * (1 - part) + values[..., (before + 1) % 12] * part


def refuse_latitude(latitude_deg: ArrayLike) -> None:
    """Raise InputError where a latitude is none; NaN is none."""
    at = np.asarray(latitude_deg, np.float64)
    if not (np.abs(at) <= 90).all():
        raise InputError(f"No climate at latitude {at!r}. Give degrees between -90 and 90.")
