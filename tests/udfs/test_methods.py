"""The tile UDF: rows in any order, good and bad, become one result row."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoquarry.schemas import flags as f
from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import results_schema, tiles_schema
from geoquarry.udfs import methods, tile_method
from geoquarry.udfs.atmosphere import add_atmosphere
from geoquarry.udfs.counts import read_counts
from geoquarry.udfs.indices import dequantise
from geoquarry.udfs.observation import Observation
from geoquarry.udfs.radiometry import radiance_to_dn
from geoquarry.udfs.tile_atmosphere import TileAtmosphere
from geoquarry.udfs.tile_memory import memory_bytes

SENSOR = "aster_l1t"
NAMES = sensor(SENSOR).names
SIZE = 24
GRID = f"res-30_tilesize-{SIZE}"
SCALE = np.array([0.676, 0.708, 0.862, 0.2174, 0.0696, 0.0625, 0.0597, 0.0417, 0.0318])
XA = np.array([0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866])
XB = np.array([0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007])
XC = np.array([0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053])


def a_row(granule_id, reflectance, flags=None, *, row0=0, col0=0, reference=3000, **changes):
    """A source row that shows this surface reflectance, float (band, y, x)."""
    reflectance = np.asarray(reflectance, np.float64)
    radiance = add_atmosphere(reflectance, XA, XB, XC)
    dn = radiance_to_dn(radiance, SCALE, -SCALE)
    bits = np.zeros(dn.shape[1:], np.uint16) if flags is None else flags
    row = {
        "granule_id": granule_id,
        "row0": row0,
        "col0": col0,
        "meta": json.dumps({"crosstalk_corrected": False}),
        "flags": encode(bits.astype(np.uint16)),
        "sun_zenith_deg": 30.0,
        "sun_azimuth_deg": 140.0,
        "earth_sun_distance_au": 1.0,
        "radiance_scale": SCALE.tolist(),
        "radiance_offset": (-SCALE).tolist(),
        "xa": XA.tolist(),
        "xb": XB.tolist(),
        "xc": XC.tolist(),
        **{name: encode(dn[i]) for i, name in enumerate(NAMES)},
    }
    for place in range(1, 8):
        value = None if reference is None else np.full((8, 8), reference, np.int16)
        row[f"ref_{place}"] = None if value is None else encode(value)
    return {**row, **changes}


def grey(value=0.3, size=SIZE):
    return np.full((9, size, size), value)


def a_job(method, tmp_path="/nonexistent", grid=GRID, **params):
    name, complete = methods.normalise(method, params, SENSOR)
    return SimpleNamespace(
        method=name, params=complete, sensor=SENSOR, grid=grid, tile_x=5, tile_y=7,
        spill_dir=str(tmp_path),
    )  # fmt: skip


def compute(method, rows, **params):
    return methods.compute(iter(rows), a_job(method, **params))


def mixed_rows(count, seed):
    """Granules that disagree, with windows, clouds, shadows and dead SWIR."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        row0, col0 = (int(rng.integers(0, 9)) for _ in "yx")
        shape = SIZE - row0, SIZE - col0 - int(rng.integers(0, 5))
        truth = np.clip(rng.normal(0.3, 0.08, (9, *shape)), 0.001, 0.9)
        bits = np.zeros(shape, np.uint16)
        for bit in (f.CLOUD, f.SHADOW, f.WATER, f.SNOW, f.NOT_OBSERVED):
            bits[rng.random(shape) < 0.15] |= bit
        if rng.random() < 0.3:
            bits |= f.SWIR_UNRELIABLE
        row = a_row(f"g{number}", truth, bits, row0=row0, col0=col0, reference=2000 + 100 * number)
        if rng.random() < 0.2:
            row["b02"] = row["b02"][:-9]
        if rng.random() < 0.3:
            row["ref_3"] = b"damaged"
        rows.append(row)
    return rows


def digest(result):
    return parity_digest([result])


@pytest.mark.parametrize("mosaic", methods.MOSAICS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 5), seed=st.integers(0, 10**6), data=st.data())
def test_the_order_of_the_rows_changes_nothing(mosaic, count, seed, data):
    rows = mixed_rows(count, seed)
    method = data.draw(st.sampled_from(sorted(methods.METHODS)))
    dtype = data.draw(st.sampled_from(["int16", "float32"]))
    expected = compute(method, rows, mosaic=mosaic, dtype=dtype)
    again = compute(method, data.draw(st.permutations(rows)), mosaic=mosaic, dtype=dtype)
    assert digest(again) == digest(expected)
    assert again["provenance"] == expected["provenance"]


@pytest.mark.parametrize("mosaic", methods.MOSAICS)
def test_holding_and_spilling_change_nothing(mosaic, monkeypatch, tmp_path):
    rows = mixed_rows(11, 8)
    expected = compute("mineral_indices", rows, mosaic=mosaic)
    monkeypatch.setattr(tile_method, "HELD_BYTES", 20_000)
    job = a_job("mineral_indices", tmp_path, mosaic=mosaic)
    again = methods.compute(iter(rows), job)
    assert digest(again) == digest(expected)
    assert again["provenance"] == expected["provenance"]
    assert list(tmp_path.glob("granule-*"))


@pytest.mark.parametrize("mosaic", methods.MOSAICS)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_one_two_or_many_granules_give_the_ground_back(mosaic, count):
    rows = [a_row(f"g{n}", grey()) for n in range(count)]
    result = compute("mosaic", rows, mosaic=mosaic)
    assert result["status"] == "ok"
    assert result["granules"] == [f"g{n}" for n in range(count)]
    assert (decode(result["count"]) == count).all()
    step = XA * SCALE  # reflectance of one count
    for place, name in enumerate(NAMES):
        band = decode(result[name])
        assert band.dtype == np.int16
        np.testing.assert_allclose(dequantise(band, 1e-4), 0.3, atol=0.6 * step[place] + 1e-4)


def test_balancing_and_indices_of_a_grey_scene():
    balanced = compute("color_balancing", [a_row("g", grey(0.25))])
    assert balanced["message"] == "not crosstalk-corrected"
    for name in NAMES:
        # Three components cannot express a grey step fully: 0.05 becomes 0.04 to 0.06.
        np.testing.assert_allclose(decode(balanced[name]), 3000, atol=100)
    ratios = compute("mineral_indices", [a_row("g", grey())])
    assert (decode(ratios["ndvi"]) < 200).all()
    np.testing.assert_allclose(decode(ratios["clay"]), 1000, atol=30)
    assert not (decode(ratios["flags"]) & f.NOT_BALANCED).any()
    assert ratios["provenance"]["balance"]["nodes"] >= 1


def test_numbers_of_the_reference_from_counts_to_mosaic(golden):
    """DN to radiance to reflectance to mosaic, on pixels that all granules see."""
    entry = json.loads((golden / "manifest.json").read_text())["entries"]["mini_s96_north"]
    with np.load(golden / "mini_s96_north.npz") as arrays:
        dn, reflectance, radiance = (
            arrays[name] for name in ("in_dn", "out_reflectance", "out_radiance")
        )
        expected = {name: arrays[f"out_merge_{name}"] for name in ("min", "mean", "deshadow")}
    rows = []
    for number, granule_id in enumerate(entry["params"]["order"]):
        paras = list(entry["params"]["ac"][granule_id].values())
        lost = (reflectance[number] == 0).any(axis=0)
        good = ~lost & (dn[number] > 1).all(axis=0)
        scale = [
            round(float(np.median(radiance[number, b][good] / (dn[number, b][good] - 1.0))), 4)
            for b in range(9)
        ]
        row = a_row(granule_id, grey(size=1))
        row |= {name: [p[key] for p in paras] for name, key in zip(("xa", "xb", "xc"), "abc")}  # noqa: B905
        row |= {name: encode(dn[number, i]) for i, name in enumerate(NAMES)}
        row |= {"radiance_scale": scale, "radiance_offset": [-s for s in scale]}
        row["flags"] = encode(np.where(lost, f.NOT_OBSERVED, 0).astype(np.uint16))
        rows.append(row)
    everyone = (reflectance != 0).all(axis=(0, 1))
    assert everyone.mean() > 0.2
    for mosaic, wanted in expected.items():
        as_it_came = {"harmonise": "none", "masks": "granule", "dtype": "float32"}
        job = a_job("mosaic", grid="res-30_tilesize-96", mosaic=mosaic, **as_it_came)
        result = methods.compute(rows, job)
        for place, name in enumerate(NAMES):
            np.testing.assert_allclose(
                decode(result[name])[everyone], wanted[place][everyone], rtol=1e-6, atol=2e-7
            )


def test_where_all_are_cloudy_the_map_has_no_hole_but_says_so():
    bits = np.zeros((SIZE, SIZE), np.uint16)
    bits[:, :10] = f.CLOUD
    rows = [a_row("a", grey(0.3), bits), a_row("b", grey(0.2), bits | f.CLOUD)]
    result = compute("mosaic", rows, mosaic="mean")
    flags, band = decode(result["flags"]), dequantise(decode(result["b01"]), 1e-4)
    filled = f.CLOUD | f.FILLED
    assert (flags[:, :10] & filled == filled).all()
    assert (flags[:, 10:] & filled == 0).all()
    np.testing.assert_allclose(band[:, :10], 0.25, atol=0.002)
    np.testing.assert_allclose(band[:, 10:], 0.3, atol=0.002)
    assert result["provenance"]["pixels"] == {"clear": 14 * SIZE, "cloud": 10 * SIZE}
    masked = compute("mineral_indices", rows)
    assert (decode(masked["clay"])[:, :10] == -32768).all()
    assert (decode(masked["clay"])[:, 10:] != -32768).all()


def test_bands_called_unreliable_have_no_value_but_the_others_do():
    bits = np.full((SIZE, SIZE), f.SWIR_UNRELIABLE, np.uint16)
    late = a_row("late", grey(0.4), bits)
    late["b05"] = encode(np.zeros((SIZE, SIZE), np.uint8))
    alone = compute("mosaic", [late])
    assert (decode(alone["b05"]) == -32768).all()
    assert (decode(alone["b04"]) == -32768).all()
    np.testing.assert_allclose(decode(alone["b02"]), 4000, atol=20)
    both = compute("mosaic", [late, a_row("early", grey(0.3))], harmonise="none")
    np.testing.assert_allclose(decode(both["b02"]), 3000, atol=20)
    assert not (decode(both["flags"]) & f.SWIR_UNRELIABLE).any()


def test_flags_tell_negative_reflectance_vegetation_and_ranges():
    plant = grey(0.3)
    plant[1, :, :8], plant[2, :, :8] = 0.04, 0.5
    plant[0, :, 8:16] = -0.02
    result = compute("mineral_indices", [a_row("g", plant)], balance="none", indices="ndvi,clay")
    flags = decode(result["flags"])
    assert (flags[:, :8] & f.VEGETATION).all()
    assert (flags[:, 8:16] & f.NEGATIVE_REFLECTANCE).all()
    assert not (flags[:, 16:] & (f.VEGETATION | f.NEGATIVE_REFLECTANCE)).any()
    assert (decode(result["clay"])[:, :8] == -32768).all()
    assert (decode(result["ndvi"])[:, :8] > 8000).all()
    bright = grey(0.3)
    bright[3] = 0.02
    wide = compute("mineral_indices", [a_row("g", bright)], balance="none", indices=["laterite"])
    assert (decode(wide["flags"]) & f.INDEX_OUT_OF_RANGE).all()


def test_reflectance_beyond_int16_saturates_and_never_wraps():
    row = a_row("g", grey(0.3), xa=(XA * 60).tolist(), xc=[0.0] * 9)
    assert (decode(compute("mosaic", [row])["b01"]) == 32767).all()
    stored = decode(compute("mosaic", [row], dtype="float32")["b01"])
    assert stored.dtype == np.float32
    assert (stored > 3.3).all()


BAD = {
    "damaged": ({"b02": b"GQT1" + b"\0" * 40}, "b02"),
    "missing": ({"b09": None}, "b09"),
    "another size": ({"b04": encode(np.ones((3, 3), np.uint8))}, "b04"),
    "another dtype": ({"b04": encode(np.ones((SIZE, SIZE), np.float32))}, "b04"),
    "flags of another size": ({"flags": encode(np.ones((3, 3), np.uint16))}, "flags"),
    "window over the edge": ({"row0": 1}, "row0"),
    "no window": ({"col0": None}, "col0"),
    "no coefficients and no state": ({"xa": None, "xb": None, "xc": None}, "aod550"),
    "coefficients in part": ({"xa": None}, "xa"),
    "NaN coefficients": ({"xb": [float("nan")] * 9}, "xb"),
    "too few coefficients": ({"xc": [0.1]}, "xc"),
    "no gain": ({"radiance_scale": None}, "radiance_scale"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_granule_is_listed_and_the_others_go_on(what):
    changes, column = BAD[what]
    bad = {**a_row("bad", grey(0.1)), **changes}
    result = compute("mosaic", [bad, a_row("good", grey())])
    assert result["status"] == "partial"
    assert result["granules"] == ["good"]
    assert [(i["granule_id"], i["column"]) for i in result["issues"]] == [("bad", column)]
    assert "see issues" in result["message"]
    np.testing.assert_allclose(decode(result["b02"]), 3000, atol=20)
    alone = compute("mosaic", [bad])
    assert alone["status"] == "failed"
    assert alone["b02"] is None
    assert alone["flags"] is None


def test_the_hint_for_a_missing_state_says_what_to_do():
    result = compute("mosaic", [a_row("g", grey(), xa=None, xb=None, xc=None)])
    says = "row has no aod550; ingest the granule again, or give xa, xb, xc"
    assert result["issues"][0]["error"] == says


def test_nothing_to_see_is_empty_not_failed():
    nothing = np.full((SIZE, SIZE), f.NOT_OBSERVED, np.uint16)
    for rows in ([], [a_row("g", grey(), nothing)]):
        result = compute("mineral_indices", rows)
        assert result["status"] == "empty"
        assert not result["issues"]
    assert (decode(result["clay"]) == -32768).all()
    assert (decode(result["flags"]) == f.NOT_OBSERVED).all()


def test_without_reference_the_result_says_so():
    result = compute("color_balancing", [a_row("g", grey(), reference=None)])
    assert "balancing skipped: no reference data" in result["message"]
    assert (decode(result["flags"]) & f.NOT_BALANCED).all()
    assert result["status"] == "ok"
    silent = compute("color_balancing", [a_row("g", grey(), reference=None)], balance="none")
    assert "skipped" not in silent["message"]


def test_the_reference_comes_from_the_smallest_granule_id_that_has_one():
    rows = [
        a_row("c", grey(), reference=6000),
        a_row("b", grey(), reference=3300),
        a_row("a", grey(), reference=None),
    ]
    for order in (rows, rows[::-1]):
        result = compute("color_balancing", order)
        np.testing.assert_allclose(decode(result["b02"]), 3300, atol=60)


def test_rows_without_flags_get_a_mask_of_their_own():
    row = a_row("g", grey(), flags=None)
    row["flags"] = None
    dn = decode(row["b01"]).copy()
    dn[0, 0], dn[5, 5] = 0, 255
    row["b01"] = encode(dn)
    for changes in ({}, {"sun_zenith_deg": None}):
        result = compute("mosaic", [{**row, **changes}])
        flags = decode(result["flags"])
        assert "flags missing in 1 rows: per-tile mask" in result["message"]
        assert flags[0, 0] == f.NOT_OBSERVED
        assert flags[5, 5] & f.SATURATED
        assert (flags & f.NOT_OBSERVED).astype(bool).sum() == 1


def test_int16_radiance_gives_the_same_as_counts():
    """After a radiometric step a row holds int16 radiance with its own scale."""
    row = a_row("g", grey(0.3))
    expected = compute("mosaic", [row], dtype="float32")
    stepped = dict(row)
    for name in NAMES:
        counts = (decode(row[name]).astype(np.int16) - 1) * 10
        counts[3, 3] = -32768
        stepped[name] = encode(counts)
    stepped |= {"radiance_scale": (SCALE / 10).tolist(), "radiance_offset": [0.0] * 9}
    got = compute("mosaic", [stepped], dtype="float32")
    for name in NAMES:
        a, b = decode(got[name]), decode(expected[name])
        assert np.isnan(a[3, 3])
        a[3, 3] = b[3, 3]
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_lookup_and_arithmetic_give_the_same_bits():
    air = TileAtmosphere(sensor(SENSOR), (SIZE, SIZE))
    row = a_row("g", grey(0.2))
    held = Observation(row, read_counts(row, air.sensor, air.shape, 25.0), air)
    held.dn = np.random.default_rng(1).integers(0, 256, held.dn.shape).astype(np.uint8)
    quick = held.block(slice(0, SIZE))[0]
    held._table = None
    np.testing.assert_array_equal(quick, held.block(slice(0, SIZE))[0])


def test_requests_are_completed_and_aliases_resolved():
    assert methods.normalise("merge", {}, SENSOR) == (
        "mosaic",
        {
            "mosaic": "median",
            "harmonise": "linear",
            "masks": "temporal",
            "scope": "job",
            "source": False,
            "dtype": "int16",
            "atmosphere": "per_pixel",
            "outside": "clamp",
        },
    )
    name, params = methods.normalise(
        "mineral_indices", {"indices": "NDVI, clay", "mosaic": None}, SENSOR
    )
    assert params["indices"] == ["clay", "ndvi"]
    assert params["balance"] == "tasseled_cap"
    assert methods.normalise(name, params, SENSOR) == (name, params)
    everything = methods.normalise("mineral_indices", {}, SENSOR)[1]["indices"]
    assert everything == [i.name for i in indices(SENSOR)]
    assert set(methods.ALIASES.values()) <= set(methods.METHODS)


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("median", {}, "color_balancing, color_transfer, merge, mineral_indices, mosaic"),
        ("mosaic", {"mosaic": "max"}, "best, deshadow, mean, median, medoid, min"),
        ("mosaic", {"source": "yes"}, "false, true"),
        ("mosaic", {"source": 1}, "false, true"),
        ("mosaic", {"source": True}, "best, min|min, best"),
        ("mosaic", {"harmonise": "cubic"}, "linear, none"),
        ("mosaic", {"balance": "none"}, "no parameter 'balance'"),
        ("color_balancing", {"balance": 3}, "histogram, mkl, none, tasseled_cap"),
        ("mosaic", {"dtype": "int8"}, "float32, int16"),
        ("mosaic", {"atmosphere": "per_row"}, "per_pixel, per_tile"),
        ("mosaic", {"outside": "ignore"}, "clamp, error"),
        ("mineral_indices", {"indices": "gold"}, "No index 'gold'"),
        ("mineral_indices", {"indices": []}, "or 'all'"),
    ],
)
def test_unknown_requests_list_the_choices(method, params, says):
    with pytest.raises(UsageError, match=says):
        methods.normalise(method, params, SENSOR)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("method", methods.METHODS)
def test_what_is_declared_is_what_is_written(method, dtype):
    name, params = methods.normalise(method, {"dtype": dtype}, SENSOR)
    bands = methods.output_bands(name, params, SENSOR)
    schema = results_schema(SENSOR, GRID, name, bands)
    result = compute(method, [a_row("g", grey())], dtype=dtype)
    own = {"grid", "tile_x", "tile_y", "method", "input_digest"}
    assert set(result) == set(schema.names) - own
    for band in bands:
        assert decode(result[band.name]).dtype == band.dtype == dtype
    source = tiles_schema(SENSOR, GRID)
    assert set(methods.columns(name, params, SENSOR)) <= set(source.names)


def test_a_source_names_the_granule_of_every_pixel():
    left = np.zeros((SIZE, SIZE), np.uint16)
    left[:, 9:] = f.NOT_OBSERVED
    right = np.zeros((SIZE, SIZE), np.uint16)
    right[:, :12] = f.NOT_OBSERVED
    rows = [a_row("b", grey(0.3), left), a_row("a", grey(0.2), right)]
    for mosaic in ("min", "medoid", "best"):
        result = compute("mosaic", rows, mosaic=mosaic, source=True)
        source = decode(result["source"])
        assert result["granules"] == ["a", "b"]
        assert (source[:, :9] == 1).all()
        assert (source[:, 9:12] == -32768).all()
        assert (source[:, 12:] == 0).all()
        share = result["provenance"]["granule_share"]
        assert share == {"a": round(12 / 21, 6), "b": round(9 / 21, 6)}


def test_harmonising_moves_granules_to_each_other_and_says_how_far():
    rng = np.random.default_rng(5)
    ground = (
        np.clip(rng.normal(0.3, 0.06, (1, SIZE, SIZE)), 0.1, 0.6)
        * np.linspace(0.8, 1.2, 9)[:, None, None]
    )
    rows = [a_row(f"g{i}", ground * gain) for i, gain in enumerate((0.94, 1.0, 1.06))]
    mixed = compute("mosaic", rows, mosaic="min", dtype="float32")
    figures = mixed["provenance"]["harmony"]
    assert figures["gain"]["g0"][0] > 1.03 > 0.97 > figures["gain"]["g2"][0]
    assert abs(figures["ratios"]["5/6"]["change"]) < 0.005
    recovered = np.stack([decode(mixed[name]) for name in NAMES])
    assert np.abs(recovered / ground - 1).mean() < 0.02
    assert "harmonised within this tile alone" in mixed["message"]
    plain = compute("mosaic", rows, mosaic="min", dtype="float32", harmonise="none")
    assert "harmony" not in plain["provenance"]
    raw = np.stack([decode(plain[name]) for name in NAMES])
    assert np.abs(raw / ground - 1).mean() > 0.04


def test_given_gains_stand_also_where_the_balance_is_made_here():
    """Columns of one kind may be there without the other: a table that has no rows yet."""
    given = {"harmony_gain": [1.25] * 9, "harmony_offset": [0.0] * 9}
    rows = [a_row("a", grey(0.25), **given), a_row("b", grey(0.26), **given)]
    result = compute("color_balancing", rows)
    harmony = result["provenance"]["harmony"]
    assert (harmony["scope"], set(harmony["gain"]["a"])) == ("job", {1.25})
    assert "alone" not in result["message"]
    alone = compute("color_balancing", [a_row("a", grey())], scope="tile")
    assert alone["provenance"]["harmony"]["scope"] == "tile"


def test_a_plan_counts_the_overviews_of_a_first_phase():
    request = methods.normalise("mosaic", {}, SENSOR)
    few, many, more = (memory_bytes(*request, SENSOR, (1024, 1024), n) for n in (5, 1000, 1100))
    assert more - many == 100 * 9 * 2 * 256**2
    assert few < many
    plain = methods.normalise("mosaic", {"harmonise": "none"}, SENSOR)
    assert memory_bytes(*plain, SENSOR, (1024, 1024), 1000) < many


def test_quality_figures_are_in_the_provenance():
    result = compute("color_balancing", [a_row("a", grey(0.25)), a_row("b", grey(0.26))])
    said = result["provenance"]
    assert {"seam", "harmony", "balance", "pixels", "granule_share"} <= set(said)
    assert {"step", "texture", "ratio", "borders"} <= set(said["seam"])
    assert 0 <= said["cloud_fraction_left"] <= 1
    assert set(said["balance"]["ratios"]) == {"5/6", "9/8", "4/6"}
    # A grey reference of 0.3: reported, and another greenness than the sensor's own transform has.
    assert said["balance"]["reference_tasseled_cap"]["greenness"] == pytest.approx(-0.1168)


def test_a_granule_that_comes_twice_is_named():
    rows = [a_row("a", grey(0.25)), a_row("b", grey(0.26)), a_row("a", grey(0.3))]
    with pytest.raises(InputError, match="Granule 'a' has two rows"):
        compute("mosaic", rows)
