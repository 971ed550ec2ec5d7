"""What the air and the ground are like: aerosol, water, ozone, elevation, reference of one tile."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aerosol_field import REACH_KM, AerosolField
from geoquarry.engine.frame import project_points
from geoquarry.engine.modis import read_aerosol, reference_on
from geoquarry.engine.raster import elevation_on
from geoquarry.schemas import blob, flags
from geoquarry.schemas.atmosphere import ozone_above, water_fraction
from geoquarry.schemas.climate import standard_water
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.granule import Granule
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.ozone import SOURCE as OZONE_SOURCE
from geoquarry.schemas.ozone import ozone_column
from geoquarry.schemas.tables import LATTICE, NODATA_INT16
from geoquarry.udfs.tile_cells import per_cell, side

DEFAULT_AOD = 0.1
"""Where nothing was retrieved: clean continental air; such pixels are flagged."""
WATER_FALLBACK = "water vapour of the standard atmosphere for latitude and season"
REFERENCE_STEP = 4
"""Tile pixels per reference pixel: 120 m on a 30 m grid, finer than the 500 m of the data."""


@dataclass(frozen=True)
class Ancillary:
    """Where aerosol, elevation and reference come from.

    Attributes
    ----------
    aod : float or list of Path
        Optical depth at 550 nm, or MCD19A2 files.
    dem : float or list of Path
        Metres, or GeoTIFF tiles.
    reference : Path or None
        MOD09A1 HDF or a 7-band GeoTIFF.
    """

    aod: float | list[Path]
    dem: float | list[Path]
    reference: Path | None = None


def number_or_files(values: Sequence[str], what: str, limits: tuple[float, float]) -> Any:
    """One number inside limits, or existing files.

    Raises
    ------
    UsageError
        A number out of limits (an MCD19A2 integer such as 120 is not an optical depth), or a file
        that is not there.
    """
    if len(values) == 1:
        try:
            number = float(values[0])
        except ValueError:
            number = None
        if number is not None:
            if not limits[0] <= number <= limits[1]:
                raise UsageError(
                    f"--{what} {values[0]}: a number from {limits[0]:g} to {limits[1]:g} is "
                    f"expected{', e.g. 0.12 (not the 120 of integer files)' * (what == 'aod')}."
                )
            return number
    paths = [Path(value) for value in values]
    for path in paths:
        if path.is_dir():
            raise UsageError(f"--{what} {path} is a folder: give its files, e.g. {path}/*.")
        if not path.is_file() and _is_number(str(path)):
            raise UsageError(f"--{what} {' '.join(values)}: give one number, or files.")
        if not path.is_file():
            raise UsageError(f"--{what} {path}: there is no such file.")
    return paths


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def air_over(
    granule: Granule, tiles: Iterable[tuple[int, int]], grid: Grid, ancillary: Ancillary
) -> AerosolField | None:
    """Fields of aerosol and water vapour that all tiles of a granule share; None for one number.

    Parameters
    ----------
    granule : Granule
    tiles : iterable of (tile_x, tile_y)
        All tiles the granule may touch, also those that are not wanted: they decide how far the
        fields reach.
    grid : Grid
    ancillary : Ancillary
    """
    if isinstance(ancillary.aod, float):
        return None
    points = [lattice_points(grid, *tile) for tile in tiles]
    return read_aerosol(
        ancillary.aod,
        longitude_deg=np.stack([longitude for longitude, _ in points]),
        latitude_deg=np.stack([latitude for _, latitude in points]),
        acquired=granule.acquired,
        dem=ancillary.dem,
    )


def lattice_points(
    grid: Grid, tile_x: int, tile_y: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of a tile's lattice, shape (17, 17), from its north-west corner.

    Counted from the grid's corner, so that tiles agree to the last bit on the points they share.
    """
    step = grid.resolution_m * grid.tile_size / (LATTICE - 1)
    x = -grid.half_width_m + (tile_x * (LATTICE - 1) + np.arange(LATTICE)) * step
    y = grid.half_width_m - (tile_y * (LATTICE - 1) + np.arange(LATTICE)) * step
    return project_points(x[None, :], y[:, None], grid.crs, "EPSG:4326")


def add_ancillary(
    row: dict[str, Any],
    granule: Granule,
    grid: Grid,
    ancillary: Ancillary,
    field: AerosolField | None,
    *,
    aerosol_model: str = "Continental",
) -> dict[str, Any]:
    """Fill the atmospheric state, the elevation and the reference of one row.

    Parameters
    ----------
    row : dict
        As `cut.cut` makes it; changed in place and returned.
    granule : Granule
    grid : Grid
    ancillary : Ancillary
    field : AerosolField or None
        Of `air_over` for the same granule.
    aerosol_model : str
    """
    transform = grid.transform(row["tile_x"], row["tile_y"])
    elevation = elevation_on(ancillary.dem, grid.crs, transform, grid.shape)
    row["elevation"] = blob.encode(elevation)
    row["elevation_m"] = _mean_where_observed(elevation, row)
    longitude, latitude = lattice_points(grid, row["tile_x"], row["tile_y"])
    weights = _shares(row, grid)
    row.update(_aerosol_and_water(row, granule, ancillary, field, (longitude, latitude), weights))
    middle_deg = float((latitude * weights).sum())
    row["ozone_cm_atm"] = ozone_above(
        ozone_column(middle_deg, granule.acquired), row["elevation_m"]
    )
    row["aerosol_model"] = aerosol_model
    row["atmosphere_source"] += f"; ozone: {OZONE_SOURCE}"
    if ancillary.reference is not None:
        step = min(REFERENCE_STEP, grid.tile_size)
        size = -(-grid.tile_size // step)
        a, _, left, _, e, top = transform
        layers = reference_on(
            ancillary.reference, grid.crs, (a * step, 0.0, left, 0.0, e * step, top), (size, size)
        )
        if any((layer != NODATA_INT16).any() for layer in layers):
            for place, layer in enumerate(layers, start=1):
                row[f"ref_{place}"] = blob.encode(layer)
    return row


def _aerosol_and_water(
    row: dict[str, Any],
    granule: Granule,
    ancillary: Ancillary,
    field: AerosolField | None,
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    weights: NDArray[np.float64],
) -> dict[str, Any]:
    """Columns of aerosol and water vapour, their source, and flags where there is none."""
    above = water_fraction(row["elevation_m"])
    climate = standard_water(points[1], granule.acquired)  # sea level, at every point
    if field is None:
        return {
            "aod550": ancillary.aod,
            "water_vapour_g_cm2": float((climate * weights).sum()) * above,
            # A field here too: with one number per tile maps would step from tile to tile.
            "water_vapour_field": (climate * above).ravel().astype(np.float32).tolist(),
            "atmosphere_source": f"aerosol given by hand; {WATER_FALLBACK}",
        }
    aod, uncertainty, water = field.at(*points)
    source = field.source
    missing, dry = np.isnan(aod), np.isnan(water)
    found: dict[str, Any] = {}
    if missing.any():
        where = "the tile" if missing.all() else "a part of the tile"
        source += f"; default {DEFAULT_AOD:g} in {where}, no retrieval within {REACH_KM:g} km"
        cells = missing[:-1, :-1] | missing[1:, :-1] | missing[:-1, 1:] | missing[1:, 1:]
        found["flags"] = _flagged(row, blob.header(row["elevation"]).width, cells)
    if dry.any():
        source += f"; {WATER_FALLBACK}" + (" in a part of the tile" if not dry.all() else "")
    aod = np.where(missing, DEFAULT_AOD, aod)
    water = np.where(dry, climate, water)
    stated = np.isfinite(uncertainty) & ~missing
    if (weights * stated).sum() > 0:
        spread = (np.where(stated, uncertainty, 0.0) * weights).sum() / (weights * stated).sum()
        found["aod550_uncertainty"] = float(spread)
    return found | {
        "aod550": float((aod * weights).sum()),
        "water_vapour_g_cm2": float((water * weights).sum()) * above,
        "aod550_field": aod.ravel().astype(np.float32).tolist(),
        "water_vapour_field": (water * above).ravel().astype(np.float32).tolist(),
        "atmosphere_source": source,
    }


def _shares(row: dict[str, Any], grid: Grid) -> NDArray[np.float64]:
    """How much each lattice point counts in the mean over the row's window; they add up to 1."""
    shape = blob.header(row["flags"])
    sides = []
    for first, count in ((row["row0"], shape.height), (row["col0"], shape.width)):
        at = (first + np.arange(count) + 0.5) * (LATTICE - 1) / grid.tile_size
        nodes = np.arange(LATTICE)[:, None]
        sides.append(np.maximum(1 - np.abs(at - nodes), 0.0).mean(axis=1))
    shares: NDArray[np.float64] = sides[0][:, None] * sides[1]
    return shares


def _flagged(row: Mapping[str, Any], grid_size: int, cells: NDArray[np.bool_]) -> bytes:
    """Flags with ATMOSPHERE_CLAMPED in the cells of a lattice that are True."""
    bits = blob.decode(row["flags"]).copy()
    rows, columns = _cells_of(row, bits.shape, grid_size)
    bits[cells[np.ix_(rows, columns)]] |= np.uint16(flags.ATMOSPHERE_CLAMPED)
    return blob.encode(bits)


def _cells_of(
    row: Mapping[str, Any], shape: tuple[int, ...], grid_size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Lattice cells of the rows and columns of a row's window."""
    at = side(grid_size).cell
    first, left = row["row0"], row["col0"]
    return at[first : first + shape[0]], at[left : left + shape[1]]


def still_clamped(row: Mapping[str, Any], old: Mapping[str, Any], grid: Grid) -> bytes:
    """Flags of a row cut anew, with ATMOSPHERE_CLAMPED in the cells that had it before.

    Parameters
    ----------
    row : mapping
        As `cut.cut` makes it.
    old : mapping
        The row of the same tile and granule that knew where nothing was retrieved.
    grid : Grid
    """
    if old["flags"] is None:
        return bytes(row["flags"])
    had = (blob.decode(old["flags"]) & np.uint16(flags.ATMOSPHERE_CLAMPED)) != 0
    cells = per_cell(np.logical_or, had, *_cells_of(old, had.shape, grid.tile_size), empty=False)
    return _flagged(row, grid.tile_size, cells)


def _mean_where_observed(elevation: NDArray[np.int16], row: dict[str, Any]) -> float:
    """Mean elevation under the row's usable pixels; of the whole tile when those are voids."""
    bits = blob.decode(row["flags"])
    window = elevation[
        row["row0"] : row["row0"] + bits.shape[0], row["col0"] : row["col0"] + bits.shape[1]
    ]
    known = elevation != NODATA_INT16
    used = (window != NODATA_INT16) & (bits < 2**15)
    chosen = window[used] if used.any() else elevation[known]
    if chosen.size == 0:
        raise InputError(
            f"The DEM has no elevation over tile {row['tile_x']},{row['tile_y']}. "
            "Give DEM tiles that cover the scene, or one number: --dem 1200."
        )
    return float(chosen.mean(dtype=np.float64))
