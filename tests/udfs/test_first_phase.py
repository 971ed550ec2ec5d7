"""The first phase of a tile: overviews, sums, and the columns they are stored in."""

from types import SimpleNamespace

import numpy as np
import pytest
from rows import GRID, SENSOR, made_up_row, mixed_rows

from geoquarry.schemas import flags as f
from geoquarry.schemas.digest import parity_digest
from geoquarry.udfs import first_phase, methods
from geoquarry.udfs.counts import Counts, read_counts
from geoquarry.udfs.observation import Observation
from geoquarry.udfs.overviews import NODATA, Overviews
from geoquarry.udfs.tile_atmosphere import TileAtmosphere

SHAPE = (64, 64)


def a_job(**params):
    method, complete = methods.normalise("color_balancing", params, SENSOR.name)
    return SimpleNamespace(
        method="sums", params=methods.first_phase(method, complete), sensor=SENSOR.name, grid=GRID,
        tile_x=3, tile_y=5, spill_dir=None,
    )  # fmt: skip


@pytest.mark.parametrize("row0", [0, 1, 6])
@pytest.mark.parametrize("col0", [0, 3])
def test_an_overview_holds_means_of_what_was_seen_whole(row0, col0):
    rng = np.random.default_rng(1)
    dn = rng.integers(1, 255, (2, 17, 14)).astype(np.uint8)
    bits = np.zeros((17, 14), np.uint16)
    bits[9, 9] = f.NOT_OBSERVED
    bits[3, 3] = f.CLOUD
    small = Counts("g", row0, col0, dn, bits).coarse(4)
    whole = np.full((2, 24, 20), np.nan)
    whole[:, row0 : row0 + 17, col0 : col0 + 14] = dn
    whole[:, row0 + 9, col0 + 9] = np.nan
    means = whole.reshape(2, 6, 4, 5, 4).mean(axis=(2, 4))
    got = np.full(means.shape, np.nan)
    place = slice(small.row0, small.row0 + small.dn.shape[1])
    across = slice(small.col0, small.col0 + small.dn.shape[2])
    got[:, place, across] = np.where(small.dn == 0, np.nan, small.dn)
    np.testing.assert_array_equal(got, np.floor(means + 0.5))
    lost = (small.flags & f.NOT_OBSERVED) != 0
    np.testing.assert_array_equal(lost, np.isnan(means[0, place, across]))
    assert small.flags[(row0 + 3) // 4 - small.row0, (col0 + 3) // 4 - small.col0] & f.CLOUD


@pytest.mark.parametrize("given", [True, False])
def test_an_overview_shows_the_same_reflectance_as_the_tile(given):
    """Counts are averaged before the air is taken off; only their rounding may show."""
    row = made_up_row(3, 5, 0, given=given)
    counts = read_counts(row, SENSOR, SHAPE, 30.0)
    overviews = Overviews(SENSOR, SHAPE, "per_pixel", "clamp")
    overviews.add(row, counts)
    small = overviews._clear[row["granule_id"]]
    full = np.full((9, *SHAPE), np.nan, np.float32)
    seen = Observation(row, counts, TileAtmosphere(SENSOR, SHAPE))
    values, bits, row0 = seen.block(slice(0, 64))
    values[:, (bits & (f.CLOUD | f.NOT_OBSERVED)) != 0] = np.nan
    full[:, row0:, seen.col0 : seen.col0 + values.shape[2]] = values
    means = full.reshape(9, 16, 4, 16, 4).mean(axis=(2, 4))
    known = small != NODATA
    np.testing.assert_array_equal(known, ~np.isnan(means))
    scale = np.array(row["radiance_scale"])
    xa = np.array(row["xa"] if given else made_up_row(3, 5, 0)["xa"])
    rounding = (scale * xa)[:, None, None]  # half a count and half of 1e-4, with room for relief
    error = np.abs(np.where(known, small / 1e4 - means, 0))
    assert (error < 0.6 * rounding + 1e-4).all()


def test_sums_survive_being_stored_and_any_order_of_the_rows():
    rows = mixed_rows(((3, 5),))
    answer = first_phase.compute(iter(rows), a_job())
    assert answer["status"] == "ok"
    again = first_phase.compute(reversed(rows), a_job())
    assert parity_digest([answer]) == parity_digest([again])
    phase = first_phase.FirstPhase(a_job())
    for row in rows:
        phase.add(row, read_counts(row, SENSOR, SHAPE, 30.0))
    pairs = first_phase.unpacked_pairs(answer, 9)
    assert pairs.granule_ids == phase.pairs().granule_ids
    np.testing.assert_array_equal(pairs.sums, phase.pairs().sums)
    assert pairs.sums[..., 0].min() > 0
    nodes = first_phase.unpacked_nodes(answer, 9)
    reference = np.full((7, 16, 16), 3000, np.int16)
    for name, sums in phase.nodes(reference).sums.items():
        np.testing.assert_array_equal(nodes.sums[name].own, sums.own)
        np.testing.assert_array_equal(nodes.sums[name].pixels, sums.pixels)


def test_what_is_not_wanted_is_not_summed():
    rows = mixed_rows(((3, 5),))
    answer = first_phase.compute(iter(rows), a_job(harmonise="none"))
    assert not len(first_phase.unpacked_pairs(answer, 9).pairs)
    assert first_phase.unpacked_nodes(answer, 9).sums
    answer = first_phase.compute(iter(rows), a_job(balance="none"))
    assert len(first_phase.unpacked_pairs(answer, 9).pairs) == 6
    assert first_phase.unpacked_nodes(answer, 9) is None


def test_without_a_reference_the_reason_is_stored():
    rows = [{**row, **{f"ref_{i}": None for i in range(1, 8)}} for row in mixed_rows(((3, 5),))]
    nodes = first_phase.unpacked_nodes(first_phase.compute(iter(rows), a_job()), 9)
    assert nodes.skipped == "no reference data"


def test_clouds_and_doubtful_bands_are_in_no_sum():
    row = made_up_row(3, 5, 0)
    counts = read_counts(row, SENSOR, SHAPE, 30.0)
    counts.flags |= np.uint16(f.SWIR_UNRELIABLE)
    overviews = Overviews(SENSOR, SHAPE, "per_pixel", "clamp")
    overviews.add(row, counts)
    clear = overviews._clear[row["granule_id"]]
    assert (clear[3:] == NODATA).all()
    assert (clear[:3] != NODATA).any()
    counts.flags |= np.uint16(f.CLOUD)
    overviews = Overviews(SENSOR, SHAPE, "per_pixel", "clamp")
    overviews.add(row, counts)
    assert (overviews._clear[row["granule_id"]] == NODATA).all()


def test_beside_a_lake_nothing_is_compared_with_a_reference_that_mixes_them():
    """A pixel of the reference near water or bright snow shows both; near a cloud it does not."""
    reference = np.full((7, 16, 16), 3000, np.int16)
    pixels = {}
    for bit in (0, f.WATER, f.SATURATED, f.CLOUD, f.SATURATED | f.CLOUD):
        row = made_up_row(3, 5, 0)
        counts = read_counts(row, SENSOR, SHAPE, 30.0)
        counts.flags[:] &= np.uint16(f.NOT_OBSERVED)
        counts.flags[24:28, 40:44] |= np.uint16(bit)
        overviews = Overviews(SENSOR, SHAPE, "per_pixel", "clamp", 30.0)
        overviews.add(row, counts)
        nodes = overviews.node_sums(reference, 1)
        pixels[bit] = int(nodes.sums[row["granule_id"]].pixels.sum())
    assert pixels[f.CLOUD] == pixels[f.SATURATED | f.CLOUD] >= pixels[0] - 4
    assert pixels[f.WATER] == pixels[f.SATURATED] < pixels[0] - 40
