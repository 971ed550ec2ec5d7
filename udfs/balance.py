"""Bring a mosaic to the colours of a reference, without inventing spectra: gains, laid on smoothly.

The way of a gain: `balance_sums` adds up each granule and the reference over the same pixels, at
nodes on an absolute lattice; `balance_colour` turns the sums of a node into gains;
`balance_field` makes one smooth field of all nodes and cuts a window per tile; here the window
becomes a surface and meets the pixels. Gains, never offsets; bands of one group share theirs, so
ratios between them stay what the ground gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.balance_colour import METHODS, reference_bands
from geoquarry.udfs.balance_surface import RING, Surface
from geoquarry.udfs.blocks import row_blocks

BALANCES = METHODS


@dataclass
class Balance:
    """How the mosaic of one tile is to be changed.

    Attributes
    ----------
    skipped : str
        Why nothing can be done; empty when `gains` are there.
    gains : Surface or None
        One field per group.
    groups : tuple of tuple of int
        Bands of each field.
    figures : dict
        JSON-safe: least, median and largest gain at the nodes, per group.
    """

    skipped: str = ""
    gains: Surface | None = None
    groups: tuple[tuple[int, ...], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_window(
        cls,
        window: NDArray[np.float32] | Sequence[float],
        shape: tuple[int, int],
        sensor_name: str,
    ) -> "Balance":
        """From the gains at a tile's nodes, as `balance_field` gives them.

        Parameters
        ----------
        window : float32, shape (group, n + 3, n + 3), or its values in that order
            Nodes -1 ... n + 1 of a tile of n x n cells.
        shape : (int, int)
            Height and width of the tile, in pixels.
        sensor_name : str
            Whose groups.

        Raises
        ------
        InputError
            The window does not fit the sensor, or a gain is not a positive number.
        """
        table = reference_bands(sensor_name)
        if table is None:
            raise InputError(
                f"A balance field was given for {sensor_name}, which has no table of matched "
                "bands: solve the field anew, or leave balancing out."
            )
        nodes = np.asarray(window, np.float32)
        side = round((nodes.size / len(table.groups)) ** 0.5)
        if nodes.size != len(table.groups) * side * side or side <= RING:
            raise InputError(
                f"A balance field of {nodes.size} values does not fit {sensor_name} with "
                f"{len(table.groups)} groups of bands: solve the field anew."
            )
        if not ((nodes > 0) & np.isfinite(nodes)).all():
            raise InputError("A balance field holds gains that are not positive: solve it anew.")
        nodes = nodes.reshape(len(table.groups), side, side)
        gain = {
            name: [round(float(g), 4) for g in (nodes[i].min(), _median(nodes[i]), nodes[i].max())]
            for i, name in enumerate(table.names)
        }
        return cls(gains=Surface(nodes, shape), groups=table.groups, figures={"gain": gain})

    def apply(self, reflectance: NDArray[np.float32], row0: int = 0) -> None:
        """Multiply float32 (band, y, x) in place; NaN stays NaN.

        Parameters
        ----------
        reflectance : float32, shape (band, y, x)
            The tile, or whole rows of it.
        row0 : int
            Where in the tile its first row lies.
        """
        if self.gains is None:
            return
        for rows in row_blocks(*reflectance.shape[1:]):
            there = slice(rows.start + row0, rows.stop + row0)
            for number, bands in enumerate(self.groups):
                gain = self.gains.rows(number, there)
                for band in bands:
                    reflectance[band, rows] *= gain


def _median(values: NDArray[np.float32]) -> float:
    return float(np.median(values.astype(np.float64)))
