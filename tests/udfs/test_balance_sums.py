"""Sums at nodes: exact, of the same pixels on both sides, and nothing from nodata."""

import numpy as np
import pytest

from geoquarry.udfs.balance_reference import components, prepare_reference
from geoquarry.udfs.balance_sums import NodeSums, TileNodes, cells_along, combined, node_sums

SENSOR = "aster_l1t"
SHAPE = (128, 128)
CELLS = 8


def grey_reference(counts=3000, size=128):
    return prepare_reference(np.full((7, size, size), counts, np.int16), SHAPE, SENSOR)


def some_counts(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(500, 5000, (9, *shape)).astype(np.int32)


def test_every_pixel_is_in_one_node_and_nodes_are_shared_with_neighbours():
    counts, good = some_counts(), np.random.default_rng(1).random(SHAPE) > 0.2
    sums = node_sums(counts, good, grey_reference(), CELLS)
    assert sums.pixels.sum() == good.sum()
    np.testing.assert_array_equal(sums.own.sum(axis=(1, 2)), (counts * good).sum(axis=(1, 2)))
    np.testing.assert_array_equal(sums.reference, np.broadcast_to(3000 * sums.pixels, (5, 9, 9)))
    area = TileNodes.empty(grey_reference(), CELLS).area
    assert area[0, 0] == 64  # a quarter of a cell of 16 x 16
    assert area[0, 3] == 128
    assert area[4, 4] == 256
    middle = np.s_[:, 40:56, 24:40]
    np.testing.assert_array_equal(sums.own[:, 3, 2], (counts * good)[middle].sum(axis=(1, 2)))


@pytest.mark.parametrize("cells", [1, 5, 16])
def test_a_window_gives_what_the_whole_overview_gives(cells):
    counts, good = some_counts(), np.zeros(SHAPE, bool)
    good[37:101, 11:90] = True
    whole = node_sums(counts, good, grey_reference(), cells)
    part = node_sums(
        counts[:, 37:101, 11:90], good[37:101, 11:90], grey_reference(), cells, row0=37, col0=11
    )
    np.testing.assert_array_equal(part.stack(), whole.stack())
    again = NodeSums.from_stack(part.stack(), 9)
    np.testing.assert_array_equal(again.reference, part.reference)


def test_nodata_on_either_side_enters_nothing():
    reference = np.random.default_rng(2).integers(500, 5000, (7, 256, 256)).astype(np.int16)
    counts, good = some_counts(), np.random.default_rng(1).random(SHAPE) > 0.2
    reference[2, 5:9], reference[0, 60:90, 100:140], reference[6, 200:] = -32768, -32768, 16001
    one = prepare_reference(reference, SHAPE, SENSOR)
    first = node_sums(counts, good, one, CELLS)
    broken = reference.copy()
    broken[1:, 60:90, 100:140], broken[:6, 200:] = 12000, -5000
    other = prepare_reference(broken, SHAPE, SENSOR)
    second = node_sums(np.where(good, counts, 10**8).astype(np.int32), good, other, CELLS)
    np.testing.assert_array_equal(first.stack(), second.stack())
    assert one.valid[2:5].any()  # blue is not needed
    assert not one.valid[31:44, 51:69].any()
    assert not one.valid[101:].any()


@pytest.mark.parametrize("size", [32, 100, 128, 150, 256, 512])
def test_the_reference_may_have_any_size(size):
    """A plane has the same means everywhere, whatever the pixels that carry it."""
    x = (np.arange(size) + 0.5) / size
    plane = np.rint(1000 + 4000 * x[None, :] + 2000 * x[:, None]).astype(np.int16)
    got = prepare_reference(np.broadcast_to(plane, (7, size, size)), SHAPE, SENSOR)
    at = (np.arange(128) + 0.5) / 128
    wanted = 1000 + 4000 * at[None, :] + 2000 * at[:, None]
    inner = slice(0, 128) if size >= 128 else slice(2, -2)  # bilinear has nothing beyond its rim
    assert got.valid.all()
    np.testing.assert_allclose(got.counts[3][inner, inner], wanted[inner, inner], atol=5)


def test_means_of_a_finer_reference_are_exact():
    fine = np.random.default_rng(0).integers(0, 9000, (7, 384, 256)).astype(np.int16)
    got = prepare_reference(fine, SHAPE, SENSOR)
    blocks = fine[3].reshape(128, 3, 128, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(got.counts[0], blocks, atol=0.5)


def test_harmony_on_sums_is_harmony_on_pixels():
    counts, good = some_counts(), np.random.default_rng(1).random(SHAPE) > 0.2
    gain, offset = np.linspace(0.9, 1.1, 9), np.linspace(-0.02, 0.02, 9)
    moved = gain[:, None, None] * counts + 1e4 * offset[:, None, None]
    late = node_sums(counts, good, grey_reference(), CELLS).harmonised(gain, offset)
    early = node_sums(np.rint(moved).astype(np.int32), good, grey_reference(), CELLS)
    np.testing.assert_allclose(
        late.own / np.maximum(late.pixels, 1), early.own / np.maximum(early.pixels, 1), atol=0.2
    )


def test_a_granule_with_missed_cloud_is_left_out_where_it_is_cloudy():
    nodes = TileNodes.empty(grey_reference(), CELLS)
    good = np.ones(SHAPE, bool)
    for seed in range(3):
        nodes.sums[f"g{seed}"] = node_sums(some_counts(seed), good, grey_reference(), CELLS)
    clean, left_out = combined(nodes)
    assert left_out == 0
    cloudy = some_counts(3)
    cloudy[:, :64] += 4000
    nodes.sums["a-cloud"] = node_sums(cloudy, good, grey_reference(), CELLS)
    sums, left_out = combined(nodes)
    np.testing.assert_array_equal(sums.stack()[:, :4], clean.stack()[:, :4])
    assert (sums.pixels[5:] == clean.pixels[5:] * 4 // 3).all()
    assert left_out == 5 * 9  # rows 0-3, and row 4, half of which is cloud
    del nodes.sums["g1"], nodes.sums["g2"]
    assert combined(nodes)[1] == 0  # nobody knows which of two is right


def test_cells_are_a_kilometre_on_the_ground_and_two_pixels_wide():
    assert [cells_along(*grid) for grid in ((1024, 30, 256), (256, 30, 64), (96, 30, 24))] == [
        16,
        4,
        1,
    ]
    assert cells_along(256, 500, 64) == 32
    for latitude in (0, 40, 58):
        assert 1024 * 30 / 16 * np.cos(np.radians(latitude)) > 1000


def test_the_reference_names_its_own_components():
    reference = np.full((7, 4, 4), 3000, np.int16)
    grey = components(reference)
    assert grey["greenness"] == pytest.approx(-0.117, abs=0.001)
    reference[4, 0] = -32768
    assert components(reference) == grey
    reference[4] = -32768
    assert components(reference) == {}
