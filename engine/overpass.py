"""Overpasses in MCD19A2 files: which layers were seen when, by which satellite, and where."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from geoquarry.engine.hdf4 import Hdf4
from geoquarry.engine.sinusoidal import grid_of
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Transform

AOD = "Optical_Depth_055"
"""The dataset that every file must have, shape (orbit, y, x)."""
ONE_OVERPASS = timedelta(minutes=30)
"""Orbits of one satellite closer than this are one overpass seen in neighbouring tiles."""


@dataclass(frozen=True)
class Tile:
    """One file: where it lies, and which datasets it has.

    Attributes
    ----------
    path : Path
    transform : Transform
        Of its 1 km pixels, in sinusoidal metres.
    rows, columns : int
    names : frozenset of str
    """

    path: Path
    transform: Transform
    rows: int
    columns: int
    names: frozenset[str]


@dataclass
class Overpass:
    """Layers that one satellite saw at about one time.

    Attributes
    ----------
    time : datetime
    satellite : str
        ``T`` Terra, ``A`` Aqua, empty when the file does not tell times.
    parts : list of (Tile, list of int)
        Files and their layers.
    """

    time: datetime
    satellite: str
    parts: list[tuple[Tile, list[int]]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Satellite and time, in words."""
        if not self.satellite:
            return f"all orbits of {self.time:%Y-%m-%d} (no Orbit_time_stamp)"
        name = {"T": "Terra", "A": "Aqua"}.get(self.satellite, self.satellite)
        return f"{name} {self.time:%Y-%m-%dT%H:%MZ}"


def overpasses_of(files: list[Path], acquired: datetime) -> list[Overpass]:
    """Overpasses over all files, best first: Terra before Aqua, nearest in time first.

    Parameters
    ----------
    files : list of Path
    acquired : datetime
        Time of the scene, UTC.

    Raises
    ------
    InputError
        A file is not HDF4, has no optical depth, or lies on another lattice than the first.
    """
    overpasses: list[Overpass] = []
    for path in files:
        with Hdf4(path) as file:
            attributes, shapes = file.attributes(), file.shapes()
        if AOD not in shapes or len(shapes[AOD]) != 3:
            raise InputError(f"{path}: no dataset {AOD} (orbit, y, x). Is it MCD19A2?")
        tile = Tile(path, *grid_of(attributes, AOD, str(path)), frozenset(shapes))
        count = shapes[AOD][0]
        stamps = str(attributes.get("Orbit_time_stamp", "")).replace("\0", " ").split()
        # The attribute may be padded with blanks; fewer times than layers are of no use.
        times = [found for stamp in stamps[:count] if (found := _stamp(stamp))]
        if len(times) == count:
            for layer, (time, satellite) in enumerate(times):
                _join(overpasses, tile, time, satellite, [layer])
        else:
            _join(overpasses, tile, _day(path, acquired), "", list(range(count)))
    _refuse_other_lattices(overpasses)
    return sorted(overpasses, key=lambda o: (o.satellite != "T", abs(o.time - utc(acquired))))


def _join(
    overpasses: list[Overpass],
    tile: Tile,
    time: datetime,
    satellite: str,
    layers: list[int],
) -> None:
    for known in overpasses:
        near = known.satellite == satellite and abs(known.time - time) < ONE_OVERPASS
        if near and all(part[0].path != tile.path for part in known.parts):
            known.parts.append((tile, layers))
            return
    overpasses.append(Overpass(time, satellite, [(tile, layers)]))


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
    return stamp[0] if stamp else utc(acquired)


def utc(time: datetime) -> datetime:
    """The same time in UTC; without a zone it is UTC already."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _refuse_other_lattices(overpasses: list[Overpass]) -> None:
    tiles = [tile for overpass in overpasses for tile, _ in overpass.parts]
    first = tiles[0].transform
    for tile in tiles[1:]:
        apart = [(tile.transform[i] - first[i]) / first[0] for i in (2, 5)]
        off = max(abs(step - round(step)) for step in apart)
        if abs(tile.transform[0] / first[0] - 1) > 1e-6 or off > 0.02:
            raise InputError(
                f"{tile.path}: its pixels do not lie on the lattice of {tiles[0].path.name}. "
                "Give tiles (or subsets) of one sinusoidal grid."
            )
