"""`lut check`: what it measures, what it calls good, and that it compares with 6S itself."""

import argparse
import csv
import json
import time

import numpy as np
import pytest

from geoquarry.engine import sixs
from geoquarry.jobs import lut_check, lut_compare
from geoquarry.schemas.coefficients import coefficients_from_transmittances
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.lut import lut

ASTER = sensor("aster_l1t")
WHY_NOT = sixs.available()
needs_sixs = pytest.mark.skipif(WHY_NOT is not None, reason=f"needs 6S: {WHY_NOT}")
RANGES = {
    "sun_zenith_deg": (0.0, 80.0),
    "view_zenith_deg": (0.0, 30.0),
    "aod550": (0.0, 2.0),
    "elevation_m": (0.0, 6000.0),
    "water_vapour_g_cm2": (0.0, 7.0),
    "ozone_cm_atm": (0.2, 0.5),
}


def air(sun_zenith_deg, aod550, **_):
    """A made-up atmosphere, the same for table and "6S": what one multiplies and the other adds."""
    zero = np.zeros((9, 1)) + np.asarray(sun_zenith_deg) * 0
    return {
        "path_reflectance": zero + 0.02 + 0.05 * np.asarray(aod550),
        "gas": zero + np.linspace(0.9, 0.7, 9)[:, None],
        "down": zero + 0.9 - 0.002 * np.asarray(sun_zenith_deg),
        "up": zero + 0.9,
        "spherical_albedo": zero + 0.1,
        "coupling": zero + 1.001,
    }


class Table:
    """A table that knows this atmosphere, but for what a test changes."""

    sensor, aerosol_model, ranges = ASTER.name, "Continental", RANGES
    digest, provenance = "abc", {"6S": "made up"}

    def __init__(self, change=lambda light, state: light):
        self.change = change

    def correction(self, *, earth_sun_distance_au, irradiance_w_m2_um, **state):
        light = self.change(air(**state), state)
        return coefficients_from_transmittances(
            **light,
            irradiance_w_m2_um=np.asarray(irradiance_w_m2_um)[:, None],
            sun_zenith_deg=state["sun_zenith_deg"],
            earth_sun_distance_au=earth_sun_distance_au,
        )


def answered(sensor, **state):
    """In the place of 6S: the made-up atmosphere, band by band."""
    light = air(state["sun_zenith_deg"], state["aod550"])
    rows = zip(*(value[:, 0] for value in light.values()), strict=True)
    bands = [dict(zip(light, row, strict=True)) for row in rows]
    optics = [sixs.Optics(**band, irradiance_w_m2_um=1.0, water=1.0) for band in bands]
    return sixs.Correction([], [], [], optics, 0)


@pytest.fixture
def ask(monkeypatch, capsys):
    """Check a stand-in table against a stand-in 6S: exit code and the JSON answer."""
    monkeypatch.setattr(sixs, "correction", answered)
    monkeypatch.setattr(sixs, "version", lambda: "6SV of a test")

    def give(table, n=60, **options):
        monkeypatch.setattr(lut_check, "lut", lambda sensor, model: table)
        usual = {"sensor": ASTER.name, "aerosol_model": "Continental", "csv": None, "workers": 2}
        args = argparse.Namespace(**usual | {"n": n, "seed": 7, "json": True} | options)
        code = lut_check.main(args, None)
        out = capsys.readouterr()
        return code, json.loads(out.out) if args.json else out

    return give


def unmet(found):
    return [(t["region"], t["of"], t["share"]) for t in found["targets"] if not t["met"]]


def test_a_table_that_is_6s_meets_every_target(ask):
    code, found = ask(Table())
    assert (code, unmet(found)) == (0, [])
    assert found["states"] == {"core": 30, "rest": 30}
    assert (found["digest"], found["provenance"]) == ("abc", {"6S": "made up"})
    assert max(line["max"] for line in found["reflectance"] + found["bands"]) < 1e-12
    assert [line["ratio"] for line in found["ratios_percent"][:2]] == ["b05/b06", "b09/b08"]
    assert len(found["targets"]) == 4


def test_an_error_shows_at_its_size_where_it_is(ask):
    """0.001 of path reflectance in band 9 alone, in the rest region alone."""

    def change(light, state):
        hard = (state["aod550"] > 0.8) | (state["sun_zenith_deg"] > 65)
        light["path_reflectance"][8] += np.where(hard, 0.001, 0.0)
        return light

    code, found = ask(Table(change))
    assert (code, unmet(found)) == (0, [])  # under 0.003
    core, rest = ([x for x in found["bands"] if x["region"] == r] for r in ("core", "rest"))
    assert max(line["max"] for line in core) < 1e-12
    # Seen from below through 0.7 x 0.9 x (0.74 to 0.9) of transmittance.
    assert max(line["max"] for line in rest[:8]) < 1e-12
    assert 0.001 / 0.52 < rest[8]["max"] < 0.001 / 0.46
    b09 = [line for line in found["ratios_percent"] if line["ratio"] == "b09/b08"][1]
    assert 100 * 0.001 / 0.52 / 0.05 < b09["max"] < 100 * 0.001 / 0.46 / 0.05


def everywhere(light, state):
    """0.0003 in front of the surface is 0.00042 to 0.0006 on it."""
    return light | {"path_reflectance": light["path_reflectance"] + 3e-4}


def one_band(light, state):
    """0.3 % of transmittance is 0.0015 at 0.5, and all of it is seen in a ratio."""
    light["gas"][4] *= 0.997
    return light


def one_place(light, state):
    """A hole in the table: one band, one state."""
    light["path_reflectance"][0, 0] += 0.005
    return light


def nothing(light, state):
    """A table that has no answer."""
    return light | {"gas": light["gas"] * np.nan}


CORE_99, CORE_ALL = ("core", "reflectance", 0.99), ("core", "reflectance", 1.0)
CORE_RATIOS, REST_99 = ("core", "ratios_percent", 0.99), ("rest", "reflectance", 0.99)


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        (everywhere, [CORE_99]),
        (one_band, [CORE_99, CORE_RATIOS]),
        (one_place, [CORE_ALL]),
        (nothing, [CORE_99, CORE_ALL, CORE_RATIOS, REST_99]),
    ],
)
def test_each_target_is_missed_for_its_own_reason(ask, change, missed):
    code, found = ask(Table(change), n=400)
    assert (code, unmet(found)) == (1, missed)


def test_states_are_drawn_over_the_whole_range():
    few, many = (lut_compare.draw(RANGES, n, seed=3) for n in (40, 400))
    core = lut_compare.in_core(many)
    assert core.sum() == 200
    for name, (low, high) in RANGES.items():
        room = 0.05 * (high - low)
        assert low <= many[name].min() < low + room
        assert high - room < many[name].max() <= high
        # The states of a smaller draw come first again, so that a cache knows them.
        np.testing.assert_array_equal(few[name][:20], many[name][:20])
        np.testing.assert_array_equal(few[name][20:], many[name][200:220])
    assert many["sun_zenith_deg"][core].max() <= 65
    assert (many["relative_azimuth_deg"] <= 180).all()
    assert not np.array_equal(lut_compare.draw(RANGES, 40, seed=4)["aod550"], few["aod550"])


def test_every_state_can_be_written_down(ask, tmp_path):
    path = tmp_path / "new" / "states.csv"
    _, found = ask(Table(everywhere), n=10, csv=path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 10 * 9
    assert [row["band"] for row in rows[:9]] == ASTER.names
    worst = max(abs(float(row["error_at_0.5"])) for row in rows if row["region"] == "core")
    assert worst == pytest.approx(found["reflectance"][2]["max"], rel=1e-6)
    assert {float(row["sun_zenith_deg"]) <= 65 for row in rows if row["region"] == "core"} == {True}


def test_people_read_tables(ask):
    code, out = ask(Table(everywhere), json=False)
    lines = [line.split() for line in out.out.splitlines()]
    assert code == 1
    assert ["region", "at", "p50", "p90", "p99", "p99.9", "max"] in lines
    assert ["core", "reflectance", "1", "0.002", "1", "True"] in lines
    assert (
        next(line for line in lines if line[:3] == ["core", "reflectance", "0.99"])[-1] == "False"
    )


def test_a_state_without_answer_is_left_out_and_told(ask, monkeypatch):
    def some(sensor, **state):
        if state["aod550"] > 1.5:
            raise InputError("6S gave no reflectance")
        return answered(sensor, **state)

    drawn = lut_compare.draw(RANGES, 60, seed=7)["aod550"]
    monkeypatch.setattr(sixs, "correction", some)
    code, found = ask(Table())
    assert (code, unmet(found)) == (3, [])
    assert found["without answer"] == (drawn > 1.5).sum() > 0
    assert sum(found["states"].values()) == (drawn <= 1.5).sum()
    monkeypatch.setattr(sixs, "correction", lambda sensor, **state: some(sensor, aod550=2.0))
    code, found = ask(Table(), n=2)  # nothing known is nothing met
    assert (code, len(unmet(found))) == (1, 4)


def test_stopping_starts_no_further_state(monkeypatch):
    begun = []

    def stop(sensor, **state):
        begun.append(state)
        time.sleep(0.02)  # 6S takes longer: the others wait for it, not the other way round
        raise KeyboardInterrupt

    monkeypatch.setattr(sixs, "correction", stop)
    with pytest.raises(KeyboardInterrupt):
        lut_compare.compare(Table(), n=200, workers=1)
    assert len(begun) < 200


def test_wrong_usage(ask):
    with pytest.raises(UsageError, match="at least 2"):
        ask(Table(), n=1)
    with pytest.raises(InputError):
        lut(ASTER.name, "Cheese")


# -- with 6S itself and the table that ships ------------------------------------------------

SOME = {
    "sun_zenith_deg": np.array([35.0, 62.0, 78.0]),
    "view_zenith_deg": np.array([8.6, 24.0, 30.0]),
    "relative_azimuth_deg": np.array([60.0, 150.0, 0.0]),
    "aod550": np.array([0.3, 0.7, 1.8]),
    "elevation_m": np.array([0.0, 4000.0, 1000.0]),
    "water_vapour_g_cm2": np.array([2.0, 0.5, 5.0]),
    "ozone_cm_atm": np.array([0.3, 0.4, 0.25]),
}
"""Two states of the core region and one beyond it."""
GROUND = np.resize([0.5, 0.05, 0.2], 9)
"""One ground per band, so that one run of each band covers dark and bright."""


@pytest.fixture(scope="module")
def integrated():
    """Apparent reflectance as 6S integrates it over each band, shape (band, state)."""
    if WHY_NOT is not None:
        pytest.skip(f"needs 6S: {WHY_NOT}")
    found = []
    for place in range(3):
        state = {name: float(values[place]) for name, values in SOME.items()}
        view, apart = state.pop("view_zenith_deg"), state.pop("relative_azimuth_deg")
        radiance = sixs.forward(
            ASTER,
            GROUND.tolist(),
            earth_sun_distance_au=1.0,
            sun_azimuth_deg=0.0,
            view_zenith_deg=[view] * 9,
            view_azimuth_deg=[apart] * 9,
            **state,
        )
        sun = np.cos(np.deg2rad(state["sun_zenith_deg"])) / np.pi
        found.append(np.array(radiance) / (sun * np.array(ASTER.irradiance_w_m2_um)))
    return np.array(found).T


@pytest.mark.heavy
def test_the_yardstick_is_what_6s_sees(integrated):
    """Its formula with its printed numbers, against its own integral over each band."""
    hard = {name: values[1:2] for name, values in SOME.items()}
    optics = lut_compare.direct(ASTER, hard, aerosol_model="Continental")
    seen = [
        lut_compare.apparent_reflectance(optics, ground)[place, 0]
        for place, ground in enumerate(GROUND)
    ]
    np.testing.assert_allclose(seen, integrated[:, 1], rtol=0, atol=1e-4)


def test_the_table_finds_surfaces_that_6s_sees(integrated):
    got = lut_compare.recover(lut(ASTER.name, "Continental"), integrated, SOME)
    error = np.abs(got - GROUND[:, None])
    assert (error[:, :2] < 0.001).all()
    assert (error[:, 2] < 0.003).all()


@pytest.mark.heavy
@needs_sixs
def test_the_shipped_table_against_6s(tmp_path):
    """The command itself on a handful of states; docs/atmosphere.md has it on a thousand."""
    stored = sixs.Cache(tmp_path / "sixs.sqlite")
    found = lut_compare.compare(lut(ASTER.name, "Continental"), n=2, seed=5, cache=stored)
    assert found.error.shape == (3, 9, 2)
    assert found.failed == []
    assert np.abs(found.error[..., 0]).max() < 0.002
    assert np.abs(found.error[..., 1]).max() < 0.005


def test_a_seed_below_0_is_refused(ask):
    with pytest.raises(UsageError, match="--seed -1: give 0 or more"):
        ask(Table(), seed=-1)
