"""Mosaics: the reference's numbers where it is right, and the same answer in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.udfs import blocks, ranking
from geoquarry.udfs.mosaic import MOSAICS, TIERS
from geoquarry.udfs.mosaic_base import TIER_OF_FLAGS
from geoquarry.udfs.ranking import median_of, network

SHAPE = (5, 4)
BANDS = 4
OPTIONAL = (2, 3)


def observations(count, seed, *, shape=SHAPE, ties=False):
    """Granules with holes, clouds, shadows, saturation, and bands that cannot be trusted."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        values = rng.uniform(-0.02, 0.6, (BANDS, *shape)).astype(np.float32)
        if ties:
            values = np.float32(0.25) * rng.integers(0, 3, values.shape).astype(np.float32) - 0.25
            values = (values * np.float32(-1)).astype(np.float32)  # makes -0.0 as well
        bits = np.zeros(shape, np.uint16)
        for bit in (f.CLOUD, f.SHADOW, f.SATURATED, f.SWIR_UNRELIABLE, f.SNOW, f.WATER):
            bits[rng.random(shape) < 0.25] |= bit
        bits[rng.random(shape) < 0.2] |= f.NOT_OBSERVED
        lost = rng.random(shape) < 0.1
        values[rng.integers(0, 2), lost] = np.nan
        values[3, (bits & f.SWIR_UNRELIABLE) != 0] = np.nan
        row0, col0 = (int(rng.integers(0, n)) for n in shape)
        out.append((f"g{number}", values[:, row0:, col0:], bits[row0:, col0:], row0, col0))
    return out


def run(name, granules, *, shape=SHAPE, **options):
    mosaic = MOSAICS[name](BANDS, shape, optional=OPTIONAL, **options)
    for granule in granules:
        mosaic.update(*granule)
    return mosaic.result()


def split(granules):
    """Every granule row by row, rows of all granules mixed."""
    pieces = []
    for name, values, bits, row0, col0 in granules:
        for row in range(values.shape[1]):
            pieces.append((name, values[:, row : row + 1], bits[row : row + 1], row0 + row, col0))
    return sorted(pieces, key=lambda piece: (piece[3], piece[0]), reverse=True)


def same_bits(a, b):
    for name in ("reflectance", "flags", "count", "tier"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.dtype == y.dtype
        # NaN equals NaN, but 0.0 differs from -0.0.
        np.testing.assert_array_equal(x, y)
        if x.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(x), np.signbit(np.where(np.isnan(y), x, y)))
    assert a.shares == b.shares


def slowly(name, granules, row, col):
    """One pixel by the definition: values per band, observations, tier."""
    seen = []
    for granule_id, values, bits, row0, col0 in granules:
        r, c = row - row0, col - col0
        if r < 0 or c < 0:
            continue
        spectrum, flags = values[:, r, c].copy(), int(bits[r, c])
        tier = int(TIER_OF_FLAGS[flags])
        needed = [0, 1] if flags & f.SWIR_UNRELIABLE else [0, 1, 2, 3]
        if tier == 255 or not np.isfinite(spectrum[needed]).all():
            continue
        if flags & f.SWIR_UNRELIABLE:
            spectrum[[2, 3]] = np.nan
        seen.append((tier, granule_id, spectrum))
    if not seen:
        return np.full(BANDS, np.nan), 0, 255
    best = min(tier for tier, _, _ in seen)
    used = [(granule_id, s) for tier, granule_id, s in seen if tier == best]
    stack = np.array([s for _, s in used])
    if name == "mean":
        return stack.astype(float).mean(axis=0), len(used), best
    if name == "median":
        return np.median(stack, axis=0), len(used), best
    weight = np.float32(0.001) if name == "min" else np.float32(0)
    ranked = sorted(used, key=lambda u: (u[1][0] + weight * u[1][1], u[0]))
    if name == "min" or len(ranked) == 1:
        return ranked[0][1], len(used), best
    second = ranked[1][1]
    w = 1.0 if second[0] >= 0.2 else min(max(1 - second[0] / 0.2, 0), 1)
    return w * ranked[0][1] + (1 - w) * second, len(used), best


@pytest.mark.parametrize("name", MOSAICS)
@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 7), seed=st.integers(0, 10**6), ties=st.booleans())
def test_every_pixel_follows_the_definition(name, count, seed, ties):
    granules = observations(count, seed, ties=ties)
    result = run(name, granules)
    for row in range(SHAPE[0]):
        for col in range(SHAPE[1]):
            values, used, tier = slowly(name, granules, row, col)
            np.testing.assert_allclose(result.reflectance[:, row, col], values, atol=1e-7)
            assert result.count[row, col] == used
            assert result.tier[row, col] == tier
            bits = int(result.flags[row, col])
            assert bool(bits & f.NOT_OBSERVED) == (used == 0)
            assert bool(bits & f.FEW_OBSERVATIONS) == (used == 1)
            assert bool(bits & f.FILLED) == (used > 0 and tier >= TIERS.index("shadow"))
            assert bool(bits & f.CLOUD) == (used > 0 and TIERS[tier].startswith("cloud"))


@pytest.mark.parametrize("name", MOSAICS)
@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 7), seed=st.integers(0, 10**6), ties=st.booleans(), data=st.data())
def test_order_and_batching_change_no_bit(name, count, seed, ties, data):
    granules = observations(count, seed, ties=ties)
    expected = run(name, granules)
    same_bits(expected, run(name, data.draw(st.permutations(granules))))
    same_bits(expected, run(name, split(granules)))


@pytest.mark.parametrize("name", MOSAICS)
def test_small_blocks_and_spilling_change_no_bit(name, monkeypatch, tmp_path):
    granules = observations(40, 3, shape=(23, 9))
    expected = run(name, granules, shape=(23, 9))
    monkeypatch.setattr(blocks, "BLOCK_PIXELS", 40)
    spilled = run(name, granules[::-1], shape=(23, 9), spill_dir=tmp_path, memory_limit=5000)
    same_bits(expected, spilled)
    assert not list(tmp_path.iterdir())


def test_the_median_really_spills(monkeypatch, tmp_path):
    mosaic = MOSAICS["median"](BANDS, SHAPE, spill_dir=tmp_path, memory_limit=0)
    mosaic.update(*observations(1, 1)[0])
    assert list(tmp_path.iterdir())
    mosaic.close()
    mosaic.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "array"), [
    ("min", "out_min"), ("mean", "out_mean"), ("deshadow", "out_deshadow"),
])  # fmt: skip
def test_numbers_of_the_reference_where_every_granule_sees_the_pixel(golden, name, array):
    """Elsewhere it is wrong: nodata 0 is averaged, or taken for the darkest ground."""
    with np.load(golden / "ac_s256_north.npz") as arrays:
        stack = np.stack([arrays[f"out_reflectance{i}"] for i in range(5)])
    with np.load(golden / "merge_s256_north.npz") as arrays:
        expected = arrays[array]
    mosaic = MOSAICS[name](9, (256, 256))
    for number in (3, 0, 4, 2, 1):
        values = stack[number].astype(np.float32)
        values[:, (stack[number] == 0).any(axis=0)] = np.nan
        mosaic.update(f"g{number}", values, np.zeros((256, 256), np.uint16))
    result = mosaic.result()
    everyone = (stack != 0).all(axis=(0, 1))
    assert everyone.mean() > 0.2
    assert (result.count[everyone] == 5).all()
    np.testing.assert_allclose(result.reflectance[:, everyone], expected[:, everyone], atol=1e-7)


def test_snow_and_water_need_a_majority_but_saturation_only_one():
    mosaics = {name: MOSAICS[name](2, (1, 2)) for name in ("mean", "median")}
    values = np.full((2, 1, 2), 0.25, np.float32)
    for number, bits in enumerate([[f.SNOW, f.SNOW], [f.SNOW, 0], [0, 0]]):
        for mosaic in mosaics.values():
            mosaic.update(f"g{number}", values, np.array([bits], np.uint16))
    for mosaic in mosaics.values():
        assert mosaic.result().flags.tolist() == [[f.SNOW, 0]]


def test_more_than_255_observations_are_counted_as_255():
    mosaic = MOSAICS["mean"](1, (1, 1), key_bands=(0, 0))
    for number in range(300):
        mosaic.update(f"{number}", np.full((1, 1, 1), 0.5, np.float32), np.zeros((1, 1), np.uint16))
    result = mosaic.result()
    assert result.count.tolist() == [[255]]
    assert result.reflectance.tolist() == [[[0.5]]]


def test_shares_add_up_to_the_observed_pixels():
    result = run("min", observations(5, 11))
    assert sum(result.shares.values()) == (result.tier != 255).sum()


@pytest.mark.parametrize("window", [(1, 0), (0, 1), (-1, 0)])
def test_a_window_over_the_edge_is_refused(window):
    mosaic = MOSAICS["min"](1, (2, 2), key_bands=(0, 0))
    with pytest.raises(InputError, match="reaches over the tile"):
        mosaic.update("g", np.zeros((1, 2, 2), np.float32), np.zeros((2, 2), np.uint16), *window)


@pytest.mark.parametrize("size", range(1, 41))
def test_networks_sort_the_smaller_half(size):
    """0-1 principle in spirit: random bits and random numbers."""
    rng = np.random.default_rng(size)
    for stack in (rng.random((size, 200)), rng.integers(0, 2, (size, 200))):
        planes = list(stack.astype(np.float32)[:, None, :])
        expected = np.median(stack.astype(np.float32), axis=0)
        got = median_of(planes, np.full((1, 200), size, np.uint16))[0]
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert all(low < high < size for low, high, _, _ in network(size))


def test_networks_and_sort_agree(monkeypatch):
    rng = np.random.default_rng(0)
    planes = list(rng.random((9, 3, 50), dtype=np.float32))
    count = np.full((3, 50), 9, np.uint16)
    expected = median_of(planes, count)
    monkeypatch.setattr(ranking, "NETWORK_LIMIT", 2)
    np.testing.assert_array_equal(median_of(planes, count), expected)
