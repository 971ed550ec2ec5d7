"""From runs of 6S to the arrays of a lookup table."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import RANGES, LutGrid, LutState, Part
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.lut_file import FORMAT
from geoquarry.udfs.lut_single import scattered_once

Found = Mapping[tuple[str, LutState], Mapping[str, float]]
"""What 6S said: (band, state) -> outputs by name."""
Floats = NDArray[np.float64]


def assemble(
    grid: LutGrid, found: Found, *, aerosol_model: str, provenance: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Arrays and description of a table, as `udfs.lut_file.pack` takes them.

    Parameters
    ----------
    grid : LutGrid
    found : mapping
        An answer for every run of the grid.
    aerosol_model : str
    provenance : dict
        JSON-safe; kept as it is.

    Returns
    -------
    arrays : dict of str -> float32
        ``<group>.<part>``, see `udfs.lut_group.Group`.
    about : dict

    Raises
    ------
    InputError
        Runs are missing.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    groups: dict[str, Any] = {}
    for group, parts in grid.groups.items():
        made = _group(parts, found)
        # Seven digits, as 6S prints them: float32 holds a path reflectance to 1e-8.
        arrays |= {f"{group}.{name}": array.astype(np.float32) for name, array in made.items()}
        axes = {
            "aerosol": parts["path"].axes,
            "rayleigh": parts["rayleigh"].axes,
            "transmittance": parts["scattering"].axes,
            "albedo": {k: v for k, v in parts["scattering"].axes.items() if k != "angle"},
            "depth": parts["gas"].axes,
            "phase": parts["phase"].axes,
        }
        both: tuple[str, ...] = ()
        if "coupling" in parts:
            both = parts["coupling"].bands
            axes["coupling_ozone"] = axes["coupling_water"] = parts["scattering"].axes
        groups[group] = {
            "bands": list(parts["path"].bands),
            "coupled": list(both),
            "axes": {
                part: [  # a list, because the order of the axes is that of the array
                    [name, [list(n) if isinstance(n, tuple) else n for n in nodes]]
                    for name, nodes in chosen.items()
                ]
                for part, chosen in axes.items()
            },
        }
    mine = {band for parts in grid.groups.values() for band in parts["path"].bands}
    about = {
        "format": FORMAT,
        "sensor": grid.sensor,
        "aerosol_model": aerosol_model,
        "bands": [name for name in sensor(grid.sensor).names if name in mine],
        "ranges": {name: list(limits) for name, limits in RANGES.items()},
        "groups": groups,
        "provenance": dict(provenance),
    }
    return arrays, about


def _group(parts: Mapping[str, Part], found: Found) -> dict[str, Floats]:
    path = _array(parts["path"], found, "path_reflectance")
    clear = _array(parts["clear"], found, "path_reflectance")
    gas = _array(parts["clear"], found, "gas")
    phase, single = _single(parts["phase"], found)
    # What the aerosol adds to the molecules, with the gases that are always there taken off, and
    # without the light it scatters once, whose features no few nodes would catch.
    aerosol = (path - clear[:, :, :, None]) / gas[:, :, :, None]
    aerosol -= _once(parts["path"], parts["phase"], phase, single)
    albedo = _array(parts["scattering"], found, "spherical_albedo")
    made = {
        "aerosol": aerosol,
        "phase": phase,
        "single": single,
        "rayleigh": _array(parts["rayleigh"], found, "path_reflectance"),
        "transmittance": _array(parts["scattering"], found, "down"),
        "albedo": albedo[:, -1],  # the same under every sun
        "depth": -np.log(_array(parts["gas"], found, "gas")),
    }
    if "coupling" in parts:
        made["coupling_ozone"], made["coupling_water"] = _coupling(parts["coupling"], found)
    return made


def _single(part: Part, found: Found) -> tuple[Floats, Floats]:
    """How aerosol scatters: phase function by angle, and what `single_scattering` needs besides.

    The second array, shape (band, 3): single scattering albedo, optical depth per unit of depth at
    550 nm, optical depth of molecules at sea level.
    """
    phase = _array(part, found, "aerosol_phase")
    first = next(state for _, state in part.nodes())
    depth = _array(part, found, "aerosol_depth")[:, 0] / first.aod550
    others = (_array(part, found, n)[:, 0] for n in ("aerosol_albedo", "molecular_depth"))
    albedo, molecules = others
    return phase, np.stack([albedo, depth, molecules], axis=1)


def _once(path: Part, turns: Part, phase: Floats, single: Floats) -> Floats:
    """Light scattered once by aerosol at the nodes of the path part, shape as its arrays."""
    states = [state for _, state in path.nodes()]
    names = ("sun_zenith_deg", "view_zenith_deg", "relative_azimuth_deg", "aod550", "elevation_m")
    at = {name: np.array([getattr(state, name) for state in states]) for name in names}
    found = scattered_once(turns.axes["turn"], phase, single, **at)
    return found.reshape(len(found), *(len(nodes) for nodes in path.axes.values()))


def _coupling(part: Part, found: Found) -> tuple[Floats, Floats]:
    """What one leg adds to the coupling of gas and scattering within a band.

    Over bright ground 6S integrates gas and scattering together; the ratio to the product of its
    own averages is, to first order in the optical depths of the gases, ``1 + airmass * ozone *
    (o(sun) + o(view)) + wet * (w(sun) + w(view))``, where ``wet`` is the two-way depth of water.
    Seen from straight above, the view's leg is that of a sun overhead.
    """
    seen = _array(part, found, "path_reflectance")  # (band, angle, aod, elevation, water, ground)
    gas, down, up, albedo = (
        _array(part, found, name)[..., 0] for name in ("gas", "down", "up", "spherical_albedo")
    )
    bright = float(part.axes["ground"][1])
    lit = seen[..., 1] - seen[..., 0]
    ratio = lit * (1 - albedo * bright) / (bright * gas * down * up)
    angles = [float(angle) for angle in part.axes["angle"]]
    airmass = np.array([1 + 1 / math.cos(math.radians(angle)) for angle in angles])
    ozone = next(state for _, state in part.nodes()).ozone_cm_atm
    dry = (ratio[..., 0] - 1) / (airmass[:, None, None] * ozone)
    wet = (ratio[..., 1] - ratio[..., 0]) / np.log(gas[..., 0] / gas[..., 1])
    overhead = angles.index(0.0)
    return dry - dry[:, [overhead]] / 2, wet - wet[:, [overhead]] / 2


def _array(part: Part, found: Found, output: str) -> Floats:
    """One output of 6S on the nodes of a part, shape (band, node of axis 1, ...)."""
    shape = tuple(len(nodes) for nodes in part.axes.values())
    values = np.empty((len(part.bands), *shape))
    for row, band in enumerate(part.bands):
        for place, state in part.nodes():
            try:
                values[(row, *place)] = found[band, state][output]
            except KeyError:
                raise InputError(
                    f"6S was not run for band {band!r} in {state} (part {part.name!r}); "
                    "run the build again to go on."
                ) from None
    return values
