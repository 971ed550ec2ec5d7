"""The tables: documented columns, facts that survive, digests that mean something."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from geoquarry.schemas.blob import encode
from geoquarry.schemas.digest import input_digest, parity_digest, row_digest
from geoquarry.schemas.tables import OutputBand, facts, output_bands, results_schema, tiles_schema

TILES = tiles_schema("aster_l1t", "res-30_tilesize-96")
BANDS = (OutputBand("b01", "green", unit="1"), OutputBand("ndvi", "NDVI", scale=1e-4))
RESULTS = results_schema("aster_l1t", "res-30_tilesize-96", "mosaic", BANDS)


@pytest.mark.parametrize("schema", [TILES, RESULTS])
def test_every_column_is_documented_and_only_keys_are_required(schema):
    for field in schema:
        assert field.metadata[b"about"]
        assert field.nullable == (field.name not in {"grid", "tile_x", "tile_y", "granule_id"})


def test_facts_say_what_the_bands_mean():
    assert facts(TILES) == {"kind": "tiles", "sensor": "aster_l1t", "grid": "res-30_tilesize-96"}
    assert output_bands(RESULTS) == list(BANDS)


def test_digests_ignore_what_only_names_a_run():
    row = {"tile_x": 1, "acquired": dt.datetime(2006, 6, 18, tzinfo=dt.UTC), "ingest_id": "a"}
    assert row_digest(row) == row_digest({**row, "ingest_id": "b"})
    assert row_digest(row) != row_digest({**row, "tile_x": 2})
    assert row_digest({"a": b"x", "b": b"y"}) != row_digest({"a": b"xb", "b": b"y"})
    assert input_digest(["1"], mosaic="min") != input_digest(["1"], mosaic="median")


def test_parity_looks_at_pixels_not_at_codecs_or_order():
    raster = np.arange(12, dtype=np.int16).reshape(3, 4)
    rows = [{"tile_x": x, "b01": encode(raster + x, codec="zlib")} for x in range(3)]
    same = [{"tile_x": x, "b01": encode(raster + x, codec="raw", delta=False)} for x in (2, 0, 1)]
    assert parity_digest(rows) == parity_digest(same)
    other = [*same[:2], {"tile_x": 1, "b01": encode((raster + 1).astype(np.int32))}]
    assert parity_digest(rows) != parity_digest(other)
    moved = [*same[:2], {"tile_x": 1, "b01": encode((raster + 1).reshape(4, 3))}]
    assert parity_digest(rows) != parity_digest(moved)


def test_schemas_travel_through_arrow_ipc():
    assert pa.ipc.read_schema(TILES.serialize()).equals(TILES, check_metadata=True)
