"""One simulated scene: when, under which sky, from where; then its counts."""

import math
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t_geometry import (
    flight_azimuth_deg,
    view_azimuth_deg,
    view_zenith_deg,
)
from geoquarry.engine.aster_l1t_writer import radiance_coefficients
from geoquarry.jobs.simulate_frame import Frame
from geoquarry.jobs.simulate_ground import Ground
from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.sensor import Sensor
from geoquarry.schemas.sun_distance import earth_sun_distance_au
from geoquarry.udfs import sensor_model
from geoquarry.udfs.atmosphere import add_atmosphere
from geoquarry.udfs.cloud_model import Clouds, clouded, clouds, shaded
from geoquarry.udfs.sun import sun_position

FIRST, LAST = datetime(2000, 6, 1, tzinfo=UTC), datetime(2008, 3, 31, tzinfo=UTC)
"""While all bands worked."""
LOCAL_HOUR = 10.75
"""Mean local time of Terra's descending pass; a node at 10:30, later towards the north."""
HIGHEST_ZENITH_DEG = 65.0
GREENEST_DAY = 200
"""Of a northern year; ours."""


@dataclass(frozen=True)
class State:
    """One overpass. Angles and columns are rounded as the files hold them.

    Attributes
    ----------
    acquired : datetime
    sun_zenith_deg, sun_azimuth_deg, earth_sun_distance_au : float
    pointing_deg : dict of str -> float
        Swath -> angle from nadir.
    view_zenith_deg, view_azimuth_deg : list of float, shape (band,)
    aod550, water_vapour_g_cm2, ozone_cm_atm : float
        Columns above the surface at the tile's mean elevation.
    elevation_m : float
    aod_reported : float
        Optical depth that the aerosol file holds.
    calibration : list of float, shape (band,)
        What the sensor's radiance is multiplied by, against what its metadata say.
    dryness : float
        Of the plants, 0 = green.
    cloud : float
        Share of the frame under clouds.
    turn_deg : float
        How far the footprint leans from north to east.
    shift_m : (float, float)
        Of the footprint's middle against the tile's.
    beside_m : (float, float)
        How far the footprint is moved away besides, so that it ends inside the tile.
    high_gain : list of bool, shape (band,)
        Where high gain is wanted, if the ground does not saturate.
    xa, xb, xc : list of list of float, shape (level, band)
        Coefficients at ``level_m``.
    level_m : list of float
    """

    acquired: datetime
    sun_zenith_deg: float
    sun_azimuth_deg: float
    earth_sun_distance_au: float
    pointing_deg: dict[str, float]
    view_zenith_deg: list[float]
    view_azimuth_deg: list[float]
    cloud: float
    turn_deg: float
    shift_m: tuple[float, float]
    high_gain: list[bool]
    aod550: float = 0.1
    water_vapour_g_cm2: float = 1.0
    ozone_cm_atm: float = 0.3
    elevation_m: float = 0.0
    aod_reported: float = 0.1
    calibration: list[float] = field(default_factory=list)
    dryness: float = 0.0
    beside_m: tuple[float, float] = (0.0, 0.0)
    xa: list[list[float]] = field(default_factory=list)
    xb: list[list[float]] = field(default_factory=list)
    xc: list[list[float]] = field(default_factory=list)
    level_m: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All fields, the time as ISO text."""
        return {**asdict(self), "acquired": self.acquired.isoformat()}


def draw_times(
    count: int, latitude_deg: float, longitude_deg: float, rng: np.random.Generator
) -> list[datetime]:
    """Distinct days in order, mid-morning, with the sun high enough.

    >>> [t.year for t in draw_times(2, 0.0, 10.0, np.random.default_rng(1))]
    [2004, 2004]
    """
    days = (LAST - FIRST).days
    times: dict[int, datetime] = {}
    for _ in range(100 * count):
        day = int(rng.integers(0, days))
        hour = LOCAL_HOUR - longitude_deg / 15 + float(rng.uniform(-0.12, 0.12))
        when = FIRST + timedelta(days=day, seconds=round(hour * 3600))
        # Neighbouring days share orbits of aerosol; keep the days apart.
        apart = all(abs(day - other) > 2 for other in times)
        if apart and sun_position(when, latitude_deg, longitude_deg)[0] <= HIGHEST_ZENITH_DEG:
            times[day] = when
        if len(times) == count:
            return [times[day] for day in sorted(times)]
    raise ValueError(f"No {count} days with a sun above the horizon at latitude {latitude_deg}.")


def draw_state(
    when: datetime,
    facts: Sensor,
    latitude_deg: float,
    longitude_deg: float,
    *,
    cloud: float,
    rng: np.random.Generator,
) -> State:
    """Geometry of one overpass; the air follows when the elevation is known."""
    zenith, azimuth = sun_position(when, latitude_deg, longitude_deg)
    angle = round(float(rng.uniform(-8.4, 8.4)), 3)
    pointing = {"VNIR": round(angle + 0.003, 3), "SWIR": angle}
    heading = flight_azimuth_deg(latitude_deg)
    return State(
        acquired=when,
        sun_zenith_deg=90 - round(90 - zenith, 6),
        sun_azimuth_deg=round(azimuth, 6),
        earth_sun_distance_au=earth_sun_distance_au(when.timetuple().tm_yday),
        pointing_deg=pointing,
        view_zenith_deg=[view_zenith_deg(pointing[band.swath]) for band in facts.bands],
        view_azimuth_deg=[view_azimuth_deg(pointing[band.swath], heading) for band in facts.bands],
        cloud=cloud,
        turn_deg=heading - 180 + float(rng.uniform(-0.6, 0.6)),
        shift_m=(float(rng.uniform(-120, 120)), float(rng.uniform(-120, 120))),
        calibration=[1.0] * len(facts.bands),
        high_gain=(rng.random(len(facts.bands)) < 0.5).tolist(),
    )


def with_season(
    state: State, season: float, reach_m: float, latitude_deg: float, rng: np.random.Generator
) -> State:
    """Plants as dry as the season and the year have it, and a footprint that ends somewhere.

    Parameters
    ----------
    state : State
    season : float
        Dryness in the middle of a dry winter.
    reach_m : float
        Farthest the footprint may be moved, along each axis.
    latitude_deg : float
    rng : numpy.random.Generator
    """
    day = state.acquired.timetuple().tm_yday + (0 if latitude_deg >= 0 else 182.5)
    cold = 0.5 - 0.5 * math.cos(2 * math.pi * (day - GREENEST_DAY) / 365.25)
    year = float(rng.uniform(0.7, 1.0))
    beside = rng.uniform(-1, 1, 2) * reach_m + 0.0  # never -0.0
    return replace(
        state,
        dryness=round(season * cold * year, 4),
        beside_m=(float(beside[0]), float(beside[1])),
    )


@dataclass(frozen=True)
class Image:
    """What a scene became.

    Attributes
    ----------
    dn : dict of str -> uint8, shape (y, x)
    gain_code : dict of str -> str
    truth : dict of str -> float32, shape (y, x)
        Reflectance of the ground at the pixels, before clouds and shadows.
    sky : Clouds
        On the finest lattice.
    """

    dn: dict[str, NDArray[np.uint8]]
    gain_code: dict[str, str]
    truth: dict[str, NDArray[np.float32]]
    sky: Clouds


def image(
    state: State,
    frame: Frame,
    ground: Ground,
    facts: Sensor,
    *,
    cloud_size_m: float,
    cloud_height_m: float,
    noise_dn: float,
    rng: np.random.Generator,
) -> Image:
    """Look at the ground through air and clouds, and count."""
    finest = min(band.resolution_m for band in facts.bands)
    sky = clouds(
        frame.shape(finest),
        pixel_m=finest,
        cover=state.cloud,
        size_m=cloud_size_m,
        height_m=cloud_height_m,
        sun_zenith_deg=state.sun_zenith_deg,
        sun_azimuth_deg=state.sun_azimuth_deg,
        rng=rng,
    )
    dn, truth, gains = {}, {}, {}
    cosine = math.cos(math.radians(state.sun_zenith_deg))
    for place, band in enumerate(facts.bands):
        every = round(band.resolution_m / finest)
        own = Clouds(*(f[::every, ::every] for f in (sky.opacity, sky.brightness, sky.shadow)))
        true = ground.reflectance_of(place, frame, band.resolution_m, state.dryness)
        height = ground.seen(ground.elevation_m, frame, band.resolution_m)
        wavelength_um = sum(band.wavelength_um) / 2
        lit = shaded(true, own.shadow, wavelength_um)
        coefficients = [
            _at_height(level, state.level_m, place, height)
            for level in (state.xa, state.xb, state.xc)
        ]
        radiance = np.asarray(add_atmosphere(lit[None], *coefficients)[0], np.float32)
        error = np.float32(state.calibration[place])
        gains[band.name] = _gain(band.name, radiance * error, wanted_high=state.high_gain[place])
        radiance = clouded(
            radiance,
            own,
            wavelength_um=wavelength_um,
            radiance_per_reflectance=band.irradiance_w_m2_um
            * cosine
            / (math.pi * state.earth_sun_distance_au**2),
        )
        radiance = radiance * error
        scale, offset = radiance_coefficients(gains)[band.name]
        inside = frame.inside(band.swath, band.resolution_m)
        counts = sensor_model.counts(
            radiance[None], [scale], [offset], inside=inside, noise_dn=noise_dn, rng=rng
        )
        dn[band.name], truth[band.name] = counts[0], true
    return Image(dn, gains, truth, sky)


def _at_height(
    levels: list[list[float]], level_m: list[float], band: int, height: NDArray[np.float32]
) -> NDArray[Any]:
    """A coefficient of one band: one number, or linear in height between levels."""
    values = [level[band] for level in levels]
    if len(values) == 1:
        return np.array(values)
    return np.interp(height, level_m, values).astype(np.float32)[None]


def _gain(band: str, radiance: NDArray[np.float32], *, wanted_high: bool) -> str:
    """High gain where it is wanted, but never one that saturates 2 % of the clear ground."""
    brightest = float(np.quantile(radiance, 0.98))
    limits = {
        row["gain"]: float(row["lmax_w_m2_sr_um"])
        for row in read_rows("aster_l1t_gains")
        if row["band"] == band
    }
    order = ["HGH"] * wanted_high + ["NOR", "LO1"]
    return next((gain for gain in order if brightest < limits[gain]), "LO1")
