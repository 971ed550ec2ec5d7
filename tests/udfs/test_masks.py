"""Edges, clouds, shadows, snow and water on granules small enough to draw."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from geoquarry.schemas import flags
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.clear_distance import clear_distance
from geoquarry.udfs.masks import granule_flags
from geoquarry.udfs.morphology import dilate, inside
from geoquarry.udfs.shadow import shadow_shift

ROLES = [band.role for band in sensor("aster_l1t").bands]
# Top-of-atmosphere reflectance of green, red, NIR, SWIR; cloud, land and lake as seen in the
# simulated scenes, snow and bright soil after Hall et al. 1995 and the USGS spectral library; salt,
# clay, gypsum and half a cover of snow as medians of benchmarks/masks.py.
LOOKS = {
    "land": (0.17, 0.19, 0.26, 0.31),
    "bright soil": (0.34, 0.37, 0.39, 0.54),
    "cloud": (0.60, 0.62, 0.64, 0.52),
    "shadow": (0.11, 0.10, 0.09, 0.04),
    "snow": (0.75, 0.74, 0.68, 0.08),
    "lake": (0.08, 0.05, 0.03, 0.01),
    "salt": (0.48, 0.52, 0.53, 0.54),
    "clay": (0.48, 0.56, 0.58, 0.58),
    "gypsum": (0.68, 0.72, 0.73, 0.68),
    "chalk": (0.52, 0.54, 0.54, 0.507),
    "patchy snow": (0.44, 0.44, 0.45, 0.29),
}
HUMP_ROLES = ("swir22_7", "swir23_8", "swir24_9")
HUMP = dict.fromkeys(LOOKS, (0.75, 0.65, 0.58)) | {"gypsum": (0.65, 0.63, 0.47)}
"""Parts of swir16: only gypsum has a maximum at the middle one."""


def scene(shape=(260, 260), seed=0, **places):
    """A granule of rough land with other surfaces where `places` says (name -> mask)."""
    rng = np.random.default_rng(seed)
    rough = 1 + 0.1 * ndimage.gaussian_filter(rng.standard_normal(shape), 3) / 0.1
    rho = {}
    for band, role in enumerate(("green", "red", "nir", "swir16")):
        rho[role] = (LOOKS["land"][band] * rough).astype(np.float32)
        for name, mask in places.items():
            rho[role][mask] = LOOKS[name.replace("_", " ")][band]
    for place, role in enumerate(HUMP_ROLES):
        rho[role] = (HUMP["land"][place] * rho["swir16"]).astype(np.float32)
        for name, mask in places.items():
            look = name.replace("_", " ")
            rho[role][mask] = LOOKS[look][3] * HUMP[look][place]
    dn = {role: np.clip(rho.get(role, rho["swir16"]) * 300, 1, 254).astype("u1") for role in ROLES}
    return dn, rho


def disc(row, col, radius, shape=(260, 260)):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - col) ** 2 <= radius**2


def find(dn, rho, **changes):
    sky = {"pixel_m": 30.0, "sun_zenith_deg": 40.0, "sun_azimuth_deg": 140.0}
    return granule_flags(dn, rho, **(sky | changes))


def has(bits, flag):
    return (bits & flag) != 0


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.floats(0, 9))
@settings(max_examples=150, deadline=None)
def test_dilation_is_the_euclidean_one(mask, radius):
    expected = mask
    if mask.any() and radius >= 1:
        expected = ndimage.distance_transform_edt(~mask) <= radius
    np.testing.assert_array_equal(dilate(mask, radius), expected)


def test_the_edge_costs_eight_pixels_and_a_hole_two():
    observed = np.zeros((80, 90), bool)
    observed[10:, 20:] = True
    observed[40, 60] = False
    observed[60, 50:80] = False  # a broken line
    valid = inside(observed, 8.0)
    np.testing.assert_array_equal(np.flatnonzero(valid[30]), np.arange(28, 82))
    np.testing.assert_array_equal(np.flatnonzero(valid[:, 40]), np.arange(18, 72))
    np.testing.assert_array_equal(np.flatnonzero(~valid[30:50, 60]) + 30, np.arange(38, 43))
    assert (~valid[57:64, 65]).sum() == 5
    wide = observed.copy()
    wide[30:40, 50:60] = False  # a gap that closing does not bridge is an edge
    assert not inside(wide, 8.0)[45, 55]


def test_a_pixel_counts_for_all_bands_or_for_none():
    dn, rho = scene()
    dn["swir24_9"][100, 100] = 0
    bits = find(dn, rho)
    assert has(bits, flags.NOT_OBSERVED)[100, 100]
    assert not has(bits, flags.NOT_OBSERVED)[100, 104]


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 255 * 16)])
def test_saturation_in_any_band_is_flagged(dtype, full):
    dn, rho = scene()
    dn["red"] = dn["red"].astype(dtype) * (1 if dtype == "u1" else 16)
    dn["red"][50, 60] = full
    np.testing.assert_array_equal(np.argwhere(has(find(dn, rho), flags.SATURATED)), [[50, 60]])


@pytest.mark.parametrize("azimuth", [35, 140, 220, 310])
@pytest.mark.parametrize("height_m", [1000, 3500])
def test_a_shadow_is_found_away_from_the_sun(azimuth, height_m):
    body = disc(130, 130, 16) | disc(138, 145, 10)
    down, right = (round(height_m * s / 30) for s in shadow_shift(40, azimuth))
    shadow = np.roll(body, (down, right), (0, 1)) & ~body
    dn, rho = scene(shadow=shadow, cloud=body)
    bits = find(dn, rho, sun_azimuth_deg=azimuth)
    assert has(bits, flags.CLOUD)[body].mean() > 0.99
    open_shadow = shadow & ~has(bits, flags.CLOUD)
    assert has(bits, flags.SHADOW)[open_shadow].mean() > 0.95
    elsewhere = ~dilate(shadow | body, 6)
    assert not has(bits, flags.SHADOW | flags.CLOUD)[elsewhere].any()


def test_the_shadow_falls_opposite_the_sun():
    down, right = shadow_shift(60, 135)  # sun in the south-east: shadow up and to the left
    assert max(down, right) < 0
    assert np.hypot(down, right) == pytest.approx(np.tan(np.radians(60)))


def test_darkness_without_a_cloud_is_no_shadow():
    dn, rho = scene(shadow=disc(60, 60, 12), lake=disc(180, 180, 20))
    bits = find(dn, rho)
    assert not has(bits, flags.SHADOW | flags.CLOUD).any()
    assert has(bits, flags.WATER)[disc(180, 180, 20)].all()


def test_a_lake_larger_than_the_shadow_on_it_stays_a_lake():
    """A lake of the cloud's own shape just where its shadow would fall cannot be told apart."""
    body = disc(150, 150, 14)
    down, right = (round(2000 * s / 30) for s in shadow_shift(40, 140))
    lake = disc(150 + down, 150 + right, 30)
    bits = find(*scene(cloud=body, lake=lake))
    assert has(bits, flags.WATER)[lake & ~has(bits, flags.CLOUD)].all()
    assert not has(bits, flags.SHADOW)[lake].any()


def test_a_deep_shadow_that_looks_like_water_is_shadow():
    body = disc(150, 150, 14)
    down, right = (round(2000 * s / 30) for s in shadow_shift(40, 140))
    dark = disc(150 + down, 150 + right, 14) & ~body
    bits = find(*scene(cloud=body, lake=dark))  # a lake's colours, but under a cloud
    assert has(bits, flags.SHADOW)[dark & ~has(bits, flags.CLOUD)].mean() > 0.95


@pytest.mark.parametrize("name", ["land", "bright soil", "lake", "snow", "salt", "clay", "gypsum"])
def test_clear_ground_is_not_cloud(name):
    bits = find(*scene(**{name.replace(" ", "_"): disc(130, 130, 60)}))
    assert not has(bits, flags.CLOUD).any()
    assert has(bits, flags.SNOW).any() == (name == "snow")


@pytest.mark.parametrize("name", ["salt", "clay", "gypsum"])
def test_a_cloud_over_bright_ground_is_found_and_the_ground_is_not(name):
    body, ground = disc(130, 130, 16), disc(130, 130, 70)
    bits = find(*scene(**{name: ground, "cloud": body}))
    assert has(bits, flags.CLOUD)[body].mean() > 0.99
    assert not has(bits, flags.CLOUD)[~dilate(body, 5)].any()


def test_ground_as_bright_as_thin_cloud_is_lost_only_near_a_cloud():
    body = disc(130, 130, 16)
    bits = find(*scene(chalk=disc(130, 130, 90), cloud=body))
    assert has(bits, flags.CLOUD)[body].all()
    assert not has(bits, flags.CLOUD)[~dilate(body, 14)].any()  # 300 m, and 90 m around


def test_gypsum_without_its_hump_is_told_by_the_swir_alone():
    """A sensor without bands near 2.3 um: less room, but the same answer."""
    dn, rho = scene(gypsum=disc(130, 130, 60))
    for role in HUMP_ROLES:
        del rho[role]
    assert not has(find(dn, rho), flags.CLOUD).any()


def test_bright_ground_that_saturates_the_nir_is_no_cloud():
    """Red, as bright in a cloud, answers for the NIR; where all three are full nobody can."""
    dn, rho = scene(gypsum=disc(130, 130, 60))
    some = disc(130, 130, 25)
    dn["nir"][some], rho["nir"][some] = 255, 0.71
    assert not has(find(dn, rho), flags.CLOUD).any()
    for role in ("green", "red"):
        dn[role][some] = 255
    assert has(find(dn, rho), flags.CLOUD)[some].all()


def test_half_a_cover_of_snow_beside_snow_is_no_cloud():
    snow = disc(130, 130, 40)
    rim = disc(130, 130, 46) & ~snow
    assert not has(find(*scene(snow=snow, patchy_snow=rim)), flags.CLOUD).any()
    cloud = disc(130, 130, 12)
    bits = find(*scene(snow=snow, patchy_snow=rim, cloud=cloud))
    assert has(bits, flags.CLOUD)[cloud].all()


def test_a_body_too_small_is_no_cloud():
    assert not has(find(*scene(cloud=disc(60, 60, 1))), flags.CLOUD).any()
    assert has(find(*scene(cloud=disc(60, 60, 3))), flags.CLOUD).any()


def test_clouds_take_ninety_metres_around_them():
    found = has(find(*scene(cloud=disc(130, 130, 20))), flags.CLOUD)
    away = ndimage.distance_transform_edt(~disc(130, 130, 20)) * 30
    assert found[away <= 60].all()
    assert not found[away > 120].any()


def test_clouds_share_their_height():
    """Most of this cloud's shadow is hidden below it, and a lake lies on the way."""
    down, right = (600 * s / 30 for s in shadow_shift(40, 140))
    low = disc(150, 190, 22)
    others = disc(60, 200, 12) | disc(200, 60, 14) | disc(120, 70, 13)
    lake = disc(150 + round(6.5 * down), 190 + round(6.5 * right), 20)
    shadow = np.roll(low | others, (round(down), round(right)), (0, 1)) & ~(low | others)
    bits = find(*scene(cloud=low | others, shadow=shadow, lake=lake))
    assert has(bits, flags.SHADOW)[shadow & ~has(bits, flags.CLOUD)].mean() > 0.9
    assert not has(bits, flags.SHADOW)[lake].any()


def test_a_saturated_cloud_is_still_a_cloud():
    body = disc(130, 130, 20)
    dn, rho = scene(cloud=body)
    for role, limit in (("green", 0.336), ("red", 0.418), ("nir", 0.347)):  # high gain, sun 59 deg
        dn[role][body] = 255
        rho[role][body] = limit
    bits = find(dn, rho)
    assert has(bits, flags.CLOUD)[body].all()
    assert has(bits, flags.SATURATED)[body].all()
    # Land that saturates only the NIR is not one.
    dn, rho = scene(bright_soil=body)
    dn["nir"][body], rho["nir"][body] = 255, 0.37
    assert not has(find(dn, rho), flags.CLOUD).any()


def test_single_bright_pixels_are_not_clouds():
    spots = np.zeros((260, 260), bool)
    spots[20:240:12, 20:240:12] = True
    assert not has(find(*scene(cloud=spots)), flags.CLOUD).any()


def test_an_unreliable_swir_takes_no_part():
    body = disc(130, 130, 20)
    dn, rho = scene(cloud=body, lake=disc(60, 60, 15))
    swir = [role for role in ROLES if role.startswith("swir")]
    for role in swir:
        dn[role][:] = 255
        dn[role][100:] = 0
    rho["swir16"][:] = np.nan
    bits = find(dn, rho, unreliable=swir)
    assert has(bits, flags.SWIR_UNRELIABLE).all()
    assert not has(bits, flags.SATURATED).any()
    assert not has(bits, flags.NOT_OBSERVED)[20:-20, 20:-20].any()
    assert has(bits, flags.CLOUD)[body].all()
    assert has(bits, flags.WATER)[disc(60, 60, 15)].all()
    assert not has(bits, flags.CLOUD)[:80].any()


def test_missing_bands_are_named():
    dn, rho = scene()
    with pytest.raises(InputError, match="'nir'"):
        find({role: band for role, band in dn.items() if role != "nir"}, rho)
    with pytest.raises(InputError, match="'green'"):
        find(dn, rho, unreliable=["green"])


@given(hnp.arrays(bool, (37, 50), elements=st.booleans(), fill=st.just(False)))
@settings(max_examples=40, deadline=None)
def test_clear_distance_is_the_distance(troubled):
    """To within the cells of 4 x 4 pixels that it looks at, in units of 50 m."""
    bits = np.where(troubled, np.uint16(flags.SHADOW), np.uint16(flags.SNOW))
    around = np.pad(troubled, 1, constant_values=True)
    exact = ndimage.distance_transform_edt(~around)[1:-1, 1:-1] * 30
    found = clear_distance(bits, pixel_m=30.0) * 50.0
    at = np.ix_(*(np.minimum(np.arange(2, side + 2, 4), side - 1) for side in bits.shape))
    assert np.abs(found - exact[at]).max() <= 30 * np.hypot(4, 4) + 50


def test_clear_distance_ends_at_its_largest_value():
    assert clear_distance(np.zeros((1200, 1200), np.uint16), pixel_m=30.0).max() == 255


@pytest.mark.parametrize("granule", [0, 4])
def test_recall_and_false_alarms_on_a_simulated_scene(golden, granule):
    """Granule 0 is clear; granule 4 is a quarter cloud, and 0 says what lies below."""
    entries = json.loads((golden / "manifest.json").read_text())["entries"]
    params = entries["radiance_s256_north"]["params"]
    facts = params[params["order"][granule]]
    stored = np.load(golden / "radiance_s256_north.npz")
    dn, radiance = stored[f"in_dn{granule}"], stored[f"out_radiance{granule}"]
    sun = np.pi * facts["esd"] ** 2 / np.sin(np.radians(facts["sun_elevation"]))
    toa = radiance * sun / np.array(sensor("aster_l1t").irradiance_w_m2_um)[:, None, None]
    toa = np.where(radiance == 0, np.nan, toa).astype(np.float32)
    bits = find(
        dict(zip(ROLES, dn, strict=True)),
        dict(zip(ROLES, toa, strict=True)),
        sun_zenith_deg=90 - facts["sun_elevation"],
    )
    surface = np.load(golden / "ac_s256_north.npz")
    excess = surface[f"out_reflectance{granule}"][0] - surface["out_reflectance0"][0]
    thick = (excess > 0.15) & ~np.isnan(toa[0])
    clear = ~dilate(thick, 7)
    assert has(bits, flags.CLOUD)[clear].mean() < 0.02
    if granule:
        assert thick.mean() > 0.2
        assert has(bits, flags.CLOUD)[thick].mean() > 0.9
