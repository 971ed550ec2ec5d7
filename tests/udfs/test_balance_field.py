"""One field over many tiles: shared nodes, any order, no edges, and reasons where there is none."""

import numpy as np
import pytest

from geoquarry.schemas.errors import UsageError
from geoquarry.udfs.balance_field import solve_field, solve_one
from geoquarry.udfs.balance_reference import prepare_reference
from geoquarry.udfs.balance_sums import TileNodes, node_sums
from geoquarry.udfs.balance_surface import Surface
from geoquarry.udfs.spread import spread

SENSOR = "aster_l1t"
CELLS = 8
SIDE = 128


def ground(x, y):
    """Counts at absolute overview pixels: the same place looks the same from any tile."""
    wave = np.sin(x / 37.0) + np.cos((x + 2 * y) / 53.0) + 0.3 * np.sin(x * y / 999.0)
    return np.stack([2500 + 300 * (1 + 0.1 * band) * wave for band in range(9)])


def a_tile(tile_x=0, tile_y=0, granules=("g1", "g2"), gain=None, good=None):
    """Nodes of a tile; the reference is `gain` times the ground."""
    x, y = np.meshgrid(np.arange(SIDE) + tile_x * SIDE, np.arange(SIDE) + tile_y * SIDE)
    own = ground(x, y)
    wanted = own if gain is None else own * gain(x, y)
    reference = np.full((7, SIDE, SIDE), 3000, np.int16)
    reference[[3, 0, 1, 5]] = np.rint(wanted[:4])
    reference[6] = np.rint(wanted[4:].mean(axis=0))
    prepared = prepare_reference(reference, (SIDE, SIDE), SENSOR)
    nodes = TileNodes.empty(prepared, CELLS)
    good = np.ones((SIDE, SIDE), bool) if good is None else good
    for name in granules:
        nodes.sums[name] = node_sums(np.rint(own).astype(np.int32), good, prepared, CELLS)
    return nodes


def wavy(x, y):
    return 1.1 + 0.1 * np.sin(x / 90.0) * np.cos(y / 70.0)


def block(gain=wavy):
    return {(x, y): a_tile(x, y, gain=gain) for x in (7, 8) for y in (-1, 0)}


@pytest.mark.parametrize("method", ["tasseled_cap", "histogram", "mkl"])
def test_neighbours_share_their_nodes_and_order_changes_no_bit(method):
    tiles = block()
    field = solve_field(tiles, method, SENSOR, CELLS)
    again = solve_field(list(tiles.items())[::-1], method, SENSOR, CELLS)
    window = {key: field.window(*key).values for key in tiles}
    for key in tiles:
        assert window[key].shape == (5, CELLS + 3, CELLS + 3)
        np.testing.assert_array_equal(window[key], again.window(*key).values)
    for y in (-1, 0):
        np.testing.assert_array_equal(window[7, y][:, :, -3:], window[8, y][:, :, :3])
    for x in (7, 8):
        np.testing.assert_array_equal(window[x, -1][:, -3:], window[x, 0][:, :3])
    assert field.figures["tiles"] == 4
    assert np.ptp(window[7, 0]) > 0.02


def test_the_surface_goes_on_over_the_edge_of_a_tile():
    field = solve_field(block(), "tasseled_cap", SENSOR, CELLS)
    left, right = (
        Surface(field.window(x, 0).values, (512, 512)).rows(2, slice(None)) for x in (7, 8)
    )
    both = np.concatenate([left, right], axis=1).astype(np.float64)
    step, bend = np.abs(np.diff(both, axis=1)), np.abs(np.diff(both, n=2, axis=1))
    assert step[:, 511].max() <= step[:, 400:620].max()
    assert bend[:, 510:512].max() < 1.5e-6  # last bits of float32 near 1
    assert bend[:, 510:512].max() <= bend.max()
    alone = Surface(solve_one(a_tile(8, 0), "tasseled_cap", SENSOR, CELLS).values, (512, 512))
    assert np.abs(alone.rows(2, slice(None))[:, 0] - left[:, -1]).max() > 0.01


def test_a_known_smooth_field_is_recovered():
    """Reference = ground x a smooth gain, the same in all bands.

    Three components cannot hold every colour: of a grey change they give 80-113 % band by band.
    """
    x = np.arange(SIDE)
    for method, tolerance in (("tasseled_cap", 0.04), ("histogram", 0.002), ("mkl", 0.002)):
        constant = method != "tasseled_cap"  # the others know one map for all places
        truth = (lambda x, y: 1.2 + 0 * x) if constant else wavy
        window = solve_one(a_tile(gain=truth), method, SENSOR, CELLS)
        found = np.stack(
            [Surface(window.values, (SIDE, SIDE)).rows(g, slice(None)) for g in range(5)]
        )
        error = found / truth(*np.meshgrid(x, x)) - 1
        assert np.abs(error).max() < tolerance, method


def test_tiles_apart_do_not_know_of_each_other():
    near, far = a_tile(0, 0, gain=wavy), a_tile(5, 0, gain=lambda x, y: 0.8 + 0 * x)
    together = solve_field({(5, 0): far, (0, 0): near}, "histogram", SENSOR, CELLS)
    for key, nodes in (((0, 0), near), ((5, 0), far)):
        alone = solve_field({key: nodes}, "histogram", SENSOR, CELLS).window(*key)
        np.testing.assert_array_equal(together.window(*key).values, alone.values)
    np.testing.assert_allclose(together.window(5, 0).values, 0.8, atol=0.002)


def test_a_tile_hardly_seen_takes_the_field_of_its_neighbour():
    corner = np.zeros((SIDE, SIDE), bool)
    corner[:, :2] = True
    tiles = {
        (0, 0): a_tile(gain=wavy),
        (1, 0): a_tile(1, 0, gain=wavy, granules=("g1",), good=corner),
    }
    field = solve_field(tiles, "tasseled_cap", SENSOR, CELLS)
    assert field.window(1, 0).nodes == 9  # those that both own
    np.testing.assert_array_equal(
        field.window(0, 0).values[:, :, -3:], field.window(1, 0).values[:, :, :3]
    )
    alone = solve_field({(1, 0): tiles[1, 0]}, "tasseled_cap", SENSOR, CELLS).window(1, 0)
    assert alone.values is None
    assert "too little overlap" in alone.skipped


def test_reasons_to_skip():
    none = TileNodes.empty(prepare_reference(None, (SIDE, SIDE), SENSOR), CELLS)
    tiles = {(0, 0): a_tile(), (1, 0): none, (9, 9): a_tile(granules=())}
    field = solve_field(tiles, "tasseled_cap", SENSOR, CELLS)
    assert field.window(0, 0).skipped == ""
    assert field.window(1, 0).skipped == "no reference data"
    assert "no granule" in field.window(9, 9).skipped
    assert "not part" in field.window(3, 3).skipped
    assert field.figures["skipped"] == 2
    assert solve_one(a_tile(), "none", SENSOR, CELLS).skipped == "not asked for"
    assert solve_one(a_tile(), "mkl", "x", CELLS).skipped == "no coefficients for x"
    dark = solve_one(a_tile(granules=()), "mkl", SENSOR, CELLS)
    assert dark.values is None
    with pytest.raises(UsageError, match="tasseled_cap, histogram, mkl, none"):
        solve_one(a_tile(), "magic", SENSOR, CELLS)


def test_spread_fills_gaps_keeps_constants_and_knows_no_box():
    values, weights = np.full((1, 64, 80), 1.25), np.zeros((64, 80))
    weights[0, 0] = 1
    np.testing.assert_allclose(spread(values, weights), 1.25, rtol=1e-9)
    assert np.isnan(spread(values, 0 * weights)).all()
    rng = np.random.default_rng(0)
    values, weights = rng.random((2, 32, 48)), (rng.random((32, 48)) > 0.7).astype(float)
    larger = spread(np.pad(values, ((0, 0), (16, 9), (32, 3))), np.pad(weights, ((16, 9), (32, 3))))
    np.testing.assert_allclose(larger[:, 16:-9, 32:-3], spread(values, weights), rtol=1e-12, atol=0)
