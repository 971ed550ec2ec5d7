"""A toy sensor's rows and toy UDFs for the storage tests (imported by path, see `toy` fixtures)."""

import datetime as dt
import threading
import time
from typing import Any

import numpy as np
import pyarrow as pa

from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.tables import OutputBand, results_schema, tiles_schema

GRID = "res-30_tilesize-96"
TILES = tiles_schema("aster_l1t", GRID)
RESULTS = results_schema("aster_l1t", GRID, "toy", [OutputBand("value", "toy value")])
SIZE = 8


def row(granule: str, x: int, y: int, value: int = 1, **more: Any) -> dict[str, Any]:
    """One tile row with two constant bands."""
    return {
        "grid": GRID,
        "tile_x": x,
        "tile_y": y,
        "granule_id": granule,
        "sensor": "aster_l1t",
        "acquired": dt.datetime(2005, 1, 1, tzinfo=dt.UTC),
        "cloud_fraction": 0.1,
        "view_zenith_deg": [0.5] * 9,
        "gain_code": ["HGH"] * 9,
        "aod550_field": [0.25] * 3,
        "meta": '{"n": 1}',
        "b01": encode(np.full((SIZE, SIZE), value, np.uint8)),
        "b02": encode(np.full((SIZE, SIZE), value + 1, np.uint8)),
    } | more


def result(status: str, value: int, granules: list[str]) -> dict[str, Any]:
    """A UDF's answer."""
    return {
        "status": status,
        "granules": granules,
        "flags": encode(np.zeros((SIZE, SIZE), np.uint16)),
        "count": encode(np.full((SIZE, SIZE), len(granules), np.uint8)),
        "value": encode(np.full((SIZE, SIZE), value, np.int16)),
        "provenance": {"quality": 1},
    }


CALLS: list[tuple[int, int]] = []
GATE = threading.Event()


def fold(rows: Any, job: Any) -> dict[str, Any]:
    """Minimum, maximum or sum of band 1 over the granules; fails where the parameters say so."""
    CALLS.append((job.tile_x, job.tile_y))
    values, granules = [], []
    for found in rows:
        values.append(int(decode(found["b01"])[0, 0]))
        granules.append(found["granule_id"])
        time.sleep(job.params.get("seconds", 0))
    if [job.tile_x, job.tile_y] in job.params.get("fail", []):
        raise ValueError("toy failure")
    how = {"min": min, "max": max, "sum": sum}[job.params.get("how", "sum")]
    return result("ok", how(values), granules)


def wrong(rows: Any, job: Any) -> dict[str, Any]:
    """Answers a raster of another dtype than the table declares."""
    return result("ok", 1, []) | {"value": encode(np.zeros((2, 2), np.uint8))}


def values(table: pa.Table) -> dict[tuple[int, int], int]:
    """Tile -> the constant of its `value` raster."""
    return {
        (r["tile_x"], r["tile_y"]): int(decode(r["value"])[0, 0])
        for r in table.to_pylist()
        if r["value"] is not None
    }


def weigh(rows: Any, job: Any) -> dict[str, Any]:
    """Sum of band 1 times the weight that a lookup gave each granule, plus the tile's bonus."""
    CALLS.append((job.tile_x, job.tile_y))
    total, granules = 0, []
    for found in rows:
        weight = found["weight"]
        total += int(decode(found["b01"])[0, 0]) * (0 if weight is None else weight)
        total += found["bonus"] or 0
        granules.append(found["granule_id"])
    return result("ok", total, granules)
