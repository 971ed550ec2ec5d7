"""Rank values pixel by pixel: sorting networks for a few planes, `np.sort` for many."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

NETWORK_LIMIT = 64
"""Up to this many planes a sorting network beats `np.sort`."""


def median_of(planes: list[NDArray[np.float32]], count: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Median of the ``count`` smallest values at every pixel.

    Parameters
    ----------
    planes : list of float32, shape (y, x)
        Values; +inf = not observed, no NaN.
    count : uint16, shape (y, x)
        How many planes are finite at the pixel.

    Returns
    -------
    median : float32, shape (y, x)
        NaN where count is 0; the mean of the middle two where it is even.

    Examples
    --------
    >>> planes = [np.float32([[3, 3]]), np.float32([[1, np.inf]]), np.float32([[2, 1]])]
    >>> median_of(planes, np.array([[3, 2]], np.uint16))
    array([[2., 2.]], dtype=float32)
    """
    ranked = _sorted_half(planes)
    present = [int(n) for n in np.flatnonzero(np.bincount(count.ravel(), minlength=1))]
    out = np.full(count.shape, np.nan, np.float32)
    for n in present:
        if n == 0:
            continue
        low, high = ranked[(n - 1) // 2], ranked[n // 2]
        middle = low if n % 2 else (low + high) * np.float32(0.5)
        out = middle if len(present) == 1 else np.where(count == n, middle, out)
    return out


def _sorted_half(planes: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The smaller half of the planes in order, pixel by pixel: all a median can ask for."""
    size = len(planes)
    if size > NETWORK_LIMIT:
        stack = np.sort(np.stack([plane.ravel() for plane in planes], axis=1), axis=1)
        half = np.ascontiguousarray(stack[:, : size // 2 + 1].T)
        return list(half.reshape(-1, *planes[0].shape))
    ranked = list(planes)
    for low, high, want_low, want_high in network(size):
        a, b = ranked[low], ranked[high]
        if want_low:
            ranked[low] = np.minimum(a, b)
        if want_high:
            ranked[high] = np.maximum(a, b)
    return ranked


@cache
def network(size: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Compare-exchange steps that sort the smaller half of ``size`` values.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), less
    every step whose outcome nobody reads.

    Returns
    -------
    steps : tuple of (low, high, want_low, want_high)
        Put the smaller value at ``low`` and the larger at ``high``, where wanted.

    Examples
    --------
    >>> network(2)
    ((0, 1, True, True),)
    """
    steps = []
    top = 1 << max((size - 1).bit_length() - 1, 0)
    p = top
    while p > 0 and size > 1:
        q, r, d = top, 0, p
        while True:
            steps += [(i, i + d) for i in range(size - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q // 2, p
        p //= 2
    wanted = set(range(size // 2 + 1))
    kept = []
    for low, high in reversed(steps):
        want = low in wanted, high in wanted
        if any(want):
            kept.append((low, high, *want))
            wanted |= {low, high}
    return tuple(reversed(kept))
