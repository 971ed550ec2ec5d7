"""Scalar functions of SQL on one blob."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from geoquarry.schemas.blob import encode
from geoquarry.schemas.errors import BlobError, InputError
from geoquarry.udfs.stats import tile_stats, tile_value

rasters = hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))


@given(rasters)
def test_integers_are_summed_exactly(raster):
    found = tile_stats(encode(raster))
    good = raster[raster != -32768].astype(float)
    assert found["count"] == good.size
    if good.size:
        assert found["min"] == good.min()
        assert found["max"] == good.max()
        assert found["mean"] == pytest.approx(good.mean(), abs=1e-9)
        assert found["std"] == pytest.approx(good.std(), abs=1e-6)
    else:
        assert found["mean"] is None


@pytest.mark.parametrize(
    ("raster", "count", "mean"),
    [
        (np.array([[0, 3]], np.uint8), 1, 3),
        (np.array([[0, 3]], np.uint16), 2, 1.5),
        (np.array([[np.nan, 0.25]], np.float32), 1, 0.25),
        (np.array([[2**31, 2**31 + 2]], np.uint32), 2, 2**31 + 1),
    ],
)
def test_nodata_depends_on_the_dtype(raster, count, mean):
    found = tile_stats(encode(raster))
    assert (found["count"], found["mean"]) == (count, mean)


def test_a_missing_blob_has_no_value():
    assert tile_stats(None) is None
    assert tile_value(None, 0, 0) is None


def test_nan_is_no_value():
    assert tile_value(encode(np.array([[np.nan]], np.float32)), 0, 0) is None


@pytest.mark.parametrize("place", [(-1, 0), (0, 2), (1, 0)])
def test_outside_the_raster_is_an_error(place):
    with pytest.raises(InputError, match="outside the raster of 1 x 2"):
        tile_value(encode(np.array([[1, 2]], np.uint8)), *place)


def test_a_damaged_blob_is_an_error():
    with pytest.raises(BlobError):
        tile_stats(b"GQT1 but not really a tile blob")
