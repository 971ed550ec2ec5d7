"""Grids: for a tile key, its CRS, transform and shape."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from geoquarry.schemas.errors import UnknownName
from geoquarry.schemas.granule import Transform

EARTH_RADIUS_M = 6378137.0
"""Radius of the Web Mercator sphere (EPSG:3857)."""

MAX_TILE_SIZE = 8192
ALIASES = {
    "webmercator-30m-1024": (30.0, 1024),
    "modis-500m-256": (500.0, 256),
}
DEFAULT = "webmercator-30m-1024"


@dataclass(frozen=True)
class Grid:
    """A regular Web Mercator grid: tile (0, 0) at the top left, y grows south.

    Attributes
    ----------
    name : str
        As stored in tables.
    resolution_m : float
        Pixel size in projected metres (ground size is smaller by cos(latitude)).
    tile_size : int
        Pixels per side of a tile.
    """

    name: str
    resolution_m: float
    tile_size: int
    crs: str = "EPSG:3857"

    @property
    def half_width_m(self) -> float:
        """Distance from the grid's middle to its edge: a whole number of half pixels."""
        pixels = math.floor(2 * math.pi * EARTH_RADIUS_M / self.resolution_m)
        return pixels * self.resolution_m / 2

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every tile, in pixels."""
        return self.tile_size, self.tile_size

    @property
    def tile_count(self) -> int:
        """Number of tiles along one side; the last one may reach over the grid's edge."""
        return math.ceil(2 * self.half_width_m / (self.resolution_m * self.tile_size))

    def transform(self, tile_x: int, tile_y: int) -> Transform:
        """Affine of a tile, from (column, row) corners to (x, y).

        >>> grid("webmercator-30m-1024").transform(260, 526)
        (30.0, 0.0, -12050295.0, 0.0, -30.0, 3878775.0)
        """
        span = self.resolution_m * self.tile_size
        left = -self.half_width_m + tile_x * span
        top = self.half_width_m - tile_y * span
        return (self.resolution_m, 0.0, left, 0.0, -self.resolution_m, top)

    def bounds(self, tile_x: int, tile_y: int) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of a tile, in metres.

        >>> grid("webmercator-30m-1024").bounds(260, 526)
        (-12050295.0, 3848055.0, -12019575.0, 3878775.0)
        """
        _, _, left, _, _, top = self.transform(tile_x, tile_y)
        span = self.resolution_m * self.tile_size
        return left, top - span, left + span, top

    def tiles(
        self, left: float, bottom: float, right: float, top: float
    ) -> Iterator[tuple[int, int]]:
        """Keys of the tiles that share area with a box; a shared edge alone does not count.

        >>> list(grid("webmercator-30m-1024").tiles(-12050295, 3848055, -12019575, 3878775))
        [(260, 526)]
        """
        span = self.resolution_m * self.tile_size
        last = self.tile_count - 1
        x0 = max(math.floor((left + self.half_width_m) / span), 0)
        x1 = min(math.ceil((right + self.half_width_m) / span) - 1, last)
        y0 = max(math.floor((self.half_width_m - top) / span), 0)
        y1 = min(math.ceil((self.half_width_m - bottom) / span) - 1, last)
        for tile_y in range(y0, y1 + 1):
            for tile_x in range(x0, x1 + 1):
                yield tile_x, tile_y


def grid(name: str) -> Grid:
    """The grid of a name: an alias, or ``res-<metres>_tilesize-<pixels>``.

    Raises
    ------
    UnknownName
        The name is neither, or its numbers are out of range.

    Examples
    --------
    >>> grid("res-30_tilesize-96").shape
    (96, 96)
    >>> grid("webmercator-30m-1024").half_width_m
    20037495.0
    """
    if name in ALIASES:
        return Grid(name, *ALIASES[name])
    found = re.fullmatch(r"res-(\d{1,6}(?:\.\d{1,6})?)_tilesize-(\d{1,4})", name, re.ASCII)
    if found:
        resolution_m, tile_size = float(found[1]), int(found[2])
        if resolution_m > 0 and 1 <= tile_size <= MAX_TILE_SIZE:
            return Grid(name, resolution_m, tile_size)
    raise UnknownName(
        f"No grid {name!r}. Choose {', '.join(ALIASES)}, or write res-<metres>_tilesize-<pixels> "
        f"with at most {MAX_TILE_SIZE} pixels, e.g. res-30_tilesize-256."
    )
