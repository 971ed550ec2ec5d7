"""The air over neighbouring tiles: one field, equal along their edges."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from geoquarry.engine.ancillary_writer import (
    TILE_PX,
    Overpass,
    sinusoidal_tile,
    tile_transform,
    write_dem,
    write_mcd19a2,
)
from geoquarry.engine.frame import project_points
from geoquarry.engine.sinusoidal import SINUSOIDAL
from geoquarry.jobs.ancillary import (
    Ancillary,
    add_ancillary,
    air_over,
    lattice_points,
    still_clamped,
)
from geoquarry.schemas import blob, flags
from geoquarry.schemas.atmosphere import water_fraction, water_fractions
from geoquarry.schemas.grid import grid
from geoquarry.udfs.tile_cells import side

WHEN = datetime(2006, 6, 18, 17, 48, tzinfo=UTC)
GRANULE = SimpleNamespace(acquired=WHEN)
FRAME = grid("webmercator-30m-1024")
TILES = [(260, 526), (261, 526), (260, 527)]
STEP = 1 / 1200


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Relief of 2,000 m under an air mass with gradients and a hole where the tiles meet."""
    folder = tmp_path_factory.mktemp("air")
    lon, lat = lattice_points(FRAME, *TILES[0])
    corner = float(lon[-1, -1]), float(lat[-1, -1])
    tile = sinusoidal_tile(corner[1], corner[0])
    a, _, left, _, e, top = tile_transform(tile)
    at = np.arange(TILE_PX) + 0.5
    lon, lat = project_points(
        left + a * at[None, :], top + e * at[:, None], SINUSOIDAL, "EPSG:4326"
    )
    dem_lon = corner[0] - 1 + np.arange(2401) * STEP
    dem_lat = corner[1] + 1 - np.arange(2401) * STEP
    heights = np.rint(ground(dem_lon[None, :], dem_lat[:, None])).astype(np.int16)
    west, north = float(dem_lon[0]), float(dem_lat[0])
    dem = write_dem(folder / "d.tif", heights, west_deg=west, north_deg=north, step_deg=STEP)
    depth = aerosol(lon, lat)
    depth[np.hypot(lon - corner[0], lat - corner[1]) < 0.05] = np.nan
    vapour = sea_level(lon, lat) * water_fractions(ground(lon, lat))
    path = write_mcd19a2(folder, tile, [Overpass(WHEN, "T", depth, vapour, 0.03)])
    return Ancillary([path], [dem])


def ground(lon, lat):
    return 1500 + 1000 * np.sin(lon * 40) * np.cos(lat * 30) + 1000 * (lat - 32.8)


def aerosol(lon, lat):
    return 0.2 + 0.3 * (lon + 108) - 0.2 * (lat - 32.8)


def sea_level(lon, lat):
    return 3.0 + 1.0 * (lon + 108) - 0.5 * (lat - 32.8)


def row_of(tile, ancillary, field, window=(0, 0, 1024, 1024)):
    row0, col0, height, width = window
    row = {
        "tile_x": tile[0],
        "tile_y": tile[1],
        "row0": row0,
        "col0": col0,
        "flags": blob.encode(np.zeros((height, width), np.uint16)),
    }
    return add_ancillary(row, GRANULE, FRAME, ancillary, field)


def test_neighbours_agree_along_their_edges_to_the_last_bit(made):
    field = air_over(GRANULE, TILES, FRAME, made)
    first, east, south = (row_of(tile, made, field) for tile in TILES)
    assert abs(first["elevation_m"] - south["elevation_m"]) > 20

    def squares(name, *rows):
        return [np.array(row[name], np.float32).reshape(17, 17) for row in rows]

    a, b, c = squares("aod550_field", first, east, south)
    assert (a[:, -1] == b[:, 0]).all()
    assert (a[-1] == c[0]).all()
    a, b, c = (
        water / water_fraction(row["elevation_m"])
        for row, water in zip(
            (first, east, south),
            squares("water_vapour_field", first, east, south),
            strict=True,
        )
    )
    np.testing.assert_allclose(a[:, -1], b[:, 0], rtol=1e-6)
    np.testing.assert_allclose(a[-1], c[0], rtol=1e-6)


def test_what_the_files_hold_comes_back_at_the_lattice(made):
    field = air_over(GRANULE, TILES, FRAME, made)
    row = row_of(TILES[0], made, field)
    lon, lat = lattice_points(FRAME, *TILES[0])
    depth = np.reshape(row["aod550_field"], (17, 17))
    error = np.abs(depth - aerosol(lon, lat))
    assert error.max() < 0.008  # in the hole, with data on one side
    assert error[:12, :12].max() < 1e-3
    column = np.reshape(row["water_vapour_field"], (17, 17)) / water_fraction(row["elevation_m"])
    np.testing.assert_allclose(column, sea_level(lon, lat), rtol=0.01)  # relief: a factor of 2
    assert row["aod550"] == pytest.approx(aerosol(lon, lat).mean(), abs=1e-3)
    assert row["aod550_uncertainty"] == pytest.approx(0.03)
    assert 0.29 < row["ozone_cm_atm"] < 0.31


def test_scalars_are_means_over_the_window(made):
    field = air_over(GRANULE, TILES, FRAME, made)
    row = row_of(TILES[0], made, field, window=(100, 700, 200, 300))
    lon, lat = lattice_points(FRAME, *TILES[0])
    x = np.interp((700 + 150) / 64, np.arange(17), lon[0])
    y = np.interp((100 + 100) / 64, np.arange(17), lat[:, 0])
    assert row["aod550"] == pytest.approx(aerosol(x, y), abs=1e-3)


def test_only_cells_without_a_retrieval_in_reach_are_flagged(made, tmp_path):
    tile = sinusoidal_tile(32.8, -108.2)
    lon, _ = lattice_points(FRAME, *TILES[0])
    a, _, left, _, e, top = tile_transform(tile)
    at = np.arange(TILE_PX) + 0.5
    here, _ = project_points(left + a * at[None, :], top + e * at[:, None], SINUSOIDAL, "EPSG:4326")
    middle = lon[0, 8]
    km = np.radians(1) * 6371 * np.cos(np.radians(32.8))
    depth = np.where(here > middle + 50 / km, 0.3, np.nan)
    path = write_mcd19a2(tmp_path, tile, [Overpass(WHEN, "T", depth, 2.0)])
    ancillary = Ancillary([path], made.dem)
    row = row_of(TILES[0], ancillary, air_over(GRANULE, TILES, FRAME, ancillary))
    field = np.reshape(row["aod550_field"], (17, 17))
    assert (field[:, :7] == np.float32(0.1)).all()
    np.testing.assert_allclose(field[:, 10:], 0.3, rtol=1e-5)
    clamped = (blob.decode(row["flags"]) & flags.ATMOSPHERE_CLAMPED) != 0
    assert clamped[:, : 7 * 64].all()
    assert not clamped[:, 10 * 64 :].any()
    assert "default 0.1 in a part of the tile" in row["atmosphere_source"]


def test_masks_cut_anew_keep_the_cells_where_nothing_was_retrieved():
    """Also in tiles that 16 does not divide: cells are those of the correction."""
    frame = grid("res-30_tilesize-24")
    bits = np.zeros((24, 20), np.uint16)
    at = side(24).cell
    bits[np.ix_(at == 4, at[4:] == 7)] = flags.ATMOSPHERE_CLAMPED
    old = {"row0": 0, "col0": 4, "flags": blob.encode(bits)}
    new = {"row0": 3, "col0": 0, "flags": blob.encode(np.full((21, 24), flags.CLOUD, np.uint16))}
    found = blob.decode(still_clamped(new, old, frame))
    assert (found & flags.CLOUD).all()
    expected = (at[3:, None] == 4) & (at == 7)
    np.testing.assert_array_equal((found & flags.ATMOSPHERE_CLAMPED) != 0, expected)
    assert expected.sum() == 2
