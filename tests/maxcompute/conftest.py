"""A loopback MaxCompute for all tests of a process, and the clients of it."""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.extend(str(f) for f in (HERE.parent, HERE) if str(f) not in sys.path)
collect_ignore_glob = ["odps_*.py", "stub_odps/*"]  # they have no examples, and need pyodps
if find_spec("odps") is None or find_spec("sqlglot_maxcompute") is None:
    collect_ignore_glob.append("test_*.py")  # the extra [dev] brings both


SETTINGS = {
    "max_field_size",
    "max_record",
    "sessions_per_window",
    "delay_s",
    "answer_within_s",
    "initiating_polls",
    "rows_per_batch",
    "page_size",
    "_evaluate",
    "reducers",
    "partials",
    "timezone",
    "python",
}


@pytest.fixture(scope="session")
def running_server():
    """One server for the whole process: use ``server``, which is empty at the start of a test."""
    pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
    pytest.importorskip("sqlglot_maxcompute", reason="needs sqlglot-maxcompute")
    from odps_server import OdpsServer

    with OdpsServer() as server:
        yield server


@pytest.fixture
def server(running_server):
    """A loopback MaxCompute project without tables, functions or planted faults."""
    before = dict(vars(running_server))
    running_server.reset()
    yield running_server
    # what a test has set; the log and what the project holds are emptied in place
    vars(running_server).update({k: v for k, v in before.items() if k in SETTINGS})
    running_server.reset()


@pytest.fixture
def odps(server, monkeypatch):
    """The unmodified PyODPS client, connected to the server."""
    from odps import ODPS
    from odps.tunnel.io import writer

    if writer.pd is None:  # it asks whether rows are a DataFrame, also where pandas is not
        monkeypatch.setattr(writer, "pd", types.SimpleNamespace(DataFrame=()))
    return ODPS(
        server.access_id,
        server.secret,
        server.project,
        server.endpoint,
        tunnel_endpoint=server.tunnel_endpoint,
    )


@pytest.fixture
def maxcompute_engine(server, tmp_path):
    """Open our engine on the server: ``maxcompute_engine(plan="udtf")``."""
    from geoquarry.engine.maxcompute import open_engine

    def opened(location=None, **options):
        given = {
            "project": server.project,
            "endpoint": server.endpoint,
            "tunnel_endpoint": server.tunnel_endpoint,
            "access_id": server.access_id,
            "secret_access_key": server.secret,
        }
        return open_engine(str(location or tmp_path / "maxcompute"), **(given | options))

    return opened
