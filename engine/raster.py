"""GeoTIFF in, rasters onto a frame (GDAL by rasterio).

Fill never takes part in an average: it is told to the warper as nodata, which then weights the
valid neighbours only.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from geoquarry.engine.frame import Bounds, apply, crs_of, frame_bounds, inverse, project_bounds
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Raster, Transform

# Between arrays `reproject` makes a dataset that has no georeference for a moment. It hides the
# warning about that with `warnings.catch_warnings`, which changes filters of the whole process:
# among threads one of them puts the filters back while another still needs them. A file without a
# georeference warns from another module, and `read_geotiff` refuses it.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module=r"rasterio\.warp$")

MAX_BYTES = 4 * 2**30
"""Largest raster that is decoded at once; a header may announce any size."""
NODATA_INT16 = -32768
LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""Ground lies in between (Dead Sea shore -430 m, Everest 8849 m)."""
ELEVATION_VOIDS = (-9999, -32767, -32768)
"""Voids whatever the tags say: ASTER GDEM and stereo DEMs -9999, Copernicus -32767, SRTM -32768."""


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
            src_crs=crs_of(raster.crs),
            src_nodata=nodata,
            dst_transform=Affine(*transform_),
            dst_crs=crs_of(crs),
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
        A file cannot be read or has several bands, or the one height is outside -500 to 9000 m
        (in files such values are voids).
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
        if len(tile.data) != 1:  # whatever its first band is: hardly heights
            raise InputError(
                f"{path}: {len(tile.data)} bands, a DEM has one. Give a GeoTIFF of heights alone."
            )
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


def _window(box: Bounds, source: Any, margin_px: int) -> Window | None:
    """The part of an open raster under a box in its own CRS, None when they do not meet."""
    left_bottom, right_top = (box[0], box[1]), (box[2], box[3])
    back = inverse(tuple(source.transform)[:6])
    (c0, r0), (c1, r1) = (apply(back, *corner) for corner in (left_bottom, right_top))
    left, right = sorted((c0, c1))
    top, bottom = sorted((r0, r1))
    first_col, first_row = max(int(left) - margin_px, 0), max(int(top) - margin_px, 0)
    last_col = min(int(right) + 1 + margin_px, source.width)
    last_row = min(int(bottom) + 1 + margin_px, source.height)
    if first_col >= last_col or first_row >= last_row:
        return None
    return Window(first_col, first_row, last_col - first_col, last_row - first_row)
