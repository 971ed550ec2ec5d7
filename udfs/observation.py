"""One row of a `tiles` table as a UDF needs it: checked, decoded, ready to become reflectance."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.grid import EARTH_RADIUS_M, grid
from geoquarry.udfs import air_state
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.counts import NODATA_DN, RADIOMETRY, Counts
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.row_values import per_band
from geoquarry.udfs.tile_atmosphere import GIVEN, TileAtmosphere

COLUMNS = ("granule_id", "row0", "col0", "meta", "flags", *RADIOMETRY, *GIVEN, *air_state.COLUMNS)
"""Columns every method reads, besides the bands."""


class Observation:
    """What one granule saw of a tile, ready to become surface reflectance.

    Parameters
    ----------
    row : mapping
        One source row.
    counts : Counts
        Its rasters, or an overview of them; let go of once spilled.
    atmosphere : TileAtmosphere
        Of the tile (or its overview), with its sensor and shape.

    Attributes
    ----------
    granule_id : str
    row0, col0 : int
        Place of the window in the tile.
    flags : uint16, shape (y, x)
        Bits of `schemas.flags`; no rows once spilled.
    notes : tuple of str
        What is amiss with the state of the atmosphere, where ATMOSPHERE_CLAMPED is set.
    source : dict
        Where the coefficients come from.

    Raises
    ------
    RowIssue
        A column is missing, damaged, or does not fit the others.
    """

    def __init__(self, row: Mapping[str, Any], counts: Counts, atmosphere: TileAtmosphere) -> None:
        bands = len(atmosphere.sensor.bands)
        self.granule_id, self.row0, self.col0 = counts.granule_id, counts.row0, counts.col0
        scale, offset = (per_band(row, name, bands) for name in RADIOMETRY)
        self._radiometry = scale, offset
        self.dn, self.flags = counts.dn, counts.flags
        self._size = (self.dn.shape[1], self.dn.shape[2])
        self._file: Path | None = None
        observed = (self.flags & np.uint16(f.NOT_OBSERVED)) == 0
        air = atmosphere.over(row, self.row0, self.col0, observed)
        self._coefficients, self._cells = air.coefficients, air.cells
        self.notes, self.source = air.notes, air.source
        if air.clamped is not False:
            clamped = np.where(air.clamped, np.uint16(f.ATMOSPHERE_CLAMPED), np.uint16(0))
            self.flags = self.flags | clamped
        self._harmony: tuple[NDArray[np.float32], ...] | None = None
        self._table: NDArray[np.float32] | None = None
        if self._cells is None and self.dn.dtype == np.uint8:
            # 256 counts per band: computing them once gives the same bits as pixel by pixel.
            some = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(self.dn), 1, 256))
            self._table = self._convert(np.ascontiguousarray(some))[:, 0]

    def harmonise(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        """From now on answer ``gain x reflectance + offset``; float64, shape (band,) each."""
        if (gain == 1).all() and (offset == 0).all():
            return
        self._harmony = tuple(x.astype(np.float32)[:, None, None] for x in (gain, offset))
        if self._table is not None:
            self._table = self._agree(self._table[:, None])[:, 0]

    def unharmonised(self, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        """What values of `block`, float32 (band, ...), were before harmonising."""
        if self._harmony is None:
            return reflectance
        gain, offset = (x.reshape(-1, *[1] * (reflectance.ndim - 1)) for x in self._harmony)
        return (reflectance - offset) / gain

    def _agree(self, reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._harmony is not None:
            gain, offset = self._harmony
            reflectance *= gain
            reflectance += offset
        return reflectance

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
            found = self._cells.reflectance(dn, nodata, first, self.col0)
            return self._agree(found), flags, first
        if self._table is None:
            return self._agree(self._convert(dn)), flags, first
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
