"""Counts of one row of a `tiles` table: decoded, checked, and averaged to a small overview."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.air_state import SUN
from geoquarry.udfs.masks import granule_flags
from geoquarry.udfs.radiometry import dn_to_radiance, radiance_to_reflectance_toa
from geoquarry.udfs.row_values import RowIssue, per_band, raster, whole

RADIOMETRY = ("radiance_scale", "radiance_offset")
NODATA_DN = {"uint8": 0, "int16": -32768}
"""Not observed, in counts and in radiance after a per-granule radiometric step."""


@dataclass
class Counts:
    """What one granule saw of a tile, as stored.

    Attributes
    ----------
    granule_id : str
    row0, col0 : int
        Place of the window in the tile.
    dn : uint8 or int16, shape (band, y, x)
        Counts, or radiance counts after a radiometric step.
    flags : uint16, shape (y, x)
        Bits of `schemas.flags`.
    masked_here : bool
        The row had no flags; they were made from this window alone.
    """

    granule_id: str
    row0: int
    col0: int
    dn: NDArray[Any]
    flags: NDArray[np.uint16]
    masked_here: bool = False

    def coarse(self, step: int) -> "Counts":
        """The same on a lattice of pixels ``step`` times as large, aligned to the tile.

        Counts are means of those that were all observed, rounded; flags are those of any. What
        lies outside the window was not observed.
        """
        top, left = self.row0 % step, self.col0 % step
        height, width = self.flags.shape
        rows, columns = (-(-(a + b) // step) for a, b in ((top, height), (left, width)))
        place = slice(top, top + height), slice(left, left + width)
        bits = np.full((rows * step, columns * step), f.NOT_OBSERVED, np.uint16)
        bits[place] = self.flags
        found = np.zeros((rows, columns), np.uint16)
        parts = [np.s_[i::step, j::step] for i in range(step) for j in range(step)]
        for part in parts:
            found |= bits[part]
        lost = (found & np.uint16(f.NOT_OBSERVED)) != 0
        nodata = NODATA_DN[self.dn.dtype.name]
        wide = np.uint16 if self.dn.dtype == np.uint8 else np.int32
        dn = np.empty((len(self.dn), rows, columns), self.dn.dtype)
        whole_ = np.zeros(bits.shape, self.dn.dtype)
        for band, counts in enumerate(self.dn):
            whole_[place] = counts
            total = np.full((rows, columns), len(parts) // 2, wide)
            for part in parts:
                total += whole_[part]
            dn[band] = np.where(lost, nodata, total // len(parts))
        return Counts(
            self.granule_id, self.row0 // step, self.col0 // step, dn, found, self.masked_here
        )


def once(granule_id: str, known: Collection[str]) -> None:
    """Refuse a granule that a tile has already: which row counts would depend on their order.

    Raises
    ------
    InputError
        It comes twice.
    """
    if granule_id in known:
        raise InputError(
            f"Granule {granule_id!r} has two rows in this tile. Keep one: tables replace rows of "
            "the same key, other sources must do so themselves."
        )


def overview_step(shape: tuple[int, int]) -> int:
    """Pixels per side of one pixel of an overview: 4 where that divides the tile.

    >>> overview_step((1024, 1024)), overview_step((90, 90)), overview_step((25, 25))
    (4, 2, 1)
    """
    return next(step for step in (4, 2, 1) if all(size % step == 0 for size in shape))


def read_counts(
    row: Mapping[str, Any], sensor: Sensor, shape: tuple[int, int], pixel_m: float
) -> Counts:
    """Decode and check the rasters of one row.

    Parameters
    ----------
    row : mapping
        One source row; BINARY values as bytes-like.
    sensor : Sensor
    shape : (int, int)
        Of the tile.
    pixel_m : float
        Size of a pixel on the ground, for the masks of rows that have none.

    Raises
    ------
    RowIssue
        A column is missing, damaged, or does not fit the others.
    """
    row0, col0 = (whole(row, name) for name in ("row0", "col0"))
    dn = _decode_bands(row, sensor.names)
    height, width = dn.shape[1:]
    if min(row0, col0) < 0 or row0 + height > shape[0] or col0 + width > shape[1]:
        raise RowIssue(
            "row0",
            f"window of {height} x {width} pixels at row {row0}, column {col0} "
            f"reaches over the tile of {shape[0]} x {shape[1]}; ingest the granule again",
        )
    masked_here = row.get("flags") is None
    if masked_here:
        bits = _flags_of_window(row, dn, sensor, pixel_m)
    else:
        bits = raster(row, "flags", (height, width), ("uint16",))
    return Counts(str(row["granule_id"]), row0, col0, dn, bits, masked_here)


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
    row: Mapping[str, Any], dn: NDArray[Any], sensor: Sensor, pixel_m: float
) -> NDArray[np.uint16]:
    """A mask from this window alone: second best, because buffers end at its edges."""
    lost = (dn == NODATA_DN[dn.dtype.name]).any(axis=0)
    bits = np.zeros(lost.shape, np.uint16)
    sun = {name: float(row[name]) for name in SUN if row.get(name) is not None}
    if dn.dtype == np.uint8 and len(sun) == len(SUN):
        scale, offset = (per_band(row, name, len(sensor.bands)) for name in RADIOMETRY)
        radiance = dn_to_radiance(dn, scale, offset)
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
