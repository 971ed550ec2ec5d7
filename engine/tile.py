"""One tile through one UDF: the part of a job that runs on a worker, on every engine alike."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pyarrow as pa

from geoquarry.engine.batches import row_batch
from geoquarry.engine.datafile import RowWriter, WrittenFile
from geoquarry.engine.layout import Layout
from geoquarry.engine.plan import TileTask
from geoquarry.engine.rows import as_dict, read_batches
from geoquarry.engine.run import Cancelled, go_on
from geoquarry.schemas.blob import header
from geoquarry.schemas.digest import input_digest
from geoquarry.schemas.errors import BlobError, TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import STATUS, facts, output_bands

GOOD = frozenset(("ok", "partial", "empty"))
LONGEST_MESSAGE = 2000
Udf = Callable[[Iterable[Mapping[str, Any]], "TileJob"], Mapping[str, Any]]


@dataclass(frozen=True)
class TileJob:
    """What a UDF is told about the tile it works on.

    Attributes
    ----------
    method : str
    params : dict
    sensor, grid : str
    tile_x, tile_y : int
    spill_dir : str
        A folder of its own, deleted afterwards.
    """

    method: str
    params: dict[str, Any]
    sensor: str
    grid: str
    tile_x: int
    tile_y: int
    spill_dir: str


@dataclass(frozen=True)
class Part:
    """One finished tile: its file and what the report says about it."""

    tile_x: int
    tile_y: int
    status: str
    message: str
    file: WrittenFile
    resumed: bool = False


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

    def __getstate__(self) -> dict[str, Any]:
        """Without the cancel check, which lives in the driver's process."""
        return {**self.__dict__, "check": go_on}

    def __call__(self, task: TileTask) -> Part:
        """Read the tile's rows, run the UDF, write the part file.

        A tile that fails gives a ``failed`` row with the reason; only `Cancelled` goes on up, and
        errors of writing, which would fail for every other tile as well.

        Every attempt writes a file of its own: a worker may be killed or run twice. The file that
        the returned part names is the one to commit; others are left to `vacuum`.
        """
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
        return Part(task.tile_x, task.tile_y, row["status"], row["message"] or "", file)

    def compute(self, task: TileTask) -> dict[str, Any]:
        """The result row of one tile."""
        job = self.job
        told = facts(job.schema)
        row: dict[str, Any] = {
            "grid": told["grid"],
            "tile_x": task.tile_x,
            "tile_y": task.tile_y,
            "method": job.method,
            "input_digest": digest_of_task(job, task),
        }
        provenance = {
            "method": job.method,
            "params": job.params,
            "package_version": job.package_version,
            "job_id": self.job_id,
            "source": job.source,
        }
        spill_dir = tempfile.mkdtemp(prefix="geoquarry-")
        try:
            tile = TileJob(
                job.method,
                dict(job.params),
                told["sensor"],
                told["grid"],
                task.tile_x,
                task.tile_y,
                spill_dir,
            )
            answer = dict(find_udf(job.udf)(self.rows(task), tile))
            said = answer.pop("provenance", None) or {}
            row.update(checked(answer, self.target))
            row["provenance"] = json.dumps({**provenance, **said}, sort_keys=True)
            row_batch(row, self.target)  # a wrong type is this tile's failure too
        except Cancelled:
            raise
        except Exception as error:
            keep = ("grid", "tile_x", "tile_y", "method", "input_digest")
            row = {name: row[name] for name in keep}
            row["status"] = "failed"
            row["message"] = f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
            row["granules"] = sorted({ref.granule_id for ref in task.rows})
            row["provenance"] = json.dumps(provenance, sort_keys=True)
        finally:
            shutil.rmtree(spill_dir, ignore_errors=True)
        row.setdefault("message", "")
        return row

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


def find_udf(name: str) -> Udf:
    """The function behind ``package.module:function``.

    Raises
    ------
    UsageError
        No such module or function.

    Examples
    --------
    >>> find_udf("json:dumps") is json.dumps
    True
    """
    module, _, function = name.partition(":")
    try:
        found: Udf = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"No UDF {name!r} ({error}). Write it as package.module:function."
        ) from error
    return found


def checked(answer: dict[str, Any], target: Layout) -> dict[str, Any]:
    """What a UDF answered, if it fits the target table.

    Raises
    ------
    TableError
        An unknown column or status, a missing or damaged raster, another dtype than declared.
    """
    status = answer.get("status")
    if status not in STATUS:
        raise TableError(
            f"The UDF answered status {status!r}; it must be one of {', '.join(STATUS)}."
        )
    own = {"grid", "tile_x", "tile_y", "method", "input_digest"} & set(answer)
    unknown = set(answer) - set(target.schema.names) | own
    if unknown:
        raise TableError(
            f"The UDF answered columns that are not its own: {', '.join(sorted(unknown))}."
        )
    declared = {band.name: band.dtype for band in output_bands(target.schema)}
    declared |= {"flags": "uint16", "count": "uint8"}
    for name in target.blobs:
        value = answer.get(name)
        if value is None:
            if status in ("ok", "partial") and name in declared:
                raise TableError(f"The UDF answered status {status!r} but no {name!r}.")
            continue
        try:
            dtype = header(value).dtype
        except (BlobError, TypeError) as error:
            raise TableError(
                f"The UDF answered {name!r}, which is no tile blob: {error}"
            ) from error
        if name in declared and dtype != declared[name]:
            raise TableError(
                f"The UDF answered {name!r} as {dtype}, the table declares {declared[name]}."
            )
    return {**answer, "granules": sorted(answer.get("granules") or [])}


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
