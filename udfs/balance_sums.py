"""Sums of a granule and of the reference over the same pixels, around the nodes of a tile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.balance_reference import COUNTS, Reference

CELL_M = 1900.0
"""Least size of a cell in metres of the map: on the ground over 1 km up to 58 degrees."""
VOTE = 0.1
"""A granule that sees less of a node's box has no say in what is usual there."""
MADS, LEAST_OFF = 3.0, 0.05
"""Off by more than both is not ground: 3 median deviations, and 5 % (ours, not tuned)."""
LEAST_VOTES = 3

Harmony = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Granule id -> gain and offset per band (reflectance' = gain x reflectance + offset)."""


def cells_along(tile_size: int, resolution_m: float, overview_size: int) -> int:
    """Number of cells along a side of a tile; it has one node more.

    A function of the grid alone, so that all tiles agree. A cell is at least two pixels of the
    overview wide: each of its nodes takes half of it.

    >>> cells_along(1024, 30, 256), cells_along(256, 30, 64), cells_along(96, 30, 24)
    (16, 4, 1)
    """
    return max(1, min(int(tile_size * resolution_m / CELL_M), overview_size // 2))


@dataclass(frozen=True)
class NodeSums:
    """Sums around each node of a tile: integers, so merging gives the same in any order.

    Attributes
    ----------
    pixels : int64, shape (n + 1, n + 1)
        Pixels of the overview summed.
    own : int64, shape (band, n + 1, n + 1)
        Reflectance x 1e4.
    reference : int64, shape (group, n + 1, n + 1)
        The reference over the very same pixels, x 1e4.
    """

    pixels: NDArray[np.int64]
    own: NDArray[np.int64]
    reference: NDArray[np.int64]

    def stack(self) -> NDArray[np.int64]:
        """One array (1 + band + group, n + 1, n + 1), for storing."""
        return np.concatenate([self.pixels[None], self.own, self.reference])

    @classmethod
    def from_stack(cls, stack: NDArray[np.int64], bands: int) -> "NodeSums":
        """What `stack` gave, for a sensor with so many bands."""
        return cls(stack[0], stack[1 : 1 + bands], stack[1 + bands :])

    def harmonised(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> "NodeSums":
        """As if every pixel had been harmonised: gain x reflectance + offset, per band.

        Whole counts again, so that merging stays exact.
        """
        own = gain[:, None, None] * self.own + (COUNTS * offset)[:, None, None] * self.pixels
        return NodeSums(self.pixels, np.rint(own).astype(np.int64), self.reference)


@dataclass
class TileNodes:
    """All granules of one tile at its nodes.

    Attributes
    ----------
    area : int64, shape (n + 1, n + 1)
        Pixels of the tile's overview around each node.
    skipped : str
        Why nothing can be compared here: no reference, or no tables for the sensor.
    sums : dict of str to NodeSums
        By granule id.
    """

    area: NDArray[np.int64]
    skipped: str = ""
    sums: dict[str, NodeSums] = field(default_factory=dict)

    @classmethod
    def empty(cls, reference: Reference, cells: int) -> "TileNodes":
        """Without granules yet."""
        everywhere = np.ones(reference.valid.shape, np.int64)
        return cls(
            _around_nodes(everywhere[None], reference.valid.shape, cells)[0], reference.skipped
        )


def node_sums(
    counts: NDArray[np.signedinteger[Any]],
    good: NDArray[np.bool_],
    reference: Reference,
    cells: int,
    row0: int = 0,
    col0: int = 0,
) -> NodeSums:
    """Sums of one granule around the nodes of a tile.

    Parameters
    ----------
    counts : int16 or int32, shape (band, y, x)
        Overview of the granule, or a window of it: reflectance x 1e4.
    good : bool, shape (y, x)
        True = ground, known in all bands. Whatever `counts` holds elsewhere enters nothing. A
        granule that lacks bands cannot be compared: a transform needs whole spectra.
    reference : Reference
        Of the tile, from `prepare_reference`.
    cells : int
        Cells along a side, from `cells_along`.
    row0, col0 : int
        Place of the window in the tile's overview.
    """
    window = (slice(row0, row0 + good.shape[0]), slice(col0, col0 + good.shape[1]))
    both = good & reference.valid[window]
    stack = np.empty((1 + len(counts) + len(reference.counts), *good.shape), np.int64)
    stack[0] = both
    np.multiply(counts, both, out=stack[1 : 1 + len(counts)])
    np.multiply(reference.counts[:, window[0], window[1]], both, out=stack[1 + len(counts) :])
    sums = _around_nodes(stack, reference.valid.shape, cells, row0, col0)
    return NodeSums.from_stack(sums, len(counts))


def _around_nodes(
    stack: NDArray[np.int64], shape: tuple[int, int], cells: int, row0: int = 0, col0: int = 0
) -> NDArray[np.int64]:
    """Sums over the box of half a cell around each node, of the part inside the tile."""
    down = np.zeros((len(stack), cells + 1, stack.shape[2]), np.int64)
    for node, box in enumerate(_boxes(cells, shape[0], row0)):
        np.add.reduce(stack[:, box], axis=1, out=down[:, node])
    sums = np.zeros((len(stack), cells + 1, cells + 1), np.int64)
    for node, box in enumerate(_boxes(cells, shape[1], col0)):
        np.add.reduce(down[:, :, box], axis=2, out=sums[:, :, node])
    return sums


def _boxes(cells: int, length: int, start: int) -> list[slice]:
    """Pixels of a window that belong to each node: half a cell at the ends, a cell between.

    >>> _boxes(2, 8, 3)
    [slice(0, 0, None), slice(0, 3, None), slice(3, 5, None)]
    """
    halves = (np.arange(2 * cells + 1) * length + cells) // (2 * cells)
    edges = [max(edge - start, 0) for edge in (0, *halves[1::2].tolist(), length)]
    return [slice(first, last) for first, last in pairwise(edges)]


def combined(nodes: TileNodes, harmony: Harmony | None = None) -> tuple[NodeSums | None, int]:
    """Add up the granules of a tile, without those that cannot be right.

    At a node with three or more granules, one whose brightness against the reference is off the
    median of all is left out there: mostly cloud that no mask found.

    Parameters
    ----------
    nodes : TileNodes
    harmony : mapping, optional
        What phase 1 found for the granules; others stay as they are.

    Returns
    -------
    sums : NodeSums or None
        None where there is no granule.
    left_out : int
        How often a granule was left out of a node.
    """
    known = [
        nodes.sums[name].harmonised(*harmony[name])
        if harmony is not None and name in harmony
        else nodes.sums[name]
        for name in sorted(nodes.sums)
    ]
    if not known:
        return None, 0
    pixels = np.stack([one.pixels for one in known])
    own = np.stack([one.own.sum(axis=0) for one in known])
    reference = np.stack([one.reference.sum(axis=0) for one in known])
    seen = (pixels > 0) & (reference > 0)
    ratio = np.where(seen, own / np.where(seen, reference, 1), np.nan)
    votes = np.where(pixels >= VOTE * nodes.area, ratio, np.nan)
    enough = np.isfinite(votes).sum(axis=0) >= LEAST_VOTES
    votes[:, ~enough] = 0.0
    usual = np.nanmedian(votes, axis=0)
    deviation = np.nanmedian(np.abs(votes - usual), axis=0)
    off = np.abs(ratio - usual) > np.maximum(MADS * deviation, LEAST_OFF * np.abs(usual))
    keep = ~(off & enough)
    total = sum(one.stack() * keep[i] for i, one in enumerate(known))
    return NodeSums.from_stack(np.asarray(total), len(known[0].own)), int((~keep).sum())
