"""The grid of 6S states behind a lookup table: which runs it takes, part by part.

The correction factors into parts that depend on few variables each (docs/atmosphere.md), so a
table needs some ten thousand cheap runs instead of millions. Nodes are those of Chebyshev
interpolation, which crowd towards the ends of the range.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.sensor import Sensor

RANGES: Mapping[str, tuple[float, float]] = {
    "sun_zenith_deg": (0.0, 80.0),
    "view_zenith_deg": (0.0, 30.0),
    "relative_azimuth_deg": (0.0, 180.0),
    "aod550": (0.0, 2.0),
    "elevation_m": (0.0, 6000.0),
    "water_vapour_g_cm2": (0.0, 7.0),
    "ozone_cm_atm": (0.2, 0.5),
}
"""What a table covers; water vapour and ozone are columns above the surface."""
LOWEST_AOD = 0.001
"""6S takes another path at 0, with a jump of 0.2 % in reflectance."""
LOWEST_AOD_INFRARED = 0.002
"""Below about 0.0011 (at 3 km) to 0.0015 (at 8.8 km) 6S v1.1 answers NaN beyond 2 um."""
LOG_WATER = 0.05
"""Water is interpolated in log(water + 0.05): steep where it is dry, flat where it saturates."""
SCATTERING_BELOW_UM = 1.0
"""Bands centred below this see molecules and aerosol well and get the dense nodes."""
COUPLED_BELOW_UM = 0.6
"""Bands centred below this are run over a bright ground as well: ozone and molecules both change
so much within a green band that the mean of the product of their transmittances is 0.04-0.16 %
off the product of the means (0.0008 in reflectance at 0.5, sun at 62 degrees, AOD 0.6)."""
BRIGHT = 0.3
COUPLING_WATER = 3.0
MIDDLE_OZONE = 0.35
TURNS = tuple(float(angle) for angle in range(70, 181))
"""Scattering angles from a sun at 80 degrees against a sensor at 30, to straight back."""
LEVELS_M = tuple(250.0 * i for i in range(25))
"""Elevations of the gas part, between which it is linear: the profile of 6S has a corner at each
kilometre, which a polynomial would smear."""


@dataclass(frozen=True)
class LutState:
    """One run of 6S for one band; columns above the surface, aerosol by name."""

    sun_zenith_deg: float
    view_zenith_deg: float = 0.0
    relative_azimuth_deg: float = 0.0
    aod550: float = 0.2
    elevation_m: float = 0.0
    water_vapour_g_cm2: float = 0.0
    ozone_cm_atm: float = 0.0
    ground_reflectance: float = 0.0
    aerosols: bool = True


@dataclass(frozen=True)
class Part:
    """Runs of some bands on the product of some axes.

    Attributes
    ----------
    name : str
        ``path`` (aerosol and molecules, without absorbing gases), ``clear`` (the same places
        without aerosol), ``phase`` (how aerosol scatters, by angle), ``rayleigh`` (molecules
        under ozone), ``scattering`` (transmittance and albedo), ``coupling`` (under ozone with
        and without water, over black and bright ground), ``gas``.
    bands : tuple of str
    axes : dict of str -> tuple
        Axis name -> nodes. ``view`` holds pairs (view zenith, relative azimuth), ``angle`` sun
        zeniths, ``airmass`` the two-way air mass, ``turn`` scattering angles, ``aod`` and
        ``root_aod`` optical depths.
    """

    name: str
    bands: tuple[str, ...]
    axes: Mapping[str, tuple[Any, ...]]

    def nodes(self) -> Iterator[tuple[tuple[int, ...], LutState]]:
        """Place in the part's array, and the state to run, of every node."""
        names = list(self.axes)
        for place in product(*(range(len(nodes)) for nodes in self.axes.values())):
            values = {name: self.axes[name][i] for name, i in zip(names, place, strict=True)}
            yield place, _state(self.name, values)


@dataclass(frozen=True)
class LutGrid:
    """All runs of one table.

    Attributes
    ----------
    sensor : str
    detail : str
        ``full`` or ``coarse``.
    groups : dict of str -> dict of str -> Part
        Bands that share their nodes, and their parts by name.
    """

    sensor: str
    detail: str
    groups: Mapping[str, Mapping[str, Part]]

    def runs(self) -> list[tuple[str, LutState]]:
        """Distinct runs (band, state), the cheap parts first."""
        found: dict[tuple[str, LutState], None] = {}
        for name in ("phase", "scattering", "coupling", "rayleigh", "clear", "gas", "path"):
            for parts in self.groups.values():
                if name in parts:
                    for band in parts[name].bands:
                        found |= {(band, state): None for _, state in parts[name].nodes()}
        return list(found)


def centre_um(sensor: Sensor, band: str) -> float:
    """Mean wavelength of a band's response.

    >>> from geoquarry.schemas.sensor import sensor
    >>> round(centre_um(sensor("aster_l1t"), "b01"), 2)
    0.56
    """
    wavelength_um, response = sensor.response(band)
    return float(np.sum(wavelength_um * response) / np.sum(response))


def coupled(sensor: Sensor, band: str) -> bool:
    """Whether a band needs a second run over bright ground, see `COUPLED_BELOW_UM`."""
    return centre_um(sensor, band) < COUPLED_BELOW_UM


def lowest_aod(sensor: Sensor, band: str) -> float:
    """The lowest aerosol optical depth 6S is asked about for a band; less counts as this.

    >>> from geoquarry.schemas.sensor import sensor
    >>> lowest_aod(sensor("aster_l1t"), "b01"), lowest_aod(sensor("aster_l1t"), "b09")
    (0.001, 0.002)
    """
    green_or_red = centre_um(sensor, band) < SCATTERING_BELOW_UM
    return LOWEST_AOD if green_or_red else LOWEST_AOD_INFRARED


def lut_grid(sensor: Sensor, detail: str = "full") -> LutGrid:
    """The grid of a sensor's table.

    Parameters
    ----------
    sensor : Sensor
    detail : {"full", "coarse"}
        ``coarse`` keeps every second sun of the path reflectance: about half the time, for
        trials.

    Examples
    --------
    >>> from geoquarry.schemas.sensor import sensor
    >>> grid = lut_grid(sensor("aster_l1t"))
    >>> {name: parts["path"].bands for name, parts in grid.groups.items()}
    {'visible': ('b01', 'b02', 'b3n'), 'infrared': ('b04', 'b05', 'b06', 'b07', 'b08', 'b09')}
    >>> len(grid.runs()) > 30_000
    True
    """
    visible = tuple(n for n in sensor.names if centre_um(sensor, n) < SCATTERING_BELOW_UM)
    infrared = tuple(name for name in sensor.names if name not in visible)
    both = tuple(name for name in sensor.names if coupled(sensor, name))
    groups = {}
    if visible:
        groups["visible"] = _visible(visible, both)
    if infrared:
        groups["infrared"] = _infrared(infrared)
    grid = LutGrid(sensor.name, detail, groups)
    return grid if detail == "full" else _thinned(grid)


def _visible(bands: tuple[str, ...], both: tuple[str, ...]) -> dict[str, Part]:
    disk = ((0.0, 0.0), *_ring(7.5, 5), *_ring(22.5, 4), *_ring(30.0, 4))
    levels = (0.0, 3000.0, 6000.0)
    axes = {"sun": SUN, "view": disk, "aod": AOD, "elevation": levels}
    scattering = {"angle": ANGLES, "root_aod": ROOT_AOD, "elevation": levels}
    parts = {
        "path": Part("path", bands, axes),
        "clear": Part("clear", bands, {k: v for k, v in axes.items() if k != "aod"}),
        "phase": Part("phase", bands, {"turn": TURNS}),
        "rayleigh": Part("rayleigh", bands, _rayleigh((0.2, MIDDLE_OZONE, 0.5))),
        "scattering": Part("scattering", bands, scattering),
        "gas": Part("gas", bands, _gas((0.2, MIDDLE_OZONE, 0.5))),
    }
    if both:
        axes = {**scattering, "water": (0.0, COUPLING_WATER), "ground": (0.0, BRIGHT)}
        parts["coupling"] = Part("coupling", both, axes)
    return parts


def _infrared(bands: tuple[str, ...]) -> dict[str, Part]:
    """Fewer nodes where the air scatters little, and no ozone."""
    disk = ((0.0, 0.0), *_ring(10.0, 3), *_ring(22.5, 3), *_ring(30.0, 3))
    aod = (LOWEST_AOD_INFRARED, *AOD_INFRARED[1:])
    root_aod = (LOWEST_AOD_INFRARED, *ROOT_AOD[1:])
    axes = {"sun": SUN, "view": disk, "aod": aod, "elevation": (0.0, 6000.0)}
    scattering = {"angle": ANGLES, "root_aod": root_aod, "elevation": (0.0, 3000.0, 6000.0)}
    return {
        "path": Part("path", bands, axes),
        "clear": Part("clear", bands, {k: v for k, v in axes.items() if k != "aod"}),
        "phase": Part("phase", bands, {"turn": TURNS}),
        "rayleigh": Part("rayleigh", bands, _rayleigh((MIDDLE_OZONE,))),
        "scattering": Part("scattering", bands, scattering),
        "gas": Part("gas", bands, _gas((MIDDLE_OZONE,))),
    }


def _rayleigh(ozone: tuple[float, ...]) -> dict[str, tuple[Any, ...]]:
    disk = ((0.0, 0.0), *_ring(10.0, 3), *_ring(20.0, 3), *_ring(30.0, 3))
    return {
        "sun": ALL_SUN,
        "view": disk,
        "elevation": (0.0, 1500.0, 4500.0, 6000.0),
        "ozone": ozone,
    }


def _gas(ozone: tuple[float, ...]) -> dict[str, tuple[Any, ...]]:
    return {"airmass": AIRMASS, "water": WATER, "ozone": ozone, "elevation": LEVELS_M}


def _thinned(grid: LutGrid) -> LutGrid:
    """Every second sun of the dear parts."""
    groups = {}
    for group, parts in grid.groups.items():
        thin: dict[str, Part] = dict(parts)
        few = {"sun": SUN[:-1:2] + SUN[-1:]}
        for name in ("path", "clear"):
            thin[name] = replace(parts[name], axes={**parts[name].axes, **few})
        groups[group] = thin
    return LutGrid(grid.sensor, "coarse", groups)


def _state(part: str, values: Mapping[str, Any]) -> LutState:
    known: dict[str, float] = {}
    for name, field in FIELDS.items():
        if name in values:
            known[field] = float(values[name])
    if "airmass" in values:  # seen from straight above
        sun = math.degrees(math.acos(1 / (float(values["airmass"]) - 1)))
        known["sun_zenith_deg"] = round(sun, 3)
    if "view" in values:
        zenith, azimuth = values["view"]
        # With sun or sensor straight above there is no azimuth, so such nodes share one run.
        apart = azimuth if zenith > 0 and known["sun_zenith_deg"] > 0 else 0.0
        known |= {"view_zenith_deg": zenith, "relative_azimuth_deg": apart}
    if "turn" in values:  # by the sun alone, seen from straight above, as far as it goes down
        turned = 180.0 - float(values["turn"])
        known["sun_zenith_deg"] = min(turned, RANGES["sun_zenith_deg"][1])
        if turned > known["sun_zenith_deg"]:
            known["view_zenith_deg"] = turned - known["sun_zenith_deg"]
            known["relative_azimuth_deg"] = 180.0
    if part == "coupling":
        known["ozone_cm_atm"] = MIDDLE_OZONE
    return LutState(**known, aerosols=part not in WITHOUT_AEROSOL)


WITHOUT_AEROSOL = ("clear", "rayleigh", "gas")
FIELDS = {
    "sun": "sun_zenith_deg",
    "angle": "sun_zenith_deg",
    "aod": "aod550",
    "root_aod": "aod550",
    "elevation": "elevation_m",
    "water": "water_vapour_g_cm2",
    "ozone": "ozone_cm_atm",
    "ground": "ground_reflectance",
}
"""Axis -> field of a state."""


def _between(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Chebyshev-Lobatto nodes, ends included."""
    return low + (high - low) * (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2


def _rounded(values: NDArray[np.float64], digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def _ring(zenith_deg: float, count: int) -> list[tuple[float, float]]:
    return [(zenith_deg, float(azimuth)) for azimuth in np.linspace(0, 180, count)]


def _aod(count: int) -> tuple[float, ...]:
    low, high = math.sqrt(LOWEST_AOD), math.sqrt(RANGES["aod550"][1])
    return _rounded(_between(low, high, count) ** 2, 4)


ALL_SUN = _rounded(_between(*RANGES["sun_zenith_deg"], 9), 3)
SUN = ALL_SUN[:1] + ALL_SUN[2:]
"""Without the second: near the vertical the path reflectance of 6S wiggles more from angle to angle
than that node would mend (docs/atmosphere.md)."""
AOD = _aod(7)[:1] + _aod(7)[2:]
AOD_INFRARED = _aod(6)[:1] + _aod(6)[2:]
"""Without the second: in log(1 + aod) the path reflectance is smooth down to clear air."""
ROOT_AOD = _aod(8)
ANGLES = _rounded(np.degrees(np.arccos(_between(math.cos(math.radians(80)) ** 0.5, 1, 9) ** 2)), 3)
"""Crowded at the horizon: the nodes of the square root of the cosine."""
AIRMASS = _rounded(_between(math.sqrt(2), math.sqrt(6.92), 6) ** 2, 4)
"""From straight down and up to a sun at 80 and a sensor at 30 degrees (6.914)."""
WATER = tuple(
    max(0.0, value)
    for value in _rounded(
        np.exp(_between(math.log(LOG_WATER), math.log(7 + LOG_WATER), 9)) - LOG_WATER, 4
    )
)
