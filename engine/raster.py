"""GeoTIFF in, rasters onto a frame, coordinates between frames (GDAL and PROJ by rasterio).

A frame is (crs, transform, shape). Fill never takes part in an average: it is told to the warper
as nodata, which then weights the valid neighbours only.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import ArrayLike, NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject, transform, transform_bounds
from rasterio.windows import Window

from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Raster, Transform

Bounds = tuple[float, float, float, float]
"""left, bottom, right, top."""
Points = tuple[NDArray[np.float64], NDArray[np.float64]]

MAX_BYTES = 4 * 2**30
"""Largest raster that is decoded at once; a header may announce any size."""
NODATA_INT16 = -32768
LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""Ground lies in between (Dead Sea shore -430 m, Everest 8849 m)."""
ELEVATION_VOIDS = (-9999, -32767, -32768)
"""Voids whatever the tags say: ASTER GDEM and stereo DEMs -9999, Copernicus -32767, SRTM -32768."""
LATTICE_STEP = 16
"""Pixels between exactly projected points; bilinear between them is good to 0.01 px (tested)."""


@dataclass(frozen=True)
class GeoTiff:
    """A raster file, or the window of it that was asked for.

    Attributes
    ----------
    data : array, shape (band, y, x)
    transform : Transform
    crs : str
    nodata : float or None
        As tagged.
    scale, offset : tuple of float, shape (band,)
        As tagged; 1 and 0 where the file has no such tag.
    """

    data: NDArray[Any]
    transform: Transform
    crs: str
    nodata: float | None
    scale: tuple[float, ...]
    offset: tuple[float, ...]


def read_geotiff(
    path: str | Path,
    *,
    bounds: Bounds | None = None,
    crs: str | None = None,
    margin_px: int = 4,
    max_bytes: int = MAX_BYTES,
) -> GeoTiff | None:
    """Read a GeoTIFF, or only what lies under a box.

    Parameters
    ----------
    path : str or Path
        Any raster GDAL reads; GeoTIFF is what we test.
    bounds : tuple of float, optional
        Left, bottom, right, top in ``crs``.
    crs : str, optional
        Of ``bounds``; the file's own by default.
    margin_px : int
        Pixels read beyond the box, so that an interpolation finds its neighbours.
    max_bytes : int
        Refuse to decode more, before anything is allocated.

    Returns
    -------
    raster : GeoTiff or None
        None when the box lies beside the file.

    Raises
    ------
    InputError
        Missing, unreadable, without a coordinate system, or over ``max_bytes``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        with rasterio.open(path) as source:
            if source.crs is None or source.transform.is_identity:
                raise InputError(f"{path}: the raster has no georeference.")
            window = Window(0, 0, source.width, source.height)
            if bounds is not None:
                name = source.crs.to_wkt()
                box = project_bounds(bounds, crs or name, name)
                found = _window(box, source, margin_px)
                if found is None:
                    return None
                window = found
            pixels = math.ceil(window.width) * math.ceil(window.height)
            nbytes = pixels * sum(np.dtype(name).itemsize for name in source.dtypes)
            if nbytes > max_bytes:
                raise InputError(
                    f"{path}: {source.count} x {window.height} x {window.width} pixels there are "
                    f"{nbytes} bytes, over the limit of {max_bytes}. Cut the file to the scene."
                )
            at = source.window_transform(window)
            return GeoTiff(
                data=source.read(window=window),
                transform=(at.a, at.b, at.c, at.d, at.e, at.f),
                crs=source.crs.to_wkt(),
                nodata=source.nodata,
                scale=tuple(source.scales),
                offset=tuple(source.offsets),
            )
    except (RasterioError, CRSError, OSError) as error:
        raise InputError(f"{path}: not a readable raster ({error}).") from error


def warp_to(
    rasters: Iterable[Raster],
    crs: str,
    transform_: Transform,
    shape: tuple[int, int],
    *,
    nodata: float,
    resampling: str = "bilinear",
) -> NDArray[Any]:
    """Bring rasters onto one frame and mosaic them: where several reach, the first valid wins.

    Parameters
    ----------
    rasters : iterable of Raster
        Same dtype; pixels equal to ``nodata`` are left out of every average.
    crs, transform_, shape
        Target frame.
    nodata : float
        Fill of the sources and of the answer.
    resampling : str
        A GDAL kernel: ``nearest``, ``bilinear``, ``average`` ... Towards coarser pixels GDAL widens
        the bilinear kernel by itself.

    Returns
    -------
    data : array, shape ``shape``
        In the sources' dtype; int16 when there are none.
    """
    result: NDArray[Any] | None = None
    for raster in rasters:
        layer = np.full(shape, nodata, dtype=raster.data.dtype)
        reproject(
            source=np.ascontiguousarray(raster.data),
            destination=layer,
            src_transform=Affine(*raster.transform),
            src_crs=_crs(raster.crs),
            src_nodata=nodata,
            dst_transform=Affine(*transform_),
            dst_crs=_crs(crs),
            dst_nodata=nodata,
            resampling=Resampling[resampling],
        )
        result = layer if result is None else np.where(result == nodata, layer, result)
    return np.full(shape, nodata, dtype=np.int16) if result is None else result


def elevation_on(
    source: float | str | Path | Sequence[str | Path],
    crs: str,
    transform_: Transform,
    shape: tuple[int, int],
) -> NDArray[np.int16]:
    """Elevation on a frame.

    Parameters
    ----------
    source : number, path, or sequence of paths
        One height [m] for all, or DEM tiles; where tiles overlap the first valid wins.
    crs, transform_, shape
        Target frame.

    Returns
    -------
    elevation_m : int16, shape (y, x)
        Rounded; -32768 in voids and beyond the tiles. 0 is sea level, not a void.

    Raises
    ------
    InputError
        A file cannot be read, or the one height is outside -500 to 9000 m (in files such
        values are voids).
    """
    if isinstance(source, int | float):
        if not LOWEST_M <= source <= HIGHEST_M:
            raise InputError(f"Elevation {source} m is outside -500 to 9000 m. Give metres.")
        return np.full(shape, round(source), dtype=np.int16)
    paths = [source] if isinstance(source, str | Path) else list(source)
    bounds = frame_bounds(transform_, shape)
    tiles = []
    for path in paths:
        tile = read_geotiff(path, bounds=bounds, crs=crs)
        if tile is None:
            continue
        stored = tile.data[0].astype(np.float32)
        void = ~np.isfinite(stored) | np.isin(stored, ELEVATION_VOIDS)
        if tile.nodata is not None:
            void |= stored == np.float32(tile.nodata)
        height = stored * np.float32(tile.scale[0]) + np.float32(tile.offset[0])
        # Whatever no ground can have is fill that nobody declared (65535, -3.4e38, -99999 ...).
        void |= (height < LOWEST_M) | (height > HIGHEST_M)
        height[void] = NODATA_INT16
        tiles.append(Raster(height, tile.transform, tile.crs))
    merged = warp_to(tiles, crs, transform_, shape, nodata=NODATA_INT16)
    elevation: NDArray[np.int16] = np.rint(merged).astype(np.int16)
    return elevation


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
    found = transform(_crs(src_crs), _crs(dst_crs), xs.ravel().tolist(), ys.ravel().tolist())
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
        _crs(src_crs), _crs(dst_crs), *bounds, densify_pts=steps
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
    x, y = _apply(grid_transform, *np.meshgrid(columns + 0.5, rows + 0.5))
    gx, gy = project_points(x, y, grid_crs, granule_crs)
    column, row = _apply(_inverse(granule_transform), gx, gy)
    return _between(row - 0.5, rows, columns, shape), _between(column - 0.5, rows, columns, shape)


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


def _window(box: Bounds, source: Any, margin_px: int) -> Window | None:
    """The part of an open raster under a box in its own CRS, None when they do not meet."""
    left_bottom, right_top = (box[0], box[1]), (box[2], box[3])
    back = _inverse(tuple(source.transform)[:6])
    (c0, r0), (c1, r1) = (_apply(back, *corner) for corner in (left_bottom, right_top))
    left, right = sorted((c0, c1))
    top, bottom = sorted((r0, r1))
    first_col, first_row = max(int(left) - margin_px, 0), max(int(top) - margin_px, 0)
    last_col = min(int(right) + 1 + margin_px, source.width)
    last_row = min(int(bottom) + 1 + margin_px, source.height)
    if first_col >= last_col or first_row >= last_row:
        return None
    return Window(first_col, first_row, last_col - first_col, last_row - first_row)


def _apply(transform_: Transform, x: Any, y: Any) -> tuple[Any, Any]:
    a, b, c, d, e, f = transform_
    return a * x + b * y + c, d * x + e * y + f


def _inverse(transform_: Transform) -> Transform:
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


def _crs(name: str) -> CRS:
    try:
        return CRS.from_user_input(name)
    except CRSError as error:
        raise InputError(f"Coordinate system {name!r} is not known to PROJ ({error}).") from error
