"""Tables behind a lookup table: the states to run, and what 6S said, in batches."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from geoquarry.schemas.lut_grid import LutGrid
from geoquarry.schemas.tables import column, with_facts

BATCH = 32
"""States of one row: half a minute of 6S at most, which is what a killed build loses per core."""
STATE = pa.struct(
    [
        ("sun_zenith_deg", pa.float64()),
        ("view_zenith_deg", pa.float64()),
        ("relative_azimuth_deg", pa.float64()),
        ("aod550", pa.float64()),
        ("elevation_m", pa.float64()),
        ("water_vapour_g_cm2", pa.float64()),
        ("ozone_cm_atm", pa.float64()),
        ("ground_reflectance", pa.float64()),
        ("aerosols", pa.bool_()),
    ]
)
OPTICS = pa.struct(
    [
        ("path_reflectance", pa.float64()),
        ("gas", pa.float64()),
        ("down", pa.float64()),
        ("up", pa.float64()),
        ("spherical_albedo", pa.float64()),
        ("molecular_depth", pa.float64()),
        ("aerosol_depth", pa.float64()),
        ("aerosol_albedo", pa.float64()),
        ("aerosol_phase", pa.float64()),
    ]
)
METHOD = "sixs"


def _key(detail: str) -> list[pa.Field]:
    return [
        column("grid", pa.string(), f"which grid of states: {detail}", key=True),
        column("tile_x", pa.int32(), "number of the batch", key=True),
        column("tile_y", pa.int32(), "always 0: a batch stands where maps have a tile", key=True),
    ]


def states_schema(sensor_name: str, detail: str) -> pa.Schema:
    """Schema of the table of states: one row per batch of one band.

    >>> states_schema("aster_l1t", "full").names
    ['grid', 'tile_x', 'tile_y', 'band', 'states']
    """
    fields = [
        *_key(detail),
        column("band", pa.string(), "name of the band"),
        column("states", pa.list_(STATE), "states of air and light to run"),
    ]
    return with_facts(pa.schema(fields), {"kind": "states", "sensor": sensor_name, "grid": detail})


def optics_schema(sensor_name: str, detail: str) -> pa.Schema:
    """Schema of the table of answers: the batch again, and what 6S said about it."""
    fields = [
        *_key(detail),
        column("method", pa.string(), "what was computed"),
        column("status", pa.string(), "ok or failed"),
        column("message", pa.string(), "why it failed"),
        column("granules", pa.list_(pa.string()), "unused here"),
        column("input_digest", pa.string(), "digest of the states and parameters"),
        column("provenance", pa.string(), "parameters, versions of geoquarry and 6S, JSON"),
        column("band", pa.string(), "name of the band"),
        column("states", pa.list_(STATE), "states of air and light"),
        column("optics", pa.list_(OPTICS), "answers of 6S, in the order of the states"),
    ]
    facts = {"kind": "results", "sensor": sensor_name, "grid": detail, "method": METHOD}
    return with_facts(pa.schema(fields), {**facts, "bands": []})


def state_rows(grid: LutGrid) -> Iterator[dict[str, Any]]:
    """Rows of the table of states.

    >>> from geoquarry.schemas.lut_grid import lut_grid
    >>> from geoquarry.schemas.sensor import sensor
    >>> row = next(state_rows(lut_grid(sensor("aster_l1t"))))
    >>> row["band"], len(row["states"])
    ('b01', 32)
    """
    batch: list[dict[str, Any]] = []
    number, last = 0, ""
    for band, state in [*grid.runs(), ("", None)]:
        if batch and (band != last or len(batch) == BATCH):
            yield {
                "grid": grid.detail,
                "tile_x": number,
                "tile_y": 0,
                "band": last,
                "states": batch,
            }
            number, batch = number + 1, []
        last = band
        if state is not None:
            batch.append(asdict(state))
