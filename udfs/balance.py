"""Bring a mosaic to the colours of a reference, without inventing spectra.

Gains, never offsets, are fitted on cells of at least 1 km, smoothed, and interpolated without
edges. Bands of one group (for ASTER: 5-9) share one gain, so ratios between them stay what the
ground gave.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import UsageError
from geoquarry.udfs.balance_cells import (
    LEAST_COVER,
    Sums,
    Surface,
    cells_along,
    collect,
    spread,
)
from geoquarry.udfs.blocks import row_blocks

BALANCES = ("tasseled_cap", "histogram", "none")
MIN_CELLS = 4
"""Fewer cells with ground in both images are too little overlap (unless the tile has fewer)."""
GAIN_RANGE = (0.5, 2.0)
DARKEST = 0.01
"""Cells darker than this (deep water) have no meaningful ratio and carry no weight."""
DECIMALS = 6
"""Gains are rounded so far before they meet a pixel: last bits differ between platforms."""
QUANTILES = 101


@dataclass(frozen=True)
class ReferenceBands:
    """Which reference band each band of a sensor answers to.

    Attributes
    ----------
    reference : tuple of int, shape (band,)
        Place among ref_1, ref_2, ..., from 0.
    groups : tuple of (name, bands)
        Bands with one common gain, in band order.
    """

    reference: tuple[int, ...]
    groups: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass
class Balance:
    """How a mosaic is to be changed.

    Attributes
    ----------
    skipped : str
        Why nothing can be done; empty when `gains` are there.
    gains : Surface or None
        One field per group.
    groups : tuple of tuple of int
        Bands of each field.
    figures : dict
        JSON-safe: cells used, range of the gains per group.
    """

    skipped: str = ""
    gains: Surface | None = None
    groups: tuple[tuple[int, ...], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    def apply(self, reflectance: NDArray[np.float32]) -> None:
        """Multiply float32 (band, y, x) in place; NaN stays NaN."""
        if self.gains is None:
            return
        for rows in row_blocks(*reflectance.shape[1:]):
            for number, bands in enumerate(self.groups):
                gain = self.gains.rows(number, rows)
                for band in bands:
                    reflectance[band, rows] *= gain


@cache
def reference_bands(sensor_name: str) -> ReferenceBands | None:
    """From ``<sensor>_matched.csv``; None when the sensor has no such table.

    >>> reference_bands("aster_l1t").groups[-1]
    ('swir2', (4, 5, 6, 7, 8))
    """
    try:
        rows = read_rows(f"{sensor_name}_matched")
    except FileNotFoundError:
        return None
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row["group"], []).append(place)
    return ReferenceBands(
        reference=tuple(int(row["reference"]) - 1 for row in rows),
        groups=tuple((name, tuple(bands)) for name, bands in groups.items()),
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
    components = "brightness", "greenness", "wetness"
    return np.array([[float(row[name]) for row in rows] for name in components])


def fit(
    reflectance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    reference: NDArray[np.int16] | None,
    *,
    method: str,
    sensor_name: str,
    pixel_m: float,
) -> Balance:
    """Find the gains that bring a mosaic to its reference.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
        Unitless; NaN = not observed.
    flags : uint16, shape (y, x)
        Cloud, shadow, saturated and filled pixels are in no statistic.
    reference : int16, shape (reference band, ry, rx), or None
        Surface reflectance x 1e4 over the same ground, any size; -32768 = nodata.
    method : {"tasseled_cap", "histogram", "none"}
        ``tasseled_cap``: the reference m is expressed in the sensor's bands (a group is split by
        the mosaic's own local ratios), both go through the same transform T, and
        ``rho* = rho + pinv(T) T (m - rho)``; the gain is rho*/rho. ``histogram``: the gain that
        maps the quantiles of the mosaic, at the reference's resolution, to those of the reference.
    sensor_name : str
        Whose tables to use.
    pixel_m : float
        Size of a pixel on the ground.

    Returns
    -------
    balance : Balance
        Call its ``apply``; or ``skipped`` says why there is nothing to apply.

    Raises
    ------
    UsageError
        No such method.
    """
    if method not in BALANCES:
        raise UsageError(f"No balance {method!r}. Choose one of: {', '.join(BALANCES)}.")
    if method == "none":
        return Balance(skipped="not asked for")
    if reference is None:
        return Balance(skipped="no reference data")
    table, transform = reference_bands(sensor_name), tasseled_cap(sensor_name)
    if table is None or (method == "tasseled_cap" and transform is None):
        return Balance(skipped=f"no coefficients for {sensor_name}")
    needed = sorted(set(table.reference))
    fine = collect(reflectance, flags, reference, needed)
    cells = fine.grouped(
        cells_along(flags.shape[0], pixel_m, fine.pixels.shape[0]),
        cells_along(flags.shape[1], pixel_m, fine.pixels.shape[1]),
    )
    used = cells.covered(LEAST_COVER)
    if used.sum() < min(MIN_CELLS, used.size):
        return Balance(
            skipped=f"too little overlap with the reference, {int(used.sum())} of {used.size} cells"
        )
    mosaic, target = cells.means(used)
    groups = tuple(bands for _, bands in table.groups)
    ours = _by_group(mosaic, groups)
    if method == "tasseled_cap":
        assert transform is not None
        wanted = _by_group(_tasseled(mosaic, target, table, transform), groups)
    else:
        wanted = _by_quantile(ours, fine, table)
    gains = np.ones((len(groups), *used.shape))
    weights = np.zeros(used.shape)
    bright = (ours > DARKEST).all(axis=0)
    if not bright.any():
        return Balance(skipped="no ground bright enough to compare")
    ratio = np.divide(wanted, ours, out=np.ones_like(ours), where=bright)
    gains[:, used] = np.clip(ratio, *GAIN_RANGE)
    weights[used] = np.where(bright, cells.pixels[used], 0)
    nodes = np.round(spread(gains, weights / weights.max()), DECIMALS)
    figures = {
        "cells": int(used.sum()),
        "gain": {
            name: [
                round(float(g), 4) for g in (nodes[i].min(), np.median(nodes[i]), nodes[i].max())
            ]
            for i, (name, _) in enumerate(table.groups)
        },
    }
    surface = Surface(nodes.astype(np.float32), (flags.shape[0], flags.shape[1]))
    return Balance(gains=surface, groups=groups, figures=figures)


def _by_group(
    means: NDArray[np.float64], groups: tuple[tuple[int, ...], ...]
) -> NDArray[np.float64]:
    """Mean over the bands of each group: (band, n) -> (group, n)."""
    return np.stack([sum(means[b] for b in bands) / len(bands) for bands in groups])


def _tasseled(
    mosaic: NDArray[np.float64],
    target: NDArray[np.float64],
    table: ReferenceBands,
    transform: NDArray[np.float64],
) -> NDArray[np.float64]:
    """rho + pinv(T) T (m - rho), as sums in a fixed order: (band, n)."""
    expressed = np.empty_like(mosaic)
    for _, bands in table.groups:
        mean = sum(mosaic[b] for b in bands) / len(bands)
        safe = np.where(mean > DARKEST, mean, 1.0)
        for band in bands:
            expressed[band] = target[table.reference[band]] * (mosaic[band] / safe)
    difference = expressed - mosaic
    projector = np.round(np.linalg.pinv(transform) @ transform, 9)
    wanted = mosaic.copy()
    for band in range(mosaic.shape[0]):
        for other in range(mosaic.shape[0]):
            wanted[band] += projector[band, other] * difference[other]
    return wanted


def _by_quantile(
    ours: NDArray[np.float64], fine: Sums, table: ReferenceBands
) -> NDArray[np.float64]:
    """Map cell means through the quantiles of patches seen at least half: (group, n)."""
    patches = fine.covered(0.5)
    if not patches.any():
        patches = fine.covered(0.0)
    mosaic, target = fine.means(patches)
    means = _by_group(mosaic, tuple(bands for _, bands in table.groups))
    wanted = np.empty_like(ours)
    for number, (_, bands) in enumerate(table.groups):
        sources, goals = np.sort(means[number]), np.sort(target[table.reference[bands[0]]])
        rank = np.rint(np.linspace(0, sources.size - 1, QUANTILES)).astype(np.int64)
        # Equal source quantiles (a flat scene) get one goal, the mean of theirs.
        source, index, count = np.unique(sources[rank], return_inverse=True, return_counts=True)
        goal = np.bincount(index.ravel(), weights=goals[rank]) / count
        wanted[number] = np.interp(ours[number], source, goal)
    return wanted


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
    a, b = (np.atleast_2d(np.cov(samples, rowvar=False)) for samples in (source, target))
    root = _power(a, 0.5)
    inverse = _power(a, -0.5)
    t = inverse @ _power(root @ b @ root, 0.5) @ inverse
    moved: NDArray[np.float64] = (source - source.mean(axis=0)) @ t + target.mean(axis=0)
    return moved, t


def _power(symmetric: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    value, vector = np.linalg.eigh((symmetric + symmetric.T) / 2)
    scaled = vector * np.maximum(value, np.finfo(float).tiny) ** exponent
    return np.asarray(scaled @ vector.T)
