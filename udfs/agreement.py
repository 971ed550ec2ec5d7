"""What makes the granules of a tile agree with each other and with the reference.

Either the first phase of the job has said so already (columns beside the rows: gains and
offsets per granule, nodes of the balance field), or the tile says it about itself alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.balance import Balance
from geoquarry.udfs.balance_field import solve_one
from geoquarry.udfs.counts import Counts
from geoquarry.udfs.first_phase import FirstPhase, wants_nodes, wants_pairs
from geoquarry.udfs.harmonise import Harmony, solve
from geoquarry.udfs.overviews import tile_cells
from geoquarry.udfs.row_values import per_band
from geoquarry.udfs.tile_job import TileJob

GRANULE_COLUMNS = ("harmony_gain", "harmony_offset")
TILE_COLUMNS = ("balance_nodes", "balance_skipped")
Gains = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


class Agreement:
    """Take every row, then answer once.

    Parameters
    ----------
    job : TileJob

    Attributes
    ----------
    without_gain : int
        Rows that the first phase of the job has no gain for: it failed on them, or has not seen
        them. They stay as they are.
    """

    def __init__(self, job: TileJob) -> None:
        self._job, self._params = job, job.params
        self._sensor = sensor(job.sensor)
        frame = grid(job.grid)
        self._shape = frame.shape
        self._cells = tile_cells(frame)
        self._first: FirstPhase | None = None
        self._pairs_here = False
        self.without_gain = 0
        self._gains: Gains = {}
        self._field: dict[str, Any] | None = None
        self._harmony: Harmony | None = None

    def update(self, row: Mapping[str, Any], counts: Counts) -> None:
        """Take one row.

        Raises
        ------
        RowIssue
            What was said about it is damaged.
        """
        alone = unknown = False
        if wants_pairs(self._params):
            if GRANULE_COLUMNS[0] not in row:
                alone = self._pairs_here = True
            elif row[GRANULE_COLUMNS[0]] is None:
                unknown = True
            else:
                gain, offset = (
                    per_band(row, name, len(self._sensor.bands)) for name in GRANULE_COLUMNS
                )
                self._gains[counts.granule_id] = gain, offset
        if wants_nodes(self._params):
            if TILE_COLUMNS[0] not in row:
                alone = True
            else:
                self._field = {name: row[name] for name in TILE_COLUMNS}
        if alone:
            if self._first is None:
                self._first = FirstPhase(self._job)
            self._first.add(row, counts)
        self.without_gain += unknown

    def gains(self) -> Gains:
        """Gain and offset by granule id; granules without any are left as they are."""
        if self._first is not None and self._pairs_here:
            pairs = self._first.pairs()
            assert pairs is not None
            self._harmony = solve(pairs, centres_um(self._sensor))
            for place, name in enumerate(self._harmony.granule_ids):
                self._gains[name] = self._harmony.gain[place], self._harmony.offset[place]
        return self._gains

    def balance(self, reference: NDArray[np.int16] | None) -> Balance:
        """What brings the mosaic to its reference; after `gains`."""
        if not wants_nodes(self._params):
            return Balance(skipped="not asked for")
        if self._field is not None:
            window, skipped = (self._field[name] for name in TILE_COLUMNS)
            if window is None:
                return Balance(skipped=skipped or "this tile is not part of the balance field")
            return Balance.from_window(window, self._shape, self._sensor.name)
        assert self._first is not None
        nodes = self._first.nodes(reference)
        self._first = None
        assert nodes is not None
        method = self._params["balance"]
        place = self._job.tile_x, self._job.tile_y
        found = solve_one(nodes, method, self._sensor.name, self._cells, self._gains, key=place)
        if found.values is None:
            return Balance(skipped=found.skipped)
        balance = Balance.from_window(found.values, self._shape, self._sensor.name)
        balance.figures |= {"nodes": found.nodes, "left_out": found.left_out}
        return balance

    @property
    def alone(self) -> bool:
        """Whether granules of this tile were compared with each other here only."""
        return self._harmony is not None and len(self._harmony.granule_ids) > 1

    def figures(self) -> dict[str, Any]:
        """JSON-safe: gains and offsets of the granules used."""
        if not wants_pairs(self._params):
            return {}
        names = sorted(self._gains)
        return {
            "scope": "tile" if self._pairs_here else "job",
            "gain": {name: [round(float(x), 5) for x in self._gains[name][0]] for name in names},
            "offset": {name: [round(float(x), 6) for x in self._gains[name][1]] for name in names},
        }


def centres_um(facts: Sensor) -> list[float]:
    """Middle of each band.

    >>> from geoquarry.schemas.sensor import sensor
    >>> centres_um(sensor("aster_l1t"))[:2]
    [0.56, 0.66]
    """
    return [sum(band.wavelength_um) / 2 for band in facts.bands]
