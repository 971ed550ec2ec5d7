"""Frames: which ground a raster covers, and points from one frame to another (PROJ by rasterio).

A frame is (crs, transform, shape).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform, transform_bounds

from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Transform

Bounds = tuple[float, float, float, float]
"""left, bottom, right, top."""
Points = tuple[NDArray[np.float64], NDArray[np.float64]]

LATTICE_STEP = 16
"""Pixels between exactly projected points; bilinear between them is good to 0.01 px (tested)."""


def project_points(x: ArrayLike, y: ArrayLike, src_crs: str, dst_crs: str) -> Points:
    """Transform points exactly (PROJ), x before y in every system, longitude before latitude.

    Returns
    -------
    x, y : float64, shape of the input
        Infinite where a point has no image.

    Examples
    --------
    >>> x, y = project_points([500000.0], [0.0], "EPSG:32631", "EPSG:4326")
    >>> round(float(x[0]), 6), round(float(y[0]), 6)
    (3.0, 0.0)
    """
    xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    found = transform(crs_of(src_crs), crs_of(dst_crs), xs.ravel().tolist(), ys.ravel().tolist())
    out = [np.asarray(part, dtype=np.float64).reshape(xs.shape) for part in found[:2]]
    return out[0], out[1]


def project_bounds(bounds: Bounds, src_crs: str, dst_crs: str, *, steps: int = 21) -> Bounds:
    """Box around the image of a box, its edges followed in ``steps`` points.

    Raises
    ------
    InputError
        The box has no image in the target system.
    """
    left, bottom, right, top = transform_bounds(
        crs_of(src_crs), crs_of(dst_crs), *bounds, densify_pts=steps
    )
    if not np.isfinite([left, bottom, right, top]).all():
        raise InputError(f"Box {bounds} of {src_crs} has no image in {dst_crs}.")
    return float(left), float(bottom), float(right), float(top)


def frame_bounds(transform_: Transform, shape: tuple[int, int]) -> Bounds:
    """Left, bottom, right, top of a north-up frame, in its own coordinates.

    >>> frame_bounds((30.0, 0.0, 100.0, 0.0, -30.0, 900.0), (2, 3))
    (100.0, 840.0, 190.0, 900.0)
    """
    a, _, c, _, e, f = transform_
    return c, f + e * shape[0], c + a * shape[1], f


def outline(transform_: Transform, shape: tuple[int, int], *, steps: int = 21) -> Points:
    """Points along the four edges of a frame, clockwise from the upper left, not closed.

    >>> x, y = outline((1.0, 0.0, 0.0, 0.0, -1.0, 2.0), (2, 2), steps=1)
    >>> x.tolist(), y.tolist()
    ([0.0, 2.0, 2.0, 0.0], [2.0, 2.0, 0.0, 0.0])
    """
    left, bottom, right, top = frame_bounds(transform_, shape)
    along = np.arange(steps) / steps
    low, high = np.zeros(steps), np.ones(steps)
    u = np.concatenate([along, high, 1 - along, low])
    v = np.concatenate([low, along, high, 1 - along])
    return left + u * (right - left), top + v * (bottom - top)


def pixel_coordinates(
    grid_crs: str,
    grid_transform: Transform,
    shape: tuple[int, int],
    granule_crs: str,
    granule_transform: Transform,
    *,
    step: int = LATTICE_STEP,
) -> Points:
    """Where each target pixel's centre falls in a source raster.

    Parameters
    ----------
    grid_crs, grid_transform, shape
        Target frame.
    granule_crs, granule_transform
        Source frame; a source on another lattice of the same CRS follows by scale and shift.
    step : int
        Pixels between exactly projected points; 1 projects each pixel.

    Returns
    -------
    rows, columns : float64, shape (y, x)
        In pixel centres: row 0.0 is the centre of the source's first row.
    """
    rows = _lattice(shape[0], step)
    columns = _lattice(shape[1], step)
    x, y = apply(grid_transform, *np.meshgrid(columns + 0.5, rows + 0.5))
    gx, gy = project_points(x, y, grid_crs, granule_crs)
    column, row = apply(inverse(granule_transform), gx, gy)
    return _between(row - 0.5, rows, columns, shape), _between(column - 0.5, rows, columns, shape)


def apply(transform_: Transform, x: Any, y: Any) -> tuple[Any, Any]:
    """Pixel coordinates (column, row; a corner is whole) to coordinates of the frame.

    >>> apply((30.0, 0.0, 100.0, 0.0, -30.0, 900.0), 1, 2)
    (130.0, 840.0)
    """
    a, b, c, d, e, f = transform_
    return a * x + b * y + c, d * x + e * y + f


def inverse(transform_: Transform) -> Transform:
    """The way back: what `apply` needs to turn coordinates into columns and rows.

    Raises
    ------
    InputError
        There is no way back.

    Examples
    --------
    >>> apply(inverse((30.0, 0.0, 100.0, 0.0, -30.0, 900.0)), 130.0, 840.0)
    (1.0, 2.0)
    """
    a, b, c, d, e, f = transform_
    size = a * e - b * d
    if size == 0:
        raise InputError(f"Transform {transform_} maps the raster onto a line.")
    return (
        e / size,
        -b / size,
        (b * f - c * e) / size,
        -d / size,
        a / size,
        (c * d - a * f) / size,
    )


def crs_of(name: str) -> CRS:
    """A coordinate system by its code or definition.

    Raises
    ------
    InputError
        PROJ does not know it.
    """
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise InputError(f"Coordinate system {name!r} is not known to PROJ ({error}).") from error


def _lattice(size: int, step: int) -> NDArray[np.float64]:
    return np.unique(np.append(np.arange(0, size, step), size - 1)).astype(np.float64)


def _between(
    values: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Bilinear between lattice values, one axis after the other (no BLAS: same bits everywhere)."""
    for axis, (nodes, size) in enumerate(zip((rows, columns), shape, strict=True)):
        at = np.arange(size, dtype=np.float64)
        low = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, max(nodes.size - 2, 0))
        high = np.minimum(low + 1, nodes.size - 1)
        span = np.maximum(nodes[high] - nodes[low], 1.0)
        weight = (at - nodes[low]) / span
        if axis == 0:
            weight = weight[:, None]
        first, second = np.take(values, low, axis=axis), np.take(values, high, axis=axis)
        values = first + weight * (second - first)
    return values
