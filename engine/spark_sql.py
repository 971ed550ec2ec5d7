"""The SQL plan of the Spark engine: Spark reads and groups the rows, a function makes the tiles.

The query is what anybody could write, ``SELECT tile_x, tile_y, f(struct(*), '<parameters>') FROM
source GROUP BY tile_x, tile_y``. All rasters pass through the JVM, twice as rows of the source and
once as results, so the direct plan is the default; this one is for sources that Spark must
prepare, and it shows that the functions of plain SQL give the same maps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import pyarrow as pa

from geoquarry.engine.batches import row_batch
from geoquarry.engine.plan import TileTask
from geoquarry.engine.rows import as_dict
from geoquarry.engine.run import Run
from geoquarry.engine.spark_follow import followed
from geoquarry.engine.spark_session import Session
from geoquarry.engine.spark_tables import table_frame
from geoquarry.engine.spark_tasks import explained, job_group
from geoquarry.engine.spark_udf import Group, group_function
from geoquarry.engine.tile import Part, TileWork
from geoquarry.schemas.errors import GeoquarryError, TableError

TILES_PER_SLOT = 16
"""Tiles of one query per core: the rows of all of them lie in Spark's shuffle files at a time."""


def in_sql(session: Session) -> Callable[[TileWork, list[TileTask], Run], Iterator[Part]]:
    """The way `engine.driver.Driver` has its tiles computed by a query.

    Parameters
    ----------
    session : SparkSession
        Used as it is; nothing is registered in it.
    """

    def execute(work: TileWork, tasks: list[TileTask], run: Run) -> Iterator[Part]:
        most = TILES_PER_SLOT * session.sparkContext.defaultParallelism
        for start in range(0, len(tasks), most):
            yield from _queried(session, work, tasks[start : start + most], run)

    return execute


def _queried(
    session: Session, work: TileWork, tasks: Sequence[TileTask], run: Run
) -> Iterator[Part]:
    """Parts of some tiles, through one query."""
    job = work.job
    left = {(task.tile_x, task.tile_y) for task in tasks}

    def launch(deliver: Any) -> None:
        rows = source_rows(session, work, tasks)
        tiles = tile_rows(rows, work, tasks)
        tiles.select(_writer(work, deliver)("tile").alias("path")).collect()

    try:
        for part in followed(
            session,
            launch,
            check=run.check,
            group=job_group(work.commit_id),
            about=f"geoquarry {job.method}: {job.source} to {job.target}",
        ):
            key = part.tile_x, part.tile_y
            if key in left:
                left.remove(key)
                yield part
    except GeoquarryError:
        raise
    except Exception as error:
        raise explained(error) from error
    if left:
        raise GeoquarryError(
            f"Spark says that all is done, but {len(left)} of {len(tasks)} tiles did not come; "
            "nothing was committed. Is spark.sql.files.ignoreMissingFiles or ignoreCorruptFiles "
            "set? `geoquarry check` finds damaged files."
        )


def source_rows(session: Session, work: TileWork, tasks: Sequence[TileTask]) -> Any:
    """The rows of some tasks as a DataFrame: key, and the columns of the job."""
    from pyspark.sql import functions

    layout = work.source
    key = [name for name in ("tile_x", "tile_y", "granule_id") if name in layout.key]
    columns = list(dict.fromkeys([*key, *work.job.columns]))
    files = sorted({ref.file for task in tasks for ref in task.rows})
    found = table_frame(session, layout, (f"{layout.location}/data/{f}" for f in files), columns)
    for name in ("tile_x", "tile_y"):  # row groups elsewhere are skipped by their statistics
        places = [getattr(task, name) for task in tasks]
        found = found.where(functions.col(name).between(min(places), max(places)))
    keys = {(t.tile_x, t.tile_y, ref.granule_id)[: len(key)] for t in tasks for ref in t.rows}
    columns_of = zip(*sorted(keys), strict=True)
    types = (work.source.schema.field(name).type for name in key)
    wanted = pa.table({n: pa.array(v, t) for n, v, t in zip(key, columns_of, types, strict=True)})
    return found.join(functions.broadcast(session.createDataFrame(wanted)), key, "left_semi")


def tile_rows(rows: Any, work: TileWork, tasks: Sequence[TileTask]) -> Any:
    """Rows of the target as structs in a column ``tile``, not yet written."""
    from pyspark.sql import functions

    known = {(task.tile_x, task.tile_y): task for task in tasks}
    grouped = replace(_become(GroupWork, work), tasks=known)
    function = group_function(work.job.method, grouped.answer, work.target.schema)
    call = function(functions.struct("*"), functions.lit(work.job.params_json()))
    return rows.groupBy("tile_x", "tile_y").agg(call.alias("tile"))


@dataclass(frozen=True)
class GroupWork(TileWork):
    """Tile work whose rows come with a query, and whose answer goes back into it.

    The tasks of a query (a few dozen) travel with the function, not beside its rows.
    """

    tasks: Mapping[tuple[int, int], TileTask] = field(default_factory=dict, compare=False)
    group: Group | None = field(default=None, compare=False)

    def answer(self, group: Group) -> pa.Scalar:
        """The row of the target that a group of source rows makes, as a struct."""
        task = self.tasks[group.first["tile_x"], group.first["tile_y"]]
        # What stands in the call decides, here as in anybody's SQL.
        job = replace(self.job, params=group.params)
        row = replace(self, job=job, group=group).compute(task)
        return row_batch(row, self.target).to_struct_array()[0]

    def rows(self, task: TileTask) -> Iterator[dict[str, Any]]:
        """Those that Spark brought, instead of reading them."""
        assert self.group is not None
        given = {ref.granule_id: ref.given for ref in task.rows}
        count = 0
        for row in self.group:
            own = {name: row[name] for name in self.job.columns}
            beside = given[row.get("granule_id", "")]
            count += 1
            yield {**own, **(task.given or {}), **(beside or {})}
        if count != len(task.rows):
            raise TableError(
                f"Spark found {count} of {len(task.rows)} rows of this tile. Is "
                "spark.sql.files.ignoreMissingFiles or ignoreCorruptFiles set? `geoquarry check` "
                "finds damaged files."
            )


@dataclass(frozen=True)
class RowWork(TileWork):
    """Tile work that is done already but for the writing."""

    row: dict[str, Any] = field(default_factory=dict, compare=False)
    timed: ClassVar[bool] = False

    def compute(self, task: TileTask) -> dict[str, Any]:
        """The row as it came."""
        return self.row


Kind = TypeVar("Kind", bound=TileWork)


def _become(kind: type[Kind], work: TileWork) -> Kind:
    return kind(**{own.name: getattr(work, own.name) for own in fields(work)})


def _writer(work: TileWork, deliver: Any) -> Any:
    """A function for Spark SQL that writes a row of the target to its part file."""
    from pyspark.sql.functions import arrow_udf

    rest = _become(RowWork, work)

    def write(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            paths = []
            for place in range(len(batch)):
                row = as_dict(pa.RecordBatch.from_struct_array(batch.slice(place, 1)))
                done = replace(rest, row=row)(TileTask(row["tile_x"], row["tile_y"], ()))
                deliver.add([done])
                paths.append(done.file.path)
            yield pa.array(paths, pa.string())

    # It has an effect: Spark must neither call it twice for a row nor leave it out.
    return arrow_udf(write, "string").asNondeterministic()
