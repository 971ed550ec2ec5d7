"""The generated UDF module against the documented contract, without a server.

PyODPS's own runner checks signatures and types; the drivers here do what the service documents and
that runner leaves out: marshalled buffers, several partial ones, any order.
"""

import ast
import json
import marshal
import random
import subprocess
import sys
import types
from collections import namedtuple

import pyarrow as pa
import pytest
from rows import GRID, SENSOR, made_up_row

from geoquarry.engine.batches import digest_of
from geoquarry.engine.local import open_engine
from geoquarry.engine.maxcompute_archive import archive_of
from geoquarry.engine.maxcompute_tasks import Limits, task_text
from geoquarry.engine.maxcompute_udf import FIELD, tile_module
from geoquarry.engine.plan import RowRef, TileTask
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

pytestmark = [pytest.mark.maxcompute]
TILE = (3, 5)
OWN = {"row_digest", "row_bytes", "zone"}
ROWS = [made_up_row(*TILE, granule, given=granule % 2 == 0) for granule in range(4)]
BUFFER_BYTES = 2 * 2**20


class Case:
    """One tile of a job: the yardstick's answer, the generated module and its arguments."""

    def __init__(self, folder, method="mosaic", rows=ROWS, **params):
        engine = open_engine(str(folder), workers=1)
        engine.create("tiles", tiles_schema(SENSOR.name, GRID))
        engine.append("tiles", rows)
        trigger = Trigger(method, "tiles", "out", params={"scope": "tile", **params})
        self.job = job_of(engine, trigger)
        report = run_phases(engine, self.job)
        assert report.tiles == 1
        self.expected = engine.read("out").read_all().to_pylist()
        self.schema = engine.schema("tiles")
        self.archive = archive_of(self.job.udf)
        self.text = tile_module(self.job, self.schema, self.archive.name)
        names = ["given", "granule", *self.job.columns]
        self.struct = namedtuple("Row", [FIELD + name for name in names])
        held = engine.read("tiles").read_all().to_pylist()
        refs = tuple(RowRef("", 0, row["granule_id"], digest_of(row), 0) for row in held)
        self.tile = task_text(self.job, TileTask(*TILE, refs), "job", Limits(8 << 20))
        self.rows = [self.value(row) for row in held]

    def value(self, row):
        """A row as the service hands it to a function."""
        own = dict(row)
        if "acquired" in own:
            own["acquired"] = own["acquired"].strftime("%Y-%m-%d %H:%M:%S")
        return self.struct(None, row["granule_id"], *(own[name] for name in self.job.columns))

    def module(self):
        found = types.ModuleType("generated")
        exec(compile(self.text, "generated.py", "exec"), vars(found))
        return found

    def digest(self, answer):
        """Parity digest of an answer, a struct or the values of a table function."""
        names = [*self.job.schema.names, "row_digest", "row_bytes", "zone"]
        row = dict(zip(names, answer, strict=True))
        assert row["zone"] == "x0000_y0000"
        assert row["row_digest"]
        if row["issues"] is not None:
            row["issues"] = [
                dict(zip(("granule_id", "column", "error"), issue, strict=True))
                for issue in row["issues"]
            ]
        return parity_digest([{k: v for k, v in row.items() if k not in OWN}])

    @property
    def wanted(self):
        return parity_digest(self.expected)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("case"), "mineral_indices")


@pytest.fixture(scope="module")
def runner():
    pytest.importorskip("odps", reason="needs pyodps")
    from odps import options
    from odps.udf.tools.runners import simple_run

    before = options.tunnel.string_as_binary
    options.tunnel.string_as_binary = True  # else results that are no text are refused
    yield simple_run
    options.tunnel.string_as_binary = before


def shuffled(rows, seed):
    return random.Random(seed).sample(rows, len(rows))


# -- the runner of PyODPS ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_collect_in_any_order(case, runner, seed):
    (answer,) = runner(case.module().Collect, [(case.tile, shuffled(case.rows, seed))])
    assert case.digest(answer) == case.wanted


def test_stream_of_sorted_rows(case, runner):
    args = [(*TILE, None if place else case.tile, row) for place, row in enumerate(case.rows)]
    (answer,) = runner(case.module().Stream, args)
    assert case.digest(answer) == case.wanted


def test_merge_of_two_buffers(case, runner):
    args = [(None if place else case.tile, row) for place, row in enumerate(case.rows)]
    (answer,) = runner(case.module().Merge, shuffled(args, 1))
    assert case.digest(answer) == case.wanted


def test_float_results_and_a_first_phase(tmp_path, runner):
    case = Case(tmp_path, "mosaic", mosaic="mean", dtype="float32")
    (answer,) = runner(case.module().Collect, [(case.tile, case.rows)])
    assert case.digest(answer) == case.wanted


# -- what that runner does not do --------------------------------------------------------------


@pytest.mark.parametrize("partials", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(2))
def test_partial_buffers_are_marshalled_and_merged_in_any_order(case, partials, seed):
    merge = case.module().Merge()
    args = [(None if place else case.tile, row) for place, row in enumerate(case.rows)]
    buffers = [merge.new_buffer() for _ in range(partials)]
    for place, arguments in enumerate(shuffled(args, seed)):
        merge.iterate(buffers[place % partials], *arguments)
    whole = merge.new_buffer()
    for buffer in shuffled(buffers, seed):
        packed = marshal.dumps(buffer)
        assert len(packed) <= BUFFER_BYTES
        merge.merge(whole, marshal.loads(packed))
    assert case.digest(merge.terminate(marshal.loads(marshal.dumps(whole)))) == case.wanted


def test_an_empty_group_has_no_answer(case):
    merge = case.module().Merge()
    assert merge.terminate(merge.new_buffer()) is None
    merge.iterate(whole := merge.new_buffer(), None, None)
    assert merge.terminate(whole) is None


def test_unpacking_a_struct_computes_a_tile_once(case, monkeypatch):
    collect = case.module().Collect()
    calls = []
    udf = collect.worker.udf
    monkeypatch.setattr(collect.worker, "udf", lambda *a: (calls.append(1), udf(*a))[1])
    for _ in range(4):
        assert case.digest(collect.evaluate(case.tile, case.rows)) == case.wanted
    assert len(calls) == 1


def test_columns_that_are_null_are_none(tmp_path):
    bare = [dict(row, meta=None, mask_version=None, ref_1=None) for row in ROWS]
    case = Case(tmp_path, "color_balancing", rows=bare)
    answer = case.module().Collect().evaluate(case.tile, case.rows)
    assert case.digest(answer) == case.wanted


def test_missing_rows_fail_their_tile_in_every_form(case):
    module = case.module()
    forwarded = []
    answers = [module.Collect().evaluate(case.tile, case.rows[1:])]
    stream = module.Stream()
    stream.forward = lambda *values: forwarded.append(values)
    stream.process(*TILE, case.tile, case.rows[0])
    stream.close()
    merge = module.Merge()
    merge.iterate(buffer := merge.new_buffer(), case.tile, case.rows[0])
    answers += [*forwarded, merge.terminate(buffer)]
    names = case.job.schema.names
    for answer in answers:
        row = dict(zip(names, answer, strict=False))
        assert row["status"] == "failed"
        assert "of the 4 rows of this tile came" in row["message"]
        assert row["granules"] == [f"granule_{n:03d}" for n in range(4)]


def test_a_tile_that_fails_says_why_and_the_next_one_goes_on(case):
    broken = case.rows[0]._replace(**{FIELD + "b01": b"no blob"})
    tile = json.loads(case.tile) | {"rows": 1}
    stream = case.module().Stream()
    forwarded = []
    stream.forward = lambda *values: forwarded.append(values)
    stream.process(9, 9, json.dumps(tile), broken)
    for place, row in enumerate(case.rows):
        stream.process(*TILE, None if place else case.tile, row)
    stream.close()
    stream.close()
    first, second = (dict(zip(case.job.schema.names, row, strict=False)) for row in forwarded)
    assert first["status"] == "failed"
    assert first["issues"] or first["message"]
    assert second["status"] == "ok"


def test_a_value_over_the_limit_fails_its_tile_and_says_what_to_do(case):
    small = json.dumps(json.loads(case.tile) | {"cell_bytes": 3000})
    answer = case.module().Collect().evaluate(small, case.rows)
    row = dict(zip(case.job.schema.names, answer, strict=False))
    assert row["status"] == "failed"
    assert "over the limit of 3000" in row["message"]
    assert "int16" in row["message"]


# -- what the service does when it takes the module --------------------------------------------

STUB = """
import sys, types
udf = types.ModuleType("odps.udf")
class Base:
    pass
udf.BaseUDAF = udf.BaseUDTF = Base
udf.annotate = lambda signature: lambda cls: cls
sys.modules["odps"] = types.ModuleType("odps")
sys.modules["odps.udf"] = udf
"""


def test_it_imports_nothing_at_its_top(case, tmp_path):
    """As the service reads it: no package at all, not even NumPy."""
    path = tmp_path / "generated.py"
    path.write_text(case.text)
    code = (
        STUB
        + f"exec(compile(open({str(path)!r}).read(), 'g', 'exec'))\n"
        + (
            "loaded = {name.split('.')[0] for name in sys.modules}\n"
            "assert not loaded & {'numpy', 'scipy', 'geoquarry'}\n"
            "assert Collect and Stream and Merge\n"
        )
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)


def test_it_is_python_3_11_and_holds_no_more_than_text(case):
    tree = ast.parse(case.text, feature_version=(3, 11))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in top] == ["odps.udf"]
    assert case.text.isascii()
    assert len(case.text.encode()) < 100_000


def test_signatures_name_every_column(case):
    lines = [line for line in case.text.splitlines() if line.startswith("@annotate(")]
    collect, stream, merge = (ast.literal_eval(line[len("@annotate(") : -1]) for line in lines)
    assert collect.startswith("string,array<struct<c_given:string,c_granule:string,")
    assert merge.startswith("string,struct<c_given:string,")
    assert stream.startswith("bigint,bigint,string,struct<")
    for signature in (collect, merge):
        assert "c_issues:array<struct<granule_id:string,column:string,error:string>>" in signature
    assert "timestamp" not in collect + stream + merge
    rasters = [field for field in case.job.schema if pa.types.is_binary(field.type)]
    assert stream.rpartition("->")[2].count("binary") == len(rasters)


def test_the_text_depends_on_nothing_but_the_job(case):
    assert tile_module(case.job, case.schema, case.archive.name) == case.text


def test_no_more_answers_are_kept_than_a_call_brings_tiles(case):
    collect = case.module().Collect()
    for place in range(3):
        tile = json.loads(case.tile)
        tile["call"]["tile_x"] += place
        collect.evaluate(json.dumps(tile), case.rows)
    assert len(collect.worker._known) == 1
