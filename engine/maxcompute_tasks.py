"""Tasks of a job as a small table: which rows make up which tile, and what the worker is told.

One row per source row. The first row of each tile carries the tile's task as JSON, so that it
travels once; columns that lookups give to a granule stand in its own row. Rows of the source are
joined by their digest as well: a row that changes after planning is missed, and its tile says so.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from geoquarry.engine.maxcompute_ddl import literal, quoted, zone_of
from geoquarry.engine.maxcompute_spool import Spool
from geoquarry.engine.plan import TileTask
from geoquarry.engine.tile import call_of
from geoquarry.schemas.job import Job

SCHEMA = pa.schema(
    [
        ("tile_x", pa.int64()),
        ("tile_y", pa.int64()),
        ("granule_id", pa.string()),
        ("source_digest", pa.string()),
        ("tile", pa.string()),
        ("given", pa.string()),
    ]
)
LIFECYCLE_DAYS = 7
"""A job may run for three days; what is left of a killed one goes by itself."""
BATCH_ROWS = 10_000


@dataclass(frozen=True)
class Limits:
    """What a worker must keep to.

    Attributes
    ----------
    cell_bytes : int
        Largest value that the project takes.
    kept : int
        Answers that a worker remembers: as many as tiles come to it in one call, since unpacking a
        struct may ask for all of them again, column by column.
    """

    cell_bytes: int
    kept: int = 1


def task_table(physical: str, comment: str = "") -> str:
    """The statement that makes the table; the comment says who makes it."""
    words = {pa.int64(): "BIGINT", pa.string(): "STRING"}
    columns = ", ".join(f"{quoted(field.name)} {words[field.type]}" for field in SCHEMA)
    said = f" COMMENT {literal(comment)}" if comment else ""
    return f"CREATE TABLE {quoted(physical)} ({columns}){said} LIFECYCLE {LIFECYCLE_DAYS}"


def task_text(job: Job, task: TileTask, job_id: str, limits: Limits) -> str:
    """What a worker is told about a tile: see `engine.maxcompute_worker.Task`."""
    told = {
        "call": asdict(call_of(job, task, job_id)),
        "given": task.given,
        "rows": len(task.rows),
        "zone": zone_of(task.tile_x, task.tile_y),
        **asdict(limits),
    }
    return json.dumps(told, sort_keys=True)


def task_batches(
    job: Job, tasks: Sequence[TileTask], job_id: str, limits: Limits
) -> Iterator[pa.RecordBatch]:
    """Rows of the table, in the order of the tasks."""
    waiting: list[dict[str, object]] = []
    for task in tasks:
        for place, ref in enumerate(task.rows):
            waiting.append(
                {
                    "tile_x": task.tile_x,
                    "tile_y": task.tile_y,
                    "granule_id": ref.granule_id,
                    "source_digest": ref.row_digest,
                    "tile": None if place else task_text(job, task, job_id, limits),
                    "given": None if ref.given is None else json.dumps(ref.given),
                }
            )
        if len(waiting) >= BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(waiting, SCHEMA)
            waiting = []
    if waiting:
        yield pa.RecordBatch.from_pylist(waiting, SCHEMA)


def task_spool(
    job: Job, tasks: Sequence[TileTask], job_id: str, limits: Limits, folder: Path
) -> Spool:
    """The table's rows, ready to be sent; use it in a ``with`` statement."""
    spool = Spool(SCHEMA, folder)
    for batch in task_batches(job, tasks, job_id, limits):
        spool.add(batch)
    spool.finish()
    return spool
