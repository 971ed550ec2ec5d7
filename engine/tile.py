"""One tile through one UDF: the part of a job that runs on a worker, on every engine alike."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from geoquarry.engine.batches import row_batch
from geoquarry.engine.datafile import RowWriter, WrittenFile
from geoquarry.engine.layout import Layout
from geoquarry.engine.plan import TileTask
from geoquarry.engine.rows import as_dict, read_batches
from geoquarry.engine.run import Cancelled, go_on
from geoquarry.schemas.answer import (
    GOOD,
    LONGEST_MESSAGE,
    Call,
    Target,
    Tile,
    TileJob,
    find_udf,
)
from geoquarry.schemas.digest import input_digest
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import facts, output_bands, same_facts

__all__ = [
    "GOOD",
    "LONGEST_MESSAGE",
    "Finished",
    "Part",
    "TileJob",
    "TileWork",
    "call_of",
    "check_source",
    "check_target",
    "digest_of_task",
    "find_udf",
    "part_name",
    "target_of",
]


@dataclass(frozen=True)
class Finished:
    """One finished tile: what the report says about it."""

    tile_x: int
    tile_y: int
    status: str
    message: str
    resumed: bool = field(default=False, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    """How long the worker took; None where a query made the row."""
    issues: tuple[Mapping[str, str], ...] = field(default=(), kw_only=True)
    """Source rows that could not be used, as the result row lists them."""


@dataclass(frozen=True)
class Part(Finished):
    """One finished tile and its file."""

    file: WrittenFile


def unheard(task: TileTask) -> None:
    """Where nobody can hear that a task begins."""


@dataclass(frozen=True)
class TileWork:
    """Everything a worker needs besides the task; can be pickled.

    Attributes
    ----------
    job : Job
    source, target : Layout
    job_id, commit_id : str
    """

    job: Job
    source: Layout
    target: Layout
    job_id: str
    commit_id: str
    check: Callable[[], None] = field(default=go_on, compare=False)
    began: Callable[[TileTask], None] = field(default=unheard, compare=False)
    """Told of each task that begins, in the driver's own process only."""
    timed: ClassVar[bool] = True

    def __getstate__(self) -> dict[str, Any]:
        """Without what lives in the driver's process."""
        return {**self.__dict__, "check": go_on, "began": unheard}

    def __call__(self, task: TileTask) -> Part:
        """Read the tile's rows, run the UDF, write the part file.

        A tile that fails gives a ``failed`` row with the reason; only `Cancelled` goes on up, and
        errors of writing, which would fail for every other tile as well.

        Every attempt writes a file of its own: a worker may be killed or run twice. The file that
        the returned part names is the one to commit; others are left to `vacuum`.
        """
        self.began(task)
        since = time.monotonic()
        row = self.compute(task)
        name = f"{part_name(task.tile_x, task.tile_y)}-{uuid.uuid4().hex[:8]}"
        path = self.target.data_path(self.commit_id, name)
        writer = RowWriter(self.target, path)
        try:
            writer.add(row_batch(row, self.target))
            file = writer.close()
        except BaseException:
            writer.abort()
            raise
        seconds = time.monotonic() - since if self.timed else None
        return Part(
            task.tile_x,
            task.tile_y,
            row["status"],
            row["message"] or "",
            file,
            seconds=seconds,
            issues=tuple(row.get("issues") or ()),
        )

    def compute(self, task: TileTask) -> dict[str, Any]:
        """The result row of one tile."""
        with Tile(call_of(self.job, task, self.job_id), target_of(self.target.schema)) as tile:
            return tile.row(
                lambda told: find_udf(self.job.udf)(self.rows(task), told),
                accept=lambda row: row_batch(row, self.target),
                through=(Cancelled,),
            )

    def rows(self, task: TileTask) -> Iterator[dict[str, Any]]:
        """Source rows of a tile, one in memory, with the columns that lookups add."""
        batches = read_batches(self.source, task.rows, self.job.columns)
        for ref, batch in zip(task.rows, batches, strict=True):
            self.check()
            yield {**as_dict(batch), **(task.given or {}), **(ref.given or {})}


def part_name(tile_x: int, tile_y: int) -> str:
    """How the file names of a tile's parts begin; a dash and the attempt's token follow.

    >>> part_name(12, 345)
    'x12_y345'
    """
    return f"x{tile_x}_y{tile_y}"


def digest_of_task(job: Job, task: TileTask) -> str:
    """Digest of everything that decides a tile's result."""
    given = {} if task.given is None else {"given": task.given}
    return input_digest(
        (
            ref.row_digest if ref.given is None else json.dumps([ref.row_digest, ref.given])
            for ref in task.rows
        ),
        **given,
        method=job.method,
        params=job.params,
        package_version=job.package_version,
        revision=job.revision,
    )


def call_of(job: Job, task: TileTask, job_id: str) -> Call:
    """A tile of a job as plain data, for whoever computes it."""
    told = facts(job.schema)
    return Call(
        method=job.method,
        params=job.params,
        sensor=told["sensor"],
        grid=told["grid"],
        tile_x=task.tile_x,
        tile_y=task.tile_y,
        input_digest=digest_of_task(job, task),
        granules=tuple(sorted({ref.granule_id for ref in task.rows})),
        provenance={
            "method": job.method,
            "params": job.params,
            "package_version": job.package_version,
            "job_id": job_id,
            "source": job.source,
        },
    )


def target_of(schema: pa.Schema) -> Target:
    """What a table of answers takes, as plain data."""
    declared = {band.name: band.dtype for band in output_bands(schema)}
    declared |= {"flags": "uint16", "count": "uint8"}
    blobs = [field.name for field in schema if pa.types.is_binary(field.type)]
    return Target(tuple(schema.names), {name: declared.get(name) for name in blobs})


def check_source(job: Job, source: pa.Schema) -> None:
    """Refuse a job whose columns or facts do not fit its source.

    Raises
    ------
    UsageError
        A column that the source lacks.
    TableError
        Another sensor or grid than the job's.
    """
    missing = [name for name in job.columns if name not in source.names]
    if missing:
        raise UsageError(
            f"Table {job.source!r} has no column {', '.join(map(repr, missing))}, which method "
            f"{job.method!r} reads."
        )
    have, need = facts(source), facts(job.schema)
    for name in ("sensor", "grid"):
        if have.get(name) != need.get(name):
            raise TableError(
                f"Table {job.source!r} has {name} {have.get(name)!r}, the job {need.get(name)!r}."
            )


def check_target(job: Job, have: dict[str, Any]) -> None:
    """Refuse a target whose facts say that it was made for something else.

    Raises
    ------
    TableError
        Another kind, sensor, grid, method or other output bands.
    """
    need = facts(job.schema)
    for name in ("kind", "sensor", "grid", "method"):
        if have.get(name) != need.get(name):
            raise TableError(
                f"Table {job.target!r} holds {name} {have.get(name)!r}, this job makes "
                f"{need.get(name)!r}. Choose another target, or drop the table first."
            )
    if not same_facts(have.get("bands"), need.get("bands")):
        raise TableError(
            f"Table {job.target!r} was made with other output bands than this job makes. "
            "Choose another target, or drop the table first."
        )
