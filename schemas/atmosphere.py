"""The standard atmosphere of 6S, and what the columns ``xa``, ``xb``, ``xc`` mean.

Water vapour and ozone are stated as columns **above the surface** in every table. 6S instead
takes a column at sea level, spreads it like the US Standard Atmosphere 1962 and cuts off what
lies below the target (routines PRESSURE and ABSTRA of 6S v1.1; the column it prints is the one
that was typed in, not the one it used). The fractions here convert between the two.
"""

import calendar
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.schemas.errors import InputError

US62 = np.array(
    [  # pressure [hPa], temperature [K], water vapour [g m-3], ozone [g m-3]
        (1013.0, 288.1, 5.9, 5.4e-5),
        (898.6, 281.6, 4.2, 5.4e-5),
        (795.0, 275.1, 2.9, 5.4e-5),
        (701.2, 268.7, 1.8, 5.0e-5),
        (616.6, 262.2, 1.1, 4.6e-5),
        (540.5, 255.7, 0.64, 4.6e-5),
        (472.2, 249.2, 0.38, 4.5e-5),
        (411.1, 242.7, 0.21, 4.9e-5),
        (356.5, 236.2, 0.12, 5.2e-5),
        (308.0, 229.7, 0.046, 7.1e-5),
    ]
)
"""US Standard Atmosphere 1962 at 0, 1 ... 9 km.

Source: McClatchey et al. 1972, AFCRL-72-0497, as in routine US62 of 6S v1.1."""

WATER_ABOVE_9_KM_G_CM2 = 0.0064396
OZONE_ABOVE_9_KM_CM_ATM = 0.3222650
"""What the same profile holds above its tenth level, integrated like routine PRESSURE does."""

HIGHEST_M = 9_000.0

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
        Columns above sea level; see `water_above` and `ozone_above`.

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
        Column above sea level; see `water_above`.

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


def water_fraction(elevation_m: float) -> float:
    """Share of the US 1962 water vapour that lies above an elevation.

    >>> [round(water_fraction(1000.0 * km), 3) for km in range(7)]
    [1.0, 0.648, 0.401, 0.238, 0.138, 0.077, 0.042]
    """
    return float(water_fractions(elevation_m))


def water_fractions(elevation_m: ArrayLike) -> NDArray[np.float64]:
    """`water_fraction` of many elevations [m]: float64, of the same shape.

    >>> water_fractions([0.0, 2000.0]).round(3)
    array([1.   , 0.401])
    """
    return _columns(elevation_m, 2, WATER_ABOVE_9_KM_G_CM2) / _WATER_G_CM2


def ozone_fraction(elevation_m: float) -> float:
    """Share of the US 1962 ozone that lies above an elevation.

    >>> round(ozone_fraction(4000.0), 3)
    0.972
    """
    return float(ozone_fractions(elevation_m))


def ozone_fractions(elevation_m: ArrayLike) -> NDArray[np.float64]:
    """`ozone_fraction` of many elevations [m]: float64, of the same shape.

    >>> ozone_fractions([0.0, 4000.0]).round(3)
    array([1.   , 0.972])
    """
    return _columns(elevation_m, 3, OZONE_ABOVE_9_KM_CM_ATM) / _OZONE_CM_ATM


def water_above(column_sea_level: float, elevation_m: float) -> float:
    """Water vapour above the surface, from a column above sea level.

    Parameters
    ----------
    column_sea_level : float
        Column above sea level [g cm-2], e.g. of `standard_columns`.
    elevation_m : float
        Surface elevation; below sea level counts as sea level, above 9 km as 9 km.

    Returns
    -------
    water_vapour_g_cm2 : float
        Column above the surface.

    Examples
    --------
    >>> water_above(2.0, 0.0)
    2.0
    """
    return column_sea_level * water_fraction(elevation_m)


def ozone_above(column_sea_level: float, elevation_m: float) -> float:
    """Ozone above the surface [cm-atm], from a column above sea level.

    >>> ozone_above(0.5, -20.0)
    0.5
    """
    return column_sea_level * ozone_fraction(elevation_m)


def coefficients_from_transmittances(
    *,
    path_reflectance: ArrayLike,
    gas: ArrayLike,
    down: ArrayLike,
    up: ArrayLike,
    spherical_albedo: ArrayLike,
    irradiance_w_m2_um: ArrayLike,
    sun_zenith_deg: ArrayLike,
    earth_sun_distance_au: ArrayLike,
    coupling: ArrayLike = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Correction coefficients, from what the atmosphere does to light.

    At the top of the atmosphere a Lambertian surface of reflectance rho looks like
    ``rho_toa = path + gas * down * up * coupling * rho / (1 - albedo * rho)`` (Vermote et al.
    1997, IEEE TGRS 35, 675-686, eq. 1-3, gases in the path term included). Solved for rho:
    ``y = xa * radiance - xb; rho = y / (1 + xc * y)``.

    Parameters
    ----------
    path_reflectance : float
        Reflectance of a black surface as seen from above, gases included.
    gas : float
        Two-way transmittance of all gases.
    down, up : float
        Scattering transmittance from the sun and to the sensor, direct and diffuse.
    spherical_albedo : float
        Reflectance of the atmosphere for light from below.
    irradiance_w_m2_um : float
        Band solar irradiance at 1 AU.
    sun_zenith_deg, earth_sun_distance_au : float
        Position of the sun.
    coupling : float
        Mean of the product of gas and scattering transmittance within the band, over the
        product of their means.

    Returns
    -------
    xa, xb, xc : float64, broadcast of the arguments
        ``xa`` in W-1 m2 sr um, the others unitless.

    Examples
    --------
    >>> xa, xb, xc = coefficients_from_transmittances(
    ...     path_reflectance=0.125, gas=1, down=0.5, up=0.5, spherical_albedo=0.25,
    ...     irradiance_w_m2_um=4 * np.pi, sun_zenith_deg=0, earth_sun_distance_au=1)
    >>> float(xa), float(xb), float(xc)
    (1.0, 0.5, 0.25)
    """
    through = np.asarray(gas, np.float64) * np.asarray(down) * np.asarray(up) * np.asarray(coupling)
    sun = np.asarray(irradiance_w_m2_um) * np.cos(np.deg2rad(sun_zenith_deg))
    xa = np.pi * np.asarray(earth_sun_distance_au, np.float64) ** 2 / (sun * through)
    xb = np.asarray(path_reflectance, np.float64) / through
    return xa, xb, np.broadcast_to(np.asarray(spherical_albedo, np.float64), xb.shape)


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


def _columns(elevation_m: ArrayLike, gas: int, above: float) -> NDArray[np.float64]:
    """Columns above elevations: pressure-weighted mixing ratio, as in routine PRESSURE."""
    km = np.clip(np.asarray(elevation_m, np.float64), 0.0, HIGHEST_M) / 1000.0
    below = np.minimum(km.astype(np.intp), len(US62) - 2)
    part = (km - below)[..., None]
    start = (1 - part) * US62[below] + part * US62[below + 1]
    start[..., 0] = US62[below, 0] * (US62[below + 1, 0] / US62[below, 0]) ** part[..., 0]
    pressure, ratio = US62[:, 0], _mixing_ratio(US62, gas)
    layers = (ratio[1:] + ratio[:-1]) / 2 * -np.diff(pressure)
    from_level = np.append(np.cumsum(layers[::-1])[::-1], 0.0)
    first = (_mixing_ratio(start, gas) + ratio[below + 1]) / 2
    mass = first * (start[..., 0] - pressure[below + 1]) + from_level[below + 1]
    per_g = 1.0 if gas == 2 else 1000 / (0.048 / 0.0224)  # ozone: 2.14 kg m-3 at 0 deg C, 1 atm
    found: NDArray[np.float64] = mass * 100 / 98.1 * per_g + above  # mass in g cm-2
    return found


def _mixing_ratio(levels: NDArray[np.float64], gas: int) -> NDArray[np.float64]:
    pressure, temperature, density = levels[..., 0], levels[..., 1], levels[..., gas]
    air = 0.028964 / 0.0224 * 273.16 * pressure / (1013.25 * temperature)  # kg m-3
    ratio: NDArray[np.float64] = density / (1000.0 * air)
    return ratio


_WATER_G_CM2 = float(_columns(0.0, 2, WATER_ABOVE_9_KM_G_CM2))
_OZONE_CM_ATM = float(_columns(0.0, 3, OZONE_ABOVE_9_KM_CM_ATM))
