"""Harmonise granules: one gain and offset per granule and band, so that they agree where they meet.

The equations are between granules, never between pixels: fitting the pixels of all granules to
each other would shrink all gains towards zero, since zero agrees with itself best.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.overlap import PairSums, merge
from geoquarry.udfs.pair_equations import Equations, Floats, Pairs

OFFSET_SIGMA, OFFSET_UM, OFFSET_POWER = 0.02, 0.55, 1.3
"""How far an offset may be off before others are asked: what haze adds falls off with the
wavelength. Size and exponent are ours, set on simulated scenes."""
GAIN_RANGE = 0.5, 2.0
OFFSET_LIMIT = 0.1
GAIN_DIGITS, OFFSET_DIGITS = 5, 6
"""Answers are rounded to these, so that no platform's last bits reach a pixel."""
DOUBTED = 0.5
"""Pairs trusted less than this are reported."""


@dataclass(frozen=True)
class Harmony:
    """What makes granules agree: gain x reflectance + offset.

    Attributes
    ----------
    granule_ids : tuple of str
        Sorted.
    gain, offset : float64, shape (granule, band)
        Rounded; exactly 1 and 0 where nothing is known.
    component : int32, shape (granule,)
        Granules of one number are connected by common ground.
    pixels : int64, shape (granule,)
        Common pixels, summed over a granule's pairs, of the band that has most.
    figures : dict
        JSON-safe. ``rms_before``, ``rms_after``: difference of pairs per band, unit reflectance
        (None: nothing in common); ``pairs_used``, ``pairs_ignored`` (too few pixels),
        ``pairs_doubted`` (changed ground), ``sets``, ``granules``, ``granules_alone``,
        ``limited`` (gains or offsets at a limit).
    """

    granule_ids: tuple[str, ...]
    gain: Floats
    offset: Floats
    component: NDArray[np.int32]
    pixels: NDArray[np.int64]
    figures: dict[str, Any]

    def of(self, granule_id: str) -> tuple[Floats, Floats]:
        """Gain and offset of one granule: float64, shape (band,) each.

        Raises
        ------
        InputError
            No such granule.
        """
        place = bisect_left(self.granule_ids, granule_id)
        if self.granule_ids[place : place + 1] != (granule_id,):
            raise InputError(
                f"Granule {granule_id!r} is not among the {len(self.granule_ids)} that were "
                "harmonised. Harmonise again with all granules."
            )
        return self.gain[place], self.offset[place]


def solve(sums: PairSums, wavelengths_um: Sequence[float]) -> Harmony:
    """Gains and offsets that make granules agree on common ground.

    Per pair and band there are two equations: gains go as the inverse of standard deviations
    (both granules have errors, so neither is regressed on the other), and means become equal.
    Per granule and band two more: gain 1, offset 0. All are robust: a pair whose ground has
    changed counts less, in all bands, and so does the wish to stay of a granule that is off. In
    the end each connected set is scaled and shifted as a whole, so that its middle stays.

    Parameters
    ----------
    sums : PairSums
        Of any number of tiles, merged.
    wavelengths_um : sequence of float
        Middle of each band.

    Raises
    ------
    InputError
        Another number of bands.

    Examples
    --------
    >>> from geoquarry.udfs.overlap import Overlap
    >>> seen, good = np.arange(1000, 3000, 20).reshape(1, 10, 10), np.ones((10, 10), bool)
    >>> overlap = Overlap(["a", "b"], 1)
    >>> overlap.update([(seen, good), (seen * 11 // 10, good)])
    >>> gain = solve(overlap.result(), [0.56]).gain[:, 0]
    >>> round(float(gain[0] / gain[1]), 2)
    1.1
    """
    sums = merge([sums])
    count, bands = len(sums.granule_ids), sums.sums.shape[1]
    if len(wavelengths_um) != bands:
        raise InputError(
            f"Harmonising: {bands} bands in the sums, {len(wavelengths_um)} wavelengths found. "
            "Give one per band."
        )
    pairs = Pairs(sums)
    middle_um = np.asarray(wavelengths_um, np.float64)
    equations = Equations(pairs, count, OFFSET_SIGMA * (OFFSET_UM / middle_um) ** OFFSET_POWER)
    equations.solve()
    pixels, mean = _seen(pairs, count)
    gain, offset = np.exp(equations.log_gain), equations.offset
    for band in range(bands):
        sets = _sets(pairs.i, pairs.j, pairs.n[:, band] > 0, count)
        weight = pixels[:, band] * equations.own_trust
        scale = np.exp(-_average(np.log(gain[:, band]), weight, sets))
        gain[:, band] *= scale
        offset[:, band] *= scale
        moved = (gain[:, band] - 1) * mean[:, band] + offset[:, band]
        offset[:, band] -= _average(moved, weight, sets)
    known = pixels > 0
    gain, offset, limited = _limited(np.where(known, gain, 1), np.where(known, offset, 0), mean)
    component = _sets(pairs.i, pairs.j, np.ones(len(pairs.i), bool), count)
    one, zero = np.ones_like(gain), np.zeros_like(offset)
    figures = {
        "rms_before": pairs.rms(one, zero),
        "rms_after": pairs.rms(gain, offset),
        "pairs_used": len(pairs.i),
        "pairs_ignored": pairs.ignored,
        "pairs_doubted": int((equations.pair_trust < DOUBTED).sum()),
        "granules": count,
        "granules_alone": int((~known.any(axis=1)).sum()),
        "sets": int(component.max(initial=-1)) + 1,
        "limited": limited,
    }
    best = pixels.max(axis=1, initial=0).astype(np.int64)
    return Harmony(sums.granule_ids, gain, offset, component, best, figures)


def _seen(pairs: Pairs, count: int) -> tuple[Floats, Floats]:
    """Common pixels of each granule, and its mean reflectance over them: (granule, band)."""
    pixels, total = (np.zeros((count, pairs.n.shape[1])) for _ in range(2))
    for at, mean in ((pairs.i, pairs.mean_i), (pairs.j, pairs.mean_j)):
        np.add.at(pixels, at, pairs.n)
        np.add.at(total, at, pairs.n * mean)
    return pixels, total / np.maximum(pixels, 1)


def _sets(
    i: NDArray[np.int64], j: NDArray[np.int64], linked: NDArray[np.bool_], count: int
) -> NDArray[np.int32]:
    """Number of the connected set of each granule."""
    links = np.ones(int(linked.sum()))
    graph = sparse.csr_matrix((links, (i[linked], j[linked])), shape=(count, count))
    _, sets = connected_components(graph, directed=False)
    return np.asarray(sets, np.int32)


def _average(values: Floats, weight: Floats, sets: NDArray[np.int32]) -> Floats:
    """Weighted mean over the set of each granule; 0 where nothing has weight."""
    total = np.bincount(sets, weight * values)
    norm = np.bincount(sets, weight)
    found: Floats = (total / np.where(norm > 0, norm, 1))[sets]
    return found


def _limited(gain: Floats, offset: Floats, mean: Floats) -> tuple[Floats, Floats, int]:
    """Within limits and rounded; a gain that is held back leaves its level to the offset."""
    held = np.clip(gain, *GAIN_RANGE)
    offset = offset + (gain - held) * mean
    kept = np.clip(offset, -OFFSET_LIMIT, OFFSET_LIMIT)
    limited = int(((held != gain) | (kept != offset)).sum())
    # Adding 0 turns -0.0 into 0.0: equal answers are equal bits.
    return np.round(held, GAIN_DIGITS), np.round(kept, OFFSET_DIGITS) + 0.0, limited
