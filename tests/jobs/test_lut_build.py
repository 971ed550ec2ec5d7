import io
import json
from contextlib import suppress

import numpy as np
import pytest
from air import optics

from geoquarry.engine import sixs, sixs_batch
from geoquarry.engine.local import open_engine
from geoquarry.jobs import lut_build
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.lut_assemble import assemble
from geoquarry.schemas import lut_tables
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import RANGES, LutGrid, LutState, lut_grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs import lut_file
from geoquarry.udfs.lut import Lut, lut

NAMES = sensor("aster_l1t").names


@pytest.fixture(scope="module")
def packed() -> bytes:
    grid = lut_grid(sensor("aster_l1t"))
    found = {(band, state): optics(NAMES.index(band), state) for band, state in grid.runs()}
    arrays, about = assemble(grid, found, aerosol_model="Continental", provenance={"sixs": "none"})
    return lut_file.pack(arrays, about)


@pytest.fixture(scope="module")
def table(packed) -> Lut:
    return Lut(*lut_file.unpack(packed, "here"))


def random_states(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    limits = {**RANGES, "aod550": (0.002, 2.0)}
    return {name: rng.uniform(*limits[name], count) for name in limits}


def test_a_table_gives_back_the_atmosphere_it_was_built_from(table):
    states = random_states(200)
    found = table.optics(**states)
    for band in range(len(NAMES)):
        for place in range(200):
            truth = optics(band, LutState(**{n: float(v[place]) for n, v in states.items()}))
            for name in ("path_reflectance", "gas", "down", "up", "spherical_albedo", "coupling"):
                got = getattr(found, name)[band, place]
                assert got == pytest.approx(truth[name], abs=5e-4), (name, NAMES[band], place)


def test_states_may_be_scalars_per_state_or_per_band(table):
    states = random_states(3, seed=1)
    whole = table.optics(**states)
    one = table.optics(**{name: float(values[1]) for name, values in states.items()})
    assert one.gas.shape == (9, 1)
    np.testing.assert_allclose(one.path_reflectance[:, 0], whole.path_reflectance[:, 1], rtol=1e-9)
    # Two telescopes that look differently: each band has its own angle, shape (band, 1).
    view = np.where(np.arange(9) < 3, 5.0, 12.0)[:, None]
    apart = table.optics(**{**states, "view_zenith_deg": view})
    for band in (0, 8):
        same = table.optics(**{**states, "view_zenith_deg": float(view[band, 0])})
        np.testing.assert_allclose(apart.up[band], same.up[band], rtol=1e-12)
        np.testing.assert_allclose(
            apart.path_reflectance[band], same.path_reflectance[band], rtol=1e-9
        )


def test_a_state_outside_is_an_error_or_clamped_but_never_extrapolated(table):
    inside = {name: float(values[0]) for name, values in random_states(1).items()}
    for name, value, edge in (
        ("sun_zenith_deg", 81.0, 80.0),
        ("aod550", 2.5, 2.0),
        ("elevation_m", 7000.0, 6000.0),
        ("ozone_cm_atm", 0.1, 0.2),
        ("water_vapour_g_cm2", 8.0, 7.0),
        ("view_zenith_deg", 31.0, 30.0),
    ):
        with pytest.raises(InputError, match=f"{name} is {value:g}.*covers"):
            table.optics(**{**inside, name: value})
        assert not table.inside(**{**inside, name: value})
        clamped = table.optics(**{**inside, name: value}, outside="clamp")
        at_edge = table.optics(**{**inside, name: edge})
        np.testing.assert_array_equal(clamped.gas, at_edge.gas)
        np.testing.assert_array_equal(clamped.path_reflectance, at_edge.path_reflectance)
    for outside in ("error", "clamp"):
        with pytest.raises(InputError, match="aod550 is nan"):
            table.optics(**{**inside, "aod550": np.nan}, outside=outside)
    assert table.inside(**{**inside, "elevation_m": -80.0})
    assert not table.inside(**{**inside, "elevation_m": -150.0})


def test_a_changed_table_is_refused(table, tmp_path, monkeypatch):
    grid = {"format": 1, "sensor": "s"}
    data = lut_file.pack({"a": np.ones(4, np.float32)}, grid)
    assert lut_file.unpack(data, "here")[1]["digest"]
    with np.load(io.BytesIO(data)) as archive:
        held = {name: archive[name] for name in archive.files}
    held["a"][2] += 1e-6
    path = tmp_path / lut_file.file_name("aster_l1t", "Urban")
    np.savez(path, **held)
    with pytest.raises(InputError, match="damaged"):
        lut_file.unpack(path.read_bytes(), "there")
    with pytest.raises(InputError, match="no lookup table"):
        lut_file.unpack(data[:-40], "there")
    other = lut_file.pack({}, {"format": 99})
    with pytest.raises(InputError, match="format 99"):
        lut_file.unpack(other, "there")
    with pytest.raises(InputError, match=r"lut build --aerosol-model Urban"):
        lut("aster_l1t", "Urban")
    monkeypatch.setenv(lut_file.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="damaged"):
        lut("aster_l1t", "Urban")


def test_damage_anywhere_in_a_file_is_said_in_words(packed):
    with pytest.raises(InputError, match="no lookup table"):
        lut_file.unpack(b"", "there")
    rng = np.random.default_rng(1)
    for place in rng.integers(len(packed) // 10, len(packed) // 2, 60):
        data = bytearray(packed)
        data[place] ^= 0x55
        with suppress(InputError):  # or nothing that matters was hit
            lut_file.unpack(bytes(data), "there")


def test_a_table_is_the_one_that_was_asked_for(packed, tmp_path, monkeypatch):
    monkeypatch.setenv(lut_file.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere.*no such folder"):
        lut("aster_l1t", "Continental")
    monkeypatch.setenv(lut_file.FOLDER_VARIABLE, str(tmp_path))
    path = tmp_path / lut_file.file_name("aster_l1t", "Continental")
    path.write_bytes(packed)
    first = lut("aster_l1t", "Continental")
    assert first is lut("aster_l1t", "Continental")
    arrays, about = lut_file.unpack(packed, "here")
    del about["digest"]
    path.write_bytes(lut_file.pack(arrays, {**about, "provenance": {"sixs": "another"}}))
    assert lut("aster_l1t", "Continental").digest != first.digest  # in the same process
    (tmp_path / lut_file.file_name("aster_l1t", "Urban")).write_bytes(packed)
    with pytest.raises(InputError, match=r"under Continental aerosol.*not what its name says"):
        lut("aster_l1t", "Urban")
    path.write_bytes(lut_file.pack({n: arrays[n] for n in arrays if "depth" not in n}, about))
    with pytest.raises(InputError, match=r"other parts.*lut build"):
        lut("aster_l1t", "Continental")


def test_bands_are_in_the_order_of_the_sensor_whatever_their_groups():
    """Groups are by wavelength, which need not be the order of a sensor's bands."""
    part = small(None).groups["infrared"]
    groups = {
        place: {name: type(p)(name, (band,), p.axes) for name, p in part.items()}
        for place, band in (("first", "b09"), ("second", "b04"))
    }
    grid = LutGrid("aster_l1t", "coarse", groups)
    found = {(band, state): optics(NAMES.index(band), state) for band, state in grid.runs()}
    made = Lut(
        *lut_file.unpack(
            lut_file.pack(*assemble(grid, found, aerosol_model="Continental", provenance={})),
            "here",
        )
    )
    assert made.bands == ("b04", "b09")
    at_node = LutState(0.0, 0.0, 0.0, 2.0, 0.0, 7.0, 0.35)
    gas = made.optics(**{name: getattr(at_node, name) for name in made.ranges}).gas[:, 0]
    for place, band in enumerate(made.bands):
        truth = optics(NAMES.index(band), at_node)["gas"]
        assert gas[place] == pytest.approx(truth, abs=1e-6)


def small(_sensor: object, detail: str = "full") -> LutGrid:
    """Only what one infrared band needs, on few nodes."""
    whole = lut_grid(sensor("aster_l1t"), "coarse")
    parts = {}
    for name, part in whole.groups["infrared"].items():
        axes = {
            axis: nodes if axis == "view" else (nodes[0], nodes[-1])
            for axis, nodes in part.axes.items()
        }
        parts[name] = type(part)(name, ("b09",), axes)
    return LutGrid("aster_l1t", detail, {"infrared": parts})


def test_a_build_is_a_job_that_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    asked, broken = [], {"after": 50}

    def answer(sensor_name, band, state, aerosol_model):
        asked.append(state)
        if len(asked) > broken["after"]:
            raise InputError("6S failed (exit code 1).")
        assert aerosol_model == "Maritime"
        return {name: optics(8, state)[name] for name in sixs_batch.OUTPUTS}

    monkeypatch.setattr(sixs_batch, "outputs_of", answer)
    monkeypatch.setattr(sixs_batch, "version", lambda: "6SV of this test")
    monkeypatch.setattr(sixs, "version", lambda: "6SV of this test")
    monkeypatch.setattr(lut_build, "lut_grid", small)
    monkeypatch.setattr(lut_tables, "BATCH", 20)
    out = tmp_path / "tables" / "lut_aster_l1t_maritime.npz"
    command = ["lut", "build", "--aerosol-model", "Maritime", "--out", str(out)]
    command += ["--warehouse", str(tmp_path / "w"), "--workers", "1"]
    runs = len(small(None).runs())
    assert main([*command, "--explain"]) == 0
    assert not asked
    assert main(command) == 1  # some batches failed: no table yet, what was answered stays
    assert not out.exists()
    assert "6S failed" in capsys.readouterr().err
    done = len(asked)
    broken["after"] = 10**9
    assert main([*command, "--json"]) == 0
    assert len(asked) - done < runs  # the first batches were not run again
    assert json.loads(capsys.readouterr().out)["counts"]["skipped"] >= 2
    arrays, about = lut_file.unpack(out.read_bytes(), str(out))
    assert about["provenance"]["sixs"] == "6SV of this test"
    assert about["provenance"]["runs"] == runs
    assert about["aerosol_model"] == "Maritime"
    found = Lut(arrays, about)
    # On two nodes per axis only the nodes themselves are right.
    at_node = LutState(0.0, 0.0, 0.0, 2.0, 0.0, 7.0, 0.35)
    fields = {name: getattr(at_node, name) for name in found.ranges}
    assert found.optics(**fields).gas[0, 0] == pytest.approx(optics(8, at_node)["gas"], abs=1e-6)
    assert main(command) == 0  # nothing left to do: the table is written again at once
    assert "0 batches of 6S runs to go" in capsys.readouterr().err
    engine = open_engine(str(tmp_path / "w"))
    answers = engine.sql(
        "SELECT count(*) AS n FROM (SELECT unnest(states) FROM lut_aster_l1t_full_maritime)"
    )
    assert answers.read_all()["n"].to_pylist() == [runs]
    # What an earlier, larger grid left behind is not taken for an answer.
    name = "lut_aster_l1t_full_maritime"
    left = engine.read(name).read_all().to_pylist()[0] | {"tile_x": 10**6}
    left["optics"] = [dict.fromkeys(said, 0.5) for said in left["optics"]]
    engine.append(name, [left])
    assert main(command) == 0
    again, _ = lut_file.unpack(out.read_bytes(), str(out))
    assert all((again[name] == array).all() for name, array in arrays.items())


def test_without_6s_no_table_is_begun(tmp_path, monkeypatch):
    def missing():
        raise InputError("6S is not installed.")

    monkeypatch.setattr(sixs, "version", missing)
    monkeypatch.setattr(lut_build, "lut_grid", small)
    assert main(["lut", "build", "--warehouse", str(tmp_path / "w")]) == 1
    assert open_engine(str(tmp_path / "w")).tables() == []
