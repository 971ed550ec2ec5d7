"""Made-up inputs of the benchmarks: rows of a `tiles` table, and one granule of full size."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.schemas import blob, flags
from geoquarry.schemas.granule import Granule, Raster
from geoquarry.schemas.sensor import sensor

SENSOR = sensor("aster_l1t")
UCC = [1.688, 1.415, 0.862, 0.2174, 0.0696, 0.0625, 0.0597, 0.0417, 0.0318]
"""Radiance per count of gain NOR, as in schemas/aster_l1t_gains.csv; HGH would do as well."""
AIR = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}
"""Coefficients of an ordinary summer day."""
LIGHT = {
    "sun_azimuth_deg": 140.0,
    "earth_sun_distance_au": 1.0,
    "view_zenith_deg": [0.0] * 9,
    "view_azimuth_deg": [0.0] * 9,
    "gain_code": ["NOR"] * 9,
    "radiance_scale": UCC,
    "radiance_offset": [-value for value in UCC],
}


def smooth(rng: np.random.Generator, shape: tuple[int, ...], step: int) -> NDArray[np.float32]:
    """A field of standard deviation near 1 that varies over about ``step`` pixels."""
    coarse = rng.normal(size=(*shape[:-2], *(side // step + 4 for side in shape[-2:])))
    zoomed = ndimage.zoom(coarse.astype(np.float32), (*[1] * (len(shape) - 2), step, step), order=1)
    return zoomed[..., : shape[-2], : shape[-1]]


def ground_of(tile_x: int, tile_y: int, size: int) -> NDArray[np.float32]:
    """Mean counts of the nine bands, the same for all granules of a tile."""
    rng = np.random.default_rng([7, tile_x, tile_y])
    common, own = smooth(rng, (size, size), 16), smooth(rng, (9, size, size), 8)
    return 90 + 25 * common + 8 * own


def row_of(
    ground: NDArray[np.float32], grid: str, tile_x: int, tile_y: int, granule: int
) -> dict[str, Any]:
    """What one granule saw of a tile: noise, some cloud, a footprint that leaves a corner out."""
    size = ground.shape[-1]
    rng = np.random.default_rng([11, tile_x, tile_y, granule])
    noise = rng.standard_normal(ground.shape, dtype=np.float32)
    dn = np.clip(ground * np.float32(rng.uniform(0.9, 1.1)) + noise, 1, 254).astype(np.uint8)
    bits = np.zeros((size, size), np.uint16)
    bits[smooth(rng, (size, size), size // 8) > 0.8] |= flags.CLOUD
    place = np.arange(size)
    bits[place[:, None] + place[None, :] < rng.integers(size // 8, size // 2)] = flags.NOT_OBSERVED
    dn[:, bits == flags.NOT_OBSERVED] = 0
    row = {
        "grid": grid,
        "tile_x": tile_x,
        "tile_y": tile_y,
        "granule_id": f"AST_L1T_003{granule:014d}",
        "sensor": SENSOR.name,
        "acquired": dt.datetime(2003, 1, 1, 18, tzinfo=dt.UTC) + dt.timedelta(days=100 * granule),
        "row0": 0,
        "col0": 0,
        "valid_fraction": float((bits != flags.NOT_OBSERVED).mean()),
        "cloud_fraction": float((bits == flags.CLOUD).mean()),
        "meta": json.dumps({"crosstalk_corrected": False}),
        "ingest_id": "made up",
        "sun_zenith_deg": 30.0 + granule,
        **LIGHT,
        "aod550": 0.1,
        "elevation_m": 1200.0,
        "water_vapour_g_cm2": 1.0,
        "ozone_cm_atm": 0.3,
        "aerosol_model": "Continental",
        "atmosphere_source": "made up",
        **AIR,
        "flags": blob.encode(bits),
        "mask_version": "1",
    }
    row |= {name: blob.encode(dn[place]) for place, name in enumerate(SENSOR.names)}
    red = ndimage.zoom(ground[1], 0.25, order=1) * 20
    row |= {
        f"ref_{place}": blob.encode((red + 100 * place).astype(np.int16)) for place in range(1, 8)
    }
    return row


def rows_of_granules(
    tiles: list[tuple[int, int]], granules: int, size: int, grid: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Granule by granule, as an ingest would give them."""
    grounds = {tile: ground_of(*tile, size) for tile in tiles}
    for granule in range(granules):
        rows = [row_of(grounds[tile], grid, *tile, granule) for tile in tiles]
        yield rows[0]["granule_id"], rows


def full_granule() -> Granule:
    """VNIR of 4980 x 4200 pixels and SWIR of 2490 x 2100, rotated in its frame like an L1T."""
    rng = np.random.default_rng(5)
    bands = {}
    for place, band in enumerate(SENSOR.bands):
        half = place < 3
        height, width = (4200, 4980) if half else (2100, 2490)
        pixel = 15.0 if half else 30.0
        dn = 90 + 30 * smooth(rng, (height, width), 64)
        dn += rng.standard_normal((height, width), dtype=np.float32)
        dn = np.clip(dn, 1, 254).astype(np.uint8)
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        inside = (x + 0.16 * y > 0.16) & (x + 0.16 * y < 1) & (y - 0.2 * x < 0.83)
        dn[~(inside & (y - 0.2 * x > -0.03))] = 0
        # Centres of the first pixels coincide, so the corners are half a pixel off each.
        corner = (600_000.0 - pixel / 2, 3_650_000.0 + pixel / 2)
        bands[band.name] = Raster(dn, (pixel, 0.0, corner[0], 0.0, -pixel, corner[1]), "EPSG:32612")
    return Granule(
        sensor=SENSOR.name,
        granule_id="AST_L1T_00306182003175858_20150516014601_17781",
        observation_id="AST_L1T_00306182003175858",
        produced="20150516014601",
        acquired=dt.datetime(2003, 6, 18, 17, 58, 58, tzinfo=dt.UTC),
        bands=bands,
        sun_zenith_deg=30.0,
        latitude_deg=32.7,
        longitude_deg=-109.3,
        **LIGHT,
    )
