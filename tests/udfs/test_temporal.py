"""The temporal test: what looks the same every time is ground, what stands out from it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoquarry.schemas import flags as f
from geoquarry.udfs import temporal
from geoquarry.udfs.temporal import settle

ROLES = {"green": 0, "red": 1, "nir": 2, "swir16": 3}
SALT = (0.55, 0.60, 0.62, 0.55)
SNOW = (0.85, 0.85, 0.80, 0.10)
SOIL = (0.15, 0.22, 0.30, 0.35)
CLOUD = (0.75, 0.75, 0.76, 0.50)
SHADE = (0.04, 0.04, 0.04, 0.02)


def judge(*seen, roles=ROLES):
    """Flags of one pixel after the test, from (spectrum, flags) of each granule."""
    values = [np.array(spectrum, np.float32)[:, None, None] for spectrum, _ in seen]
    bits = [np.full((1, 1), flag, np.uint16) for _, flag in seen]
    window = (slice(0, 1), slice(0, 1))
    return [int(b[0, 0]) for b in settle(values, bits, [window] * len(seen), (1, 1), roles)]


def times(factor, spectrum):
    return tuple(factor * rho for rho in spectrum)


@pytest.mark.parametrize("ground", [SALT, SNOW])
def test_bright_ground_that_looks_the_same_three_times_is_no_cloud(ground):
    views = [(times(factor, ground), f.CLOUD) for factor in (0.97, 1.0, 1.03)]
    assert judge(*views) == [0, 0, 0]
    assert judge(*views[:2]) == [f.CLOUD, f.CLOUD]


def test_clouds_differ_and_stay():
    views = [(times(factor, CLOUD), f.CLOUD) for factor in (0.8, 0.92, 1.06)]
    assert judge(*views) == [f.CLOUD] * 3
    # Alike in the green is not enough.
    views = [((0.75, 0.75, 0.76, swir), f.CLOUD) for swir in (0.3, 0.4, 0.5)]
    assert judge(*views) == [f.CLOUD] * 3


def test_only_those_who_agree_are_cleared():
    views = [(times(factor, SALT), f.CLOUD) for factor in (0.97, 1.0, 1.03)]
    assert judge(*views, (times(1.4, SALT), f.CLOUD)) == [0, 0, 0, f.CLOUD]


def test_clouds_alike_are_not_ground_where_something_darker_was_seen():
    clouds = [(times(factor, CLOUD), f.CLOUD) for factor in (0.99, 1.0, 1.01)]
    assert judge(*clouds, (SOIL, 0)) == [f.CLOUD] * 3 + [0]
    assert judge(*clouds, (SOIL, f.CLOUD)) == [f.CLOUD] * 4


def test_shadows_alike_are_not_ground():
    views = [(times(factor, SHADE), f.CLOUD) for factor in (0.8, 1.0, 1.2)]
    assert judge(*views) == [f.CLOUD] * 3


def test_the_margin_around_a_cloud_is_given_back():
    views = [(times(factor, SOIL), 0) for factor in (0.97, 1.0, 1.03)]
    assert judge(*views, (SOIL, f.CLOUD | f.WATER)) == [0, 0, 0, f.WATER]


def test_what_the_mask_missed_stands_out():
    ground = [(times(factor, SOIL), 0) for factor in (0.97, 1.0, 1.03)]
    assert judge(*ground, (CLOUD, 0)) == [0, 0, 0, f.CLOUD]
    assert judge(*ground, (SHADE, f.VEGETATION)) == [0, 0, 0, f.VEGETATION | f.SHADOW]
    assert judge(*ground[:2], (CLOUD, 0)) == [0, 0, 0]


@pytest.mark.parametrize(
    ("ground", "other", "flag"),
    [
        (SOIL, SNOW, f.SNOW),
        (SOIL, SNOW, 0),  # snow that was not recognised is dark in the SWIR
        (SNOW, SOIL, 0),  # melt
        (SALT, times(0.6, SALT), 0),  # wet
        (SOIL, (0.05, 0.04, 0.02, 0.01), f.WATER),  # flooded
        ((0.06, 0.05, 0.45, 0.2), (0.12, 0.16, 0.28, 0.32), 0),  # plants, dry
        ((0.12, 0.16, 0.28, 0.32), (0.06, 0.05, 0.45, 0.2), 0),
    ],
)
def test_ground_that_changes_is_neither_cloud_nor_shadow(ground, other, flag):
    views = [(times(factor, ground), 0) for factor in (0.97, 1.0, 1.03)]
    assert judge(*views, (other, flag)) == [0, 0, 0, flag]


def test_saturated_values_do_not_vote_but_may_be_below():
    two = [(SALT, f.CLOUD), (times(1.02, SALT), f.CLOUD)]
    full = (times(0.8, SALT[:3]) + SALT[3:], f.CLOUD | f.SATURATED)
    assert judge(*two, full) == [f.CLOUD, f.CLOUD, f.CLOUD | f.SATURATED]
    assert judge(*two, two[0], full) == [0, 0, 0, f.SATURATED]


def test_swir_that_cannot_be_believed_is_not_compared():
    views = [((*SALT[:3], swir), f.CLOUD) for swir in (0.5, 0.51)]
    late = ((*SALT[:3], np.nan), f.CLOUD | f.SWIR_UNRELIABLE)
    assert judge(*views, late) == [0, 0, f.SWIR_UNRELIABLE]
    assert judge(late, late, late, roles={"green": 0, "red": 1}) == [f.SWIR_UNRELIABLE] * 3


def test_in_a_long_series_a_few_dark_ones_are_not_the_ground():
    ground = [(times(1 + 0.002 * number, SALT), f.CLOUD) for number in range(-10, 11)]
    shadows = [(SHADE, 0)] * 3
    assert judge(*ground, *shadows)[:21] == [f.CLOUD] * 21  # too many clear ones are darker
    clear = [(spectrum, 0) for spectrum, _ in ground]
    assert judge(*clear, *shadows) == [0] * 21 + [f.SHADOW] * 3


@settings(max_examples=25, deadline=None)
@given(count=st.integers(3, 24), seed=st.integers(0, 10**6), cut=st.integers(1, 6))
def test_a_pixel_is_judged_by_itself(count, seed, cut):
    """However a block is cut, and whatever else is worked on with it: the same bits."""
    rng = np.random.default_rng(seed)
    shape = (3, 7)
    ground = rng.uniform(0.05, 0.7, (4, *shape))
    values, flags, windows = [], [], []
    for _ in range(count):
        row0, col0 = (int(rng.integers(0, n - 1)) for n in shape)
        window = (slice(row0, shape[0]), slice(col0, shape[1]))
        seen = ground * rng.normal(1, 0.03, ground.shape)
        cloudy = rng.random(shape) < 0.3
        seen[:, cloudy] = rng.uniform(0.5, 0.9, int(cloudy.sum()))
        bits = np.where(rng.random(shape) < 0.4, f.CLOUD, 0) | np.where(
            rng.random(shape) < 0.1, f.SATURATED, 0
        )
        seen[:, rng.random(shape) < 0.1] = np.nan
        values.append(seen.astype(np.float32)[:, *window])
        flags.append(bits.astype(np.uint16)[window])
        windows.append(window)
    kept = [bits.copy() for bits in flags]
    whole = settle(values, flags, windows, shape, ROLES)
    for before, after in zip(kept, flags, strict=True):
        np.testing.assert_array_equal(before, after)  # what was given is left alone
    for left, right in ((0, cut), (cut, shape[1])):
        inside = [
            (max(w[1].start - left, 0), min(w[1].stop, right) - left, max(left - w[1].start, 0))
            for w in windows
        ]
        parts = [
            (n, start, stop, skip) for n, (start, stop, skip) in enumerate(inside) if stop > start
        ]
        found = settle(
            [values[n][:, :, skip : skip + stop - start] for n, start, stop, skip in parts],
            [flags[n][:, skip : skip + stop - start] for n, start, stop, skip in parts],
            [(windows[n][0], slice(start, stop)) for n, start, stop, _ in parts],
            (shape[0], right - left),
            ROLES,
        )
        for (n, start, stop, skip), bits in zip(parts, found, strict=True):
            np.testing.assert_array_equal(bits, whole[n][:, skip : skip + stop - start])


def test_chunks_change_no_bit(monkeypatch):
    rng = np.random.default_rng(4)
    ground = rng.uniform(0.2, 0.7, (4, 20, 60))
    values = [(ground * rng.normal(1, 0.02, ground.shape)).astype(np.float32) for _ in range(5)]
    flags = [np.where(rng.random((20, 60)) < 0.5, f.CLOUD, 0).astype(np.uint16) for _ in range(5)]
    window = (slice(0, 20), slice(0, 60))
    expected = settle(values, flags, [window] * 5, (20, 60), ROLES)
    assert any((a != b).any() for a, b in zip(flags, expected, strict=True))
    monkeypatch.setattr(temporal, "CHUNK", 1)
    monkeypatch.setattr(temporal, "FEWEST_PIXELS", 7)
    for a, b in zip(expected, settle(values, flags, [window] * 5, (20, 60), ROLES), strict=True):
        np.testing.assert_array_equal(a, b)
