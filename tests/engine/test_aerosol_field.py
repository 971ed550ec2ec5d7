"""MCD19A2 as fields: what is known comes back, gaps close smoothly, nothing is made up."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pyhdf.SD import SD, SDC

from geoquarry.engine.aerosol_field import filled, window_around
from geoquarry.engine.ancillary_writer import (
    TILE_PX,
    Overpass,
    sinusoidal_tile,
    tile_transform,
    write_dem,
    write_mcd19a2,
)
from geoquarry.engine.frame import project_points
from geoquarry.engine.mcd19a2 import read_aerosol
from geoquarry.engine.sinusoidal import SINUSOIDAL
from geoquarry.schemas.atmosphere import water_fraction, water_fractions

WHEN = datetime(2006, 6, 18, 17, 48, tzinfo=UTC)
SITE = (-108.06, 32.8)
TILE = sinusoidal_tile(SITE[1], SITE[0])


def places(count=9, half_deg=0.4):
    lon, lat = np.linspace(-half_deg, half_deg, count) + SITE[0], np.linspace(-0.3, 0.3, count)
    return np.meshgrid(lon, lat + SITE[1])


def pixels():
    """Longitude and latitude of the tile's pixel centres."""
    a, _, left, _, e, top = tile_transform(TILE)
    at = np.arange(TILE_PX) + 0.5
    return project_points(left + a * at[None, :], top + e * at[:, None], SINUSOIDAL, "EPSG:4326")


def aerosol(lon, lat):
    return 0.15 + 0.10 * (lon - SITE[0]) + 0.05 * (lat - SITE[1])


def water(lon, lat):
    """Above sea level."""
    return 2.0 + 0.5 * (lon - SITE[0]) - 0.3 * (lat - SITE[1])


def ask(paths, dem=0.0, points=None):
    lon, lat = points or places()
    field = read_aerosol(paths, longitude_deg=lon, latitude_deg=lat, acquired=WHEN, dem=dem)
    return field, *field.at(lon, lat)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A file with gradients, holes of 7 to 28 km and a hundredth of the pixels."""
    lon, lat = pixels()
    depth = aerosol(lon, lat)
    row, column = np.unravel_index(
        np.argmin((lon - SITE[0]) ** 2 + (lat - SITE[1]) ** 2), lon.shape
    )
    hole = np.zeros(lon.shape, bool)
    for down, right, side in ((-30, -20, 8), (10, 15, 16), (-12, 40, 30)):
        hole[row + down :, column + right :][:side, :side] = True
    hole |= np.random.default_rng(4).random(lon.shape) < 0.01
    depth[hole] = np.nan
    vapour = water(lon, lat) * water_fraction(1500.0)
    folder = tmp_path_factory.mktemp("aod")
    return write_mcd19a2(folder, TILE, [Overpass(WHEN, "T", depth, vapour, 0.03)], seed=1)


def test_gradients_come_back_across_holes(graded):
    lon, lat = places(33)
    field, depth, uncertainty, column = ask(graded, dem=1500.0, points=(lon, lat))
    error = np.abs(depth - aerosol(lon, lat))
    assert np.median(error) < 5e-4  # half a stored step
    assert error.max() < 0.012  # in the middle of 28 km without data; the field spans 0.1
    np.testing.assert_allclose(uncertainty, 0.03, rtol=1e-6)
    np.testing.assert_allclose(column, water(lon, lat), rtol=3e-3)
    assert "Terra 2006-06-18T17:48Z, best quality; water vapour of the same" in field.source


def test_the_field_does_not_depend_on_the_window_that_was_read(graded):
    """Two granules that overlap agree where they do."""
    lon, lat = places()
    whole = read_aerosol(graded, longitude_deg=lon, latitude_deg=lat, acquired=WHEN, dem=0.0)
    part = read_aerosol(
        graded, longitude_deg=lon[2:5, 3:], latitude_deg=lat[2:5, 3:], acquired=WHEN, dem=0.0
    )
    at = lon[2:5, 3:], lat[2:5, 3:]
    np.testing.assert_allclose(whole.at(*at), part.at(*at), rtol=2e-4)


def test_relief_does_not_pass_for_weather(tmp_path):
    """One air mass over a mountain: the column follows the ground, at sea level it is the same."""
    lon, lat = pixels()
    step = 1 / 120
    dem_lon = SITE[0] - 1 + np.arange(241) * step
    dem_lat = SITE[1] + 1 - np.arange(241) * step

    def high(x, y):
        return 500 + 1500 * np.exp(-(((x - SITE[0]) / 0.3) ** 2 + ((y - SITE[1]) / 0.3) ** 2))

    heights = np.rint(high(dem_lon[None, :], dem_lat[:, None])).astype(np.int16)
    dem = write_dem(
        tmp_path / "d.tif", heights, west_deg=dem_lon[0], north_deg=dem_lat[0], step_deg=step
    )
    vapour = 2.5 * water_fractions(high(lon, lat))
    path = write_mcd19a2(tmp_path, TILE, [Overpass(WHEN, "T", 0.1, vapour)])
    _, _, _, column = ask(path, dem=[dem])
    np.testing.assert_allclose(column, 2.5, rtol=0.01)
    # Without elevation there is no sea-level column, and none is invented.
    away = write_dem(tmp_path / "e.tif", heights, west_deg=10.0, north_deg=50.0, step_deg=step)
    field, depth, _, column = ask(path, dem=[away])
    assert np.isnan(column).all()
    assert np.isfinite(depth).all()
    assert "water vapour" not in field.source


def test_water_above_clouds_is_not_water_above_the_ground(tmp_path):
    path = write_mcd19a2(tmp_path, TILE, [Overpass(WHEN, "T", 0.1, 2.0)])
    file = SD(str(path), SDC.WRITE)
    quality, stored = file.select("AOD_QA"), file.select("Column_WV")
    bits, column = quality[:], stored[:]
    bits[:, ::2], column[:, ::2] = 0b011, 300
    quality[:], stored[:] = bits, column
    for data in (quality, stored):
        data.endaccess()
    file.end()
    np.testing.assert_allclose(ask(path)[3], 2.0, rtol=1e-6)


def test_scales_are_those_of_the_file(tmp_path):
    path = write_mcd19a2(tmp_path, TILE, [Overpass(WHEN, "T", 0.1, 2.0, 0.02)])
    file = SD(str(path), SDC.WRITE)
    for name, scale in (
        ("Optical_Depth_055", 0.002),
        ("Column_WV", 0.0005),
        ("AOD_Uncertainty", 3e-4),
    ):
        data = file.select(name)
        data.attr("scale_factor").set(SDC.FLOAT64, scale)
        data.endaccess()
    file.end()
    _, depth, uncertainty, column = ask(path)
    for found, expected in ((depth, 0.2), (uncertainty, 0.06), (column, 1.0)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_certain_retrievals_outweigh_uncertain_ones(tmp_path):
    rng = np.random.default_rng(2)
    poor = rng.random((TILE_PX, TILE_PX)) < 0.5
    depth, spread = np.where(poor, 0.4, 0.1), np.where(poor, 0.2, 0.02)
    path = write_mcd19a2(tmp_path, TILE, [Overpass(WHEN, "T", depth, 1.0, spread)])
    np.testing.assert_allclose(ask(path)[1], (0.1 + 0.4 * 0.01) / 1.01, atol=0.01)  # 0.25 alike


def test_beyond_50_km_another_overpass_serves_and_then_nothing(tmp_path):
    lon, _ = pixels()
    east = np.where(lon > SITE[0] + 0.2, 0.2, np.nan)
    dry = np.full(lon.shape, np.nan)
    later = WHEN + timedelta(minutes=185)
    path = write_mcd19a2(
        tmp_path, TILE, [Overpass(WHEN, "T", east, dry), Overpass(later, "A", 0.3, 1.5)]
    )
    points = np.meshgrid(SITE[0] + np.array([-0.4, -0.25, 0.0, 0.4]), [SITE[1]])
    field, depth, _, column = ask(path, points=points)
    np.testing.assert_allclose(depth[0], [0.3, 0.2, 0.2, 0.2])  # 56, 42, 19 km away, and among them
    np.testing.assert_allclose(column, 1.5)
    assert (
        field.source.index("Terra")
        < field.source.index("beyond its reach")
        < field.source.index("Aqua")
    )
    alone = write_mcd19a2(tmp_path, TILE, [Overpass(WHEN, "T", east, dry)])
    field, depth, uncertainty, column = ask(alone, points=points)
    assert np.isnan(depth[0]).tolist() == np.isnan(uncertainty[0]).tolist() == [True] + [False] * 3
    assert np.isnan(column).all()


def test_reach_is_a_circle_on_the_ground_not_on_the_map():
    """At 33 N, 108 W the sinusoidal axes meet at 45 degrees."""
    window = window_around(np.array([-108.0]), np.array([33.0]), 926.6254, (0.0, 0.0))
    values = np.full(window.shape, np.nan)
    row, column = (round(float(v[0])) for v in window.places([-108.0], [33.0]))
    values[row, column] = 0.3
    field = filled(values, window)
    assert np.nanmin(field) == pytest.approx(0.3) == np.nanmax(field)
    km = np.radians(1) * 6371
    for bearing in np.radians(range(0, 360, 15)):
        for away, reached in ((48, True), (52, False)):
            lon = -108 + away * np.sin(bearing) / km / np.cos(np.radians(33))
            lat = 33 + away * np.cos(bearing) / km
            r, c = window.places([lon], [lat])
            if 0 <= round(r[0]) < window.shape[0] and 0 <= round(c[0]) < window.shape[1]:
                assert np.isfinite(field[round(r[0]), round(c[0])]) == reached, (bearing, away)


def test_across_180_degrees(tmp_path):
    """Tiles at either end of the map, one granule over both."""
    paths = [
        write_mcd19a2(tmp_path, sinusoidal_tile(-16.8, lon), [Overpass(WHEN, "T", depth, 2.0)])
        for lon, depth in ((179.9, 0.2), (-179.9, 0.4))
    ]
    lon, lat = np.meshgrid([179.6, 179.9, -179.9, -179.6], [-16.9, -16.7])
    field = read_aerosol(paths, longitude_deg=lon, latitude_deg=lat, acquired=WHEN, dem=0.0)
    depth, _, column = field.at(lon, lat)
    np.testing.assert_allclose(depth, [[0.2, 0.2, 0.4, 0.4]] * 2, atol=1e-6)
    np.testing.assert_allclose(column, 2.0)
