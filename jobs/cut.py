"""Cut one granule to a grid: common lattice, masks, one warp, rows without an atmosphere yet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.frame import outline, pixel_coordinates, project_points
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Granule, Raster, Transform
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.clear_distance import at_regions, clear_distance
from geoquarry.udfs.masks import MASK_VERSION, granule_flags
from geoquarry.udfs.radiometry import dn_to_radiance, radiance_to_reflectance_toa
from geoquarry.udfs.warp import (
    SIXTEENTHS,
    bilinear,
    crop_window,
    nearest_or,
    to_coarse_lattice,
    window,
)


@dataclass(frozen=True)
class Lattice:
    """All bands of a granule on the pixel lattice of its coarsest band.

    Attributes
    ----------
    dn : list of array, shape (y, x), one per band
        uint8 counts, or uint16 sixteenths of a count where the band was averaged; 0 = not
        observed, 255 (4080) = saturated.
    flags : uint16, shape (y, x)
    transform, crs
        Of the lattice.
    """

    dn: list[NDArray[Any]]
    flags: NDArray[np.uint16]
    transform: Transform
    crs: str

    @cached_property
    def clear_distance(self) -> NDArray[np.uint8]:
        """Distance to cloud, shadow and edge, see `udfs.clear_distance`."""
        return clear_distance(self.flags, pixel_m=abs(self.transform[0]))

    @cached_property
    def cloud_fraction(self) -> float:
        """Cloudy pixels / usable pixels of the whole granule; 0 where none is usable."""
        usable = (self.flags & flags.NOT_OBSERVED) == 0
        cloudy = usable & ((self.flags & flags.CLOUD) != 0)
        return int(cloudy.sum()) / max(int(usable.sum()), 1)


def to_lattice(granule: Granule) -> Lattice:
    """Bring every band to the coarsest lattice and mask the whole granule in its own frame.

    Pixel centres of fine and coarse bands coincide, so a fine band is averaged with 1-2-1 weights
    about the shared centre; a 2 x 2 mean would sit half a fine pixel off.
    """
    facts = sensor(granule.sensor)
    coarsest = max((granule.bands[name] for name in facts.names), key=lambda r: r.transform[0])
    height, width = coarsest.data.shape
    dn = [
        _on_lattice(
            granule.bands[name],
            coarsest.transform,
            (height, width),
            f"{granule.granule_id}, band {name}",
        )
        for name in facts.names
    ]
    return Lattice(dn, _flags(granule, facts, dn, coarsest), coarsest.transform, coarsest.crs)


def _on_lattice(
    band: Raster, transform: Transform, shape: tuple[int, int], where: str
) -> NDArray[Any]:
    """One band on the common lattice: uint8 counts when it is there already, else sixteenths."""
    ratio = transform[0] / band.transform[0]
    # Column and row of the band's pixel that lies on the centre of lattice pixel (0, 0).
    col0 = (transform[2] + transform[0] / 2 - band.transform[2]) / band.transform[0] - 0.5
    row0 = (transform[5] + transform[4] / 2 - band.transform[5]) / band.transform[4] - 0.5
    off = max(abs(row0 - round(row0)), abs(col0 - round(col0)))
    if off > SHARED_CENTRES or round(ratio, 6) not in (1, 2):
        raise InputError(
            f"{where}: its pixels do not share centres with the coarsest band (ratio {ratio:g}, "
            f"{off:.3f} px apart). Only pixel sizes 1:1 and 1:2 on one lattice are known."
        )
    if round(ratio) == 1:
        return window(band.data, round(row0), round(col0), shape)
    return to_coarse_lattice(band.data, row0=round(row0), col0=round(col0), shape=shape)


def _flags(
    granule: Granule, facts: Sensor, dn: list[NDArray[Any]], frame: Raster
) -> NDArray[np.uint16]:
    """Flags of the whole granule, from top-of-atmosphere reflectance in its own frame."""
    reflectance = {}
    for place, band in enumerate(facts.bands):
        if band.role in MASK_ROLES and band.name not in granule.unreliable_bands:
            unit = SIXTEENTHS if dn[place].dtype == np.uint16 else 1
            radiance = dn_to_radiance(
                dn[place][None],
                scale=[granule.radiance_scale[place] / unit],
                offset=[granule.radiance_offset[place]],
            )
            reflectance[band.role] = radiance_to_reflectance_toa(
                radiance,
                irradiance_w_m2_um=[band.irradiance_w_m2_um],
                sun_zenith_deg=granule.sun_zenith_deg,
                earth_sun_distance_au=granule.earth_sun_distance_au,
            )[0].astype(np.float32, copy=False)
    return granule_flags(
        {band.role: counts for band, counts in zip(facts.bands, dn, strict=True)},
        reflectance,
        pixel_m=abs(frame.transform[0]),
        sun_zenith_deg=granule.sun_zenith_deg,
        sun_azimuth_deg=granule.sun_azimuth_deg,
        unreliable=[b.role for b in facts.bands if b.name in granule.unreliable_bands],
    )


SHARED_CENTRES = 0.02
"""Pixels by which two lattices may miss each other (0.3 m of 15 m) and still count as one."""
MASK_ROLES = frozenset({"green", "red", "nir", "swir16", "swir22_7", "swir23_8", "swir24_9"})
"""Band roles that the cloud, snow and water tests read."""


def tiles_of(lattice: Lattice, grid: Grid) -> list[tuple[int, int]]:
    """Keys of the tiles whose box meets the frame; `cut` tells which are truly touched."""
    height, width = lattice.flags.shape
    x, y = project_points(*outline(lattice.transform, (height, width)), lattice.crs, grid.crs)
    parts = [x]
    if x.max() - x.min() > grid.half_width_m:  # across 180 degrees: one box on either side
        parts = [x[x < 0], x[x >= 0]]
    edges = [(-grid.half_width_m, parts[0].max()), (parts[-1].min(), grid.half_width_m)]
    boxes = edges if len(parts) == 2 else [(x.min(), x.max())]
    found = (t for left, right in boxes for t in grid.tiles(left, y.min(), right, y.max()))
    return list(dict.fromkeys(found))


def cut(
    granule: Granule, lattice: Lattice, grid: Grid, tile_x: int, tile_y: int
) -> dict[str, Any] | None:
    """One row of the `tiles` table, without atmosphere and ancillary columns.

    Returns
    -------
    row : dict or None
        None when no usable pixel of the granule falls into the tile.
    """
    transform = grid.transform(tile_x, tile_y)
    rows, cols = pixel_coordinates(grid.crs, transform, grid.shape, lattice.crs, lattice.transform)
    if not _meets(rows, cols, lattice.flags):
        return None
    bits = nearest_or(lattice.flags, rows, cols)
    row0, col0, height, width = crop_window((bits & flags.NOT_OBSERVED) == 0)
    if height == 0:
        return None
    place = np.s_[row0 : row0 + height, col0 : col0 + width]
    dn = bilinear(lattice.dn, rows[place], cols[place])
    bits = bits[place]
    # A pixel counts for all bands or for none: what one band lacks, no band keeps. Bands that
    # must not be used have no say.
    names = sensor(granule.sensor).names
    used = [i for i, name in enumerate(names) if name not in granule.unreliable_bands]
    missing = (dn[used] == 0).any(axis=0)
    bits = np.where(missing, bits | flags.NOT_OBSERVED, bits).astype(np.uint16)
    valid = (bits & flags.NOT_OBSERVED) == 0
    if not valid.any():
        return None
    dn[:, ~valid] = 0  # so that DN 0 and NOT_OBSERVED say the same
    cloudy = valid & ((bits & flags.CLOUD) != 0)
    size = grid.shape[0] * grid.shape[1]
    row: dict[str, Any] = {
        "grid": grid.name,
        "tile_x": tile_x,
        "tile_y": tile_y,
        "granule_id": granule.granule_id,
        "sensor": granule.sensor,
        "acquired": granule.acquired,
        "row0": row0,
        "col0": col0,
        "valid_fraction": int(valid.sum()) / size,
        "cloud_fraction": int(cloudy.sum()) / int(valid.sum()),
        "meta": json.dumps(granule.meta, sort_keys=True),
        "sun_zenith_deg": granule.sun_zenith_deg,
        "sun_azimuth_deg": granule.sun_azimuth_deg,
        "earth_sun_distance_au": granule.earth_sun_distance_au,
        "view_zenith_deg": list(granule.view_zenith_deg),
        "view_azimuth_deg": list(granule.view_azimuth_deg),
        "gain_code": list(granule.gain_code),
        "radiance_scale": list(granule.radiance_scale),
        "radiance_offset": list(granule.radiance_offset),
        "flags": blob.encode(bits),
        "mask_version": MASK_VERSION,
        "granule_cloud_fraction": lattice.cloud_fraction,
        "clear_distance": blob.encode(at_regions(lattice.clear_distance, rows, cols)),
    }
    row.update((name, blob.encode(dn[i])) for i, name in enumerate(names))
    return row


def _meets(rows: NDArray[np.float64], cols: NDArray[np.float64], bits: NDArray[np.uint16]) -> bool:
    """A cheap look at every 8th pixel's neighbourhood before the whole tile is warped."""
    height, width = bits.shape
    r0, r1 = int(np.floor(rows.min())), int(np.ceil(rows.max())) + 1
    c0, c1 = int(np.floor(cols.min())), int(np.ceil(cols.max())) + 1
    part = bits[max(r0, 0) : min(r1, height), max(c0, 0) : min(c1, width)]
    return bool(((part & flags.NOT_OBSERVED) == 0).any())


def rows_of(
    granule: Granule, lattice: Lattice, grid: Grid, only: set[tuple[int, int]] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of every tile the granule truly touches, optionally only some tiles."""
    for tile in tiles_of(lattice, grid):
        if only is None or tile in only:
            row = cut(granule, lattice, grid, *tile)
            if row is not None:
                yield row
