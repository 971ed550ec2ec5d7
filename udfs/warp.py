"""Pixels to another lattice: 1-2-1 weights from half-size pixels, then one bilinear step.

Two counts have a meaning of their own and survive both steps: 0 = not observed, 255 = saturated.
Whatever a 0 contributes to is 0; otherwise whatever a 255 contributes to is 255. The counts
between the steps are exact sixteenths (uint16), so a pixel is rounded once, at the very end.

Coordinates are fractional *pixel centres*: (0.0, 0.0) is the centre of the upper left pixel.
Which neighbours contribute is said in `geoquarry.udfs.neighbours`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.flags import NOT_OBSERVED
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.neighbours import neighbours

SATURATED_DN = 255
"""The uint8 count of a detector at its limit."""

SIXTEENTHS = 16
"""Counts per DN in the uint16 arrays of `to_coarse_lattice`."""


def to_coarse_lattice(
    dn: NDArray[np.uint8], *, row0: int = 0, col0: int = 0, shape: tuple[int, int] | None = None
) -> NDArray[np.uint16]:
    """Bring a band to a lattice of twice its pixel size by 1-2-1 weights on each axis.

    A 2 x 2 mean would be centred half a fine pixel off, because the two pixel sizes share their
    upper left *pixel centre*: coarse (i, j) lies on fine (row0 + 2 i, col0 + 2 j).

    Parameters
    ----------
    dn : uint8, shape (y, x)
        Fine counts, 0 = not observed, 255 = saturated.
    row0, col0 : int
        Fine pixel under the coarse centre (0, 0); may lie outside the array.
    shape : (int, int)
        Rows and columns of the coarse lattice; default: all coarse centres inside the array.

    Returns
    -------
    sixteenths : uint16, shape (y, x)
        Weighted sum, 16 per DN: 0 = not observed (a contributing 0, or a neighbour outside the
        array), 4080 = saturated (a contributing 255).

    Examples
    --------
    >>> dn = np.add.outer(10 * np.arange(5), np.arange(5)).astype("uint8") + 1
    >>> to_coarse_lattice(dn) / 16
    array([[ 0.,  0.,  0.],
           [ 0., 23.,  0.],
           [ 0.,  0.,  0.]])
    """
    if shape is None:
        shape = (max((dn.shape[0] - row0 + 1) // 2, 0), max((dn.shape[1] - col0 + 1) // 2, 0))
    out = np.empty(shape, np.uint16)
    for rows in row_blocks(*shape):
        height = rows.stop - rows.start
        # One fine pixel more on every side; what the array lacks stays 0 = not observed.
        fine = window(dn, row0 + 2 * rows.start - 1, col0 - 1, (2 * height + 1, 2 * shape[1] + 1))
        left, middle, right = fine[:, :-2:2], fine[:, 1:-1:2], fine[:, 2::2]
        line = middle.astype(np.uint16)
        line += line
        line += left
        line += right
        total = line[1:-1:2] * np.uint16(2)
        total += line[:-2:2]
        total += line[2::2]
        low, high = np.minimum(left, middle), np.maximum(left, middle)
        np.minimum(low, right, out=low)
        np.maximum(high, right, out=high)
        low = np.minimum(np.minimum(low[:-2:2], low[1:-1:2]), low[2::2])
        high = np.maximum(np.maximum(high[:-2:2], high[1:-1:2]), high[2::2])
        total[high == SATURATED_DN] = SATURATED_DN * SIXTEENTHS
        total[low == 0] = 0
        out[rows] = total
    return out


def bilinear(
    source: Sequence[NDArray[Any]] | NDArray[Any],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Warp counts to the given places: one bilinear step for all bands, rounded half up.

    Parameters
    ----------
    source : sequence of uint8 or uint16, each of the same shape (y, x)
        Bands on one lattice: uint8 counts, or uint16 sixteenths from `to_coarse_lattice`.
    rows, cols : float64, shape (v, u)
        Where to look, as fractional pixel centres of the source; NaN = nowhere.

    Returns
    -------
    dn : uint8, shape (band, v, u)
        0 = not observed (a contributing 0, or outside), 255 = saturated (a contributing 255);
        observed counts stay within 1..254.

    Examples
    --------
    >>> band = np.array([[10, 20, 255, 0]], "uint8")
    >>> bilinear([band], np.zeros((1, 4)), np.array([[0.25, 1.0, 1.5, 2.5]]))
    array([[[ 13,  20, 255,   0]]], dtype=uint8)
    """
    out = np.zeros((len(source), *rows.shape), np.uint8)
    flat = [np.ascontiguousarray(band).reshape(-1) for band in source]
    for block, near in neighbours(source[0].shape, rows, cols):
        for band, result in zip(flat, out, strict=True):
            corners = near.corners(band)
            unit = SIXTEENTHS if band.dtype == np.uint16 else 1
            value = near.blend(corners)
            if unit > 1:
                value *= np.float32(1 / unit)  # a power of two: exact
            value += np.float32(0.5)
            np.clip(value, 1, SATURATED_DN - 1, out=value)
            dn = value.astype(np.uint8)  # cuts towards zero, which is down
            upper, lower = np.maximum(*corners[:2]), np.minimum(*corners[:2])
            for corner in corners[2:]:
                np.maximum(upper, corner, out=upper)
                np.minimum(lower, corner, out=lower)
            dn[upper == SATURATED_DN * unit] = SATURATED_DN
            dn[(lower == 0) | near.outside] = 0
            result[block] = dn
    return out


def bilinear_float(
    source: NDArray[Any],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    *,
    nodata: float | None = None,
) -> NDArray[np.float32]:
    """Warp a raster of measured values with the kernel of `bilinear`.

    Parameters
    ----------
    source : any real dtype, shape (y, x)
        NaN (or ``nodata``) = not observed.
    rows, cols : float64, shape (v, u)
        Where to look, as fractional pixel centres of the source; NaN = nowhere.
    nodata : float
        A value of the source that means "not observed", e.g. -32768.

    Returns
    -------
    value : float32, shape (v, u)
        NaN where outside or where a contributing neighbour is not observed.

    Examples
    --------
    >>> bilinear_float(np.array([[1, 3, -9]]), np.zeros((1, 2)), np.array([[0.5, 1.5]]), nodata=-9)
    array([[ 2., nan]], dtype=float32)
    """
    out = np.empty(rows.shape, np.float32)
    flat = np.ascontiguousarray(source).reshape(-1)
    for block, near in neighbours(source.shape, rows, cols):
        corners = near.corners(flat)
        value = near.blend(corners)
        bad = near.outside
        if nodata is not None:
            for corner in corners:
                bad = bad | (corner == nodata)
        value[bad] = np.nan
        out[block] = value
    return out


def nearest_or(
    flags: NDArray[np.uint16], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.uint16]:
    """Warp flag bits: the OR of the neighbours that `bilinear` mixes.

    A pixel mixed from a cloud is cloudy. Outside the source only the bit NOT_OBSERVED is set.

    Parameters
    ----------
    flags : uint16, shape (y, x)
        Bits of `geoquarry.schemas.flags`.
    rows, cols : float64, shape (v, u)
        Where to look, as fractional pixel centres of the source; NaN = nowhere.

    Returns
    -------
    flags : uint16, shape (v, u)

    Examples
    --------
    >>> nearest_or(np.array([[1, 2]], "uint16"), np.zeros((1, 3)), np.array([[0, 0.5, 9]]))
    array([[    1,     3, 32768]], dtype=uint16)
    """
    out = np.empty(rows.shape, np.uint16)
    flat = np.ascontiguousarray(flags).reshape(-1)
    for block, near in neighbours(flags.shape, rows, cols):
        a, b, c, d = near.corners(flat)
        bits: NDArray[np.uint16] = a | b | c | d
        bits[near.outside] = NOT_OBSERVED
        out[block] = bits
    return out


def crop_window(valid: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest window that holds every valid pixel.

    Parameters
    ----------
    valid : bool, shape (y, x)
        True = keep.

    Returns
    -------
    row0, col0, height, width : int
        All zero when nothing is valid.

    Examples
    --------
    >>> crop_window(np.array([[False, False, False], [False, True, True]]))
    (1, 1, 1, 2)
    """
    rows, cols = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if rows.size == 0:
        return 0, 0, 0, 0
    row0, col0 = int(rows[0]), int(cols[0])
    return row0, col0, int(rows[-1]) - row0 + 1, int(cols[-1]) - col0 + 1


def window(dn: NDArray[Any], row: int, col: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Cut a window that may stick out of the array; what sticks out is 0."""
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + shape[0], dn.shape[0]), min(col + shape[1], dn.shape[1])
    if (top, left, bottom, right) == (row, col, row + shape[0], col + shape[1]):
        return dn[top:bottom, left:right]
    out = np.zeros(shape, dn.dtype)
    if bottom > top and right > left:
        out[top - row : bottom - row, left - col : right - col] = dn[top:bottom, left:right]
    return out
