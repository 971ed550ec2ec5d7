"""The MODIS sinusoidal grid: where a tile lies, what its stored numbers mean."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.engine import odl
from geoquarry.engine.hdf4 import Hdf4
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
            if min(columns, rows) < 1 or not all(map(math.isfinite, (left, top, right, bottom))):
                raise ValueError((columns, rows, left, top, right, bottom))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
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


def to_sinusoidal(
    longitude_deg: ArrayLike, latitude_deg: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates on the MODIS sinusoidal grid [m], the geodetic latitude taken as the sphere's.

    Longitudes from -180 to 180; float64, of the arguments' shape.
    """
    latitude = np.radians(np.asarray(latitude_deg, np.float64))
    longitude = np.radians(np.asarray(longitude_deg, np.float64))
    return RADIUS_M * longitude * np.cos(latitude), RADIUS_M * latitude
