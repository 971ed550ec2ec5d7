"""One row of a `tiles` table as a UDF needs it: checked, decoded, ready to become reflectance."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import EARTH_RADIUS_M, grid
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs import air_state
from geoquarry.udfs.air_state import SUN
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.masks import granule_flags
from geoquarry.udfs.radiometry import dn_to_radiance, radiance_to_reflectance_toa
from geoquarry.udfs.row_values import RowIssue, per_band, raster, whole
from geoquarry.udfs.tile_atmosphere import GIVEN, TileAtmosphere

RADIOMETRY = ("radiance_scale", "radiance_offset")
COLUMNS = ("granule_id", "row0", "col0", "meta", "flags", *RADIOMETRY, *GIVEN, *air_state.COLUMNS)
"""Columns every method reads, besides the bands."""
NODATA_DN = {"uint8": 0, "int16": -32768}
"""Not observed, in counts and in radiance after a per-granule radiometric step."""


class Observation:
    """What one granule saw of a tile.

    Parameters
    ----------
    row : mapping
        One source row; BINARY values as bytes-like.
    atmosphere : TileAtmosphere
        Of the tile, with its sensor and shape.
    pixel_m : float
        Size of a pixel on the ground, for the masks of rows that have none.

    Attributes
    ----------
    granule_id : str
    row0, col0 : int
        Place of the window in the tile.
    dn : uint8 or int16, shape (band, y, x)
        Counts, or radiance counts after a radiometric step; no rows once spilled.
    flags : uint16, shape (y, x)
        Bits of `schemas.flags`; no rows once spilled.
    masked_here : bool
        The row had no flags; they were made from this window alone.
    notes : tuple of str
        What is amiss with the state of the atmosphere, where ATMOSPHERE_CLAMPED is set.
    source : dict
        Where the coefficients come from.

    Raises
    ------
    RowIssue
        A column is missing, damaged, or does not fit the others.
    """

    def __init__(self, row: Mapping[str, Any], atmosphere: TileAtmosphere, pixel_m: float) -> None:
        sensor, shape = atmosphere.sensor, atmosphere.shape
        self.granule_id = str(row["granule_id"])
        scale, offset = (per_band(row, name, len(sensor.bands)) for name in RADIOMETRY)
        self._radiometry = scale, offset
        self.row0, self.col0 = (whole(row, name) for name in ("row0", "col0"))
        self.dn = _decode_bands(row, sensor.names)
        height, width = self._size = (self.dn.shape[1], self.dn.shape[2])
        self._file: Path | None = None
        if min(self.row0, self.col0) < 0 or (
            self.row0 + height > shape[0] or self.col0 + width > shape[1]
        ):
            raise RowIssue(
                "row0",
                f"window of {height} x {width} pixels at row {self.row0}, column {self.col0} "
                f"reaches over the tile of {shape[0]} x {shape[1]}; ingest the granule again",
            )
        self.masked_here = row.get("flags") is None
        if self.masked_here:
            self.flags = _flags_of_window(row, self.dn, sensor, self._radiometry, pixel_m)
        else:
            self.flags = raster(row, "flags", (height, width), ("uint16",))
        observed = (self.flags & np.uint16(f.NOT_OBSERVED)) == 0
        air = atmosphere.over(row, self.row0, self.col0, observed)
        self._coefficients, self._cells = air.coefficients, air.cells
        self.notes, self.source = air.notes, air.source
        if air.clamped is not False:
            clamped = np.where(air.clamped, np.uint16(f.ATMOSPHERE_CLAMPED), np.uint16(0))
            self.flags = self.flags | clamped
        self._table: NDArray[np.float32] | None = None
        if self._cells is None and self.dn.dtype == np.uint8:
            # 256 counts per band: computing them once gives the same bits as pixel by pixel.
            counts = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(self.dn), 1, 256))
            self._table = self._convert(np.ascontiguousarray(counts))[:, 0]

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return 0 if self._file is not None else self.dn.nbytes + self.flags.nbytes

    def spill(self, path: Path) -> None:
        """Move counts and flags to a file; `block` reads from there, row by row of the tile.

        Read, not mapped: mapped pages would count as this process's memory.
        """
        with open(path, "wb") as file:
            for row in range(self._size[0]):
                file.write(np.ascontiguousarray(self.dn[:, row]).data)
                file.write(np.ascontiguousarray(self.flags[row]).data)
        self._file = path
        if self._cells is not None:
            self._cells.lean = True
        self.dn, self.flags = self.dn[:, :0].copy(), self.flags[:0].copy()

    def _rows(self, part: slice) -> tuple[NDArray[Any], NDArray[np.uint16]]:
        if self._file is None:
            return self.dn[:, part], self.flags[part]
        bands, width, dtype = len(self.dn), self._size[1], self.dn.dtype
        record = np.dtype([("dn", dtype, (bands, width)), ("flags", np.uint16, (width,))])
        count = part.stop - part.start
        found = np.fromfile(self._file, record, count, offset=part.start * record.itemsize)
        return found["dn"].transpose(1, 0, 2), found["flags"]

    def block(self, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.uint16], int] | None:
        """Surface reflectance in some rows of the tile.

        Returns
        -------
        reflectance : float32, shape (band, y, x)
            Unitless; NaN = not observed.
        flags : uint16, shape (y, x)
        row0 : int
            First row, in the tile. None instead of all three where the window has no such rows.
        """
        first = max(rows.start, self.row0)
        last = min(rows.stop, self.row0 + self._size[0])
        if first >= last:
            return None
        dn, flags = self._rows(slice(first - self.row0, last - self.row0))
        if self._cells is not None:
            nodata = NODATA_DN[dn.dtype.name]
            return self._cells.reflectance(dn, nodata, first, self.col0), flags, first
        if self._table is None:
            return self._convert(dn), flags, first
        reflectance = np.empty(dn.shape, np.float32)
        for band in range(len(dn)):
            # "clip" only because it needs no buffer: every uint8 is a valid place in the table.
            np.take(self._table[band], dn[band], out=reflectance[band], mode="clip")
        return reflectance, flags, first

    def _convert(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        assert self._coefficients is not None  # or there were cells
        radiance = dn_to_radiance(dn, *self._radiometry, nodata=NODATA_DN[dn.dtype.name])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return remove_atmosphere(radiance, *self._coefficients).astype(np.float32, copy=False)


def decode_reference(row: Mapping[str, Any], columns: Sequence[str]) -> NDArray[np.int16] | None:
    """Reference bands of a row: int16, shape (band, y, x); None where the row has none.

    Raises
    ------
    RowIssue
        A band is missing or damaged.
    """
    if all(row.get(name) is None for name in columns):
        return None
    bands = [raster(row, columns[0], None, ("int16",))]
    bands += [raster(row, name, bands[0].shape, ("int16",)) for name in columns[1:]]
    return np.stack(bands)


def ground_pixel_m(grid_name: str, tile_x: int, tile_y: int) -> float:
    """Size of a tile's pixels on the ground: Web Mercator stretches by 1 / cos(latitude).

    >>> round(ground_pixel_m("webmercator-30m-1024", 260, 526), 1)
    25.2
    """
    frame = grid(grid_name)
    if frame.crs != "EPSG:3857":
        return frame.resolution_m
    _, bottom, _, top = frame.bounds(tile_x, tile_y)
    return frame.resolution_m / math.cosh((bottom + top) / 2 / EARTH_RADIUS_M)


def _decode_bands(row: Mapping[str, Any], names: Sequence[str]) -> NDArray[Any]:
    first = raster(row, names[0], None, tuple(NODATA_DN))
    if not first.size:
        raise RowIssue(names[0], f"the raster is empty: {first.shape}")
    stack = np.empty((len(names), *first.shape), first.dtype)
    stack[0] = first
    for place, name in enumerate(names[1:], start=1):
        stack[place] = raster(row, name, first.shape, (first.dtype.name,))
    return stack


def _flags_of_window(
    row: Mapping[str, Any],
    dn: NDArray[Any],
    sensor: Sensor,
    radiometry: tuple[NDArray[np.float64], NDArray[np.float64]],
    pixel_m: float,
) -> NDArray[np.uint16]:
    """A mask from this window alone: second best, because buffers end at its edges."""
    lost = (dn == NODATA_DN[dn.dtype.name]).any(axis=0)
    bits = np.zeros(lost.shape, np.uint16)
    sun = {name: float(row[name]) for name in SUN if row.get(name) is not None}
    if dn.dtype == np.uint8 and len(sun) == len(SUN):
        radiance = dn_to_radiance(dn, *radiometry)
        toa = radiance_to_reflectance_toa(
            radiance, sensor.irradiance_w_m2_um, sun["sun_zenith_deg"], sun["earth_sun_distance_au"]
        )
        roles = [band.role for band in sensor.bands]
        try:
            bits = granule_flags(
                dict(zip(roles, dn, strict=True)),
                {role: toa[i].astype(np.float32) for i, role in enumerate(roles)},
                pixel_m=pixel_m,
                sun_zenith_deg=sun["sun_zenith_deg"],
                sun_azimuth_deg=sun["sun_azimuth_deg"],
                edge_m=0.0,
            )
        except InputError:
            # A sensor without the roles that the tests need still has valid pixels.
            bits = np.zeros(lost.shape, np.uint16)
    # The window's edge is not the footprint's edge: only what has no count is lost.
    bits &= np.uint16(~f.NOT_OBSERVED & 0xFFFF)
    bits[lost] |= np.uint16(f.NOT_OBSERVED)
    if dn.dtype == np.uint8:
        bits[(dn == 255).any(axis=0)] |= np.uint16(f.SATURATED)
    return bits
