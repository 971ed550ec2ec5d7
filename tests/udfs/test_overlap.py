"""Sums of pairs: the right pixels, whole numbers, and no trace of how the work was cut."""

import time

import numpy as np
import pytest

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.overlap import Overlap, PairSums, merge, pairs_of

BANDS = 3


def granules(count=4, size=64, seed=0):
    """Counts that mostly agree, with some changed ground, and ragged coverage."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(800, 4000, (BANDS, size, size))
    found = []
    for _ in range(count):
        counts = ground + rng.integers(-60, 60, ground.shape)
        counts[:, rng.random((size, size)) < 0.1] += 2500  # clouds nobody flagged
        found.append((counts.astype(np.int32), rng.random((size, size)) < 0.8))
    return found


def names(count):
    return [f"granule-{i:03d}" for i in range(count)]


def summed(blocks, cuts=()):
    """Sums of whole granules, given in row blocks that end at ``cuts``."""
    overlap = Overlap(names(len(blocks)), BANDS)
    height = next(block[0].shape[1] for block in blocks if block is not None)
    stops = [*cuts, height]
    for start, stop in zip([0, *cuts], stops, strict=True):
        rows = slice(start, stop)
        overlap.update([b and (b[0][:, rows], b[1][..., rows, :]) for b in blocks])
    return overlap.result()


def same(one, other):
    assert one.granule_ids == other.granule_ids
    np.testing.assert_array_equal(one.pairs, other.pairs)
    np.testing.assert_array_equal(one.sums, other.sums)


def test_sums_are_those_of_a_plain_loop():
    blocks = granules(3)
    found = summed(blocks)
    for (i, j), sums in zip(found.pairs, found.sums, strict=True):
        (a, good_a), (b, good_b) = blocks[i], blocks[j]
        a, b = a.astype(object), b.astype(object)  # exact, however large
        alike = (10 * abs(b - a) <= 10 * 300 + (a + b)).all(axis=0)
        kept = alike & good_a & good_b
        assert 0.5 < kept.sum() / (good_a & good_b).sum() < 0.9  # some ground has changed
        for band in range(BANDS):
            x, y = a[band][kept], b[band][kept]
            expected = [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
            assert sums[band].tolist() == expected


def test_blocks_may_be_cut_anywhere():
    blocks = granules()
    same(summed(blocks), summed(blocks, cuts=(1, 17, 63)))


def test_tiles_merge_in_any_order():
    tiles = [summed(granules(seed=seed)) for seed in range(3)]
    renamed = PairSums(("granule-001", "other"), pairs_of(2), tiles[0].sums[:1])
    same(merge([*tiles, renamed]), merge([renamed, merge(tiles[::-1])]))
    assert merge([*tiles, renamed]).granule_ids == (*names(4), "other")


def test_a_band_that_one_granule_lacks_is_left_out_alone():
    blocks = granules(2)
    counts, good = blocks[1]
    lacking = np.broadcast_to(good, counts.shape).copy()
    lacking[2] = False
    counts = counts.copy()
    counts[2] = 9999  # what stands there must not matter, nor make the other bands unlike
    found = summed([blocks[0], (counts, lacking)]).sums[0]
    assert not found[2].any()
    assert (found[:2, 0] > 1000).all()
    assert found[0, 0] == found[1, 0] >= summed(blocks).sums[0, 0, 0]


def test_what_is_not_good_never_enters():
    blocks = granules()
    trashed = [(np.where(good, counts, -32768), good) for counts, good in blocks]
    same(summed(blocks), summed(trashed))


def test_granules_may_miss_a_block_or_everything():
    blocks = granules(3)
    found = summed([blocks[0], None, blocks[2]])
    assert found.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_array_equal(found.sums[1], summed(blocks).sums[1])
    assert not found.sums[[0, 2]].any()
    assert summed([blocks[0]]).sums.shape == (0, BANDS, 6)


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 33, 200])
def test_pairs_connect_all_and_stay_few(count):
    pairs = pairs_of(count)
    assert len(np.unique(pairs, axis=0)) == len(pairs) <= 8 * max(count, 1)
    reached = {0}
    for i, j in sorted(pairs.tolist()):
        assert i < j < count
        reached |= {j} if i in reached else set()
    assert len(reached) == max(count, 1)


def test_parts_that_do_not_fit_are_refused():
    part = summed(granules(2))
    with pytest.raises(InputError, match="not sorted"):
        PairSums(part.granule_ids[::-1], part.pairs, part.sums)
    with pytest.raises(InputError, match="do not fit"):
        PairSums(part.granule_ids, part.pairs + 1, part.sums)
    with pytest.raises(InputError, match="expected"):
        PairSums(part.granule_ids, part.pairs, part.sums[..., :5])
    with pytest.raises(InputError, match="one number of bands"):
        merge([part, PairSums(part.granule_ids, part.pairs, part.sums[:, :2])])
    with pytest.raises(InputError, match="one number of bands"):
        merge([])


def test_five_granules_cost_little():
    rng = np.random.default_rng(1)
    good = np.ones((256, 256), bool)
    blocks = [(rng.integers(500, 4000, (9, 256, 256), np.int32), good) for _ in range(5)]
    overlap = Overlap(names(5), 9)
    started = time.thread_time()
    overlap.update(blocks)
    assert time.thread_time() - started < 1  # 0.05 s on a free core
