"""Scenes that err, dry out, end inside the tile: what each option of a simulation does, alone."""

import json

import numpy as np
import pytest

from geoquarry.engine import aster_l1t
from geoquarry.engine.local import open_engine
from geoquarry.engine.modis import read_aerosol
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.landscape_cover import SURFACES, dry_change
from geoquarry.udfs.radiometry import dn_to_radiance

FACTS = sensor("aster_l1t")
USUAL = {"size": 64, "scenes": 3, "seed": 6, "noise_dn": 0, "ground_m": 15, "atmosphere": "lut"}


def made(folder, **options):
    manifest = simulate(folder, **USUAL | options)
    with np.load(folder / "truth.npz", allow_pickle=False) as truth:
        granules = [aster_l1t.read(folder / scene["file"]) for scene in manifest["scenes"]]
        return manifest, dict(truth), granules


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain"))


def radiance(granule, place):
    dn = granule.bands[FACTS.names[place]].data
    scale, offset = granule.radiance_scale[place], granule.radiance_offset[place]
    seen = dn_to_radiance(dn[None], [scale], [offset])[0]
    return np.where((dn > 1) & (dn < 255), seen, np.nan)


def test_calibration_is_a_gain_per_scene_and_nothing_else(plain, tmp_path):
    found = made(tmp_path, calibration=0.05)
    for before, after, scene in zip(plain[2], found[2], found[0]["scenes"], strict=True):
        gains = np.array(scene["calibration"])
        assert 0.001 < gains.std() < 0.05 < 4 * np.abs(gains - 1).max()
        for place in range(9):
            ratio = radiance(after, place) / radiance(before, place)
            assert np.nanmedian(ratio) == pytest.approx(gains[place], rel=0.01)
    np.testing.assert_array_equal(found[1]["reflectance"], plain[1]["reflectance"])
    assert all(scene["calibration"] == [1] * 9 for scene in plain[0]["scenes"])


def test_aerosol_files_are_wrong_but_scenes_are_not(plain, tmp_path):
    manifest, _, granules = made(tmp_path, aod_error=0.5)
    for scene, granule, before in zip(manifest["scenes"], granules, plain[2], strict=True):
        place = {"longitude_deg": granule.longitude_deg, "latitude_deg": granule.latitude_deg}
        field = read_aerosol(
            [tmp_path / name for name in manifest["aod"]],
            **place,
            acquired=granule.acquired,
            dem=[tmp_path / name for name in manifest["dem"]],
        )
        assert float(field.at(*place.values())[0]) == pytest.approx(scene["aod_reported"])
        assert abs(np.log(scene["aod_reported"] / scene["aod550"])) > 0.02
        np.testing.assert_array_equal(granule.bands["b01"].data, before.bands["b01"].data)


def test_every_scene_can_be_cloudy(tmp_path):
    manifest, truth, _ = made(tmp_path, cloud=0.6, all_cloudy=True)
    assert [scene["cloud"] for scene in manifest["scenes"]] == [0.6] * 3
    assert (truth["cloud"].mean(axis=(1, 2)) > 0.4).all()


def test_dry_plants_change_where_plants_are(plain, tmp_path):
    manifest, truth, granules = made(tmp_path, season=1.0)
    assert truth["dry_change"] == pytest.approx(dry_change(tuple(FACTS.names)), abs=1e-6)
    np.testing.assert_array_equal(truth["reflectance"], plain[1]["reflectance"])
    dry = max(range(3), key=lambda i: manifest["scenes"][i]["dryness"])
    assert 0.3 < manifest["scenes"][dry]["dryness"] <= 1
    nir = FACTS.role("nir")
    change = radiance(granules[dry], nir) / radiance(plain[2][dry], nir) - 1
    assert np.nanmin(change) < -0.05
    assert np.nanquantile(np.abs(change), 0.2) < 0.01


def test_footprints_end_inside_the_tile_but_for_the_first(tmp_path):
    manifest, _, granules = made(tmp_path, size=96, shift=0.5)
    shares = [float((g.bands["b04"].data[20:-20, 20:-20] > 0).mean()) for g in granules]
    assert manifest["scenes"][0]["beside_m"] == (0, 0)
    assert shares[0] > 0.9 > max(shares[1:])
    shapes = {g.bands["b04"].data.shape for g in granules}
    assert max(s[0] for s in shapes) - min(s[0] for s in shapes) < 10


@pytest.mark.parametrize("surface", sorted(SURFACES))
def test_nearly_all_ground_can_be_one_surface(tmp_path, surface):
    _, truth, _ = made(tmp_path, size=48, scenes=1, surface=surface)
    names = list(truth["class_names"])
    parts = [names.index(name) for name in SURFACES[surface]]
    assert truth["abundance_percent"][parts].sum(axis=0).mean() > 70


def test_a_finer_grid_cuts_the_same_scenes_into_the_same_pixels(tmp_path):
    """Tile (x, y) of 96 px is tiles (2x..2x+1, 2y..2y+1) of 48 px, for neighbours to agree on."""
    manifest, _, _ = made(tmp_path, size=96, scenes=1)
    whole = manifest["tile_x"], manifest["tile_y"]
    fine = grid("res-30_tilesize-48")
    corner = grid(manifest["grid"]).bounds(*whole)[::3]
    assert fine.bounds(2 * whole[0], 2 * whole[1])[::3] == corner
    engine = open_engine(str(tmp_path / "warehouse"))
    for table, name in (("whole", manifest["grid"]), ("parts", fine.name)):
        report = ingest(
            engine,
            [tmp_path / scene["file"] for scene in manifest["scenes"]],
            table,
            aod=[tmp_path / file for file in manifest["aod"]],
            dem=[tmp_path / file for file in manifest["dem"]],
            reference=tmp_path / manifest["reference"],
            grid_name=name,
        )
        assert not report.failed
    rows = {(r["tile_x"], r["tile_y"]): r for r in engine.read("parts").read_all().to_pylist()}
    row = next(
        r
        for r in engine.read("whole").read_all().to_pylist()
        if (r["tile_x"], r["tile_y"]) == whole
    )
    for place in range(4):
        down, right = divmod(place, 2)
        part = rows[2 * whole[0] + right, 2 * whole[1] + down]
        window = np.s_[48 * down : 48 * (down + 1), 48 * right : 48 * (right + 1)]
        for band in FACTS.names:
            # Coordinates are interpolated within a tile: a count may be rounded the other way.
            difference = np.abs(
                blob.decode(part[band]).astype(int) - blob.decode(row[band])[window]
            )
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.02
        assert part["aod550"] == pytest.approx(row["aod550"], rel=0.01)


@pytest.mark.parametrize(
    "wrong",
    [{"calibration": -0.1}, {"aod_error": 9}, {"season": 2}, {"shift": 1}, {"surface": "cheese"}],
)
def test_polite_refusal(tmp_path, wrong):
    with pytest.raises(UsageError, match="--"):
        simulate(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()


def test_the_manifest_tells_what_was_asked(tmp_path):
    manifest, _, _ = made(tmp_path, size=48, scenes=1, calibration=0.02, season=0.5)
    kept = json.loads((tmp_path / "scenes.json").read_text())
    assert kept == json.loads(json.dumps(manifest))
    assert (kept["calibration"], kept["season"], kept["atmosphere"]) == (0.02, 0.5, "lut")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"seed": -1}, "--seed -1"),
        ({"noise_dn": -3}, "--noise -3"),
        ({"noise_dn": float("nan")}, "--noise nan"),
        ({"latitude_deg": float("nan")}, "--latitude nan"),
        ({"longitude_deg": float("nan")}, "--longitude nan"),
        ({"longitude_deg": 400}, "--longitude 400"),
        ({"ground_m": float("nan")}, "--ground nan"),
        ({"size": 9000}, "--size 9000: give 32 to 2048"),
        ({"grid_name": "modis-500m-256"}, "128000 m wide"),
        ({"grid_name": "res-30_tilesize-16"}, "16 pixels"),
    ],
)
def test_what_is_out_of_range_is_said_at_once(tmp_path, wrong, text):
    with pytest.raises(UsageError, match=text):
        simulate(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()
