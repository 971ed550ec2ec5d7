"""How much one granule is worth at a place: few clouds, a high sun, far from the next cloud."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.schemas import flags as f
from geoquarry.udfs.clear_distance import REGION_PX, UNIT_M
from geoquarry.udfs.row_values import RowIssue, number, raster

COLUMNS = ("clear_distance", "granule_cloud_fraction", "cloud_fraction", "sun_zenith_deg")
"""Columns of a `tiles` row that merit is made of."""
FAR_M = 3000.0
"""From here on a cloud is no longer felt."""
STEPS = 1000
"""Merit is a multiple of 1 / STEPS: equal granules are equal, whatever the machine."""
WEIGHT_DISTANCE, WEIGHT_CLEAR, WEIGHT_SUN = 1.0, 0.5, 0.5
"""What each share may add. Ours, not fitted: what is wrong near a cloud (its thin rim, light
scattered sideways, shadow not found) is worse than all that sets whole granules apart; a clear
granule has less haze and fewer clouds that the mask has missed; and a high sun means short paths
through the air, short shadows of the relief and little noise."""


class Merit:
    """Merit of one granule over a tile, region by region of 8 x 8 pixels.

    ``distance / 3 km (at most 1) + 0.5 x (1 - cloud fraction) + 0.5 x cos(sun zenith)``, with
    the distance to the nearest cloud, shadow or edge of the granule. All three are facts of the
    whole granule, so neighbouring tiles choose alike; the share of the tile that a granule covers
    is not, and is left out: where it sees nothing it has no observation to choose.

    Parameters
    ----------
    row : mapping
        Of a `tiles` table. ``clear_distance`` (blob, uint8, 50 m, one value per region of the
        tile) and ``granule_cloud_fraction`` may be None, in rows of before they existed. Then the
        distance comes from the flags of the row's own window, blind to what lies beyond it, and
        ``cloud_fraction`` (of the tile) stands in, or what those flags say: second best, since
        neighbouring tiles may disagree.
    flags_window : uint16, shape (y, x)
        The row's flags.
    row0, col0 : int
        Place of the window in the tile.
    tile_shape : (int, int)
    pixel_m : float
        Size of a pixel, for rows without ``clear_distance``.

    Raises
    ------
    RowIssue
        A column is missing or damaged.

    Examples
    --------
    >>> row = {"granule_cloud_fraction": 0.2, "sun_zenith_deg": 60.0, "clear_distance": None}
    >>> flags = np.zeros((8, 16), np.uint16)
    >>> flags[0, 0] = f.CLOUD
    >>> Merit(row, flags, 0, 0, (8, 16), pixel_m=250.0).block(slice(0, 1), slice(7, 9))
    array([[0.65 , 1.317]], dtype=float32)
    """

    def __init__(
        self,
        row: Mapping[str, Any],
        flags_window: NDArray[np.uint16],
        row0: int,
        col0: int,
        tile_shape: tuple[int, int],
        *,
        pixel_m: float = 30.0,
    ) -> None:
        regions = -(-tile_shape[0] // REGION_PX), -(-tile_shape[1] // REGION_PX)
        if row.get("clear_distance") is not None:
            units = raster(row, "clear_distance", regions, ("uint8",))
            distance_m = UNIT_M * units.astype(np.float64)
        else:
            distance_m = _distance_in_window_m(flags_window, row0, col0, regions, pixel_m)
        cloudy = _cloud_fraction(row, flags_window)
        sun = np.cos(np.deg2rad(number(row, "sun_zenith_deg")))
        if not 0 <= cloudy <= 1:
            raise RowIssue("granule_cloud_fraction", f"0 to 1 expected, {cloudy!r} found")
        merit = WEIGHT_DISTANCE * np.minimum(distance_m / FAR_M, 1)
        merit += WEIGHT_CLEAR * (1 - cloudy) + WEIGHT_SUN * max(sun, 0.0)
        self._merit = (np.rint(merit * STEPS) / STEPS).astype(np.float32)

    def block(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Merit of some pixels: rows and columns of the tile; float32, shape (y, x)."""
        at = (np.arange(part.start, part.stop) // REGION_PX for part in (rows, columns))
        merit: NDArray[np.float32] = self._merit[np.ix_(*at)]
        return merit


def _cloud_fraction(row: Mapping[str, Any], flags: NDArray[np.uint16]) -> float:
    """Of the granule; else of the tile as stored, or as the flags of the window have it."""
    for name in ("granule_cloud_fraction", "cloud_fraction"):
        if row.get(name) is not None:
            return number(row, name)
    observed = (flags & np.uint16(f.NOT_OBSERVED)) == 0
    cloudy = observed & ((flags & np.uint16(f.CLOUD)) != 0)
    return int(cloudy.sum()) / max(int(observed.sum()), 1)


def _distance_in_window_m(
    flags: NDArray[np.uint16], row0: int, col0: int, regions: tuple[int, int], pixel_m: float
) -> NDArray[np.float64]:
    """From each region to the nearest one with a cloud, shadow or hole, as far as one can see.

    What lies beyond the window, or the tile, counts as clear.
    """
    bad = np.zeros((regions[0] * REGION_PX, regions[1] * REGION_PX), np.bool_)
    height, width = flags.shape
    wanted = np.uint16(f.CLOUD | f.SHADOW | f.NOT_OBSERVED)
    bad[row0 : row0 + height, col0 : col0 + width] = (flags & wanted) != 0
    coarse = bad.reshape(regions[0], REGION_PX, regions[1], REGION_PX).any(axis=(1, 3))
    if not coarse.any():
        return np.full(regions, FAR_M)
    steps: NDArray[np.float64] = ndimage.distance_transform_edt(~coarse)
    return steps * (REGION_PX * pixel_m)
