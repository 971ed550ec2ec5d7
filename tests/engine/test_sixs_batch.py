from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from geoquarry.engine import sixs, sixs_batch
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.lut_grid import LutState, lut_grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.lut import lut

WHY_NOT = sixs.available()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"6S cannot run: {WHY_NOT}")
JOB = SimpleNamespace(sensor="aster_l1t", params={"aerosol_model": "Continental"})


def test_a_batch_answers_state_by_state():
    states = [LutState(40.0), LutState(40.0, water_vapour_g_cm2=1.48, aerosols=False)]
    row = {"band": "b09", "states": [asdict(state) for state in states]}
    found = sixs_batch.compute([row], JOB)
    assert found["status"] == "ok"
    assert found["states"] == row["states"]
    hazy, wet = found["optics"]
    assert set(hazy) == set(sixs_batch.OUTPUTS)
    assert hazy["aerosol_depth"] > 0.02
    assert 0.1 < hazy["aerosol_phase"] < 1
    assert wet["aerosol_depth"] == wet["aerosol_phase"] == 0
    assert wet["gas"] < hazy["gas"] - 0.2
    assert wet["path_reflectance"] < hazy["path_reflectance"]


def test_a_gap_of_6s_is_bridged_and_counted(monkeypatch):
    # 6S v1.1 prints NaN beyond 2 um where aerosol is this thin on a mountain.
    state = LutState(40.0, aod550=0.001, elevation_m=3000.0)
    row = {"band": "b09", "states": [asdict(state)]}
    found = sixs_batch.compute([row], JOB)
    assert found["provenance"]["bridged"] == 1
    near = sixs_batch.outputs_of("aster_l1t", "b09", replace(state, aod550=0.0015), "Continental")
    assert found["optics"] == [near]

    def gap(sensor_name, band, state, aerosol_model):
        if 0.99 < state.aod550 < 1.03:
            raise InputError("6S gave no reflectance")
        return dict.fromkeys(sixs_batch.OUTPUTS, state.aod550)

    monkeypatch.setattr(sixs_batch, "outputs_of", gap)
    (middle,) = sixs_batch.compute([{**row, "states": [asdict(LutState(40.0, aod550=1.0))]}], JOB)[
        "optics"
    ]
    assert middle["down"] == pytest.approx((1.05 + 1 / 1.05) / 2)


def test_a_state_without_any_answer_fails_its_batch(monkeypatch):
    def never(*_):
        raise InputError("6S gave no reflectance")

    monkeypatch.setattr(sixs_batch, "outputs_of", never)
    with pytest.raises(InputError, match="nor for its neighbours"):
        sixs_batch.compute([{"band": "b09", "states": [asdict(LutState(40.0))]}], JOB)


def test_the_shipped_table_holds_what_6s_says_at_its_nodes():
    table = lut("aster_l1t", "Continental")
    parts = lut_grid(sensor("aster_l1t")).groups["infrared"]
    for name, place in (("gas", 611), ("path", 433), ("scattering", 97)):
        state = list(parts[name].nodes())[place][1]
        run = sixs_batch.outputs_of("aster_l1t", "b08", state, "Continental")
        found = table.optics(
            sun_zenith_deg=state.sun_zenith_deg,
            view_zenith_deg=state.view_zenith_deg,
            relative_azimuth_deg=state.relative_azimuth_deg,
            aod550=state.aod550,
            elevation_m=state.elevation_m,
            water_vapour_g_cm2=state.water_vapour_g_cm2,
            ozone_cm_atm=max(state.ozone_cm_atm, 0.2),  # no matter to this band
        )
        assert found.gas[7, 0] == pytest.approx(run["gas"], abs=2e-5)
        if name != "gas":
            assert found.down[7, 0] == pytest.approx(run["down"], abs=2e-5)
            assert found.path_reflectance[7, 0] == pytest.approx(run["path_reflectance"], abs=1e-4)
