"""The `mean` mosaic: in integers, so that order cannot matter."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.mosaic_base import (
    NO_TIER,
    QUALITY,
    SURFACE_BITS,
    UNRELIABLE_TIERS,
    Mosaic,
    MosaicResult,
    clamp_count,
    finish_flags,
)

FIXED_POINT = 2.0**24
"""Counts per unit reflectance in the sums: each value is off by at most 3e-8."""


class MeanMosaic(Mosaic):
    """Mean of the observations of the best tier.

    Sums are integers (reflectance x 2^24), so any order and batching give the same bits; against
    exact arithmetic the mean is off by at most 3e-8 plus its rounding to float32. Kept in memory:
    sums (9 bands of 1024 x 1024: 75 MB), and 9 MB of counts and flags.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sums = np.zeros((self.band_count, *self.shape), np.int64)
        self.tier = np.full(self.shape, NO_TIER, np.uint8)
        self.count = np.zeros(self.shape, np.uint16)
        self.quality = np.zeros(self.shape, np.uint16)
        self.surface = np.zeros((len(SURFACE_BITS), *self.shape), np.uint16)

    def _add(
        self,
        known: int,
        window: tuple[slice, slice],
        values: NDArray[np.float32],
        flags: NDArray[np.uint16],
        tier: NDArray[np.uint8],
    ) -> None:
        held, count, quality = self.tier[window], self.count[window], self.quality[window]
        better = (tier < held) & (held != NO_TIER)
        if better.any():  # what was summed so far is of a worse tier
            keep = ~better
            self.sums[:, *window] *= keep
            self.surface[:, *window] *= keep
            count *= keep
            quality *= keep
        np.minimum(held, tier, out=held)
        used = (tier == held) & (tier != NO_TIER)
        count += used
        np.bitwise_or(quality, flags & QUALITY, out=quality, where=used)
        for place, bit in enumerate(SURFACE_BITS):
            found = flags & np.uint16(bit)
            if found.any():
                self.surface[place, *window] += used & (found != 0)
        bits = -used.astype(np.int32)
        unreliable = (flags & np.uint16(f.SWIR_UNRELIABLE)) != 0
        for band in range(self.band_count):
            own = bits
            if band in self.optional and unreliable.any():
                own = -(used & ~unreliable).astype(np.int32)
            value = (values[band].view(np.int32) & own).view(np.float32)  # NaN to 0 where unused
            value *= np.float32(FIXED_POINT)
            self.sums[band, *window] += np.rint(value, out=value).astype(np.int64)

    def result(self) -> MosaicResult:
        """The mosaic of everything added."""
        reflectance = np.empty((self.band_count, *self.shape), np.float32)
        for rows in row_blocks(*self.shape):
            with np.errstate(divide="ignore"):
                share = 1 / (self.count[rows] * FIXED_POINT)
            seen = self.count[rows] > 0
            reliable = seen & ~np.isin(self.tier[rows], UNRELIABLE_TIERS)
            for band in range(self.band_count):
                valid = reliable if band in self.optional else seen
                mean = np.multiply(self.sums[band, rows], np.where(valid, share, np.nan))
                reflectance[band, rows] = mean
        flags = self.quality
        for place, bit in enumerate(SURFACE_BITS):
            most = 2 * self.surface[place].astype(np.uint32) > self.count
            flags = flags | np.where(most, np.uint16(bit), np.uint16(0))
        return MosaicResult(
            reflectance=reflectance,
            flags=finish_flags(flags, self.count, self.tier),
            count=clamp_count(self.count),
            tier=self.tier,
        )
