"""Write what goes with a scene: aerosol (MCD19A2), elevation and MODIS reference (GeoTIFF)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from geoquarry.engine.hdf4_writer import TYPES, Field, Structure, write
from geoquarry.engine.odl_writer import structure
from geoquarry.engine.sinusoidal import RADIUS_M
from geoquarry.schemas.granule import Transform

TILE_M = 2 * math.pi * RADIUS_M / 36
"""Width of one tile of the MODIS sinusoidal grid: 36 tiles around the equator, 18 from the top."""
TILE_PX = 1200
FILL = -28672
STEP, UNCERTAINTY_STEP = 0.001, 0.0001
"""Of stored values; valid ranges and steps as in the catalogue (see `mcd19a2`)."""
BEST, NOT_BEST = 0b001, 0b0001 << 8 | 0b101
"""AOD_QA: clear and best quality; beside a cloud and not best (MCD19 User Guide v6, QA bits)."""


@dataclass(frozen=True)
class Overpass:
    """One orbit over the tile.

    Attributes
    ----------
    time : datetime
        UTC.
    satellite : str
        ``T`` Terra, ``A`` Aqua.
    aod550 : float, float64 of shape (1200, 1200), or None
        Over the tile; NaN and None = nothing retrieved.
    water_vapour_g_cm2 : float, or float64 of shape (1200, 1200)
        Column above the surface; NaN = nothing retrieved.
    uncertainty : float, or float64 of shape (1200, 1200)
        Of ``aod550``.
    """

    time: datetime
    satellite: str
    aod550: float | NDArray[np.float64] | None
    water_vapour_g_cm2: float | NDArray[np.float64] = 0.0
    uncertainty: float | NDArray[np.float64] = 0.02


def sinusoidal_tile(latitude_deg: float, longitude_deg: float) -> tuple[int, int]:
    """Horizontal and vertical number of the MODIS tile with a place.

    >>> sinusoidal_tile(32.8, -108.1), sinusoidal_tile(-24.2, -69.0)
    ((8, 5), (11, 11))
    """
    x = RADIUS_M * math.radians(longitude_deg) * math.cos(math.radians(latitude_deg))
    y = RADIUS_M * math.radians(latitude_deg)
    return math.floor(x / TILE_M) + 18, 9 - math.floor(y / TILE_M) - 1


def write_mcd19a2(
    folder: Path, tile: tuple[int, int], overpasses: Sequence[Overpass], *, seed: int = 0
) -> Path:
    """Write one day of aerosol over one MODIS tile: HDF-EOS grid, 1 km, one layer per orbit.

    A tenth of the pixels, scattered, is not of best quality and holds twice the optical depth:
    a reader that ignores AOD_QA is 10 % off.

    Parameters
    ----------
    folder : Path
        Exists.
    tile : (int, int)
        Horizontal and vertical number.
    overpasses : sequence of Overpass
        At least one, of one day.
    seed : int
        Of the pixels that are not of best quality.

    Returns
    -------
    path : Path
        ``MCD19A2.A<year><day>.h<h>v<v>.061.<stamp>.hdf``.

    Notes
    -----
    Stored values have steps of 0.001 (uncertainty 0.0001): give rounded numbers where a test must
    be exact.
    """
    first = overpasses[0].time
    size = (len(overpasses), TILE_PX, TILE_PX)
    # A repeated pattern: it compresses well and is as good as random at the scale of a scene.
    pattern = np.random.default_rng([seed, 19]).random((40, 40), np.float32) < 0.1
    doubtful = np.tile(pattern, (TILE_PX // 40, TILE_PX // 40))
    names = ("aod", "blue", "uncertainty", "water")
    layers = {name: np.full(size, FILL, np.int16) for name in names}
    quality = np.zeros(size, np.uint16)
    for place, overpass in enumerate(overpasses):
        if overpass.aod550 is None:
            continue
        depth = np.asarray(overpass.aod550) * np.where(doubtful, 2.0, 1.0)
        layers["aod"][place] = _stored(depth, STEP)
        # Angstrom exponent 1.3, usual for continental aerosol.
        layers["blue"][place] = _stored(depth * (0.55 / 0.47) ** 1.3, STEP)
        uncertainty = np.where(np.isnan(depth), np.nan, overpass.uncertainty)
        layers["uncertainty"][place] = _stored(uncertainty, UNCERTAINTY_STEP)
        layers["water"][place] = _stored(np.asarray(overpass.water_vapour_g_cm2), STEP)
        quality[place] = np.where(doubtful, NOT_BEST, BEST)
    steps = {"scale_factor": STEP, "add_offset": 0.0}
    scaled = {"_FillValue": FILL, "valid_range": (-100, 5000), **steps}
    finer = {"scale_factor": UNCERTAINTY_STEP, "add_offset": 0.0, "valid_range": (-100, 30000)}
    wet = {"_FillValue": FILL, "valid_range": (0, 30000), **steps, "unit": "cm"}
    dimensions = ("Orbits", "YDim", "XDim")
    fields = [
        Field("Optical_Depth_047", layers["blue"], dimensions, attributes=scaled),
        Field("Optical_Depth_055", layers["aod"], dimensions, attributes=scaled),
        Field(
            "AOD_Uncertainty",
            layers["uncertainty"],
            dimensions,
            attributes={"_FillValue": FILL, **finer},
        ),
        Field("AOD_QA", quality, dimensions, attributes={"_FillValue": 0}),
        Field("Column_WV", layers["water"], dimensions, attributes=wet),
    ]
    _, _, left, _, _, top = tile_transform(tile)
    about = {
        "name": "grid1km",
        "columns": TILE_PX,
        "rows": TILE_PX,
        "upper_left": (left, top),
        "lower_right": (left + TILE_M, top - TILE_M),
        "dimensions": {"Orbits": len(overpasses)},
        "fields": [(f.name, TYPES[str(f.data.dtype)][1], f.dimensions) for f in fields],
    }
    texts = {
        "HDFEOSVersion": "HDFEOS_V2.17",
        "StructMetadata.0": structure(grids=[about]),
        "Orbit_amount": str(len(overpasses)),
        "Orbit_time_stamp": "  ".join(f"{o.time:%Y%j%H%M}{o.satellite}" for o in overpasses),
    }
    name = f"MCD19A2.A{first:%Y%j}.h{tile[0]:02d}v{tile[1]:02d}.061.{first:%Y}365000000.hdf"
    grid = Structure("grid1km", "GRID", ("Data Fields", "Grid Attributes"), fields)
    return write(folder / name, [grid], texts, compress=True)


def tile_transform(tile: tuple[int, int]) -> Transform:
    """Affine of a MODIS tile's 1 km pixels, in sinusoidal metres."""
    left, top = (tile[0] - 18) * TILE_M, (9 - tile[1]) * TILE_M
    return (TILE_M / TILE_PX, 0.0, left, 0.0, -TILE_M / TILE_PX, top)


def _stored(values: NDArray[np.float64], step: float) -> NDArray[np.int16]:
    known = np.isfinite(values)
    return np.where(known, np.rint(np.where(known, values, 0.0) / step), FILL).astype(np.int16)


def write_dem(
    path: Path,
    elevation_m: NDArray[np.int16],
    *,
    west_deg: float,
    north_deg: float,
    step_deg: float,
) -> Path:
    """Write a DEM in EPSG:4326, int16 metres without nodata tag, like ASTER GDEM.

    Parameters
    ----------
    path : Path
    elevation_m : int16, shape (y, x)
    west_deg, north_deg : float
        Centre of the first pixel.
    step_deg : float
        Pixel size; one second is 1 / 3600.

    Returns
    -------
    path : Path
    """
    corner = (step_deg, 0.0, west_deg - step_deg / 2, 0.0, -step_deg, north_deg + step_deg / 2)
    return _geotiff(path, elevation_m[None], corner, "EPSG:4326")


def write_reference_geotiff(
    path: Path, bands: NDArray[np.int16], transform: Transform, *, crs: str = "EPSG:3857"
) -> Path:
    """Write a MODIS reflectance reference: seven int16 bands in steps of 1e-4, without any tags.

    Parameters
    ----------
    path : Path
    bands : int16, shape (7, y, x)
        Red, NIR, blue, green, 1240, 1640, 2130 nm.
    transform : Transform
    crs : str

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        Not seven bands.
    """
    if bands.shape[0] != 7:
        raise ValueError(f"A reference has 7 bands, these are {bands.shape[0]}.")
    return _geotiff(path, bands, transform, crs)


def _geotiff(path: Path, data: NDArray[np.int16], transform: Transform, crs: str) -> Path:
    count, height, width = data.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype="int16",
        crs=crs,
        transform=Affine(*transform),
        compress="deflate",
        predictor=2,
    ) as target:
        target.write(data)
    return path
