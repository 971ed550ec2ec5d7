"""Blur, sampling, clouds, footprint, counts and the sun, each against something known."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.udfs.cloud_model import clouded, clouds, shaded, shadow_offset_m
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.sensor_model import at_points, counts, footprint, point_spread, sample
from geoquarry.udfs.sun import sun_position


def test_blur_keeps_the_mean_and_has_the_asked_width():
    spike = np.zeros((81, 81), np.float32)
    spike[40, 40] = 1
    blurred = point_spread(spike, fwhm_m=30, ground_m=3.75)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    assert blurred[40, 44] == pytest.approx(blurred[40, 40] / 2, rel=1e-3)  # half at 15 m


def test_sampled_nodes_are_the_continuous_ground():
    rng = np.random.default_rng(1)
    ground = point_spread(rng.random((120, 120), np.float32), fwhm_m=30, ground_m=7.5)
    pixels = sample(ground, row0=8, col0=4, every=4, shape=(20, 25))
    rows, cols = np.meshgrid(8 + 4.0 * np.arange(20), 4 + 4.0 * np.arange(25), indexing="ij")
    np.testing.assert_allclose(at_points(ground, rows, cols), pixels, atol=2e-6)


def test_splines_between_nodes_are_right_for_a_blurred_ground():
    """Every second node predicts the others: the lattice is fine enough."""
    rng = np.random.default_rng(1)
    ground = point_spread(rng.random((160, 160), np.float32), fwhm_m=30, ground_m=3.75)
    rows, cols = np.meshgrid(np.arange(20, 140.0), np.arange(20, 140.0), indexing="ij")
    error = at_points(ground[::2, ::2], rows / 2, cols / 2) - ground[20:140, 20:140]
    assert error.std() < 0.02 * ground.std()


def test_a_band_beyond_the_ground_is_refused():
    with pytest.raises(ValueError, match="Make the ground larger"):
        sample(np.zeros((9, 9), np.float32), row0=0, col0=0, every=4, shape=(4, 2))


@given(
    st.lists(st.floats(0, 100, width=32), min_size=1, max_size=20),
    st.sampled_from([0.25, 0.5, 2.0]),
)
def test_counts_are_within_half_a_step(values, scale):
    radiance = np.array(values, np.float32)[None, None]
    dn = counts(radiance, [scale], [-scale], inside=np.ones(radiance.shape[1:], bool))
    back = dn_to_radiance(dn, [scale], [-scale])
    full = dn == 255
    assert (radiance[full] >= 253.5 * scale).all()
    assert (np.abs(back - radiance)[~full] <= scale / 2 * (1 + 1e-6)).all()
    assert dn.min() >= 1


def test_noise_has_the_asked_size_and_outside_is_zero():
    inside = np.ones((100, 100), bool)
    inside[:, :10] = False
    rng = np.random.default_rng(5)
    grey = np.full((1, 100, 100), 30.0, np.float32)
    dn = counts(grey, [0.5], [-0.5], inside=inside, noise_dn=2.0, rng=rng)
    assert (dn[0][~inside] == 0).all()
    assert dn[0][inside].std() == pytest.approx(np.sqrt(4 + 1 / 12), rel=0.05)
    assert dn[0][inside].mean() == pytest.approx(61, abs=0.1)
    with pytest.raises(ValueError, match="rng"):
        counts(grey, [0.5], [-0.5], inside=inside, noise_dn=1.0)


def sky_of(**changes):
    about = {
        "pixel_m": 30,
        "cover": 0.15,
        "size_m": 400,
        "height_m": 1200.0,
        "sun_zenith_deg": 40.0,
        "sun_azimuth_deg": 140.0,
        "rng": np.random.default_rng(8),
    }
    return clouds((150, 160), **{**about, **changes})


def test_clouds_have_the_asked_cover_and_opaque_cores():
    sky = sky_of()
    assert (sky.opacity > 0.5).mean() == pytest.approx(0.15, abs=0.01)
    assert sky.opacity.max() == 1
    assert 0 < ((sky.opacity > 0) & (sky.opacity < 1)).mean() < 0.15
    assert not sky_of(cover=0.0).opacity.any()


def test_shadows_lie_where_the_sun_puts_them():
    """The best shift from cloud to shadow is height x tan(zenith), away from the sun."""
    sky = sky_of()
    down, right = (m / 30 for m in shadow_offset_m(1200, 40, 140))
    assert down < 0 < -right  # sun in the south-east: shadow to the north-west
    spectrum = np.fft.fft2(sky.shadow) * np.conj(np.fft.fft2(sky.opacity))
    peak = np.unravel_index(np.argmax(np.fft.ifft2(spectrum).real), sky.opacity.shape)
    found = [(p + n // 2) % n - n // 2 for p, n in zip(peak, sky.opacity.shape, strict=True)]
    assert found == pytest.approx([down, right], abs=1)


def test_the_sky_lights_a_shadow_less_at_longer_wavelengths():
    half, full = np.float32(0.5), np.float32(1)
    assert shaded(half, full, 0.56) > shaded(half, full, 0.81) > shaded(half, full, 2.2) > 0
    assert shaded(half, np.float32(0), 0.56) == half


def test_an_opaque_cloud_hides_the_ground():
    sky = sky_of()
    dark, light = (
        clouded(
            np.full(sky.opacity.shape, ground, np.float32),
            sky,
            wavelength_um=0.66,
            radiance_per_reflectance=400.0,
        )
        for ground in (10, 60)
    )
    core, clear = sky.opacity == 1, sky.opacity == 0
    np.testing.assert_array_equal(dark[core], light[core])
    assert (dark[core] > 200).all()
    assert (dark[clear] == 10).all()


@given(st.floats(-20, 20), st.floats(-50, 50))
def test_a_footprint_keeps_its_area_when_it_turns(turn, shift):
    at = np.arange(-1500.0, 1501.0, 15.0)
    inside = footprint(at, at, centre=(shift, -shift), half_size_m=(600, 800), turn_deg=turn)
    assert inside.sum() * 15**2 == pytest.approx(4 * 600 * 800, rel=0.04)


def test_the_track_leans_to_the_east_at_its_northern_end():
    at = np.arange(-1500.0, 1501.0, 15.0)
    inside = footprint(at, at, centre=(0, 0), half_size_m=(300, 1000), turn_deg=10)
    y = at[np.abs(at) < 800]  # where a row crosses both long sides
    middle = np.array([at[row].mean() for row in inside[np.abs(at) < 800]])
    assert np.polyfit(y, middle, 1)[0] == pytest.approx(np.tan(np.radians(10)), rel=0.02)


@pytest.mark.parametrize(
    ("when", "place", "zenith", "azimuth"),
    [
        # Reda and Andreas 2004, solar position algorithm (NREL/TP-560-34302), worked example A.5
        # (the zenith there includes 0.011 degrees of refraction and parallax).
        (datetime(2003, 10, 17, 19, 30, 30, tzinfo=UTC), (39.742476, -105.1786), 50.1116, 194.3402),
    ],
)
def test_the_sun_is_where_the_almanac_has_it(when, place, zenith, azimuth):
    found = sun_position(when, *place)
    assert found[0] == pytest.approx(zenith, abs=0.03)
    assert found[1] == pytest.approx(azimuth, abs=0.03)


def test_the_sun_is_where_a_real_granule_has_it():
    """AST_L1T_00305032000040446: azimuth 86.16, elevation 75.83 in its metadata."""
    zenith, azimuth = sun_position(datetime(2000, 5, 3, 4, 4, 46, tzinfo=UTC), 15.44, 103.08)
    assert 90 - zenith == pytest.approx(75.83, abs=0.3)
    assert azimuth == pytest.approx(86.16, abs=0.8)
