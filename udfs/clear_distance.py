"""How far it is to the next cloud, shadow or edge of the granule, seen from each part of a tile."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.schemas import flags

UNIT_M = 50.0
FARTHEST = 255
"""In units; stands for 12.75 km or more."""
REGION_PX = 8
"""Pixels of a tile per side of a region, counted from the tile's upper left corner."""
CELL_PX = 4
"""Pixels of the granule that are looked at together: 120 m of 30 m pixels, an eighth of the time.
A single flagged pixel makes its whole cell flagged."""


def clear_distance(bits: NDArray[np.uint16], *, pixel_m: float) -> NDArray[np.uint8]:
    """Distance to the nearest cloud, shadow or not observed pixel, in the granule's own frame.

    Parameters
    ----------
    bits : uint16, shape (y, x)
        Flags of the whole granule; nothing is observed beyond the array.
    pixel_m : float
        Pixel size [m].

    Returns
    -------
    distance : uint8, shape (ceil(y / 4), ceil(x / 4))
        Between the centres of cells of 4 x 4 pixels, in 50 m, rounded down; 255 = 12.75 km or
        more.

    Examples
    --------
    >>> bits = np.zeros((20, 20), "uint16")
    >>> clear_distance(bits, pixel_m=30.0)[2].tolist()
    [2, 4, 7, 4, 2]
    """
    wanted = np.uint16(flags.CLOUD | flags.SHADOW | flags.NOT_OBSERVED)
    troubled = (bits & wanted) != 0
    height, width = (-(-side // CELL_PX) for side in bits.shape)
    # One cell of nothing on every side: the frame's edge is the edge of what was observed.
    cells = np.ones((height + 2, width + 2), bool)
    starts = [np.arange(0, side, CELL_PX) for side in bits.shape]
    rows = np.logical_or.reduceat(troubled, starts[0], axis=0)
    cells[1:-1, 1:-1] = np.logical_or.reduceat(rows, starts[1], axis=1)
    steps = ndimage.distance_transform_edt(~cells)[1:-1, 1:-1]
    units = np.floor(steps * (CELL_PX * pixel_m / UNIT_M))
    distance: NDArray[np.uint8] = np.minimum(units, FARTHEST).astype(np.uint8)
    return distance


def at_regions(
    distance: NDArray[np.uint8], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Sample a granule's distances at the centres of a tile's regions.

    Parameters
    ----------
    distance : uint8, shape (cell y, cell x)
        From `clear_distance`.
    rows, cols : float64, shape (y, x)
        Pixel of the granule (0.0 = centre of the first) under each pixel of the tile.

    Returns
    -------
    distance : uint8, shape (ceil(y / 8), ceil(x / 8))
        0 where a region's centre lies outside the granule.

    Examples
    --------
    >>> rows, cols = np.mgrid[0.0:16.0, -8.0:8.0]
    >>> at_regions(np.array([[3, 4], [5, 6]], "uint8"), rows, cols).tolist()
    [[0, 6], [0, 0]]
    """
    spot = []
    for along in (rows, cols):
        # Coordinates run almost straight over eight pixels; a region's centre lies between two.
        both = []
        for place in (REGION_PX // 2 - 1, REGION_PX // 2):
            y, x = (np.minimum(np.arange(place, n + place, REGION_PX), n - 1) for n in rows.shape)
            y, x = (k[: -(-n // REGION_PX)] for k, n in zip((y, x), rows.shape, strict=True))
            both.append(along[np.ix_(y, x)])
        spot.append(np.floor(((both[0] + both[1]) / 2 + 0.5) / CELL_PX).astype(np.intp))
    inside = np.ones(spot[0].shape, bool)
    for at, size in zip(spot, distance.shape, strict=True):
        inside &= (at >= 0) & (at < size)
    found = distance[tuple(np.where(inside, at, 0) for at in spot)]
    sampled: NDArray[np.uint8] = np.where(inside, found, np.uint8(0))
    return sampled
