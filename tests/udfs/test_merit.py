"""Merit: which granule a place is taken from, alike on both sides of a tile's edge."""

import numpy as np
import pytest

from geoquarry.schemas import flags as f
from geoquarry.schemas.blob import encode
from geoquarry.udfs.merit import Merit
from geoquarry.udfs.row_values import RowIssue

TILE = (20, 24)  # not a multiple of a region: 3 x 3 regions, the last ones cut


def row(**values):
    return {"granule_cloud_fraction": 0.1, "sun_zenith_deg": 40.0, "clear_distance": None, **values}


def merit(flags=None, row0=0, col0=0, **values):
    flags = np.zeros(TILE, np.uint16) if flags is None else flags
    return Merit(row(**values), flags, row0, col0, TILE)


def test_better_granules_have_more_merit():
    everywhere = (slice(0, 20), slice(0, 24))
    plain = merit().block(*everywhere)
    assert plain.shape == TILE
    assert plain.dtype == np.float32
    assert np.unique(plain).size == 1
    assert (merit(granule_cloud_fraction=0.3).block(*everywhere) < plain).all()
    assert (merit(sun_zenith_deg=60.0).block(*everywhere) < plain).all()


def test_distance_is_read_by_region_and_saturates():
    units = np.uint8([[0, 20, 60], [255, 61, 1], [2, 3, 4]])
    found = merit(clear_distance=encode(units))
    whole = found.block(slice(0, 20), slice(0, 24))
    assert whole[0, 0] < whole[7, 8] < whole[0, 16]
    assert whole[0, 16] == whole[8, 0] == whole[15, 15]  # 3 km and more
    np.testing.assert_array_equal(found.block(slice(7, 9), slice(15, 24)), whole[7:9, 15:24])


def test_a_row_without_distances_uses_its_own_window():
    flags = np.zeros((8, 8), np.uint16)
    flags[3, 3] = f.SHADOW
    whole = merit(flags, 8, 8).block(slice(0, 20), slice(0, 24))
    middle, side, corner = whole[10, 10], whole[10, 0], whole[0, 0]
    assert middle < side < corner
    assert side - middle == pytest.approx(8 * 30 / 3000)


def test_what_is_damaged_is_named():
    with pytest.raises(RowIssue, match=r"uint8 \(3, 3\) expected"):
        merit(clear_distance=encode(np.zeros((2, 2), np.uint8)))
    with pytest.raises(RowIssue, match="no sun_zenith_deg"):
        merit(sun_zenith_deg=None)
    with pytest.raises(RowIssue, match="0 to 1 expected"):
        merit(granule_cloud_fraction=1.5)


def test_old_rows_count_clouds_themselves():
    flags = np.zeros(TILE, np.uint16)
    flags[:5] = f.CLOUD
    far = np.full((3, 3), 255, np.uint8)
    everywhere = (slice(0, 20), slice(0, 24))
    counted = merit(flags, granule_cloud_fraction=None, clear_distance=encode(far))
    told = merit(granule_cloud_fraction=0.25, clear_distance=encode(far))
    np.testing.assert_array_equal(counted.block(*everywhere), told.block(*everywhere))
