"""The lookup table of the atmosphere: what 6S would say about a state, in microseconds.

NumPy only, so that it runs wherever a UDF runs. docs/atmosphere.md has the formulas and the
measured error; `geoquarry lut check` measures it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.schemas.coefficients import coefficients_from_transmittances
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.lut_file import NOT_READABLE, REBUILD, find, locate, unpack
from geoquarry.udfs.lut_group import Group

Floats = NDArray[np.float64]
BELOW_SEA_LEVEL_M = 100.0
"""Surfaces down to this far below sea level count as sea level: 6S knows none deeper, and 100 m
change the molecular path reflectance of the green band by 3e-4."""
CHUNK = 1000
"""States computed at a time."""
LOWEST_SUN_DEG = 89.0
"""Sun zenith beyond which the light on the ground counts as here; clamped and flagged anyway."""
UNSURE_ABOVE_DEG = 75.0
"""Sun zenith above which a result is flagged: the plane-parallel air of 6S bends there."""


@dataclass(frozen=True)
class LutOptics:
    """What the table says about each band in each state; see `schemas.atmosphere`.

    Attributes
    ----------
    path_reflectance, gas, down, up, spherical_albedo, coupling : float64, shape (band, state)
        Unitless.
    """

    path_reflectance: Floats
    gas: Floats
    down: Floats
    up: Floats
    spherical_albedo: Floats
    coupling: Floats


class Lut:
    """One sensor under one aerosol model.

    Parameters
    ----------
    arrays, about : dict
        As `lut_file.unpack` gives them.

    Attributes
    ----------
    sensor, aerosol_model : str
    bands : tuple of str
        In the sensor's order.
    provenance : dict
        Which 6S, which grid, when, how many runs.
    digest : str
        Of all numbers in the table and its provenance.
    ranges : dict of str -> (float, float)
        What the table covers, by state variable.
    """

    def __init__(
        self, arrays: Mapping[str, NDArray[np.floating]], about: Mapping[str, Any]
    ) -> None:
        self.sensor: str = about["sensor"]
        self.aerosol_model: str = about["aerosol_model"]
        self.bands: tuple[str, ...] = tuple(about["bands"])
        self.provenance: dict[str, Any] = dict(about["provenance"])
        self.digest: str = about["digest"]
        self.ranges: dict[str, tuple[float, float]] = {
            name: (float(low), float(high)) for name, (low, high) in about["ranges"].items()
        }
        self._groups = [
            Group(
                {
                    name.split(".", 1)[1]: np.asarray(array, np.float64)
                    for name, array in arrays.items()
                    if name.startswith(f"{group}.")
                },
                facts,
                [self.bands.index(band) for band in facts["bands"]],
            )
            for group, facts in about["groups"].items()
        ]

    def inside(self, **state: ArrayLike) -> NDArray[np.bool_]:
        """Whether states lie within the table.

        Parameters
        ----------
        **state : float, broadcast against each other
            Any of the variables in ``ranges``.

        Returns
        -------
        inside : bool, broadcast shape
            False also for NaN.
        """
        answer = np.asarray(True)
        for name, value in state.items():
            low, high = self._limits(name)
            at = np.asarray(value, np.float64)
            answer = answer & (at >= low) & (at <= high)
        return np.asarray(answer)

    def _limits(self, name: str) -> tuple[float, float]:
        low, high = self.ranges[name]
        return (low - BELOW_SEA_LEVEL_M if name == "elevation_m" else low), high

    def _prepared(self, state: Mapping[str, ArrayLike], outside: str) -> dict[str, Floats]:
        if outside not in ("error", "clamp"):
            raise ValueError(f"outside={outside!r}: choose 'error' or 'clamp'.")
        ready = {}
        for name, value in state.items():
            low, high = self._limits(name)
            at = np.asarray(value, np.float64)
            wrong = ~((at >= low) & (at <= high))
            if outside == "clamp":
                wrong = np.isnan(at)
            if wrong.any():
                raise InputError(
                    f"{name} is {at[wrong].flat[0]:g}: the lookup table of {self.sensor} covers "
                    f"{low:g} to {high:g}. Clamp it (outside='clamp'), or use --atmosphere 6s."
                )
            ready[name] = np.clip(at, *self.ranges[name])
        return ready

    def optics(
        self,
        *,
        sun_zenith_deg: ArrayLike,
        view_zenith_deg: ArrayLike,
        relative_azimuth_deg: ArrayLike,
        aod550: ArrayLike,
        elevation_m: ArrayLike,
        water_vapour_g_cm2: ArrayLike,
        ozone_cm_atm: ArrayLike,
        outside: str = "error",
    ) -> LutOptics:
        """Transmittances, albedo and path reflectance of all bands.

        Parameters
        ----------
        sun_zenith_deg : float, scalar or shape (state,)
        view_zenith_deg, relative_azimuth_deg : float, scalar, (state,), (band, 1) or (band, state)
            Azimuth between sun and sensor, 0 to 180.
        aod550 : float, scalar or shape (state,)
            Below 0.001 counts as 0.001, beyond 1 um below 0.002 as 0.002.
        elevation_m : float, scalar or shape (state,)
            From 100 m below sea level counts as sea level.
        water_vapour_g_cm2, ozone_cm_atm : float, scalar or shape (state,)
            Columns above the surface.
        outside : {"error", "clamp"}
            What to do with a state outside ``ranges``.

        Returns
        -------
        optics : LutOptics

        Raises
        ------
        InputError
            A state is outside (or NaN).
        """
        state = self._prepared(
            {
                "sun_zenith_deg": sun_zenith_deg,
                "view_zenith_deg": view_zenith_deg,
                "relative_azimuth_deg": relative_azimuth_deg,
                "aod550": aod550,
                "elevation_m": elevation_m,
                "water_vapour_g_cm2": water_vapour_g_cm2,
                "ozone_cm_atm": ozone_cm_atm,
            },
            outside,
        )
        view = {}
        for name in ("view_zenith_deg", "relative_azimuth_deg"):
            angle = np.atleast_2d(state.pop(name))
            view[name] = np.broadcast_to(angle, (len(self.bands), angle.shape[1]))
        flat = {name: np.atleast_1d(value) for name, value in state.items()}
        size = np.broadcast_shapes(
            *(value.shape for value in flat.values()),
            *(value.shape[-1:] for value in view.values()),
        )
        out = LutOptics(*(np.empty((len(self.bands), *size)) for _ in range(6)))
        # Chunks keep intermediate products in cache; of one height, they touch few gas levels.
        order = np.argsort(np.broadcast_to(flat["elevation_m"], size), kind="stable")
        for part in np.split(order, range(CHUNK, size[0], CHUNK)):
            some = {name: _part(value, part) for name, value in flat.items()}
            for group in self._groups:
                zenith, azimuth = (_part(angle[group.rows], part) for angle in view.values())
                found = group.optics(some, zenith, azimuth)
                for name, value in found.items():
                    getattr(out, name)[np.ix_(np.array(group.rows), part)] = value
        return out

    def correction(
        self,
        *,
        earth_sun_distance_au: ArrayLike,
        irradiance_w_m2_um: ArrayLike,
        sun_zenith_deg: ArrayLike,
        outside: str = "error",
        **state: ArrayLike,
    ) -> tuple[Floats, Floats, Floats]:
        """Coefficients ``y = xa * radiance - xb; reflectance = y / (1 + xc * y)`` of all bands.

        Parameters
        ----------
        earth_sun_distance_au : float, scalar or shape (state,)
        irradiance_w_m2_um : float, shape (band,)
            At 1 AU.
        sun_zenith_deg, outside, **state
            As in `optics`.

        Returns
        -------
        xa, xb, xc : float64, shape (band, state)

        Raises
        ------
        InputError
            As `optics`.
        """
        found = self.optics(sun_zenith_deg=sun_zenith_deg, outside=outside, **state)
        # How much light falls on the ground is arithmetic, not part of the table: not clamped,
        # down to where there is none.
        sun = np.minimum(np.asarray(sun_zenith_deg, np.float64), LOWEST_SUN_DEG)
        return coefficients_from_transmittances(
            path_reflectance=found.path_reflectance,
            gas=found.gas,
            down=found.down,
            up=found.up,
            coupling=found.coupling,
            spherical_albedo=found.spherical_albedo,
            irradiance_w_m2_um=np.asarray(irradiance_w_m2_um, np.float64)[:, None],
            sun_zenith_deg=sun,
            earth_sun_distance_au=earth_sun_distance_au,
        )


def _part(values: Floats, part: NDArray[np.intp]) -> Floats:
    """Some states of an array whose last axis may be 1 for all of them."""
    return values if values.shape[-1] == 1 else values[..., part]


def lut(sensor_name: str, aerosol_model: str) -> Lut:
    """The table of a sensor under an aerosol model; read once per process while it does not change.

    Parameters
    ----------
    sensor_name, aerosol_model : str

    Raises
    ------
    InputError
        There is none, it is damaged, or it is another one than its name says.
    """
    path = locate(sensor_name, aerosol_model)
    # A process may outlive a table: what `methods.revision` reads must be what jobs compute with.
    state = path.stat() if isinstance(path, Path) else None
    changed = (state.st_mtime_ns, state.st_size) if state else None
    return _read(sensor_name, aerosol_model, str(path), changed)


@lru_cache(maxsize=8)
def _read(sensor_name: str, aerosol_model: str, where: str, changed: tuple[int, int] | None) -> Lut:
    arrays, about = unpack(*find(sensor_name, aerosol_model))
    try:
        table = Lut(arrays, about)
    except NOT_READABLE as error:
        text = f"{where} has other parts than this geoquarry reads ({error!r}). {REBUILD}"
        raise InputError(text) from error
    asked = sensor_name, aerosol_model.lower(), tuple(sensor(sensor_name).names)
    if (table.sensor, table.aerosol_model.lower(), table.bands) != asked:
        raise InputError(
            f"{where} is a lookup table of {table.sensor} under {table.aerosol_model} aerosol with "
            f"bands {', '.join(table.bands)}: not what its name says. {REBUILD}"
        )
    return table
