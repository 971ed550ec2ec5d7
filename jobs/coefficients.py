"""Coefficients of rows: found by 6S, looked up from their state, or what stands against it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geoquarry.engine import sixs
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.air_state import read_state
from geoquarry.udfs.lut import lut

NAMES = ("xa", "xb", "xc")


def add_coefficients(rows: Sequence[dict[str, Any]], cache: sixs.Cache) -> None:
    """Run 6S for the state of each row and store the coefficients in it."""
    for row in rows:
        found = sixs.correction(
            sensor(row["sensor"]),
            sun_zenith_deg=row["sun_zenith_deg"],
            sun_azimuth_deg=row["sun_azimuth_deg"],
            view_zenith_deg=row["view_zenith_deg"],
            view_azimuth_deg=row["view_azimuth_deg"],
            aod550=row["aod550"],
            elevation_m=row["elevation_m"],
            water_vapour_g_cm2=row["water_vapour_g_cm2"],
            ozone_cm_atm=row["ozone_cm_atm"],
            aerosol_model=row["aerosol_model"],
            earth_sun_distance_au=row["earth_sun_distance_au"],
            cache=cache,
        )
        row.update(xa=found.xa, xb=found.xb, xc=found.xc)


def with_coefficients(row: Mapping[str, Any], amiss: Counter[str]) -> Mapping[str, Any]:
    """The row with coefficients looked up from its own state, unless it has some.

    Parameters
    ----------
    row : mapping
        Of a `tiles` table.
    amiss : Counter
        Counts what the lookup table does not cover and was clamped; a row of coefficients has no
        place to say so.

    Raises
    ------
    InputError
        Its state is incomplete, or there is no table for it.
    """
    if all(row[name] is not None for name in NAMES):
        return row
    try:
        state = read_state(row, sensor(row["sensor"]), strict=False)
        found = state.uniform()
    except InputError as error:
        where = f"tile {row['tile_x']},{row['tile_y']} of {row['granule_id']}"
        raise InputError(f"{where}: no xa, xb, xc, and its state gives none: {error}") from error
    amiss.update(state.notes)
    return {**row, **{name: values.tolist() for name, values in zip(NAMES, found, strict=True)}}


def not_covered(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the states of one granule's rows the lookup table does not cover, in words.

    Parameters
    ----------
    rows : sequence of mapping
        Of one sensor and one aerosol model.
    """
    if not rows:
        return []
    model = rows[0]["aerosol_model"]
    try:
        table = lut(rows[0]["sensor"], model)
    except InputError as error:
        return [f"{error} Until then jobs cannot use these rows."]
    texts = []
    for name in table.ranges:
        values = [row[name] for row in rows if name in row]
        far = np.ravel(values)[~table.inside(**{name: np.ravel(values)})]
        if far.size:
            low, high = table.ranges[name]
            texts.append(f"{name} {far[0]:g} is outside the lookup table ({low:g} to {high:g}).")
    return texts
