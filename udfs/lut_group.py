"""Bands of a lookup table that share their nodes, and how their parts make up the optics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.lut_grid import LOG_WATER
from geoquarry.udfs.lut_single import scattered_once
from geoquarry.udfs.lut_terms import Terms, chebyshev, coefficients, contract, disk, disk_powers

Floats = NDArray[np.float64]


class Axis:
    """One axis of one part: its nodes, and values on it as terms.

    Parameters
    ----------
    name : str
        As in `schemas.lut_grid.Part`.
    nodes : sequence
        Numbers, or pairs (view zenith, relative azimuth).
    """

    def __init__(self, name: str, nodes: Sequence[Any]) -> None:
        self.name = name
        if name == "view":
            zenith, azimuth = np.asarray(nodes, np.float64).T
            self._rim = float(zenith.max())
            self._powers = disk_powers(np.unique(zenith).tolist(), int((zenith == self._rim).sum()))
            self.at_nodes = disk(zenith, azimuth, self._rim, self._powers)
        elif name == "sun":
            suns = np.asarray(nodes, np.float64)
            every = np.arange(len(suns))
            # Up to the last but two nodes the last but one has no say: 6S's roughness, carried
            # from the horizon to the zenith by a polynomial of that degree, would double.
            two = len(suns) > LEAST_SUNS
            self._low, self._high = float(suns[0]), float(suns[-1])
            self._low_sun = float(suns[-3]) if two else np.inf
            self._pieces = [
                (some, np.linalg.inv(chebyshev(suns[some], self._low, self._high, len(some))))
                for some in (np.delete(every, -2) if two else every, every)
            ]
            self.at_nodes = np.eye(len(suns))
        else:
            at = _coordinate(name, np.asarray(nodes, np.float64))
            self._low, self._high, self._count = float(at.min()), float(at.max()), len(at)
            self.at_nodes = chebyshev(at, self._low, self._high, self._count)

    def terms(self, value: Floats, azimuth_deg: Floats | None = None) -> Terms:
        """Terms at given values, shape (term, state)."""
        if azimuth_deg is not None:
            return disk(value, azimuth_deg, self._rim, self._powers)
        if self.name == "sun":  # how much each node counts
            shares = np.zeros((len(self.at_nodes), value.size))
            low = value <= self._low_sun
            for here, (some, solved) in zip((low, ~low), self._pieces, strict=True):
                terms = chebyshev(value[here], self._low, self._high, len(some))
                shares[np.ix_(some, here)] = solved @ terms
            return shares
        at = _coordinate(self.name, value)
        if self.name in ("aod", "root_aod"):  # 6S gives no answer for less, see schemas/lut_grid.py
            at = np.maximum(at, self._low)
        return chebyshev(at, self._low, self._high, self._count)


LEAST_SUNS = 6
"""Fewer nodes make one polynomial."""


def _coordinate(axis: str, value: Floats) -> Floats:
    """What the polynomials of an axis run in: where 6S is closest to one of low degree."""
    if axis == "angle":
        return np.asarray(np.sqrt(np.cos(np.deg2rad(value))))
    if axis == "aod":
        return np.asarray(np.log1p(value))
    if axis in ("root_aod", "airmass"):
        return np.asarray(np.sqrt(value))
    if axis == "water":
        return np.asarray(np.log(value + LOG_WATER))
    return value


class Group:
    """Bands with the same nodes.

    Parameters
    ----------
    arrays : dict of str -> float64
        ``aerosol (band, sun, view, aod, elevation)`` beyond single scattering,
        ``phase (band, turn)`` and ``single (band, 3)`` for that (see `lut_single`),
        ``rayleigh (band, sun, view, elevation, ozone)``,
        ``transmittance (band, angle, root_aod, elevation)``,
        ``albedo (band, root_aod, elevation)``,
        ``depth (band, airmass, water, ozone, elevation)``, and for some bands
        ``coupling_ozone`` and ``coupling_water (band, angle, root_aod, elevation)``.
    facts : dict
        ``bands``, ``coupled`` (of them), and ``axes``: part -> list of (axis, nodes).
    rows : list of int
        Places of the bands in the table.
    """

    def __init__(
        self, arrays: Mapping[str, Floats], facts: Mapping[str, Any], rows: list[int]
    ) -> None:
        self.rows = rows
        self._coupled = [facts["bands"].index(band) for band in facts["coupled"]]
        self._axes = {
            part: [Axis(name, nodes) for name, nodes in axes]
            for part, axes in facts["axes"].items()
            if part != "phase"
        }
        self._turns = np.asarray(dict(facts["axes"]["phase"])["turn"], np.float64)
        self._phase, self._single = arrays["phase"], arrays["single"]
        # Between its levels the gas part is linear in elevation, so that axis is left as it is.
        self._levels = np.asarray(dict(facts["axes"]["depth"])["elevation"], np.float64)
        self._held = {
            part: coefficients(
                arrays[part], [a.at_nodes for a in axes if (part, a.name) != ("depth", "elevation")]
            )
            for part, axes in self._axes.items()
        }

    def optics(
        self, state: Mapping[str, Floats], zenith_deg: Floats, azimuth_deg: Floats
    ) -> dict[str, Floats]:
        """All terms of the correction, each of shape (band, state).

        Parameters
        ----------
        state : dict of str -> float64, shape (state,) or (1,)
        zenith_deg, azimuth_deg : float64, shape (band, state) or (band, 1)
            View directions.
        """
        sun, aod, level = state["sun_zenith_deg"], state["aod550"], state["elevation_m"]
        water, ozone = state["water_vapour_g_cm2"], state["ozone_cm_atm"]
        down = self._part("transmittance", {"angle": sun, "root_aod": aod, "elevation": level})
        albedo = self._part("albedo", {"root_aod": aod, "elevation": level})
        answer: dict[str, list[Floats]] = {}
        # Bands that look the same way (all of a telescope) are computed together.
        for bands in _alike(zenith_deg, azimuth_deg):
            view, apart = zenith_deg[bands[0]], azimuth_deg[bands[0]]
            airmass = 1 / np.cos(np.deg2rad(sun)) + 1 / np.cos(np.deg2rad(view))
            up = self._part(
                "transmittance", {"angle": view, "root_aod": aod, "elevation": level}, bands
            )
            gas = self._gas(airmass, water, ozone, level, bands)
            half = self._gas(airmass, water / 2, ozone, level, bands)
            seen_as = {"sun": sun, "view": (view, apart), "elevation": level}
            aerosol = self._part("aerosol", {**seen_as, "aod": aod}, bands)
            aerosol = aerosol + scattered_once(
                self._turns,
                self._phase[bands],
                self._single[bands],
                sun_zenith_deg=sun,
                view_zenith_deg=view,
                relative_azimuth_deg=apart,
                aod550=aod,
                elevation_m=level,
            )
            rayleigh = self._part("rayleigh", {**seen_as, "ozone": ozone}, bands)
            size = np.broadcast_shapes(up.shape, gas.shape, down[bands].shape)
            coupling = np.ones(size)
            both = [band for band in self._coupled if band in bands]
            if both:
                places = [bands.index(band) for band in both]
                dry = self._gas(airmass, np.zeros(1), ozone, level, both)
                depths = airmass * ozone, np.log(dry / gas[places])  # of ozone and of water
                coupling[places] += self._coupling(both, (sun, view), depths, aod, level)
            found = {
                "path_reflectance": rayleigh + aerosol * half,
                "gas": gas,
                "down": down[bands],
                "up": up,
                "spherical_albedo": albedo[bands],
                "coupling": coupling,
            }
            for name, value in found.items():
                for place, band in enumerate(bands):
                    answer.setdefault(name, [np.empty(0)] * len(self.rows))[band] = value[place]
        return {name: _stacked(values) for name, values in answer.items()}

    def _part(self, part: str, at: Mapping[str, Any], bands: Sequence[int] | None = None) -> Floats:
        """One part at given values, shape (band, state)."""
        terms = [
            axis.terms(*at[axis.name]) if axis.name == "view" else axis.terms(at[axis.name])
            for axis in self._axes[part]
        ]
        held = self._held[part]
        return contract(held if bands is None else held[list(bands)], terms)[:, 0]

    def _coupling(
        self,
        bands: Sequence[int],
        legs: tuple[Floats, Floats],
        depths: tuple[Floats, Floats],
        aod: Floats,
        level: Floats,
    ) -> Floats:
        """How far the mean of gas times scattering is from the product of the means."""
        places = [self._coupled.index(band) for band in bands]
        return np.asarray(
            sum(
                depth
                * self._part(part, {"angle": leg, "root_aod": aod, "elevation": level}, places)
                for part, depth in zip(("coupling_ozone", "coupling_water"), depths, strict=True)
                for leg in legs
            )
        )

    def _gas(
        self, airmass: Floats, water: Floats, ozone: Floats, level: Floats, bands: Sequence[int]
    ) -> Floats:
        """Two-way transmittance of all gases, shape (band, state)."""
        at = {"airmass": airmass, "water": water, "ozone": ozone}
        terms = [axis.terms(at[axis.name]) for axis in self._axes["depth"][:-1]]
        steps = np.interp(level, self._levels, np.arange(len(self._levels)))
        below = np.minimum(steps.astype(np.intp), len(self._levels) - 2)
        part = steps - below
        first, last = int(below.min()), int(below.max()) + 2  # only the levels that are needed
        held = self._held["depth"][list(bands), ..., first:last]
        columns, below = contract(held, terms), below - first  # (band, level, state)
        states = np.arange(columns.shape[2]) if columns.shape[2] > 1 else 0
        depth = (1 - part) * columns[:, below, states] + part * columns[:, below + 1, states]
        return np.asarray(np.exp(-depth))


def _alike(zenith_deg: Floats, azimuth_deg: Floats) -> list[list[int]]:
    """Bands with equal view directions, together."""
    groups: list[list[int]] = []
    for band in range(len(zenith_deg)):
        for known in groups:
            if np.array_equal(zenith_deg[band], zenith_deg[known[0]]) and np.array_equal(
                azimuth_deg[band], azimuth_deg[known[0]]
            ):
                known.append(band)
                break
        else:
            groups.append([band])
    return groups


def _stacked(values: list[Floats]) -> Floats:
    size = max(len(value) for value in values)
    return np.stack([np.broadcast_to(value, size) for value in values])
