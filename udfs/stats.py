"""Scalar functions on one tile blob, for SQL: `tile_stats`, `tile_value`."""

import math
from typing import Any

import numpy as np

from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import InputError

NODATA = {"uint8": 0, "int16": -32768}
"""Stored value that means "no value", by dtype; NaN for floats, none for the others (flags)."""


def tile_stats(blob: Any) -> dict[str, Any] | None:
    """Statistics of the pixels that have a value, in stored units.

    Parameters
    ----------
    blob : bytes-like or None
        One tile blob. Nodata is 0 in uint8, -32768 in int16, NaN in floats.

    Returns
    -------
    stats : dict or None
        ``count`` (int), ``min, max, mean, std`` (float, population deviation; None where
        nothing has a value). None for a missing blob.

    Raises
    ------
    BlobError
        Damaged or not a tile blob.

    Examples
    --------
    >>> from geoquarry.schemas.blob import encode
    >>> tile_stats(encode([[0, 2, 4]], dtype="uint8"))
    {'count': 2, 'min': 2.0, 'max': 4.0, 'mean': 3.0, 'std': 1.0}
    """
    if blob is None:
        return None
    array = decode(blob)
    if array.dtype.kind == "f":
        found = array[~np.isnan(array)].astype(np.float64)
    elif array.dtype.name in NODATA:
        found = array[array != NODATA[array.dtype.name]]
    else:
        found = array.ravel()
    if not found.size:
        return {"count": 0, "min": None, "max": None, "mean": None, "std": None}
    count = int(found.size)
    if found.dtype.kind == "f":
        mean, std = float(found.mean()), float(found.std())
    else:  # integers sum exactly, so the answer is the same on every engine
        exact = found.astype(object) if found.dtype.itemsize > 2 else found.astype(np.int64)
        total, squares = int(exact.sum()), int((exact * exact).sum())
        mean = total / count
        std = math.sqrt((count * squares - total * total) / (count * count))
    return {
        "count": count,
        "min": float(found.min()),
        "max": float(found.max()),
        "mean": mean,
        "std": std,
    }


def tile_value(blob: Any, row: int, col: int) -> float | None:
    """The stored value of one pixel.

    Parameters
    ----------
    blob : bytes-like or None
    row, col : int
        From 0 at the top left of the stored raster.

    Returns
    -------
    value : float or None
        None for a missing blob and for NaN.

    Raises
    ------
    InputError
        The pixel lies outside the raster.

    Examples
    --------
    >>> from geoquarry.schemas.blob import encode
    >>> tile_value(encode([[0, 2, 4]], dtype="uint8"), 0, 2)
    4.0
    """
    if blob is None:
        return None
    array = decode(blob)
    height, width = array.shape
    if not (0 <= row < height and 0 <= col < width):
        raise InputError(
            f"Pixel (row {row}, col {col}) lies outside the raster of {height} x {width}; "
            "rows and columns count from 0 at the top left."
        )
    value = float(array[row, col])
    return None if math.isnan(value) else value
