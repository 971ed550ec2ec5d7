"""Aerosol and water vapour around a granule, from MCD19A2 (MAIAC) tiles."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from geoquarry.engine.aerosol_field import (
    REACH_KM,
    AerosolField,
    Floats,
    Part,
    Window,
    filled,
    window_around,
    wrapped,
)
from geoquarry.engine.hdf4 import Hdf4
from geoquarry.engine.overpass import AOD, Overpass, overpasses_of, utc
from geoquarry.engine.raster import NODATA_INT16, elevation_on
from geoquarry.engine.sinusoidal import RADIUS_M, SINUSOIDAL, scaled
from geoquarry.schemas.atmosphere import water_fractions
from geoquarry.schemas.errors import InputError

AOD_UNCERTAINTY, AOD_QUALITY = "AOD_Uncertainty", "AOD_QA"
WATER_VAPOUR = "Column_WV"
"""Datasets of MCD19A2, shape (orbit, y, x). Stored steps 0.001, 0.0001 (of optical depth), and
0.001 of the water vapour column [cm] = [g cm-2] above the surface, as the Earth Engine catalogue
lists them for MODIS/006/MCD19A2_GRANULES; what the file's own attributes say is what counts."""
QUALITY_SHIFT, QUALITY_MASK, BEST_QUALITY = 8, 0b1111, 0
"""AOD_QA bits 8-11, 0000 = best quality (MCD19 User Guide v6, table of QA bits)."""
CLOUD_MASK, CLOUDY = 0b111, (0b010, 0b011)
"""AOD_QA bits 0-2: 001 clear, 010 possibly cloudy (as other readers of the product have it),
011 cloudy (not looked up). The product has water vapour "over land and clouds" (its catalogue
page), and over clouds that cannot be the column above the ground."""
UNCERTAINTY_LIMITS = (0.01, 0.5)
"""A stated uncertainty beyond these counts as these, so that no pixel outweighs all others."""
FINER = 4
"""Elevation samples per pixel and axis."""
BLOCK_PX = 64
"""Pixels of the blocks in which elevations are averaged and kept for the next granule."""


def read_aerosol(
    paths: str | Path | Sequence[str | Path],
    *,
    longitude_deg: ArrayLike,
    latitude_deg: ArrayLike,
    acquired: datetime,
    dem: float | Sequence[Path],
) -> AerosolField:
    """Aerosol optical depth and water vapour around a granule from MCD19A2.

    The Terra overpass nearest in time comes first: its retrievals of best quality, smoothed, with
    gaps filled from up to 50 km away. Places it does not reach are taken from the other overpasses,
    Terra before Aqua, nearest first. Slightly negative retrievals count as 0. Files without orbit
    times give the mean of all their orbits (the day of the name stands for their time), files
    without AOD_QA all their retrievals; ``source`` says so.

    Water vapour is the column above each pixel's surface. It is brought to sea level with the
    pixel's own mean elevation before anything is averaged: relief shall not pass for weather.

    Parameters
    ----------
    paths : path or sequence of paths
        Tiles of the sinusoidal grid; several when the granule straddles them.
    longitude_deg, latitude_deg : float
        All places that will be asked for. The same places give the same field.
    acquired : datetime
        Time of the scene, UTC.
    dem : float or sequence of Path
        Elevation [m], or DEM tiles. Water vapour over pixels without elevation is not used.

    Returns
    -------
    field : AerosolField

    Raises
    ------
    InputError
        A file is not HDF4, truncated, has no ``Optical_Depth_055``, or lies on another lattice
        than the first.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    if not files:
        raise InputError("No MCD19A2 file given. Pass files, or an optical depth as a number.")
    overpasses = overpasses_of(files, acquired)
    tile = overpasses[0].parts[0][0]
    pixel_m, origin_m = tile.transform[0], (tile.transform[2], tile.transform[5])
    longitude, latitude = np.broadcast_arrays(wrapped(longitude_deg), np.asarray(latitude_deg))
    sound = np.isfinite(longitude) & np.isfinite(latitude)
    longitude, latitude = longitude[sound], latitude[sound].astype(np.float64)
    halves = [np.ones(longitude.shape, np.bool_)]
    if np.ptp(longitude) > 180:  # across 180 degrees, where the map is torn
        halves = [longitude < 0, longitude >= 0]
    parts, used, wet = [], [], False
    for half in halves:
        window = window_around(longitude[half], latitude[half], pixel_m, origin_m)
        part, served = _gathered(
            overpasses, window, window.places(longitude[half], latitude[half]), dem
        )
        parts.append(part)
        used += [o for o in served if o not in used]
        wet |= bool(np.isfinite(part.water_sea_level_g_cm2).any())
    return AerosolField(parts, _source(files, used, acquired, wet=wet))


def days_apart(source: str) -> int:
    """How many days the farthest overpass of a field's ``source`` lies from its scene.

    >>> days_apart("a.hdf: Terra, no AOD_QA, 9 days from the scene; beyond its reach b.hdf: Aqua")
    9
    """
    return max(map(int, re.findall(r"(\d+) days from the scene", source)), default=0)


def _source(files: list[Path], used: list[Overpass], acquired: datetime, *, wet: bool) -> str:
    if not used:
        names = ", ".join(path.name for path in files)
        return f"no retrieval within {REACH_KM:g} km in {names}"
    texts = []
    for overpass in used:
        names = ", ".join(tile.path.name for tile, _ in overpass.parts)
        graded = all(AOD_QUALITY in tile.names for tile, _ in overpass.parts)
        days = abs(overpass.time - utc(acquired)).days
        wording = f", {days} days from the scene" if days else ""
        quality = "best quality" if graded else "no AOD_QA"
        texts.append(f"{names}: {overpass.label}, {quality}{wording}")
    return "; beyond its reach ".join(texts) + ("; water vapour of the same" if wet else "")


def _gathered(
    overpasses: list[Overpass],
    window: Window,
    places: tuple[Floats, Floats],
    dem: float | Sequence[Path],
) -> tuple[Part, list[Overpass]]:
    """Fields on a window from as many overpasses as its places need, and which they were."""
    asked = np.zeros(window.shape, np.bool_)
    for down in (0, 1):
        for right in (0, 1):
            asked[
                np.floor(places[0]).astype(int) + down, np.floor(places[1]).astype(int) + right
            ] = True
    aod, uncertainty, water = (np.full(window.shape, np.nan) for _ in range(3))
    fraction: Floats | None = None
    used = []
    for overpass in overpasses:
        dry = np.isnan(water)
        lacks = np.isnan(aod)
        if not (asked & (lacks | dry)).any():
            break
        depth, stated, column = _mosaic(overpass, window)
        if (asked & lacks).any() and np.isfinite(depth).any():
            weights = np.clip(np.nan_to_num(stated, nan=np.inf), *UNCERTAINTY_LIMITS) ** -2.0
            if not np.isfinite(stated).any():
                weights = np.ones(window.shape)
            aod = np.where(lacks, filled(depth, window, weights), aod)
            spread = filled(np.where(np.isfinite(depth), stated, np.nan), window)
            uncertainty = np.where(lacks, spread, uncertainty)
            if (asked & lacks & np.isfinite(aod)).any():
                used.append(overpass)
        if (asked & dry).any() and np.isfinite(column).any():
            if fraction is None:
                fraction = _water_above(dem, window)
            water = np.where(dry, filled(column / fraction, window), water)
    return Part(window, aod, uncertainty, water), used


def _mosaic(overpass: Overpass, window: Window) -> tuple[Floats, Floats, Floats]:
    """Means over an overpass's layers: optical depth, its uncertainty, water above the surface."""
    total = np.zeros((3, *window.shape))
    count = np.zeros((3, *window.shape))
    for tile, layers in overpass.parts:
        row = round((tile.transform[5] - window.top_m) / -window.pixel_m)
        column = round((tile.transform[2] - window.left_m) / window.pixel_m)
        top, left = max(row, 0), max(column, 0)
        bottom = min(row + tile.rows, window.shape[0])
        right = min(column + tile.columns, window.shape[1])
        if top >= bottom or left >= right:
            continue
        piece = (slice(top - row, bottom - row), slice(left - column, right - column))
        with Hdf4(tile.path) as file:
            for layer in layers:
                values = np.stack(_layer(file, tile.names, (slice(layer, layer + 1), *piece)))
                known = np.isfinite(values)
                total[:, top:bottom, left:right] += np.where(known, values, 0.0)
                count[:, top:bottom, left:right] += known
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean[0], mean[1], mean[2]


def _layer(file: Hdf4, names: frozenset[str], at: tuple[slice, ...]) -> tuple[Floats, ...]:
    depth = scaled(file, AOD, at)[0]
    nothing = np.full(depth.shape, np.nan)
    stated = scaled(file, AOD_UNCERTAINTY, at)[0] if AOD_UNCERTAINTY in names else nothing
    column = scaled(file, WATER_VAPOUR, at)[0] if WATER_VAPOUR in names else nothing
    good, clear = np.isfinite(depth), column > 0
    if AOD_QUALITY in names:
        quality = file.read(AOD_QUALITY, at)[0]
        good &= ((quality >> QUALITY_SHIFT) & QUALITY_MASK) == BEST_QUALITY
        clear &= ~np.isin(quality & CLOUD_MASK, CLOUDY)
    return (
        np.where(good, np.maximum(depth, 0.0), np.nan),
        np.where(good & (stated > 0), stated, np.nan),
        np.where(clear, column, np.nan),
    )


def _water_above(dem: float | Sequence[Path], window: Window) -> Floats:
    """Share of the water vapour above each pixel's mean elevation; NaN where that is not known."""
    sources = dem if isinstance(dem, int | float) else tuple(str(path) for path in dem)
    # Blocks are counted from a fixed corner: other granules nearby need the same ones.
    first_row = round(-window.top_m / window.pixel_m)
    first_column = round(window.left_m / window.pixel_m)
    lag = (
        round(window.left_m - first_column * window.pixel_m, 3),
        round(window.top_m + first_row * window.pixel_m, 3),
    )
    height = np.empty(window.shape)
    for block_row in _blocks(first_row, window.shape[0]):
        for block_column in _blocks(first_column, window.shape[1]):
            block = _elevation(sources, block_row, block_column, window.pixel_m, lag)
            r, c = block_row * BLOCK_PX - first_row, block_column * BLOCK_PX - first_column
            to = np.s_[
                max(r, 0) : min(r + BLOCK_PX, window.shape[0]),
                max(c, 0) : min(c + BLOCK_PX, window.shape[1]),
            ]
            height[to] = block[to[0].start - r : to[0].stop - r, to[1].start - c : to[1].stop - c]
    known = np.isfinite(height)
    return np.where(known, water_fractions(np.where(known, height, 0.0)), np.nan)


def _blocks(first: int, count: int) -> Iterable[int]:
    return range(first // BLOCK_PX, (first + count - 1) // BLOCK_PX + 1)


@lru_cache(maxsize=512)
def _elevation(
    dem: float | tuple[str, ...],
    block_row: int,
    block_column: int,
    pixel_m: float,
    lag: tuple[float, float],
) -> Floats:
    """Mean elevation of one block's pixels; NaN where there is none."""
    size_m = BLOCK_PX * pixel_m
    corner = (lag[0] + block_column * size_m, lag[1] - block_row * size_m)
    half_m = np.pi * RADIUS_M * np.cos((corner[1] - np.array([0, size_m])) / RADIUS_M)
    if max(abs(corner[0]), abs(corner[0] + size_m)) > half_m.min():
        # Beyond the map's edge at 180 degrees nothing can be projected.
        return np.full((BLOCK_PX, BLOCK_PX), np.nan)
    # Sampled finely and averaged here: oblique pixels are no matter for the warper's own kernels.
    step = pixel_m / FINER
    transform = (step, 0.0, corner[0], 0.0, -step, corner[1])
    fine = elevation_on(dem, SINUSOIDAL, transform, (BLOCK_PX * FINER, BLOCK_PX * FINER))
    cells = fine.reshape(BLOCK_PX, FINER, BLOCK_PX, FINER).astype(np.float64)
    known = cells != NODATA_INT16
    count = known.sum(axis=(1, 3))
    mean = np.where(known, cells, 0.0).sum(axis=(1, 3)) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)
