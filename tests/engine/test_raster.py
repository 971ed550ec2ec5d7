"""Rasters onto frames: only what is wanted is read, and voids stay out of means."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from geoquarry.engine.frame import frame_bounds, project_bounds
from geoquarry.engine.raster import elevation_on, read_geotiff, warp_to
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Raster
from geoquarry.schemas.grid import grid

FRAME = ("EPSG:32612", (30.0, 0.0, 500_000.0, 0.0, -30.0, 3_600_000.0), (20, 30))


def tiff(path, data, *, left=500_000.0, top=3_600_000.0, pixel=30.0, crs="EPSG:32612", **options):
    data = np.atleast_3d(data).transpose(2, 0, 1) if data.ndim == 2 else data
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=data.shape[0],
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        crs=crs,
        transform=Affine(pixel, 0, left, 0, -pixel, top),
        **options,
    ) as file:
        file.write(data)
    return path


def test_read_only_what_lies_under_a_box(tmp_path):
    data = np.arange(400 * 300, dtype=np.int32).reshape(400, 300)
    path = tiff(tmp_path / "a.tif", data, nodata=-1)
    left, top = 500_000.0 + 100 * 30, 3_600_000.0 - 200 * 30
    part = read_geotiff(path, bounds=(left, top - 60, left + 90, top), margin_px=2)
    assert part is not None
    assert part.transform[2] == left - 60
    assert part.transform[5] == top + 60
    assert part.data[0, 2, 2] == data[200, 100]
    assert part.data.shape[1] < 10
    assert part.nodata == -1
    assert read_geotiff(path, bounds=(0, 0, 10, 10)) is None
    whole = read_geotiff(path)
    assert whole is not None
    assert whole.data.shape == (1, 400, 300)


def test_unreadable_rasters_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.tif: no such file"):
        read_geotiff(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match=r"text\.tif: not a readable raster"):
        read_geotiff(tmp_path / "text.tif")
    cut = tiff(tmp_path / "cut.tif", np.ones((300, 300), np.int16))
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.tif: not a readable raster"):
        read_geotiff(cut)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("lacks", ["crs", "transform"])
def test_a_raster_that_lies_nowhere_is_refused(tmp_path, lacks):
    path = tmp_path / "bare.tif"
    place = {"crs": "EPSG:32612", "transform": Affine(30, 0, 500_000, 0, -30, 3_600_000)}
    place.pop(lacks)
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=2, width=2, dtype="uint8", **place
    ) as file:
        file.write(np.ones((1, 2, 2), np.uint8))
    with pytest.raises(InputError, match=r"bare\.tif: the raster has no georeference"):
        read_geotiff(path)


UNPROTECTED = """
import contextlib, sys, warnings
import numpy as np
import rasterio
from geoquarry.engine.raster import warp_to
from geoquarry.schemas.granule import Raster

frame = (30.0, 0.0, 500_000.0, 0.0, -30.0, 3_600_000.0)
source = Raster(np.ones((8, 8), np.int16), frame, "EPSG:32612")
# As among threads, when another one has just put the filters back.
warnings.simplefilter = lambda *args, **options: None
warnings.catch_warnings = contextlib.nullcontext
warp_to([source], "EPSG:32612", frame, (8, 8), nodata=-1)
rasterio.open(sys.argv[1])
"""


def test_warping_among_threads_warns_of_nothing_and_hides_nothing(tmp_path):
    path = tmp_path / "bare.tif"
    bare = {"driver": "GTiff", "count": 1, "height": 2, "width": 2, "dtype": "uint8"}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", **bare):
        pass
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", UNPROTECTED, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = [line for line in done.stderr.splitlines() if NotGeoreferencedWarning.__name__ in line]
    assert len(told) == 1, done.stderr
    assert "warp.py" not in told[0]


def test_fill_is_never_averaged():
    data = np.full((40, 60), 100, np.int16)
    data[::3, ::2] = -9999
    source = Raster(data, (15.0, 0.0, 500_000.0, 0.0, -15.0, 3_600_000.0), "EPSG:32612")
    for kernel in ("bilinear", "average", "nearest"):
        found = warp_to([source], *FRAME, nodata=-9999, resampling=kernel)
        assert set(np.unique(found)) <= {100, -9999}
        assert (found == 100).mean() > 0.6


def test_elevation_of_several_tiles_with_voids(tmp_path):
    west = np.full((20, 15), 1000, np.int16)
    east = np.full((20, 15), 2000, np.int16)
    west[5, 5] = -9999  # no nodata tag, as in ASTGTM
    east[7, 7] = -32767
    east[0, 0] = 0  # sea level
    paths = [
        tiff(tmp_path / "w.tif", west),
        tiff(tmp_path / "e.tif", east, left=500_000.0 + 15 * 30),
    ]
    found = elevation_on(paths, *FRAME)
    assert found.dtype == np.int16
    assert found[5, 5] == -32768
    assert found[7, 22] == -32768
    assert found[0, 15] == 0
    assert (found[:, :15] == 1000).sum() == 299
    assert (found[:, 15:] == 2000).sum() == 298
    np.testing.assert_array_equal(elevation_on(paths[::-1], *FRAME), found)
    np.testing.assert_array_equal(elevation_on(str(paths[0]), *FRAME)[:, 16:], -32768)


def test_elevation_rounds_floats_and_respects_the_tag(tmp_path):
    data = np.full((20, 30), 99.6, np.float32)
    data[3, 3] = np.nan
    data[4, 4] = 7.0
    found = elevation_on(tiff(tmp_path / "f.tif", data, nodata=7.0), *FRAME)
    assert found[0, 0] == 100
    assert found[3, 3] == found[4, 4] == -32768


def test_elevation_as_a_number():
    assert (elevation_on(1200, *FRAME) == 1200).all()
    assert elevation_on(12.6, *FRAME).dtype == np.int16
    with pytest.raises(InputError, match="Give metres"):
        elevation_on(29_000, *FRAME)


def test_no_tile_reaches(tmp_path):
    path = tiff(tmp_path / "far.tif", np.ones((20, 20), np.int16), left=900_000.0)
    assert (elevation_on([path], *FRAME) == -32768).all()


def test_real_dem_in_another_system(shared):
    path = shared / "data/dem/AST_L1A_00303182012144228_Z.tif"
    with rasterio.open(path) as file:
        stored, own = file.read(1), file.transform
    frame = ("EPSG:32718", (own.a, 0.0, own.c, 0.0, own.e, own.f), stored.shape)
    same = elevation_on(path, *frame)
    np.testing.assert_array_equal(
        same, np.where(stored == -9999, -32768, np.rint(stored)).astype(np.int16)
    )
    bounds = project_bounds(frame_bounds(*frame[1:]), "EPSG:32718", "EPSG:3857")
    turned = elevation_on(
        path, "EPSG:3857", (40.0, 0.0, bounds[0], 0.0, -40.0, bounds[3]), (500, 500)
    )
    seen = turned[turned != -32768]
    assert seen.min() >= stored[stored != -9999].min() - 1
    assert (turned == -32768).any()


def test_shared_dem_matches_the_truth(s96):
    squares = grid("res-30_tilesize-96")
    for key, pattern, truth in [
        ((2780, 5614), "ASTGTM*N32*.tif", "truth_north.npz"),
        ((4289, 7924), "ASTGTM*S25*.tif", "truth_south.npz"),
    ]:
        paths = sorted(s96.glob(pattern))
        found = elevation_on(paths, squares.crs, squares.transform(*key), squares.shape)
        expected = np.load(s96 / truth)["elevation"]
        assert found.mean() == pytest.approx(expected.mean(), abs=0.5)
        errors = {
            (dy, dx): np.std(np.roll(found.astype(float), (dy, dx), (0, 1)) - expected)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        }
        assert min(errors, key=lambda shift: errors[shift]) == (0, 0)


@pytest.mark.parametrize("fill", [-3.4e38, 1e20, 65535.0, 9_999_999.0, -99_999.0])
def test_fill_that_nobody_declared_is_no_ground(tmp_path, fill):
    path = tmp_path / "dem.tif"
    data = np.full((1, 8, 8), 1200, np.float32)
    data[0, :, :4] = fill
    transform = rasterio.Affine(30, 0, 500_000, 0, -30, 4_000_000)
    profile = {"width": 8, "height": 8, "count": 1, "dtype": "float32", "crs": "EPSG:32612"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as out:
        out.write(data)
    found = elevation_on(path, "EPSG:32612", tuple(transform)[:6], (8, 8))
    assert (found[:, :4] == -32768).all()
    assert (found[:, 4:] == 1200).all()


def test_a_dem_in_decimetres_is_read_in_metres(tmp_path):
    path = tmp_path / "dem.tif"
    transform = rasterio.Affine(30, 0, 500_000, 0, -30, 4_000_000)
    profile = {"width": 8, "height": 8, "count": 1, "dtype": "int16", "crs": "EPSG:32612"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as out:
        out.write(np.full((1, 8, 8), 17_000, np.int16))
        out.scales = [0.1]
    assert (elevation_on(path, "EPSG:32612", tuple(transform)[:6], (8, 8)) == 1700).all()


def test_a_file_of_several_bands_is_no_dem(tmp_path):
    path = tiff(tmp_path / "reference.tif", np.full((7, 8, 8), 900, np.int16))
    frame = "EPSG:32612", (30.0, 0.0, 500_000.0, 0.0, -30.0, 3_600_000.0), (8, 8)
    with pytest.raises(InputError, match=r"reference.tif: 7 bands, a DEM has one\. Give"):
        elevation_on(path, *frame)
