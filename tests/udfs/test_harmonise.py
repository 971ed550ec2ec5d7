"""Harmonising: known errors are found, and where there are none nothing is invented."""

import json

import numpy as np
import pytest
from scipy import ndimage

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.harmonise import solve
from geoquarry.udfs.overlap import Overlap, PairSums, merge, pairs_of

UM = (0.56, 0.66, 0.82, 1.65, 2.165, 2.205, 2.26, 2.33, 2.395)
BANDS, SIZE = len(UM), 128


def ground(rng, contrast=0.06, size=SIZE):
    """Textured ground: float64 (band, y, x), unit reflectance."""
    fields = rng.normal(size=(BANDS + 1, size, size))
    fields = np.array([ndimage.gaussian_filter(field, 2.0) for field in fields])
    fields /= fields.std(axis=(1, 2), keepdims=True)
    level = np.linspace(0.15, 0.35, BANDS)[:, None, None]
    return level + contrast * (0.9 * fields[0] + 0.4 * fields[1:])


def seen(rng, truth, gain=1.0, offset=0.0, noise=0.004):
    """Counts of one granule whose reflectance is (truth - offset) / gain."""
    shape = (-1, 1, 1)
    reflectance = (truth - np.reshape(offset, shape)) / np.reshape(gain, shape)
    return np.rint(1e4 * (reflectance + noise * rng.normal(size=truth.shape))).astype(np.int32)


def names(count):
    return [f"granule-{i:03d}" for i in range(count)]


def sums_of(views, ids=None):
    """Pair sums of (counts, good) of granules over one tile."""
    overlap = Overlap(ids or names(len(views)), BANDS)
    overlap.update(views)
    return overlap.result()


def everywhere(counts):
    return counts, np.ones(counts.shape[1:], bool)


def errors(rng, count, sigma=0.05):
    gain = np.exp(sigma * rng.normal(size=(count, 1)) + sigma / 3 * rng.normal(size=(count, BANDS)))
    haze = 0.01 * rng.normal(size=(count, 1)) * (0.55 / np.array(UM)) ** 1.3
    return gain, haze


def spread(views, harmony, truth):
    """How far harmonised granules are from their mean, over the whole ground, per band."""
    maps = [
        g[:, None, None] * counts / 1e4 + o[:, None, None]
        for (counts, _), g, o in zip(views, harmony.gain, harmony.offset, strict=True)
    ]
    return np.std([m.mean(axis=(1, 2)) for m in maps], axis=0) / truth.mean(axis=(1, 2))


def test_known_gains_and_offsets_are_found_under_mixed_coverage():
    rng = np.random.default_rng(1)
    truth = ground(rng)
    gain, haze = errors(rng, 5)
    views = []
    for i in range(5):
        good = np.zeros((SIZE, SIZE), bool)
        good[: SIZE - 20 * (i % 2), 15 * i :] = True
        good &= rng.random(good.shape) < 0.7
        views.append((seen(rng, truth, gain[i], haze[i]), good))
    harmony = solve(sums_of(views), UM)
    left = np.log(harmony.gain / gain)
    left -= left.mean(axis=0)
    assert np.abs(np.log(gain / gain.mean(axis=0))).max() > 0.05
    assert np.abs(left).max() < 0.01
    assert spread(views, harmony, truth).max() < 0.002
    before, after = (np.array(harmony.figures[key]) for key in ("rms_before", "rms_after"))
    assert (after < 0.0065).all()  # noise of two granules: 0.0057
    assert before.max() > 2 * after.max()
    json.dumps(harmony.figures)


def test_granules_that_agree_are_left_alone():
    rng = np.random.default_rng(2)
    truth = ground(rng)
    views = [everywhere(seen(rng, truth)) for _ in range(6)]
    harmony = solve(sums_of(views), UM)
    np.testing.assert_allclose(harmony.gain, 1, atol=0.002)
    np.testing.assert_allclose(harmony.offset, 0, atol=0.0005)
    mean = truth.mean(axis=(1, 2))
    for a, b in ((4, 5), (8, 7), (3, 5)):  # band ratios, which minerals are told by
        now = harmony.gain * mean + harmony.offset
        np.testing.assert_allclose(now[:, a] / now[:, b], mean[a] / mean[b], rtol=0.001)
    exact = solve(sums_of([views[0], views[0]]), UM)
    assert (exact.gain == 1).all()
    assert (exact.offset == 0).all()


def test_one_bad_granule_moves_to_the_others():
    rng = np.random.default_rng(3)
    truth = ground(rng)
    gain = np.ones(5)
    gain[2] = 1.12
    views = [everywhere(seen(rng, truth, g)) for g in gain]
    harmony = solve(sums_of(views), UM)
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(harmony.gain[others], 1, atol=0.005)
    np.testing.assert_allclose(harmony.gain[2], 1.12, atol=0.01)
    assert harmony.component.tolist() == [0] * 5


def test_two_granules_meet_half_way():
    rng = np.random.default_rng(4)
    truth = ground(rng)
    views = [everywhere(seen(rng, truth, g)) for g in (1.04, 0.96)]
    harmony = solve(sums_of(views), UM)
    np.testing.assert_allclose(harmony.gain, np.transpose([[1.0408, 0.9608]] * BANDS), atol=0.006)
    middle = harmony.gain * 1e-4 * [v[0].mean(axis=(1, 2)) for v in views] + harmony.offset
    np.testing.assert_allclose(middle[0], middle[1], rtol=0.002)


def test_changed_ground_of_one_pair_does_not_pull_the_rest():
    """Plants in two seasons: granules 0 and 1 meet on fields of their own, and disagree there."""
    rng = np.random.default_rng(5)
    truth = ground(rng)
    views = [everywhere(seen(rng, truth)) for _ in range(5)]
    sums = sums_of(views)
    greener = truth.copy()
    greener[1] *= 0.85
    greener[2] *= 1.15
    changed = sums_of([views[0], everywhere(seen(rng, greener))]).sums[0]
    mixed = sums.sums.copy()
    mixed[0] = changed
    harmony = solve(PairSums(sums.granule_ids, sums.pairs, mixed), UM)
    np.testing.assert_allclose(harmony.gain, 1, atol=0.01)
    np.testing.assert_allclose(harmony.gain * 0.25 + harmony.offset, 0.25, atol=0.0015)
    assert harmony.figures["pairs_doubted"] == 1


def test_flat_ground_says_nothing_about_gains():
    rng = np.random.default_rng(6)
    truth = ground(rng, contrast=0.0)
    haze = np.array([0.006, 0.0, -0.006])
    views = [everywhere(seen(rng, truth, 1.0, h)) for h in haze]
    views[1] = everywhere(seen(rng, truth, 1.0, 0.0, noise=0.012))  # widens nothing
    harmony = solve(sums_of(views), UM)
    assert np.abs(harmony.gain - 1).max() < 0.05  # 0.006 of 0.15 are 4 %
    assert spread(views, harmony, truth).max() < 0.003


def test_a_chain_does_not_drift():
    """30 granules in a row, each meeting only the next: errors must not add up along the way."""
    rng = np.random.default_rng(7)
    count, gain = 30, np.exp(0.03 * rng.normal(size=30))
    parts = []
    for i in range(count - 1):
        truth = ground(rng, size=64)
        pair = [everywhere(seen(rng, truth, gain[k])) for k in (i, i + 1)]
        parts.append(sums_of(pair, names(count)[i : i + 2]))
    harmony = solve(merge(parts), UM)
    left = np.log(harmony.gain / gain[:, None])
    left -= left.mean(axis=0)
    assert np.abs(np.diff(left, axis=0)).max() < 0.01
    assert np.abs(left).max() < 0.04
    assert abs(np.log(harmony.gain).mean()) < 0.01
    backwards = solve(merge(parts[::-1]), UM)
    np.testing.assert_array_equal(harmony.gain, backwards.gain)
    np.testing.assert_array_equal(harmony.offset, backwards.offset)


def test_sets_without_common_ground_do_not_know_of_each_other():
    rng = np.random.default_rng(8)
    truth = ground(rng)
    gain, haze = errors(rng, 4)
    views = [everywhere(seen(rng, truth, g, h)) for g, h in zip(gain, haze, strict=True)]
    one = sums_of(views[:2], ["a", "b"])
    other = sums_of(views[2:], ["c", "d"])
    alone = PairSums(("e",), pairs_of(1), np.zeros((0, BANDS, 6), np.int64))
    both = solve(merge([one, other, alone]), UM)
    assert both.component.tolist() == [0, 0, 1, 1, 2]
    for place, single in ((slice(0, 2), solve(one, UM)), (slice(2, 4), solve(other, UM))):
        np.testing.assert_allclose(both.gain[place], single.gain, atol=1.01e-5)
        np.testing.assert_allclose(both.offset[place], single.offset, atol=1.01e-6)
    assert both.of("e")[0].tolist() == [1] * BANDS
    assert both.of("e")[1].tolist() == [0] * BANDS
    assert both.figures["granules_alone"] == 1
    assert both.pixels.tolist()[-1] == 0
    with pytest.raises(InputError, match="'f' is not among"):
        both.of("f")


def test_few_pixels_and_missing_bands_give_identity():
    rng = np.random.default_rng(9)
    truth = ground(rng)
    counts = seen(rng, truth, 1.1)
    few = np.zeros((SIZE, SIZE), bool)
    few[0, :29] = True
    harmony = solve(sums_of([everywhere(seen(rng, truth)), (counts, few)]), UM)
    assert (harmony.gain == 1).all()
    assert harmony.figures["pairs_ignored"] == 1
    assert harmony.figures["rms_before"] == [None] * BANDS
    lacking = np.ones(truth.shape, bool)
    lacking[3:] = False  # as after a detector has failed
    views = [everywhere(seen(rng, truth)), everywhere(seen(rng, truth, 1.02)), (counts, lacking)]
    harmony = solve(sums_of(views), UM)
    assert (harmony.gain[2, 3:] == 1).all()
    assert (harmony.offset[2, 3:] == 0).all()
    assert (harmony.gain[2, :3] > 1.05).all()


def test_gains_stay_within_limits():
    sums = np.array([[[1000, 3e5, 3e6, 1e8, 1e10, 1e9]] * BANDS]).astype(np.int64)
    harmony = solve(PairSums(("a", "b"), pairs_of(2), sums), UM)
    assert ((harmony.gain >= 0.5) & (harmony.gain <= 2)).all()
    assert (np.abs(harmony.offset) <= 0.1).all()


def test_bands_and_wavelengths_must_match():
    with pytest.raises(InputError, match="9 bands in the sums, 2 wavelengths"):
        solve(PairSums((), pairs_of(0), np.zeros((0, BANDS, 6), np.int64)), UM[:2])
