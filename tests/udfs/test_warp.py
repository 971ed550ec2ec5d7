"""Where pixels go, and what 0 and 255 do on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from geoquarry.schemas import flags
from geoquarry.schemas.errors import InputError
from geoquarry.udfs.warp import (
    bilinear,
    bilinear_float,
    crop_window,
    nearest_or,
    to_coarse_lattice,
)

WEIGHTS = np.outer([1, 2, 1], [1, 2, 1])
counts = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.one_of(st.integers(1, 254), st.sampled_from([0, 255, 100, 100, 100])),
)


def grid(shape):
    return np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")


@given(counts, st.integers(-3, 3), st.integers(-3, 3), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_lattice_is_the_121_sum_around_each_coarse_centre(dn, row0, col0, height, width):
    found = to_coarse_lattice(dn, row0=row0, col0=col0, shape=(height, width))
    padded = np.pad(dn, 40).astype(int)
    for i in range(height):
        for j in range(width):
            r, c = row0 + 2 * i + 40, col0 + 2 * j + 40
            around = padded[r - 1 : r + 2, c - 1 : c + 2]
            if (around == 0).any():
                assert found[i, j] == 0
            elif (around == 255).any():
                assert found[i, j] == 255 * 16
            else:
                assert found[i, j] == (around * WEIGHTS).sum()


def test_a_ramp_keeps_its_place_on_the_coarse_lattice():
    rows, cols = grid((41, 61))
    dn = (20 + 2 * rows + cols).astype(np.uint8)
    found = to_coarse_lattice(dn) / 16
    np.testing.assert_array_equal(found[1:-1, 1:-1], dn[::2, ::2][1:-1, 1:-1])
    # Another footprint: the coarse frame begins two coarse pixels inside.
    np.testing.assert_array_equal(
        to_coarse_lattice(dn, row0=4, col0=6, shape=(10, 12)) / 16, found[2:12, 3:15]
    )


@pytest.mark.parametrize("place", [(20, 20), (21, 20), (20, 21), (21, 21)])
def test_the_centre_of_a_spot_does_not_move(place):
    dn = np.ones((41, 41), np.uint8)
    dn[place] = 201
    excess = to_coarse_lattice(dn).astype(float)[1:-1, 1:-1] - 16
    rows, cols = grid(excess.shape)
    centre = [(excess * axis).sum() / excess.sum() + 1 for axis in (rows, cols)]
    np.testing.assert_allclose(centre, np.array(place) / 2)
    # A spot spread over 15 m pixels carries a quarter of its sum into 30 m pixels.
    assert excess.sum() / 16 == 200 / 4


def test_all_bands_in_place_are_returned_unchanged():
    dn = np.random.default_rng(0).integers(0, 256, (3, 17, 23)).astype(np.uint8)
    np.testing.assert_array_equal(bilinear(dn, *grid(dn.shape[1:])), dn)
    # ... also by projections that are a hair off, in either direction
    for hair in (4e-7, -4e-7):
        np.testing.assert_array_equal(
            bilinear(dn, *(axis + hair for axis in grid(dn.shape[1:])))[:, 1:-1, 1:-1],
            dn[:, 1:-1, 1:-1],
        )


def test_half_a_pixel_is_the_mean_rounded_half_up():
    dn = np.array([[10, 21, 30, 41]], np.uint8)
    rows, cols = np.zeros((1, 3)), np.arange(3)[None] + 0.5
    np.testing.assert_array_equal(bilinear([dn], rows, cols), [[[16, 26, 36]]])


@given(
    hnp.arrays(np.float32, (6, 7), elements=st.floats(-1, 1, width=32)),
    hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(0, 1)),
)
@settings(max_examples=60, deadline=None)
def test_floats_agree_with_scipy(image, unit):
    rows, cols = unit[0] * 5, unit[1] * 6
    expected = ndimage.map_coordinates(image.astype(float), [rows, cols], order=1)
    np.testing.assert_allclose(bilinear_float(image, rows, cols), expected, atol=2e-6)


@given(counts, st.data())
@settings(max_examples=150, deadline=None)
def test_zero_wins_over_saturated_and_both_over_the_rest(dn, data):
    places = [
        data.draw(hnp.arrays(np.float64, (2, 3), elements=st.floats(-1.5, n + 0.5)))
        for n in dn.shape
    ]
    (found,) = bilinear([dn], *places)
    for index in np.ndindex(2, 3):
        r, c = (axis[index] for axis in places)
        near = []
        for i in (np.floor(r), np.floor(r) + 1):
            for j in (np.floor(c), np.floor(c) + 1):
                if abs(r - i) <= 1 - 1e-6 and abs(c - j) <= 1 - 1e-6:
                    there = 0 <= i < dn.shape[0] and 0 <= j < dn.shape[1]
                    near.append(int(dn[int(i), int(j)]) if there else 0)
        if 0 in near:
            assert found[index] == 0
        elif 255 in near:
            assert found[index] == 255
        else:
            assert max(1, min(near)) <= found[index] <= min(254, max(near))


def test_counts_are_rounded_once_for_both_steps():
    dn = np.random.default_rng(1).integers(1, 255, (41, 41)).astype(np.uint8)
    rows, cols = (2.3 + 0.71 * axis for axis in grid((20, 20)))
    (found,) = bilinear([to_coarse_lattice(dn)], rows, cols)
    smooth = ndimage.correlate(dn.astype(float), WEIGHTS / 16)[::2, ::2]
    exact = ndimage.map_coordinates(smooth, [rows, cols], order=1)
    assert np.abs(found - exact).max() < 0.5 + 1e-4


def test_a_stack_may_mix_counts_and_sixteenths():
    dn = np.full((5, 5), 77, np.uint8)
    found = bilinear([dn, dn.astype(np.uint16) * 16], np.full((1, 1), 1.3), np.full((1, 1), 2.6))
    np.testing.assert_array_equal(found, np.full((2, 1, 1), 77))
    saturated = np.full((5, 5), 255 * 16, np.uint16)
    assert bilinear([saturated], np.ones((1, 1)), np.ones((1, 1))).item() == 255


def test_nowhere_is_not_observed():
    places = np.array([[np.nan, -0.5, 2.5, 1e12]])
    dn = np.full((3, 3), 9, np.uint8)
    assert (bilinear([dn], places, np.ones((1, 4))) == 0).all()
    assert np.isnan(bilinear_float(dn, np.ones((1, 4)), places)).all()
    with pytest.raises(InputError, match="no pixels"):
        bilinear([np.zeros((0, 3), np.uint8)], places, places)


def test_a_nodata_value_is_not_mixed():
    image = np.array([[100, -32768, 300]], np.int16)
    found = bilinear_float(image, np.zeros((1, 3)), np.array([[0.0, 0.5, 2.0]]), nodata=-32768)
    np.testing.assert_array_equal(found, [[100, np.nan, 300]])


@given(hnp.arrays(bool, (6, 6)), hnp.arrays(np.float64, (2, 4, 4), elements=st.floats(-2, 7)))
@settings(max_examples=60, deadline=None)
def test_flags_and_counts_agree_on_what_was_observed(valid, places):
    bits = np.where(valid, flags.CLOUD, flags.NOT_OBSERVED).astype(np.uint16)
    found = nearest_or(bits, *places)
    (dn,) = bilinear([valid.astype(np.uint8) * 50], *places)
    np.testing.assert_array_equal(found & flags.NOT_OBSERVED == 0, dn > 0)
    assert (found[dn > 0] == flags.CLOUD).all()


@given(hnp.arrays(bool, (5, 7)))
def test_the_window_holds_all_and_no_less(valid):
    row0, col0, height, width = crop_window(valid)
    inside = valid[row0 : row0 + height, col0 : col0 + width]
    assert inside.sum() == valid.sum()
    if valid.any():
        assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
    else:
        assert (row0, col0, height, width) == (0, 0, 0, 0)
