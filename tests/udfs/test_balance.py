"""Balancing from pixels to pixels: right colours, no invented spectra, no edges, no nodata."""

import numpy as np
import pytest
from scipy import ndimage

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.balance import BALANCES, Balance
from geoquarry.udfs.balance_colour import colour_transfer_mkl, reference_bands, tasseled_cap
from geoquarry.udfs.balance_field import solve_one
from geoquarry.udfs.balance_reference import prepare_reference
from geoquarry.udfs.balance_sums import TileNodes, cells_along, node_sums

SENSOR = "aster_l1t"
METHODS = [name for name in BALANCES if name != "none"]
SIZE = 512
EVERYWHERE = slice(0, SIZE)


def smooth(rng, shape, sigma):
    field = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return field / field.std()


def scene(seed=0, size=SIZE):
    """Ground with large patterns and local spectral variety: float32 (band, y, x)."""
    rng = np.random.default_rng(seed)
    brightness = 0.25 + 0.05 * smooth(rng, (size, size), 30)
    bands = [brightness * (1 + 0.06 * smooth(rng, (size, size), 4)) for _ in range(9)]
    return np.clip(bands, 0.05, 0.8).astype(np.float32)


def seen_by_reference(ground, size=256):
    """What the reference would give: int16 (7, size, size), bands by the table."""
    step = ground.shape[1] // size
    means = ground.reshape(9, size, step, size, step).mean(axis=(2, 4))
    table = reference_bands(SENSOR)
    out = np.full((7, size, size), 3000, np.int16)
    for place, bands in zip(table.reference, table.groups, strict=True):
        out[place] = np.rint(1e4 * means[list(bands)].mean(axis=0))
    return out


def balanced(granules, reference, method="tasseled_cap", out=None):
    """Balance `out` (or the first granule) with what the granules say; NaN is not observed."""
    side = SIZE // 4
    prepared = prepare_reference(reference, (side, side), SENSOR)
    cells = cells_along(SIZE, 30.0, side)
    nodes = TileNodes.empty(prepared, cells)
    for place, granule in enumerate(granules):
        means = granule.reshape(9, side, 4, side, 4).mean(axis=(2, 4))
        good = np.isfinite(means).all(axis=0)
        counts = np.rint(np.where(good, means, 7.7) * 1e4).astype(np.int32)
        nodes.sums[f"g{place}"] = node_sums(counts, good, prepared, cells)
    window = solve_one(nodes, method, SENSOR, cells)
    out = (granules[0] if out is None else out).copy()
    if window.skipped:
        return Balance(skipped=window.skipped), out
    found = Balance.from_window(window.values, (SIZE, SIZE), SENSOR)
    found.apply(out)
    return found, out


@pytest.mark.parametrize("method", METHODS)
def test_grey_under_a_grey_reference_stays_grey(method):
    """Literally swapping the two sensors' components would turn grey green."""
    grey = np.full((9, SIZE, SIZE), 0.3, np.float32)
    found, out = balanced([grey], np.full((7, 256, 256), 3000, np.int16), method)
    assert not found.skipped
    np.testing.assert_allclose(out, 0.3, atol=0.001)


@pytest.mark.parametrize("method", METHODS)
def test_ratios_inside_a_group_survive_a_coloured_reference(method):
    ground = scene()
    x = np.linspace(-1, 1, SIZE)
    colour = np.stack([1.3 + 0.2 * (band % 3 - 1) * np.sin(3 * x) for band in range(9)])
    _, out = balanced([ground], seen_by_reference(ground * colour[:, None, :]), method)
    assert np.abs(out / ground - 1).max() > 0.2
    for a, b in ((4, 5), (8, 7)):
        np.testing.assert_allclose(out[a] / out[b], ground[a] / ground[b], rtol=0.001)


def test_a_perfect_mosaic_is_left_alone():
    ground = scene()
    for method in METHODS:
        _, out = balanced([ground], seen_by_reference(ground), method)
        np.testing.assert_allclose(out, ground, rtol=0.004, err_msg=method)


def test_a_veil_over_half_the_tile_is_taken_off():
    ground = scene()
    veiled = ground * np.linspace(1.0, 1.25, SIZE, dtype=np.float32)
    _, out = balanced([veiled], seen_by_reference(ground))
    before, after = (np.abs(x / ground - 1).mean() for x in (veiled, out))
    assert after < 0.25 * before


@pytest.mark.parametrize("method", METHODS)
def test_a_granule_full_of_missed_cloud_changes_nothing(method):
    ground = scene()
    reference = seen_by_reference(1.1 * ground)
    clouds = ground.copy()
    clouds[:, 100:400, 50:300] = 0.7
    clear, _ = balanced([ground, ground, ground], reference, method)
    cloudy, _ = balanced([ground, ground, ground, clouds], reference, method)
    for group in range(5):
        difference = clear.gains.rows(group, EVERYWHERE) - cloudy.gains.rows(group, EVERYWHERE)
        assert np.abs(difference).max() < 0.005


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_observed_is_in_no_statistic(method):
    ground = scene()
    reference = seen_by_reference(1.1 * ground)
    ground[:, 100:180, 60:150] = np.nan
    reference[3, :, 120:128] = -32768
    other = reference.copy()
    other[:3, :, 120:128] = 15000
    first, out = balanced([ground], reference, method)
    second, _ = balanced([ground], other, method)
    assert np.isnan(out[:, 100:180, 60:150]).all()
    assert np.isfinite(out).sum() == np.isfinite(ground).sum()
    for group in range(5):
        np.testing.assert_array_equal(
            first.gains.rows(group, EVERYWHERE), second.gains.rows(group, EVERYWHERE)
        )


@pytest.mark.parametrize("method", METHODS)
def test_gains_have_no_edges(method):
    ground = scene()
    rng = np.random.default_rng(4)
    noisy = seen_by_reference(ground) + rng.integers(-800, 800, (7, 256, 256)).astype(np.int16)
    found, _ = balanced([ground], noisy, method)
    for group in range(5):
        gain = found.gains.rows(group, EVERYWHERE).astype(np.float64)
        reach = np.ptp(gain)
        for axis in (0, 1):
            assert np.abs(np.diff(gain, axis=axis)).max() < 0.02 * reach
            assert np.abs(np.diff(gain, n=2, axis=axis)).max() < 0.001 * reach + 3e-7


@pytest.mark.parametrize(
    ("reference", "says"),
    [(None, "no reference data"), (np.full((7, 256, 256), -32768, np.int16), "too little overlap")],
)
def test_without_a_reference_nothing_changes(reference, says):
    ground = scene()
    found, out = balanced([ground], reference)
    assert says in found.skipped
    found.apply(out)
    np.testing.assert_array_equal(out, ground)


def test_deep_water_everywhere_is_no_ground_to_compare():
    dark = np.full((9, SIZE, SIZE), 0.002, np.float32)
    found, _ = balanced([dark], np.full((7, 256, 256), 20, np.int16))
    assert "bright enough" in found.skipped


def test_blocks_of_rows_get_the_gains_of_their_place():
    ground = scene()
    found, whole = balanced([ground], seen_by_reference(1.2 * ground), "tasseled_cap")
    parts = ground.copy()
    for row in range(0, SIZE, 48):
        found.apply(parts[:, row : row + 48], row)
    np.testing.assert_array_equal(parts, whole)
    assert found.figures["gain"]["swir2"][1] == pytest.approx(1.18, abs=0.03)


def test_a_window_that_does_not_fit_is_refused():
    flat = Balance.from_window([1.25] * (5 * 7 * 7), (64, 64), SENSOR)
    np.testing.assert_allclose(flat.gains.rows(4, slice(0, 9)), 1.25, rtol=3e-7)
    for window, name, says in (
        ([1.0] * 99, SENSOR, "99 values"),
        ([0.0] * (5 * 49), SENSOR, "not positive"),
        ([1.0] * (5 * 49), "x", "no table of matched"),
    ):
        with pytest.raises(InputError, match=says):
            Balance.from_window(window, (64, 64), name)


def test_tables_cover_the_sensor_and_name_their_source():
    for table in ("matched", "tasseled_cap"):
        rows = read_rows(f"{SENSOR}_{table}")
        assert [row["band"] for row in rows] == sensor(SENSOR).names
        assert all(row["source"] for row in rows)
    transform = tasseled_cap(SENSOR)
    np.testing.assert_allclose(transform @ transform.T, np.eye(3), atol=0.01)
    theirs = read_rows("reference_tasseled_cap")
    rows = np.array(
        [[float(row[c]) for row in theirs] for c in ("brightness", "greenness", "wetness")]
    )
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=0.015)
    # Why components cannot be swapped: grey of 0.3 is green to one and brown to the other.
    assert 0.3 * transform[1].sum() == pytest.approx(0.19, abs=0.005)
    assert 0.3 * rows[1].sum() == pytest.approx(-0.12, abs=0.005)


def test_mkl_equals_the_reference(golden):
    with np.load(golden / "mkl_s256_north.npz") as arrays:
        source, target = arrays["in_x0"], arrays["in_x1"]
        moved, t = colour_transfer_mkl(source, target)
        np.testing.assert_allclose(t, arrays["out_t"], rtol=1e-7)
        np.testing.assert_allclose(moved, arrays["out_y"], rtol=1e-7)
        one, _ = colour_transfer_mkl(source[:, :1], target[:, :1])
        np.testing.assert_allclose(one, arrays["out_onechannel"], rtol=1e-7)


def test_mkl_gives_the_target_its_mean_and_covariance():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(500, 3)), rng.normal(size=(400, 3)) @ rng.random((3, 3)) + 2
    moved, t = colour_transfer_mkl(source, target)
    np.testing.assert_allclose(moved.mean(axis=0), target.mean(axis=0))
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(t, t.T, atol=1e-12)
