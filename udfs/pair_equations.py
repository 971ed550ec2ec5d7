"""Equations between pairs of granules, and their robust solution for thousands at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from geoquarry.udfs.overlap import COUNTS_PER_UNIT, PairSums

Floats = NDArray[np.float64]

LEAST_PIXELS = 30
"""Pairs with fewer common pixels say nothing."""
MOST_INDEPENDENT = 400
"""Pixels that count as independent at most: neighbours see the same haze and the same slopes."""
LEAST_LIKENESS = 0.05
"""Correlations below are taken as this: such a pair says nothing about gains."""
SLOPE_FLOOR, SLOPE_NOISE = 0.005, 1.0
"""Uncertainty of a ratio of gains: at least the first; plus the second times (1 - r) / r, since
one granule may carry more of the noise than the other, which widens its values."""
LEVEL_FLOOR, LEVEL_SHARE = 0.002, 0.01
"""Uncertainty of a difference of means: the first, plus the second times the mean."""
GAIN_SIGMA = 0.1
"""How far a gain may be off before others are asked."""
PAIR_LIMIT = 2
"""Sigmas beyond which a pair counts less, in all bands: its ground has changed."""
OWN_LIMIT = 0.1
"""Sigmas beyond which a granule's own wish to stay as it is counts less, in all bands: one bad
granule moves to the others, not they to it."""
ROUNDS, STEPS = 40, 500
SETTLED, SOLVED = 1e-7, 1e-8
"""Largest change of a log gain in the last round; what is left of the linear equations, per
unknown. Both are far below the rounding of the answers."""


class Pairs:
    """What pairs say, with its uncertainty; arrays of shape (pair, band) unless noted.

    Parameters
    ----------
    sums : PairSums

    Attributes
    ----------
    i, j : int64, shape (pair,)
        The two granules.
    n : float64
        Common pixels; 0 where there are too few.
    mean_i, mean_j : float64
        Mean reflectance over them.
    log_ratio : float64
        What log gain of i minus log gain of j should be.
    slope_weight, level_weight : float64
        1 / variance of the two equations; 0 where there is none.
    ignored : int
        Pairs left out.
    """

    def __init__(self, sums: PairSums) -> None:
        enough = sums.sums[:, :, 0] >= LEAST_PIXELS
        kept = enough.any(axis=1)
        self.ignored = int((~kept).sum())
        self.i, self.j = sums.pairs[kept].T.astype(np.int64)
        self._sums = sums.sums[kept] * enough[kept, :, None]
        self.n = self._sums[:, :, 0].astype(np.float64)
        used, n = self.n > 0, np.maximum(self.n, 1)
        unit = COUNTS_PER_UNIT
        i, j, ii, jj, ij = (self._sums[:, :, k] / n for k in range(1, 6))
        # A variance of one count squared stands for a perfectly flat area.
        var_i, var_j = np.maximum(ii - i * i, 1.0), np.maximum(jj - j * j, 1.0)
        common = ij - i * j
        r = np.clip(common / np.sqrt(var_i * var_j), LEAST_LIKENESS, 1.0)
        independent = np.minimum(n, MOST_INDEPENDENT)
        self.log_ratio = 0.5 * np.log(var_j / var_i)
        # Bivariate normal values give log(sd_j / sd_i) the variance (1 - r^2) / n.
        slope = (1 - r * r) / (r * r * independent)
        slope += (SLOPE_NOISE * (1 - r) / r) ** 2 + SLOPE_FLOOR**2
        self.slope_weight = used / slope
        self.mean_i, self.mean_j = i / unit, j / unit
        scatter = np.maximum(var_i + var_j - 2 * common, 0) / independent / unit**2
        floor = LEVEL_FLOOR + LEVEL_SHARE * np.abs(self.mean_i + self.mean_j) / 2
        self.level_weight = used / (scatter + floor**2)

    def rms(self, gain: Floats, offset: Floats) -> list[float | None]:
        """Root mean square difference over all common pixels per band, unit reflectance.

        Parameters
        ----------
        gain, offset : float64, shape (granule, band)
        """
        n, i, j, ii, jj, ij = np.moveaxis(self._sums.astype(np.float64), -1, 0)
        a, b = gain[self.i], gain[self.j]
        shift = (offset[self.i] - offset[self.j]) * COUNTS_PER_UNIT
        total = a * a * ii + b * b * jj - 2 * a * b * ij + shift * (2 * (a * i - b * j) + n * shift)
        pixels = n.sum(axis=0)
        mean = np.maximum(total.sum(axis=0), 0) / np.maximum(pixels, 1)
        found = np.sqrt(mean) / COUNTS_PER_UNIT
        return [round(float(x), 6) if p else None for x, p in zip(found, pixels, strict=True)]


class Equations:
    """All equations of one set of sums: two per pair and band, two per granule and band.

    Parameters
    ----------
    pairs : Pairs
    granules : int
    offset_sigma : float64, shape (band,)
        How far an offset may be off before others are asked.

    Attributes
    ----------
    log_gain, offset : float64, shape (granule, band)
        The solution, once solved.
    pair_trust, own_trust : float64, shape (pair,) and (granule,)
        Robust weights, 0..1.
    """

    def __init__(self, pairs: Pairs, granules: int, offset_sigma: Floats) -> None:
        self._pairs, self._offset_sigma = pairs, offset_sigma
        shape = granules, len(offset_sigma)
        self.log_gain, self.offset = np.zeros(shape), np.zeros(shape)
        self.pair_trust, self.own_trust = np.ones(len(pairs.i)), np.ones(granules)
        places = np.arange(len(pairs.i))
        ones, size = np.ones(len(pairs.i)), (granules, len(pairs.i))
        self._at_i = sparse.csr_matrix((ones, (pairs.i, places)), shape=size)
        self._at_j = sparse.csr_matrix((ones, (pairs.j, places)), shape=size)
        self._involved = self._at_i @ pairs.n + self._at_j @ pairs.n > 0

    def solve(self) -> None:
        """Rounds of weighted least squares, until gains stay."""
        for number in range(ROUNDS):
            self._weigh(number)
            step = self._step()
            self.log_gain += step[0]
            self.offset += step[1]
            if number > 1 and np.abs(step[0]).max(initial=0) < SETTLED:
                break

    def _residuals(self) -> tuple[Floats, Floats]:
        p, gain = self._pairs, np.exp(self.log_gain)
        slope = self.log_gain[p.i] - self.log_gain[p.j] - p.log_ratio
        level = gain[p.i] * p.mean_i + self.offset[p.i] - gain[p.j] * p.mean_j - self.offset[p.j]
        return slope, level

    def _weigh(self, number: int) -> None:
        """Trust in each pair (by its worst band) and in each granule (by all bands), in a round."""
        p = self._pairs
        slope, level = self._residuals()
        off = np.sqrt((slope**2 * p.slope_weight + level**2 * p.level_weight) / 2).max(axis=1)
        # From the very start, pairs that happen to agree as they are would be trusted most.
        self.pair_trust = np.minimum(1, PAIR_LIMIT / np.maximum(off, 1e-9)) ** (2 * (number > 1))
        own = (self.log_gain / GAIN_SIGMA) ** 2 + (self.offset / self._offset_sigma) ** 2
        own = np.sqrt(own.sum(axis=1) / np.maximum(2 * self._involved.sum(axis=1), 1))
        self.own_trust = np.minimum(1, OWN_LIMIT / np.maximum(own, 1e-9))

    def _step(self) -> Floats:
        """Solve the linearised equations for all bands side by side: shape (2, granule, band)."""
        p, gain = self._pairs, np.exp(self.log_gain)
        slope_weight = p.slope_weight * self.pair_trust[:, None]
        level_weight = p.level_weight * self.pair_trust[:, None]
        # Unknowns in units of their sigma; a level changes with a log gain by gain x mean.
        sigma = np.stack([np.full_like(self._offset_sigma, GAIN_SIGMA), self._offset_sigma])
        sigma = sigma[:, None, :]
        by_i, by_j = gain[p.i] * p.mean_i, gain[p.j] * p.mean_j
        own = self.own_trust[:, None]

        def back(slope: Floats, level: Floats) -> Floats:
            gains = self._at_i @ (slope + by_i * level) - self._at_j @ (slope + by_j * level)
            return np.stack([gains, self._at_i @ level - self._at_j @ level]) * sigma

        def apply(x: Floats) -> Floats:
            u, o = x * sigma
            slope = (u[p.i] - u[p.j]) * slope_weight
            level = (by_i * u[p.i] - by_j * u[p.j] + o[p.i] - o[p.j]) * level_weight
            return back(slope, level) + own * x

        def both(at_i: Floats, at_j: Floats) -> Floats:
            found: Floats = self._at_i @ at_i + self._at_j @ at_j
            return found

        uu = both(slope_weight + by_i**2 * level_weight, slope_weight + by_j**2 * level_weight)
        uu = uu * sigma[0] ** 2 + own
        uo = both(by_i * level_weight, by_j * level_weight) * sigma[0] * sigma[1]
        oo = both(level_weight, level_weight) * sigma[1] ** 2 + own
        determinant: Floats = uu * oo - uo * uo

        def precondition(x: Floats) -> Floats:
            return np.stack([oo * x[0] - uo * x[1], uu * x[1] - uo * x[0]]) / determinant

        slope, level = self._residuals()
        wanted = -back(slope * slope_weight, level * level_weight)
        wanted -= own * np.stack([self.log_gain, self.offset]) / sigma
        found: Floats = conjugate_gradients(apply, precondition, wanted) * sigma
        return found


def conjugate_gradients(
    apply: Callable[[Floats], Floats], precondition: Callable[[Floats], Floats], wanted: Floats
) -> Floats:
    """Solve symmetric positive equations for many bands at once.

    Bands (the last axis) do not know of each other; they only share the work. The sums are
    NumPy's own, in float64; answers are rounded far above their last bits.
    """
    x = np.zeros_like(wanted)
    rest = wanted.copy()
    turned = precondition(rest)
    way = turned.copy()
    strength = (rest * turned).sum(axis=(0, 1))
    enough = SOLVED**2 * rest.shape[1]
    for _ in range(STEPS):
        if (strength <= enough).all():
            break
        applied = apply(way)
        steep = (way * applied).sum(axis=(0, 1))
        far = np.where(strength > enough, strength / np.maximum(steep, 1e-300), 0)
        x += far * way
        rest -= far * applied
        turned = precondition(rest)
        before, strength = strength, (rest * turned).sum(axis=(0, 1))
        way = turned + np.where(before > 0, strength / np.maximum(before, 1e-300), 0) * way
    return x
