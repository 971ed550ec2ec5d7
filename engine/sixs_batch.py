"""The UDF behind `lut build`: rows that hold batches of states in, what 6S says about them out.

A batch is a tile to the engine, so that building a table is a job like any other: resumable, on
all workers, with progress, on every engine.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
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
    outputs = {
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
    if not all(map(math.isfinite, outputs.values())):
        raise InputError(f"6S gave no number for band {band!r} in {state}: {outputs}.")
    return outputs


def bridged(sensor_name: str, band: str, state: LutState, aerosol_model: str) -> dict[str, float]:
    """The answer where 6S has none: the mean of those a little below and above in optical depth.

    6S v1.1 prints NaN in narrow gaps and below some optical depth, which differ between aerosol
    models (docs/atmosphere.md). Where only thicker aerosol has an answer, that is taken: there
    next to nothing scatters.

    Raises
    ------
    InputError
        No neighbour has an answer either.
    """
    for steps in BRIDGES:
        try:
            sides = [
                outputs_of(
                    sensor_name, band, replace(state, aod550=state.aod550 * step), aerosol_model
                )
                for step in steps
            ]
        except InputError:
            continue
        return {name: sum(side[name] for side in sides) / len(sides) for name in OUTPUTS}
    raise InputError(f"6S gave no number for band {band!r} in {state}, nor for its neighbours.")


BRIDGES = ((1 / 1.02, 1.02), (1 / 1.05, 1.05), (1 / 1.1, 1.1), (1.5,), (2.5,), (5.0,))
"""Factors on the optical depth that are tried in turn."""


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
        6S had no answer for a state or its neighbours; no table can be built with such a node.
    """
    (row,) = rows
    states = [LutState(**state) for state in row["states"]]
    optics, gaps = [], 0
    for state in states:
        where = job.sensor, row["band"], state, job.params["aerosol_model"]
        try:
            optics.append(outputs_of(*where))
        except InputError:
            if not state.aerosols:
                raise
            optics.append(bridged(*where))
            gaps += 1
    return {
        "status": "ok",
        "message": f"{gaps} states bridged" if gaps else "",
        "band": row["band"],
        "states": row["states"],
        "optics": optics,
        "provenance": {"sixs": version(), "bridged": gaps},
    }
