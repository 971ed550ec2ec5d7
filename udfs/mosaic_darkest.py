"""Mosaics that look for the darkest observation: `min` and `deshadow`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.mosaic_base import (
    NO_TIER,
    QUALITY,
    Mosaic,
    MosaicResult,
    blend,
    clamp_count,
    finish_flags,
)


class _Rank:
    """One place on the podium: per pixel an observation, its key, tier and granule."""

    def __init__(self, band_count: int, shape: tuple[int, int]) -> None:
        self.values = np.full((band_count, *shape), np.nan, np.float32)
        self.key = np.full(shape, np.inf, np.float32)
        self.flags = np.full(shape, f.NOT_OBSERVED, np.uint16)
        self.granule = np.full(shape, -1, np.int32)

    def take(self, window: Any, mask: NDArray[np.bool_], new: tuple[NDArray[Any], ...]) -> None:
        """Where ``mask``: replace by (values, key, flags, granule)."""
        if not mask.any():
            return
        values, key, flags, granule = new
        blend(self.values[:, *window], values, mask)
        blend(self.key[window], key, mask)
        np.copyto(self.flags[window], flags, where=mask)
        blend(self.granule[window], granule, mask)

    def part(self, window: Any) -> tuple[NDArray[Any], ...]:
        """Copies of (values, key, flags, granule) in a window."""
        arrays = self.values[:, *window], self.key[window], self.flags[window], self.granule[window]
        return tuple(array.copy() for array in arrays)


class MinMosaic(Mosaic):
    """All bands from the granule with the smallest ``first + weight x second`` key band.

    With weight 0.001 these are the numbers of the reference's merge_min where every granule sees
    the pixel; equal keys go to the smaller granule id. Kept in memory: one observation per pixel
    (9 bands of 1024 x 1024: 52 MB), whatever the number of granules.
    """

    weight = np.float32(0.001)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tier = np.full(self.shape, NO_TIER, np.uint8)
        self.count = np.zeros(self.shape, np.uint16)
        self.first = _Rank(self.band_count, self.shape)

    def _key(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        first, second = self.key_bands
        return np.asarray(values[first] + self.weight * values[second])

    def _less(self, known: int, key: NDArray[Any], rank: _Rank, window: Any) -> NDArray[np.bool_]:
        less: NDArray[np.bool_] = key < rank.key[window]
        tie = key == rank.key[window]
        if tie.any():
            name = self.granule_ids[known]
            # One more entry: -1, nobody yet, loses every tie.
            loses = np.array([name < other for other in self.granule_ids] + [True])
            less |= tie & loses[rank.granule[window]]
        return less

    def _add(
        self,
        known: int,
        window: tuple[slice, slice],
        values: NDArray[np.float32],
        flags: NDArray[np.uint16],
        tier: NDArray[np.uint8],
    ) -> None:
        held, count = self.tier[window], self.count[window]
        better = tier < held
        same = (tier == held) & (tier != NO_TIER)
        key = self._key(values)
        new = values, key, flags, np.full(key.shape, known, np.int32)
        self._rank(known, window, better, same, new)
        count[...] = np.where(better, np.uint16(1), count + same)
        np.minimum(held, tier, out=held)

    def _rank(
        self,
        known: int,
        window: Any,
        better: NDArray[np.bool_],
        same: NDArray[np.bool_],
        new: tuple[NDArray[Any], ...],
    ) -> None:
        self.first.take(
            window, better | (same & self._less(known, new[1], self.first, window)), new
        )

    def result(self) -> MosaicResult:
        """The mosaic of everything added."""
        return MosaicResult(
            reflectance=self.first.values,
            flags=finish_flags(self.first.flags, self.count, self.tier),
            count=clamp_count(self.count),
            tier=self.tier,
            shares=self._shares(),
        )

    def _shares(self) -> dict[str, int]:
        winners = self.first.granule[self.first.granule >= 0]
        pixels = np.bincount(winners, minlength=len(self.granule_ids))
        return {name: int(pixels[i]) for i, name in enumerate(self.granule_ids)}


class DeshadowMosaic(MinMosaic):
    """Between the darkest and the second darkest observation, by the first key band.

    ``w x darkest + (1 - w) x second`` with w = 1 where the second's key is at least 0.2, else
    1 - key / 0.2, kept within 0 to 1: the numbers of the reference's merge_deshadow. A pixel seen
    once keeps its only observation, where the reference fails. Kept in memory: two observations
    per pixel (9 bands of 1024 x 1024: 98 MB).
    """

    bright = np.float32(0.2)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.second = _Rank(self.band_count, self.shape)

    def _key(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(values[self.key_bands[0]])

    def _rank(
        self,
        known: int,
        window: Any,
        better: NDArray[np.bool_],
        same: NDArray[np.bool_],
        new: tuple[NDArray[Any], ...],
    ) -> None:
        darker = same & self._less(known, new[1], self.first, window)
        between = same & ~darker & self._less(known, new[1], self.second, window)
        self.second.take(window, between, new)
        self.second.take(window, darker, self.first.part(window))
        if better.any():  # a better tier begins anew: what stood in second place is worse ground
            nobody = tuple(_Rank(self.band_count, better.shape).part(np.s_[:, :]))
            self.second.take(window, better, nobody)
        self.first.take(window, better | darker, new)

    def result(self) -> MosaicResult:
        """The mosaic of everything added."""
        first, second = self.first, self.second
        two = second.granule >= 0
        for rows in row_blocks(*self.shape):
            weight = np.clip(np.float32(1) - second.key[rows] / self.bright, 0, 1)
            weight = np.where(second.key[rows] >= self.bright, np.float32(1), weight)
            for band in range(self.band_count):
                mixed = weight * first.values[band, rows]
                mixed += (np.float32(1) - weight) * second.values[band, rows]
                blend(first.values[band, rows], mixed, two[rows])
        # Quality bits of either; what the ground is, the darkest says.
        flags = np.where(two, first.flags | (second.flags & QUALITY), first.flags)
        return MosaicResult(
            reflectance=first.values,
            flags=finish_flags(flags.astype(np.uint16), self.count, self.tier),
            count=clamp_count(self.count),
            tier=self.tier,
        )
