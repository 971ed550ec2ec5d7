"""One smooth field of gains over all tiles of a job, and each tile's window of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import UsageError
from geoquarry.udfs.balance_colour import METHODS, gains, lacking, reference_bands
from geoquarry.udfs.balance_reference import COUNTS
from geoquarry.udfs.balance_sums import Harmony, NodeSums, TileNodes, combined
from geoquarry.udfs.spread import PAD, spread

LEAST_COVER = 0.3
"""A node counts when at least this share of its box was seen."""
LEAST_NODES = 4
"""Fewer nodes that count on a tile and its neighbours are too little overlap (or half of what a
tile has, where it has less than twice as many)."""
DECIMALS = 6
"""Gains are rounded so far before they meet a pixel: last bits differ between platforms."""

Key = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """The field on one tile.

    Attributes
    ----------
    skipped : str
        Why there is none; empty when `values` are there.
    values : float32, shape (group, n + 3, n + 3), or None
        Gains at nodes -1 ... n + 1.
    nodes : int
        Nodes of the tile that count.
    left_out : int
        How often a granule was left out of a node, see `balance_sums.combined`.
    """

    skipped: str = ""
    values: NDArray[np.float32] | None = None
    nodes: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Field:
    """Windows by (tile_x, tile_y), and what the whole field is like."""

    windows: Mapping[Key, Window]
    figures: dict[str, Any] = field(default_factory=dict)

    def window(self, tile_x: int, tile_y: int) -> Window:
        """Of one tile; one that was not there when the field was solved is skipped."""
        return self.windows.get((tile_x, tile_y), Window("not part of the balance field"))


def solve_one(
    nodes: TileNodes,
    method: str,
    sensor_name: str,
    cells: int,
    harmony: Harmony | None = None,
    key: Key = (0, 0),
) -> Window:
    """The field of a single tile: with its true key, bit by bit that of a job of one tile."""
    return solve_field({key: nodes}, method, sensor_name, cells, harmony).window(*key)


def solve_field(
    tiles: Mapping[Key, TileNodes] | Iterable[tuple[Key, TileNodes]],
    method: str,
    sensor_name: str,
    cells: int,
    harmony: Harmony | None = None,
) -> Field:
    """From sums at nodes to one smooth field.

    Tiles that touch, if only at a corner, share one field; what is apart is apart: a group of
    tiles is solved by itself, and nothing elsewhere changes it. Memory: one set of sums per tile
    (40 kB for 16 x 16 cells and nine bands) however many granules it has, if `tiles` yields them
    one by one, and 200 bytes per node of the box around the largest group.

    Parameters
    ----------
    tiles : mapping, or iterable of pairs
        (tile_x, tile_y) -> sums. Any order gives the same bits.
    method : {"tasseled_cap", "histogram", "mkl", "none"}
        See `balance_colour.gains`.
    sensor_name : str
    cells : int
        Along a side of every tile.
    harmony : mapping, optional
        Granule id -> gain and offset per band, applied to the sums first.

    Returns
    -------
    field : Field
        A window for every tile given, or why it has none.

    Raises
    ------
    UsageError
        No such method.
    """
    if method not in METHODS:
        raise UsageError(f"No balance {method!r}. Choose one of: {', '.join(METHODS)}.")
    missing = "not asked for" if method == "none" else lacking(method, sensor_name)
    windows: dict[Key, Window] = {}
    sums: dict[Key, _Tile] = {}
    for key, nodes in tiles.items() if isinstance(tiles, Mapping) else tiles:
        why = missing or nodes.skipped
        if why:
            windows[key] = Window(why)
            continue
        total, left_out = combined(nodes, harmony)
        if total is None:
            windows[key] = Window("too little overlap with the reference, no granule")
        else:
            sums[key] = _Tile(total, nodes.area, left_out)
    for group in _touching(sums):
        windows |= _solve(group, method, sensor_name, cells)
    return Field(windows, _figures(windows, sensor_name))


@dataclass(frozen=True)
class _Tile:
    sums: NodeSums
    area: NDArray[np.int64]
    left_out: int


def _touching(tiles: Mapping[Key, _Tile]) -> Iterator[dict[Key, _Tile]]:
    """Groups of tiles that touch, if only at a corner."""
    left = set(tiles)
    for first in sorted(tiles):
        if first not in left:
            continue
        left.discard(first)
        group, border = [first], [first]
        while border:
            x, y = border.pop()
            for near in _with_neighbours(x, y):
                if near in left:
                    left.discard(near)
                    group.append(near)
                    border.append(near)
        yield {key: tiles[key] for key in sorted(group)}


def _with_neighbours(x: int, y: int) -> list[Key]:
    return [(x + dx, y + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def _solve(tiles: dict[Key, _Tile], method: str, sensor_name: str, cells: int) -> dict[Key, Window]:
    """One group of tiles that touch."""
    low_x, low_y = (min(key[axis] for key in tiles) for axis in (0, 1))
    high_x, high_y = (max(key[axis] for key in tiles) for axis in (0, 1))
    # The box begins at a multiple of PAD, so that where it begins changes no bit.
    origin = ((low_y * cells - 1) // PAD * PAD, (low_x * cells - 1) // PAD * PAD)
    shape = ((high_y + 1) * cells + 2 - origin[0], (high_x + 1) * cells + 2 - origin[1])
    place = {
        (x, y): (
            slice(y * cells - origin[0], (y + 1) * cells + 1 - origin[0]),
            slice(x * cells - origin[1], (x + 1) * cells + 1 - origin[1]),
        )
        for x, y in tiles
    }
    number = np.full(shape, -1, np.int64)
    for there in place.values():
        number[there] = 0
    taken = number == 0
    number[taken] = np.arange(int(taken.sum()))
    some = next(iter(tiles.values()))
    bands = len(some.sums.own)
    total = np.zeros((len(some.sums.stack()), int(taken.sum())), np.int64)
    area = np.zeros(total.shape[1], np.int64)
    for key, tile in tiles.items():
        mine = number[place[key]].ravel()
        total[:, mine] += tile.sums.stack().reshape(len(total), -1)
        area[mine] += tile.area.ravel()
    pixels = np.minimum(total[0], area)
    used = (pixels > 0) & (pixels >= LEAST_COVER * area)
    own, target = np.split(total[1:, used] / (COUNTS * total[0, used]), [bands])
    found, bright = gains(method, own, target, sensor_name)
    used[used] = bright
    weights = np.zeros(shape)
    weights[taken] = np.where(used, pixels, 0) / area.max()
    counted = np.zeros(shape, bool)
    counted[taken] = used
    enough = {
        key: _enough(counted, there, cells, tiles[key].left_out) for key, there in place.items()
    }
    if all(window.skipped for window in enough.values()):
        return enough
    values = np.zeros((len(found), *shape))
    values[:, counted] = found[:, bright]
    smooth = np.round(spread(values, weights), DECIMALS).astype(np.float32)
    for key, window in enough.items():
        if not window.skipped:
            rows, columns = (slice(part.start - 1, part.stop + 1) for part in place[key])
            enough[key] = Window("", smooth[:, rows, columns].copy(), window.nodes, window.left_out)
    return enough


def _enough(
    counted: NDArray[np.bool_], there: tuple[slice, slice], cells: int, left_out: int
) -> Window:
    """Whether there is ground to compare on a tile or next to it; without values yet.

    A tile of which little was seen takes the field that its neighbours have: else it would end
    at their common edge.
    """
    near = tuple(slice(max(part.start - cells, 0), part.stop + cells) for part in there)
    least = min(LEAST_NODES, (cells + 1) ** 2 // 2)
    nodes, why = int(counted[there].sum()), ""
    if counted[near].sum() < least:
        why = (
            "too little overlap with the reference, or no ground bright enough: "
            f"{nodes} of {(cells + 1) ** 2} nodes"
        )
    return Window(why, None, nodes, left_out)


def _figures(windows: Mapping[Key, Window], sensor_name: str) -> dict[str, Any]:
    done = [window for _, window in sorted(windows.items()) if window.values is not None]
    table = reference_bands(sensor_name)
    figures: dict[str, Any] = {
        "tiles": len(done),
        "skipped": len(windows) - len(done),
        "nodes": sum(window.nodes for window in done),
        "left_out": sum(window.left_out for window in done),
    }
    if done and table is not None:
        everything = np.stack([w.values[:, 1:-1, 1:-1] for w in done if w.values is not None])
        figures["gain"] = {
            name: [
                round(float(g), 4)
                for g in np.quantile(everything[:, i].astype(np.float64), (0.0, 0.5, 1.0))
            ]
            for i, name in enumerate(table.names)
        }
    return figures
