"""Ratios before and after: order does not matter, nor what is common to all bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.udfs.ratio_watch import RatioWatch, ratios, watched_ratios

SHAPE = (64, 96)


def ground(seed=1, bands=9):
    rng = np.random.default_rng(seed)
    return (0.3 + 0.02 * rng.standard_normal((bands, *SHAPE))).astype(np.float32)


def test_watched_ratios_are_bands_of_the_sensor():
    assert [name for name, _, _ in watched_ratios("aster_l1t")] == ["5/6", "9/8", "4/6"]
    assert watched_ratios("nobody") == ()
    assert ratios("nobody", ground(), ground()) == {}


@given(st.permutations(range(4)), st.sampled_from([8, 12, 16]))
def test_order_and_batching_do_not_change_ratios(order, rows):
    before, after = ground(2), ground(3)
    whole = ratios("aster_l1t", before, after)
    watch = RatioWatch("aster_l1t")
    starts = list(range(0, SHAPE[0], rows))
    for place in order:
        for start in starts[place::4]:
            for columns in (slice(0, 37), slice(37, None)):
                part = (slice(None), slice(start, start + rows), columns)
                watch.update(before[part], after[part], row0=start, col0=columns.start)
    assert watch.result() == whole


def test_a_common_gain_leaves_ratios_and_a_single_one_does_not():
    before = ground(4)
    assert all(abs(r["change"]) < 3e-4 for r in ratios("aster_l1t", before, before * 2).values())
    after = before.copy()
    after[7] *= np.float32(0.8)
    found = ratios("aster_l1t", before, after)
    assert found["9/8"]["change"] == pytest.approx(0.25, abs=1e-3)
    assert found["5/6"]["change"] == 0


def test_dark_and_missing_pixels_are_in_no_ratio():
    before = ground(5)
    expected = ratios("aster_l1t", before[:, 8:], before[:, 8:])
    before[:, :8] = np.nan
    assert ratios("aster_l1t", before, before) == expected
    before[4:6, :8] = 0.004
    assert ratios("aster_l1t", before, before)["5/6"] == expected["5/6"]
    assert ratios("aster_l1t", before[:, :8], before[:, :8]) == {}
