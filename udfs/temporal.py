"""The temporal test: several views of one place settle what is a cloud there, and what is not.

Salt, gypsum, bright sand and snow look like cloud in a single granule without a thermal band; but
they look the same every time, and clouds do not. So where three or more observations agree in all
bands that are compared, they show the ground, and a CLOUD flag among them was an error (a bright
surface, or the safety margin around a cloud). And what stands out from ground that is known in
this way is a cloud that the mask has missed, if it is much brighter, or a shadow, if it is much
darker.

Every pixel is judged by its own observations alone, so it does not matter how a tile is cut.
Nothing is found where all observations differ: below three, where plants grow or snow melts.

All limits are ours, set on simulated scenes, whose ground changes little from one to the other
and whose clouds are all alike. Real ground changes more (it is found less often) and so do real
clouds (they agree less often); neither was measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.udfs.ranking import sorted_stack

_UNUSABLE = np.uint16(f.NOT_OBSERVED | f.SHADOW)
_VOTELESS = _UNUSABLE | np.uint16(f.SATURATED)
_UNCLEAR = _VOTELESS | np.uint16(f.CLOUD)
Vector = NDArray[np.float32]
View = tuple[NDArray[np.float32], NDArray[np.uint16], tuple[slice, slice]]
"""Values, flags and window of one granule."""
CHUNK = 16384
"""Values of one band looked at together: all that is made of them stays in a core's cache."""
FEWEST_PIXELS = 2048
"""But not fewer pixels than this, or the work is mostly in finding them."""

FEWEST = 3
"""Observations that must agree."""
SHARE = 5
"""And at least one in so many of those at the pixel, so that in a long series the few darkest are
not taken for the ground."""
GROUP_SIZES = (3, 4, 6, 9, 14, 21, 32, 48, 72)
"""Group sizes in use: the largest one that is not above the share (so that few are tried)."""
TOLERANCE = (0.012, 0.06)
"""Absolute, and relative: two observations of one ground differ from their middle by less, with
what sun, air and season do to it."""
LIT = {"green": 0.2, "swir16": 0.12}
"""Ground that is as bright as this in one of the bands is not in a shadow. Where it is darker in
all, at least one of those who agree must be without a flag: around clouds there are shadows, and
they agree, too."""
CLOUD_RISE = {"green": (0.06, 0.2), "red": (0.05, 0.15), "nir": (0.0, 0.0), "swir16": (0.0, -0.4)}
"""A missed cloud is brighter than the ground by more than (absolute, relative), by role; in the
SWIR it may be darker than bright ground, but not as much as fresh snow."""
SHADOW_RATIO = {"green": 0.75, "red": 0.65, "nir": 0.5, "swir16": 0.45}
"""A missed shadow is darker than this part of the ground; the sky lights it, and the sky is blue,
so the SWIR is darkest. Wet ground keeps more."""


def settle(
    values: Sequence[NDArray[np.float32]],
    flags: Sequence[NDArray[np.uint16]],
    windows: Sequence[tuple[slice, slice]],
    shape: tuple[int, int],
    roles: Mapping[str, int],
) -> list[NDArray[np.uint16]]:
    """Correct the flags of one block by what its granules agree on.

    Parameters
    ----------
    values : sequence of float32, shape (band, y, x)
        Surface reflectance of each granule in its window, NaN = not observed.
    flags : sequence of uint16, shape (y, x)
    windows : sequence of (slice, slice)
        Rows and columns of the block that each granule covers.
    shape : (int, int)
        Of the block.
    roles : mapping of str -> int
        Bands to compare: ``green`` and ``red``; ``nir`` and ``swir16`` where the sensor has them.

    Returns
    -------
    flags : list of uint16, shape (y, x)
        CLOUD cleared or set, SHADOW set; all other bits as they were. Arrays that did not change
        are the ones given. Sums follow the order of the granules: give them sorted.

    Examples
    --------
    >>> seen = [np.full((2, 1, 1), rho, np.float32) for rho in (0.60, 0.61, 0.62)]
    >>> bits = [np.full((1, 1), bit, np.uint16) for bit in (0, f.CLOUD, f.CLOUD)]
    >>> window = (slice(0, 1), slice(0, 1))
    >>> [int(new[0, 0]) for new in settle(seen, bits, [window] * 3, (1, 1),
    ...                                   {"green": 0, "red": 1})]
    [0, 0, 0]
    """
    if len(flags) < FEWEST:
        return list(flags)
    views = list(zip(values, flags, windows, strict=True))
    places = _doubtful(views, shape, roles)
    changes = np.zeros((len(views), places.size), np.uint16)
    step = max(CHUNK // len(views), FEWEST_PIXELS)
    for start in range(0, places.size, step):
        part = slice(start, start + step)
        seen = _Seen(views, shape, roles, places[part])
        changes[:, part] = _Ground(seen).changes(seen)
    out = []
    for bits, window, change in zip(flags, windows, changes, strict=True):
        if change.any():
            whole = np.zeros(shape, np.uint16)
            whole.reshape(-1)[places] = change
            bits = bits ^ whole[window]
        out.append(bits)
    return out


def _doubtful(
    views: Sequence[View], shape: tuple[int, int], roles: Mapping[str, int]
) -> NDArray[np.intp]:
    """Pixels where the test may change something: the others need no work."""
    count, cloudy = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    low, high = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    for values, bits, window in views:
        count[window] += (bits & _VOTELESS) == 0
        cloudy[window] |= bits
        plain = values[roles["green"]]
        clear = (bits & _UNCLEAR) == 0
        if not clear.all():
            plain = np.where(clear, plain, np.float32(np.nan))
        np.fmin(low[window], plain, out=low[window])
        np.fmax(high[window], plain, out=high[window])
    rise, ratio = CLOUD_RISE["green"], np.float32(SHADOW_RATIO["green"])
    apart = high - low > np.float32(rise[0]) + np.float32(rise[1]) * low
    apart |= low < ratio * high
    apart |= (cloudy & np.uint16(f.CLOUD)) != 0
    return np.flatnonzero((count >= FEWEST) & apart)


class _Seen:
    """Observations of some pixels, all granules: arrays of shape (granule, pixel).

    ``usable``: neither lost, nor saturated, nor in a shadow; ``full``: saturated, but otherwise
    usable; ``clear``: usable and no cloud; ``counts``: whose value counts, by role, where it is
    not all (SWIR that cannot be believed).
    """

    def __init__(
        self,
        views: Sequence[View],
        shape: tuple[int, int],
        roles: Mapping[str, int],
        places: NDArray[np.intp],
    ) -> None:
        size = (len(views), places.size)
        self.flags = np.empty(size, np.uint16)
        self.bands = {role: np.empty(size, np.float32) for role in roles}
        for number, (values, bits, window) in enumerate(views):
            _pick(bits, window, shape, places, self.flags[number], f.NOT_OBSERVED)
            for role, band in roles.items():
                _pick(values[band], window, shape, places, self.bands[role][number], np.nan)
        seen = ((self.flags & _UNUSABLE) == 0) & np.isfinite(self.bands["green"])
        saturated = (self.flags & np.uint16(f.SATURATED)) != 0
        self.usable, self.full = seen & ~saturated, seen & saturated
        self.clear = self.usable & ((self.flags & np.uint16(f.CLOUD)) == 0)
        trusted = (self.flags & np.uint16(f.SWIR_UNRELIABLE)) == 0
        self.counts = {role: trusted for role in roles if role.startswith("swir")}


class _Ground:
    """What the observations agree on: the darkest group of enough alike.

    ``level``: role -> mean of the group; ``members``: who agrees in all roles; ``found``: enough
    do, and few are darker; ``known``: so many of them without a flag that others can be judged.
    """

    def __init__(self, seen: _Seen) -> None:
        green = seen.bands["green"]
        size = group_size(_count(seen.usable))
        centre = _darkest_group(np.where(seen.usable, green, np.float32(np.inf)), size)
        self.level: dict[str, Vector] = {}
        with np.errstate(invalid="ignore"):
            width = _tolerance(centre)
            near = seen.usable & (np.abs(green - centre) <= width)
            darker = seen.usable & (green < centre - width)
            self.members = near | seen.full
            for role, values in seen.bands.items():
                counts = seen.counts.get(role)
                level = self.level[role] = _mean(values, near if counts is None else near & counts)
                apart = values - level
                # What a full detector shows is a lower limit: the truth may be brighter.
                if role not in seen.counts:
                    apart = np.where(seen.full, np.maximum(apart, 0), apart)
                agrees = np.abs(apart) <= _tolerance(level)
                self.members &= agrees if counts is None else agrees | ~counts
        alike = _count(self.members & seen.usable)
        plain = _count(self.members & seen.clear)
        below, fallen = _count(darker), _count(darker & seen.clear)
        self.known = (alike >= size) & (plain >= size) & (fallen < plain)
        self.found = (alike >= size) & (3 * below < alike)
        self.found &= 3 * fallen < np.maximum(np.maximum(plain, alike // 4), 1)
        lit = plain > 0
        for role, level in self.level.items():
            if role in LIT:
                lit |= level >= np.float32(LIT[role])
        self.found = (self.found & lit) | self.known

    def changes(self, seen: _Seen) -> NDArray[np.uint16]:
        """Bits that must be turned over: uint16, shape (granule, pixel)."""
        out = seen.flags & np.uint16(f.CLOUD)
        out *= self.found & self.members
        if not self.known.any():
            return out
        judged = self.known & seen.clear
        cloud = judged & ((seen.flags & np.uint16(f.SNOW)) == 0)
        shadow = judged & ((seen.flags & np.uint16(f.WATER)) == 0)
        for role, level in self.level.items():
            values, counts = seen.bands[role], seen.counts.get(role)
            rise, drop = CLOUD_RISE[role], np.float32(SHADOW_RATIO[role])
            with np.errstate(invalid="ignore"):
                least = level + np.float32(rise[0]) + np.float32(rise[1]) * level
                above, below = values > least, values < drop * level
            cloud &= above if counts is None else above | ~counts
            shadow &= below if counts is None else below | ~counts
        out += cloud * np.uint16(f.CLOUD)
        out += shadow * np.uint16(f.SHADOW)
        return out


def group_size(total: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """How many must agree, of so many observations: uint16, same shape.

    >>> group_size(np.array([2, 3, 19, 20, 31, 1000], np.uint16)).tolist()
    [3, 3, 3, 4, 6, 72]
    """
    table = np.array(GROUP_SIZES, np.uint16)
    place = np.searchsorted(table, total // SHARE, side="right") - 1
    return table[np.maximum(place, 0)]


def _darkest_group(green: NDArray[np.float32], size: NDArray[np.uint16]) -> Vector:
    """Middle of the darkest ``size`` values within tolerance; NaN = there are none."""
    order = sorted_stack(green)
    widest = order + 2 * _tolerance(order)
    centre = np.full(size.shape, np.nan, np.float32)
    for wanted in np.flatnonzero(np.bincount(size, minlength=1)):
        here = size == wanted
        columns = slice(None) if here.all() else np.flatnonzero(here)
        low, limit = order[:, columns], widest[:, columns]
        middle = np.full(low.shape[1], np.nan, np.float32)
        for first in range(len(low) - wanted, -1, -1):  # the darkest comes last, and stays
            high = low[first + wanted - 1]
            dense = (high <= limit[first]) & (high < np.float32(np.inf))
            middle = np.where(dense, low[first + (wanted - 1) // 2], middle)
        centre[columns] = middle
    return centre


def _pick(
    plane: NDArray[Any],
    window: tuple[slice, slice],
    shape: tuple[int, int],
    places: NDArray[np.intp],
    out: NDArray[Any],
    none: float,
) -> None:
    """Some pixels of a block, given what lies in a window of it."""
    if plane.shape != shape:
        whole = np.full(shape, none, plane.dtype)
        whole[window] = plane
        plane = whole
    np.take(plane.reshape(-1), places, out=out, mode="clip")  # "clip" needs no buffer


def _tolerance(level: NDArray[np.float32]) -> NDArray[np.float32]:
    base, share = (np.float32(x) for x in TOLERANCE)
    return base + share * np.abs(level)


def _mean(values: NDArray[np.float32], use: NDArray[np.bool_]) -> Vector:
    """Mean over the granules of some values, added one after the other; NaN = none."""
    total = np.zeros(use.shape[1], np.float32)
    for kept in np.where(use, values, np.float32(0)):
        total += kept
    return np.divide(total, _count(use), dtype=np.float32)


def _count(masks: NDArray[np.bool_]) -> NDArray[np.uint16]:
    total: NDArray[np.uint16] = masks.sum(axis=0, dtype=np.uint16)
    return total
