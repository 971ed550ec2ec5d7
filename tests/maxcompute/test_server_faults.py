"""Planted faults of the stand-in, as the unmodified client sees them."""

import time

import pytest

pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
pytest.importorskip("sqlglot_maxcompute", reason="needs sqlglot-maxcompute")
from odps import errors
from odps.tunnel import TableTunnel
from odps_client import HINTS, asked, client_settings, created, filled, read, rows  # noqa: F401
from requests.exceptions import ConnectionError as RequestsConnectionError

pytestmark = [pytest.mark.maxcompute, pytest.mark.usefixtures("client_settings")]


def test_a_busy_server_is_asked_again(odps, server):
    fault = server.faults.add("5xx", times=2, match="table.get")
    assert not odps.exist_table("t")
    assert len(fault.hits) == 2


def test_a_statement_that_was_answered_5xx_is_not_sent_again_by_the_client(odps, server):
    created(odps)
    server.faults.add("5xx", match="instance.create")
    with pytest.raises(errors.InternalServerError):
        odps.execute_sql("SELECT 1")
    server.faults.add("reply_lost", match="instance.create")
    with pytest.raises(RequestsConnectionError):
        odps.execute_sql("INSERT INTO TABLE t SELECT 1, NULL, NULL, NULL, NULL", hints=HINTS)
    assert len(asked(odps, "SELECT a FROM t")) == 1, "it was done all the same"


def test_quota_is_waited_for(odps, server):
    table = created(odps)
    fault = server.faults.add("quota", times=3, match="upload.create")
    TableTunnel(odps).create_upload_session(table)
    assert len(fault.hits) == 3


@pytest.mark.parametrize("kind", ["reset", "reply_lost"])
def test_a_connection_that_breaks_during_an_upload(odps, server, kind):
    table = created(odps)
    server.faults.add(kind, match="upload.block")
    session = TableTunnel(odps).create_upload_session(table)
    broken = pytest.raises((errors.ODPSError, RequestsConnectionError))
    with broken, session.open_arrow_writer(1) as writer:
        writer.write(rows(3))
    assert session.get_block_list() == ([] if kind == "reset" else [1])
    with session.open_arrow_writer(1) as writer:
        writer.write(rows(3))
    session.commit([1])
    assert read(table).num_rows == 3


@pytest.mark.parametrize(("kind", "done"), [("5xx", 0), ("done_5xx", 3)])
def test_a_commit_that_was_or_was_not_done(odps, server, kind, done):
    table = created(odps)
    session = TableTunnel(odps).create_upload_session(table)
    with session.open_arrow_writer(1) as writer:
        writer.write(rows(3))
    server.faults.add(kind, times=None, match="upload.commit")
    with pytest.raises(errors.ODPSError):
        session.commit([1])
    assert read(table).num_rows == done if done else len(asked(odps, "SELECT a FROM t")) == 0


def test_expired_sessions(odps, server):
    table = filled(odps)
    server.faults.add("expired_upload", match="upload.block")
    session = TableTunnel(odps).create_upload_session(table)
    with pytest.raises(errors.ODPSError, match="expired"), session.open_arrow_writer(1) as writer:
        writer.write(rows(3))
    server.faults.add("expired_download", match="download.data")
    with pytest.raises(errors.ODPSError, match="expired"):
        TableTunnel(odps).create_download_session(table).open_arrow_reader(0, 20).read()


@pytest.mark.parametrize("kind", ["truncated", "crc"])
def test_a_broken_download_is_noticed(odps, server, kind):
    table = filled(odps)
    session = TableTunnel(odps).create_download_session(table)
    fault = server.faults.add(kind, times=None, match="download.data")
    with pytest.raises(Exception) as caught:
        session.open_arrow_reader(0, 20, on_exception=lambda _: True).read()
    assert caught.value is not None
    assert fault.hits
    server.faults.clear()
    assert session.open_arrow_reader(0, 20).read().num_rows == 20


def test_a_download_that_ends_early_is_not_noticed_by_the_client(odps, server):
    """Whoever downloads has to count."""
    session = TableTunnel(odps).create_download_session(filled(odps))
    server.faults.add("short", match="download.data")
    assert session.open_arrow_reader(0, 20).read().num_rows == 10


def test_tasks_that_fail(odps, server):
    filled(odps)
    insert = "INSERT INTO TABLE t SELECT * FROM t"
    server.faults.add("task_failed", match="INSERT", message="ODPS-0130013:no privilege to do it")
    with pytest.raises(errors.NoPermission, match="no privilege"):
        odps.execute_sql(insert, hints=HINTS)
    server.faults.add("conflict", match="INSERT")
    with pytest.raises(errors.ODPSError, match="0110999"):
        odps.execute_sql(insert, hints=HINTS)
    server.faults.add("task_cancelled", match="INSERT")
    with pytest.raises(errors.ODPSError, match="CANCELLED"):
        odps.execute_sql(insert, hints=HINTS)
    assert len(asked(odps, "SELECT a FROM t")) == 20
    server.faults.add("task_failed_done", match="INSERT")
    with pytest.raises(errors.InternalServerError, match="fuxi"):
        odps.execute_sql(insert, hints=HINTS)
    assert len(asked(odps, "SELECT a FROM t")) == 40
    server.faults.add("task_slow", match="SELECT", seconds=0.6)
    began = time.monotonic()
    asked(odps, "SELECT a FROM t")
    assert time.monotonic() - began > 0.5


def test_the_log_of_requests(odps, server):
    filled(odps)
    assert server.count("upload.create") == server.count("upload.commit") == 1
    assert {"table.get", "upload.block", "instance.create"} <= {r.label for r in server.requests}
    assert server.batch_bytes[0] > 100
    with pytest.raises(KeyError):
        server.faults.add("no such fault")
