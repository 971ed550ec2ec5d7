"""The local engine: DuckDB plans, our own pool computes, Iceberg commits. One host, no server."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from geoquarry.engine.appender import Appender, AppendReport, append
from geoquarry.engine.check import Problem, check
from geoquarry.engine.driver import Driver
from geoquarry.engine.pool import EXECUTORS, in_threads
from geoquarry.engine.read import read
from geoquarry.engine.run import Run, RunPlan, go_on
from geoquarry.engine.sql import ScalarFunction, select
from geoquarry.engine.vacuum import VacuumReport, vacuum
from geoquarry.engine.warehouse import Warehouse, open_warehouse
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import facts, same_facts

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def open_engine(
    location: str, *, catalog: str | None = None, create: bool = True, **options: Any
) -> "Engine":
    """Open a warehouse with the local engine.

    Parameters
    ----------
    location : str
        Folder of the warehouse, or a URI such as ``s3://bucket/prefix``.
    catalog : str, optional
        For a URI: SQLAlchemy URL of the database that holds the catalog; default
        ``$GEOQUARRY_CATALOG``. See docs/warehouses.md.
    create : bool
        Make a folder that is missing; otherwise refuse it.
    **options
        ``workers``, ``executor`` and ``functions``, see `Engine`.
    """
    return Engine(open_warehouse(location, catalog, create=create), **options)


class Engine:
    """Tables of one warehouse and the verbs every engine has.

    Parameters
    ----------
    warehouse : Warehouse
    workers : int, optional
        Tiles computed at a time; default: one per core. Each holds one row and the UDF's state.
    executor : {"thread", "process"}
        Threads share one interpreter; processes suit UDFs that hold its lock.
    functions : mapping of str -> ScalarFunction, optional
        Scalar functions for `sql`, e.g. ``tile_stats``; given from outside because an engine
        knows no UDF.
    """

    name = "local"
    on_this_host = True
    """Whether tiles are computed where the driver is, so that they must fit into its memory."""

    def __init__(
        self,
        warehouse: Warehouse,
        *,
        workers: int | None = None,
        executor: str = "thread",
        functions: Mapping[str, ScalarFunction] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"workers={workers}: at least 1 is needed.")
        if executor not in EXECUTORS:
            raise UsageError(f"No executor {executor!r}. Choose one of: {', '.join(EXECUTORS)}.")
        self.warehouse = warehouse
        self.executor = executor
        self.workers = workers or os.cpu_count() or 1
        self.functions = dict(functions or {})

    # -- tables -----------------------------------------------------------------------------

    def create(self, table: str, schema: pa.Schema) -> None:
        """Make an empty table.

        Parameters
        ----------
        table : str
        schema : pa.Schema
            From schemas/tables.py; columns that are not nullable are the key.

        Raises
        ------
        TableError
            It exists already, or a column type cannot be stored.
        """
        self.warehouse.create_table(table, schema)

    def ensure(self, table: str, schema: pa.Schema) -> None:
        """Make a table unless it exists, also when another process makes it at this moment.

        Raises
        ------
        TableError
            It exists with other facts (kind, sensor, grid or bands).
        """
        held = self._made(table, schema)
        if not same_facts(held, facts(schema)):
            raise TableError(f"Table {table!r} was made for {held}, not for {facts(schema)}.")

    def _made(self, table: str, schema: pa.Schema) -> dict[str, Any]:
        """Facts of a table, which is made unless it exists."""
        return self.warehouse.ensure_table(table, schema).facts

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""
        return self.warehouse.exists(table)

    def tables(self) -> list[str]:
        """Names of the tables, sorted."""
        return self.warehouse.table_names()

    def schema(self, table: str) -> pa.Schema:
        """The schema as given to `create`, facts and `about` texts included."""
        return self.warehouse.table(table).schema

    def describe(self, table: str) -> dict[str, Any]:
        """What a table is.

        Returns
        -------
        description : dict
            ``name, facts`` (dict), ``columns`` (list of {name, type, about, key}), ``rows, files,
            nbytes, snapshot_id, uuid, location``.
        """
        return self.warehouse.table(table).describe()

    def drop(self, table: str) -> None:
        """Delete a table, its files included."""
        self.warehouse.drop_table(table)

    # -- rows in ----------------------------------------------------------------------------

    def append(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch | Mapping[str, Any]],
        *,
        commit_id: str | None = None,
        kind: str = "append",
        properties: Mapping[str, str] | None = None,
    ) -> AppendReport:
        """Add rows in one commit, replacing rows of the same key; other rows stay.

        Parameters
        ----------
        table : str
        batches : iterable of RecordBatch or dict
            Consumed lazily; columns by name, missing nullable ones become null.
        commit_id : str, optional
            Repeating one is a no-op.
        kind : str
            Shown by `history`.
        properties : mapping, optional
            Stored in the snapshot.

        Raises
        ------
        TableError
            A row of another sensor or grid, a key twice, an unknown column, a wrong type;
            nothing is stored then.
        """
        return append(
            self.warehouse.table(table),
            batches,
            commit_id=commit_id,
            kind=kind,
            properties=properties,
        )

    def appender(
        self,
        table: str,
        *,
        ingest_id: str | None = None,
        granules: int = 64,
        seconds: float = 60.0,
    ) -> Appender:
        """Take whole granules, committing every 64 granules or 60 s and at the end.

        ``with engine.appender("aster") as appender: appender.add_granule(granule_id, rows)``.
        See `Appender.add_granule` for ``replaces`` and ``tiles``; ``appender.report`` says what
        came in. If the block is left by an exception, granules added so far are committed.

        Parameters
        ----------
        table : str
        ingest_id : str, optional
            Stored in the snapshots.
        granules, seconds : commit after that many granules or seconds
        """
        return Appender(
            self.warehouse.table(table), ingest_id=ingest_id, granules=granules, seconds=seconds
        )

    # -- rows out ---------------------------------------------------------------------------

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str = "",
        as_of: int | None = None,
        tiles: Sequence[tuple[int, int]] | None = None,
    ) -> pa.RecordBatchReader:
        """Rows of a table, by tile_y, tile_x and granule.

        Parameters
        ----------
        table : str
        columns : sequence of str, optional
            Default: all. Without BINARY columns no data file is opened.
        where : str
            SQL on non-BINARY columns; date literals mean UTC.
        as_of : int, optional
            A snapshot id of `history`.
        tiles : sequence of (tile_x, tile_y), optional

        Returns
        -------
        reader : pa.RecordBatchReader
            One row per batch when a BINARY column is read, so memory stays at one row.
        """
        return read(self.warehouse.table(table), columns, where, as_of, tiles)

    def sql(self, text: str) -> pa.RecordBatchReader:
        """Answer a SELECT on tables of the warehouse; `functions` may be called in it.

        Rasters are read only if the statement names a BINARY column. No files, no network, UTC.
        An INSERT is a job: see jobs/statement.py.
        """
        return select(self.warehouse, text, self.functions)

    # -- jobs -------------------------------------------------------------------------------

    def explain(self, job: Job) -> RunPlan:
        """What `run` would do; nothing is written."""
        return Driver(self.warehouse, job).explain()

    def run(self, job: Job) -> Run:
        """Start a job in the background; the target table is made if missing.

        Returns
        -------
        run : Run
            ``status``, ``progress``, ``cancel()``, ``wait() -> RunReport``.

        Raises
        ------
        GeoquarryError
            The job cannot run: an unknown table, column or UDF, a condition that is refused, a
            target made for something else.
        """
        driver = Driver(self.warehouse, job)
        compute = partial(EXECUTORS[self.executor], self.workers)
        return Run(
            lambda run: driver.run(run, lambda work, tasks, _: compute(work, tasks, run.check))
        )

    def each(
        self,
        work: Callable[[Item], Answer],
        items: Sequence[Item],
        check: Callable[[], None] = go_on,
    ) -> Iterator[Answer]:
        """Do the same with many things, `workers` at a time.

        Parameters
        ----------
        work : callable
            Can be pickled, so that every engine can carry it. What it raises ends everything.
        items : sequence
        check : callable
            Asked between items whether to go on; what it raises ends everything.

        Yields
        ------
        answer : Any
            As soon as it is there, so not in the order of the items.
        """
        yield from in_threads(self.workers, work, items, check)

    # -- housekeeping -----------------------------------------------------------------------

    def history(self, table: str) -> list[dict[str, Any]]:
        """Snapshots that still exist, oldest first.

        Returns
        -------
        history : list of dict
            ``snapshot_id, committed`` (datetime, UTC), ``kind, commit_id, job_id, added_rows,
            removed_rows, rows, files, properties``.
        """
        return self.warehouse.table(table).history()

    def vacuum(
        self,
        table: str,
        older_than: timedelta = timedelta(days=7),
        keep: int = 10,
        *,
        dry_run: bool = False,
    ) -> VacuumReport:
        """Expire snapshots and delete files that no remaining snapshot references.

        Parameters
        ----------
        table : str
        older_than : timedelta
            Younger snapshots and files stay.
        keep : int
            At least this many snapshots stay, however old.
        dry_run : bool
            Only say what would go.
        """
        return vacuum(self.warehouse.table(table), older_than, keep, dry_run=dry_run)

    def check(self, table: str) -> list[Problem]:
        """Read the whole table once: file sizes, keys, digests, every blob; [] is good news."""
        return check(self.warehouse.table(table))
