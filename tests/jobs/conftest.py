"""Small tables for the in- and output jobs, on the local engine."""

import itertools

import numpy as np
import pytest

from geoquarry.engine.local import open_engine
from geoquarry.schemas import blob
from geoquarry.schemas.tables import (
    RESULT_KEY,
    TILE_KEY,
    OutputBand,
    facts,
    results_schema,
    tiles_schema,
)

GRID = "res-30_tilesize-32"
SENSOR = "aster_l1t"


def rows_by_key(engine, table):
    """Rows of a table as dicts by key."""
    key = TILE_KEY if facts(engine.schema(table))["kind"] == "tiles" else RESULT_KEY
    rows = engine.read(table).read_all().to_pylist()
    return {tuple(row[name] for name in key): row for row in rows}


@pytest.fixture
def content():
    return rows_by_key


@pytest.fixture
def engine(tmp_path_factory):
    return open_engine(str(tmp_path_factory.mktemp("house") / "warehouse"))


@pytest.fixture
def results(engine):
    """`maps`: two bands; tiles (3, 5) ok, (4, 5) partial, (4, 6) empty, (3, 6) failed."""
    bands = [
        OutputBand("red", "red reflectance", scale=1e-4),
        OutputBand("ratio", "a ratio", scale=1e-3, unit="1"),
    ]
    engine.create("maps", results_schema(SENSOR, GRID, "mineral_indices", bands))
    for (tile_x, tile_y), status in {
        (3, 5): "ok",
        (4, 5): "partial",
        (4, 6): "empty",
        (3, 6): "failed",
    }.items():
        row = dict.fromkeys(engine.schema("maps").names)
        row |= {"grid": GRID, "tile_x": tile_x, "tile_y": tile_y, "status": status}
        row |= {"method": "mineral_indices", "message": "not crosstalk-corrected; first try"}
        row |= {"granules": ["A", "B"], "issues": [], "provenance": '{"mosaic": "median"}'}
        if status in ("ok", "partial"):
            row |= {name: blob.encode(raster) for name, raster in rasters(tile_x).items()}
            row |= {"flags": blob.encode(np.full((32, 32), 1 + tile_x, np.uint16))}
            row |= {"count": blob.encode(np.full((32, 32), 2, np.uint8))}
        engine.append("maps", [row])
    return "maps"


def rasters(seed):
    """Stored values of one result tile; the corner is nodata."""
    values = np.arange(32 * 32, dtype=np.int16).reshape(32, 32) + np.int16(seed)
    values[0, 0] = -32768
    return {"red": values, "ratio": values[::-1].copy()}


@pytest.fixture
def stored():
    return rasters


@pytest.fixture
def tiles(engine):
    """`aster`: one tile, two granules; window 20 x 24 at row 4, column 8."""
    engine.create("aster", tiles_schema(SENSOR, GRID))
    from datetime import UTC, datetime

    schema = engine.schema("aster")
    rng = np.random.default_rng(7)
    names = [n for n in schema.names if n[0] == "b" and len(n) == 3]
    for name in ("AST_L1T_00306182006174858_20150516014601_1", "weird/../id"):
        row = dict.fromkeys(schema.names)
        row |= {"grid": GRID, "tile_x": 3, "tile_y": 5, "granule_id": name, "sensor": SENSOR}
        row |= {"acquired": datetime(2006, 6, 18, 17, 48, 58, 250000, tzinfo=UTC)}
        row |= {"row0": 4, "col0": 8, "valid_fraction": 0.25, "meta": '{"note": "a \\"b\\", ä\\n"}'}
        row |= {"sun_zenith_deg": 20.8, "sun_azimuth_deg": 112.0, "ingest_id": ""}
        row |= {"gain_code": ["NOR"] * 9, "radiance_scale": [0.5 + i / 8 for i in range(9)]}
        row |= {"radiance_offset": [-0.5 - i / 8 for i in range(9)], "aod550": 0.1 + 0.2}
        row |= {"xa": [0.01] * 9, "xb": [0.02] * 9, "xc": [0.03] * 9}
        row |= {"aod550_field": [float(np.float32(0.1))] * (17 * 17)}
        for band in names:
            row[band] = blob.encode(rng.integers(1, 255, (20, 24), np.uint8))
        reference = itertools.count(100)
        for i in range(1, 8):
            row[f"ref_{i}"] = blob.encode(np.full((8, 8), next(reference), np.int16))
        row["flags"] = blob.encode(np.zeros((20, 24), np.uint16))
        engine.append("aster", [row])
    return "aster"
