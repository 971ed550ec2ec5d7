"""Smooth surfaces over a tile from values at nodes that its neighbours share."""

import numpy as np
from numpy.typing import NDArray

RING = 3
"""A window has so many more nodes per side than the tile has cells: -1 ... n + 1."""


def spline_weights(
    position: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Weights of the cubic B-spline at some places on a line of nodes 0, 1, 2, ...

    The spline has no kinks, never leaves the range of its nodes, keeps a constant constant. It
    does not pass through the nodes: (1, 4, 1) / 6 of three neighbours is its value at one.

    Parameters
    ----------
    position : float64, shape (n,)
        In node units.

    Returns
    -------
    first : int64, shape (n,)
        The first of the four nodes that count.
    weights : float64, shape (4, n)
        Of ``first`` ... ``first + 3``.

    Examples
    --------
    >>> first, weights = spline_weights(np.array([5.0]))
    >>> first, weights[:, 0] * 6
    (array([4]), array([1., 4., 1., 0.]))
    """
    base = np.floor(position)
    t = position - base
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    return base.astype(np.int64) - 1, weights / 6


class Surface:
    """Fields over a tile, by cubic B-splines through nodes -1 ... n + 1 on and around it.

    Nodes 0 and n lie on the tile's edges. Neighbours whose windows agree on the nodes they share
    have one surface: value, slope and curvature go on over the common edge.

    Parameters
    ----------
    window : float32, shape (field, n + 3, n + 3)
    shape : (int, int)
        Height and width of the tile, in pixels.
    """

    def __init__(self, window: NDArray[np.float32], shape: tuple[int, int]) -> None:
        self._first, self._weights = _along(window.shape[1] - RING, shape[0])
        first, weights = _along(window.shape[2] - RING, shape[1])
        self._across = np.zeros((*window.shape[:2], shape[1]), np.float32)
        for k in range(4):
            self._across += weights[k] * window[:, :, first + k]

    def rows(self, field: int, rows: slice) -> NDArray[np.float32]:
        """One field in some rows: float32, shape (y, x)."""
        across = self._across[field]
        first = self._first[rows]
        total = self._weights[0, rows, None] * across[first]
        for k in range(1, 4):
            total += self._weights[k, rows, None] * across[first + k]
        return np.asarray(total)


def _along(cells: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First place in the window and four weights for the centre of each pixel."""
    first, weights = spline_weights((np.arange(length) + 0.5) * cells / length)
    return first + 1, weights.astype(np.float32)  # the window begins at node -1
