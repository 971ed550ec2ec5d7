"""SQL of a job on MaxCompute, word for word, and which form and settings it takes."""

from dataclasses import replace

import pyarrow as pa
import pytest
import sqlglot
from maxcompute.toys import GRID, JOB, TILES
from sqlglot import exp

from geoquarry.engine.maxcompute_plan import (
    BUFFER_BYTES,
    COLLECT_BYTES,
    Sizes,
    chosen,
    hints_of,
    sizes_of,
)
from geoquarry.engine.maxcompute_statement import job_statement, zones_of
from geoquarry.engine.maxcompute_tasks import SCHEMA, Limits, task_batches, task_table
from geoquarry.engine.maxcompute_udf import tile_module
from geoquarry.engine.plan import RowRef, TileTask
from geoquarry.jobs.two_phase import first_job
from geoquarry.schemas.answer import GOOD
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import results_schema
from geoquarry.udfs import methods

try:
    import sqlglot_maxcompute  # noqa: F401

    DIALECT = "maxcompute"
except ImportError:
    DIALECT = "hive"

SOURCE = TILES
TOY = replace(
    JOB, udf="geoquarry.udfs.methods:compute", columns=("granule_id", "acquired", "xa", "b01")
)
TABLES = ("aster", "maps__tasks_1", "maps__result_1")
ANSWER = """\
INSERT INTO TABLE `maps__result_1`
SELECT
  {0}grid AS `grid`,
  {0}tile_x AS `tile_x`,
  {0}tile_y AS `tile_y`,
  {0}method AS `method`,
  {0}status AS `status`,
  {0}message AS `message`,
  {0}granules AS `granules`,
  {0}issues AS `issues`,
  {0}input_digest AS `input_digest`,
  {0}provenance AS `provenance`,
  {0}flags AS `flags`,
  {0}count AS `count`,
  {0}value AS `value`,
  {0}row_digest AS `row_digest`,
  {0}row_bytes AS `row_bytes`,
  {0}zone AS `zone`
FROM (
"""
STRUCT = """\
NAMED_STRUCT(
    'c_given', t.`given`,
    'c_granule', t.`granule_id`,
    'c_granule_id', s.`granule_id`,
    'c_acquired', CAST(s.`acquired` AS STRING),
    'c_xa', s.`xa`,
    'c_b01', s.`b01`)"""
JOINED = """\
  FROM `aster` s
  JOIN `maps__tasks_1` t
    ON s.`tile_x` = t.`tile_x`
    AND s.`tile_y` = t.`tile_y`
    AND s.`granule_id` = t.`granule_id`
    AND s.`row_digest` = t.`source_digest`
  WHERE s.`zone` IN ('x0000_y0000', 'x0001_y0000')
"""
GROUPED = "  GROUP BY t.`tile_x`, t.`tile_y`\n) a"
GOLDEN = {
    "collect": ANSWER.format("`r`.c_")
    + f"  SELECT /*+ MAPJOIN(t) */ f(MAX(t.`tile`), COLLECT_LIST({STRUCT})) AS `r`\n"
    + JOINED
    + GROUPED,
    "udaf": ANSWER.format("`r`.c_")
    + f"  SELECT /*+ MAPJOIN(t) */ f(t.`tile`, {STRUCT}) AS `r`\n"
    + JOINED
    + GROUPED,
    "udtf": ANSWER.format("c_")
    + "SELECT f(u.`tile_x`, u.`tile_y`, u.`tile`, u.`source_row`) AS (c_grid, c_tile_x, c_tile_y, "
    "c_method, c_status, c_message, c_granules, c_issues, c_input_digest, c_provenance, c_flags, "
    "c_count, c_value, c_row_digest, c_row_bytes, c_zone)\nFROM (\n"
    "  SELECT /*+ MAPJOIN(t) */ t.`tile_x`, t.`tile_y`, t.`granule_id`, t.`tile`,\n"
    f"  {STRUCT} AS `source_row`\n"
    + JOINED
    + "  DISTRIBUTE BY `tile_x`, `tile_y`\n  SORT BY `tile_x`, `tile_y`, `granule_id`\n) u\n) a",
}


def tasks(*tiles, granules=2, nbytes=1000):
    rows = tuple(RowRef("", 0, f"G{n}", f"d{n}", nbytes) for n in range(granules))
    return [TileTask(x, y, rows) for x, y in tiles]


def statement(plan, job=TOY):
    zones = zones_of(tasks((3, 5), (20, 5), (4, 5)))
    return job_statement(plan, "f", job, SOURCE, tables=TABLES, zones=zones)


@pytest.mark.parametrize("plan", sorted(GOLDEN))
def test_the_statement_word_for_word(plan):
    assert statement(plan) == GOLDEN[plan]


def real_jobs():
    for method in methods.METHODS:
        name, params = methods.normalise(method, {}, "aster_l1t")
        bands = methods.output_bands(name, params, "aster_l1t")
        job = replace(
            TOY,
            method=name,
            params=params,
            columns=methods.columns(name, params, "aster_l1t"),
            schema=results_schema("aster_l1t", GRID, name, bands),
        )
        yield from (job, first_job(job))


@pytest.mark.parametrize("plan", sorted(GOLDEN))
def test_another_reader_of_the_dialect_understands_every_job(plan):
    """Both phases of all methods: one INSERT of as many columns as its table has."""
    for job in [TOY, *real_jobs()]:
        (tree,) = sqlglot.parse(statement(plan, job), dialect=DIALECT)
        assert isinstance(tree, exp.Insert)
        select = tree.expression
        assert select.named_selects == [*job.schema.names, "row_digest", "row_bytes", "zone"]
        tables = {table.name for table in tree.find_all(exp.Table)}
        assert tables == set(TABLES)
        assert len(statement(plan, job).encode()) < 20_000


def test_nothing_of_a_users_text_stands_in_a_statement():
    wild = replace(TOY, params={"x": "'; DROP TABLE aster; --"}, where="granule_id = '`'")
    assert statement("collect", wild) == statement("collect")


@pytest.mark.skipif(DIALECT == "hive", reason="Hive has no LIFECYCLE: needs sqlglot-maxcompute")
def test_the_task_table_is_read_by_that_reader_too():
    (tree,) = sqlglot.parse(task_table("maps__tasks_1"), dialect=DIALECT)
    assert isinstance(tree, exp.Create)


def test_tasks_travel_once_per_tile_and_lookups_with_their_rows():
    (one,) = tasks((3, 5))
    given = replace(one, rows=(replace(one.rows[0], given={"gain": [1.5]}), one.rows[1]))
    (batch,) = task_batches(TOY, [given], "job", Limits(100))
    assert batch.schema == SCHEMA
    first, second = batch.to_pylist()
    assert first["given"] == '{"gain": [1.5]}'
    assert (second["tile"], second["given"]) == (None, None)
    assert '"input_digest"' in first["tile"]
    assert first["source_digest"] == "d0"


def test_types_of_the_generated_module_follow_the_schemas():
    text = tile_module(TOY, SOURCE, "a.tar.gz")
    row = "struct<c_given:string,c_granule:string,c_granule_id:string,c_acquired:string,"
    assert f"string,array<{row}c_xa:array<double>,c_b01:binary>>->struct<c_grid:string," in text
    assert "work/a.tar.gz/packages" in text


def test_zones_are_refused_when_a_statement_cannot_read_them(monkeypatch):
    monkeypatch.setattr("geoquarry.engine.maxcompute_statement.PARTITIONS_READ", 1)
    with pytest.raises(UsageError, match="2 zones"):
        zones_of(tasks((0, 0), (16, 0)))


# -- which form, which settings ----------------------------------------------------------------


def sized(largest_tile, deepest=4, largest_row=1000):
    return Sizes(9, largest_row, largest_tile, deepest)


@pytest.mark.parametrize(
    ("plan", "largest_tile", "streams", "expected"),
    [
        ("auto", 1000, True, "collect"),
        ("auto", COLLECT_BYTES, True, "collect"),
        ("auto", COLLECT_BYTES + 1, True, "udtf"),
        ("udtf", 1000, True, "udtf"),
        ("udaf", 1000, True, "udaf"),
        ("collect", 1000, False, "collect"),
    ],
)
def test_a_form_is_chosen_by_size(plan, largest_tile, streams, expected):
    assert chosen(plan, sized(largest_tile), streams=streams) == expected


@pytest.mark.parametrize(
    ("plan", "sizes", "streams", "said"),
    [
        ("other", sized(1), True, "No plan 'other'"),
        ("udtf", sized(1), False, "none"),
        ("auto", sized(COLLECT_BYTES + 1), False, "plan collect can bring"),
        ("udaf", sized(BUFFER_BYTES), True, "2 MB after marshalling"),
        ("udaf", sized(1, deepest=BUFFER_BYTES // 2048), True, "2 MB after marshalling"),
    ],
)
def test_a_form_that_cannot_be_is_refused(plan, sizes, streams, said):
    with pytest.raises(UsageError, match=said):
        chosen(plan, sizes, streams=streams)


def test_settings_follow_the_rows():
    sizes = sizes_of(tasks((0, 0), nbytes=20 << 20, granules=3))
    assert (sizes.largest_row >> 20, sizes.largest_tile >> 20, sizes.deepest_tile) == (20, 60, 3)
    collect, stream = hints_of("collect", sizes, "scipy"), hints_of("udtf", sizes, "scipy")
    assert collect["odps.sql.executionengine.batch.rowcount"] == "1"
    assert stream["odps.sql.executionengine.batch.rowcount"] == "3"
    assert collect["odps.sql.python.version"] == "cp311"
    assert "odps.sql.map.aggr" not in collect
    assert hints_of("udaf", sizes, "scipy")["odps.sql.map.aggr"] == "false"
    deep = hints_of("collect", sized(COLLECT_BYTES), "scipy")
    assert 4096 < int(deep["odps.stage.reducer.mem"]) <= 12288
    assert all(isinstance(value, str) for value in deep.values())


def test_a_failed_tile_is_not_good():
    assert "failed" not in GOOD
    assert pa.types.is_binary(TOY.schema.field("value").type)
