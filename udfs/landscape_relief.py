"""Relief of an invented landscape: fractal noise, and mountains cut by rivers.

Only for simulated scenes; nothing here claims to be a model of a real place.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Field = NDArray[np.float32]

NODES = 128
"""Nodes per side of the coarse lattice on which rivers run."""
STEPS = 16
ERODIBILITY = 2.2
AREA_EXPONENT = 0.45
"""Stream power law dz/dt = U - K A^m S with m/n = 0.45, n = 1 (Whipple and Tucker 1999,
doi 10.1029/1999JB900120), solved implicitly along the flow (Braun and Willett 2013,
doi 10.1016/j.geomorph.2012.10.008)."""


@dataclass(frozen=True)
class Relief:
    """Height and drainage.

    Attributes
    ----------
    elevation : float32, shape (y, x)
        0 = the lowest valley, 1 = the highest summit.
    drainage : float32, shape (y, x)
        Logarithm of the upstream area, 0 = ridge, 1 = the largest river.
    """

    elevation: Field
    drainage: Field


def fractal(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    slope: float = 2.0,
    longest_px: float | None = None,
) -> Field:
    """Gaussian noise whose amplitude falls with frequency as ``f ** -slope``.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    rng : numpy.random.Generator
        Same generator state, same field.
    slope : float
        1 = rough texture, 2 = clouds and soil, 3 = hills.
    longest_px : float, optional
        Structures longer than this are left out; default: the longer side.

    Returns
    -------
    noise : float32, shape (y, x)
        Mean 0, standard deviation 1; continues over the opposite edge.

    Examples
    --------
    >>> noise = fractal((32, 32), np.random.default_rng(1))
    >>> round(float(noise.mean()), 3), round(float(noise.std()), 3)
    (0.0, 1.0)
    """
    rows, cols = (fft.next_fast_len(n, real=True) for n in shape)
    white = rng.standard_normal((rows, cols), dtype=np.float32)
    spectrum = fft.rfft2(white, workers=1)
    fy = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(cols).astype(np.float32)[None, :]
    frequency = np.sqrt(fy * fy + fx * fx)
    lowest = np.float32(1.0 / (longest_px or max(shape)))
    # Below the lowest frequency the spectrum is flat, so the longest structures do not dominate.
    spectrum *= np.maximum(frequency, lowest) ** np.float32(-slope)
    spectrum[0, 0] = 0
    noise: Field = fft.irfft2(spectrum, s=(rows, cols), workers=1)[: shape[0], : shape[1]]
    noise = noise.astype(np.float32)
    noise -= np.float32(noise.mean(dtype=np.float64))
    noise /= np.float32(noise.std(dtype=np.float64))
    return noise


def step(x: Field, low: float, high: float) -> Field:
    """A smooth step from 0 at ``low`` to 1 at ``high`` (which may be the smaller one).

    >>> step(np.array([0.0, 1.0, 2.0, 3.0], dtype="float32"), 1.0, 3.0).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    t = np.clip((x - np.float32(low)) / np.float32(high - low), np.float32(0), np.float32(1))
    smooth: Field = (t * t * (3 - 2 * t)).astype(np.float32)
    return smooth


def relief(shape: tuple[int, int], uplift: Field, rng: np.random.Generator) -> Relief:
    """Let land rise and rivers cut into it.

    Parameters
    ----------
    shape : (int, int)
        Of the answer.
    uplift : float32, shape (NODES, NODES)
        How fast the land rises, 0 to 1, on a coarse lattice over the same frame.
    rng : numpy.random.Generator

    Returns
    -------
    relief : Relief
    """
    height, area = _eroded(uplift.astype(np.float64), rng)
    coarse = ndimage.gaussian_filter(height, 0.8)
    drainage = ndimage.gaussian_filter(np.log(area), 0.7)
    fine = _enlarged(coarse, shape)
    # Rock faces are rough, plains are smooth: detail grows with the height above the plain.
    detail = fractal(shape, rng, slope=2.2, longest_px=max(shape) / 12)
    fine += np.float32(0.012) * detail * np.clip(fine * 3, 0.05, 1) * np.float32(coarse.max())
    fine -= fine.min()
    fine /= fine.max()
    wet = _enlarged(drainage, shape)
    wet -= wet.min()
    wet /= wet.max()
    return Relief(fine.astype(np.float32), wet.astype(np.float32))


def _enlarged(coarse: NDArray[np.float64], shape: tuple[int, int]) -> Field:
    places = [np.linspace(0, n - 1, size) for n, size in zip(coarse.shape, shape, strict=True)]
    # One axis after the other: a spline per axis is much cheaper than per point.
    for axis, at in enumerate(places):
        spline = ndimage.spline_filter1d(coarse, 3, axis=axis, mode="mirror")
        low = np.floor(at).astype(int)
        t = at - low
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        last = coarse.shape[axis] - 1
        total = 0.0
        for k, weight in zip(range(-1, 3), weights, strict=True):
            index = np.abs(low + k)
            index = np.where(index > last, 2 * last - index, index)
            factor = weight / 6
            total = total + np.take(spline, index, axis=axis) * (
                factor[:, None] if axis == 0 else factor[None, :]
            )
        coarse = np.asarray(total)
    return coarse.astype(np.float32)


def _eroded(
    uplift: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and upstream area after some steps of rising and cutting."""
    shape = uplift.shape
    z = 0.12 * uplift + 0.02 * rng.random(shape)
    edge = np.zeros(shape, bool)
    edge[[0, -1], :] = edge[:, [0, -1]] = True
    base = (edge & (uplift < 0.1)).ravel()
    area = np.ones(shape)
    for turn in range(STEPS):
        # New pits are few and slow to matter: filling them now and then, and at last, is enough.
        if turn % 5 == 0 or turn == STEPS - 1:
            z = _filled(z, base)
        receiver, distance = _receivers(z)
        order = np.argsort(z.ravel(), kind="stable").tolist()
        to = receiver.tolist()
        upstream = [1.0] * z.size
        for node in reversed(order):
            if to[node] != node:
                upstream[to[node]] += upstream[node]
        area = np.array(upstream)
        rate = (ERODIBILITY * area**AREA_EXPONENT / distance / STEPS).tolist()
        flat = np.where(base, 0.0, z.ravel() + uplift.ravel() / STEPS).tolist()
        # A node below its own receiver cannot be: lower nodes are settled first.
        for node in order:
            if to[node] != node:
                flat[node] = (flat[node] + rate[node] * flat[to[node]]) / (1 + rate[node])
        z = np.array(flat).reshape(shape)
    return z - z.min(), area.reshape(shape)


def _filled(z: NDArray[np.float64], base: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Raise pits until all water leaves at ``base`` (priority flood: Barnes et al. 2014,
    doi 10.1016/j.cageo.2013.04.024)."""
    rows, cols = z.shape
    level = z.ravel().tolist()
    done = [False] * z.size
    heap = [(level[node], node) for node in np.flatnonzero(base).tolist()]
    for _, node in heap:
        done[node] = True
    heapq.heapify(heap)
    while heap:
        height, node = heapq.heappop(heap)
        row, col = divmod(node, cols)
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            for c in range(max(col - 1, 0), min(col + 2, cols)):
                near = r * cols + c
                if not done[near]:
                    done[near] = True
                    # A little slope, so that the filled pit drains the way the flood came.
                    if level[near] <= height:
                        level[near] = height + 1e-5
                    heapq.heappush(heap, (level[near], near))
    return np.array(level).reshape(z.shape)


def _receivers(z: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The steepest lower neighbour of every node (itself in a pit), and the distance to it."""
    rows, cols = z.shape
    padded = np.pad(z, 1, constant_values=np.inf)
    best = np.zeros(z.shape)
    receiver = np.arange(z.size).reshape(z.shape)
    own = receiver.copy()
    distance = np.ones(z.shape)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy == 0 and dx == 0:
                continue
            length = float(np.hypot(dy, dx))
            drop = (z - padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + cols]) / length
            better = drop > best
            best[better] = drop[better]
            receiver[better] = own[better] + dy * cols + dx
            distance[better] = length
    return receiver.ravel(), distance.ravel()
