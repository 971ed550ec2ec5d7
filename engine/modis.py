"""MODIS ancillary files: surface reflectance (MOD09A1 or GeoTIFF); aerosol comes from mcd19a2.

A subset of a tile carries an updated `StructMetadata.0`, so its place is read from there and never
from the tile number in the name.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.frame import Bounds, frame_bounds, project_bounds
from geoquarry.engine.hdf4 import MAGIC, Hdf4
from geoquarry.engine.mcd19a2 import read_aerosol
from geoquarry.engine.raster import NODATA_INT16, read_geotiff, warp_to
from geoquarry.engine.sinusoidal import SINUSOIDAL, grid_of, scaled
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Raster, Transform

__all__ = ["SINUSOIDAL", "read_aerosol", "read_reference", "reference_on"]

REFLECTANCE_RANGE = (-100, 16000)
"""Valid stored values of MOD09 (its valid_range attribute), scale 1e-4."""
REFLECTANCE_SCALE = 1e-4
STATE = "sur_refl_state_500m"
CLOUD_STATE_MASK, CLOUDY_OR_MIXED, CLOUD_SHADOW = 0b11, (0b01, 0b10), 0b100
"""State flags: bits 0-1 cloud (00 clear, 01 cloudy, 10 mixed, 11 not set = clear), bit 2 shadow."""


MARGIN_PX = 4
_Layers = tuple[NDArray[np.float64], Transform, str]
"""Seven bands in steps of 1e-4 (band, y, x; NaN = fill), transform, crs."""


def read_reference(
    path: str | Path, *, bounds: Bounds | None = None, crs: str | None = None
) -> list[Raster]:
    """Seven bands of surface reflectance, in the file's own frame.

    MOD09A1 (HDF4): clouds and cloud shadows of the state flags are left out. GeoTIFF: seven bands
    in the same order; without a scale tag the values are taken as 1e-4 steps. In both, values
    outside -100 to 16000 are fill, and so is a pixel that is 0 in all seven bands (files without
    nodata tag are padded so; a 0 in one band alone is a dark surface).

    Parameters
    ----------
    path : str or Path
    bounds : tuple of float, optional
        Left, bottom, right, top in ``crs``: read no more than this and a margin.
    crs : str, optional
        Of ``bounds``.

    Returns
    -------
    bands : list of Raster, 7 items
        Red, NIR, blue, green, 1240, 1640, 2130 nm; int16 x 1e-4, -32768 = fill. Empty when
        ``bounds`` lies beside the file.

    Raises
    ------
    InputError
        Neither kind of file, not seven bands, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    with path.open("rb") as stream:
        hdf = stream.read(4) == MAGIC
    found = (_mod09a1 if hdf else _reference_tiff)(path, bounds, crs or SINUSOIDAL)
    if found is None:
        return []
    values, transform, own_crs = found
    low, high = REFLECTANCE_RANGE
    # NaN compares false and so becomes fill as well.
    valid = (values >= low) & (values <= high) & (values != 0).any(axis=0)
    stored = np.where(valid, np.rint(np.where(valid, values, 0)), NODATA_INT16).astype(np.int16)
    return [Raster(band, transform, own_crs) for band in stored]


def reference_on(
    path: str | Path, crs: str, transform: Transform, shape: tuple[int, int]
) -> list[NDArray[np.int16]]:
    """Reference bands on a frame, bilinear between valid pixels.

    Returns
    -------
    bands : list of int16, shape (y, x), 7 items
        As ``read_reference``; -32768 where the file has nothing.
    """
    bands = read_reference(path, bounds=frame_bounds(transform, shape), crs=crs)
    if not bands:
        return [np.full(shape, NODATA_INT16, dtype=np.int16) for _ in range(7)]
    return [warp_to([band], crs, transform, shape, nodata=NODATA_INT16) for band in bands]


def _mod09a1(path: Path, bounds: Bounds | None, crs: str) -> _Layers | None:
    names = [f"sur_refl_b{n:02d}" for n in range(1, 8)]
    with Hdf4(path) as file:
        (width, _, left, _, height, top), rows, columns = grid_of(
            file.attributes(), names[0], str(path)
        )
        shape = file.shapes().get(names[0])
        if shape != (rows, columns):
            raise InputError(f"{path}: {names[0]} is {shape}, not {(rows, columns)} as announced.")
        x0, y0, x1, y1 = 0, 0, columns, rows
        if bounds is not None:
            west, south, east, north = project_bounds(bounds, crs, SINUSOIDAL)
            x0 = max(math.floor((west - left) / width) - MARGIN_PX, 0)
            x1 = min(math.ceil((east - left) / width) + MARGIN_PX, columns)
            y0 = max(math.floor((north - top) / height) - MARGIN_PX, 0)
            y1 = min(math.ceil((south - top) / height) + MARGIN_PX, rows)
            if x0 >= x1 or y0 >= y1:
                return None
        window = (slice(y0, y1), slice(x0, x1))
        layers = [scaled(file, name, window) / REFLECTANCE_SCALE for name in names]
        state = file.read(STATE, window) if STATE in file.shapes() else None
    values = np.stack(layers)
    if state is not None:
        clouded = np.isin(state & CLOUD_STATE_MASK, CLOUDY_OR_MIXED) | (state & CLOUD_SHADOW > 0)
        values[:, clouded] = np.nan
    return values, (width, 0.0, left + x0 * width, 0.0, height, top + y0 * height), SINUSOIDAL


def _reference_tiff(path: Path, bounds: Bounds | None, crs: str) -> _Layers | None:
    raster = read_geotiff(path, bounds=bounds, crs=crs)
    if raster is None:
        return None
    if raster.data.shape[0] != 7:
        raise InputError(
            f"{path}: {raster.data.shape[0]} bands; a reflectance reference has 7 (MODIS 1-7)."
        )
    scale = np.array(raster.scale)[:, None, None]
    offset = np.array(raster.offset)[:, None, None]
    values = raster.data.astype(np.float64)
    if (scale != 1).any():
        values = (values * scale + offset) / REFLECTANCE_SCALE
    elif raster.data.dtype.kind == "f":
        raise InputError(f"{path}: {raster.data.dtype} without scale tags; store int16 x 1e-4.")
    if raster.nodata is not None:
        values[raster.data == raster.nodata] = np.nan
    return values, raster.transform, raster.crs
