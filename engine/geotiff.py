"""Write GeoTIFF and Cloud Optimized GeoTIFF: one raster at once, or a mosaic tile by tile."""

import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import shutil
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from geoquarry.engine.atomic import replacing
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.gdal_errors import writing_with_gdal
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.granule import Transform

FORMATS = ("cog", "geotiff")
BLOCK = 512
"""Side of the blocks of a file, pixels; a TIFF block is a multiple of 16."""
CACHE_BYTES = 64 * 1024 * 1024
"""GDAL's block cache while writing: what a mosaic costs in memory beside one tile."""


@dataclass(frozen=True)
class BandTag:
    """What a file says of one band: physical = stored x scale + offset.

    Attributes
    ----------
    description, unit : str
    scale, offset : float
    """

    description: str
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""


def write_geotiff(
    path: str | os.PathLike[str],
    bands: Sequence[NDArray[Any]],
    *,
    transform: Transform,
    crs: str,
    descriptions: Sequence[str],
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    nodata: float | None = None,
    tags: Mapping[str, str] | None = None,
    cog: bool = True,
    overviews: str = "nearest",
) -> Path:
    """Write one raster; the file appears under its name only when it is complete.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    bands : sequence of array, shape (y, x)
        All of one dtype and one shape, as stored.
    transform, crs : Transform, str
        Corner of pixel (0, 0) and pixel size.
    descriptions : sequence of str, shape (band,)
    scales, offsets : sequence of float, shape (band,), optional
        physical = stored x scale + offset.
    units : sequence of str, shape (band,), optional
    nodata : float, optional
        Stored value that means "no value"; GeoTIFF has one for all bands.
    tags : mapping of str -> str, optional
        Metadata of the whole file.
    cog : bool
        Cloud Optimized GeoTIFF with overviews, else a plain tiled GeoTIFF. Deflate in both.
    overviews : {"nearest", "average"}
        How overviews are made; average skips nodata but is wrong for flags.

    Returns
    -------
    path : Path

    Raises
    ------
    TableError
        Bands of several dtypes or shapes, or a list that is not one per band.
    """
    height, width = _one_shape(bands)
    band_tags = _band_tags(len(bands), descriptions, scales, offsets, units)
    with Mosaic(
        path,
        height=height,
        width=width,
        dtype=bands[0].dtype.name,
        transform=transform,
        crs=crs,
        bands=band_tags,
        nodata=nodata,
        tags=tags,
        cog=cog,
        overviews=overviews,
    ) as out:
        out.add(0, 0, bands)
    return Path(path)


class Mosaic:
    """A raster written part by part; what is never added reads as nodata.

    Memory: one part, GDAL's block cache and, for a COG, a few lines of blocks of all bands; it
    grows with the width of the mosaic, not with its area. Parts go into a sparse tiled GeoTIFF
    (BigTIFF when it might pass 4 GB), which at the end is translated to COG if asked; then the
    file takes its name. GDAL does not tell of every block that a full disk refused, so all
    parts are read back first. After an error nothing is left.

    Parameters
    ----------
    path, transform, crs, nodata, tags, cog, overviews
        As for ``write_geotiff``.
    height, width : int
        Pixels of the whole mosaic.
    dtype : str
    bands : sequence of BandTag
    part_size : int, optional
        Side of the parts, so that file blocks end where parts end.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/two.tif"
    ...     with Mosaic(path, height=2, width=4, dtype="int16", nodata=-1, crs="EPSG:3857",
    ...                 transform=(30, 0, 0, 0, -30, 0), bands=[BandTag("red")]) as out:
    ...         out.add(0, 2, [np.full((2, 2), 7, np.int16)])
    ...     with rasterio.open(path) as file:
    ...         file.read(1).tolist()
    [[-1, -1, 7, 7], [-1, -1, 7, 7]]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        height: int,
        width: int,
        dtype: str,
        transform: Transform,
        crs: str,
        bands: Sequence[BandTag],
        nodata: float | None = None,
        tags: Mapping[str, str] | None = None,
        cog: bool = True,
        overviews: str = "nearest",
        part_size: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype)
        self.bands = list(bands)
        self.tags = dict(tags or {})
        self.cog = cog
        self.overviews = overviews
        block = _block(part_size or max(height, width))
        self.profile: dict[str, Any] = {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": len(self.bands),
            "dtype": self.dtype.name,
            "crs": crs,
            "transform": Affine(*transform),
            "nodata": nodata,
            "tiled": True,
            "blockxsize": block,
            "blockysize": block,
            "interleave": "band",
            "compress": "deflate",
            "zlevel": 1 if cog else 6,  # the copy to COG compresses once more
            "predictor": 3 if self.dtype.kind == "f" else 2,
            "BIGTIFF": "IF_SAFER",
            "SPARSE_OK": True,  # blocks never written take no space and read as nodata
        }
        self._stack = ExitStack()
        self._parts: list[tuple[Window, int]] = []

    def __enter__(self) -> "Mosaic":
        with writing_with_gdal(self.path), ExitStack() as stack:
            stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
            self._part = stack.enter_context(replacing(self.path))
            # A plain GeoTIFF is the part file itself; a COG is copied from a second one.
            self._plain = self._part
            if self.cog:
                self._plain = self._part.with_suffix(".plain.tif")
                stack.callback(self._plain.unlink, missing_ok=True)
            self._file = stack.enter_context(rasterio.open(self._plain, "w", **self.profile))
            self._stack = stack.pop_all()
        failpoint("export.begun")
        return self

    def add(self, row: int, col: int, bands: Sequence[NDArray[Any]]) -> None:
        """Write one part, all bands of it, with its upper left pixel at (row, col).

        Raises
        ------
        TableError
            Another dtype, number of bands or shape than announced.
        """
        height, width = _one_shape(bands)
        inside = (
            0 <= row <= self.profile["height"] - height
            and 0 <= col <= self.profile["width"] - width
        )
        if len(bands) != len(self.bands) or bands[0].dtype != self.dtype or not inside:
            raise TableError(
                f"{self.path.name} takes {len(self.bands)} bands of {self.dtype} within "
                f"{self.profile['height']} x {self.profile['width']} pixels; got {len(bands)} of "
                f"{bands[0].dtype}, {height} x {width} at row {row}, column {col}."
            )
        window = Window(col, row, width, height)
        with writing_with_gdal(self.path):
            for number, band in enumerate(bands, start=1):
                self._file.write(band, number, window=window)
        self._parts.append((window, _checksum(bands)))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)  # the error removes the part file
            return
        with writing_with_gdal(self.path), self._stack:
            self._describe()
            self._file.close()
            if self.cog:
                shutil.copy(
                    self._plain,
                    self._part,
                    driver="COG",
                    COMPRESS="DEFLATE",
                    PREDICTOR="YES",
                    BLOCKSIZE=BLOCK,
                    BIGTIFF="IF_SAFER",
                    SPARSE_OK=True,
                    NUM_THREADS="ALL_CPUS",
                    OVERVIEW_RESAMPLING=self.overviews.upper(),
                )
            self._read_back()
        failpoint("export.file")

    def _read_back(self) -> None:
        """Refuse a file that lacks anything of what was put into it."""
        with rasterio.open(self._part, num_threads="all_cpus") as file:
            numbers = range(1, len(self.bands) + 1)
            if file.tags().items() < self.tags.items() or any(
                _checksum([file.read(number, window=window) for number in numbers]) != checksum
                for window, checksum in self._parts
            ):
                raise RasterioError("what was written does not read back")

    def _describe(self) -> None:
        """Tags come last: the mosaic may learn them while its parts arrive."""
        self._file.update_tags(**self.tags)
        self._file.scales = [band.scale for band in self.bands]
        self._file.offsets = [band.offset for band in self.bands]
        self._file.units = [band.unit for band in self.bands]
        for number, band in enumerate(self.bands, start=1):
            self._file.set_band_description(number, band.description)


def _checksum(bands: Sequence[NDArray[Any]]) -> int:
    found = 0
    for band in bands:
        found = zlib.crc32(np.ascontiguousarray(band).data, found)
    return found


def _one_shape(bands: Sequence[NDArray[Any]]) -> tuple[int, int]:
    found = sorted({f"{band.dtype} {band.shape}" for band in bands})
    if len(found) != 1 or bands[0].ndim != 2:
        raise TableError(
            f"A GeoTIFF holds (y, x) bands of one dtype and shape; got {', '.join(found) or 'none'}"
            ". Choose bands that agree."
        )
    height, width = bands[0].shape
    return height, width


def _band_tags(
    count: int,
    descriptions: Sequence[str],
    scales: Sequence[float] | None,
    offsets: Sequence[float] | None,
    units: Sequence[str] | None,
) -> list[BandTag]:
    lists = (
        list(descriptions),
        list(scales or [1.0] * count),
        list(offsets or [0.0] * count),
        list(units or [""] * count),
    )
    if any(len(values) != count for values in lists):
        raise TableError(
            f"{count} bands need {count} descriptions, scales, offsets and units; "
            f"got {', '.join(str(len(values)) for values in lists)}."
        )
    return [BandTag(a, b, c, d) for a, b, c, d in zip(*lists, strict=True)]


def _block(size: int) -> int:
    """Largest block up to BLOCK that divides a part, else a small one that any part may cut.

    >>> _block(1024), _block(96), _block(100)
    (512, 96, 256)
    """
    for block in range(min(BLOCK, size), 15, -1):
        if block % 16 == 0 and size % block == 0:
            return block
    return 256
