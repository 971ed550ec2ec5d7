"""The invented ground: physical, reproducible, and a district where everything can be found."""

import numpy as np
import pytest

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.landscape import landscape, snow_line_m
from geoquarry.udfs.landscape_cover import MIXTURES, class_spectra, endmembers
from geoquarry.udfs.landscape_relief import NODES, fractal, relief
from geoquarry.udfs.modis_model import as_stored, modis_bands

BANDS = tuple(sensor("aster_l1t").names)


def district(seed=4, size=200):
    return landscape(
        (size, size + 20), pixel_m=30, extent_m=4500, seed=seed, bands=BANDS, snow_m=2300
    )


@pytest.fixture(scope="module")
def land():
    return district()


def test_reflectance_is_physical(land):
    assert land.reflectance.dtype == np.float32
    assert land.reflectance.shape == (9, 200, 220)
    assert np.isfinite(land.reflectance).all()
    assert land.reflectance.min() > 0
    assert land.reflectance.max() < 1


def test_shares_add_up_and_name_the_class(land):
    total = land.abundance_percent.astype(int).sum(axis=0)
    assert np.abs(total - 100).max() <= len(MIXTURES) // 2  # each is rounded
    assert (land.classes == land.abundance_percent.argmax(axis=0)).all()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_everything_is_there(seed):
    found = district(seed)
    middle = found.classes[25:-25, 25:-25]
    names = {found.class_names[i] for i in np.unique(middle)}
    wanted = {"water", "salt", "gypsum", "snow", "green_vegetation", "alluvium", "phyllic"}
    wanted |= {"advanced_argillic", "argillic", "propylitic", "iron_cap"}
    assert wanted <= names


def test_same_seed_same_ground_other_seed_other_ground(land):
    np.testing.assert_array_equal(district().reflectance, land.reflectance)
    assert np.abs(district(5).reflectance - land.reflectance).mean() > 0.01


def test_classes_look_like_their_minerals(land):
    """ASTER ratios geologists use, on the pixels of each class (Mars and Rowan 2006)."""
    b04, b05, b06, b08, b09 = land.reflectance[[3, 4, 5, 7, 8]]

    def of(ratio, name):
        return float(np.median(ratio[land.classes == land.class_names.index(name)]))

    assert of(b04 / b05, "advanced_argillic") > of(b04 / b05, "phyllic") > 1
    assert of((b05 + b08) / b06, "phyllic") > of((b05 + b08) / b06, "propylitic")
    propylitic = (b05 + b09) / b08
    assert of(propylitic, "propylitic") > of(propylitic, "argillic")
    red, nir = land.reflectance[1], land.reflectance[2]
    ndvi = (nir - red) / (nir + red)
    assert of(ndvi, "green_vegetation") > 0.35 > 0.25 > of(ndvi, "alluvium")
    assert of(nir, "water") < 0.03


def test_water_is_level_and_snow_is_high(land):
    assert (
        np.ptp(land.elevation_m[land.abundance_percent[land.class_names.index("water")] > 95]) < 1
    )
    snow = land.classes == land.class_names.index("snow")
    assert np.median(land.elevation_m[snow]) > np.quantile(land.elevation_m, 0.9)


def test_texture_is_finer_than_a_pixel_but_shapes_are_larger(land):
    """Neighbours agree more than strangers: a landscape, not noise."""
    band = land.reflectance[3]
    neighbours = np.corrcoef(band[:, 1:].ravel(), band[:, :-1].ravel())[0, 1]
    strangers = np.corrcoef(band[:, 100:].ravel(), band[:, :-100].ravel())[0, 1]
    assert neighbours > 0.85
    assert abs(strangers) < 0.6


def test_rivers_run_downhill():
    rng = np.random.default_rng(2)
    uplift = np.ones((NODES, NODES), np.float32)
    uplift[:, :20] = 0
    found = relief((300, 300), uplift, rng)
    assert found.elevation.min() == 0
    assert found.elevation.max() == 1
    rivers = found.drainage > np.quantile(found.drainage, 0.97)
    assert found.elevation[rivers].mean() < found.elevation.mean()


def test_noise_has_the_asked_slope():
    noise = fractal((256, 256), np.random.default_rng(3), slope=2.0)
    power = np.abs(np.fft.fft(noise, axis=1)).mean(axis=0)
    assert power[4] / power[64] == pytest.approx(
        (64 / 4) ** 1.5, rel=0.4
    )  # a line cut: slope - 1/2


def test_mixtures_use_known_members_and_are_whole():
    known = {row["member"] for row in read_rows("spectra")}
    for name, mix in MIXTURES.items():
        assert set(mix) <= known, name
        assert sum(mix.values()) == pytest.approx(1)
    assert class_spectra(BANDS).shape == (len(MIXTURES), 9)


def test_spectra_agree_with_the_library(shared):
    """Each library row of spectra.csv is the published sample it names."""
    import csv

    path = shared / "data/aster_reference/usgs_splib07a_to_aster9_DERIVED.csv"
    library = {(r["sample"], r["spectrometer"]): r for r in csv.DictReader(path.open())}
    checked = 0
    for row in read_rows("spectra"):
        if "sample " not in row["source"]:
            assert "not a measurement" in row["source"]
            continue
        sample, spectrometer = row["source"].split("sample ")[1].split()[:2]
        published = library[sample, spectrometer]
        for band, column in zip(BANDS, ("1", "2", "3N", *"456789"), strict=True):
            assert float(row[band]) == pytest.approx(float(published[f"B{column}"]), abs=6e-4)
        checked += 1
    assert checked >= 15


def test_modis_bands_follow_the_spectrum():
    members = endmembers(BANDS)
    stack = np.array([members["green_vegetation"], members["snow"]], np.float32).T[:, :, None]
    red, nir, blue, green, nir_1240, swir_1640, swir_2130 = modis_bands(stack, sensor("aster_l1t"))
    assert red[0, 0] == np.float32(0.048)
    assert (nir > nir_1240).all()
    assert (nir_1240 > swir_1640).all()
    assert (blue < 1.2001 * green).all()
    assert swir_2130[0, 0] == pytest.approx((0.122 + 0.127) / 2)
    assert as_stored(red).dtype == np.int16


def test_snow_line_falls_towards_the_poles():
    assert snow_line_m(0) > snow_line_m(30) > snow_line_m(-50) >= snow_line_m(80)
