"""Balancing: right colours, no invented spectra, no edges, and nothing from nodata."""

import numpy as np
import pytest
from scipy import ndimage

from geoquarry.schemas import flags as f
from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.balance import (
    colour_transfer_mkl,
    fit,
    reference_bands,
    tasseled_cap,
)
from geoquarry.udfs.balance_cells import collect, edges, spread

SENSOR = "aster_l1t"
METHODS = ["tasseled_cap", "histogram"]
SIZE = 512


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
    for _, bands in table.groups:
        out[table.reference[bands[0]]] = np.rint(1e4 * means[list(bands)].mean(axis=0))
    return out


def balanced(ground, flags=None, reference=None, method="tasseled_cap", pixel_m=25.0):
    flags = np.zeros(ground.shape[1:], np.uint16) if flags is None else flags
    found = fit(ground, flags, reference, method=method, sensor_name=SENSOR, pixel_m=pixel_m)
    out = ground.copy()
    found.apply(out)
    return found, out


@pytest.mark.parametrize("method", METHODS)
def test_grey_under_a_grey_reference_stays_grey(method):
    """Literally swapping the two sensors' components would turn grey green."""
    grey = np.full((9, SIZE, SIZE), 0.3, np.float32)
    found, out = balanced(grey, reference=np.full((7, 256, 256), 3000, np.int16), method=method)
    assert not found.skipped
    np.testing.assert_allclose(out, 0.3, atol=0.001)


@pytest.mark.parametrize("method", METHODS)
def test_ratios_inside_a_group_survive(method):
    ground = scene()
    reference = seen_by_reference(1.3 * ground)
    _, out = balanced(ground, reference=reference, method=method)
    assert np.abs(out / ground - 1).max() > 0.1
    for a, b in ((4, 5), (8, 7)):
        np.testing.assert_allclose(out[a] / out[b], ground[a] / ground[b], rtol=0.001)


@pytest.mark.parametrize("method", METHODS)
def test_a_veil_over_half_the_tile_is_taken_off(method):
    ground = scene()
    veiled = ground.copy()
    ramp = np.linspace(1.0, 1.25, SIZE, dtype=np.float32)
    # The same colour as the ground: what the transform's three components can express.
    veiled *= ramp[None, None, :] if method == "tasseled_cap" else np.float32(1.2)
    _, out = balanced(veiled, reference=seen_by_reference(ground), method=method)
    before, after = (np.abs(x / ground - 1)[:4].mean() for x in (veiled, out))
    assert after < 0.5 * before


def test_a_perfect_mosaic_is_left_alone():
    ground = scene()
    found, out = balanced(ground, reference=seen_by_reference(ground))
    np.testing.assert_allclose(out, ground, rtol=0.002)
    assert found.figures["cells"] == 144


@pytest.mark.parametrize("method", METHODS)
def test_nodata_clouds_and_shadows_are_in_no_statistic(method):
    ground = scene()
    reference = seen_by_reference(1.1 * ground)
    hidden = ground.copy()
    flags = np.zeros((SIZE, SIZE), np.uint16)
    flags[100:180, 60:150], flags[200:260, 300:330] = f.CLOUD, f.SHADOW
    hidden[:, 100:180, 60:150], hidden[:, 200:260, 300:330] = 0.9, 0.01
    hidden[:, 400:, :200] = np.nan
    nothing = ground.copy()
    lost = (flags != 0) | np.isnan(hidden[0])
    nothing[:, lost] = np.nan
    broken = reference.copy()
    broken[3, :, 120:128], reference[:, :, 120:128] = -32768, -32768
    first = balanced(hidden, flags, broken, method)[0]
    second = balanced(nothing, None, reference, method)[0]
    assert not first.skipped
    for group in range(5):
        everything = slice(0, SIZE)
        np.testing.assert_array_equal(
            first.gains.rows(group, everything), second.gains.rows(group, everything)
        )


@pytest.mark.parametrize("method", METHODS)
def test_gains_have_no_edges(method):
    ground = scene()
    rng = np.random.default_rng(4)
    noisy = seen_by_reference(ground) + rng.integers(-800, 800, (7, 256, 256)).astype(np.int16)
    found, _ = balanced(ground, reference=noisy, method=method)
    for group in range(5):
        gain = found.gains.rows(group, slice(0, SIZE))
        reach = gain.max() - gain.min()
        for axis in (0, 1):
            assert np.abs(np.diff(gain, axis=axis)).max() < 0.05 * reach
            assert np.abs(np.diff(gain, n=2, axis=axis)).max() < 0.005 * reach


def test_the_reference_may_have_any_size():
    ground = np.kron(scene(size=128), np.ones((1, 4, 4), np.float32))
    fine = np.kron(1.2 * ground, np.ones((1, 2, 2), np.float32))
    gains = [
        balanced(ground, reference=seen_by_reference(image, size))[0].gains.rows(1, slice(0, SIZE))
        for image, size in ((1.2 * ground, 64), (1.2 * ground, 512), (fine, 1024))
    ]
    np.testing.assert_allclose(gains[1], gains[0], atol=0.02)
    np.testing.assert_allclose(gains[2], gains[1], atol=0.002)


@pytest.mark.parametrize(
    ("reference", "says"),
    [(None, "no reference data"), (np.full((7, 256, 256), -32768, np.int16), "too little overlap")],
)
def test_without_a_reference_nothing_changes(reference, says):
    ground = scene()
    found, out = balanced(ground, reference=reference)
    assert says in found.skipped
    np.testing.assert_array_equal(out, ground)


def test_deep_water_everywhere_is_no_ground_to_compare():
    dark = np.full((9, SIZE, SIZE), 0.002, np.float32)
    found, _ = balanced(dark, reference=np.full((7, 256, 256), 20, np.int16))
    assert "bright enough" in found.skipped


def test_unknown_methods_and_sensors_without_tables():
    ground, flags = np.full((9, 8, 8), 0.3, np.float32), np.zeros((8, 8), np.uint16)
    reference = np.full((7, 8, 8), 3000, np.int16)
    with pytest.raises(UsageError, match="tasseled_cap, histogram, none"):
        fit(ground, flags, reference, method="magic", sensor_name=SENSOR, pixel_m=25)
    found = fit(ground, flags, reference, method="tasseled_cap", sensor_name="x", pixel_m=25)
    assert found.skipped == "no coefficients for x"


def test_sums_do_not_depend_on_the_block_size(monkeypatch):
    from geoquarry.udfs import balance_cells

    ground, flags = scene(size=96), np.zeros((96, 96), np.uint16)
    reference = seen_by_reference(ground, 32)
    expected = collect(ground, flags, reference, [0, 1])
    monkeypatch.setattr(balance_cells, "BLOCK_PIXELS", 100)
    got = collect(ground, flags, reference, [0, 1])
    for name in ("mosaic", "reference", "pixels", "area"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    np.testing.assert_allclose(
        got.means(got.pixels > 0)[0].reshape(9, 32, 32),
        ground.reshape(9, 32, 3, 32, 3).mean(axis=(2, 4)),
        atol=1e-5,
    )


def test_spread_fills_gaps_and_keeps_constants():
    values, weights = np.full((1, 6, 6), 1.25), np.zeros((6, 6))
    weights[0, 0] = 1
    np.testing.assert_allclose(spread(values, weights), 1.25, rtol=1e-12)
    assert edges(4, 4).tolist() == [0, 1, 2, 3, 4]


def test_tables_cover_the_sensor_and_name_their_source():
    for table in ("matched", "tasseled_cap"):
        rows = read_rows(f"{SENSOR}_{table}")
        assert [row["band"] for row in rows] == sensor(SENSOR).names
        assert all(row["source"] for row in rows)
    transform = tasseled_cap(SENSOR)
    np.testing.assert_allclose(transform @ transform.T, np.eye(3), atol=0.01)


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
