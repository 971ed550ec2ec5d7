"""Ratios of bands that a step of the chain should not change: medians before and after.

Ratios are counted in bins of 1e-4, as integers, so every machine says the same.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.sensor import sensor

COUNTS_PER_UNIT = np.float32(1e4)
"""Bins between a ratio of 0 and one of 1."""
EVERY = 8
"""Ratios are watched on every eighth pixel in both directions."""
DARKEST = np.float32(0.005)
"""A denominator must be brighter (as for indices)."""
MOST_WAITING = 1_000_000
"""Ratios that wait until they are counted."""
MOST_COUNTS = 65_535
"""Ratios above 6.5535 share one bin: no median is there."""


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
