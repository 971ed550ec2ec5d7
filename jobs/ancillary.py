"""What the atmosphere and the ground are like over one tile: aerosol, water, ozone, elevation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.modis import read_aod, reference_on
from geoquarry.engine.raster import elevation_on, project_points
from geoquarry.schemas import blob, flags
from geoquarry.schemas.atmosphere import ozone_above, standard_columns, water_above
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.granule import Aerosol, Granule
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.tables import NODATA_INT16

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
        if not path.is_file():
            raise UsageError(f"--{what} {path}: there is no such file.")
    return paths


def add_ancillary(
    row: dict[str, Any], granule: Granule, grid: Grid, ancillary: Ancillary
) -> dict[str, Any]:
    """Fill the atmospheric state, the elevation and the reference of one row.

    Water vapour and ozone are the columns above the surface.
    """
    transform = grid.transform(row["tile_x"], row["tile_y"])
    elevation = elevation_on(ancillary.dem, grid.crs, transform, grid.shape)
    row["elevation"] = blob.encode(elevation)
    row["elevation_m"] = _mean_where_observed(elevation, row)
    corners = _window_corners(row, transform)
    longitude_deg, latitude_deg = project_points(*corners, grid.crs, "EPSG:4326")
    if isinstance(ancillary.aod, float):
        aerosol = Aerosol(ancillary.aod, None, "aerosol given by hand", fallback=False)
    else:
        aerosol = read_aod(
            ancillary.aod,
            bounds_lonlat=(
                float(longitude_deg.min()),
                float(latitude_deg.min()),
                float(longitude_deg.max()),
                float(latitude_deg.max()),
            ),
            acquired=granule.acquired,
        )
    water_sea_level, ozone_sea_level = standard_columns(
        float(latitude_deg.mean()), granule.acquired.month
    )
    water, source = aerosol.water_vapour_g_cm2, f"{aerosol.source}; water vapour of the same file"
    if water is None:
        water = water_above(water_sea_level, row["elevation_m"])
        source = f"{aerosol.source}; water vapour and ozone of the 6S standard atmosphere"
    if aerosol.fallback:  # nothing was measured: the map shall say so, pixel by pixel
        bits = blob.decode(row["flags"]) | np.uint16(flags.ATMOSPHERE_CLAMPED)
        row["flags"] = blob.encode(bits)
    row.update(
        aod550=aerosol.aod550,
        water_vapour_g_cm2=water,
        ozone_cm_atm=ozone_above(ozone_sea_level, row["elevation_m"]),
        aerosol_model="Continental",
        atmosphere_source=source,
    )
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


def _window_corners(
    row: dict[str, Any], transform: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shape = blob.header(row["flags"])
    cols = np.array([0, shape.width, shape.width, 0], float) + row["col0"]
    rows = np.array([0, 0, shape.height, shape.height], float) + row["row0"]
    return transform[2] + cols * transform[0], transform[5] + rows * transform[4]
