"""Written granules and ancillary files, read back by our readers and by plain pyhdf."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import rasterio
from pyhdf import VS, V  # noqa: F401
from pyhdf.HDF import HC, HDF
from pyhdf.SD import SD, SDC

from geoquarry.engine import aster_l1t
from geoquarry.engine.ancillary_writer import (
    Overpass,
    sinusoidal_tile,
    write_dem,
    write_mcd19a2,
    write_reference_geotiff,
)
from geoquarry.engine.aster_l1t_writer import Scene, radiance_coefficients, write_granule
from geoquarry.engine.frame import project_points
from geoquarry.engine.modis import read_aerosol, read_reference
from geoquarry.engine.raster import elevation_on
from geoquarry.schemas.sensor import sensor

BANDS = sensor("aster_l1t").bands
GAINS = dict(
    zip(
        [b.name for b in BANDS],
        ["HGH", "NOR", "LO1", "NOR", "HGH", "NOR", "LO2", "NOR", "LO1"],
        strict=True,
    )
)


def scene(zone=12, upper_left=(772_650.0, 3_634_290.0)):
    crs = f"EPSG:{32600 + zone}"
    x = upper_left[0] + np.array([0, 900, 0, 900.0])
    y = upper_left[1] - np.array([0, 0, 720, 720.0])
    lon, lat = project_points(x, y, crs, "EPSG:4326")
    corners = tuple((float(a), float(b)) for a, b in zip(lat, lon, strict=True))
    return Scene(
        acquired=datetime(2006, 6, 18, 17, 48, 58, tzinfo=UTC),
        produced=datetime(2015, 6, 1, 12, tzinfo=UTC),
        number=10000,
        zone=zone,
        upper_left_m=upper_left,
        gain_code=GAINS,
        sun_zenith_deg=20.75,
        sun_azimuth_deg=112.5,
        pointing_deg={"VNIR": 5.712, "SWIR": 5.709},
        corners=corners,
        orientation_deg=12.25,
        cloud_percent=7,
    )


@pytest.fixture(scope="module")
def bands():
    rng = np.random.default_rng(1)
    shapes = {15.0: (49, 61), 30.0: (25, 31)}
    return {b.name: rng.integers(0, 256, shapes[b.resolution_m], dtype=np.uint8) for b in BANDS}


@pytest.mark.parametrize(
    ("zone", "upper_left", "crs", "shift"),
    [
        (12, (772_650.0, 3_634_290.0), "EPSG:32612", 0),
        (19, (495_090.0, -2_680_560.0), "EPSG:32719", 10_000_000),
        (32, (607_230.0, 360.0), "EPSG:32632", 0),  # straddles the equator
    ],
)
def test_round_trip(tmp_path, bands, zone, upper_left, crs, shift):
    about = scene(zone, upper_left)
    path = write_granule(tmp_path, about, bands)
    assert path.name == "AST_L1T_00306182006174858_20150601120000_10000.hdf"
    granule = aster_l1t.read(path)
    assert granule.granule_id == path.stem
    assert granule.acquired == about.acquired
    assert granule.sun_zenith_deg == pytest.approx(20.75, abs=1e-9)
    assert granule.sun_azimuth_deg == 112.5
    assert granule.meta["pointing_angle_deg"]["VNIR"] == 5.712
    assert granule.meta["cloud_coverage_percent"] == 7
    assert granule.gain_code == list(GAINS.values())
    coefficients = radiance_coefficients(GAINS)
    assert granule.radiance_scale == [coefficients[b.name][0] for b in BANDS]
    assert granule.radiance_offset == [coefficients[b.name][1] for b in BANDS]
    for band in BANDS:
        raster = granule.bands[band.name]
        np.testing.assert_array_equal(raster.data, bands[band.name])
        width = band.resolution_m
        left, top = upper_left[0] - width / 2, upper_left[1] + shift + width / 2
        assert raster.crs == crs
        assert raster.transform == (width, 0, left, 0, -width, top)


def groups_of(path):
    """Vgroup -> (class, names of datasets and groups inside), as HDF-EOS tools walk a file."""
    hdf = HDF(str(path), HC.READ)
    vgroups, sd = hdf.vgstart(), SD(str(path), SDC.READ)
    names = {}
    for index in range(sd.info()[0]):
        dataset = sd.select(index)
        names[dataset.ref()] = dataset.info()[0]
    found, ref = {}, -1
    while True:
        try:
            ref = vgroups.getid(ref)
        except Exception:
            break
        group = vgroups.attach(ref)
        if group._class.split()[0] in {"SWATH", "GRID"}:
            members = [
                names[r] if tag == 720 else vgroups.attach(r)._name for tag, r in group.tagrefs()
            ]
            found.setdefault(group._name, []).append((group._class, members))
    return found


def layout(path):
    """Attributes and datasets with their types and dimensions."""
    sd = SD(str(path), SDC.READ)
    datasets = {}
    for index in range(sd.info()[0]):
        dataset = sd.select(index)
        name, rank, _, kind, _ = dataset.info()
        datasets.setdefault(name, []).append((rank, kind, tuple(dataset.dimensions())))
    return list(sd.attributes()), datasets


def test_structure_equals_the_reference_scenes(tmp_path, bands, s96):
    reference = next(s96.glob("AST_L1T_*.hdf"))
    path = write_granule(tmp_path, scene(), bands)
    assert groups_of(path) == groups_of(reference)
    assert layout(path) == layout(reference)


def test_content_does_not_depend_on_the_run(tmp_path, bands):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_granule(tmp_path / name, scene(), bands)
    first, second = sorted(tmp_path.glob("*/*.hdf"))
    # Folders of equal name length: the library stores the path, and nothing else may differ.
    a, b = (p.read_bytes().replace(str(p).encode(), b"") for p in (first, second))
    assert a == b


def test_latitudes_belong_to_their_pixels(tmp_path, bands):
    path = write_granule(tmp_path, scene(), bands)
    latitude = SD(str(path), SDC.READ).select("Latitude")[:]
    _, expected = project_points([772_650.0], [3_634_290.0], "EPSG:32612", "EPSG:4326")
    assert latitude.shape == (11, 11)
    assert latitude[0, 0] == pytest.approx(expected[0], abs=1e-12)


def test_frames_that_do_not_agree_are_refused(tmp_path, bands):
    with pytest.raises(ValueError, match="different frames"):
        write_granule(tmp_path, scene(), {**bands, BANDS[0].name: np.zeros((48, 61), np.uint8)})
    with pytest.raises(ValueError, match="missing"):
        write_granule(tmp_path, scene(), {BANDS[0].name: bands[BANDS[0].name]})


def test_a_failed_gain_name_is_an_error(tmp_path, bands):
    with pytest.raises(KeyError):
        write_granule(tmp_path, replace(scene(), gain_code=dict.fromkeys(GAINS, "XXX")), bands)


def test_aerosol_comes_back(tmp_path):
    when = datetime(2006, 6, 18, 17, 48, tzinfo=UTC)
    tile = sinusoidal_tile(32.8, -108.06)
    path = write_mcd19a2(
        tmp_path,
        tile,
        [
            Overpass(when, "T", 0.123, 1.017),
            Overpass(when + timedelta(minutes=99), "T", None),
            Overpass(when + timedelta(minutes=185), "A", 0.4, 2.0),
        ],
    )
    place = {"longitude_deg": -108.05, "latitude_deg": 32.8}
    found = read_aerosol(path, **place, acquired=when, dem=0.0).at(*place.values())
    # 0.135 if AOD_QA were ignored
    assert [float(value) for value in found] == pytest.approx([0.123, 0.02, 1.017])
    assert "grid1km" in groups_of(path)


def test_elevation_comes_back(tmp_path):
    ramp = np.add.outer(np.arange(40) * 3, np.arange(50) * 2).astype(np.int16)
    path = write_dem(tmp_path / "dem.tif", ramp, west_deg=-108.0, north_deg=32.0, step_deg=1 / 3600)
    at = (1 / 3600, 0.0, -108 + 9.5 / 3600, 0.0, -1 / 3600, 32 - 4.5 / 3600)
    np.testing.assert_array_equal(elevation_on(path, "EPSG:4326", at, (10, 12)), ramp[5:15, 10:22])


def test_reference_comes_back_without_tags(tmp_path):
    bands = np.random.default_rng(2).integers(1, 9000, (7, 16, 16)).astype(np.int16)
    path = write_reference_geotiff(
        tmp_path / "ref.tif", bands, (500.0, 0.0, -12_101_500.0, 0.0, -500.0, 3_909_500.0)
    )
    with rasterio.open(path) as source:
        assert source.nodata is None
        assert source.scales == (1.0,) * 7
    for layer, written in zip(read_reference(path), bands, strict=True):
        np.testing.assert_array_equal(layer.data, written)
    with pytest.raises(ValueError, match="7 bands"):
        write_reference_geotiff(tmp_path / "x.tif", bands[:6], (1, 0, 0, 0, -1, 0))
