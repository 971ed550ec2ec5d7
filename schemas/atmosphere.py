"""The standard atmosphere of 6S: which share of its water vapour and ozone lies above a place.

Water vapour and ozone are stated as columns **above the surface** in every table. 6S instead
takes a column at sea level, spreads it like the US Standard Atmosphere 1962 and cuts off what
lies below the target (routines PRESSURE and ABSTRA of 6S v1.1; the column it prints is the one
that was typed in, not the one it used). The fractions here convert between the two.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        Column above sea level [g cm-2], e.g. of `climate.standard_columns`.
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
