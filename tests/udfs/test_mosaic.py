"""Mosaics: the reference's numbers where it is right, and the same answer in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoquarry.schemas import flags as f
from geoquarry.schemas.errors import InputError
from geoquarry.udfs.mosaic import MOSAICS, TIERS
from geoquarry.udfs.mosaic_tiers import TIER_OF_FLAGS

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
        merit = rng.integers(0, 3, shape).astype(np.float32)
        window = np.s_[row0:, col0:]
        out.append((f"g{number}", values[:, *window], bits[window], row0, col0, merit[window]))
    return out


def run(name, granules, *, shape=SHAPE):
    ids = sorted({granule[0] for granule in granules})
    mosaic = MOSAICS[name](BANDS, shape, ids, optional=OPTIONAL)
    for granule in granules:
        mosaic.update(*granule)
    return mosaic.result()


def split(granules):
    """Every granule row by row, rows of all granules mixed."""
    pieces = []
    for name, values, bits, row0, col0, merit in granules:
        for row in range(values.shape[1]):
            one = slice(row, row + 1)
            pieces.append((name, values[:, one], bits[one], row0 + row, col0, merit[one]))
    return sorted(pieces, key=lambda piece: (piece[3], piece[0]), reverse=True)


def same_bits(a, b):
    assert (a.source is None) == (b.source is None)
    for name in ("reflectance", "flags", "count", "tier", "label", "source"):
        x, y = getattr(a, name), getattr(b, name)
        if x is None:
            continue
        assert x.dtype == y.dtype
        # NaN equals NaN, but 0.0 differs from -0.0.
        np.testing.assert_array_equal(x, y)
        if x.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(x), np.signbit(np.where(np.isnan(y), x, y)))
    assert a.shares == b.shares


def slowly(name, granules, row, col):
    """One pixel by the definition: values per band, granules used, observations, tier."""
    seen = []
    for granule_id, values, bits, row0, col0, merit in granules:
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
        seen.append((tier, granule_id, spectrum, merit[r, c]))
    if not seen:
        return np.full(BANDS, np.nan), set(), 0, 255
    best = min(tier for tier, _, _, _ in seen)
    used = sorted((g, s, m) for tier, g, s, m in seen if tier == best)
    everyone = {g for g, _, _ in used}
    stack = np.array([s for _, s, _ in used])
    if name == "mean":
        return stack.astype(float).mean(axis=0), everyone, len(used), best
    if name == "median":
        return np.median(stack, axis=0), everyone, len(used), best
    weight = np.float32(0.001) if name == "min" else np.float32(0)
    key = stack[:, 0] + weight * stack[:, 1]
    if name == "best":
        key = -np.array([m for _, _, m in used])
    if name == "medoid":
        steps = (stack - np.sort(stack, axis=0)[(len(used) - 1) // 2]) ** 2
        key = np.zeros(len(used), np.float32)
        for band in range(BANDS):  # one after the other, as sums of float32 depend on their order
            key += np.nan_to_num(steps[:, band])
    ranked = [used[i] for i in np.argsort(key, kind="stable")]
    if name != "deshadow" or len(ranked) == 1:
        return ranked[0][1], {ranked[0][0]}, len(used), best
    second = ranked[1][1]
    w = 1.0 if second[0] >= 0.2 else min(max(1 - second[0] / 0.2, 0), 1)
    mixed = {g for g, _, _ in ranked[: 1 if w == 1 else 2]}
    return w * ranked[0][1] + (1 - w) * second, mixed, len(used), best


@pytest.mark.parametrize("name", MOSAICS)
@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 7), seed=st.integers(0, 10**6), ties=st.booleans())
def test_every_pixel_follows_the_definition(name, count, seed, ties):
    granules = observations(count, seed, ties=ties)
    result = run(name, granules)
    ids = sorted({granule[0] for granule in granules})
    pixels, labels = dict.fromkeys(ids, 0), {}
    for row in range(SHAPE[0]):
        for col in range(SHAPE[1]):
            values, granules_used, used, tier = slowly(name, granules, row, col)
            np.testing.assert_allclose(result.reflectance[:, row, col], values, atol=1e-7)
            assert result.count[row, col] == used
            assert result.tier[row, col] == tier
            bits = int(result.flags[row, col])
            assert bool(bits & f.NOT_OBSERVED) == (used == 0)
            assert bool(bits & f.FEW_OBSERVATIONS) == (used == 1)
            assert bool(bits & f.FILLED) == (used > 0 and tier >= TIERS.index("shadow"))
            assert bool(bits & f.CLOUD) == (used > 0 and TIERS[tier].startswith("cloud"))
            for granule in granules_used:
                pixels[granule] += 1
            label = int(result.label[row, col])
            assert labels.setdefault(label, granules_used) == granules_used
            assert (label == -1) == (not granules_used)
            if MOSAICS[name].has_source:
                assert result.source[row, col] == label
                assert {ids[label]} == granules_used if label >= 0 else not granules_used
    assert len({frozenset(s) for s in labels.values()}) == len(labels)
    assert result.shares == pixels


@pytest.mark.parametrize("name", MOSAICS)
@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 7), seed=st.integers(0, 10**6), ties=st.booleans(), data=st.data())
def test_order_and_batching_change_no_bit(name, count, seed, ties, data):
    granules = observations(count, seed, ties=ties)
    expected = run(name, granules)
    same_bits(expected, run(name, data.draw(st.permutations(granules))))
    same_bits(expected, run(name, split(granules)))


@pytest.mark.parametrize(("name", "array"), [
    ("min", "out_min"), ("mean", "out_mean"), ("deshadow", "out_deshadow"),
])  # fmt: skip
def test_numbers_of_the_reference_where_every_granule_sees_the_pixel(golden, name, array):
    """Elsewhere it is wrong: nodata 0 is averaged, or taken for the darkest ground."""
    with np.load(golden / "ac_s256_north.npz") as arrays:
        stack = np.stack([arrays[f"out_reflectance{i}"] for i in range(5)])
    with np.load(golden / "merge_s256_north.npz") as arrays:
        expected = arrays[array]
    mosaic = MOSAICS[name](9, (256, 256), [f"g{number}" for number in range(5)])
    for number in (3, 0, 4, 2, 1):
        values = stack[number].astype(np.float32)
        values[:, (stack[number] == 0).any(axis=0)] = np.nan
        mosaic.update(f"g{number}", values, np.zeros((256, 256), np.uint16))
    result = mosaic.result()
    everyone = (stack != 0).all(axis=(0, 1))
    assert everyone.mean() > 0.2
    assert (result.count[everyone] == 5).all()
    np.testing.assert_allclose(result.reflectance[:, everyone], expected[:, everyone], atol=1e-7)


@pytest.mark.parametrize("name", ["mean", "median"])
def test_snow_and_water_need_a_majority_but_saturation_only_one(name):
    mosaic = MOSAICS[name](2, (1, 2), ["g0", "g1", "g2"])
    values = np.full((2, 1, 2), 0.25, np.float32)
    for number, bits in enumerate([[f.SNOW, f.SNOW], [f.SNOW, 0], [f.ATMOSPHERE_CLAMPED, 0]]):
        mosaic.update(f"g{number}", values, np.array([bits], np.uint16))
    assert mosaic.result().flags.tolist() == [[f.SNOW | f.ATMOSPHERE_CLAMPED, 0]]


@pytest.mark.parametrize("name", MOSAICS)
def test_three_hundred_granules_are_told_apart_and_counted_as_255(name):
    ids = [f"{number:03}" for number in range(300)]
    mosaic = MOSAICS[name](1, (1, 1), ids, key_bands=(0, 0))
    for number, granule in enumerate(ids):
        # One of them stands out, in the way that each mosaic looks for.
        value, merit = (0.25, 1.0) if number == 290 else (0.5, 0.0)
        mosaic.update(
            granule,
            np.full((1, 1, 1), value, np.float32),
            np.zeros((1, 1), np.uint16),
            merit=np.full((1, 1), merit, np.float32),
        )
    result = mosaic.result()
    assert result.count.tolist() == [[255]]
    expected = {"median": 0.5, "medoid": 0.5, "mean": 0.5 - 0.25 / 300}.get(name, 0.25)
    np.testing.assert_allclose(result.reflectance, expected, rtol=1e-6)
    if name in ("min", "best"):
        assert result.source.tolist() == [[290]]


def test_the_medoid_keeps_to_one_measured_spectrum():
    """Each band's median comes from another granule; the third is nearest to all of them."""
    spectra = np.float32([[0.1, 0.5, 0.3], [0.5, 0.3, 0.1], [0.25, 0.25, 0.25]])
    mosaic = MOSAICS["medoid"](3, (1, 1), ["a", "b", "c"])
    for name, spectrum in zip("abc", spectra, strict=True):
        mosaic.update(name, spectrum[:, None, None], np.zeros((1, 1), np.uint16))
    result = mosaic.result()
    np.testing.assert_array_equal(result.reflectance[:, 0, 0], spectra[2])
    assert result.shares == {"a": 0, "b": 0, "c": 1}


def test_of_two_observations_the_medoid_takes_the_darker_not_rounding():
    rng = np.random.default_rng(5)
    dark = rng.uniform(0.1, 0.3, (4, 8, 8)).astype(np.float32)
    bright = dark + rng.uniform(0.01, 0.2, (4, 8, 8)).astype(np.float32)
    mosaic = MOSAICS["medoid"](4, (8, 8), ["a", "b"])
    for name, values in (("a", bright), ("b", dark)):
        mosaic.update(name, values, np.zeros((8, 8), np.uint16))
    np.testing.assert_array_equal(mosaic.result().source, 1)


def test_best_without_merit_says_so():
    mosaic = MOSAICS["best"](2, (1, 1), ["g"])
    mosaic.update("g", np.zeros((2, 1, 1), np.float32), np.zeros((1, 1), np.uint16))
    with pytest.raises(InputError, match=r"Granule g: .* needs its merit"):
        mosaic.result()


@pytest.mark.parametrize("window", [(1, 0), (0, 1), (-1, 0)])
def test_a_window_over_the_edge_is_refused(window):
    mosaic = MOSAICS["min"](1, (2, 2), ["g"], key_bands=(0, 0))
    with pytest.raises(InputError, match="reaches over the block"):
        mosaic.update("g", np.zeros((1, 2, 2), np.float32), np.zeros((2, 2), np.uint16), *window)


def test_granules_must_be_known_and_sorted():
    mosaic = MOSAICS["min"](1, (1, 1), ["g"], key_bands=(0, 0))
    with pytest.raises(InputError, match="Granule 'h' is not among"):
        mosaic.update("h", np.zeros((1, 1, 1), np.float32), np.zeros((1, 1), np.uint16))
    with pytest.raises(InputError, match="must be sorted"):
        MOSAICS["min"](1, (1, 1), ["b", "a"])
