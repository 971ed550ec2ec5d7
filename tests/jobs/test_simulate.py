"""Simulated scenes: read by the real readers, true to the truth."""

import argparse
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from geoquarry.engine import aster_l1t
from geoquarry.engine.frame import pixel_coordinates
from geoquarry.engine.modis import read_aerosol, reference_on
from geoquarry.engine.raster import elevation_on
from geoquarry.jobs import simulate as job
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas.atmosphere import water_above
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.modis_model import modis_bands
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.sensor_model import at_points

FACTS = sensor("aster_l1t")
AIR = {
    "xa": [0.0025, 0.003, 0.004, 0.016, 0.04, 0.044, 0.049, 0.055, 0.061],
    "xb": [0.09, 0.05, 0.025, 0.003, 0.002, 0.002, 0.001, 0.001, 0.001],
    "xc": [0.15, 0.12, 0.09, 0.03, 0.02, 0.02, 0.015, 0.015, 0.015],
}
"""Like 6S at sun zenith 40, AOD 0.1: no test here needs 6S itself."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four scenes without noise, truth kept per granule pixel."""
    out = tmp_path_factory.mktemp("scenes")
    simulate(out, size=96, scenes=4, seed=3, noise_dn=0, atmosphere=AIR, keep_lattice_truth=True)
    return out


@pytest.fixture(scope="module")
def manifest(made):
    return json.loads((made / "scenes.json").read_text())


@pytest.fixture(scope="module")
def truth(made):
    with np.load(made / "truth.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def lattice_of(made, scene):
    with np.load(made / "lattice" / f"{scene['granule_id']}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_closed_loop_within_the_quantisation(made, manifest):
    """DN -> radiance -> reflectance gives the truth back to 1.2 x the error of rounding DN."""
    for scene in manifest["scenes"]:
        granule = aster_l1t.read(made / scene["file"])
        kept = lattice_of(made, scene)
        for place, band in enumerate(FACTS.bands):
            dn = granule.bands[band.name].data
            every = round(band.resolution_m / 15)
            clear = kept["clear"][::every, ::every] & (dn > 1) & (dn < 255)
            scale, offset = granule.radiance_scale[place], granule.radiance_offset[place]
            radiance = dn_to_radiance(dn[None], [scale], [offset])
            air = [[kept[name][0, place]] for name in ("xa", "xb", "xc")]
            found = remove_atmosphere(radiance, *air)[0]
            error = (found - kept[band.name])[clear].astype(float)
            rounding = scale * kept["xa"][0, place] / np.sqrt(12)
            assert clear.sum() > 1000
            assert np.sqrt((error**2).mean()) < 1.2 * rounding, band.name
            assert abs(error.mean()) < 0.1 * rounding, band.name


@pytest.mark.parametrize("number", ["3N", "4", "9"])
def test_granules_and_tile_show_the_same_ground_at_the_same_place(made, manifest, truth, number):
    """The best shift between a granule, interpolated at the tile's pixel centres, and the tile's
    truth is none: under 0.02 pixels of 30 m along both axes."""
    frame = grid(manifest["grid"])
    tile = (manifest["tile_x"], manifest["tile_y"])
    place = FACTS.position(number)
    band = FACTS.bands[place]
    step = 0.1 * 30 / band.resolution_m
    for scene in manifest["scenes"]:
        granule = aster_l1t.read(made / scene["file"])
        raster = granule.bands[band.name]
        rows, cols = pixel_coordinates(
            frame.crs, frame.transform(*tile), frame.shape, raster.crs, raster.transform, step=1
        )
        seen = lattice_of(made, scene)[band.name]
        for down, right in ((step, 0.0), (0.0, step)):
            before, here, after = (
                np.var(
                    at_points(seen, rows + k * down, cols + k * right) - truth["reflectance"][place]
                )
                for k in (-1, 0, 1)
            )
            assert here < 0.015**2  # texture finer than a pixel, and the VNIR is sharper
            # The vertex of the parabola through three squared errors, in steps of 0.1 pixel.
            vertex = (before - after) / (2 * (before - 2 * here + after))
            assert abs(0.1 * vertex) < 0.02


def test_footprints_cover_the_tile_with_room_for_the_edge(made, manifest):
    frame = grid(manifest["grid"])
    tile = (manifest["tile_x"], manifest["tile_y"])
    for scene in manifest["scenes"]:
        granule = aster_l1t.read(made / scene["file"])
        for band in FACTS.bands:
            raster = granule.bands[band.name]
            rows, cols = pixel_coordinates(
                frame.crs, frame.transform(*tile), frame.shape, raster.crs, raster.transform
            )
            reach = 300 / band.resolution_m
            for dr, dc in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
                r, c = np.rint(rows + dr).astype(int), np.rint(cols + dc).astype(int)
                assert (raster.data[r, c] > 0).all()
            # Rotated: the frame's own corners are not observed.
            assert not raster.data[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_swaths_have_different_footprints(made, manifest):
    granule = aster_l1t.read(made / manifest["scenes"][0]["file"])
    vnir, swir = (granule.bands[FACTS.names[i]].data > 0 for i in (0, 8))
    assert 0.001 < (vnir[::2, ::2] ^ swir).mean() < 0.1


def test_scenes_differ_and_the_first_is_clear(made, manifest, truth):
    scenes = manifest["scenes"]
    assert scenes[0]["cloud"] == 0
    assert not truth["cloud"][0].any()
    assert any(truth["cloud"][i].any() and truth["shadow"][i].any() for i in (1, 2, 3))
    times = [datetime.fromisoformat(scene["acquired"]) for scene in scenes]
    assert times == sorted(set(times))
    assert max(times) < datetime(2008, 4, 1, tzinfo=UTC)
    assert all(scene["sun_zenith_deg"] < 66 for scene in scenes)


def test_state_of_the_file_is_the_state_of_the_simulation(made, manifest):
    for scene in manifest["scenes"]:
        granule = aster_l1t.read(made / scene["file"])
        assert granule.sun_zenith_deg == pytest.approx(scene["sun_zenith_deg"], abs=1e-9)
        assert granule.sun_azimuth_deg == pytest.approx(scene["sun_azimuth_deg"], abs=1e-9)
        assert granule.view_zenith_deg == pytest.approx(scene["view_zenith_deg"], abs=1e-9)
        assert granule.view_azimuth_deg == pytest.approx(scene["view_azimuth_deg"], abs=0.01)
        assert granule.earth_sun_distance_au == scene["earth_sun_distance_au"]
        place = {"longitude_deg": granule.longitude_deg, "latitude_deg": granule.latitude_deg}
        field = read_aerosol(
            [made / name for name in manifest["aod"]],
            **place,
            acquired=granule.acquired,
            dem=[made / name for name in manifest["dem"]],
        )
        aod, uncertainty, water = field.at(*place.values())
        assert float(aod) == pytest.approx(scene["aod550"])
        assert float(uncertainty) == pytest.approx(0.02)
        above = water_above(float(water), scene["elevation_m"])
        assert above == pytest.approx(scene["water_vapour_g_cm2"], rel=0.003)


def test_elevation_and_reference_fit_the_truth(made, manifest, truth):
    frame = grid(manifest["grid"])
    at = frame.transform(manifest["tile_x"], manifest["tile_y"])
    dem = [made / name for name in manifest["dem"]]
    height = elevation_on(dem, frame.crs, at, frame.shape)
    assert abs((height - truth["elevation"]).mean()) < 0.1
    assert np.abs(height - truth["elevation"]).max() < 15
    layers = np.stack(reference_on(made / manifest["reference"], frame.crs, at, frame.shape)) * 1e-4
    expected = modis_bands(truth["reflectance"], FACTS)
    np.testing.assert_allclose(layers.mean((1, 2)), expected.mean((1, 2)), rtol=0.08)


@pytest.mark.parametrize("place", [(0.0, -78.2), (60.2, 25.0), (-24.2, -69.0)])
def test_everywhere_on_earth(tmp_path, place):
    found = simulate(
        tmp_path,
        size=64,
        scenes=1,
        seed=2,
        latitude_deg=place[0],
        longitude_deg=place[1],
        atmosphere=AIR,
        ground_m=15,
    )
    granule = aster_l1t.read(tmp_path / found["scenes"][0]["file"])
    assert granule.latitude_deg == pytest.approx(place[0], abs=0.02)
    assert granule.longitude_deg == pytest.approx(place[1], abs=0.04)


def test_same_seed_same_files_and_old_ones_are_replaced(tmp_path):
    def run(seed):
        simulate(tmp_path, size=48, scenes=1, seed=seed, atmosphere=AIR, ground_m=15)
        return {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix != ".npz"}

    first = run(1)
    (tmp_path / "mine.txt").write_text("keep")
    second = run(2)
    assert not {n for n in first if n.startswith("AST_L1T")} & set(second)
    assert (tmp_path / "mine.txt").exists()
    (tmp_path / "mine.txt").unlink()
    assert run(1) == first


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "scenes.json").write_text("[]")
    with pytest.raises(UsageError, match="another folder"):
        simulate(tmp_path, size=48, scenes=1, atmosphere=AIR, ground_m=15)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 8}, {"scenes": 0}, {"cloud": 1.0}, {"ground_m": 7.0}, {"latitude_deg": 85.0},
     {"elevation_levels": 0}],
)  # fmt: skip
def test_polite_refusal(tmp_path, wrong):
    with pytest.raises(UsageError, match="--"):
        simulate(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()


def test_command_line(tmp_path, monkeypatch, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    job.add_arguments(parser)
    asked = {}
    monkeypatch.setattr(job, "simulate", lambda out, **kw: asked.update(kw) or {"scenes": []})
    assert job.main(parser.parse_args([str(tmp_path), "--size", "64", "--json"])) == 0
    assert json.loads(capsys.readouterr().out) == {"scenes": []}
    assert asked["size"] == 64
