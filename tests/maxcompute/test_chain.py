"""Scenes to maps on MaxCompute by the command line, beside the local engine: the same tables."""

import json
import re

import pytest

from geoquarry.engine import local
from geoquarry.jobs.__main__ import main
from geoquarry.schemas.digest import parity_digest

pytestmark = pytest.mark.maxcompute


@pytest.fixture
def ask(server, tmp_path, monkeypatch, capfd):
    """Run a command on one of the engines: ``ask("odps", "tables")`` -> code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODPS_ACCESS_ID", server.access_id)
    monkeypatch.setenv("ODPS_ACCESS_KEY", server.secret)
    where = ["--project", server.project, "--endpoint", server.endpoint]
    where += ["--tunnel-endpoint", server.tunnel_endpoint]

    def run(engine, *words):
        more = [] if engine == "local" else where
        code = main([*words, "--engine", engine, "--warehouse", str(tmp_path / engine), *more])
        out, err = capfd.readouterr()
        assert server.secret not in out + err
        return code, out, err

    return run


def content(engine, table):
    return parity_digest(engine.read(table).read_all().to_pylist())


def test_scenes_to_maps(ask, s96, tmp_path, maxcompute_engine, server):
    scenes = [str(path) for path in sorted(s96.glob("*.hdf"))[:2]]
    air = ["--aod", "0.12", "--dem", "1200"]
    for engine in ("local", "odps"):
        first = ask(
            engine, "ingest", scenes[0], "--table", "aster", *air, "--grid", "res-30_tilesize-96"
        )
        assert first[0] == 0, first
        both = ask(engine, "ingest", *scenes, "--table", "aster", *air, "--csv", f"{engine}.csv")
        assert both[0] == 0, both
        ran = ask(engine, "run", "mosaic", "aster", "map", "--mosaic", "min")
        assert ran[0] == 0, ran
        again = ask(engine, "run", "mosaic", "aster", "map", "--mosaic", "min", "--json")
        report = json.loads(again[1])
        assert report["counts"]["skipped"] == report["tiles"] > 0
    here = local.open_engine(str(tmp_path / "local"))
    there = maxcompute_engine(tmp_path / "odps")
    assert here.tables() == there.tables()
    for table in here.tables():
        assert content(here, table) == content(there, table), table
    assert (tmp_path / "odps.csv").read_text().count("\n") == here.describe("aster")["rows"] + 1

    code, out, _ = ask("odps", "sql", "SELECT COUNT(*) AS n FROM aster", "--json")
    assert (code, json.loads(out)) == (0, [{"n": here.describe("aster")["rows"]}])
    code, out, _ = ask("odps", "sql", "SELECT tile_stats(b01).count AS n FROM aster", "--json")
    assert code == 0
    assert all(row["n"] > 0 for row in json.loads(out))
    assert ask("odps", "check", "map")[0] == 0
    assert re.search(r"present", ask("odps", "history", "map")[1])
    code, out, err = ask("odps", "export", "map", "maps")
    assert code == 0, err
    assert list((tmp_path / "maps").glob("*.tif"))
    code, _, err = ask("odps", "ingest", scenes[0], "--table", "aster", "--refresh-flags")
    assert code == 2
    assert "Ingest the scenes again" in err
    assert ask("odps", "vacuum", "--older-than", "0s")[0] == 0
    assert ask("odps", "drop", "map")[0] == 0
    assert there.tables() == ["aster"]
    assert server.said(server.secret) == []
