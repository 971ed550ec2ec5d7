"""Terms a lookup table is written in: Chebyshev polynomials per axis, polynomials on the view disk.

Each function turns values of one variable into a matrix of terms, shape (term, state); the same
matrix at the table's nodes turns node values into coefficients.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Terms = NDArray[np.float64]


def chebyshev(value: ArrayLike, low: float, high: float, count: int) -> Terms:
    """Chebyshev polynomials of degree 0 ... count - 1 on an interval.

    Parameters
    ----------
    value : float64, shape (state,)
    low, high : float
        The interval.
    count : int
        Number of terms.

    Returns
    -------
    terms : float64, shape (term, state)

    Examples
    --------
    >>> chebyshev([0.0, 1.0, 2.0], 0.0, 2.0, 3)
    array([[ 1.,  1.,  1.],
           [-1.,  0.,  1.],
           [ 1., -1.,  1.]])
    """
    x = (2 * np.atleast_1d(np.asarray(value, np.float64)) - low - high) / ((high - low) or 1.0)
    terms = np.empty((count, x.size))
    terms[0] = 1.0
    if count > 1:
        terms[1] = x
    for degree in range(2, count):
        terms[degree] = 2 * x * terms[degree - 1] - terms[degree - 2]
    return terms


def disk(
    zenith_deg: ArrayLike,
    azimuth_deg: ArrayLike,
    highest_deg: float,
    powers: Sequence[Sequence[int]],
) -> Terms:
    """Polynomials on the disk of view directions.

    With ``r = sin(zenith) / sin(highest)`` and ``x = r cos(azimuth)`` each term is ``x**i *
    r**(2*j)``: what scattered light does near the vertical is smooth on the disk, and the same on
    both sides of the sun's plane.

    Parameters
    ----------
    zenith_deg, azimuth_deg : float64, shape (state,)
        Of the sensor; azimuth from the sun.
    highest_deg : float
        Zenith angle at the rim.
    powers : sequence of (i, j)

    Returns
    -------
    terms : float64, shape (term, state)

    Examples
    --------
    >>> disk([0.0, 30.0], [0.0, 180.0], 30.0, [(0, 0), (1, 0), (0, 1)])
    array([[ 1.,  1.],
           [ 0., -1.],
           [ 0.,  1.]])
    """
    zenith, azimuth = np.broadcast_arrays(
        np.atleast_1d(np.asarray(zenith_deg, np.float64)), np.asarray(azimuth_deg, np.float64)
    )
    r = np.sin(np.deg2rad(zenith)) / np.sin(np.deg2rad(highest_deg))
    x, square = r * np.cos(np.deg2rad(azimuth)), r * r
    terms = np.empty((len(powers), r.size))
    for place, (i, j) in enumerate(powers):
        terms[place] = x**i * square**j
    return terms


def disk_powers(zeniths_deg: Sequence[float], azimuths: int) -> list[tuple[int, int]]:
    """Powers to describe a disk of rings with, fewer than it has nodes.

    Parameters
    ----------
    zeniths_deg : sequence of float
        Zenith angles of the rings, the centre included.
    azimuths : int
        Azimuths 0 ... 180 on the outer ring.

    Returns
    -------
    powers : list of (i, j)
        ``i`` below the number of azimuths, ``i + 2 j`` at most the number of rings: the rings
        could hold more, but then the roughness of 6S would go through instead of averaging out.

    Examples
    --------
    >>> disk_powers([0.0, 15.0, 30.0], 2)
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    degree = len(zeniths_deg)
    return [(i, j) for j in range(degree // 2 + 1) for i in range(azimuths) if i + 2 * j <= degree]


LARGEST_PRODUCT = 200
"""Terms multiplied out before the matrix product; the remaining axes follow one by one."""


def contract(coefficients: NDArray[np.float64], terms: Sequence[Terms]) -> NDArray[np.float64]:
    """Sum coefficients times terms over the axes of a part.

    Parameters
    ----------
    coefficients : float64, shape (band, term of axis 1, term of axis 2, ..., rest)
        Axes beyond those of ``terms`` stay.
    terms : sequence of float64, shape (term, state) or (term, 1)
        One matrix per axis, in order; a single column serves all states.

    Returns
    -------
    value : float64, shape (band, rest, state)

    Examples
    --------
    >>> contract(np.eye(2)[None, :, :, None], [np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])])
    array([[[11.]]])
    """
    varying: list[Terms] = []
    for axis in reversed(range(len(terms))):
        if terms[axis].shape[1] == 1:  # the same for all states: done before anything grows
            coefficients = np.tensordot(terms[axis][:, 0], coefficients, (0, axis + 1))
        else:
            varying.insert(0, terms[axis])
    bands = len(coefficients)
    if not varying:
        return coefficients.reshape(bands, -1, 1)
    first = varying.pop(0)
    while varying and len(first) * len(varying[0]) <= LARGEST_PRODUCT:
        first = _product(first, varying.pop(0))
    # One matrix product for all bands, then what is left of the axes, element by element.
    wide = np.moveaxis(coefficients.reshape(bands, len(first), -1), 1, 2)
    value = (wide.reshape(-1, len(first)) @ first).reshape(bands, -1, first.shape[1])
    if not varying:
        return value
    second = varying[0]
    for one in varying[1:]:
        second = _product(second, one)
    each = value.reshape(bands, len(second), -1, first.shape[1])
    each *= second[:, None]
    return np.asarray(each.sum(axis=1))


def _product(first: Terms, second: Terms) -> Terms:
    """Every term of the one times every term of the other; states run fastest."""
    return (first[:, None] * second).reshape(len(first) * len(second), -1)


def coefficients(values: NDArray[np.float64], nodes: Sequence[Terms]) -> NDArray[np.float64]:
    """Coefficients that give the values back at the nodes, by least squares axis by axis.

    Parameters
    ----------
    values : float64, shape (band, node of axis 1, node of axis 2, ...)
    nodes : sequence of float64, shape (term, node)
        Terms at the nodes of each axis, in order; axes beyond stay as they are.

    Returns
    -------
    coefficients : float64, shape (band, term of axis 1, term of axis 2, ...)

    Examples
    --------
    >>> line = chebyshev([0.0, 2.0], 0.0, 2.0, 2)
    >>> coefficients(np.array([[1.0, 3.0]]), [line])
    array([[2., 1.]])
    """
    for axis, terms in enumerate(nodes, start=1):
        solved = np.tensordot(np.linalg.pinv(terms.T), values, (1, axis))
        values = np.moveaxis(solved, 0, axis)
    return np.ascontiguousarray(values)
