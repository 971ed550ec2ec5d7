"""The 16 x 16 cells of a tile: what lies between four points of the lattices of its rows."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 16
"""Cells per side: one less than the points of a lattice."""
NODATA_ELEVATION = -32768


@dataclass(frozen=True)
class Side:
    """How the pixels along one side of a tile fall into its cells.

    Attributes
    ----------
    cell : int, shape (pixel,)
    place : float32, shape (pixel,)
        Of the pixel's centre within its cell, 0 to 1.
    """

    cell: NDArray[np.intp]
    place: NDArray[np.float32]


@cache
def side(size: int) -> Side:
    """Cells along a side of ``size`` pixels; ``size`` need not be a multiple of 16.

    >>> side(24).cell[:4], side(24).place[:3].round(2)
    (array([0, 1, 1, 2]), array([0.33, 0.  , 0.67], dtype=float32))
    """
    at = (np.arange(size) + 0.5) * CELLS / size
    cell = np.minimum(at.astype(np.intp), CELLS - 1)
    return Side(cell, (at - cell).astype(np.float32))


def per_cell(
    reduce: np.ufunc,
    raster: NDArray[Any],
    row_cells: NDArray[np.intp],
    column_cells: NDArray[np.intp],
    empty: Any,
) -> NDArray[Any]:
    """One number per cell: shape (cell row, cell column).

    Parameters
    ----------
    reduce : ufunc
        E.g. ``np.minimum``.
    raster : shape (y, x)
    row_cells, column_cells : int, shapes (y,) and (x,)
        Cell of each row and column, rising.
    empty
        For cells without a pixel.

    Examples
    --------
    >>> at = np.array([0, 0, 3])
    >>> per_cell(np.maximum, np.arange(9).reshape(3, 3), at, at, -1)[:4, :4]
    array([[ 4, -1, -1,  5],
           [-1, -1, -1, -1],
           [-1, -1, -1, -1],
           [ 7, -1, -1,  8]])
    """
    rows, row_starts = np.unique(row_cells, return_index=True)
    columns, column_starts = np.unique(column_cells, return_index=True)
    out = np.full((CELLS, CELLS), empty, raster.dtype)
    by_row = reduce.reduceat(raster, row_starts, axis=0)
    out[np.ix_(rows, columns)] = reduce.reduceat(by_row, column_starts, axis=1)
    return out


def coarse_elevation(elevation_m: NDArray[np.int16], step: int) -> NDArray[np.int16]:
    """Means over squares of ``step`` x ``step`` pixels, in whole metres; a void makes a void.

    >>> coarse_elevation(np.int16([[1, 2, 9, 9], [3, 4, 9, -32768]]), 2)
    array([[     2, -32768]], dtype=int16)
    """
    if step == 1:
        return elevation_m
    height, width = (size // step for size in elevation_m.shape)
    squares = elevation_m.reshape(height, step, width, step)
    mean = np.floor_divide(squares.sum(axis=(1, 3), dtype=np.int64), step * step)
    void = (squares == NODATA_ELEVATION).any(axis=(1, 3))
    return np.where(void, NODATA_ELEVATION, mean).astype(np.int16)


class Ground:
    """Elevation of a whole tile.

    Parameters
    ----------
    elevation_m : int16, shape (y, x)
        Without nodata, see `filled`.

    Attributes
    ----------
    elevation_m : int16, shape (y, x)
    low_m, high_m : int16, shape (cell row, cell column)
        Lowest and highest ground of each cell.
    """

    def __init__(self, elevation_m: NDArray[np.int16]) -> None:
        self.elevation_m = elevation_m
        rows, columns = (side(size).cell for size in elevation_m.shape)
        self.low_m = per_cell(np.minimum, elevation_m, rows, columns, 0)
        self.high_m = per_cell(np.maximum, elevation_m, rows, columns, 0)

    @property
    def has_voids(self) -> bool:
        """Whether some pixel has no elevation."""
        return bool(self.low_m.min() == NODATA_ELEVATION)

    def filled(self, elevation_m: float) -> "Ground":
        """The same with one elevation where there is none, in whole metres that int16 holds."""
        found = self.elevation_m
        metres = np.int16(np.clip(round(elevation_m), NODATA_ELEVATION + 1, 32767))
        return Ground(np.where(found == NODATA_ELEVATION, metres, found))
