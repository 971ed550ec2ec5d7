"""The MODIS sinusoidal grid: where a tile lies, what its stored numbers mean."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine import odl
from geoquarry.engine.hdf4 import Hdf4
from geoquarry.engine.raster import Bounds
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Transform

RADIUS_M = 6371007.181
"""Sphere of the MODIS sinusoidal grid (ProjParams of every tile's StructMetadata)."""
SINUSOIDAL = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS_M} +units=m +no_defs"


def grid_of(attributes: dict[str, Any], dataset: str, where: str) -> tuple[Transform, int, int]:
    """Place of a gridded dataset from HDF-EOS structure metadata.

    Returns
    -------
    transform : Transform
        Corner of the upper left pixel, in metres of ``SINUSOIDAL``.
    rows, columns : int

    Raises
    ------
    InputError
        No grid holds the dataset, or it is not sinusoidal.
    """
    for name, text in odl.pieces(attributes, "StructMetadata", r"\d+").items():
        if found := _grids(text, f"{where} ({name})").get(dataset):
            return found
    raise InputError(f"{where}: StructMetadata has no grid with {dataset}.")


@lru_cache(maxsize=64)
def _grids(text: str, where: str) -> dict[str, tuple[Transform, int, int]]:
    """Frames by dataset; cached because each overpass and tile asks again."""
    found: dict[str, tuple[Transform, int, int]] = {}
    for grid in dict(odl.parse(text, where).get("GridStructure", {})).values():
        try:
            projection = grid["Projection"]
            columns, rows = int(grid["XDim"]), int(grid["YDim"])
            left, top = (float(x) for x in grid["UpperLeftPointMtrs"])
            right, bottom = (float(x) for x in grid["LowerRightMtrs"])
            names = [entry["DataFieldName"] for entry in grid["DataField"].values()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{where}: a grid without its frame ({error!r}).") from error
        if projection != "GCTP_SNSOID":
            raise InputError(f"{where}: projection {projection!r}; only sinusoidal is read.")
        width, height = (right - left) / columns, (top - bottom) / rows
        found |= dict.fromkeys(names, ((width, 0.0, left, 0.0, -height, top), rows, columns))
    return found


def scaled(file: Hdf4, name: str, window: tuple[slice, ...] = ()) -> NDArray[np.float64]:
    """Physical values by the dataset's own attributes.

    Returns
    -------
    values : float64
        scale_factor x (stored - add_offset), the HDF-EOS2 rule; NaN where fill or out of range.
    """
    about = file.dataset_attributes(name)
    stored = file.read(name, window)
    valid = stored != about.get("_FillValue", -28672)
    low, high = about.get("valid_range", (-math.inf, math.inf))
    valid &= (stored >= low) & (stored <= high)
    # HDF-EOS2: value = scale x (stored - offset); the offsets of these products are 0.
    scale, offset = float(about.get("scale_factor", 1.0)), float(about.get("add_offset", 0.0))
    return np.where(valid, (stored - offset) * scale, np.nan)


def inside(
    transform: Transform, rows: int, columns: int, bounds: Bounds
) -> tuple[tuple[slice, slice], NDArray[np.bool_]] | None:
    """Pixels of a sinusoidal grid whose centres lie in a box, half a pixel added on each side.

    Parameters
    ----------
    transform : Transform
    rows, columns : int
    bounds : tuple of float
        West, south, east, north [degrees]; west > east where the box crosses 180 degrees.

    Returns
    -------
    (window, chosen) or None
        Row and column slices, and a bool array of that size; None when the box lies elsewhere.
    """
    width, _, left, _, height, top = transform
    west, south, east, north = bounds
    if east < west:  # a box across 180 degrees, as PROJ writes it
        east += 360.0
    pad = math.degrees(width / 2 / RADIUS_M)
    latitude = np.degrees((top + (np.arange(rows) + 0.5) * height) / RADIUS_M)
    at = np.flatnonzero((latitude >= south - pad) & (latitude <= north + pad))
    if not at.size:
        return None
    shrink = np.cos(np.radians(latitude[at]))[:, None]
    x = left + (np.arange(columns) + 0.5) * width
    longitude = np.degrees(x[None, :] / RADIUS_M) / shrink
    # Measured from the middle of the box: the seam at 180 degrees drops out.
    middle, half = (west + east) / 2, (east - west) / 2
    away = np.abs((longitude - middle + 180.0) % 360.0 - 180.0)
    chosen = away <= half + pad / shrink
    across = np.flatnonzero(chosen.any(axis=0))
    if not across.size:
        return None
    window = (slice(int(at[0]), int(at[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1))
    return window, chosen[:, window[1]]
