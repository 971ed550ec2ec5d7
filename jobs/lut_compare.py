"""The 6S table and 6S itself side by side, at random states of light and air."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine import sixs
from geoquarry.jobs.console import watched
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.lut import Lut

Numbers = NDArray[np.float64]

GROUNDS = (0.05, 0.2, 0.5)
"""Surface reflectances that the correction has to find again."""

RATIOS = (("swir22_5", "swir22_6"), ("swir24_9", "swir23_8"))
"""Band ratios that are compared, by role; a sensor without such bands has none."""

CORE = {"sun_zenith_deg": 65.0, "aod550": 0.8}
"""Where the table is held to its strictest: no variable above these."""

DECIMALS = {
    "sun_zenith_deg": 3,
    "view_zenith_deg": 2,
    "relative_azimuth_deg": 1,
    "aod550": 4,
    "elevation_m": 0,
    "water_vapour_g_cm2": 4,
    "ozone_cm_atm": 4,
}
"""The variables of a state in the order of drawing, rounded as direct 6S rounds them."""


@dataclass(frozen=True)
class Comparison:
    """The table and 6S side by side.

    Attributes
    ----------
    states : dict of str -> float64, shape (state,)
        Named as in `Lut.correction`.
    error : float64, shape (ground, band, state)
        Reflectance recovered with the table minus the truth, per entry of `GROUNDS`.
    ratio_error_percent : float64, shape (ground, pair, state)
        The same of ratios between two bands over ground that is equal in both.
    pairs : list of str
        Names of the ratios.
    failed : list of str
        States that 6S gave no answer for, with its reason; they are not among the others.
    """

    states: dict[str, Numbers]
    error: Numbers
    ratio_error_percent: Numbers
    pairs: list[str]
    failed: list[str]

    @property
    def core(self) -> NDArray[np.bool_]:
        """Which states lie in the core region, shape (state,)."""
        return in_core(self.states)


def draw(ranges: Mapping[str, tuple[float, float]], n: int, seed: int) -> dict[str, Numbers]:
    """Random states, uniform in every variable: half in the core region, half in the rest.

    The same seed with a larger ``n`` begins with the same states of each half, which a cache
    then knows.

    Parameters
    ----------
    ranges : mapping of str -> (low, high)
        As `Lut.ranges`; the relative azimuth goes from 0 to 180 degrees.
    n, seed : int

    Returns
    -------
    states : dict of str -> float64, shape (n,)
        Rounded like direct 6S does.

    Examples
    --------
    >>> states = draw({name: (0, 1) for name in DECIMALS}, 4, seed=1)
    >>> len(states["aod550"]), in_core(states).tolist()
    (4, [True, True, False, False])
    """
    limits = {**ranges, "relative_azimuth_deg": (0.0, 180.0)}
    low, high = np.array([limits[name] for name in DECIMALS], np.float64).T
    strict = np.minimum(high, [CORE.get(name, np.inf) for name in DECIMALS])

    def uniform(part: int, rows: int, top: Numbers) -> dict[str, Numbers]:
        random = np.random.default_rng([seed, part]).random((rows, len(DECIMALS)))
        values = low + random * (top - low)
        return {k: np.round(values[:, i], d) for i, (k, d) in enumerate(DECIMALS.items())}

    core = uniform(0, n - n // 2, strict)
    anywhere = uniform(1, 20 * n, high)  # two thirds of it lie outside the core
    rest = np.flatnonzero(~in_core(anywhere))[: n // 2]
    return {name: np.concatenate([core[name], anywhere[name][rest]]) for name in DECIMALS}


def in_core(states: Mapping[str, Numbers]) -> NDArray[np.bool_]:
    """Which states lie in the core region, shape (state,)."""
    inside = [states[name] <= top for name, top in CORE.items()]
    return np.asarray(np.logical_and.reduce(inside))


def direct(
    facts: Sensor,
    states: Mapping[str, Numbers],
    *,
    aerosol_model: str,
    cache: sixs.Cache | None = None,
    workers: int = 2,
) -> list[list[sixs.Optics] | str]:
    """What 6S itself says about each state: one `Optics` per band, or why it said nothing.

    Raises
    ------
    GeoquarryError
        6S is not installed or does not start.
    """

    def one(place: int) -> list[sixs.Optics] | str:
        state = {name: float(values[place]) for name, values in states.items()}
        view, apart = state.pop("view_zenith_deg"), state.pop("relative_azimuth_deg")
        try:
            return sixs.correction(
                facts,
                sun_azimuth_deg=0.0,
                view_zenith_deg=[view] * len(facts.bands),
                view_azimuth_deg=[apart] * len(facts.bands),
                earth_sun_distance_au=1.0,
                aerosol_model=aerosol_model,
                cache=cache,
                workers=1,
                **state,
            ).optics
        except InputError as error:
            return str(error)

    count = len(states["aod550"])
    with ThreadPoolExecutor(workers) as pool:
        try:
            return list(watched(pool.map(one, range(count)), what="6S states", total=count))
        except BaseException:  # what has run is in the cache; do not start the others
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def apparent_reflectance(optics: Sequence[Sequence[sixs.Optics]], ground: float) -> Numbers:
    """Reflectance at the top of the atmosphere over a uniform Lambertian ground.

    6S's own formula with 6S's own numbers; a second run over bright ground has coupled gas and
    scattering in the bands where that matters (`schemas.lut_grid.coupled`).

    Parameters
    ----------
    optics : list of list of Optics, shape (state, band)
    ground : float

    Returns
    -------
    apparent : float64, shape (band, state)
    """
    names = ("path_reflectance", "gas", "down", "up", "coupling", "spherical_albedo")
    columns = [np.array([[getattr(o, name) for o in row] for row in optics]).T for name in names]
    path, gas, down, up, coupling, albedo = columns
    result: Numbers = path + gas * down * up * coupling * ground / (1 - albedo * ground)
    return result


def recover(table: Lut, apparent: Numbers, states: Mapping[str, Numbers]) -> Numbers:
    """Surface reflectance by the table's coefficients, shape (band, state)."""
    irradiance = np.array(sensor(table.sensor).irradiance_w_m2_um)
    given: dict[str, Any] = {**states, "irradiance_w_m2_um": irradiance}
    xa, xb, xc = table.correction(**given, earth_sun_distance_au=1.0)
    sun = np.cos(np.deg2rad(states["sun_zenith_deg"])) / np.pi
    y = xa * apparent * irradiance[:, None] * sun - xb
    result: Numbers = y / (1 + xc * y)
    return result


def compare(
    table: Lut,
    *,
    n: int = 500,
    seed: int = 1,
    cache: sixs.Cache | None = None,
    workers: int = 2,
) -> Comparison:
    """Draw states, run 6S in each, and see how far the table is off.

    Parameters
    ----------
    table : Lut
    n, seed : int
        Number of states; what they are drawn with.
    cache : Cache, optional
        Keeps what 6S said, also when this is stopped half-way.
    workers : int
        States at a time.

    Raises
    ------
    GeoquarryError
        6S is not installed or does not start.
    """
    facts = sensor(table.sensor)
    states = draw(table.ranges, n, seed)
    found = direct(facts, states, aerosol_model=table.aerosol_model, cache=cache, workers=workers)
    answered = np.array([not isinstance(one, str) for one in found])
    states = {name: values[answered] for name, values in states.items()}
    optics = [one for one in found if not isinstance(one, str)]
    roles = [(facts.role(over), facts.role(under)) for over, under in RATIOS]
    pairs = [(o, u) for o, u in roles if o is not None and u is not None]
    shape = (len(GROUNDS), len(facts.bands), len(optics))
    got = np.empty(shape)
    for place, ground in enumerate(GROUNDS if optics else ()):
        got[place] = recover(table, apparent_reflectance(optics, ground), states)
    ratios = [100 * (got[:, over] / got[:, under] - 1) for over, under in pairs]
    return Comparison(
        states,
        got - np.array(GROUNDS)[:, None, None],
        np.stack(ratios, 1) if ratios else np.empty((shape[0], 0, shape[2])),
        [f"{facts.names[over]}/{facts.names[under]}" for over, under in pairs],
        [one for one in found if isinstance(one, str)],
    )
