"""Options of the MaxCompute engine on the command line; no service and no client is needed."""

import pytest

from geoquarry.jobs import doctor
from geoquarry.jobs.__main__ import OPTIONS, PLANS, build_parser, engine_options, main
from geoquarry.jobs.doctor import examine
from geoquarry.schemas.errors import UsageError


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in doctor.set_variables():
        monkeypatch.delenv(name)


def options(*words):
    return engine_options(build_parser().parse_args(["run", "mosaic", "a", "b", *words]))


def test_options_of_the_engine():
    place = ["--project", "p", "--endpoint", "http://h/api", "--tunnel-endpoint", "http://t"]
    who = ["--access-id", "me", "--secret-file", "s"]
    how = ["--odps-schema", "x", "--quota", "q", "--image", "i", "--prefix", "w_"]
    found = options("--engine", "maxcompute", *place, *who, *how, "--plan", "udtf")
    assert set(found) == set(OPTIONS["maxcompute"]) - {"workers"}
    assert (found["tunnel_endpoint"], found["secret_file"]) == ("http://t", "s")
    assert options("--engine", "maxcompute") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--project", "p"], "--project is an option of --engine maxcompute, not local"),
        (["--secret-file", "p"], "--secret-file is an option of --engine maxcompute"),
        (["--engine", "maxcompute", "--master", "x"], "--master is an option of --engine spark"),
        (["--engine", "maxcompute", "--plan", "sql"], "maxcompute has auto, collect, udtf, udaf"),
        (["--engine", "spark", "--plan", "udaf"], "--engine spark has direct, sql"),
        (["--plan", "auto"], "--plan is an option of --engine spark, maxcompute, not local"),
    ],
)
def test_options_of_another_engine_are_refused(words, said):
    with pytest.raises(UsageError, match=said):
        options(*words)


def test_the_plans_are_those_of_the_engine():
    maxcompute = pytest.importorskip("geoquarry.engine.maxcompute", reason="needs pyodps")
    assert PLANS["maxcompute"] == maxcompute.PLANS


def test_a_secret_is_no_option():
    text = build_parser().format_help() + str(OPTIONS)
    assert "secret_access_key" not in text
    with pytest.raises(SystemExit):
        build_parser().parse_args(["tables", "--secret-access-key", "x"])


@pytest.mark.parametrize("engine", ["maxcompute", "odps"])
def test_commands_that_make_no_sense_there(engine, capsys):
    assert main(["relocate", "--engine", engine]) == 2
    assert "lie in a project" in capsys.readouterr().err
    words = ["lut", "build", "--engine", engine, "--sensor", "aster_l1t", "--out", "x.npz"]
    if main(words) == 2:
        assert "lut build" in capsys.readouterr().err


def test_without_an_account_it_is_said_what_to_give(capsys):
    pytest.importorskip("odps", reason="needs pyodps")
    assert main(["tables", "--engine", "odps"]) == 2
    assert "Give --project or $ODPS_PROJECT_NAME" in capsys.readouterr().err


def test_doctor_names_variables_and_never_their_values(monkeypatch, tmp_path):
    def found():
        return {row["what"]: row for row in examine(str(tmp_path))}["engine maxcompute"]

    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "odps" else object())
    monkeypatch.setattr(doctor, "version", lambda name: "1")
    assert found() == {
        "what": "engine maxcompute",
        "state": "missing",
        "about": "pip install '.[odps]' in a clone",
    }
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert "no project: set $ODPS_PROJECT_NAME" in found()["about"]
    monkeypatch.setenv("ODPS_ACCESS_KEY", "s3cret")
    assert found()["state"] == "missing"
    assert "set: ODPS_ACCESS_KEY; MaxCompute: no project" in found()["about"]
    assert "s3cret" not in found()["about"]
