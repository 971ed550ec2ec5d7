"""Grids: names, bounds, and which tiles a box touches."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.schemas.errors import UnknownName
from geoquarry.schemas.grid import ALIASES, grid


def test_the_reference_grids(golden):
    """Bounds and tile lists of the public grid, except where an exact edge pulls in a neighbour
    and where the index runs one past the last tile (reference bug 7)."""
    cases = json.loads((golden / "grid.json").read_text())
    for name in ("res-30_tilesize-1024", "res-500_tilesize-256"):
        ours, theirs = grid(name), cases[name]
        assert ours.half_width_m == theirs["bounds"][2]
        for key, tile in theirs["tile"].items():
            x, y = (int(n) for n in key.strip("()").split(","))
            assert ours.bounds(x, y) == tuple(tile["bounds"])
            left, width, _, top, _, height = tile["geotransform"]
            assert ours.transform(x, y) == (width, 0.0, left, 0.0, height, top)
        compared = 0
        for case, box in theirs["bbox"].items():
            if case in ("exact_tile_edges", "nw_corner", "se_corner", "whole_grid"):
                continue
            left, bottom, right, top = box["bbox"]
            assert set(ours.tiles(left, bottom, right, top)) == {tuple(t) for t in box["tile_list"]}
            compared += 1
        assert compared >= 3


def test_an_exact_edge_touches_one_tile_only():
    ours = grid("webmercator-30m-1024")
    assert list(ours.tiles(*ours.bounds(100, 200))) == [(100, 200)]


@given(st.integers(0, 13_000), st.integers(0, 13_000))
def test_neighbours_share_their_edge_exactly(x, y):
    ours = grid("res-30_tilesize-96")
    _, bottom, right, top = ours.bounds(x, y)
    assert ours.bounds(x + 1, y)[0] == right
    assert ours.bounds(x, y + 1)[3] == bottom
    assert top - bottom == 96 * 30


@given(st.floats(-2e7, 2e7), st.floats(-2e7, 2e7))
def test_every_point_lies_in_exactly_one_tile(x, y):
    found = list(grid("modis-500m-256").tiles(x, y, x + 1e-3, y + 1e-3))
    assert 1 <= len(found) <= 4
    left, bottom, right, top = grid("modis-500m-256").bounds(*found[0])
    assert left <= x + 1e-3
    assert right >= x
    assert bottom <= y + 1e-3
    assert top >= y


@pytest.mark.parametrize(
    "name",
    [
        "",
        "res-0_tilesize-9",
        "res-30_tilesize-99999",
        "res-30_tilesize-9x",
        "../etc",
        "res-30_tilesize-٣",
    ],
)
def test_unknown_grids_are_refused_with_a_hint(name):
    with pytest.raises(UnknownName, match="res-<metres>_tilesize-<pixels>"):
        grid(name)


def test_the_middle_of_the_tile_grid_is_the_origin():
    for name in ALIASES:
        assert grid(name).half_width_m % (grid(name).resolution_m / 2) == 0
