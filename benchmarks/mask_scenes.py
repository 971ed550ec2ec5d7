"""Invented scenes that are mostly of one surface: what masks are measured on.

The atmosphere is that of the lookup table, so no 6S is needed; the sensor, the ground and the
clouds are those of `geoquarry simulate`, but a third of the scenes has clouds of small drops, a
third of large drops or ice, the gases above a cloud take their part of its light, and every band
is off by some 2 %, as calibrations are.
"""

from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t_writer import radiance_coefficients
from geoquarry.jobs import simulate_scene
from geoquarry.jobs.cut import MASK_ROLES
from geoquarry.jobs.simulate_frame import frame_of
from geoquarry.jobs.simulate_ground import Ground, invent
from geoquarry.jobs.simulate_scene import State, draw_state, draw_times, image
from geoquarry.schemas.atmosphere import water_fraction
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.cloud_model import CLOUD_REFLECTANCE, CLOUD_WAVELENGTH_UM, Clouds
from geoquarry.udfs.landscape_cover import TEXTURE, USUAL_TEXTURE, endmembers
from geoquarry.udfs.landscape_relief import Field, fractal, step
from geoquarry.udfs.lut import lut
from geoquarry.udfs.masks import granule_flags
from geoquarry.udfs.radiometry import dn_to_radiance, radiance_to_reflectance_toa
from geoquarry.udfs.sensor_model import point_spread
from geoquarry.udfs.shadow import shadow_shift
from geoquarry.udfs.warp import to_coarse_lattice

ASTER = sensor("aster_l1t")
GROUND_M, PIXEL_M = 15.0, 30.0
SKIES = (
    CLOUD_REFLECTANCE,
    (0.80, 0.80, 0.77, 0.66, 0.52, 0.45),
    (0.74, 0.74, 0.62, 0.34, 0.22, 0.18),
)
"""Reflectance of thick cloud at `cloud_model.CLOUD_WAVELENGTH_UM`: drops as in the simulator, small
drops, large drops or ice. Ours, to spread what masks must cope with; not looked up."""
CALIBRATION = 0.02

COVER: dict[str, tuple[dict[str, float], ...]] = {
    "district": (),
    "soil": ({"brown_soil": 0.85, "pale_silt": 0.15},),
    "pale soil": ({"pale_silt": 0.9, "quartz": 0.1},),
    "vegetation": ({"green_vegetation": 0.9, "brown_soil": 0.1}, {"dry_vegetation": 1.0}),
    "lava": ({"basalt": 0.88, "desert_varnish": 0.12},),
    "limestone": ({"calcite": 0.6, "pale_silt": 0.4}, {"dolomite": 0.6, "brown_soil": 0.4}),
    "clay": (
        {"kaolinite": 0.6, "quartz": 0.4},
        {"alunite": 0.5, "quartz": 0.3, "brown_soil": 0.2},
    ),
    "city": (
        {"granite": 0.8, "basalt": 0.2},
        {"calcite": 0.8, "basalt": 0.2},
        {"green_vegetation": 0.6, "brown_soil": 0.4},
        {"basalt": 1.0},
        {"salt_crust": 0.9, "basalt": 0.1},
    ),
    "sand": ({"quartz": 0.92, "hematite": 0.03, "brown_soil": 0.05},),
    "playa": (
        {"pale_silt": 0.6, "montmorillonite": 0.3, "salt_crust": 0.1},
        {"salt_crust": 0.85, "pale_silt": 0.15},
    ),
    "salt": ({"salt_crust": 1.0}, {"salt_crust": 0.9, "montmorillonite": 0.1}),
    "gypsum": ({"gypsum": 0.95, "pale_silt": 0.05}, {"gypsum": 0.6, "pale_silt": 0.4}),
    "snow": ({"snow": 0.95, "desert_varnish": 0.05}, {"snow": 0.6, "desert_varnish": 0.4}),
}
"""Surface -> covers that alternate in patches over some 80 % of the scene; members of
``spectra.csv`` by area. City: blocks of 60 m. Snow is lit by the relief, the others lie level."""


@dataclass(frozen=True)
class Scene:
    """What the masks get, and what is true, on the 30 m lattice.

    Attributes
    ----------
    dn, reflectance_toa : dict of role -> array, shape (y, x)
    sun_zenith_deg, sun_azimuth_deg : float
    on_cover : bool, shape (y, x)
        Mostly of the surface that the scene is about.
    opacity, shadow, excess : float32, shape (y, x)
        Opacity of the cloud, missing part of the sunlight, recovered minus true green.
    cloud_height_m : float
    """

    dn: dict[str, NDArray[Any]]
    reflectance_toa: dict[str, NDArray[np.float32]]
    sun_zenith_deg: float
    sun_azimuth_deg: float
    on_cover: NDArray[np.bool_]
    opacity: Field
    shadow: Field
    excess: Field
    cloud_height_m: float

    @property
    def shadow_shift(self) -> tuple[float, float]:
        """Metres down and right per metre of cloud height."""
        return shadow_shift(self.sun_zenith_deg, self.sun_azimuth_deg)

    def flags(self, **options: Any) -> NDArray[np.uint16]:
        """Masks as ingest makes them."""
        sun = {"sun_zenith_deg": self.sun_zenith_deg, "sun_azimuth_deg": self.sun_azimuth_deg}
        read = {role: band for role, band in self.reflectance_toa.items() if role in MASK_ROLES}
        return granule_flags(self.dn, read, pixel_m=PIXEL_M, **(sun | options))


def scene(surface: str, seed: int, cloud: float, size: int = 256) -> Scene:
    """One granule of ``size`` x ``size`` pixels and a margin, mostly of one surface."""
    rng = np.random.default_rng([seed, 31, round(100 * cloud)])
    latitude = float(rng.uniform(-45, 45))
    extent = size * PIXEL_M
    state = draw_state(
        draw_times(1, latitude, 10.0, rng)[0], ASTER, latitude, 10.0, cloud=cloud, rng=rng
    )
    edge = np.array([0.0, extent])
    frame = frame_of(
        500_000 + edge, 4_000_000 + edge, turn_deg=state.turn_deg, shift_m=state.shift_m
    )
    land, ground = invent([frame], ASTER.names, extent, seed, latitude, GROUND_M)
    rng = np.random.default_rng([seed, 32])  # the ground is the same under every sky
    sharp, cover = land.reflectance, np.ones(ground.elevation_m.shape, np.float32)
    if COVER[surface]:
        sharp, cover = covered(surface, sharp, rng)
    if surface == "snow":
        sharp = lit(sharp, ground, state)
    for band, facts in enumerate(ASTER.bands):
        ground.reflectance[band] = point_spread(
            sharp[band], fwhm_m=facts.resolution_m, ground_m=GROUND_M
        )
    state = through_air(state, float(ground.elevation_m.mean(dtype=np.float64)), seed)
    off = np.random.default_rng([seed, 37]).normal(1, CALIBRATION, len(ASTER.bands))
    state = replace(state, calibration=off.tolist())
    height_m = float(np.random.default_rng([seed, 33]).uniform(500, 2500))
    with mock.patch.object(simulate_scene, "clouded", Cloud(state, height_m, seed)):
        picture = image(
            state,
            frame,
            ground,
            ASTER,
            cloud_size_m=float(np.random.default_rng([seed, 34]).uniform(300, 2000)),
            cloud_height_m=height_m,
            noise_dn=0.5,
            rng=np.random.default_rng([seed, 35]),
        )
    scale_offset = radiance_coefficients(picture.gain_code)
    dn: dict[str, NDArray[Any]] = {}
    toa = {}
    excess = np.empty(0, np.float32)
    for place, band in enumerate(ASTER.bands):
        fine = band.resolution_m < PIXEL_M
        counts = picture.dn[band.name]
        dn[band.role] = to_coarse_lattice(counts) if fine else counts
        scale, offset = scale_offset[band.name]
        radiance = dn_to_radiance(
            dn[band.role][None], scale=[scale / (16 if fine else 1)], offset=[offset]
        )
        toa[band.role] = radiance_to_reflectance_toa(
            radiance,
            irradiance_w_m2_um=[band.irradiance_w_m2_um],
            sun_zenith_deg=state.sun_zenith_deg,
            earth_sun_distance_au=state.earth_sun_distance_au,
        )[0].astype(np.float32, copy=False)
        if place == 0:
            first = (level[0][:1] for level in (state.xa, state.xb, state.xc))
            seen = remove_atmosphere(radiance, *first)[0]
            every = round(PIXEL_M / band.resolution_m)
            excess = (seen - picture.truth[band.name][::every, ::every]).astype(np.float32)
    shape = dn["swir16"].shape
    every = round(PIXEL_M / GROUND_M)
    opacity, shadow = (
        f[::every, ::every][: shape[0], : shape[1]]
        for f in (picture.sky.opacity, picture.sky.shadow)
    )
    return Scene(
        dn,
        toa,
        state.sun_zenith_deg,
        state.sun_azimuth_deg,
        ground.seen(cover, frame, PIXEL_M) > 0.75,
        opacity,
        shadow,
        excess,
        height_m,
    )


def covered(
    surface: str, sharp: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], Field]:
    """Lay a surface over the landscape: reflectance (band, y, x), and where it lies (0 to 1)."""
    shape = sharp.shape[1:]
    members = endmembers(tuple(ASTER.names))
    spectra = np.array(
        [
            [sum(share * members[m][b] for m, share in mix.items()) for b in range(len(sharp))]
            for mix in COVER[surface]
        ],
        np.float32,
    )
    share = step(fractal(shape, rng, slope=2.2, longest_px=200), -1.1, -0.6)
    rough = TEXTURE.get(surface, USUAL_TEXTURE)
    if surface == "city":
        blocks = tuple(-(-side // 4) for side in shape)
        kind = rng.integers(len(spectra), size=blocks)
        shade = rng.normal(0, 0.25, blocks).astype(np.float32)
        kind, shade = (np.kron(a, np.ones((4, 4), a.dtype)) for a in (kind, shade))
        kind, shade = kind[: shape[0], : shape[1]], np.exp(shade[: shape[0], : shape[1]])
        over = spectra[kind].transpose(2, 0, 1) * shade
    else:
        patch = step(fractal(shape, rng, slope=1.7, longest_px=80), -0.4, 0.4)
        shade = np.exp(rough * np.clip(fractal(shape, rng, slope=0.9, longest_px=64), -3, 3))
        first, last = spectra[0][:, None, None], spectra[-1][:, None, None]
        over = (first * patch + last * (1 - patch)) * shade
    mixed = sharp * (1 - share) + np.clip(over, 0.001, 0.97) * share
    return mixed.astype(np.float32), share


def lit(sharp: NDArray[np.float32], ground: Ground, state: State) -> NDArray[np.float32]:
    """Brighter on slopes that face the sun; a fifth of the light comes from the sky."""
    down, right = np.gradient(ground.elevation_m, np.float32(GROUND_M))
    azimuth = np.deg2rad(state.sun_azimuth_deg)
    slope = (down * np.cos(azimuth) - right * np.sin(azimuth)) * np.tan(
        np.deg2rad(state.sun_zenith_deg)
    )
    facing = np.clip((1 + slope) / np.sqrt(1 + down**2 + right**2), 0, 1.6)
    lighter: NDArray[np.float32] = np.clip(sharp * (0.2 + 0.8 * facing), 0.001, 1.2)
    return lighter.astype(np.float32)


def air(state: State, elevation_m: float, seed: int) -> dict[str, Any]:
    """State of the lookup table: aerosol and water at random, the water thinning with height."""
    rng = np.random.default_rng([seed, 36])
    apart = np.abs((state.sun_azimuth_deg - np.array(state.view_azimuth_deg) + 180) % 360 - 180)
    sea_level_g_cm2 = float(rng.uniform(0.6, 3.5))
    return {
        "sun_zenith_deg": state.sun_zenith_deg,
        "view_zenith_deg": np.array(state.view_zenith_deg)[:, None],
        "relative_azimuth_deg": apart[:, None],
        "aod550": float(np.clip(rng.lognormal(np.log(0.1), 0.55), 0.02, 0.5)),
        "elevation_m": elevation_m,
        "water_vapour_g_cm2": sea_level_g_cm2 * water_fraction(elevation_m),
        "ozone_cm_atm": 0.3,
    }


def through_air(state: State, elevation_m: float, seed: int) -> State:
    """With the coefficients of the lookup table."""
    found = lut(ASTER.name, "Continental").correction(
        earth_sun_distance_au=state.earth_sun_distance_au,
        irradiance_w_m2_um=np.array(ASTER.irradiance_w_m2_um),
        **air(state, elevation_m, seed),
    )
    xa, xb, xc = ([column[:, 0].tolist()] for column in found)
    return replace(state, xa=xa, xb=xb, xc=xc, level_m=[elevation_m])


class Cloud:
    """Stands in for `cloud_model.clouded`: other drops, and gases above the cloud."""

    def __init__(self, state: State, height_m: float, seed: int) -> None:
        self.reflectance = SKIES[seed % len(SKIES)]
        top = air(state, state.level_m[0] + height_m, seed)
        self.gas = lut(ASTER.name, "Continental").optics(outside="clamp", **top).gas[:, 0]

    def __call__(
        self, radiance: Field, sky: Clouds, *, wavelength_um: float, radiance_per_reflectance: float
    ) -> Field:
        """Radiance at the sensor with clouds before the ground."""
        place = next(
            i for i, b in enumerate(ASTER.bands) if sum(b.wavelength_um) / 2 == wavelength_um
        )
        thick = np.interp(wavelength_um, CLOUD_WAVELENGTH_UM, self.reflectance) * self.gas[place]
        cloud = np.float32(thick * radiance_per_reflectance) * sky.brightness
        return radiance + sky.opacity * (cloud - radiance)
