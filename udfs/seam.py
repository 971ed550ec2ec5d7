"""Quality figures of a finished map: visible seams between granules, and ratios that changed.

Differences are taken in whole counts of 1e-4 and added as integers, so every machine says the same.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.sensor import sensor

COUNTS_PER_UNIT = np.float32(1e4)
"""One count is 1e-4 of reflectance, the step of stored results; of a ratio, 1e-4 as well."""
MOST_PAIRS = 65_536
"""More borders per direction than this are thinned evenly: a mean needs no more."""
EVERY = 8
"""Ratios are watched on every eighth pixel in both directions."""
DARKEST = np.float32(0.005)
"""A denominator must be brighter (as for indices)."""
MOST_WAITING = 1_000_000
"""Ratios that wait until they are counted."""
MOST_COUNTS = 65_535
"""Ratios above 6.5535 share one bin: no median is there."""


def seam(
    reflectance: NDArray[np.float32],
    label: NDArray[np.int32],
    valid: NDArray[np.bool_],
) -> dict[str, Any]:
    """How much the map jumps where its source changes, against the texture right beside.

    A border is a pair of neighbouring pixels (side by side, or one above the other) with
    different labels. Along the line of the pair, the two pairs next to it are its texture, as far
    as each lies inside one label; borders without any are left out. A band's NaN takes the pair
    out for that band.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
        Unitless; NaN = not observed.
    label : int32, shape (y, x)
        Equal where the same granule, or the same set of granules, made the pixel.
    valid : bool, shape (y, x)
        Pixels that count.

    Returns
    -------
    figures : dict
        JSON-safe. ``borders``: pairs of valid pixels with different labels; ``pairs``: those that
        were compared, at most 65,536 per direction; ``step`` and ``texture``: mean absolute
        difference of reflectance over all bands; ``ratio``: step / texture, 1 = no seam can be
        seen; ``bands``: the same per band. None where there is nothing to compare.

    Examples
    --------
    >>> ground = np.array([[[0.25, 0.26, 0.27, 0.32, 0.33, 0.34]]], dtype="float32")
    >>> who = np.array([[0, 0, 0, 1, 1, 1]], dtype="int32")
    >>> found = seam(ground, who, np.ones((1, 6), bool))
    >>> found["pairs"], found["step"], found["texture"], found["ratio"]
    (1, 0.05, 0.01, 5.0)
    """
    bands = len(reflectance)
    steps, step_pairs = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    textures, texture_pairs = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    borders = pairs = 0
    for down in (0, 1):
        many, found = _borders(label, valid, down)
        borders += many
        pairs += found.at.size
        for band in range(bands):
            flat = reflectance[band].reshape(-1)
            # The four pixels on the line of the pair: outer, inner | inner, outer.
            line = [_counts(flat.take(found.at + k * found.stride, mode="clip")) for k in _LINE]
            across = _difference(line[1], line[2])
            sides = [
                np.where(found.before, _difference(line[0], line[1]), -1),
                np.where(found.after, _difference(line[2], line[3]), -1),
            ]
            seen = (across >= 0) & ((sides[0] >= 0) | (sides[1] >= 0))
            steps[band] += across[seen].sum(dtype=np.int64)
            step_pairs[band] += np.count_nonzero(seen)
            for side in sides:
                use = seen & (side >= 0)
                textures[band] += side[use].sum(dtype=np.int64)
                texture_pairs[band] += np.count_nonzero(use)
    per_band = [
        _figures(*(int(total[band]) for total in (steps, step_pairs, textures, texture_pairs)))
        for band in range(bands)
    ]
    whole = _figures(*(int(t.sum()) for t in (steps, step_pairs, textures, texture_pairs)))
    return {"borders": borders, **whole, "pairs": pairs, "bands": per_band}


_LINE = (-1, 0, 1, 2)


@dataclass(frozen=True)
class _Borders:
    """Pairs to compare in one direction.

    Attributes
    ----------
    at : int64, shape (n,)
        Flat place of the pair's first pixel; the second is `stride` further.
    before, after : bool, shape (n,)
        The pair right before, and right behind, lies inside one label.
    """

    at: NDArray[np.int64]
    stride: int
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]


def _borders(label: NDArray[np.int32], valid: NDArray[np.bool_], down: int) -> tuple[int, _Borders]:
    """All borders of one direction counted, and those with texture beside them."""
    height, width = label.shape
    stride = width if down else 1
    first = (slice(None, -1), slice(None)) if down else (slice(None), slice(None, -1))
    second = (slice(1, None), slice(None)) if down else (slice(None), slice(1, None))
    border = label[first] != label[second]
    border &= valid[first]
    border &= valid[second]
    row, column = np.nonzero(border)
    at = row * width + column
    place, last = (row, height - 1) if down else (column, width - 1)
    whose, good = label.reshape(-1), valid.reshape(-1)

    def same(near: int, far: int, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        a, b = at + near * stride, np.where(inside, at + far * stride, at)
        same_label: NDArray[np.bool_] = inside & good[b] & (whose[a] == whose[b])
        return same_label

    before, after = same(0, -1, place > 0), same(1, 2, place + 1 < last)
    kept = np.flatnonzero(before | after)
    kept = kept[:: max(1, -(-kept.size // MOST_PAIRS))]
    return at.size, _Borders(at[kept], stride, before[kept], after[kept])


_NOTHING = np.int32(-(2**30))


def _counts(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Whole counts; not a number becomes a mark far below."""
    finite = np.isfinite(values)
    safe = np.clip(np.where(finite, values, np.float32(0)), np.float32(-100), np.float32(100))
    return np.where(finite, np.rint(safe * COUNTS_PER_UNIT).astype(np.int32), _NOTHING)


def _difference(a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.int32]:
    """Absolute difference, -1 where either is missing."""
    return np.where((a == _NOTHING) | (b == _NOTHING), np.int32(-1), np.abs(a - b))


def _figures(step: int, step_pairs: int, texture: int, texture_pairs: int) -> dict[str, Any]:
    mean_step = step / step_pairs / float(COUNTS_PER_UNIT) if step_pairs else None
    mean_texture = texture / texture_pairs / float(COUNTS_PER_UNIT) if texture_pairs else None
    ratio = mean_step / mean_texture if mean_step is not None and mean_texture else None
    return {
        "pairs": step_pairs,
        "step": None if mean_step is None else round(mean_step, 6),
        "texture": None if mean_texture is None else round(mean_texture, 6),
        "ratio": None if ratio is None else round(ratio, 4),
    }


@cache
def watched_ratios(sensor_name: str) -> tuple[tuple[str, int, int], ...]:
    """Name, numerator and denominator (band positions) from ``<sensor>_quality.csv``, or none.

    >>> watched_ratios("aster_l1t")[0]
    ('5/6', 4, 5)
    """
    try:
        rows = read_rows(f"{sensor_name}_quality")
    except FileNotFoundError:
        return ()
    facts = sensor(sensor_name)
    return tuple(
        (row["name"], facts.position(row["numerator"]), facts.position(row["denominator"]))
        for row in rows
    )


class RatioWatch:
    """How far a step of the chain changed the ratios that matter: medians before and after.

    Feed it the same pixels before and after, as often as wanted: blocks of a mosaic, or all
    observations of many granules. It keeps counts per bin of 1e-4, so its memory does not grow and
    order cannot matter.

    Parameters
    ----------
    sensor_name : str
        Whose ratios; a sensor without such a table has none.

    Examples
    --------
    >>> ground = np.full((9, 8, 8), 0.25, dtype="float32")
    >>> brighter = ground.copy()
    >>> brighter[4] *= 1.5
    >>> watch = RatioWatch("aster_l1t")
    >>> watch.update(ground, brighter)
    >>> watch.result()["5/6"]
    {'before': 1.0, 'after': 1.5, 'change': 0.5}
    """

    def __init__(self, sensor_name: str) -> None:
        self._ratios = watched_ratios(sensor_name)
        self._bins = np.zeros((len(self._ratios), 2, MOST_COUNTS + 1), np.int64)
        self._waiting: list[list[NDArray[np.int64]]] = [[] for _ in self._ratios for _ in "ba"]
        self._pixels = 0

    def update(
        self,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        valid: NDArray[np.bool_] | None = None,
        row0: int = 0,
        col0: int = 0,
    ) -> None:
        """Add a window of pixels, of which every eighth row and column of the tile counts.

        Parameters
        ----------
        before, after : float32, shape (band, y, x)
            A pixel counts for a ratio where it is finite, with a denominator over 0.005, in both.
        valid : bool, shape (y, x), optional
        row0, col0 : int
            Place of the window in the tile.
        """
        use = None if valid is None else self.sample(valid, row0, col0)
        self.add(self.sample(before, row0, col0), self.sample(after, row0, col0), use)

    @staticmethod
    def sample(window: NDArray[Any], row0: int, col0: int) -> NDArray[Any]:
        """The pixels of a window, shape (..., y, x), that count."""
        part = (slice(-row0 % EVERY, None, EVERY), slice(-col0 % EVERY, None, EVERY))
        return window[(..., *part)]

    def add(
        self,
        before: NDArray[np.float32],
        after: NDArray[np.float32],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add pixels that `sample` gave."""
        for place, (_, top, bottom) in enumerate(self._ratios):
            values = [
                (x[top].astype(np.float32), x[bottom].astype(np.float32)) for x in (before, after)
            ]
            use = np.ones(values[0][0].shape, bool) if valid is None else valid.copy()
            for above, below in values:
                # A comparison with NaN is False.
                use &= np.isfinite(above) & np.isfinite(below) & (below > DARKEST)
            for side, (above, below) in enumerate(values):
                counts = np.rint(above[use] / below[use] * COUNTS_PER_UNIT)
                bins = np.clip(counts, 0, MOST_COUNTS).astype(np.int64)
                self._waiting[2 * place + side].append(bins)
                self._pixels += bins.size
        if self._pixels > MOST_WAITING:
            self._count()

    def _count(self) -> None:
        """Sort what waits into bins: few large counts instead of one per block."""
        for number, waiting in enumerate(self._waiting):
            if waiting:
                bins = np.bincount(np.concatenate(waiting), minlength=MOST_COUNTS + 1)
                self._bins[number // 2, number % 2] += bins
                waiting.clear()
        self._pixels = 0

    def result(self) -> dict[str, dict[str, float]]:
        """By ratio: its median ``before``, ``after``, and their relative ``change``; JSON-safe.

        Ratios of which no pixel was seen are left out.
        """
        self._count()
        answer = {}
        for (name, _, _), bins in zip(self._ratios, self._bins, strict=True):
            if not bins[0].any():
                continue
            old, new = (_median(side) / float(COUNTS_PER_UNIT) for side in bins)
            answer[name] = {
                "before": round(old, 5),
                "after": round(new, 5),
                "change": round(new / old - 1, 5) if old > 0 else 0.0,
            }
        return answer


def _median(bins: NDArray[np.int64]) -> float:
    """Mean of the middle two values (of the middle one twice), from a histogram."""
    sums = np.cumsum(bins)
    total = int(sums[-1])
    low = int(np.searchsorted(sums, (total - 1) // 2, side="right"))
    high = int(np.searchsorted(sums, total // 2, side="right"))
    return (low + high) / 2


def ratios(
    sensor_name: str, before: NDArray[np.float32], after: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """`RatioWatch` for one pair of whole arrays, float32 (band, y, x)."""
    watch = RatioWatch(sensor_name)
    watch.update(before, after)
    return watch.result()
