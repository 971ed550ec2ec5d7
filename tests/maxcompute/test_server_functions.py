"""Functions of the user on the stand-in for MaxCompute: what they get and what they may not do."""

import io
import tarfile
import time
from pathlib import Path

import pytest

pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
pytest.importorskip("sqlglot_maxcompute", reason="needs sqlglot-maxcompute")
from odps import errors, options
from odps_client import HINTS, MODULE, asked, client_settings, filled, rows, with_functions  # noqa: F401
from odps_worker import packages_of, python_of

pytestmark = [pytest.mark.maxcompute, pytest.mark.usefixtures("client_settings")]


COLLECT = (
    "SELECT g, r.n, r.text, r.calls FROM (SELECT g, f_collected('x', COLLECT_LIST(NAMED_STRUCT("
    "'a', a, 'b', b))) AS r FROM t GROUP BY g) q"
)


def test_a_function_of_collected_rows(odps, server):
    filled(odps)
    with_functions(odps)
    hints = {"odps.sql.executionengine.batch.rowcount": 2}
    server.evaluate = "once"
    found = asked(odps, COLLECT, **hints)
    assert {r["g"]: r["n"] for r in found} == {"g0": 63, "g1": 70, "g2": 57}
    assert {r["calls"] for r in found} == {1, 2, 3}
    instance = list(server.instances.all.values())[-1]
    assert instance.batches == [2, 1]
    server.evaluate = "per_field"
    assert sorted(r["calls"] for r in asked(odps, COLLECT, **hints)) == [5, 6, 9]
    assert odps.get_function("f_collected").class_type == "m.Collected"
    assert [r.name for r in odps.list_resources()] == ["m.py"]


def test_a_table_function_sees_its_rows_in_order(odps, server):
    filled(odps)
    with_functions(odps)
    server.reducers = 2
    query = (
        "SELECT f_streamed(u.g, u.a) AS (g, n, seen) FROM"
        " (SELECT g, a FROM t DISTRIBUTE BY g SORT BY g, a DESC) u"
    )
    found = {r["g"]: r["seen"] for r in asked(odps, query)}
    assert found["g1"] == "19,16,13,10,7,4,1"
    assert len(found) == 3
    unordered = asked(odps, "SELECT f_streamed(g, a) AS (g, n, seen) FROM t")
    assert len(unordered) > 3, "rows come in any order without DISTRIBUTE BY and SORT BY"
    with pytest.raises(errors.ODPSError, match="only expression"):
        asked(odps, "SELECT a, f_streamed(g, a) AS (g, n, seen) FROM t")


def test_an_aggregate_has_two_megabytes(odps):
    filled(odps)
    with_functions(odps)
    found = asked(odps, "SELECT g, f_summed(a, 10) AS n FROM t GROUP BY g")
    assert {r["g"]: r["n"] for r in found} == {"g0": 63, "g1": 70, "g2": 57}
    with pytest.raises(errors.ScriptError, match="bytes after marshalling"):
        asked(odps, "SELECT f_summed(a, 150000) AS n FROM t")


def test_a_function_in_a_condition(odps):
    filled(odps)
    with_functions(odps, body="return a * 2")
    found = asked(odps, "SELECT a, MAX(f_wrong(a)) AS m FROM t WHERE f_wrong(a) > 34 GROUP BY a")
    assert sorted((r["a"], r["m"]) for r in found) == [(18, 36), (19, 38)]


@pytest.mark.parametrize(
    ("gives", "body", "message"),
    [
        ("bigint", "return 1.5", "returned float where BIGINT"),
        ("bigint", "return 1 << 64", "out of range"),
        ("bigint", "import numpy; return numpy.int64(1)", "returned int64 where BIGINT"),
        ("double", "return 1", "returned int where DOUBLE"),
        ("string", "return b'x'", "returned bytes where STRING"),
        ("binary", "return bytearray(b'x')", "returned bytearray where BINARY"),
        ("binary", "return b'x' * ((8 << 20) + 1)", "longer than the maximum"),
        ("array<binary>", "return [b'x' * ((8 << 20) + 1)]", "longer than the maximum"),
        ("struct<a:bigint,b:string>", "return (1,)", "returned tuple where STRUCT"),
        ("bigint", "raise ValueError('tile 7 is odd')", "ValueError: tile 7 is odd"),
        ("bigint", "import pyarrow", "No module named 'pyarrow'"),
        ("bigint", "import scipy", "No module named 'scipy'"),
        ("bigint", "import geoquarry", "No module named 'geoquarry'"),
        ("bigint", "open('/tmp/x', 'w')", "may not write"),
        ("bigint", "import socket; socket.create_connection(('127.0.0.1', 9))", "no network"),
        ("bigint", "import subprocess; subprocess.run(['true'])", "may not start"),
        ("bigint", "import os; os._exit(3)", "worker is gone"),
    ],
)
def test_what_a_function_may_not_do(odps, gives, body, message):
    filled(odps, table=rows(2))
    with_functions(odps, gives, body)
    with pytest.raises(errors.ODPSError, match=message) as caught:
        asked(odps, "SELECT f_wrong(a) AS x FROM t")
    assert "0123" in str(caught.value)


def test_scipy_is_in_an_image_of_its_own(odps):
    filled(odps, table=rows(2))
    with_functions(odps, body="import numpy, scipy; return a")
    hints = {"odps.session.image": "scipy"}
    assert len(asked(odps, "SELECT f_wrong(a) AS x FROM t", **hints)) == 2
    with pytest.raises(errors.ScriptError, match="No module named 'numpy'"):
        asked(odps, "SELECT f_wrong(a) AS x FROM t", **{"odps.session.image": ""})


def test_a_module_is_loaded_where_no_package_is(odps):
    filled(odps, table=rows(2))
    with_functions(odps, text="import numpy\n" + MODULE)
    with pytest.raises(errors.ODPSError, match="No module named 'numpy'") as caught:
        asked(odps, "SELECT f_wrong(a) AS x FROM t")
    assert "0130071" in str(caught.value)


@pytest.mark.parametrize("gives", ["timestamp", "bigint,bigint", "nothing"])
def test_signatures_that_the_service_does_not_know(odps, gives):
    filled(odps, table=rows(2))
    with_functions(odps, gives)
    with pytest.raises(errors.ODPSError, match="0130"):
        asked(odps, "SELECT f_wrong(a) AS x FROM t")


@pytest.mark.parametrize(
    "call", ["f_wrong(g)", "f_wrong(a, a)", "f_collected('x', COLLECT_LIST(NAMED_STRUCT('a', a)))"]
)
def test_arguments_are_checked_against_the_signature(odps, call):
    filled(odps, table=rows(2))
    with_functions(odps)
    with pytest.raises(errors.ODPSError, match="argument"):
        asked(odps, f"SELECT {call} AS x FROM t")


def test_functions_need_their_python_and_time(odps):
    filled(odps, table=rows(2))
    with_functions(odps, body="import time; time.sleep(30)")
    with pytest.raises(errors.ODPSError, match="cp311"):
        asked(odps, "SELECT f_wrong(a) AS x FROM t", **{"odps.sql.python.version": "cp37"})
    began = time.monotonic()
    with pytest.raises(errors.ODPSError, match="worker is gone"):
        asked(odps, "SELECT f_wrong(a) AS x FROM t", **{"odps.function.timeout": 1})
    assert time.monotonic() - began < 25  # it would sleep for 30


def test_a_running_function_is_stopped(odps):
    filled(odps, table=rows(2))
    with_functions(odps, body="import time; time.sleep(30)")
    instance = odps.run_sql(
        "INSERT OVERWRITE TABLE t SELECT f_wrong(a), b, g, t, l FROM t", hints=HINTS
    )
    time.sleep(0.3)
    instance.stop()
    with pytest.raises(errors.ODPSError, match="CANCELLED"):
        instance.wait_for_success()
    assert len(asked(odps, "SELECT a FROM t")) == 2


def test_archives_lie_below_work(odps):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        data = b"ANSWER = 42\n"
        member = tarfile.TarInfo("packages/deep/__init__.py")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    filled(odps, table=rows(2))
    code = (
        "import sys; sys.path.insert(0, 'work/a.tar.gz/packages'); import deep; return deep.ANSWER"
    )
    with_functions(odps, body=code)
    odps.create_resource("a.tar.gz", "archive", file_obj=packed.getvalue())
    odps.create_function("f_deep", class_type="m.Wrong", resources=["m.py", "a.tar.gz"])
    assert asked(odps, "SELECT f_deep(a) AS x FROM t WHERE a = 0") == [{"x": 42}]
    with pytest.raises(errors.ObjectAlreadyExists):
        odps.create_resource("a.tar.gz", "archive", file_obj=b"")
    with pytest.raises(errors.NoSuchObject):
        odps.create_function("f_no", class_type="m.Wrong", resources=["none.py"])


def test_a_large_resource_comes_in_parts(odps, server):
    before = options.upload_resource_in_chunks, options.resource_chunk_size
    options.upload_resource_in_chunks, options.resource_chunk_size = True, 1000
    content = bytes(range(256)) * 10
    try:
        odps.create_resource("large.bin", "file", file_obj=io.BytesIO(content))
    finally:
        options.upload_resource_in_chunks, options.resource_chunk_size = before
    assert [r.name for r in odps.list_resources()] == ["large.bin"]
    assert server.catalog.resources["large.bin"].content == content
    with odps.open_resource("large.bin", mode="rb") as file:
        assert file.read() == content


def test_functions_have_the_packages_of_their_own_interpreter(odps, server):
    filled(odps, table=rows(1))
    body = "import numpy, sys; return numpy.__version__ + ' ' + str(sys.flags.isolated)"
    with_functions(odps, "string", body)
    (row,) = asked(odps, "SELECT f_wrong(a) AS x FROM t")
    known = packages_of(python_of(server))
    assert Path(known, f"numpy-{row['x'].split()[0]}.dist-info").is_dir()
    assert row["x"].endswith(" 1")
