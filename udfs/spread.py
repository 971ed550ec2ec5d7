"""Smooth fields from scattered nodes: what is known, averaged near and ever wider over gaps."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.udfs.balance_surface import spline_weights

LEVELS = ((1.0, 1, 1.0), (4.0, 1, 1e-3), (16.0, 4, 1e-6), (64.0, 16, 1e-9))
"""Standard deviation in nodes, nodes per node of the lattice it is computed on, and its weight
against the narrowest: a wider one only counts where the narrower ones know nothing."""
PAD = LEVELS[-1][1]
"""A box of nodes must begin at a multiple of this: coarser lattices then always lie alike."""
FARTHEST = 6.0
"""Gaussians end here, in standard deviations: at 1.5e-8 nothing steps that could be seen."""


def spread(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth fields over nodes and carry them to nodes without weight.

    Every node's answer is the same sum however large the box around it is. No BLAS: plain sums in
    a fixed order.

    Parameters
    ----------
    values : float64, shape (field, y, x)
        The first row and column have absolute numbers that are multiples of `PAD`.
    weights : float64, shape (y, x)
        0 = nothing known there.

    Returns
    -------
    smooth : float64, shape (field, y, x)
        NaN where nothing is known within 6 x 64 nodes.

    Examples
    --------
    >>> known = np.zeros((3, 40)); known[1, 2] = 1
    >>> np.allclose(spread(np.full((1, 3, 40), 1.25), known), 1.25)
    True
    """
    norm = _weighted(weights)
    smooth = np.empty_like(values)
    with np.errstate(invalid="ignore"):
        for number, plane in enumerate(values):
            known = np.where(weights > 0, plane, 0.0) * weights
            np.divide(_weighted(known), norm, out=smooth[number])
    smooth[:, norm <= 0] = np.nan
    return smooth


def _weighted(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros_like(plane)
    for sigma, step, share in LEVELS:
        if step == 1:
            total += share * _gaussian(plane, sigma)
        else:
            total += share * _coarsely(plane, sigma, step)
    return total


def _gaussian(plane: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    for axis in (0, 1):
        plane = ndimage.gaussian_filter1d(
            plane, sigma, axis=axis, mode="constant", truncate=FARTHEST
        )
    return plane


def _coarsely(plane: NDArray[np.float64], sigma: float, step: int) -> NDArray[np.float64]:
    """The same on a lattice of means over step x step nodes, brought back by B-splines."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % step), (0, -width % step)))
    sums = np.add.reduceat(padded, np.arange(0, padded.shape[0], step), axis=0)
    sums = np.add.reduceat(sums, np.arange(0, padded.shape[1], step), axis=1)
    coarse = _gaussian(np.pad(sums / step**2, 2), sigma / step)
    for axis, length in ((0, height), (1, width)):
        first, weights = spline_weights((np.arange(length) + 0.5) / step - 0.5 + 2)
        lines = np.moveaxis(coarse, axis, 0)
        back = sum(weights[k][:, None] * lines[first + k] for k in range(4))
        coarse = np.moveaxis(np.asarray(back), 0, axis)
    return coarse
