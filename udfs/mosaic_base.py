"""What all mosaics share: how they are fed, and the answer they give.

A mosaic is fed one granule, or one window of a granule, at a time, in any order; the answer is
the same bit for bit. Per pixel only observations of the best tier found there count, so a cloud
never meets a clear view, and where every view is cloudy the map still has no hole: the flags say
what was used. It keeps what it is fed until `result`: give it a block of rows, not a whole tile
of many granules.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.udfs.mosaic_tiers import NO_TIER, TIER_OF_FLAGS, clamp_count, finish_flags
from geoquarry.udfs.mosaic_views import View, Views


@dataclass(frozen=True)
class MosaicResult:
    """One block, put together from many granules.

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
    label : int32, shape (y, x)
        Changes where the granules that made a pixel change: ``source`` where there is one, else a
        number for the set of granules; -1 = never observed.
    shares : dict of str -> int
        Pixels by granule id that the granule contributed to.
    source : int16, shape (y, x), or None
        Index into the mosaic's granule ids of the granule that a pixel comes from; -1 = never
        observed. None where pixels are mixed from several.
    """

    reflectance: NDArray[np.float32]
    flags: NDArray[np.uint16]
    count: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    label: NDArray[np.int32]
    shares: dict[str, int]
    source: NDArray[np.int16] | None = None


class Mosaic(ABC):
    """Base of the mosaics: `update` any number of times, then `result` once.

    Parameters
    ----------
    band_count : int
    shape : (int, int)
        Height and width of the block.
    granule_ids : sequence of str
        Sorted, without doubles: all that may come, of the whole tile. Ties go to the smaller one.
    key_bands : (int, int)
        Bands that say how dark a pixel is, the first one mainly.
    optional : sequence of int
        Bands that SWIR_UNRELIABLE speaks of: no values there under that flag.

    Raises
    ------
    InputError
        Granule ids out of order, or too many for a source band.
    """

    has_source = False
    """True where every pixel is a real observation of one granule."""

    def __init__(
        self,
        band_count: int,
        shape: tuple[int, int],
        granule_ids: Sequence[str],
        *,
        key_bands: tuple[int, int] = (0, 1),
        optional: Sequence[int] = (),
    ) -> None:
        if any(a >= b for a, b in pairwise(granule_ids)):
            raise InputError("A mosaic's granule ids must be sorted and without doubles.")
        if len(granule_ids) > np.iinfo(np.int16).max:
            raise InputError(f"{len(granule_ids)} granules in one tile; at most 32767 can be told.")
        self.band_count, self.shape = band_count, shape
        self.granule_ids = list(granule_ids)
        self.key_bands = key_bands
        self.optional = tuple(optional)
        self._place = {name: place for place, name in enumerate(self.granule_ids)}
        self._required = [b for b in range(band_count) if b not in self.optional]
        self._views: list[View] = []

    def update(
        self,
        granule_id: str,
        reflectance: NDArray[np.float32],
        flags: NDArray[np.uint16],
        row0: int = 0,
        col0: int = 0,
        merit: NDArray[np.float32] | None = None,
    ) -> None:
        """Add what one granule saw in one window; windows of one granule do not overlap.

        Arrays are kept, not copied, and never changed: leave them alone until `result`.

        Parameters
        ----------
        granule_id : str
            One of ``granule_ids``.
        reflectance : float32, shape (band, y, x)
            NaN = not observed. A pixel counts for all bands or for none, but for bands that its
            flags call unreliable.
        flags : uint16, shape (y, x)
        row0, col0 : int
            Place of the window in the block.
        merit : float32, shape (y, x), optional
            Larger is better; what `best` goes by.

        Raises
        ------
        InputError
            An unknown granule, shapes disagree, or the window reaches over the block.
        """
        height, width = flags.shape
        if granule_id not in self._place:
            raise InputError(f"Granule {granule_id!r} is not among the mosaic's granule ids.")
        if reflectance.shape != (self.band_count, height, width) or (
            merit is not None and merit.shape != flags.shape
        ):
            raise InputError(
                f"Granule {granule_id}: reflectance {reflectance.shape}, flags {flags.shape}, "
                f"merit {None if merit is None else merit.shape}; "
                f"expected ({self.band_count}, y, x) and (y, x)."
            )
        if min(row0, col0) < 0 or row0 + height > self.shape[0] or col0 + width > self.shape[1]:
            raise InputError(
                f"Granule {granule_id}: window of {height} x {width} pixels at row {row0}, column "
                f"{col0} reaches over the block of {self.shape[0]} x {self.shape[1]}."
            )
        tier = self._tier(reflectance, flags)
        if (tier == NO_TIER).all():
            return
        window = (slice(row0, row0 + height), slice(col0, col0 + width))
        self._views.append(View(self._place[granule_id], window, reflectance, flags, tier, merit))

    def _tier(
        self, reflectance: NDArray[np.float32], flags: NDArray[np.uint16]
    ) -> NDArray[np.uint8]:
        tier: NDArray[np.uint8] = TIER_OF_FLAGS.take(flags)
        # NaN and inf survive sums: one test instead of one per band.
        total = reflectance[self._required[0]].copy()
        for band in self._required[1:]:
            total += reflectance[band]
        lost = ~np.isfinite(total)
        if self.optional:
            np.copyto(total, reflectance[self.optional[0]])
            for band in self.optional[1:]:
                total += reflectance[band]
            lost |= ~np.isfinite(total) & ((flags & np.uint16(f.SWIR_UNRELIABLE)) == 0)
        if lost.any():
            tier[lost] = NO_TIER
        return tier

    def result(self) -> MosaicResult:
        """The mosaic of everything added; call once."""
        views = Views(self._views, self.shape)
        self._views = []
        # Bands that cannot be trusted may hold anything; they become NaN below.
        with np.errstate(invalid="ignore", over="ignore"):
            reflectance, flags = self._merge(views)
        views.erase(reflectance, self.optional)
        # 0.0 and -0.0 are equal, so which of them wins a comparison is up to the machine.
        reflectance += np.float32(0)
        source = views.sources() if self.has_source else None
        return MosaicResult(
            reflectance=reflectance,
            flags=finish_flags(flags, views.count, views.tier),
            count=clamp_count(views.count),
            tier=views.tier,
            label=views.labels(self.granule_ids) if source is None else source.astype(np.int32),
            shares=views.pixels(self.granule_ids),
            source=source,
        )

    @abstractmethod
    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """Reflectance, and flags of what it was made of.

        Values are of no concern where nothing was observed, and in the optional bands where they
        are not reliable. `View.used` must be left true for what went into a pixel, and no more.
        """
