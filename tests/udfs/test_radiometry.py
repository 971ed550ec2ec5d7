"""Counts to radiance to reflectance, forth and back."""

import datetime
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoquarry.schemas.sun_distance import earth_sun_distance_au
from geoquarry.udfs.radiometry import (
    dn_to_radiance,
    radiance_to_dn,
    radiance_to_reflectance_toa,
    reflectance_toa_to_radiance,
)

images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=4))


@pytest.fixture(scope="module")
def entries(golden):
    return golden, json.loads((golden / "manifest.json").read_text())["entries"]


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 3e-7)])
def test_radiance_of_the_reference(entries, dtype, rtol):
    """Where it has any: the reference also drops DN 1 and a seam along the footprint."""
    golden, manifest = entries
    params = manifest["radiance_s256_north"]["params"]
    with np.load(golden / "radiance_s256_north.npz", allow_pickle=False) as arrays:
        for place, granule in enumerate(params["order"][:2]):
            dn, wanted = arrays[f"in_dn{place}"], arrays[f"out_radiance{place}"]
            ucc = np.array(params[granule]["ucc"])
            found = dn_to_radiance(dn, ucc, -ucc, dtype=dtype)
            both = wanted != 0
            assert both.mean() > 0.3
            np.testing.assert_allclose(found[both], wanted[both], rtol)
            np.testing.assert_array_equal(np.isnan(found), dn == 0)
            # Deliberately different: DN 1 is a measured zero, not a hole.
            assert not found[dn == 1].any()


@given(images, st.sampled_from([0.676, 1.688, 0.0318, 2.25]))
def test_counts_survive_the_round_trip(dn, ucc):
    bands = len(dn)
    scale, offset = [ucc] * bands, [-ucc] * bands
    radiance = dn_to_radiance(dn, scale, offset)
    np.testing.assert_array_equal(radiance_to_dn(radiance, scale, offset), dn)


def test_observed_light_never_becomes_a_hole():
    radiance = np.array([[[np.nan, -5.0, 0.0, 0.24, 0.26, 1e6, np.inf]]], dtype="float32")
    found = radiance_to_dn(radiance, [0.5], [-0.5])
    assert found.dtype == np.uint8
    assert found.ravel().tolist() == [0, 1, 1, 1, 2, 255, 255]


def test_wider_counts_work_too():
    dn = np.array([[[0, 17, 4080]]], dtype="uint16")  # sums of 16 counts
    found = dn_to_radiance(dn, [0.5 / 16], [-0.5])
    np.testing.assert_allclose(found, [[[np.nan, 0.03125, 127.0]]])
    signed = np.array([[[-32768, -3]]], dtype="int16")
    found = dn_to_radiance(signed, [0.5], [0.0], nodata=-32768)
    np.testing.assert_array_equal(found, np.float32([[[np.nan, -1.5]]]))


@given(
    hnp.arrays(np.float32, (2, 2, 2), elements=st.floats(0.015625, 500, width=32)),
    st.floats(0, 75),
    st.sampled_from([0.9833, 1.0, 1.0167]),
)
def test_reflectance_and_radiance_invert(radiance, zenith, distance):
    sun = [1846.0, 60.2], zenith, distance
    reflectance = radiance_to_reflectance_toa(radiance, *sun)
    assert reflectance.dtype == np.float32
    np.testing.assert_allclose(reflectance_toa_to_radiance(reflectance, *sun), radiance, 5e-7)


def test_a_white_surface_in_full_sun_has_reflectance_one():
    irradiance, zenith, distance = 1555.0, 60.0, 1.0167
    radiance = irradiance * 0.5 / distance**2 / np.pi
    found = radiance_to_reflectance_toa(
        np.full((1, 1, 1), radiance), [irradiance], zenith, distance
    )
    np.testing.assert_allclose(found, 1.0, rtol=1e-12)


def test_distance_of_the_reference(golden, entries):
    params = entries[1]["radiance_s256_north"]["params"]
    for granule in params["order"]:
        day = datetime.datetime.strptime(granule[11:19], "%m%d%Y").timetuple().tm_yday
        assert earth_sun_distance_au(day) == pytest.approx(params[granule]["esd"], abs=1e-12)
    assert min(range(1, 366), key=earth_sun_distance_au) == 4
