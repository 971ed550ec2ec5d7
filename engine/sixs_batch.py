"""The UDF behind `lut build`: rows that hold batches of states in, what 6S says about them out.

A batch is a tile to the engine, so that building a table is a job like any other: resumable, on
all workers, with progress, on every engine.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from geoquarry.engine.sixs import run
from geoquarry.engine.sixs_program import version
from geoquarry.engine.sixs_state import State
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import LutState
from geoquarry.schemas.sensor import sensor

OUTPUTS = (
    "path_reflectance",
    "gas",
    "down",
    "up",
    "spherical_albedo",
    "molecular_depth",
    "aerosol_depth",
    "aerosol_albedo",
    "aerosol_phase",
)
"""What is kept of each run; ``path_reflectance`` is the apparent reflectance over the state's
ground, printed with seven digits, where the intrinsic one has three."""


def outputs_of(
    sensor_name: str, band: str, state: LutState, aerosol_model: str
) -> dict[str, float]:
    """One run of 6S.

    Returns
    -------
    outputs : dict
        The names of `OUTPUTS`.

    Raises
    ------
    InputError
        6S failed or gave no number.
    """
    found = run(
        State(
            sensor(sensor_name),
            band,
            state.sun_zenith_deg,
            state.view_zenith_deg,
            state.relative_azimuth_deg,
            state.aod550,
            state.elevation_m,
            state.water_vapour_g_cm2,
            state.ozone_cm_atm,
            aerosol_model if state.aerosols else "NoAerosols",
        ),
        state.ground_reflectance,
    )
    scattering, depth = found.trans["total_scattering"], found.rat["optical_depth_total"]
    aerosol = state.aerosols  # without, 6S prints no numbers for it
    return {
        "path_reflectance": found.values["apparent_reflectance"],
        "gas": found.trans["global_gas"].total,
        "down": scattering.downward,
        "up": scattering.upward,
        "spherical_albedo": found.rat["spherical_albedo"].total,
        "molecular_depth": depth.rayleigh,
        "aerosol_depth": depth.aerosol if aerosol else 0.0,
        "aerosol_albedo": found.rat["single_scattering_albedo"].aerosol if aerosol else 0.0,
        "aerosol_phase": found.rat["phase_function_I"].aerosol if aerosol else 0.0,
    }


def compute(rows: Iterable[Mapping[str, Any]], job: Any) -> dict[str, Any]:
    """Run the states of one batch, one after the other.

    Parameters
    ----------
    rows : iterable of dict
        One row of a `states` table (schemas/lut_tables.py).
    job : object
        ``sensor`` and ``params`` with ``aerosol_model``.

    Returns
    -------
    result : dict
        ``status``, ``band``, ``states`` and ``optics``, in the order of the states.

    Raises
    ------
    InputError
        6S had no answer for a state; the table cannot be built with such a node.
    """
    (row,) = rows
    states = [LutState(**state) for state in row["states"]]
    optics = [
        outputs_of(job.sensor, row["band"], state, job.params["aerosol_model"]) for state in states
    ]
    bad = [state for state, values in zip(states, optics, strict=True) if not _finite(values)]
    if bad:
        raise InputError(f"6S gave no number for band {row['band']!r} in {bad[0]}.")
    return {
        "status": "ok",
        "message": "",
        "band": row["band"],
        "states": row["states"],
        "optics": optics,
        "provenance": {"sixs": version()},
    }


def _finite(values: Mapping[str, float]) -> bool:
    return all(abs(value) < float("inf") for value in values.values())  # NaN compares as False
