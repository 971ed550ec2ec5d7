"""An atmosphere in a few formulas that factors the way a lookup table does: stands in for 6S."""

import numpy as np

from geoquarry.schemas.lut_grid import LutState
from geoquarry.udfs.lut_single import scattering_angle_deg, single_scattering


def depth(band: int, state: LutState) -> float:
    """Optical depth of scattering, one way."""
    return (
        (0.2 + 0.5 * state.aod550 * state.aerosols) / (1 + band) * np.exp(-state.elevation_m / 9000)
    )


def gas(band: int, airmass: float, water: float, ozone: float, elevation_m: float) -> float:
    wet = 0.02 * (1 + band) * (airmass * (water + 0.05)) ** 0.5
    green = 0.05 * airmass * ozone * (band < 3)
    return float(np.exp(-wet - green - 0.01 * airmass * (1 - elevation_m / 2e4)))


def optics(band: int, state: LutState) -> dict[str, float]:
    """What a run prints, with the names of `engine.sixs_batch.OUTPUTS`."""
    sun, view = np.cos(np.deg2rad([state.sun_zenith_deg, state.view_zenith_deg]))
    airmass = 1 / sun + 1 / view
    aside = np.sin(np.deg2rad(state.view_zenith_deg)) * np.sin(np.deg2rad(state.sun_zenith_deg))
    aside *= np.cos(np.deg2rad(state.relative_azimuth_deg))
    tau = depth(band, state)
    albedo = 0.3 * (1 - np.exp(-tau))
    down, up = np.exp(-0.15 * tau / np.array([sun, view]))
    dry = gas(band, airmass, 0.0, state.ozone_cm_atm, state.elevation_m)
    half = gas(band, airmass, state.water_vapour_g_cm2 / 2, state.ozone_cm_atm, state.elevation_m)
    molecules = 0.05 / (1 + band) * np.exp(-state.elevation_m / 8000) * (1 + aside**2)
    aerosol = 0.1 / (1 + band) * (1 - np.exp(-state.aod550)) * (1.2 - 0.3 * aside + 0.2 * (1 - sun))
    angles = state.sun_zenith_deg, state.view_zenith_deg, state.relative_azimuth_deg
    turn = float(scattering_angle_deg(*angles))
    phase = 0.2 + 0.05 * max(0.0, turn - 165)  # a corner that no polynomial takes
    air = {"aerosol_albedo": 0.9, "aerosol_depth": state.aod550 / (1 + band)}
    air |= {"molecular_depth": 0.1 / (1 + band), "phase": phase, "elevation_m": state.elevation_m}
    aerosol += single_scattering(sun_zenith_deg=angles[0], view_zenith_deg=angles[1], **air)
    total = gas(band, airmass, state.water_vapour_g_cm2, state.ozone_cm_atm, state.elevation_m)
    dry_both = gas(band, airmass, 0.0, state.ozone_cm_atm, state.elevation_m)
    legs = 0.002 * airmass * state.ozone_cm_atm + 0.05 * np.log(dry_both / total)
    both = 1 + legs * (1 / sun + 1 / view) * (band == 0)
    path = molecules * dry + (aerosol * half if state.aerosols else 0.0)
    ground = state.ground_reflectance
    seen = path + total * down * up * both * ground / (1 - albedo * ground)
    return {
        "path_reflectance": float(seen),
        "gas": total,
        "down": float(down),
        "up": float(up),
        "spherical_albedo": float(albedo),
        "coupling": float(both),
        "molecular_depth": air["molecular_depth"],
        "aerosol_depth": air["aerosol_depth"],
        "aerosol_albedo": air["aerosol_albedo"],
        "aerosol_phase": float(phase),
    }
