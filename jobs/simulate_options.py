"""Options of a simulation: the command line, and what is in range."""

import argparse
from pathlib import Path

from geoquarry.engine.aster_l1t_writer import SENSOR
from geoquarry.jobs.simulate_air import ATMOSPHERES
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.landscape_cover import SURFACES

ELEVATION_LEVELS = 2
"""At the lowest and the highest ground: the water's transmittance in between is linear to 0.1 %
over 600 m (estimated from its curvature: 3.3 % in 500 m at band 9, falling off in 4.6 km)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry simulate`."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument("--size", type=int, default=256, help="pixels per side of the tile")
    parser.add_argument("--scenes", type=int, default=5, help="how many scenes")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same files")
    parser.add_argument("--latitude", type=float, default=32.78, metavar="DEG")
    parser.add_argument("--longitude", type=float, default=-108.06, metavar="DEG")
    parser.add_argument("--grid", help="grid whose tile is covered (default from --size)")
    parser.add_argument("--cloud", type=float, default=0.25, help="largest cloud cover of a scene")
    parser.add_argument(
        "--all-cloudy", action="store_true", help="every scene has that cover, also the first"
    )
    parser.add_argument(
        "--calibration", type=float, default=0, metavar="SIGMA", help="gain error of each scene"
    )
    parser.add_argument(
        "--aod-error", type=float, default=0, metavar="SIGMA", help="error of the aerosol files"
    )
    parser.add_argument(
        "--season", type=float, default=0, metavar="SHARE", help="how dry plants can be, 0 to 1"
    )
    parser.add_argument(
        "--shift",
        type=float,
        default=0,
        metavar="SHARE",
        help="move footprints by up to this share of the tile, so that they end inside it",
    )
    parser.add_argument("--surface", choices=sorted(SURFACES), help="cover nearly all with this")
    parser.add_argument("--atmosphere", choices=ATMOSPHERES, default=ATMOSPHERES[0])
    parser.add_argument("--noise", type=float, default=0.5, metavar="DN", help="noise, 1 sigma")
    parser.add_argument("--ground", type=float, metavar="M", help="spacing of the ground lattice")
    parser.add_argument(
        "--elevation-levels",
        type=int,
        default=ELEVATION_LEVELS,
        help="6S runs per scene between low and high",
    )
    parser.add_argument(
        "--keep-lattice-truth", action="store_true", help="also keep the truth per granule pixel"
    )


LIMITS = {
    "size": (32, 2048),
    "scenes": (1, 200),
    "cloud": (0, 0.8),
    "elevation-levels": (1, 8),
    "calibration": (0, 0.3),
    "aod-error": (0, 2),
    "season": (0, 1),
    "shift": (0, 0.9),
    "seed": (0, 2**63 - 1),
    "noise": (0, 255),
    "latitude": (-80, 80),
    "longitude": (-180, 180),
}
"""Of the options of the same names; UTM ends at 80 degrees."""
TILE_M = (960.0, 61440.0)
"""Width of a tile in map metres: what --size gives at 30 m, about one granule at most."""


def refuse(
    given: dict[str, float], ground_m: float | None, grid_name: str, surface: str | None
) -> None:
    """Say which option is out of range, before any work.

    Raises
    ------
    UsageError
    """
    for name, value in given.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise UsageError(f"--{name} {value:g}: give {low:g} to {high:g}.")
    finest = min(band.resolution_m for band in sensor(SENSOR).bands)
    if ground_m is not None and (not ground_m > 0 or finest % ground_m):
        raise UsageError(f"--ground {ground_m}: {finest:g} m must be a multiple of it, e.g. 7.5.")
    frame = grid(grid_name)
    width_m = frame.tile_size * frame.resolution_m
    (fewest, most), (narrowest_m, widest_m) = LIMITS["size"], TILE_M
    if not (fewest <= frame.tile_size <= most and narrowest_m <= width_m <= widest_m):
        raise UsageError(
            f"--grid {frame.name}: its tiles have {frame.tile_size} pixels and are {width_m:g} m "
            f"wide; scenes can be made of tiles of {fewest} to {most} pixels, {narrowest_m:g} to "
            f"{widest_m:g} m wide."
        )
    if surface is not None and surface not in SURFACES:
        raise UsageError(f"--surface {surface!r}: choose one of {', '.join(sorted(SURFACES))}.")
