"""What all mosaics share: tiers of quality, windows, and the answer they give.

A mosaic is fed one granule, or one window of a granule, at a time, in any order; the answer is
the same bit for bit. Per pixel only observations of the best tier found there count, so a cloud
never meets a clear view, and where every view is cloudy the map still has no hole: the flags say
what was used.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.udfs.blocks import rows_per_block

TIERS = (
    "clear",
    "saturated",
    "unreliable",
    "shadow",
    "shadow_unreliable",
    "cloud",
    "cloud_unreliable",
)
"""Best first. Saturated values are lower bounds of clear ground; "unreliable" has no values in the
bands that SWIR_UNRELIABLE speaks of, but true ones in the others; a shadow still shows the ground,
a cloud does not. Reliable and unreliable observations never share a tier, so every band of a pixel
has the same observations."""
NO_TIER = 255
SHADOW_TIER = TIERS.index("shadow")
UNRELIABLE_TIERS = tuple(i for i, name in enumerate(TIERS) if "unreliable" in name)
SURFACE_BITS = (f.SNOW, f.WATER)
"""Bits that say what the ground is; decided by majority, all others by "any"."""
QUALITY = np.uint16(~sum(SURFACE_BITS) & 0xFFFF)


def _tier_table() -> NDArray[np.uint8]:
    bits = np.arange(1 << 16, dtype=np.uint32)
    bad = (bits & f.SWIR_UNRELIABLE) != 0
    tier = np.where(bad, 2, np.where((bits & f.SATURATED) != 0, 1, 0))
    tier = np.where((bits & f.SHADOW) != 0, 3 + bad, tier)
    tier = np.where((bits & f.CLOUD) != 0, 5 + bad, tier)
    return np.where((bits & f.NOT_OBSERVED) != 0, NO_TIER, tier).astype(np.uint8)


TIER_OF_FLAGS = _tier_table()
"""Tier by flags value, uint8, shape (65536,)."""


@dataclass(frozen=True)
class MosaicResult:
    """One tile, put together from many granules.

    Attributes
    ----------
    reflectance : float32, shape (band, y, x)
        Unitless; NaN = never observed (or, in unreliable bands, never reliably).
    flags : uint16, shape (y, x)
        CLOUD, SHADOW, SATURATED, SWIR_UNRELIABLE, ATMOSPHERE_CLAMPED: set if any observation
        used has it. SNOW, WATER: set if more than half of them have it. FILLED: only shadow or
        cloud was there. FEW_OBSERVATIONS: a single observation. NOT_OBSERVED: none.
    count : uint8, shape (y, x)
        Observations of the best tier, i.e. those the mosaic chose from; 255 = that many or more.
    tier : uint8, shape (y, x)
        Index into `TIERS`; 255 = never observed.
    shares : dict of str -> int
        Pixels by granule that the granule contributed to; empty where a mosaic cannot tell.
    """

    reflectance: NDArray[np.float32]
    flags: NDArray[np.uint16]
    count: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    shares: dict[str, int] = field(default_factory=dict)


class Mosaic(ABC):
    """Base of the mosaics: `update` any number of times, then `result` once.

    Parameters
    ----------
    band_count : int
    shape : (int, int)
        Height and width of the tile.
    key_bands : (int, int)
        Bands that say how dark a pixel is, the first one mainly.
    optional : sequence of int
        Bands that SWIR_UNRELIABLE speaks of: no values there under that flag.
    spill_dir : str, optional
        Folder for what does not fit ``memory_limit``; a temporary one if needed and not given.
    memory_limit : int
        Bytes of observations kept in memory, where a mosaic has to keep them.
    """

    needs_all = False
    """True where the answer needs all observations at once, not sums or a best one."""

    def __init__(
        self,
        band_count: int,
        shape: tuple[int, int],
        *,
        key_bands: tuple[int, int] = (0, 1),
        optional: Sequence[int] = (),
        spill_dir: str | Path | None = None,
        memory_limit: int = 256 * 1024 * 1024,
    ) -> None:
        self.band_count, self.shape = band_count, shape
        self.key_bands = key_bands
        self.optional = tuple(optional)
        self.spill_dir, self.memory_limit = spill_dir, memory_limit
        self.granule_ids: list[str] = []
        self._required = [b for b in range(band_count) if b not in self.optional]

    def update(
        self,
        granule_id: str,
        reflectance: NDArray[np.float32],
        flags: NDArray[np.uint16],
        row0: int = 0,
        col0: int = 0,
    ) -> None:
        """Add what one granule saw in one window; windows of one granule do not overlap.

        Parameters
        ----------
        granule_id : str
        reflectance : float32, shape (band, y, x)
            NaN = not observed. A pixel counts for all bands or for none, but for bands that its
            flags call unreliable.
        flags : uint16, shape (y, x)
        row0, col0 : int
            Place of the window in the tile.

        Raises
        ------
        InputError
            Shapes disagree, or the window reaches over the tile.
        """
        height, width = flags.shape
        if reflectance.shape != (self.band_count, height, width):
            raise InputError(
                f"Granule {granule_id}: reflectance {reflectance.shape} and flags {flags.shape}; "
                f"expected ({self.band_count}, y, x) and (y, x)."
            )
        if min(row0, col0) < 0 or row0 + height > self.shape[0] or col0 + width > self.shape[1]:
            raise InputError(
                f"Granule {granule_id}: window of {height} x {width} pixels at row {row0}, column "
                f"{col0} reaches over the tile of {self.shape[0]} x {self.shape[1]}."
            )
        if granule_id not in self.granule_ids:
            self.granule_ids.append(granule_id)
        known = self.granule_ids.index(granule_id)
        step = rows_per_block(self.shape[1])
        start = row0
        while start < row0 + height:
            # Blocks begin at multiples of `step`, so blocks of all granules fit on each other.
            stop = min((start // step + 1) * step, row0 + height)
            part = slice(start - row0, stop - row0)
            window = (slice(start, stop), slice(col0, col0 + width))
            self._add_block(known, window, reflectance[:, part], flags[part])
            start = stop

    def _add_block(
        self,
        known: int,
        window: tuple[slice, slice],
        reflectance: NDArray[np.float32],
        flags: NDArray[np.uint16],
    ) -> None:
        tier = TIER_OF_FLAGS.take(flags)
        total = reflectance[self._required[0]].copy()
        for band in self._required[1:]:
            total += reflectance[band]
        optional = np.zeros_like(total)
        for band in self.optional:
            optional += reflectance[band]
        unreliable = (flags & np.uint16(f.SWIR_UNRELIABLE)) != 0
        # NaN and inf survive sums: one test instead of one per band.
        lost = ~np.isfinite(total) | (~np.isfinite(optional) & ~unreliable)
        if lost.any():
            tier[lost] = NO_TIER
        if (tier == NO_TIER).all():
            return
        # + 0 turns -0.0 into 0.0: they are equal, so "which came first" would show in the bits.
        values = reflectance + np.float32(0)
        if self.optional and unreliable.any():
            for band in self.optional:
                values[band][unreliable] = np.nan
        self._add(known, window, values, flags, tier)

    @abstractmethod
    def _add(
        self,
        known: int,
        window: tuple[slice, slice],
        values: NDArray[np.float32],
        flags: NDArray[np.uint16],
        tier: NDArray[np.uint8],
    ) -> None:
        """Take one block; NO_TIER in ``tier`` = not observed. ``values`` may be kept."""

    @abstractmethod
    def result(self) -> MosaicResult:
        """The mosaic of everything added; call once."""

    def close(self) -> None:  # noqa: B027  (only some mosaics hold files)
        """Let go of files; safe to call twice."""


def finish_flags(
    flags: NDArray[np.uint16], count: NDArray[np.uint16], tier: NDArray[np.uint8]
) -> NDArray[np.uint16]:
    """Add the bits every mosaic sets in the same way: FILLED, FEW_OBSERVATIONS, NOT_OBSERVED.

    >>> finish_flags(np.zeros(3, np.uint16), np.array([2, 1, 0], np.uint16),
    ...              np.array([0, 5, 255], np.uint8)).tolist()
    [0, 2176, 32768]
    """
    observed = tier != NO_TIER
    out = flags & np.uint16(~f.NOT_OBSERVED & 0xFFFF)
    out |= np.where(observed & (tier >= SHADOW_TIER), np.uint16(f.FILLED), np.uint16(0))
    out |= np.where(observed & (count < 2), np.uint16(f.FEW_OBSERVATIONS), np.uint16(0))
    return np.where(observed, out, np.uint16(f.NOT_OBSERVED)).astype(np.uint16)


def clamp_count(count: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Counts as stored: uint8, 255 = that many or more.

    >>> clamp_count(np.array([3, 300], np.uint16)).tolist()
    [3, 255]
    """
    return np.minimum(count, 255).astype(np.uint8)


def blend(target: NDArray[Any], source: NDArray[Any], mask: NDArray[np.bool_]) -> None:
    """``target = where(mask, source, target)`` in place, by bit operations: 4 x a masked copy.

    Both float32 (or int32), the same shape; the last axes are those of ``mask``.

    >>> a = np.float32([1, 2]); blend(a, np.float32([8, 9]), np.array([True, False])); a.tolist()
    [8.0, 2.0]
    """
    bits = -mask.astype(np.int32)
    ours, theirs = target.view(np.int32), source.view(np.int32)
    for place in np.ndindex(*target.shape[: target.ndim - mask.ndim]):
        change = ours[place] ^ theirs[place]
        change &= bits
        ours[place] ^= change
