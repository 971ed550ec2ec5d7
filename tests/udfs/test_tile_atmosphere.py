"""Coefficients that follow the ground and the air within a tile."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from geoquarry.engine import sixs
from geoquarry.schemas import flags as f
from geoquarry.schemas.atmosphere import ozone_fractions, water_fractions
from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.coefficients import coefficients_from_transmittances
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import RANGES
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import LATTICE
from geoquarry.udfs import air_state, lut_file, methods
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.counts import read_counts
from geoquarry.udfs.observation import Observation
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.row_values import RowIssue
from geoquarry.udfs.tile_atmosphere import TileAtmosphere
from geoquarry.udfs.tile_cells import CELLS, side

SENSOR = sensor("aster_l1t")
SIZE = 150  # 9.375 pixels per cell
SCALE = np.array([0.676, 0.708, 0.862, 0.2174, 0.0696, 0.0625, 0.0597, 0.0417, 0.0318])
XA = [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866]
XB = [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007]
XC = [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053]


class StandIn:
    """Formulas in the place of the table: smooth, of the right size, quick."""

    sensor, aerosol_model, digest = SENSOR.name, "Continental", "stand-in"
    ranges = RANGES

    def inside(self, **state):
        answer = np.asarray(True)
        for name, value in state.items():
            low, high = RANGES[name]
            low -= 100.0 if name == "elevation_m" else 0.0
            answer = answer & (np.asarray(value) >= low) & (np.asarray(value) <= high)
        return np.asarray(answer)

    def correction(self, *, earth_sun_distance_au, irradiance_w_m2_um, outside, **state):
        assert outside == "clamp"
        state = {name: np.clip(np.asarray(v, float), *RANGES[name]) for name, v in state.items()}
        z, aod = state["elevation_m"], state["aod550"]
        wave = np.array([sum(band.wavelength_um) / 2 for band in SENSOR.bands])[:, None]
        wet = np.array([0.0, 0.002, 0.02, 0.003, 0.04, 0.03, 0.03, 0.06, 0.15])[:, None]
        slant = 1 / np.cos(np.deg2rad(state["sun_zenith_deg"]))
        both = slant + 1 / np.cos(np.deg2rad(state["view_zenith_deg"]))
        molecules = 0.0088 * wave**-4 * np.exp(-z / 8000)
        haze = aod * (0.55 / wave) ** 1.3
        gas = np.exp(-wet * np.sqrt(state["water_vapour_g_cm2"] * both))
        gas = gas * np.exp(-0.03 * state["ozone_cm_atm"] * both * (wave < 0.7))
        turn = 1 + 0.1 * np.cos(np.deg2rad(state["relative_azimuth_deg"]))
        depth = molecules / 2 + 0.15 * haze
        return coefficients_from_transmittances(
            path_reflectance=(0.4 * molecules + 0.08 * haze) * turn * np.sqrt(gas),
            gas=gas,
            down=np.exp(-depth * slant),
            up=np.exp(-depth),
            spherical_albedo=1 - np.exp(-0.8 * molecules - 0.2 * haze),
            irradiance_w_m2_um=np.asarray(irradiance_w_m2_um)[:, None],
            sun_zenith_deg=state["sun_zenith_deg"],
            earth_sun_distance_au=earth_sun_distance_au,
        )


REAL_LUT = air_state.lut


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    monkeypatch.setattr(air_state, "lut", lambda sensor_name, model: StandIn())


def hills(rows, columns, relief_m=2000.0, size=SIZE):
    """One big surface of ridges, sampled anywhere: 500 m and up."""
    y, x = rows[:, None] / size, columns[None, :] / size
    shape = 0.5 + 0.3 * np.sin(2.2 * np.pi * x + 1) * np.cos(1.7 * np.pi * y)
    shape = shape + 0.15 * np.sin(11 * x + 7 * y) + 0.05 * np.cos(37 * x - 29 * y)
    return (500 + relief_m * shape).astype(np.int16)


def haze_at(y, x):
    return 0.2 + 0.1 * np.sin(3 * x + y) * np.cos(2 * y)


def vapour_at(y, x):
    """At sea level."""
    return 2.5 + 0.6 * np.cos(2 * x - 3 * y)


def a_row(tile_x=0, tile_y=0, dn=None, **changes):
    """A row of a tile of one big surface; the counts are random unless given."""
    pixels, points = np.arange(SIZE) + 0.5, np.arange(LATTICE) / CELLS
    y, x = points[:, None] + tile_y, points[None, :] + tile_x
    if dn is None:
        dn = np.random.default_rng([tile_x, tile_y]).integers(1, 256, (9, SIZE, SIZE))
    elevation = hills(pixels + tile_y * SIZE, pixels + tile_x * SIZE)
    mean_m = 1400.0 + 100 * tile_x
    row = {
        "granule_id": "g",
        "row0": 0,
        "col0": 0,
        "meta": None,
        "flags": encode(np.zeros(dn.shape[1:], np.uint16)),
        "sun_zenith_deg": 40.0,
        "sun_azimuth_deg": 140.0,
        "earth_sun_distance_au": 1.01,
        "view_zenith_deg": [0.0, 0.0, 0.0, *[5.0] * 6],
        "view_azimuth_deg": [10.0, 10.0, 10.0, *[340.0] * 6],
        "radiance_scale": SCALE.tolist(),
        "radiance_offset": (-SCALE).tolist(),
        "aod550": 0.2,
        "elevation_m": mean_m,
        "water_vapour_g_cm2": float(2.5 * water_fractions(mean_m)),
        "ozone_cm_atm": float(0.31 * ozone_fractions(mean_m)),
        "aerosol_model": "Continental",
        "elevation": encode(elevation),
        "aod550_field": haze_at(y, x).astype("float32").ravel().tolist(),
        "water_vapour_field": (vapour_at(y, x) * water_fractions(mean_m)).ravel().tolist(),
        "xa": None,
        "xb": None,
        "xc": None,
        **{name: encode(dn[i].astype(np.uint8)) for i, name in enumerate(SENSOR.names)},
    }
    return {**row, **changes}


def see(row, mode="per_pixel", outside="clamp", size=SIZE):
    air = TileAtmosphere(SENSOR, (size, size), mode, outside)
    return Observation(row, read_counts(row, SENSOR, air.shape, 28.0), air)


def whole(row, *options):
    return see(row, *options).block(slice(0, SIZE))[0]


def bilinear(field, row, column):
    """A lattice at one pixel's centre."""
    at = [(place + 0.5) * CELLS / SIZE for place in (row, column)]
    (i, v), (j, u) = ((int(a), a % 1) for a in at)
    grid = np.reshape(field, (LATTICE, LATTICE)).astype(float)
    north, south = (grid[i + k, j] * (1 - u) + grid[i + k, j + 1] * u for k in (0, 1))
    return north * (1 - v) + south * v


def state_at(row, pixel):
    """What the columns of a row say about one pixel, by their definition."""
    here, z = row["elevation_m"], float(decode(row["elevation"])[pixel])
    return {
        "aod550": bilinear(row["aod550_field"], *pixel),
        "elevation_m": z,
        "water_vapour_g_cm2": bilinear(row["water_vapour_field"], *pixel)
        * float(water_fractions(z) / water_fractions(here)),
        "ozone_cm_atm": row["ozone_cm_atm"] * float(ozone_fractions(z) / ozone_fractions(here)),
    }


def direct(row, pixel, xa, xb, xc):
    """Reflectance of one pixel from its own coefficients, in float64."""
    dn = np.array([decode(row[name])[pixel] for name in SENSOR.names])[:, None, None]
    radiance = dn_to_radiance(dn, row["radiance_scale"], row["radiance_offset"], dtype=np.float64)
    return remove_atmosphere(radiance, np.ravel(xa), np.ravel(xb), np.ravel(xc))[:, 0, 0]


PIXELS = [(0, 0), (0, 149), (149, 149), (149, 0), (9, 9), (28, 75), (75, 28), (93, 94), (131, 60)]
"""Corners of the tile, both sides of cell edges, and anywhere."""


def test_lattices_are_those_of_the_tables():
    assert CELLS + 1 == LATTICE
    np.testing.assert_array_equal(side(1024).cell, np.arange(1024) // 64)
    np.testing.assert_allclose(side(1024).place, (np.arange(1024) % 64 + 0.5) / 64)


@pytest.mark.parametrize("without", [[], ["aod550_field", "water_vapour_field"], ["elevation"]])
def test_every_pixel_has_the_coefficients_of_its_own_state(without):
    row = a_row()
    seen = whole({**row, **dict.fromkeys(without)})
    light = {name: row[name] for name in ("sun_zenith_deg", "earth_sun_distance_au")}
    light["view_zenith_deg"] = np.array(row["view_zenith_deg"])[:, None]
    light["relative_azimuth_deg"] = np.array([0.0] * 3 + [160.0] * 6)[:, None]
    mean_m = row["elevation_m"]
    if "elevation" in without:
        row["elevation"] = encode(np.full((SIZE, SIZE), mean_m, np.int16))
    else:
        assert np.ptp(decode(row["elevation"])) > 1700
    for name in without[: len(without) * ("elevation" not in without)]:
        row[name] = [row[name.replace("_field", "").replace("vapour", "vapour_g_cm2")]] * 289
    for pixel in PIXELS:
        found = StandIn().correction(
            irradiance_w_m2_um=SENSOR.irradiance_w_m2_um,
            outside="clamp",
            **light,
            **state_at(row, pixel),
        )
        np.testing.assert_allclose(seen[:, *pixel], direct(row, pixel, *found), rtol=0, atol=5e-5)


@pytest.mark.heavy
def test_a_tile_of_2000_m_of_relief_against_direct_6s(monkeypatch):
    """The real table, the real 6S, at the lowest and highest ground and where cells meet."""
    if (why := sixs.available()) is not None:
        pytest.skip(why)
    try:
        REAL_LUT(SENSOR.name, "Continental")
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(air_state, "lut", REAL_LUT)
    row = a_row(dn=np.full((9, SIZE, SIZE), 110), view_zenith_deg=[0.0] * 9)
    z = decode(row["elevation"])
    assert np.ptp(z) > 1700
    seen = whole(row)
    ends = [np.unravel_index(k, z.shape) for k in (z.argmin(), z.argmax())]
    names = ("sun_zenith_deg", "sun_azimuth_deg", "view_zenith_deg", "view_azimuth_deg")
    for pixel in [*ends, (0, 149), (9, 9), (93, 94)]:
        found = sixs.correction(
            SENSOR,
            **{name: row[name] for name in (*names, "earth_sun_distance_au")},
            **state_at(row, pixel),
        )
        expected = direct(row, pixel, found.xa, found.xb, found.xc)
        got = seen[:, *pixel]
        np.testing.assert_allclose(got, expected, rtol=0, atol=5e-4)
        for over, under in ((4, 5), (8, 7)):
            ratio = expected[over] / expected[under]
            np.testing.assert_allclose(got[over] / got[under], ratio, rtol=2e-3)


def test_one_state_per_tile_for_comparison():
    row = a_row()
    flat = {**row, "elevation": None, "aod550_field": None, "water_vapour_field": None}
    per_tile = whole(row, "per_tile")
    np.testing.assert_array_equal(per_tile, whole(flat))
    assert np.abs(per_tile - whole(row)).max() > 0.01


def test_given_coefficients_are_used_as_they_are():
    row = a_row(xa=XA, xb=XB, xc=XC, aod550=None, elevation_m=None, aerosol_model=None)
    dn = np.stack([decode(row[name]) for name in SENSOR.names])
    radiance = dn_to_radiance(dn, SCALE, -SCALE)
    np.testing.assert_array_equal(whole(row), remove_atmosphere(radiance, XA, XB, XC))
    assert see(row).source == {"coefficients": "given"}
    with pytest.raises(RowIssue, match="no xc"):
        see({**row, "xc": None})


def test_blocks_and_spilling_change_no_bit(tmp_path):
    bits = np.zeros((SIZE - 13, SIZE - 7), np.uint16)
    bits[:, :60], bits[90:] = f.NOT_OBSERVED, f.NOT_OBSERVED
    row = a_row(row0=13, col0=4, flags=encode(bits))
    for name in SENSOR.names:
        band = decode(row[name])[13:, 7:].copy()
        band[20:25, 100:] = 0
        row[name] = encode(band)
    held = see(row)
    expected, flags, first = held.block(slice(0, SIZE))
    assert first == 13
    usable = (flags & f.NOT_OBSERVED) == 0
    usable[20:25, 100:] = False
    assert np.isfinite(expected[:, usable]).all()
    assert np.isnan(expected[:, 20:25, 100:]).all()
    assert np.isnan(expected[:, 120:, :]).all()  # cells nobody observed cost nothing
    spilled = see(row)
    spilled.spill(tmp_path / "g")
    edges = [0, 14, 15, 37, 38, 90, SIZE]
    for seen in (held, spilled):
        parts = [seen.block(slice(*pair)) for pair in pairwise(edges)]
        again = np.concatenate([part[0] for part in parts if part is not None], axis=1)
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("step", [(0, 1), (1, 0)])
def test_neighbouring_tiles_agree_along_their_edge(step):
    """Pixels on both sides of an edge see the same ground: what differs is the correction."""
    dn = np.full((9, SIZE, SIZE), 90)
    dy, dx = step

    def flat_at_edges(tile):
        at = (np.arange(SIZE) + 0.5) / SIZE + tile
        return (at - np.sin(2 * np.pi * at) / (2 * np.pi)) * SIZE

    def edge(tile_x, tile_y, near, next_to):
        ground = encode(hills(flat_at_edges(tile_y), flat_at_edges(tile_x)))
        seen = np.moveaxis(whole(a_row(tile_x, tile_y, dn, elevation=ground)), 2 if dx else 1, 0)
        return 1.5 * seen[near] - 0.5 * seen[next_to]  # from the pixels' centres to the edge

    here, there = edge(0, 0, -1, -2), edge(dx, dy, 0, 1)
    assert np.ptp(here, axis=1).max() > 0.01
    assert np.abs(here - there).max() < 1e-4


def test_cells_of_other_relief_meet_without_a_step():
    """The same elevation left and right of a cell's edge, in cells of different relief."""
    z = np.full((SIZE, SIZE), 1000, np.int16)
    z[::9, :75:8], z[4::9, 3:75:8], z[2::9, 77::9] = 2400, 1900, 1140
    dn = np.full((9, SIZE, SIZE), 90)
    seen = whole(a_row(dn=dn, elevation=encode(z), aod550_field=None, water_vapour_field=None))
    assert np.ptp(seen[:, z == 1000], axis=1).max() < 1e-4


def flags_of(row, *options):
    held = see(row, *options)
    return (held.block(slice(0, SIZE))[1] & f.ATMOSPHERE_CLAMPED) != 0, held.notes


def test_what_the_table_does_not_cover_is_flagged_where_it_is():
    assert not flags_of(a_row())[0].any()
    for changes in ({"sun_zenith_deg": 84.0}, {"view_zenith_deg": [31.0] * 9}):
        clamped, notes = flags_of(a_row(**changes))
        assert clamped.all()
        assert any(next(iter(changes)) in note for note in notes)
    clamped, notes = flags_of(a_row(sun_zenith_deg=76.0))
    assert clamped.all()
    assert notes == ("sun zenith above 75 deg, correction unsure",)
    high = decode(a_row()["elevation"]).copy()
    high[40:50, 40:50] = 6500
    clamped, notes = flags_of(a_row(elevation=encode(high)))
    np.testing.assert_array_equal(clamped, high > 6000)
    assert notes == ("elevation_m outside 0 to 6000, clamped",)
    haze = np.full((LATTICE, LATTICE), 0.2)
    haze[0, 0] = 2.5
    clamped, notes = flags_of(a_row(aod550_field=haze.ravel().tolist()))
    assert clamped[:9, :9].all()
    assert not clamped[10:].any()
    assert notes == ("aod550 outside 0 to 2, clamped",)
    assert flags_of(a_row(aod550=2.5), "per_tile")[0].all()
    # Dry valleys and shores down to 100 m below sea level are inside.
    assert not flags_of(a_row(elevation=encode(high * 0 - 50)))[0].any()


def test_a_void_in_the_elevation_takes_the_mean_and_says_so():
    row = a_row()
    holes, filled = decode(row["elevation"]).copy(), decode(row["elevation"]).copy()
    holes[30:34, 50:60] = -32768
    filled[30:34, 50:60] = row["elevation_m"]
    held = {**row, "elevation": encode(holes)}
    clamped, notes = flags_of(held)
    np.testing.assert_array_equal(clamped, holes == -32768)
    assert notes == ("elevation void, mean elevation used",)
    np.testing.assert_array_equal(whole(held), whole({**row, "elevation": encode(filled)}))
    assert flags_of({**held, "elevation_m": 1e6})[0].any()  # more than int16 holds


def compute(rows, **params):
    name, complete = methods.normalise("mosaic", params, SENSOR.name)
    job = SimpleNamespace(
        method=name, params=complete, sensor=SENSOR.name, grid=f"res-30_tilesize-{SIZE}",
        tile_x=5, tile_y=7, spill_dir=None,
    )  # fmt: skip
    return methods.compute(rows, job)


def test_the_result_names_the_table_and_what_was_amiss():
    rows = [
        a_row(granule_id="low sun", sun_zenith_deg=83.0),
        a_row(granule_id="given", xa=XA, xb=XB, xc=XC),
        a_row(granule_id="good"),
    ]
    for order in (rows, rows[::-1]):
        result = compute(order)
        assert result["status"] == "ok"
        assert "sun_zenith_deg outside 0 to 80, clamped in 1 of the rows" in result["message"]
        assert result["provenance"]["correction"] == [
            {"coefficients": "given", "granules": 1},
            {
                "coefficients": "lookup table",
                "sensor": "aster_l1t",
                "aerosol_model": "Continental",
                "digest": "stand-in",
                "granules": 2,
            },
        ]
        assert (decode(result["flags"]) & f.ATMOSPHERE_CLAMPED).all()
    strict = compute(rows, outside="error")
    assert strict["status"] == "partial"
    assert strict["granules"] == ["given", "good"]
    [issue] = strict["issues"]
    assert (issue["granule_id"], issue["column"]) == ("low sun", "sun_zenith_deg")
    assert "sun_zenith_deg is 83, the lookup table covers 0 to 80" in issue["error"]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"aod550": None}, "aod550"),
        ({"elevation_m": None}, "elevation_m"),
        ({"water_vapour_g_cm2": float("nan")}, "water_vapour_g_cm2"),
        ({"view_azimuth_deg": None}, "view_azimuth_deg"),
        ({"aerosol_model": None}, "aerosol_model"),
        ({"aod550_field": [0.1] * 288}, "aod550_field"),
        ({"water_vapour_field": [float("nan")] * 289}, "water_vapour_field"),
        ({"elevation": encode(np.zeros((8, 8), np.int16))}, "elevation"),
    ],
)
def test_a_state_that_is_not_known_is_an_issue(changes, column):
    [issue] = compute([a_row(**changes)])["issues"]
    assert issue["column"] == column
    assert column == "elevation" or "or give xa, xb, xc" in issue["error"]


def test_no_table_for_a_model_is_an_issue(monkeypatch):
    def none(sensor_name, model):
        raise InputError(f"No lookup table for {model}")

    monkeypatch.setattr(air_state, "lut", none)
    [issue] = compute([a_row(aerosol_model="Maritime")])["issues"]
    assert issue["column"] == "aerosol_model"


def test_another_table_is_another_revision(tmp_path, monkeypatch):
    monkeypatch.setenv(lut_file.FOLDER_VARIABLE, str(tmp_path))
    before = methods.revision(SENSOR.name)
    path = tmp_path / lut_file.file_name(SENSOR.name, "Maritime")
    seen = {before}
    for value in (1.0, 2.0):
        path.write_bytes(lut_file.pack({"a": np.full(3, value)}, {"format": lut_file.FORMAT}))
        seen.add(methods.revision(SENSOR.name))
    (tmp_path / lut_file.file_name("other", "Maritime")).write_bytes(b"not read")
    seen.add(methods.revision(SENSOR.name))
    assert len(seen) == 3
    path.write_bytes(b"damaged")
    with pytest.raises(InputError):
        methods.revision(SENSOR.name)
