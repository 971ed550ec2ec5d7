"""What a place would look like to the reference: gains per group of bands, by several methods.

Both sensors are expressed in the same bands before anything is transformed. Components of two
tasseled caps must not be swapped: grey of 0.3 has a greenness of +0.19 with the coefficients for
ASTER (9 bands) and of -0.12 with those for MODIS (7 bands, other wavelengths), so that a swap would
turn grey into something that is neither.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows

METHODS = ("tasseled_cap", "histogram", "mkl", "none")
GAIN_RANGE = (0.5, 2.0)
DARKEST = 0.01
"""Places darker than this in any group (deep water) have no meaningful ratio."""
QUANTILES = 101
MKL_NOISE = 0.005
"""Reflectance. Added to both covariances, so that scatter below it is neither blown up nor lost
(ours, not tuned)."""
COMPONENTS = ("brightness", "greenness", "wetness")


@dataclass(frozen=True)
class ReferenceBands:
    """Which reference band each group of a sensor's bands answers to.

    Attributes
    ----------
    names : tuple of str, shape (group,)
    groups : tuple of tuple of int
        Bands with one common gain, in band order.
    reference : tuple of int, shape (group,)
        Place among ref_1, ref_2, ..., from 0.
    """

    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    reference: tuple[int, ...]


@cache
def reference_bands(sensor_name: str) -> ReferenceBands | None:
    """From ``<sensor>_matched.csv``; None when the sensor has no such table.

    >>> reference_bands("aster_l1t").groups[-1]
    (4, 5, 6, 7, 8)
    """
    try:
        rows = read_rows(f"{sensor_name}_matched")
    except FileNotFoundError:
        return None
    groups: dict[str, list[int]] = {}
    answers: dict[str, set[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(place)
        answers.setdefault(row["group"], set()).add(int(row["reference"]) - 1)
    torn = [name for name, places in answers.items() if len(places) > 1]
    if torn:
        raise ValueError(f"{sensor_name}_matched.csv: group {torn[0]} has two reference bands.")
    return ReferenceBands(
        names=tuple(groups),
        groups=tuple(tuple(bands) for bands in groups.values()),
        reference=tuple(places.pop() for places in answers.values()),
    )


@cache
def tasseled_cap(sensor_name: str) -> NDArray[np.float64] | None:
    """Tasseled-cap transform from ``<sensor>_tasseled_cap.csv``, or None.

    Returns
    -------
    transform : float64, shape (component, band)
        Brightness, greenness, wetness.
    """
    try:
        rows = read_rows(f"{sensor_name}_tasseled_cap")
    except FileNotFoundError:
        return None
    return np.array([[float(row[name]) for row in rows] for name in COMPONENTS])


def lacking(method: str, sensor_name: str) -> str:
    """What a method lacks for a sensor; empty when it can work.

    >>> lacking("histogram", "aster_l1t"), lacking("histogram", "none_such")
    ('', 'no coefficients for none_such')
    """
    if reference_bands(sensor_name) is None or (
        method == "tasseled_cap" and tasseled_cap(sensor_name) is None
    ):
        return f"no coefficients for {sensor_name}"
    return ""


def gains(
    method: str,
    own: NDArray[np.float64],
    target: NDArray[np.float64],
    sensor_name: str,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Gains that bring some places to their reference.

    Parameters
    ----------
    method : {"tasseled_cap", "histogram", "mkl"}
        ``tasseled_cap``, place by place: the reference m is expressed in the sensor's bands (a
        group is split by the place's own ratios), both go through one transform T, and
        ``rho* = rho + pinv(T) T (m - rho)``; the gain is rho*/rho. ``histogram``: the quantiles of
        all places, group by group, are mapped to those of the reference. ``mkl``: all places move
        by the linear map of `colour_transfer_mkl` between the groups.
    own : float64, shape (band, n)
        Reflectance.
    target : float64, shape (group, n)
        Reflectance of the reference over the same ground.
    sensor_name : str
        Whose tables to use; it has them, see `lacking`.

    Returns
    -------
    gains : float64, shape (group, n)
        Within `GAIN_RANGE`; 1 where the place is not bright.
    bright : bool, shape (n,)
        False = darker than `DARKEST` in a group: nothing is known there.
    """
    table = reference_bands(sensor_name)
    assert table is not None
    ours = _by_group(own, table.groups)
    bright: NDArray[np.bool_] = np.asarray((ours > DARKEST).all(axis=0))
    found = np.ones_like(ours)
    if bright.any():
        seen, wanted = ours[:, bright], target[:, bright]
        if method == "tasseled_cap":
            transform = tasseled_cap(sensor_name)
            assert transform is not None
            wanted = _by_group(
                _tasseled(own[:, bright], seen, wanted, table, transform), table.groups
            )
        elif method == "histogram":
            wanted = np.stack([_by_quantile(*pair) for pair in zip(seen, wanted, strict=True)])
        else:
            wanted = _by_covariance(seen, wanted)
        found[:, bright] = np.clip(wanted / seen, *GAIN_RANGE)
    return found, bright


def _by_group(
    means: NDArray[np.float64], groups: tuple[tuple[int, ...], ...]
) -> NDArray[np.float64]:
    """Mean over the bands of each group: (band, n) -> (group, n)."""
    return np.stack([sum(means[b] for b in bands) / len(bands) for bands in groups])


def _tasseled(
    own: NDArray[np.float64],
    ours: NDArray[np.float64],
    target: NDArray[np.float64],
    table: ReferenceBands,
    transform: NDArray[np.float64],
) -> NDArray[np.float64]:
    """rho + pinv(T) T (m - rho), as sums in a fixed order: (band, n)."""
    difference = np.empty_like(own)
    for group, bands in enumerate(table.groups):
        for band in bands:
            difference[band] = own[band] * (target[group] / ours[group] - 1)
    projector = np.round(np.linalg.pinv(transform) @ transform, 9)
    wanted = own.copy()
    for band in range(len(own)):
        for other in range(len(own)):
            wanted[band] += projector[band, other] * difference[other]
    return wanted


def _by_quantile(ours: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values through their quantiles to those of the target: (n,)."""
    sources, goals = np.sort(ours), np.sort(target)
    rank = np.rint(np.linspace(0, sources.size - 1, QUANTILES)).astype(np.int64)
    # Equal source quantiles (a flat scene) get one goal, the mean of theirs.
    source, index, count = np.unique(sources[rank], return_inverse=True, return_counts=True)
    goal = np.bincount(index.ravel(), weights=goals[rank]) / count
    return np.asarray(np.interp(ours, source, goal))


def _by_covariance(ours: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move places by the Monge-Kantorovitch map between the groups: (group, n)."""
    noise = MKL_NOISE**2 * np.eye(len(ours))
    t = np.round(_monge(_covariance(ours) + noise, _covariance(target) + noise), 9)
    centred = ours - ours.mean(axis=1, keepdims=True)
    moved = np.repeat(target.mean(axis=1, keepdims=True), ours.shape[1], axis=1)
    for group in range(len(ours)):
        for other in range(len(ours)):
            moved[group] += t[other, group] * centred[other]
    return moved


def colour_transfer_mkl(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear Monge-Kantorovitch colour transfer (Pitie and Kokaram 2007, CVMP).

    The linear map of least displacement that gives ``source`` the mean and covariance of
    ``target``: ``t = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2`` with the covariances A and B.

    Parameters
    ----------
    source, target : float64, shape (n, band)
        Samples, no NaN.

    Returns
    -------
    moved : float64, shape (n, band)
        ``(source - mean(source)) t + mean(target)``.
    t : float64, shape (band, band)

    Examples
    --------
    >>> colour_transfer_mkl(np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]]))[0].ravel()
    array([1., 5.])
    """
    t = _monge(_covariance(source.T), _covariance(target.T))
    moved: NDArray[np.float64] = (source - source.mean(axis=0)) @ t + target.mean(axis=0)
    return moved, t


def _covariance(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (variable, n); a single sample scatters nowhere."""
    if samples.shape[1] < 2:
        return np.zeros((len(samples), len(samples)))
    return np.atleast_2d(np.cov(samples))


def _monge(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    t: NDArray[np.float64] = inverse @ _power(root @ b @ root, 0.5) @ inverse
    return t


def _power(symmetric: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    value, vector = np.linalg.eigh((symmetric + symmetric.T) / 2)
    scaled = vector * np.maximum(value, np.finfo(float).tiny) ** exponent
    return np.asarray(scaled @ vector.T)
