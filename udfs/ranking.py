"""Rank values pixel by pixel: selection networks for a few planes, `np.sort` for many."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

NETWORK_LIMIT = 64
"""Up to this many planes a network is as fast as `np.sort` with AVX-512 (which beats
`np.partition`), and much faster than without."""

FULL_LIMIT = 16
"""The same where all planes are wanted in order, for vectors of some thousand pixels."""


def fills(used: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.float32] | None]:
    """What to put where a plane has no value, so that the middle is in the same place everywhere.

    Of the planes without a value at a pixel as many get -inf as it takes, the others +inf: the
    lower middle of the values is then the lower middle of all planes.

    Parameters
    ----------
    used : sequence of bool, shape (y, x)
        Where each plane has a value.

    Returns
    -------
    fills : list of float32, shape (y, x), or None
        None where a plane has a value everywhere.

    Examples
    --------
    >>> fills([np.array([True, False]), np.array([True, True]), np.array([True, False])])
    [array([ inf, -inf], dtype=float32), None, array([inf, inf], dtype=float32)]
    """
    count = np.zeros(used[0].shape, np.int32) if used else np.zeros(0, np.int32)
    for mask in used:
        count += mask
    below = (len(used) - 1) // 2 - (count - 1) // 2
    out: list[NDArray[np.float32] | None] = []
    for mask in used:
        if mask.all():
            out.append(None)
            continue
        out.append(np.where(below > 0, np.float32(-np.inf), np.float32(np.inf)))
        below -= ~mask
    return out


def median_of(
    planes: Sequence[NDArray[np.float32]], even: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Median of the values at every pixel, the mean of the middle two where ``even``.

    Parameters
    ----------
    planes : sequence of float32, shape (y, x)
        At least one; filled as `fills` says.
    even : bool, shape (y, x)
        The pixel has an even number of values.

    Returns
    -------
    median : float32, shape (y, x)
        Infinite where no plane has a value.

    Examples
    --------
    >>> planes = [np.float32([[3, -np.inf]]), np.float32([[1, 4]]), np.float32([[2, 1]])]
    >>> median_of(planes, np.array([[False, True]]))
    array([[2. , 2.5]], dtype=float32)
    """
    place = (len(planes) - 1) // 2
    if not even.any():
        return lower_median_of(planes)
    low, high = _ranked(planes, (place, place + 1))
    return np.where(even, (low + high) * np.float32(0.5), low)


def lower_median_of(planes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """`median_of`, but the smaller of the middle two for an even number of values.

    >>> lower_median_of([np.float32([[3, 3]]), np.float32([[1, np.inf]])])
    array([[1., 3.]], dtype=float32)
    """
    return _ranked(planes, ((len(planes) - 1) // 2,))[0]


def sorted_stack(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """All planes in order at every pixel: float32, the shape of ``stack`` (plane, ...).

    >>> sorted_stack(np.float32([[3, 1], [2, 5]])).tolist()
    [[2.0, 1.0], [3.0, 5.0]]
    """
    if len(stack) > FULL_LIMIT:
        return np.sort(stack, axis=0)
    return np.stack(_ranked(list(stack), tuple(range(len(stack)))))


def _ranked(
    planes: Sequence[NDArray[np.float32]], places: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    """The planes that would stand at these places if every pixel were sorted."""
    size = len(planes)
    if size > NETWORK_LIMIT:
        stack = np.stack([plane.ravel() for plane in planes], axis=1)
        stack.sort(axis=1)
        return [stack[:, place].reshape(planes[0].shape) for place in places]
    ranked = list(planes)
    for low, high, want_low, want_high in network(size, places):
        a, b = ranked[low], ranked[high]
        if want_low:
            ranked[low] = np.minimum(a, b)
        if want_high:
            ranked[high] = np.maximum(a, b)
    return [ranked[place] for place in places]


@cache
def network(size: int, places: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Compare-exchange steps that bring the values of some ranks to their places.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), less
    every step whose outcome nobody reads.

    Parameters
    ----------
    size : int
        Number of values.
    places : tuple of int
        Ranks wanted, from 0.

    Returns
    -------
    steps : tuple of (low, high, want_low, want_high)
        Put the smaller value at ``low`` and the larger at ``high``, where wanted.

    Examples
    --------
    >>> network(2, (0,))
    ((0, 1, True, False),)
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
    wanted = set(places)
    kept = []
    for low, high in reversed(steps):
        want = low in wanted, high in wanted
        if any(want):
            kept.append((low, high, *want))
            wanted |= {low, high}
    return tuple(reversed(kept))
