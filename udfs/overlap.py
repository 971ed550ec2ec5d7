"""Overlapping granules, pair by pair: sums over the ground that two of them see alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError

COUNTS_PER_UNIT = 10_000
"""Reflectance 1 in the counts that are summed."""
BRIGHTEST = 20_000
"""Larger counts, of either sign, are no reflectance; squares of these sum up without loss."""
ALL_PAIRS = 16
"""Up to so many granules, each is compared with each."""
ALIKE = 300, 20
"""Ground has changed, or a cloud was missed, where two granules differ in any band by more than
the first (counts) plus the second (percent) of their mean. Ours, set on simulated scenes: a
calibration that is 10 % off stays inside, a field that was harvested does not."""
PIXELS_AT_ONCE = 2048
"""Small enough that two granules stay in cache, large enough that NumPy's calls cost little."""
SUMS = ("n", "i", "j", "ii", "jj", "ij")
"""What is summed over the common pixels of granules i and j, in this order."""

Block = tuple[NDArray[np.integer], NDArray[np.bool_]]


def pairs_of(count: int) -> NDArray[np.int32]:
    """Which of ``count`` granules are compared.

    All with all up to `ALL_PAIRS`. Beyond, each with those 1, 2, 4, 8 ... places further on a
    ring: connected, and few (1400 pairs of 200 granules).

    Returns
    -------
    pairs : int32, shape (pair, 2)
        Places i < j, sorted.

    Examples
    --------
    >>> pairs_of(3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    >>> len(pairs_of(16)), len(pairs_of(200))
    (120, 1400)
    """
    first, second = np.triu_indices(count, 1)
    step = second - first
    if count > ALL_PAIRS:
        step = np.minimum(step, count - step)
        kept = (step & (step - 1)) == 0  # powers of two
        first, second = first[kept], second[kept]
    return np.stack([first, second], axis=1).astype(np.int32)


@dataclass(frozen=True)
class PairSums:
    """What pairs of granules say about each other; sums of several tiles add up (`merge`).

    Attributes
    ----------
    granule_ids : tuple of str
        Sorted, each once.
    pairs : int32, shape (pair, 2)
        Places i < j in ``granule_ids``.
    sums : int64, shape (pair, band, 6)
        `SUMS` over the common pixels: their number, counts of i and of j (reflectance x
        `COUNTS_PER_UNIT`), squares, and the product.

    Raises
    ------
    InputError
        The parts do not fit together.
    """

    granule_ids: tuple[str, ...]
    pairs: NDArray[np.int32]
    sums: NDArray[np.int64]

    def __post_init__(self) -> None:
        ids, pairs, sums = self.granule_ids, self.pairs, self.sums
        if pairs.ndim != 2 or sums.ndim != 3 or (pairs.shape[1], sums.shape[2]) != (2, len(SUMS)):
            raise InputError(
                f"Sums of granule pairs: shapes (pair, 2) and (pair, band, {len(SUMS)}) expected, "
                f"{pairs.shape} and {sums.shape} found. Compute them again."
            )
        ordered = all(a < b for a, b in pairwise(ids))
        first, second = pairs[:, 0], pairs[:, 1]
        inside = ((first >= 0) & (first < second) & (second < len(ids))).all()
        if len(pairs) != len(sums) or not ordered or not inside:
            raise InputError(
                f"Sums of granule pairs: {len(ids)} granule ids, {len(pairs)} pairs and "
                f"{len(sums)} sums do not fit, or are not sorted. Compute them again."
            )


class Overlap:
    """Sums over the common ground of granules: `update` with every block of rows, then `result`.

    A pixel counts for a pair, in the bands that are good in both, unless the two differ too much
    in any of them (`ALIKE`). Each pixel is judged alone and sums are whole numbers, so blocks may
    be cut anywhere and come in any order.

    Parameters
    ----------
    granule_ids : sequence of str
        Sorted, each once.
    band_count : int

    Examples
    --------
    >>> overlap = Overlap(["a", "b"], 1)
    >>> good = np.array([[True, True, False]])
    >>> overlap.update(
    ...     [(np.array([[[1000, 2000, 0]]]), good), (np.array([[[1100, 2200, 50]]]), good)]
    ... )
    >>> overlap.result().sums.tolist()
    [[[2, 3000, 3300, 5000000, 6050000, 5500000]]]
    """

    def __init__(self, granule_ids: Sequence[str], band_count: int) -> None:
        self._ids = tuple(granule_ids)
        self._bands = band_count
        self._pairs = pairs_of(len(self._ids))
        self._sums = np.zeros((len(self._pairs), band_count, len(SUMS)), np.int64)

    def update(self, blocks: Sequence[Block | None]) -> None:
        """Take what all granules see of the same pixels.

        Parameters
        ----------
        blocks : sequence of (counts, good) or None, one per granule
            counts : int16 or int32, shape (band, y, x)
                Reflectance x `COUNTS_PER_UNIT`.
            good : bool, shape (y, x) or (band, y, x)
                True where the pixel, or the band there, may be used.
            None where a granule has nothing.
        """
        for pixels in _chunks(blocks):
            held = [_Pixels.of(block, pixels) for block in blocks]
            for place, (i, j) in enumerate(self._pairs):
                one, other = held[i], held[j]
                if one is not None and other is not None:
                    self._sums[place] += one.with_other(other)

    def result(self) -> PairSums:
        """The sums so far."""
        return PairSums(self._ids, self._pairs, self._sums)


def _chunks(blocks: Sequence[Block | None]) -> Iterator[slice]:
    size = next((block[0][0].size for block in blocks if block is not None), 0)
    for start in range(0, size, PIXELS_AT_ONCE):
        yield slice(start, min(start + PIXELS_AT_ONCE, size))


@dataclass(frozen=True)
class _Pixels:
    """Some pixels of one granule, arrays of shape (band, pixel); ``good`` may be (1, pixel)."""

    counts: NDArray[np.int16]
    good: NDArray[np.bool_]
    lowest: NDArray[np.int16]
    highest: NDArray[np.int16]
    value: NDArray[np.int64]
    square: NDArray[np.int64]

    @classmethod
    def of(cls, block: Block | None, pixels: slice) -> "_Pixels | None":
        if block is None:
            return None
        counts = block[0].reshape(len(block[0]), -1)[:, pixels]
        good = block[1].reshape(-1, block[0][0].size)[:, pixels]
        possible = (counts >= -BRIGHTEST) & (counts <= BRIGHTEST)
        good = good & (possible if len(good) > 1 else possible.all(axis=0))
        if not good.any():
            return None
        own = np.where(good, counts, 0).astype(np.int16)
        value = own.astype(np.int64)
        # |a - b| <= base + percent / 100 x (a + b) / 2, solved for b in whole numbers.
        base, percent = ALIKE
        low, high = 200 - percent, 200 + percent
        lowest = (-((200 * base - low * value) // high)).astype(np.int16)
        highest = ((200 * base + high * value) // low).astype(np.int16)
        return cls(own, good, lowest, highest, value, value * value)

    def with_other(self, other: "_Pixels") -> NDArray[np.int64]:
        """`SUMS` over the common pixels: int64, shape (band, 6)."""
        both = self.good & other.good
        unlike = other.counts < self.lowest
        unlike |= other.counts > self.highest
        if len(both) > 1:  # what only one of them has is not compared
            unlike &= both
        both &= ~unlike.any(axis=0)
        kept = np.broadcast_to(both.astype(np.int64), self.value.shape)
        sums = [kept.sum(axis=1)]
        for what in (self.value, other.value, self.square, other.square):
            sums.append(np.einsum("bp,bp->b", what, kept))
        sums.append(np.einsum("bp,bp->b", self.value, kept * other.value))
        return np.stack(sums, axis=1)


def merge(parts: Iterable[PairSums]) -> PairSums:
    """Sums of several tiles as one: the same pair adds up, in any order the same bits.

    Raises
    ------
    InputError
        There are none, or they differ in the number of bands.

    Examples
    --------
    >>> part = PairSums(("a", "b"), pairs_of(2), np.ones((1, 9, 6), np.int64))
    >>> other = PairSums(("b", "c"), pairs_of(2), np.ones((1, 9, 6), np.int64))
    >>> both = merge([other, part, part])
    >>> both.granule_ids, both.pairs.tolist(), both.sums[:, 0, 0].tolist()
    (('a', 'b', 'c'), [[0, 1], [1, 2]], [2, 1])
    """
    parts = list(parts)
    bands = sorted({part.sums.shape[1] for part in parts})
    if len(bands) != 1:
        raise InputError(
            f"Sums of granule pairs: one number of bands expected, {bands} found in {len(parts)} "
            "tiles. Merge tiles of one sensor."
        )
    ids = tuple(sorted({name for part in parts for name in part.granule_ids}))
    place = {name: at for at, name in enumerate(ids)}
    own = [
        np.array([place[name] for name in part.granule_ids], np.int64)[part.pairs] for part in parts
    ]
    pairs = np.concatenate(own)
    sums = np.concatenate([part.sums for part in parts])
    if not len(pairs):
        return PairSums(ids, pairs.astype(np.int32), sums)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, sums = pairs[order], sums[order]
    starts = np.flatnonzero(np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)])
    return PairSums(ids, pairs[starts].astype(np.int32), np.add.reduceat(sums, starts, axis=0))
