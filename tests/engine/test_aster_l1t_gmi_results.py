"""Published result layouts: their columns, their pixels, and what a reader does with them."""

import json
from collections import Counter

import numpy as np
import pytest
import rasterio

from geoquarry.engine.aster_l1t_gmi_results import LARGEST, result_columns, write_results
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.tables import results_schema
from geoquarry.udfs import methods

SENSOR, GRID, SIZE = "aster_l1t", "res-30_tilesize-16", 16
PUBLISHED_INDICES = [
    "ferric_iron",
    "ferrous_iron",
    "laterite",
    "gosson",
    "ferrous_silicates",
    "ferric_oxdes",
    "carbonate_chlorite_epidote",
    "mg_oh_alteration",
    "amphibole_mgoh",
    "amphibole",
    "dolomit",
    "sericite_muscovite_illite_smectite",
    "alunite_kaolinite_pyrophyllite",
    "phengitic",
    "muscovite",
    "kaolinite",
    "clay",
    "kaolinite_argillic",
    "alunite_advanced_argillic",
    "al_oh_alteration",
    "calcite",
    "ndwi",
    "ndvi",
]
"""As GMI_ComputeEngine_ODPS/method.py, commit 1f86d7d, names the columns it creates."""
PUBLISHED_BANDS = [f"{'vnir' if i < 4 else 'swir'}_swath_imagedata{i}" for i in range(1, 10)]


def schema_of(method, **params):
    name, params = methods.normalise(method, params, SENSOR)
    return results_schema(SENSOR, GRID, name, methods.output_bands(name, params, SENSOR))


def row_of(schema, values=None, **more):
    """A result row; every raster holds 0 ... 255, and nodata in the first pixel."""
    values = np.arange(SIZE**2, dtype=np.int16).reshape(SIZE, SIZE) if values is None else values
    row = dict.fromkeys(schema.names)
    row |= {"grid": GRID, "tile_x": 3, "tile_y": 5, "method": "mosaic", "status": "ok"}
    row |= {"message": "a, b", "granules": ["A", "B"], "issues": [], "provenance": "{}"}
    leading = schema.names.index("count") + 1
    for name in schema.names[leading:]:
        layer = values.copy()
        layer[0, 0] = np.nan if layer.dtype == np.float32 else -32768
        row[name] = blob.encode(layer)
    cloud = np.zeros((SIZE, SIZE), np.uint16)
    cloud[2, 3] = flags.CLOUD | flags.SHADOW
    cloud[4, 4] = flags.WATER
    row |= {"flags": blob.encode(cloud), "count": blob.encode(np.ones((SIZE, SIZE), np.uint8))}
    return {**row, **more}


def pixels(text):
    return np.frombuffer(bytes.fromhex(text), np.int16).reshape(SIZE, SIZE)


def records(schema, *rows, **options):
    header, *found = write_results(rows, schema, **options)
    return [dict(zip(header, fields, strict=True)) for fields in found]


@pytest.mark.parametrize("method", ["merge", "color_transfer"])
def test_mosaics_have_the_published_columns(method):
    columns = ["tile_index_x", "tile_index_y", "meta", "code", *PUBLISHED_BANDS, "cloud_mask"]
    assert result_columns(schema_of(method)) == columns
    assert result_columns(schema_of(method), original_spelling=True) == columns


def test_indices_have_the_published_columns_in_either_spelling():
    schema = schema_of("mineral_indices")
    columns = result_columns(schema, original_spelling=True)
    assert columns[4:-1] == PUBLISHED_INDICES
    right = {"gosson": "gossan", "ferric_oxdes": "ferric_oxides", "dolomit": "dolomite"}
    assert result_columns(schema)[4:-1] == [right.get(n, n) for n in PUBLISHED_INDICES]
    assert {*right.values()} <= {*schema.names}


def test_pixels_are_the_stored_values_and_nodata_is_0():
    schema = schema_of("mosaic")
    (record,) = records(schema, row_of(schema))
    assert (record["tile_index_x"], record["tile_index_y"], record["code"]) == ("3", "5", "ok")
    expected = np.arange(SIZE**2).reshape(SIZE, SIZE)
    assert np.array_equal(pixels(record["swir_swath_imagedata9"]), expected)
    assert np.argwhere(pixels(record["cloud_mask"])).tolist() == [[2, 3]]
    assert pixels(record["cloud_mask"]).max() == 1


def test_a_true_zero_is_not_lost():
    schema = schema_of("mosaic")
    (record,) = records(schema, row_of(schema, np.zeros((SIZE, SIZE), np.int16)))
    band = pixels(record["vnir_swath_imagedata1"])
    assert band[0, 0] == 0
    assert (band.ravel()[1:] == 1).all()


def test_meta_is_a_profile_that_rasterio_takes(tmp_path):
    """What Script 5 does with a row: its meta opens the file, its hex fills it."""
    schema = schema_of("mineral_indices")
    (record,) = records(schema, row_of(schema))
    meta = json.loads(record["meta"])
    assert meta["geoquarry"]["scales"]["ndvi"] == 1e-4
    assert meta["geoquarry"]["scales"]["gossan"] == 1e-3
    layers = np.stack([pixels(record[name]) for name in result_columns(schema)[4:-1]])
    meta["dtype"], meta["count"] = rasterio.int16, layers.shape[0]
    with rasterio.open(tmp_path / "a.tiff", "w", **meta) as file:
        file.write(layers)
    with rasterio.open(tmp_path / "a.tiff") as file:
        assert tuple(file.bounds) == grid(GRID).bounds(3, 5)
        assert (file.crs.to_epsg(), file.count, file.nodata) == (3857, 23, 0)
        assert np.array_equal(file.read(), layers)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_another_scale_rounds_and_saturates(dtype):
    schema = schema_of("mineral_indices", dtype=dtype)
    physical = np.full((SIZE, SIZE), 1.234, np.float32)
    physical[1, 1:4] = (5.0, -5.0, 0.00001)
    index = physical if dtype == "float32" else np.rint(physical * 1000).astype(np.int16)
    amiss = Counter()
    (record,) = records(schema, row_of(schema, index), scale=1e-4, amiss=amiss)
    found = pixels(record["gossan"])
    assert (found[0, 0], found[0, 1], *found[1, 1:4]) == (0, 12340, LARGEST, -LARGEST, 1)
    assert amiss["gossan x 0.0001 does not fit int16 and was cut off"] == 1
    if dtype == "float32":  # without a scale: the catalogue's
        (record,) = records(schema, row_of(schema, physical))
        assert pixels(record["gossan"])[0, 1] == 1234


def test_tiles_without_rasters_are_left_out_and_counted():
    schema = schema_of("mosaic")
    amiss = Counter()
    failed = row_of(schema, status="failed", flags=None)
    assert len(records(schema, failed, row_of(schema), failed, amiss=amiss)) == 1
    assert amiss == {"Tile without rasters (status failed), left out,": 2}


def test_polite_refusals():
    with pytest.raises(UsageError, match=r"23 rasters; this table lacks ferric_iron, .*ndvi"):
        result_columns(schema_of("mineral_indices", indices=["clay", "ndwi"]))
    with pytest.raises(UsageError, match="must be positive"):
        records(schema_of("mosaic"), scale=0.0)


def test_a_raster_of_sources_has_no_place_in_the_layout():
    schema = schema_of("mosaic", mosaic="min", source=True)
    assert result_columns(schema)[4:-1] == PUBLISHED_BANDS
