"""The air over simulated scenes: what is in it, what 6S or its table makes of it, and who errs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from geoquarry.engine import sixs
from geoquarry.engine.aster_l1t_writer import SENSOR
from geoquarry.jobs.simulate_ground import Ground
from geoquarry.jobs.simulate_scene import State
from geoquarry.schemas.atmosphere import ozone_above, water_above, water_fraction
from geoquarry.schemas.climate import standard_water
from geoquarry.schemas.ozone import ozone_column
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.air_state import read_state

ATMOSPHERES = ("6s", "lut")
"""Who says what the air does: 6S itself, or the table of it, which is quick but is also what the
chain corrects with, so that its error does not show."""
AEROSOL = "Continental"
AOD_RANGE = (0.005, 2.0)
"""What an aerosol file may hold here; rounded to 0.001 as it is stored."""
OWN_PART = 1 / 3
"""Part of the calibration error that each band has for itself."""

Atmosphere = str | Mapping[str, Sequence[float]]


def with_air(
    state: State, elevation_m: float, latitude_deg: float, rng: np.random.Generator
) -> State:
    """Aerosol drawn at random; water around the standard column, ozone that of the season."""
    water = float(standard_water(latitude_deg, state.acquired))
    ozone = ozone_column(latitude_deg, state.acquired)
    aod550 = round(float(np.clip(rng.lognormal(math.log(0.1), 0.55), 0.02, 0.5)), 3)
    return replace(
        state,
        elevation_m=elevation_m,
        aod550=aod550,
        aod_reported=aod550,
        water_vapour_g_cm2=round(water_above(water, elevation_m) * float(rng.uniform(0.5, 1.4)), 3),
        ozone_cm_atm=ozone_above(ozone, elevation_m),
    )


def with_errors(
    state: State, *, calibration: float, aod_error: float, rng: np.random.Generator
) -> State:
    """A sensor that measures too much or too little, and an aerosol file that is wrong.

    Parameters
    ----------
    state : State
        With air.
    calibration : float
        One standard deviation of the logarithm of the gain that all bands share; each band has
        one of its own beside, a third as large.
    aod_error : float
        One standard deviation of the logarithm of reported over true optical depth.
    rng : numpy.random.Generator
        Draws the same numbers whatever the sizes of the errors.
    """
    own = OWN_PART * rng.standard_normal(len(sensor(SENSOR).bands))
    gain = np.exp(calibration * (rng.standard_normal() + own))
    reported = state.aod550 * math.exp(aod_error * rng.standard_normal())
    return replace(
        state,
        calibration=[round(float(g), 6) for g in gain],
        aod_reported=round(float(np.clip(reported, *AOD_RANGE)), 3),
    )


def with_coefficients(
    state: State,
    ground: Ground,
    levels: int,
    atmosphere: Atmosphere,
    cache: sixs.Cache | None,
) -> State:
    """Coefficients of the true air, at heights from the lowest to the highest ground.

    Parameters
    ----------
    state : State
        With air.
    ground : Ground
    levels : int
        How many heights; 1: only the state's elevation.
    atmosphere : {"6s", "lut"} or mapping of str -> list of float
        ``xa``, ``xb``, ``xc`` per band as they are given, or who finds them.
    cache : Cache, optional
        Of 6S runs.
    """
    if not isinstance(atmosphere, str):
        sets = [[list(map(float, atmosphere[name]))] for name in ("xa", "xb", "xc")]
        return replace(state, xa=sets[0], xb=sets[1], xc=sets[2], level_m=[state.elevation_m])
    if levels == 1:
        heights = [state.elevation_m]
    else:
        lowest, highest = float(ground.elevation_m.min()), float(ground.elevation_m.max())
        heights = np.linspace(lowest, highest, levels).tolist()
    share = water_fraction(state.elevation_m)
    water = [state.water_vapour_g_cm2 * water_fraction(height) / share for height in heights]
    find = _run if atmosphere == "6s" else _look_up
    found = [find(state, height, w, cache) for height, w in zip(heights, water, strict=True)]
    xa, xb, xc = (list(values) for values in zip(*found, strict=True))
    return replace(state, xa=xa, xb=xb, xc=xc, level_m=heights)


Coefficients = tuple[list[float], list[float], list[float]]


def _run(
    state: State, elevation_m: float, water_g_cm2: float, cache: sixs.Cache | None
) -> Coefficients:
    found = sixs.correction(
        sensor(SENSOR),
        sun_zenith_deg=state.sun_zenith_deg,
        sun_azimuth_deg=state.sun_azimuth_deg,
        view_zenith_deg=state.view_zenith_deg,
        view_azimuth_deg=state.view_azimuth_deg,
        aod550=state.aod550,
        elevation_m=elevation_m,
        water_vapour_g_cm2=water_g_cm2,
        ozone_cm_atm=state.ozone_cm_atm,
        earth_sun_distance_au=state.earth_sun_distance_au,
        aerosol_model=AEROSOL,
        cache=cache,
    )
    return found.xa, found.xb, found.xc


def _look_up(
    state: State, elevation_m: float, water_g_cm2: float, cache: sixs.Cache | None
) -> Coefficients:
    row = asdict(state) | {
        "elevation_m": elevation_m,
        "water_vapour_g_cm2": water_g_cm2,
        "aerosol_model": AEROSOL,
    }
    xa, xb, xc = (v.tolist() for v in read_state(row, sensor(SENSOR), strict=True).uniform())
    return xa, xb, xc
