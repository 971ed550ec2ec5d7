"""Aerosol and water vapour over an area, from MCD19A2 (MAIAC) tiles."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.hdf4 import Hdf4
from geoquarry.engine.raster import Bounds
from geoquarry.engine.sinusoidal import RADIUS_M, grid_of, inside, scaled
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Aerosol

AOD, AOD_QUALITY, WATER_VAPOUR = "Optical_Depth_055", "AOD_QA", "Column_WV"
"""Datasets of MCD19A2, shape (orbit, y, x); water vapour [cm] = [g cm-2], above the surface."""
QUALITY_SHIFT, QUALITY_MASK, BEST_QUALITY = 8, 0b1111, 0
"""AOD_QA bits 8-11, 0000 = best quality (MCD19 User Guide v6, table of QA bits)."""
DEFAULT_AOD = 0.1
"""Where nothing was retrieved: clean continental air; the answer is marked as a fallback."""
WIDER_KM = 50.0
ONE_OVERPASS = timedelta(minutes=30)
"""Orbits of one satellite closer than this are one overpass seen in neighbouring tiles."""


@dataclass
class _Overpass:
    """Layers seen at about one time: (file, layers) per tile; satellite "" = times not known."""

    time: datetime
    satellite: str
    parts: list[tuple[Path, list[int]]] = field(default_factory=list)

    @property
    def label(self) -> str:
        if not self.satellite:
            return f"all orbits of {self.time:%Y-%m-%d} (no Orbit_time_stamp)"
        name = {"T": "Terra", "A": "Aqua"}.get(self.satellite, self.satellite)
        return f"{name} {self.time:%Y-%m-%dT%H:%MZ}"


def read_aod(
    paths: str | Path | Sequence[str | Path], *, bounds_lonlat: Bounds, acquired: datetime
) -> Aerosol:
    """Aerosol optical depth and water vapour of an area from MCD19A2.

    The Terra overpass nearest in time is asked first: mean over the area of the pixels with a
    retrieval of best quality; if there are none, over 50 km around the area's centre; then the
    other overpasses, Terra before Aqua, nearest first; at last 0.1, marked as a fallback. Slightly
    negative retrievals count as 0. Files without orbit times give the mean of all their orbits
    (the day of the name stands for their time), files without AOD_QA all their retrievals;
    ``source`` says so.

    Parameters
    ----------
    paths : path or sequence of paths
        Tiles of the sinusoidal grid; several when the area straddles them.
    bounds_lonlat : tuple of float
        West, south, east, north [degrees]; half a pixel is added on each side, so that even a
        point holds a pixel centre.
    acquired : datetime
        Time of the scene, UTC.

    Returns
    -------
    aerosol : Aerosol

    Raises
    ------
    InputError
        A file is not HDF4, truncated, or has no ``Optical_Depth_055``.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    if not files:
        raise InputError("No MCD19A2 file given. Pass files, or an optical depth as a number.")
    west, south, east, north = bounds_lonlat
    centre = ((west + east + (360.0 if east < west else 0.0)) / 2, (south + north) / 2)
    areas = [(bounds_lonlat, ""), (_around(centre, WIDER_KM), f", {WIDER_KM:g} km around")]
    for overpass in _in_order(files, acquired):
        for bounds, wording in areas:
            found = [_values(path, layers, bounds) for path, layers in overpass.parts]
            optical = np.concatenate([aod for aod, _, _ in found])
            if not optical.size:
                continue
            vapour = np.concatenate([wv for _, wv, _ in found])
            days = abs(overpass.time - _utc(acquired)).days
            wording += f", {days} days from the scene" if days else ""
            quality = "best quality" if all(q for _, _, q in found) else "no AOD_QA"
            return Aerosol(
                aod550=float(optical.mean(dtype=np.float64)),
                water_vapour_g_cm2=float(vapour.mean(dtype=np.float64)) if vapour.size else None,
                source=f"{_names(overpass)}: {overpass.label}, {quality}{wording}",
                fallback=False,
            )
    names = ", ".join(path.name for path in files)
    return Aerosol(
        aod550=DEFAULT_AOD,
        water_vapour_g_cm2=None,
        source=f"default {DEFAULT_AOD:g}: no retrieval within {WIDER_KM:g} km in {names}",
        fallback=True,
    )


def _in_order(files: list[Path], acquired: datetime) -> list[_Overpass]:
    """Overpasses over all files, best first."""
    overpasses: list[_Overpass] = []
    for path in files:
        with Hdf4(path) as file:
            attributes, shapes = file.attributes(), file.shapes()
        if AOD not in shapes or len(shapes[AOD]) != 3:
            raise InputError(f"{path}: no dataset {AOD} (orbit, y, x). Is it MCD19A2?")
        count = shapes[AOD][0]
        stamps = str(attributes.get("Orbit_time_stamp", "")).replace("\0", " ").split()
        # The attribute may be padded with blanks; fewer times than layers are of no use.
        times = [found for stamp in stamps[:count] if (found := _stamp(stamp))]
        if len(times) == count:
            for layer, (time, satellite) in enumerate(times):
                _join(overpasses, path, time, satellite, [layer])
        else:
            _join(overpasses, path, _day(path, acquired), "", list(range(count)))
    return sorted(overpasses, key=lambda o: (o.satellite != "T", abs(o.time - _utc(acquired))))


def _join(
    overpasses: list[_Overpass],
    path: Path,
    time: datetime,
    satellite: str,
    layers: list[int],
) -> None:
    for known in overpasses:
        near = known.satellite == satellite and abs(known.time - time) < ONE_OVERPASS
        if near and all(part[0] != path for part in known.parts):
            known.parts.append((path, layers))
            return
    overpasses.append(_Overpass(time, satellite, [(path, layers)]))


def _stamp(text: str) -> tuple[datetime, str] | None:
    """``20061690530T`` = year, day of year, hour, minute, satellite."""
    found = re.fullmatch(r"(\d{11})([A-Z])", text)
    try:
        time = datetime.strptime(found[1], "%Y%j%H%M").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
    return (time, found[2]) if found and time else None


def _day(path: Path, acquired: datetime) -> datetime:
    """Noon of the day in a product's name (``.A2006169.``), else the scene's own time."""
    found = re.search(r"\.A(\d{7})\.", path.name)
    stamp = _stamp(f"{found[1]}1200T") if found else None
    return stamp[0] if stamp else _utc(acquired)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _names(overpass: _Overpass) -> str:
    return ", ".join(path.name for path, _ in overpass.parts)


def _values(
    path: Path, layers: list[int], bounds: Bounds
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Optical depths and water vapour of the area's pixels; True when quality was asked for."""
    none = np.empty(0)
    with Hdf4(path) as file:
        transform, rows, columns = grid_of(file.attributes(), AOD, str(path))
        names = file.shapes()
        place = inside(transform, rows, columns, bounds)
        graded = AOD_QUALITY in names
        if place is None:
            return none, none, True
        window, chosen = place
        optical, vapour = [], []
        for layer in layers:
            at = (slice(layer, layer + 1), *window)
            depth = scaled(file, AOD, at)[0]
            good = chosen & np.isfinite(depth)
            if graded:
                quality = file.read(AOD_QUALITY, at)[0]
                good &= ((quality >> QUALITY_SHIFT) & QUALITY_MASK) == BEST_QUALITY
            optical.append(np.maximum(depth[good], 0.0))
            if WATER_VAPOUR in names:
                column = scaled(file, WATER_VAPOUR, at)[0]
                vapour.append(column[chosen & np.isfinite(column)])
    return np.concatenate([none, *optical]), np.concatenate([none, *vapour]), graded


def _around(centre: tuple[float, float], radius_km: float) -> Bounds:
    """Box of that half width around a point (longitude, latitude)."""
    lat = math.degrees(radius_km * 1000 / RADIUS_M)
    lon = lat / max(math.cos(math.radians(centre[1])), 0.05)
    return centre[0] - lon, centre[1] - lat, centre[0] + lon, centre[1] + lat
