"""The reference's masks, against what the reference itself gave."""

import json

import numpy as np
import pytest

from geoquarry.udfs import reference_cloud


def overlap(found, expected):
    found, expected = found.astype(bool), expected.astype(bool)
    return (found & expected).sum() / max((found | expected).sum(), 1)


@pytest.mark.parametrize("granule", range(5))
def test_cloud_cal_agrees_on_256_px(golden, granule):
    expected = np.load(golden / "cloud_cal_s256_north.npz")
    image = np.load(golden / "ac_s256_north.npz")[f"out_reflectance{granule}"]
    assert overlap(reference_cloud.cloud_cal(image), expected[f"out_mask{granule}"]) >= 0.999
    # The second set was made as its merge does: negatives to 0 and only the very brightest.
    found = reference_cloud.cloud_cal(np.maximum(image, 0), lower_percent=99.99)
    assert overlap(found, expected[f"out_mask9999_{granule}"]) >= 0.999


@pytest.mark.parametrize("granule", range(5))
def test_cloud_get_is_exact_on_256_px(golden, granule):
    expected = np.load(golden / "cloud_get_s256_north.npz")[f"out_mask{granule}"]
    image = np.load(golden / "ac_s256_north.npz")[f"out_reflectance{granule}"]
    np.testing.assert_array_equal(reference_cloud.cloud_get(image), expected)


def test_cloud_get_defaults_are_the_published_ones(golden):
    entries = json.loads((golden / "manifest.json").read_text())["entries"]
    published = entries["cloud_get_s256_north"]["params"]["threashold"]
    ours = reference_cloud.cloud_get.__kwdefaults__
    assert [*list(ours.values())[:4], ours["reach_px"]] == published[:5]


@pytest.mark.parametrize("site", ["north", "south"])
def test_both_masks_agree_on_96_px(golden, site):
    mini = np.load(golden / f"mini_s96_{site}.npz")
    for image, cal, get in zip(
        mini["out_reflectance"], mini["out_cloud"], mini["out_cloud_old"], strict=True
    ):
        assert overlap(reference_cloud.cloud_cal(image), cal) >= 0.999
        # The arrays were stored in float32, after the masks were made.
        assert (reference_cloud.cloud_get(image) != get).mean() <= 1e-4


def test_boundary_is_exact(golden):
    case = np.load(golden / "boundary_small.npz")
    for name, expected in (("in_x", "out_y"), ("in_single_hole", "out_single_hole")):
        np.testing.assert_array_equal(
            reference_cloud.reference_boundary(case[name]), case[expected]
        )
    # A few single pixels: closing moves them, the even square erodes unevenly.
    pixels = case["in_m1"].astype(bool)
    np.testing.assert_array_equal(reference_cloud.close(pixels, 6), case["out_closed"])
    observed = np.ones((40, 40), bool)
    observed[:5] = False
    np.testing.assert_array_equal(reference_cloud.erode(observed, 16), case["out_eroded"])


def test_otsu_splits_two_heaps():
    values = np.concatenate([np.linspace(0.1, 0.2, 50), np.linspace(0.7, 0.9, 20)])
    assert 0.195 < reference_cloud.otsu(values) < 0.7
    assert reference_cloud.otsu(np.array([0.5, 0.5])) == 0.5


def test_a_mask_of_zeros_stays_empty():
    dark = np.full((6, 20, 20), 0.05) * np.linspace(1, 1.2, 20)
    assert not reference_cloud.cloud_cal(dark).any()  # nothing brighter than 0.15 in b1
