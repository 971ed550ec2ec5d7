"""What granules saw of one block, side by side: tiers, who counts where, and common flags."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.mosaic_tiers import (
    NO_TIER,
    QUALITY,
    SURFACE_BITS,
    UNRELIABLE_TIERS,
)
from geoquarry.udfs.ranking import fills

SPARSE = 4
"""Below one pixel in so many, copying pixel by pixel beats masked bit operations (measured on
blocks of 16 x 1024)."""


@dataclass
class View:
    """What one granule saw in one window.

    Attributes
    ----------
    granule : int
        Its place among the sorted granule ids.
    window : (slice, slice)
        Rows and columns of the block.
    values : float32, shape (band, y, x)
    flags : uint16, shape (y, x)
    tier : uint8, shape (y, x)
        Index into `TIERS`; NO_TIER = not observed.
    merit : float32, shape (y, x), or None
        Larger is better.
    used : bool, shape (y, x)
        Set by `Views`: observations of the best tier. A mosaic that uses only some of them narrows
        it down.
    """

    granule: int
    window: tuple[slice, slice]
    values: NDArray[np.float32]
    flags: NDArray[np.uint16]
    tier: NDArray[np.uint8]
    merit: NDArray[np.float32] | None = None
    used: NDArray[np.bool_] = field(init=False)


class Views:
    """All views of a block in the order of their granule ids, so that order cannot matter.

    Parameters
    ----------
    views : sequence of View
        In any order.
    shape : (int, int)
        Of the block.

    Attributes
    ----------
    tier : uint8, shape (y, x)
        The best tier that was found.
    count : uint16, shape (y, x)
        Observations of that tier.
    reliable : bool, shape (y, x)
        The optional bands have values.
    all : list of View
        Those that have an observation of the best tier.
    """

    def __init__(self, views: Sequence[View], shape: tuple[int, int]) -> None:
        ordered = sorted(views, key=lambda v: (v.granule, v.window[0].start, v.window[1].start))
        self.shape = shape
        self.tier = np.full(shape, NO_TIER, np.uint8)
        for view in ordered:
            np.minimum(self.tier[view.window], view.tier, out=self.tier[view.window])
        self.count = np.zeros(shape, np.uint16)
        self.all: list[View] = []
        for view in ordered:
            view.used = (view.tier == self.tier[view.window]) & (view.tier != NO_TIER)
            if view.used.any():
                self.count[view.window] += view.used
                self.all.append(view)
        self.reliable = ~np.isin(self.tier, UNRELIABLE_TIERS)
        self._fills: list[NDArray[np.float32] | None] | None = None

    def choose(self, place: NDArray[np.int32]) -> None:
        """Use one observation per pixel: that of ``all[place]``; none where it is negative."""
        for number, view in enumerate(self.all):
            view.used = place[view.window] == number

    def planes(self, band: int) -> list[NDArray[np.float32]]:
        """One band of all views over the whole block: float32, shape (y, x), ready for a median.

        Filled where a view is not used (`ranking.fills`). An optional band may hold anything where
        it is not reliable.
        """
        if self._fills is None:
            self._fills = fills([self._whole(view.used, view.window) for view in self.all])
        out = []
        for view, fill in zip(self.all, self._fills, strict=True):
            plane = view.values[band]
            if fill is not None:
                plane = np.where(view.used, plane, fill[view.window])
                if plane.shape != self.shape:
                    part, plane = plane, fill.copy()
                    plane[view.window] = part
            out.append(plane)
        return out

    def _whole(self, used: NDArray[np.bool_], window: tuple[slice, slice]) -> NDArray[np.bool_]:
        if used.shape == self.shape:
            return used
        out = np.zeros(self.shape, np.bool_)
        out[window] = used
        return out

    def gather(self, band_count: int) -> NDArray[np.float32]:
        """The observations used, at most one per pixel: float32, shape (band, y, x), else NaN."""
        out = np.full((band_count, *self.shape), np.nan, np.float32)
        for view in self.all:
            few = np.count_nonzero(view.used) * SPARSE < view.used.size
            if not few or view.used.shape != self.shape:
                blend(out[:, *view.window], view.values, view.used)
                continue
            pixels = np.flatnonzero(view.used)
            for band in range(band_count):
                out[band].reshape(-1)[pixels] = view.values[band].reshape(-1)[pixels]
        return out

    def erase(self, reflectance: NDArray[np.float32], optional: Sequence[int]) -> None:
        """NaN in place where nothing was observed; in optional bands where not reliably."""
        nowhere = self.tier == NO_TIER
        for bands, lost in ((range(len(reflectance)), nowhere), (optional, ~self.reliable)):
            if lost.any():
                for band in bands:
                    reflectance[band][lost] = np.nan

    def flags(self) -> NDArray[np.uint16]:
        """Of the observations used: quality bits of any, bits of the ground by majority.

        Where one observation is used, these are its flags.
        """
        out = np.zeros(self.shape, np.uint16)
        votes = np.zeros((len(SURFACE_BITS), *self.shape), np.uint16)
        count = np.zeros(self.shape, np.uint16)
        for view in self.all:
            bits = -view.used.astype(np.int16).view(np.uint16)
            seen = view.flags & bits
            out[view.window] |= seen & QUALITY
            count[view.window] += view.used
            for place, bit in enumerate(SURFACE_BITS):
                found = seen & np.uint16(bit)
                if found.any():
                    votes[place, *view.window] += found != 0
        for place, bit in enumerate(SURFACE_BITS):
            most = 2 * votes[place].astype(np.uint32) > count
            out |= np.where(most, np.uint16(bit), np.uint16(0))
        return out

    def sources(self) -> NDArray[np.int16]:
        """Granule of the observation used, at most one per pixel; -1 = none: int16, (y, x)."""
        out = np.full(self.shape, -1, np.int16)
        for view in self.all:
            np.copyto(out[view.window], np.int16(view.granule), where=view.used)
        return out

    def labels(self, granule_ids: Sequence[str]) -> NDArray[np.int32]:
        """A number for the set of granules used at a pixel, -1 = none: int32, shape (y, x).

        Equal sets have equal numbers; others differ, but for one pair in 2^31.
        """
        total = np.zeros(self.shape, np.uint32)
        seen = np.zeros(self.shape, np.bool_)
        for view in self.all:
            number = np.uint32(_number(granule_ids[view.granule]))
            total[view.window] += number * view.used  # wraps around, the same in any order
            seen[view.window] |= view.used
        return np.where(seen, (total & np.uint32(0x7FFFFFFF)).astype(np.int32), np.int32(-1))

    def pixels(self, granule_ids: Sequence[str]) -> dict[str, int]:
        """Pixels by granule id where the granule is used."""
        out = dict.fromkeys(granule_ids, 0)
        for view in self.all:
            out[granule_ids[view.granule]] += int(np.count_nonzero(view.used))
        return out


def smallest(
    views: Views, keys: Sequence[NDArray[np.float32]], places: int = 1
) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """The observations with the smallest keys at every pixel, best first.

    Parameters
    ----------
    views : Views
    keys : sequence of float32, shape (y, x)
        One per view, no NaN where it is used. Of equal keys the smaller granule id wins.
    places : int
        1 or 2: how many to find.

    Returns
    -------
    found : list of (place, key)
        ``place``: int32, shape (y, x), index into ``views.all``, -1 = nobody; ``key``: float32,
        its key, +inf for nobody.
    """
    rank = [np.full(views.shape, -1, np.int32) for _ in range(places)]
    best = [np.full(views.shape, np.inf, np.float32) for _ in range(places)]
    for number, (view, own) in enumerate(zip(views.all, keys, strict=True)):
        key = np.where(view.used, own, np.float32(np.inf))
        here = [plane[view.window] for plane in (*rank, *best)]
        less = key < here[places]
        if places == 1:
            np.copyto(here[0], np.int32(number), where=less)
            np.minimum(here[1], key, out=here[1])
            continue
        between = (key < here[3]) & ~less
        here[1][...] = np.where(less, here[0], np.where(between, np.int32(number), here[1]))
        here[3][...] = np.where(less, here[2], np.where(between, key, here[3]))
        np.copyto(here[0], np.int32(number), where=less)
        np.copyto(here[2], key, where=less)
    return list(zip(rank, best, strict=True))


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


@cache
def _number(granule_id: str) -> int:
    """32 bits of a hash: fixed for all time, and without pattern."""
    return int.from_bytes(blake2b(granule_id.encode(), digest_size=4).digest(), "little")
