"""The atmosphere over one tile: from the state in its rows to what takes it off their pixels.

Rows hold the state (sun, aerosol, water vapour, ozone, elevation), so a better lookup table
reaches every map without a new ingest. Coefficients given in a row are used as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.atmosphere import ozone_fractions, water_fractions
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.air_state import AirState, Floats, read_state
from geoquarry.udfs.cell_correction import LEVELS, CellCorrection
from geoquarry.udfs.row_values import OR_GIVE, lattice, per_band, raster
from geoquarry.udfs.tile_cells import (
    CELLS,
    NODATA_ELEVATION,
    Ground,
    coarse_elevation,
    per_cell,
    side,
)

GIVEN = ("xa", "xb", "xc")
FIELDS = ("elevation", "aod550_field", "water_vapour_field")
"""Columns that vary within the tile."""
MODES = ("per_pixel", "per_tile")
OUTSIDE = ("clamp", "error")
CURVED_ABOVE_M = 150.0
"""Relief of a cell above which coefficients are quadratic in elevation, not linear."""


@dataclass(frozen=True)
class Air:
    """What lies between one granule and the ground of one tile.

    Attributes
    ----------
    coefficients : (xa, xb, xc) or None
        float64, shape (band,) each; None where they vary.
    cells : CellCorrection or None
        Where they vary.
    clamped : bool or bool array, shape (y, x) of the window
        Pixels that deserve ATMOSPHERE_CLAMPED.
    notes : tuple of str
        What a reader should know of that, sorted.
    source : dict
        Where the coefficients come from, JSON-safe.
    """

    coefficients: tuple[Floats, Floats, Floats] | None
    cells: CellCorrection | None
    clamped: bool | NDArray[np.bool_]
    notes: tuple[str, ...]
    source: dict[str, str]


@dataclass(frozen=True)
class _Cells:
    """The observed cells of one window: place, lowest and highest ground, air at the corners."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    low_m: Floats
    high_m: Floats
    aod550: Floats
    water_vapour_g_cm2: Floats


class TileAtmosphere:
    """The atmosphere of all granules over one tile.

    Parameters
    ----------
    sensor : Sensor
    shape : (int, int)
        Of the tile.
    mode : {"per_pixel", "per_tile"}
        Follow elevation, aerosol and water vapour within the tile, or take one state for all.
    outside : {"clamp", "error"}
        What becomes of a state that the lookup table does not cover.
    step : int
        Side of one pixel in those of the elevation raster: over 1 in overviews.
    """

    def __init__(
        self,
        sensor: Sensor,
        shape: tuple[int, int],
        mode: str = "per_pixel",
        outside: str = "clamp",
        step: int = 1,
    ) -> None:
        self.sensor, self.shape, self._step = sensor, shape, step
        self._mode, self._strict = mode, outside == "error"
        self._grounds: dict[bytes, Ground] = {}

    def over(
        self, row: Mapping[str, Any], row0: int, col0: int, observed: NDArray[np.bool_]
    ) -> Air:
        """The air of one row.

        Parameters
        ----------
        row : mapping
            With the columns of `air_state`, `GIVEN`, the radiance scale and offset, and `FIELDS`
            where they are followed.
        row0, col0 : int
            Place of the row's window in the tile.
        observed : bool, shape (y, x)
            Pixels of the window that may be used; cells without any are left out.

        Raises
        ------
        RowIssue
            The state is missing or damaged, there is no table for it, or it is outside the table
            and ``outside`` is "error".
        """
        if any(row.get(name) is not None for name in GIVEN):
            xa, xb, xc = (per_band(row, name, len(self.sensor.bands)) for name in GIVEN)
            return Air((xa, xb, xc), None, False, (), {"coefficients": "given"})
        state = read_state(row, self.sensor, strict=self._strict)
        cells, clamped = None, np.zeros(observed.shape, np.bool_)
        if self._mode == "per_pixel" and observed.any():
            cells = self._varying(row, state, row0, col0, observed, clamped)
        uniform = state.uniform() if cells is None else None
        everywhere = True if state.clamped else clamped if clamped.any() else False
        return Air(uniform, cells, everywhere, tuple(sorted(state.notes)), state.source)

    def _varying(
        self,
        row: Mapping[str, Any],
        state: AirState,
        row0: int,
        col0: int,
        observed: NDArray[np.bool_],
        clamped: NDArray[np.bool_],
    ) -> CellCorrection | None:
        """Coefficients by cell, None if nothing varies; marks clamped pixels."""
        aod, water = (lattice(row, name, CELLS + 1, OR_GIVE) for name in FIELDS[1:])
        ground = self._ground(row, state, row0, col0, observed, clamped)
        if ground is None and aod is None and water is None:
            return None
        down, across = (
            side(size).cell[first : first + count]
            for size, first, count in zip(self.shape, (row0, col0), observed.shape, strict=True)
        )
        rows, columns = np.nonzero(per_cell(np.logical_or, observed, down, across, False))
        if ground is None:
            ground = Ground(np.zeros(self.shape, np.int16))
            low = high = np.full(rows.size, state.air["elevation_m"])
            state.clamped |= bool(state.amiss("elevation_m", low).any())
        else:
            low, high = (x[rows, columns].astype(float) for x in (ground.low_m, ground.high_m))
        least, most = state.table.ranges["elevation_m"]
        found = _Cells(
            rows,
            columns,
            np.clip(low, least, most),
            np.clip(high, least, most),
            _corners(aod, rows, columns, state.air["aod550"]),
            _corners(water, rows, columns, state.air["water_vapour_g_cm2"]),
        )
        cells = CellCorrection(ground, len(self.sensor.bands))
        beyond = np.zeros((CELLS, CELLS), np.bool_)
        self._fill(cells, state, row, found, beyond)
        if beyond.any():
            clamped |= beyond[down[:, None], across]
        return cells

    def _ground(
        self,
        row: Mapping[str, Any],
        state: AirState,
        row0: int,
        col0: int,
        observed: NDArray[np.bool_],
        clamped: NDArray[np.bool_],
    ) -> Ground | None:
        """Elevation of the whole tile without voids, read once for all granules."""
        if row.get("elevation") is None:
            return None
        key = bytes(row["elevation"])
        if key not in self._grounds:
            shape = self.shape[0] * self._step, self.shape[1] * self._step
            fine = raster(row, "elevation", shape, ("int16",))
            self._grounds[key] = Ground(coarse_elevation(fine, self._step))
        ground = self._grounds[key]
        height, width = observed.shape
        window = slice(row0, row0 + height), slice(col0, col0 + width)
        if ground.has_voids:
            lost = (ground.elevation_m[window] == NODATA_ELEVATION) & observed
            if lost.any():
                clamped |= lost
                state.notes.add("elevation void, mean elevation used")
            ground = ground.filled(state.air["elevation_m"])
        extremes = np.array([ground.low_m.min(), ground.high_m.max()])
        if not state.table.inside(elevation_m=extremes).all():
            at = ground.elevation_m[window][observed].astype(np.float64)
            clamped[observed] |= state.amiss("elevation_m", at, "elevation")
        return ground

    def _fill(
        self,
        cells: CellCorrection,
        state: AirState,
        row: Mapping[str, Any],
        found: _Cells,
        beyond: NDArray[np.bool_],
    ) -> None:
        """Ask the table once, for all cells; marks cells that are beyond it in any state."""
        here = state.air["elevation_m"]
        water = found.water_vapour_g_cm2 / water_fractions(here)
        ozone = state.air["ozone_cm_atm"] / ozone_fractions(here)
        relief = found.high_m - found.low_m
        degree = np.where(relief > CURVED_ABOVE_M, 2, np.where(relief > 0, 1, 0))
        groups, states = [], []
        for levels in LEVELS:
            chosen = np.flatnonzero(degree == len(levels) - 1)
            if chosen.size:
                z = found.low_m[chosen, None] + relief[chosen, None] * (np.array(levels) + 1) / 2
                z = z[:, :, None, None]
                columns = water[chosen, None] * water_fractions(z), ozone * ozone_fractions(z)
                aod = found.aod550[chosen, None]
                groups.append(chosen)
                states.append(np.stack(np.broadcast_arrays(aod, z, *columns)))
        names = ("aod550", "elevation_m", "water_vapour_g_cm2", "ozone_cm_atm")
        flat = np.concatenate([some.reshape(len(names), -1) for some in states], axis=1)
        air = dict(zip(names, flat, strict=True))
        amiss = np.zeros(flat.shape[1], np.bool_)
        for name, source in zip(names, (FIELDS[1], "", FIELDS[2], ""), strict=True):
            amiss |= state.amiss(name, air[name], source if row.get(source) is not None else name)
        xa, xb, xc = state.coefficients(**air)
        scale, offset = (
            per_band(row, f"radiance_{name}", len(self.sensor.bands))[:, None]
            for name in ("scale", "offset")
        )
        values = np.stack([(xb / xa - offset) / scale, 1 / (xa * scale), xc])
        start = 0
        for chosen, some in zip(groups, states, strict=True):
            part = slice(start, start + some[0].size)
            start = part.stop
            place = found.rows[chosen], found.columns[chosen]
            beyond[place] = amiss[part].reshape(chosen.size, -1).any(axis=1)
            heights = found.low_m[chosen], found.high_m[chosen]
            cells.set(place, heights, values[:, :, part].reshape(*values.shape[:2], *some[0].shape))


def _corners(
    field: Floats | None, rows: NDArray[np.intp], columns: NDArray[np.intp], scalar: float
) -> Floats:
    """A lattice at the corners of cells: shape (cell, 2, 2), or (cell, 1, 1) if it is constant."""
    if field is None or np.ptp(field) == 0:
        return np.full((rows.size, 1, 1), scalar if field is None else field[0, 0])
    south, east = np.array([[0], [1]]), np.array([0, 1])
    corners: Floats = field[rows[:, None, None] + south, columns[:, None, None] + east]
    return corners
