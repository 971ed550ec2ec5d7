"""Seams: what can be seen is counted, what cannot is not, and nothing needs borders."""

import json

import numpy as np
import pytest

from geoquarry.udfs.seam import seam

SHAPE = (64, 96)


def ground(seed=1, bands=3):
    rng = np.random.default_rng(seed)
    return (0.3 + 0.02 * rng.standard_normal((bands, *SHAPE))).astype(np.float32)


def halves():
    label = np.zeros(SHAPE, np.int32)
    label[:, 40:] = 7
    label[30:] += 1
    return label


def test_a_border_on_one_ground_is_as_rough_as_the_ground():
    found = seam(ground(), halves(), np.ones(SHAPE, bool))
    assert found["borders"] == found["pairs"] == 64 + 96
    assert found["ratio"] == pytest.approx(1, abs=0.1)
    assert len(found["bands"]) == 3
    assert json.loads(json.dumps(found)) == found


def test_a_brighter_granule_shows_in_its_band_only():
    image, label = ground(), halves()
    image[1][label == 7] += 0.2
    image[1][label == 8] += 0.2
    found = seam(image, label, np.ones(SHAPE, bool))
    # Of 160 pairs, 64 step by 0.2; texture is the difference of two normals, 0.02 x 2 / sqrt(pi).
    assert found["bands"][1]["step"] == pytest.approx(0.4 * 0.2 + 0.6 * 0.0226, abs=0.004)
    assert found["bands"][1]["texture"] == pytest.approx(0.0226, abs=0.003)
    assert found["bands"][0]["ratio"] == pytest.approx(1, abs=0.15)
    assert found["ratio"] > 1.5


def test_turning_the_map_changes_nothing():
    image, label = ground(), halves()
    valid = image[0] > 0.26
    found = seam(image, label, valid)
    turned = np.ascontiguousarray(image.transpose(0, 2, 1))
    assert seam(turned, label.T.copy(), valid.T.copy()) == found
    mirrored = image[:, ::-1, ::-1].copy(), label[::-1, ::-1].copy(), valid[::-1, ::-1].copy()
    assert seam(*mirrored) == found


def test_what_is_not_valid_cannot_be_seen():
    image, label = ground(), halves()
    valid = np.ones(SHAPE, bool)
    valid[20:25] = False
    expected = seam(image, label, valid)
    image[:, 20:25] = np.nan
    assert seam(image, label, valid) == expected
    # A band without values there says nothing there, the others do.
    image[2, :, 38:44] = np.nan
    found = seam(image, label, valid)
    assert found["bands"][2]["pairs"] < found["bands"][0]["pairs"]
    assert found["bands"][0] == expected["bands"][0]


@pytest.mark.parametrize(
    "label", [np.zeros(SHAPE, np.int32), np.arange(96 * 64, dtype=np.int32).reshape(SHAPE)]
)
def test_no_borders_or_nothing_beside_them(label):
    found = seam(ground(), label, np.ones(SHAPE, bool))
    assert found["pairs"] == 0
    assert found["step"] is found["texture"] is found["ratio"] is None
    assert seam(ground(), label, np.zeros(SHAPE, bool))["borders"] == 0


def test_tiny_rasters():
    one = np.full((2, 1, 1), 0.5, np.float32)
    assert seam(one, np.zeros((1, 1), np.int32), np.ones((1, 1), bool))["pairs"] == 0
