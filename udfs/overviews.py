"""All granules of a tile at a quarter of its resolution: what harmonising and balancing look at."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.balance_reference import prepare_reference
from geoquarry.udfs.balance_sums import TileNodes, cells_along, node_sums
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.counts import Counts, once, overview_step
from geoquarry.udfs.morphology import dilate
from geoquarry.udfs.observation import Observation
from geoquarry.udfs.overlap import Overlap, PairSums
from geoquarry.udfs.tile_atmosphere import TileAtmosphere

COUNTS_PER_UNIT = np.float32(1e4)
"""Reflectance is kept as whole counts of 1e-4, so that all sums are exact."""
NODATA = -32768
MOST = 32_000
"""Counts beyond this (reflectance 3.2) are no ground."""
BLOCK_PIXELS = 2**18
"""Pixels of all granules that are compared at a time."""
UNFIT = f.CLOUD | f.SHADOW | f.SATURATED | f.WATER | f.NOT_OBSERVED
"""Pixels with one of these say nothing about the ground's true colour; water glints by the sun."""

HIDDEN = f.CLOUD | f.SHADOW | f.NOT_OBSERVED
OTHER_GROUND = f.SATURATED | f.WATER
REACH_M = 600.0
"""Ground that is left out for what it is (saturated snow, water) still shows in the reference,
whose pixels of 500 m mix it with what lies beside, and which was resampled: so far around it
nothing is compared with the reference. Clouds do not matter: the reference saw the ground below."""


class Overviews:
    """Clear ground of every granule over one tile, as int16 counts of 1e-4.

    Memory: 1.2 MB per granule for 9 bands of 1024 x 1024.

    Parameters
    ----------
    sensor : Sensor
    shape : (int, int)
        Of the tile.
    mode, outside : str
        Of the atmosphere, see `TileAtmosphere`.
    resolution_m : float
        Of the tile's pixels, in metres of the map.

    Attributes
    ----------
    optional : list of int
        Bands that SWIR_UNRELIABLE speaks of.
    """

    def __init__(
        self,
        sensor: Sensor,
        shape: tuple[int, int],
        mode: str,
        outside: str,
        resolution_m: float = 30.0,
    ) -> None:
        self.step = overview_step(shape)
        self.shape = (shape[0] // self.step, shape[1] // self.step)
        self._atmosphere = TileAtmosphere(sensor, self.shape, mode, outside, self.step)
        self.optional = [i for i, b in enumerate(sensor.bands) if b.role.startswith("swir")]
        self._sensor = sensor
        self._bands = len(sensor.bands)
        self._clear: dict[str, NDArray[np.int16]] = {}
        self._reach_px = REACH_M / (resolution_m * self.step)
        self._other_ground = np.zeros(self.shape, np.bool_)

    def add(self, row: Mapping[str, Any], counts: Counts) -> None:
        """Take one granule.

        Raises
        ------
        RowIssue
            Its atmosphere cannot be taken off.
        InputError
            It is there already.
        """
        once(counts.granule_id, self._clear)
        seen = Observation(row, counts.coarse(self.step), self._atmosphere)
        clear = np.full((self._bands, *self.shape), NODATA, np.int16)
        width = seen.flags.shape[1]
        for rows in row_blocks(*self.shape):
            found = seen.block(rows)
            if found is None:
                continue
            reflectance, bits, row0 = found
            place = slice(row0, row0 + len(bits)), slice(seen.col0, seen.col0 + width)
            fit = (bits & np.uint16(UNFIT)) == 0
            other = ((bits & np.uint16(OTHER_GROUND)) != 0) & ((bits & np.uint16(HIDDEN)) == 0)
            self._other_ground[place] |= other
            doubtful = (bits & np.uint16(f.SWIR_UNRELIABLE)) != 0
            for band in range(self._bands):
                use = fit & ~doubtful if band in self.optional else fit
                count = np.rint(reflectance[band] * COUNTS_PER_UNIT)
                use = use & (np.abs(count) <= MOST)  # False for NaN
                clear[band][place] = np.where(use, count, NODATA)
        self._clear[seen.granule_id] = clear

    @property
    def granule_ids(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(self._clear))

    def pair_sums(self) -> PairSums:
        """Sums over ground that two granules saw clearly, for every pair."""
        stack = [self._clear[name] for name in self.granule_ids]
        overlap = Overlap(self.granule_ids, self._bands)
        step = max(1, BLOCK_PIXELS // max(1, len(stack) * self.shape[1]))
        for start in range(0, self.shape[0], step):
            parts = [clear[:, start : start + step] for clear in stack]
            overlap.update([(part, part != NODATA) for part in parts])
        return overlap.result()

    def node_sums(self, reference: NDArray[np.int16] | None, cells: int) -> TileNodes:
        """Sums of each granule and of the reference around the nodes of the balance field."""
        prepared = prepare_reference(reference, self.shape, self._sensor.name)
        nodes = TileNodes.empty(prepared, cells)
        if not nodes.skipped:
            mixed = dilate(self._other_ground, self._reach_px)
            for name, clear in sorted(self._clear.items()):
                whole = (clear != NODATA).all(axis=0) & ~mixed
                nodes.sums[name] = node_sums(clear, whole, prepared, cells)
        return nodes


def tile_cells(frame: Grid) -> int:
    """Cells of the balance field along a side of every tile of a grid.

    >>> from geoquarry.schemas.grid import grid
    >>> tile_cells(grid("webmercator-30m-1024"))
    16
    """
    overview = frame.tile_size // overview_step(frame.shape)
    return cells_along(frame.tile_size, frame.resolution_m, overview)
