"""Indices: the reference's numbers, the guards, and the way to int16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.flags import bit
from geoquarry.schemas.formula import parse
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs import blocks
from geoquarry.udfs.indices import compute_index, compute_indices, dequantise, evaluate, quantise

NAMES = sensor("aster_l1t").names
CATALOGUE = {index.name: index for index in indices("aster_l1t")}


def clear(reflectance):
    return np.zeros(np.shape(reflectance["b01"]), np.uint16)


def test_every_index_equals_the_reference_where_no_denominator_is_tiny(golden):
    """The reference divides by anything but 0; we refuse denominators under 0.005."""
    with np.load(golden / "indices_random.npz") as arrays:
        cube, expected = arrays["in_data32"], arrays["out_indices32"]
    bands = dict(zip(NAMES, cube, strict=True))
    for place, index in enumerate(CATALOGUE.values()):
        value = compute_index(index, bands, clear(bands))
        dark = np.any([bands[name] < np.float32(0.005) for name in index.denominators], axis=0)
        assert 0.5 < (~dark).mean() < 1
        np.testing.assert_allclose(value[~dark], expected[place][~dark], rtol=3e-7, atol=0)
        assert np.isnan(value[dark]).all()


def test_indices_of_a_real_chain_equal_the_reference(golden):
    with np.load(golden / "mini_s96_north.npz") as arrays:
        cube, expected = arrays["out_color"], arrays["out_indices"]
    bands = {name: np.where(cube[i] == 0, np.nan, cube[i]) for i, name in enumerate(NAMES)}
    stored, outside = compute_indices(
        list(CATALOGUE.values()), bands, clear(bands), dtype="float32"
    )
    for place, value in enumerate(stored.values()):
        seen = ~np.isnan(value)
        assert seen.mean() > 0.9
        np.testing.assert_allclose(value[seen], expected[place][seen], rtol=1e-6, atol=1e-7)
    assert outside.mean() < 0.2


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_formulas_mean_what_they_say(name):
    """Two roads: our reader against Python itself on the same text."""
    bands = {n: np.float32([[0.1 + 0.07 * i]]) for i, n in enumerate(NAMES)}
    expected = eval(CATALOGUE[name].formula, {}, {k: float(v[0, 0]) for k, v in bands.items()})
    assert compute_index(CATALOGUE[name], bands, clear(bands))[0, 0] == pytest.approx(expected)


def test_a_missing_band_hides_the_index_and_only_there():
    bands = {name: np.full((1, 2), 0.25, np.float32) for name in NAMES}
    bands["b06"][0, 1] = np.nan
    clay = compute_index(CATALOGUE["clay"], bands, clear(bands))
    ndvi = compute_index(CATALOGUE["ndvi"], bands, clear(bands))
    assert clay.tolist()[0][0] == 1
    assert np.isnan(clay[0, 1])
    assert ndvi.tolist() == [[0, 0]]


def test_masking_rules_come_from_the_catalogue():
    bands = {name: np.full((1, 6), 0.25, np.float32) for name in NAMES}
    flags = ["cloud", "shadow", "snow", "water", "vegetation", "swir_unreliable"]
    bits = np.array([[bit(name) for name in flags]], np.uint16)
    for index in CATALOGUE.values():
        hidden = np.isnan(compute_index(index, bands, bits))[0]
        assert hidden.tolist() == [name in index.mask for name in flags]


def test_one_pass_gives_the_same_as_one_by_one(monkeypatch):
    rng = np.random.default_rng(5)
    bands = {name: rng.uniform(-0.01, 0.6, (37, 11)).astype(np.float32) for name in NAMES}
    bits = (rng.random((37, 11)) < 0.1).astype(np.uint16)
    whole = {i.name: compute_index(i, bands, bits) for i in CATALOGUE.values()}
    monkeypatch.setattr(blocks, "BLOCK_PIXELS", 40)
    stored, outside = compute_indices(list(CATALOGUE.values()), bands, bits)
    expected = np.zeros(bits.shape, bool)
    for name, index in CATALOGUE.items():
        np.testing.assert_array_equal(stored[name], quantise(whole[name], index.scale)[0])
        expected |= (whole[name] < index.valid_min) | (whole[name] > index.valid_max)
    np.testing.assert_array_equal(outside, expected)
    assert 0 < outside.mean() < 1


def test_every_valid_range_fits_int16():
    """`compute_indices` relies on it: what saturates is out of range already."""
    for index in CATALOGUE.values():
        assert max(abs(index.valid_min), abs(index.valid_max)) / index.scale < 32767


values = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=2),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


@given(values, st.sampled_from([1e-4, 1e-3, 1.0]))
def test_quantise_never_wraps_and_keeps_nodata_apart(value, scale):
    stored, saturated = quantise(value.copy(), scale)
    np.testing.assert_array_equal(stored == -32768, np.isnan(value))
    assert (np.sign(stored[saturated]) == np.sign(value[saturated])).all()
    assert (np.abs(stored[saturated].astype(int)) == 32767).all()
    kept = ~saturated & ~np.isnan(value)
    assert (np.abs(dequantise(stored, scale)[kept] - value[kept]) <= 0.501 * scale).all()


def test_halves_round_to_even():
    assert quantise(np.float32([0.5, 1.5, 2.5, -0.5, -1.5]), 1.0)[0].tolist() == [0, 2, 2, 0, -2]


def test_an_unknown_band_is_named():
    program = parse("b01 / b02", {"b01", "b02"})
    with pytest.raises(UsageError, match="'b02'"):
        evaluate(program, {"b01": np.float32([[1]])})
