"""The one statement of a job on MaxCompute, in each of its forms.

Rows of the source meet their tasks (`engine.maxcompute_tasks`), are grouped by tile and go through
the function; its struct is unpacked into the columns of a staging table. Nothing of a user's text
stands in a statement: conditions and parameters are in the tasks.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from geoquarry.engine.maxcompute_ddl import ZONE, literal, quoted, zone_of
from geoquarry.engine.maxcompute_limits import PARTITIONS_READ
from geoquarry.engine.maxcompute_udf import BEFORE, FIELD, TIMESTAMP, answer_fields
from geoquarry.engine.plan import TileTask
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job

KEY = ("tile_x", "tile_y", "granule_id")


def zones_of(tasks: Iterable[TileTask]) -> list[str]:
    """Partitions of the source that some tasks touch, sorted.

    Raises
    ------
    UsageError
        More than one statement may read.
    """
    found = sorted({zone_of(task.tile_x, task.tile_y) for task in tasks})
    if len(found) > PARTITIONS_READ:
        raise UsageError(
            f"The job touches {len(found)} zones; MaxCompute reads {PARTITIONS_READ} in one "
            "statement. Work on fewer tiles at a time (--tiles, --where)."
        )
    return found


def job_statement(
    plan: str,
    function: str,
    job: Job,
    source: pa.Schema,
    *,
    tables: tuple[str, str, str],
    zones: Sequence[str],
) -> str:
    """The statement that computes the tiles of a job into a staging table.

    Parameters
    ----------
    plan : {"collect", "udtf", "udaf"}
    function : str
        Name of the tile function in this form.
    job : Job
    source : pa.Schema
        Of the table that the job reads.
    tables : (source, tasks, staging)
        Names in the project.
    zones : sequence of str
        Partitions of the source to read.
    """
    rows, tasks, staging = map(quoted, tables)
    key = [name for name in KEY if name in source.names]
    struct = _row_struct([source.field(name) for name in job.columns])
    same = "\n    AND ".join(
        [f"s.{quoted(name)} = t.{quoted(name)}" for name in key]
        + ["s.`row_digest` = t.`source_digest`"]
    )
    where = f"s.{quoted(ZONE)} IN ({', '.join(map(literal, zones))})"
    joined = f"FROM {rows} s\n  JOIN {tasks} t\n    ON {same}\n  WHERE {where}"
    answer = answer_fields(job.schema)
    if plan == "udtf":
        names = ", ".join(FIELD + field.name for field in answer)
        inner = (
            f"SELECT {function}(u.`tile_x`, u.`tile_y`, u.`tile`, u.`source_row`) AS ({names})\n"  # nosec B608
            "FROM (\n"
            "  SELECT /*+ MAPJOIN(t) */ t.`tile_x`, t.`tile_y`, t.`granule_id`, t.`tile`,\n"
            f"  {struct} AS `source_row`\n  {joined}\n"
            "  DISTRIBUTE BY `tile_x`, `tile_y`\n"
            "  SORT BY `tile_x`, `tile_y`, `granule_id`\n) u"
        )
        said = [_column(field, FIELD + field.name) for field in answer]
    else:
        call = (
            f"{function}(MAX(t.`tile`), COLLECT_LIST({struct}))"
            if plan == "collect"
            else f"{function}(t.`tile`, {struct})"
        )
        inner = (
            f"  SELECT /*+ MAPJOIN(t) */ {call} AS `r`\n  {joined}\n"
            "  GROUP BY t.`tile_x`, t.`tile_y`"
        )
        said = [_column(field, f"`r`.{FIELD}{field.name}") for field in answer]
    columns = ",\n".join(f"  {text}" for text in said)
    return f"INSERT INTO TABLE {staging}\nSELECT\n{columns}\nFROM (\n{inner}\n) a"  # nosec B608


def _row_struct(columns: Sequence[pa.Field]) -> str:
    given, granule = (FIELD + field.name for field in BEFORE)
    parts = [f"'{given}', t.`given`", f"'{granule}', t.`granule_id`"]
    for field in columns:
        value = f"s.{quoted(field.name)}"
        if field.type == TIMESTAMP:
            value = f"CAST({value} AS STRING)"  # functions know no TIMESTAMP
        parts.append(f"'{FIELD}{field.name}', {value}")
    inner = ",\n    ".join(parts)
    return f"NAMED_STRUCT(\n    {inner})"


def _column(field: pa.Field, value: str) -> str:
    if field.type == TIMESTAMP:
        value = f"CAST({value} AS TIMESTAMP)"
    return f"{value} AS {quoted(field.name)}"
