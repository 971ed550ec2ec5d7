"""A correction whose coefficients vary within a tile, from counts to surface reflectance.

Within a cell of the tile coefficients are bilinear between its corners and a polynomial of low
degree in elevation. Only sums and products of single pixels, in float32: the same bits on every
machine, however a tile is cut into blocks.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.tile_cells import CELLS, Ground, side

LEVELS = tuple(
    tuple(float(np.cos(np.pi * (i + 0.5) / n)) for i in range(n - 1, -1, -1)) for n in (1, 2, 3)
)
"""Where between lowest (-1) and highest ground (1) a polynomial of degree 0, 1, 2 is given: the
nodes of Chebyshev, where it stays closest to what lies between."""
LEAST = 4e-6
"""Terms that move no reflectance up to `BRIGHT` by more than this are left out: a hundredth of what
the lookup table may be wrong, and most terms of bands that see little of the air."""
BRIGHT = 0.5
PARAMETERS = 3


class CellCorrection:
    """From counts to surface reflectance: ``d = count - path; d / (gain + albedo * d)``.

    The same as ``y = xa * radiance - xb; y / (1 + xc * y)`` with one operation less: ``path`` =
    counts over a black surface, ``gain`` = counts per reflectance, ``albedo`` = xc.

    Parameters
    ----------
    ground : Ground
    bands : int

    Attributes
    ----------
    lean : bool
        Keep nothing that can be computed again (0.7 MB for 1024 columns).
    """

    def __init__(self, ground: Ground, bands: int) -> None:
        self.lean = False
        self._ground = ground
        self._middle, self._per_m = np.zeros((2, CELLS, CELLS), np.float32)
        # (cell row, band, path gain albedo, power of elevation, 1 u v uv, cell column)
        self._terms = np.zeros((CELLS, bands, PARAMETERS, len(LEVELS), 4, CELLS), np.float32)
        self._terms[:, :, 0, 0, 0] = np.nan  # the path of cells that nobody sets
        self._known = np.zeros((CELLS, CELLS), np.bool_)
        self._strip: _Strip | None = None

    def set(
        self,
        place: tuple[NDArray[np.intp], NDArray[np.intp]],
        heights: tuple[NDArray[np.float64], NDArray[np.float64]],
        values: NDArray[np.float64],
    ) -> None:
        """Coefficients of some cells.

        Parameters
        ----------
        place : (int array, int array), shape (cell,) each
            Cell rows and cell columns.
        heights : (float64, float64), shape (cell,) each
            Lowest and highest elevation; ground beyond them counts as them.
        values : float64, shape (parameter, band, cell, level, south, east)
            Path, gain and albedo at the elevations of one of `LEVELS`, and at the cell's corners
            (north-west, north-east; south-west, south-east), or (..., 1, 1) where all corners
            are equal.
        """
        low, high = heights
        self._known[place] = True
        self._middle[place] = (low + high) / 2
        self._per_m[place] = np.divide(2.0, high - low, out=np.zeros_like(low), where=high > low)
        # Sums in a fixed order, no matrix product: the same bits with any linear algebra library.
        at = np.moveaxis(values, 3, 0)
        if len(at) == 1:
            powers = at
        elif len(at) == 2:
            powers = np.stack([(at[0] + at[1]) / 2, (at[1] - at[0]) / 2**0.5])
        else:
            bend = (at[0] + at[2] - 2 * at[1]) / 1.5
            powers = np.stack([at[1], (at[2] - at[0]) / 3**0.5, bend])
        corner = powers[..., 0, 0]
        terms = np.zeros((len(powers), 4, *corner.shape[1:]))
        terms[:, 0] = corner
        if powers.shape[-1] > 1:
            terms[:, 1], terms[:, 2] = powers[..., 0, 1] - corner, powers[..., 1, 0] - corner
            terms[:, 3] = powers[..., 1, 1] - powers[..., 1, 0] - terms[:, 1]
        gain = corner[0, 1]
        moves = np.abs(terms)  # in reflectance, after this:
        moves *= np.stack([1 / gain, BRIGHT / gain, np.full_like(gain, BRIGHT**2)])
        terms[:, 2:] *= (moves[:, 2:].sum(axis=1) > LEAST)[:, None]
        terms[1:] *= (moves[1:].sum(axis=1) > LEAST)[:, None]
        rows, columns = place
        for power, term in enumerate(terms):
            self._terms[rows, :, :, power, :, columns] = term.transpose(3, 2, 1, 0)

    def reflectance(
        self, dn: NDArray[Any], nodata: int, row0: int, col0: int
    ) -> NDArray[np.float32]:
        """Surface reflectance of a window.

        Parameters
        ----------
        dn : uint8 or int16, shape (band, y, x)
        nodata : int
            The count that means "not observed".
        row0, col0 : int
            Place of the window in the tile.

        Returns
        -------
        reflectance : float32, shape (band, y, x)
            Unitless; NaN where not observed, and in cells without coefficients.
        """
        height, width = dn.shape[1:]
        out = np.empty(dn.shape, np.float32)
        cells = side(self._ground.elevation_m.shape[0]).cell[row0 : row0 + height]
        edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), height]
        for start, stop in pairwise(edges):
            strip = self._strip_of(int(cells[start]), slice(col0, col0 + width))
            out[:, start:stop, : strip.left] = np.nan
            out[:, start:stop, strip.right :] = np.nan
            columns = slice(strip.left, strip.right)
            for block in row_blocks(stop - start, strip.right - strip.left):
                rows = slice(start + block.start, start + block.stop)
                counts, target = dn[:, rows, columns], out[:, rows, columns]
                strip.correct(counts, nodata, row0 + rows.start, target)
        return out

    def _strip_of(self, cell_row: int, columns: slice) -> "_Strip":
        strip = self._strip
        if strip is None or strip.which != (cell_row, columns):
            strip = _Strip(cell_row, columns, self._ground, self._known[cell_row])
            strip.spread(self._terms[cell_row], self._middle[cell_row], self._per_m[cell_row])
            self._strip = None if self.lean else strip
        return strip


class _Strip:
    """Coefficients along one row of cells, spread over the columns of a window.

    ``left`` to ``right`` are the columns of the window that have any.
    """

    def __init__(
        self, cell_row: int, columns: slice, ground: Ground, known: NDArray[np.bool_]
    ) -> None:
        self.which = cell_row, columns
        height, width = ground.elevation_m.shape
        cell, place = side(width).cell[columns], side(width).place[columns]
        there = np.flatnonzero(known[cell])
        self.left, self.right = (int(there[0]), int(there[-1]) + 1) if there.size else (0, 0)
        self._cell, self._across = cell[self.left : self.right], place[self.left : self.right]
        self._down = side(height).place[:, None]
        self._elevation_m = ground.elevation_m[:, columns][:, self.left : self.right]

    def spread(
        self,
        terms: NDArray[np.float32],
        middle_m: NDArray[np.float32],
        per_m: NDArray[np.float32],
    ) -> None:
        """Coefficients of one row of cells, from cells to columns."""
        present = np.flatnonzero(terms.any(axis=(0, 1, 3, 4)))
        terms = terms[:, :, : present[-1] + 1].take(self._cell, axis=-1)
        self._base = terms[:, :, :, 0] + terms[:, :, :, 1] * self._across
        self._south = terms[:, :, :, 2] + terms[:, :, :, 3] * self._across
        self._has_base: NDArray[np.bool_] = np.asarray((self._base != 0).any(axis=-1))
        self._has_south: NDArray[np.bool_] = np.asarray((self._south != 0).any(axis=-1))
        self._middle_m, self._per_m = middle_m[self._cell], per_m[self._cell]

    def correct(self, dn: NDArray[Any], nodata: int, row: int, out: NDArray[np.float32]) -> None:
        """Fill ``out``, shape (band, y, x), from counts whose first row is ``row`` of the tile."""
        rows = slice(row, row + dn.shape[1])
        path, gain, albedo, spare, up = (np.empty(dn.shape[1:], np.float32) for _ in range(5))
        if self._base.shape[2] > 1:
            np.subtract(self._elevation_m[rows], self._middle_m, out=up, dtype=np.float32)
            up *= self._per_m
            np.minimum(np.maximum(up, -1, out=up), 1, out=up)
        down = self._down[rows]
        for band, count in enumerate(dn):
            black, full, back = (
                self._evaluate((band, parameter), up, down, result, spare)
                for parameter, result in enumerate((path, gain, albedo))
            )
            np.subtract(count, black, out=path, dtype=np.float32)
            np.multiply(back, path, out=albedo)
            albedo += full
            np.divide(path, albedo, out=out[band])
            lost = count == nodata
            if lost.any():
                out[band][lost] = np.nan

    def _evaluate(
        self,
        which: tuple[int, int],
        up: NDArray[np.float32],
        down: NDArray[np.float32],
        out: NDArray[np.float32],
        spare: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """One parameter at every pixel: in ``out``, or a single row if all rows are the same.

        Powers of elevation from the highest down (Horner); terms that are zero in the whole strip
        are skipped, which changes no bit.
        """
        base, south = self._base[which], self._south[which]
        found: NDArray[np.float32] | None = None
        for power in range(len(base) - 1, -1, -1):
            if found is not None:
                found = np.multiply(found, up, out=out)
            if self._has_south[which][power]:
                np.multiply(south[power], down, out=out if found is None else spare)
                found = out if found is None else np.add(found, spare, out=out)
            if self._has_base[which][power]:
                found = base[power] if found is None else np.add(found, base[power], out=out)
        return base[0] if found is None else found
