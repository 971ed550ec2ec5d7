"""Made-up rows of a `tiles` table: small, with clouds, gaps and every column a method reads."""

import datetime as dt

import numpy as np
from scipy import ndimage

from geoquarry.schemas import blob, flags
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import LATTICE

SENSOR = sensor("aster_l1t")
GRID = "res-30_tilesize-64"


def made_up_row(tile_x, tile_y, granule, *, size=64, seed=0, given=True):
    """One row: a smooth ground seen through one granule's clouds, footprint and noise.

    Without given coefficients the row has relief, haze and vapour that vary within the tile.
    """
    ground = np.random.default_rng([seed, tile_x, tile_y])
    base = ndimage.gaussian_filter(ground.normal(size=(9, size, size)), (0, 4, 4)) * 400 + 90
    own = np.random.default_rng([seed, tile_x, tile_y, granule])
    dn = np.clip(base * own.uniform(0.9, 1.1) + own.normal(size=base.shape), 1, 254).astype(
        np.uint8
    )
    bits = np.zeros((size, size), np.uint16)
    bits[ndimage.gaussian_filter(own.normal(size=(size, size)), 5) > 0.08] |= flags.CLOUD
    bits[:, : int(own.integers(0, size // 3))] |= flags.NOT_OBSERVED
    dn[:, (bits & flags.NOT_OBSERVED) != 0] = 0
    row0 = int(own.integers(0, size // 4))
    row = {
        "grid": GRID,
        "tile_x": tile_x,
        "tile_y": tile_y,
        "granule_id": f"granule_{granule:03d}",
        "sensor": SENSOR.name,
        "acquired": dt.datetime(2003, 1, 1, 18, tzinfo=dt.UTC) + dt.timedelta(days=100 * granule),
        "row0": row0,
        "col0": 0,
        "valid_fraction": float((bits[row0:] < flags.NOT_OBSERVED).mean()),
        "cloud_fraction": float((bits[row0:] & flags.CLOUD != 0).mean()),
        "meta": "{}",
        "ingest_id": "made up",
        "sun_zenith_deg": 30.0 + granule,
        "sun_azimuth_deg": 140.0,
        "earth_sun_distance_au": 1.0,
        "view_zenith_deg": [0.0] * 9,
        "view_azimuth_deg": [0.0] * 9,
        "gain_code": ["NOR"] * 9,
        "radiance_scale": [1.688, 1.415, 0.862, 0.2174, 0.0696, 0.0625, 0.0597, 0.0417, 0.0318],
        "radiance_offset": [
            -1.688,
            -1.415,
            -0.862,
            -0.2174,
            -0.0696,
            -0.0625,
            -0.0597,
            -0.0417,
            -0.0318,
        ],
        "aod550": 0.1,
        "elevation_m": 1200.0,
        "water_vapour_g_cm2": 1.0,
        "ozone_cm_atm": 0.3,
        "aerosol_model": "Continental",
        "atmosphere_source": "made up",
        "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
        "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
        "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
        "flags": blob.encode(bits[row0:]),
        "mask_version": "1",
    }
    for place, name in enumerate(SENSOR.names):
        row[name] = blob.encode(dn[place, row0:])
    if not given:
        row |= dict.fromkeys(("xa", "xb", "xc"))
        row["elevation"] = blob.encode((1200 + 2 * (base[1] - base[1].mean())).astype(np.int16))
        lattice = ndimage.gaussian_filter(ground.uniform(0.9, 1.1, (LATTICE, LATTICE)), 1)
        row["aod550_field"] = (row["aod550"] * lattice).ravel().tolist()
        row["water_vapour_field"] = (row["water_vapour_g_cm2"] * lattice).ravel().tolist()
    reference = ndimage.zoom(base[0], 16 / size, order=1)
    for place in range(1, 8):
        row[f"ref_{place}"] = blob.encode((reference * 20 + 100 * place).astype(np.int16))
    return row


def made_up_rows(tiles=((3, 5), (4, 5), (4, 6)), granules=4, **options):
    """Rows of several tiles and granules."""
    return [made_up_row(x, y, g, **options) for g in range(granules) for x, y in tiles]


def mixed_rows(tiles=((3, 5), (4, 5), (4, 6)), granules=4):
    """The same, every second granule without coefficients: corrected with the lookup table."""
    return [made_up_row(x, y, g, given=g % 2 == 0) for g in range(granules) for x, y in tiles]
