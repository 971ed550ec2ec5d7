"""Means of a mosaic and of its reference over the same ground, and smooth fields between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.udfs.blocks import BLOCK_PIXELS

REFERENCE_NODATA = -32768
REFERENCE_RANGE = (-100, 16000)
"""Valid counts of MOD09 surface reflectance (MOD09 User's Guide v1.4, 2015), scale 1e-4."""
REFERENCE_SCALE = 1e-4
NOT_GROUND = f.CLOUD | f.SHADOW | f.SATURATED | f.FILLED | f.SWIR_UNRELIABLE | f.NOT_OBSERVED
"""Pixels with one of these say nothing about the ground's true colour."""
FIXED_POINT = 2**16
"""Counts per unit reflectance in sums: integers, so that no platform rounds them differently."""
BRIGHTEST = 16.0
CELL_M = 1000.0
LEAST_COVER = 0.3
"""A cell counts when at least this share of its pixels does."""


@dataclass(frozen=True)
class Sums:
    """Sums over equal patches of ground; integers, so any grouping gives the same numbers.

    Attributes
    ----------
    mosaic : int64, shape (band, y, x)
        Reflectance x `FIXED_POINT`.
    reference : int64, shape (reference band, y, x)
        Counts of the reference, weighted with the pixels of the mosaic.
    pixels, area : int64, shape (y, x)
        Pixels summed, and pixels of the patch.
    """

    mosaic: NDArray[np.int64]
    reference: NDArray[np.int64]
    pixels: NDArray[np.int64]
    area: NDArray[np.int64]

    def means(self, enough: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean reflectance of the patches named: mosaic (band, n), reference (band, n)."""
        pixels = self.pixels[enough]
        mosaic = self.mosaic[:, enough] / (pixels * FIXED_POINT)
        return mosaic, self.reference[:, enough] / pixels * REFERENCE_SCALE

    def covered(self, share: float) -> NDArray[np.bool_]:
        """Patches of which at least this share was summed."""
        found: NDArray[np.bool_] = (self.pixels > 0) & (self.pixels >= share * self.area)
        return found

    def grouped(self, rows: int, cols: int) -> "Sums":
        """Summed to a coarser lattice of ``rows`` x ``cols`` patches."""
        y, x = self.pixels.shape
        starts = edges(rows, y)[:-1], edges(cols, x)[:-1]

        def group(array: NDArray[np.int64]) -> NDArray[np.int64]:
            summed = np.add.reduceat(array, starts[0], axis=-2)
            grouped: NDArray[np.int64] = np.add.reduceat(summed, starts[1], axis=-1)
            return grouped

        arrays = self.mosaic, self.reference, self.pixels, self.area
        return Sums(*(group(array) for array in arrays))


def edges(parts: int, length: int) -> NDArray[np.int64]:
    """Where ``parts`` nearly equal parts of a length begin and end.

    >>> edges(3, 10).tolist()
    [0, 3, 7, 10]
    """
    return (np.arange(parts + 1, dtype=np.int64) * length + parts // 2) // parts


def collect(
    reflectance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    reference: NDArray[np.int16],
    needed: list[int],
) -> Sums:
    """Sum mosaic and reference over the reference's own pixels.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
        NaN = not observed; such pixels, and those flagged `NOT_GROUND`, are in no sum.
    flags : uint16, shape (y, x)
    reference : int16, shape (reference band, ry, rx)
        Any size; it covers the same ground as the mosaic.
    needed : list of int
        Bands of the reference that must be valid for a pixel to count.
    """
    bands, height, width = reflectance.shape
    counts_there, valid = _at_most(reference, needed, height, width)
    ry, rx = valid.shape
    row_edges, col_edges = edges(ry, height), edges(rx, width)
    sums = np.zeros((bands, ry, rx), np.int64)
    pixels = np.zeros((ry, rx), np.int64)
    step = max(1, BLOCK_PIXELS * ry // (height * width))
    for first in range(0, ry, step):
        last = min(first + step, ry)
        rows = slice(int(row_edges[first]), int(row_edges[last]))
        starts = row_edges[first:last] - row_edges[first]
        ground = (flags[rows] & np.uint16(NOT_GROUND)) == 0
        for band in range(bands):
            ground &= np.abs(reflectance[band, rows]) < np.float32(BRIGHTEST)  # False for NaN
        bits = -ground.astype(np.int32)
        pixels[first:last] = _patches(-bits, starts, col_edges)
        for band in range(bands):
            seen = (reflectance[band, rows].view(np.int32) & bits).view(np.float32)
            seen *= np.float32(FIXED_POINT)
            counts = np.rint(seen, out=seen).astype(np.int32)
            sums[band, first:last] = _patches(counts, starts, col_edges)
    sums *= valid
    pixels *= valid
    area = np.diff(row_edges)[:, None] * np.diff(col_edges)[None, :]
    return Sums(sums, np.where(valid, counts_there, 0) * pixels, pixels, area)


def _at_most(
    reference: NDArray[np.int16], needed: list[int], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The reference's counts, averaged down where it is finer than the mosaic; and which count."""
    low, high = REFERENCE_RANGE
    counts = reference.astype(np.int64)
    good = (counts[needed] != REFERENCE_NODATA) & (counts[needed] >= low) & (counts[needed] <= high)
    valid = good.all(axis=0)
    counts *= valid
    weight = valid.astype(np.int64)
    for axis, size in ((0, height), (1, width)):
        if weight.shape[axis] > size:
            starts = edges(size, weight.shape[axis])[:-1]
            counts = np.add.reduceat(counts, starts, axis=axis + 1)
            weight = np.add.reduceat(weight, starts, axis=axis)
    return np.where(weight > 0, counts // np.maximum(weight, 1), 0), weight > 0


def _patches(
    values: NDArray[np.int32], row_starts: NDArray[np.int64], col_edges: NDArray[np.int64]
) -> NDArray[np.int64]:
    # Slice by slice: reduceat along rows is ten times slower. int32 holds 2047 rows of the
    # brightest reflectance, 16 x 2^16 x 2047 < 2^31.
    down = np.empty((row_starts.size, values.shape[1]), np.int64)
    for i, start in enumerate(row_starts):
        stop = row_starts[i + 1] if i + 1 < row_starts.size else values.shape[0]
        wide = np.int32 if stop - start < 2048 else np.int64
        down[i] = np.add.reduce(values[start:stop], axis=0, dtype=wide)
    across: NDArray[np.int64] = np.add.reduceat(down, col_edges[:-1], axis=1)
    return across


def cells_along(length: int, pixel_m: float, most: int) -> int:
    """Number of cells of at least 1 km along one side, at least 1.

    >>> cells_along(1024, 30, 256), cells_along(96, 25, 256)
    (30, 2)
    """
    return max(1, min(int(length * pixel_m / CELL_M), most))


def spread(
    values: NDArray[np.float64], weights: NDArray[np.float64], reach: float = 1.0
) -> NDArray[np.float64]:
    """Smooth fields over cells and carry them to cells without weight.

    Parameters
    ----------
    values : float64, shape (field, y, x)
    weights : float64, shape (y, x)
        0 = nothing known there; at least one is positive.
    reach : float
        Standard deviation of the smoothing, in cells. Wider and wider Gaussians with vanishing
        weight fill the gaps.
    """
    total = np.zeros_like(values)
    norm = np.zeros_like(weights)
    known = np.where(weights > 0, values, 0.0) * weights
    for width, share in ((1, 1.0), (4, 1e-4), (16, 1e-8), (256, 1e-12)):
        ky, kx = (_gaussian(n, reach * width) for n in weights.shape)
        total += share * _filter(known, ky, kx)
        norm += share * _filter(weights[None], ky, kx)[0]
    smooth: NDArray[np.float64] = total / norm
    return smooth


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    return np.asarray(np.exp(-0.5 * (distance / sigma) ** 2))


def _filter(
    fields: NDArray[np.float64], ky: NDArray[np.float64], kx: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Both axes, as plain sums in a fixed order (BLAS would choose its own)."""
    down = np.zeros_like(fields)
    for i in range(ky.shape[0]):
        down += ky[:, i][None, :, None] * fields[:, i, :][:, None, :]
    out = np.zeros_like(fields)
    for i in range(kx.shape[0]):
        out += kx[:, i][None, None, :] * down[:, :, i][:, :, None]
    return out


class Surface:
    """Smooth fields over a tile from values at cell centres, by cubic B-splines.

    B-splines have no kinks at cell edges, never leave the range of their nodes, and keep a
    constant constant.
    """

    def __init__(self, nodes: NDArray[np.float32], shape: tuple[int, int]) -> None:
        place, weight = _spline(nodes.shape[2], shape[1])
        self._rows, self._weights = _spline(nodes.shape[1], shape[0])
        self._across = np.zeros((*nodes.shape[:2], shape[1]), np.float32)
        for k in range(4):
            self._across += weight[k] * nodes[:, :, place[k]]

    def rows(self, field: int, rows: slice) -> NDArray[np.float32]:
        """One field in some rows: float32, shape (y, x)."""
        across = self._across[field]
        total = self._weights[0, rows, None] * across[self._rows[0, rows]]
        for k in range(1, 4):
            total += self._weights[k, rows, None] * across[self._rows[k, rows]]
        return np.asarray(total)


def _spline(nodes: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Four node numbers and weights per pixel, shape (4, length); the ends are repeated."""
    position = (np.arange(length) + 0.5) * nodes / length - 0.5
    base = np.floor(position)
    t = position - base
    place = base.astype(np.int64)[None, :] + np.arange(-1, 3)[:, None]
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return np.clip(place, 0, nodes - 1), (weights / 6).astype(np.float32)
