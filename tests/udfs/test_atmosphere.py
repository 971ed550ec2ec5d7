"""The correction: against the reference's arrays, and against its own inverse."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.udfs.atmosphere import add_atmosphere, remove_atmosphere

coefficient = {
    "xa": st.floats(0.002, 0.3),
    "xb": st.floats(0, 0.15),
    "xc": st.floats(0, 0.25),
}


def abc(per_band):
    """The reference's coefficients (rounded to 4 decimals) as three lists."""
    return ([band[letter] for band in per_band.values()] for letter in "abc")


@pytest.fixture(scope="module")
def entries(golden):
    return golden, json.loads((golden / "manifest.json").read_text())["entries"]


@pytest.mark.parametrize(("dtype", "rtol", "atol"), [("float64", 1e-12, 0), ("float32", 0, 2e-7)])
def test_reflectance_of_the_reference(entries, dtype, rtol, atol):
    golden, manifest = entries
    params = manifest["ac_s256_north"]["params"]
    with (
        np.load(golden / "radiance_s256_north.npz", allow_pickle=False) as radiances,
        np.load(golden / "ac_s256_north.npz", allow_pickle=False) as reflectances,
    ):
        for place, granule in enumerate(params["order"][:2]):
            radiance = radiances[f"out_radiance{place}"]
            wanted = reflectances[f"out_reflectance{place}"]
            observed = radiance != 0  # the reference writes 0 for "not observed"
            seen = np.where(observed, radiance, np.nan).astype(dtype)
            found = remove_atmosphere(seen, *abc(params[granule]["ac"]))
            assert found.dtype == dtype
            np.testing.assert_array_equal(np.isnan(found), ~observed)
            bright = np.abs(wanted[observed]) > 1e-3  # a difference of equals has no digits left
            np.testing.assert_allclose(
                found[observed][bright], wanted[observed][bright], rtol, atol
            )
            np.testing.assert_allclose(found[observed], wanted[observed], 0, max(atol, 1e-14))


@pytest.mark.parametrize("site", ["north", "south"])
def test_small_scenes_of_the_reference(entries, site):
    golden, manifest = entries
    params = manifest[f"mini_s96_{site}"]["params"]
    with np.load(golden / f"mini_s96_{site}.npz", allow_pickle=False) as arrays:
        for place, granule in enumerate(params["order"]):
            radiance = arrays["out_radiance"][place]
            found = remove_atmosphere(radiance, *abc(params["ac"][granule]))
            found = np.where(radiance == 0, 0, found)
            wanted = arrays["out_reflectance"][place]
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=2e-7)


@given(st.floats(-0.05, 1.2), *coefficient.values())
def test_there_and_back_again(rho, xa, xb, xc):
    truth = np.full((1, 1, 1), rho)
    radiance = add_atmosphere(truth, [xa], [xb], [xc])
    np.testing.assert_allclose(remove_atmosphere(radiance, [xa], [xb], [xc]), truth, 1e-9, 1e-12)
    found = remove_atmosphere(radiance.astype("float32"), [xa], [xb], [xc])
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-6)


@given(st.floats(0, 500), st.floats(0.1, 50), *coefficient.values())
def test_more_light_means_a_brighter_surface(radiance, more, xa, xb, xc):
    pair = np.array([radiance, radiance + more]).reshape(1, 1, 2)
    dark, bright = remove_atmosphere(pair, [xa], [xb], [xc]).ravel()
    assert dark < bright


def test_coefficients_may_change_from_pixel_to_pixel():
    rng = np.random.default_rng(7)
    radiance = rng.uniform(1, 200, (2, 130, 5)).astype("float32")
    fields = [rng.uniform(*limits, radiance.shape) for limits in ((0.002, 0.1), (0, 0.1), (0, 0.2))]
    found = remove_atmosphere(radiance, *fields)
    for band, y, x in ((0, 0, 0), (0, 64, 4), (1, 129, 2)):
        one = remove_atmosphere(
            radiance[:, y : y + 1, x : x + 1], *(field[:, y, x] for field in fields)
        )
        assert found[band, y, x] == one[band, 0, 0]
    np.testing.assert_allclose(add_atmosphere(found, *fields), radiance, rtol=3e-5)


def test_not_observed_stays_not_observed():
    radiance = np.array([[[np.nan, 0.0]]], dtype="float32")
    found = remove_atmosphere(radiance, [0.25], [0.5], [0.0])
    np.testing.assert_array_equal(found, np.float32([[[np.nan, -0.5]]]))


def test_coefficients_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="one number per band"):
        remove_atmosphere(np.ones((2, 3, 3), "float32"), [1, 1, 1], [0, 0, 0], [0, 0, 0])
