"""The state of light and air in one row, and what the lookup table makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.lut import UNSURE_ABOVE_DEG, Lut, lut
from geoquarry.udfs.row_values import OR_GIVE, RowIssue, number, per_band

SUN = ("sun_zenith_deg", "sun_azimuth_deg", "earth_sun_distance_au")
VIEW = ("view_zenith_deg", "view_azimuth_deg")
AIR = ("aod550", "elevation_m", "water_vapour_g_cm2", "ozone_cm_atm")
COLUMNS = (*SUN, *VIEW, *AIR, "aerosol_model")
"""Columns the state is read from."""
DIGITS = 20
"""Bits that are kept of what the table says: libraries of linear algebra differ in the last of
53, results must not. 1e-6 of a coefficient moves no stored count."""

Floats = NDArray[np.float64]


@dataclass
class AirState:
    """Light and air over one tile, as one row has them; see `read_state`.

    Attributes
    ----------
    sensor : Sensor
    table : Lut
    light : dict
        Sun, view and distance, ready for the table.
    air : dict of str -> float
        The tile's scalars: aod550, elevation_m, and water_vapour_g_cm2 and ozone_cm_atm above a
        surface at elevation_m.
    strict : bool
        Refuse what the table does not cover, instead of taking its nearest value.
    clamped : bool
        Something is amiss that touches all pixels.
    notes : set of str
        What was amiss, anywhere.
    """

    sensor: Sensor
    table: Lut
    light: dict[str, Any]
    air: dict[str, float]
    strict: bool
    clamped: bool = False
    notes: set[str] = field(default_factory=set)

    def amiss(self, name: str, values: Floats, column: str = "") -> NDArray[np.bool_]:
        """Which values of a state variable the table does not cover; noted, or refused.

        Parameters
        ----------
        name : str
            State variable.
        values : float64, any shape
        column : str
            Where the values come from, if not from the column of the same name.

        Returns
        -------
        amiss : bool, of the same shape

        Raises
        ------
        RowIssue
            Some are not covered, and ``strict``.
        """
        amiss: NDArray[np.bool_] = ~self.table.inside(**{name: values})
        if amiss.any():
            low, high = self.table.ranges[name]
            if self.strict:
                raise RowIssue(
                    column or name,
                    f"{name} is {values[amiss].flat[0]:g}, the lookup table covers {low:g} to "
                    f"{high:g}; run with outside 'clamp' for its nearest value, or give xa, xb, xc",
                )
            self.notes.add(f"{name} outside {low:g} to {high:g}, clamped")
        return amiss

    def coefficients(self, **air: Any) -> tuple[Floats, Floats, Floats]:
        """Coefficients of many states of the air, under the row's light.

        Parameters
        ----------
        **air : float64, shape (state,)
            The variables of ``air``. What the table does not cover is clamped: see `amiss`.

        Returns
        -------
        xa, xb, xc : float64, shape (band, state)
            With `DIGITS` bits.
        """
        found = self.table.correction(
            irradiance_w_m2_um=self.sensor.irradiance_w_m2_um, outside="clamp", **self.light, **air
        )
        xa, xb, xc = (_settled(values) for values in found)
        return xa, xb, xc

    def uniform(self) -> tuple[Floats, Floats, Floats]:
        """Coefficients of the tile's scalars: shape (band,) each.

        Raises
        ------
        RowIssue
            A scalar is not covered, and ``strict``.
        """
        for name, value in self.air.items():
            self.clamped |= bool(self.amiss(name, np.asarray(value)))
        xa, xb, xc = self.coefficients(**self.air)
        return xa[:, 0], xb[:, 0], xc[:, 0]

    @property
    def source(self) -> dict[str, str]:
        """Which table the coefficients come from, for provenance."""
        return {
            "coefficients": "lookup table",
            "sensor": self.table.sensor,
            "aerosol_model": self.table.aerosol_model,
            "digest": self.table.digest,
        }


def read_state(row: Mapping[str, Any], sensor: Sensor, *, strict: bool) -> AirState:
    """Read the state of one row and find its table.

    Parameters
    ----------
    row : mapping
        With `COLUMNS`.
    sensor : Sensor
    strict : bool
        See `AirState`.

    Raises
    ------
    RowIssue
        A column is missing or damaged, there is no table for the aerosol model, or the sun or the
        view is outside the table and ``strict``.
    """
    air = {name: number(row, name, OR_GIVE) for name in AIR}
    sun, azimuth, distance = (number(row, name, OR_GIVE) for name in SUN)
    zenith, direction = (per_band(row, name, len(sensor.bands), OR_GIVE) for name in VIEW)
    model = row.get("aerosol_model")
    if model is None:
        raise RowIssue("aerosol_model", f"row has no aerosol_model; {OR_GIVE}")
    turn = np.abs(direction - azimuth) % 360.0
    relative = np.where(zenith == 0, 0.0, np.minimum(turn, 360.0 - turn))
    light = {
        "sun_zenith_deg": sun,
        "view_zenith_deg": zenith[:, None],
        "relative_azimuth_deg": relative[:, None],
        "earth_sun_distance_au": distance,
    }
    try:
        table = lut(sensor.name, str(model))
    except InputError as error:
        raise RowIssue("aerosol_model", str(error)) from error
    state = AirState(sensor, table, light, air, strict)
    for name in ("sun_zenith_deg", "view_zenith_deg"):
        state.clamped |= bool(state.amiss(name, np.asarray(light[name])).any())
    if sun > UNSURE_ABOVE_DEG:
        state.clamped = True
        state.notes.add(f"sun zenith above {UNSURE_ABOVE_DEG:g} deg, correction unsure")
    return state


def _settled(values: Floats) -> Floats:
    mantissa, exponent = np.frexp(values)
    settled: Floats = np.ldexp(np.rint(np.ldexp(mantissa, DIGITS)), exponent - DIGITS)
    return settled
