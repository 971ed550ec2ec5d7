"""The MaxCompute engine: tables and jobs in a project of Alibaba Cloud, the same verbs.

Rows lie and tiles are computed in the project; planning, conditions and commits are led from here.
The folder of the warehouse holds caches and files on their way, nothing else.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine import local
from geoquarry.engine.appender import Appender, AppendReport
from geoquarry.engine.check import Problem
from geoquarry.engine.files import is_uri
from geoquarry.engine.maxcompute_account import account_of
from geoquarry.engine.maxcompute_append import MaxAppender, append
from geoquarry.engine.maxcompute_care import check, describe, history, vacuum
from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_driver import MaxComputeDriver
from geoquarry.engine.maxcompute_limits import CELL_BYTES
from geoquarry.engine.maxcompute_orphans import sweep
from geoquarry.engine.maxcompute_read import planned, read
from geoquarry.engine.maxcompute_run import MaxComputeRun
from geoquarry.engine.maxcompute_sql import DIALECT, select
from geoquarry.engine.maxcompute_tables import (
    MaxTable,
    create,
    drop_physical,
    exists,
    helpers,
    open_table,
    table_names,
)
from geoquarry.engine.run import Run, RunPlan
from geoquarry.engine.sql import ScalarFunction, parse_select
from geoquarry.engine.sql import select as in_duckdb
from geoquarry.engine.sql import table_names as table_names_in
from geoquarry.engine.sql_ledger import only_ledger
from geoquarry.engine.vacuum import VacuumReport
from geoquarry.engine.vacuum import vacuum as vacuum_files
from geoquarry.engine.warehouse import Warehouse, open_warehouse
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import facts

PLANS = ("auto", "collect", "udtf", "udaf")
"""Ways to compute a tile there: see docs/maxcompute.md."""
FOLDER = "maxcompute"
"""Of the warehouse folder: files on their way."""


def open_engine(
    location: str, *, catalog: str | None = None, create: bool = True, **options: Any
) -> "Engine":
    """Open a MaxCompute project.

    Parameters
    ----------
    location : str
        Folder of this host for caches and files on their way; made when it is first needed.
    catalog : str, optional
        Must be left away: the project is the catalog.
    create : bool
        Not used: a project is there or not.
    **options
        See `Engine` and `engine.maxcompute_account.account_of`.

    Raises
    ------
    UsageError
        A project, an endpoint or credentials are missing; nothing was asked of the service yet.
    """
    if catalog is not None:
        raise UsageError("--catalog belongs to a warehouse of files; a MaxCompute project has one.")
    if is_uri(location):
        raise UsageError(
            f"{location!r}: tables lie in the MaxCompute project; --warehouse names a folder of "
            "this host for caches and files on their way."
        )
    return Engine(location, **options)


class Engine(local.Engine):
    """The verbs of every engine; rows and tiles are in a MaxCompute project.

    Parameters
    ----------
    location : str
        Folder for caches and files on their way.
    plan : {"auto", "collect", "udtf", "udaf"}
        How tiles are computed there.
    image : str, optional
        Image of the workers, if not the one that has what the UDF needs.
    prefix : str
        Before all names of ours in the project.
    workers : int, optional
        Scenes cut at a time on this host, when ingesting.
    functions : mapping of str -> ScalarFunction, optional
        Scalar functions for `sql`.
    max_cell_bytes : int
        Largest value that the project takes.
    **account
        ``project, endpoint, tunnel_endpoint, access_id, secret_access_key, secret_file,
        security_token, odps_schema, quota``; what is left away comes from the environment.
    """

    name = "maxcompute"
    on_this_host = False

    def __init__(
        self,
        location: str,
        *,
        plan: str = "auto",
        image: str | None = None,
        prefix: str = "",
        workers: int | None = None,
        functions: Mapping[str, ScalarFunction] | None = None,
        max_cell_bytes: int = CELL_BYTES,
        **account: Any,
    ) -> None:
        if plan not in PLANS:
            raise UsageError(f"No plan {plan!r}. Choose one of: {', '.join(PLANS)}.")
        if workers is not None and workers < 1:
            raise UsageError(f"workers={workers}: at least 1 is needed.")
        self.location = location
        self.plan, self.image = plan, image
        self.workers = workers or os.cpu_count() or 1
        self.executor = "thread"
        self.functions = dict(functions or {})
        self.connection = Connection(
            account_of(**account), prefix=prefix, max_cell_bytes=max_cell_bytes
        )

    def __repr__(self) -> str:
        return f"Engine({self.connection!r})"

    @cached_property
    def warehouse(self) -> Warehouse:  # type: ignore[override]
        """A folder of this host: caches, and the files of granules on their way."""
        return open_warehouse(str(Path(self.location) / FOLDER))

    def scratch(self) -> Path:
        """Folder for files that live as long as one call."""
        return self.warehouse.cache_path("upload/x").parent

    def table(self, name: str) -> MaxTable:
        """Look a table up, as it is now."""
        return open_table(self.connection, name)

    # -- tables -----------------------------------------------------------------------------

    def create(self, table: str, schema: pa.Schema) -> None:
        """Make an empty table; see `engine.local.Engine.create`."""
        create(self.connection, table, schema)

    def _made(self, table: str, schema: pa.Schema) -> dict[str, Any]:
        if not self.exists(table):
            try:
                self.create(table, schema)
            except TableError:
                if not self.exists(table):  # not another process that was quicker
                    raise
        return facts(self.schema(table))

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""
        return exists(self.connection, table)

    def tables(self) -> list[str]:
        """Names of the tables, sorted; helpers of ours are not listed."""
        return table_names(self.connection)

    def schema(self, table: str) -> pa.Schema:
        """The schema as given to `create`, facts and `about` texts included."""
        return self.table(table).schema

    def describe(self, table: str) -> dict[str, Any]:
        """What a table is; see `engine.local.Engine.describe`.

        Besides: ``zones`` (partitions) and ``lifecycle_days``. ``snapshot_id`` is when the data
        were last changed, in ms; ``files`` is as the service counts.
        """
        return describe(self.table(table))

    def drop(self, table: str) -> None:
        """Delete a table and what is left beside it."""
        found = self.table(table)
        sweep(self.connection, found.physical)  # statements of killed processes are stopped
        for name, _, _ in list(helpers(self.connection, found.physical)):
            drop_physical(self.connection, name)
        drop_physical(self.connection, found.physical)

    # -- rows -------------------------------------------------------------------------------

    def append(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch | Mapping[str, Any]],
        *,
        commit_id: str | None = None,
        kind: str = "append",
        properties: Mapping[str, str] | None = None,
    ) -> AppendReport:
        """Add rows in one commit, replacing rows of the same key; see `engine.local.Engine.append`.

        A table here keeps no history, so ``kind`` and ``properties`` are not stored, and a commit
        id is not recognised: repeating it stores the same rows again, which changes nothing.
        """
        return append(self.table(table), batches, self.scratch(), commit_id=commit_id)

    def appender(
        self,
        table: str,
        *,
        ingest_id: str | None = None,
        granules: int = 64,
        seconds: float = 60.0,
    ) -> Appender:
        """Take whole granules, sending them up in groups; see `engine.local.Engine.appender`."""
        found = self.table(table)
        # Its name says what its columns are: a table made anew for another grid has another.
        told = hashlib.sha256(found.schema.serialize().to_pybytes()).hexdigest()[:16]
        files = self.warehouse.ensure_table(f"on_its_way_{told}", found.schema)
        return MaxAppender(
            found,
            files,
            self.scratch(),
            ingest_id=ingest_id,
            granules=granules,
            seconds=seconds,
        )

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str = "",
        as_of: int | None = None,
        tiles: Sequence[tuple[int, int]] | None = None,
    ) -> pa.RecordBatchReader:
        """Rows of a table, by tile_y, tile_x and granule; see `engine.local.Engine.read`.

        The condition is answered here, on the non-BINARY columns of all rows (of the zones that
        ``tiles`` touch); pixels come down for the rows that are left. ``as_of`` can only be the
        present snapshot.
        """
        return read(self.table(table), columns, where, as_of, tiles)

    def planned(
        self,
        table: str,
        where: str = "",
        tiles: Sequence[tuple[int, int]] | None = None,
        columns: Iterable[str] = (),
    ) -> list[dict[str, Any]]:
        """Key, ``row_digest``, ``row_bytes``, ``zone`` and columns of rows, without their pixels.

        By tile_y, tile_x and granule.
        """
        rows: list[dict[str, Any]] = planned(self.table(table), where, tiles, columns).to_pylist()
        return rows

    def sql(self, text: str) -> pa.RecordBatchReader:
        """Answer a SELECT in MaxCompute's dialect; `functions` may be called in it.

        It runs in the project and is charged for there; the ledger is read on this host. An INSERT
        is a job: see jobs/statement.py.
        """
        tree = parse_select(text, DIALECT)
        if only_ledger(tree, table_names_in(tree)):
            return in_duckdb(self.warehouse, text, {})
        return select(self.connection, text, self.functions)

    # -- jobs -------------------------------------------------------------------------------

    def explain(self, job: Job) -> RunPlan:
        """What `run` would do; nothing is written."""
        return MaxComputeDriver(self, job).explain()

    def run(self, job: Job) -> Run:
        """Start a job in the background; see `engine.local.Engine.run`.

        Returns
        -------
        run : MaxComputeRun
            Besides: ``instance_id``, ``logview``; ``cancel()`` stops the instance.
        """
        return MaxComputeRun(MaxComputeDriver(self, job).run)

    # -- housekeeping -----------------------------------------------------------------------

    def history(self, table: str) -> list[dict[str, Any]]:
        """The present state, as one snapshot: an ordinary table of MaxCompute has no others."""
        return history(self.table(table))

    def vacuum(
        self,
        table: str,
        older_than: timedelta = timedelta(days=7),
        keep: int = 10,
        *,
        dry_run: bool = False,
    ) -> VacuumReport:
        """Delete what killed processes left: helper tables, old functions, files on their way.

        Statements of theirs that are still at work are stopped.

        Parameters
        ----------
        table : str
        older_than : timedelta
            Younger things stay.
        keep : int
            Not used: there are no snapshots.
        dry_run : bool
            Only say what would go.
        """
        report = vacuum(self.table(table), older_than, dry_run=dry_run)
        for name in self.warehouse.table_names():
            found = vacuum_files(self.warehouse.table(name), older_than, 1, dry_run=dry_run)
            report.files += found.files
            report.nbytes += found.nbytes
            report.kept_unfinished += found.kept_unfinished
        self._sweep(older_than, dry_run)
        return report

    def _sweep(self, older_than: timedelta, dry_run: bool) -> None:
        """Spools that a killed process could not delete."""
        limit = datetime.now(UTC).timestamp() - older_than.total_seconds()
        for path in self.scratch().iterdir():
            with suppress(OSError):
                if path.stat().st_mtime < limit and not dry_run:
                    path.unlink()

    def check(self, table: str) -> list[Problem]:
        """Read the whole table once: keys, digests, every blob; [] is good news."""
        return check(self.table(table))
