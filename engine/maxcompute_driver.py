"""A job on MaxCompute from plan to commit: planned here, computed there, committed there.

What a job means is the same as in `engine.driver`: tiles whose inputs have not changed are skipped,
a failed tile never replaces a good one, a run that was cut off can be resumed, and the target
changes once. Tables besides the target: its tasks (`engine.maxcompute_tasks`) and its results on
their way, both dropped at the end. Those of a process that was killed are found, and its statement
stopped, by the next run into the same target or by `vacuum`; a run that resumes it waits for it.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST
from geoquarry.engine.driver import split
from geoquarry.engine.ledger import Record, Unit
from geoquarry.engine.maxcompute_archive import archive_of
from geoquarry.engine.maxcompute_commit import replace_rows
from geoquarry.engine.maxcompute_ddl import create_table
from geoquarry.engine.maxcompute_errors import InstanceFailed
from geoquarry.engine.maxcompute_functions import tile_function
from geoquarry.engine.maxcompute_limits import check_room
from geoquarry.engine.maxcompute_note import maker, note_text
from geoquarry.engine.maxcompute_orphans import sweep
from geoquarry.engine.maxcompute_plan import batch_rows, chosen, hints_of, image_of, sizes_of
from geoquarry.engine.maxcompute_results import ANSWERS, Results, drop_quietly, results_of
from geoquarry.engine.maxcompute_run import MaxComputeRun
from geoquarry.engine.maxcompute_statement import job_statement, zones_of
from geoquarry.engine.maxcompute_tables import helper_name, open_table
from geoquarry.engine.maxcompute_tasks import Limits, task_spool, task_table
from geoquarry.engine.maxcompute_trouble import readable
from geoquarry.engine.maxcompute_upload import upload
from geoquarry.engine.plan import RowRef, TileTask, attach
from geoquarry.engine.run import RunPlan, RunReport
from geoquarry.engine.run_report import report, run_plan, tell
from geoquarry.engine.tile import GOOD, Finished, check_source, check_target, find_udf
from geoquarry.engine.where import condition
from geoquarry.schemas.errors import GeoquarryError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import facts

if TYPE_CHECKING:
    from geoquarry.engine.maxcompute import Engine


class MaxComputeDriver:
    """One job in one project.

    Parameters
    ----------
    engine : engine.maxcompute.Engine
    job : Job

    Raises
    ------
    GeoquarryError
        The job cannot run: an unknown table, column or UDF, a condition that is refused, a UDF that
        cannot travel, a target made for something else.
    """

    def __init__(self, engine: "Engine", job: Job) -> None:
        if job.source == job.target:
            raise UsageError(f"Source and target are both {job.source!r}; name another target.")
        find_udf(job.udf)
        self.engine, self.job = engine, job
        self.connection = engine.connection
        self.source = engine.schema(job.source)
        check_source(job, self.source)
        condition(job.where, self.source)
        self.needs = archive_of(job.udf).needs
        check_room(self.connection.physical(job.target))
        if engine.exists(job.target):
            self._check_target()
        else:
            create_table(self.connection.physical(job.target), job.schema)  # refuses it now

    # -- planning -----------------------------------------------------------------------------

    def tasks(self) -> tuple[list[TileTask], list[TileTask]]:
        """Tiles to compute, and tiles whose result is up to date."""
        job = self.job
        tasks = self._planned()
        for lookup in job.lookups:
            columns = [*lookup.on, *lookup.columns]
            rows = self.engine.read(lookup.table, columns, as_of=lookup.as_of).read_all()
            tasks = attach(tasks, lookup, rows.to_pylist())
        if job.overwrite or not self.engine.exists(job.target):
            return tasks, []
        done = {
            (row["tile_x"], row["tile_y"]): row["input_digest"]
            for row in self.engine.read(job.target, ANSWERS[:-1]).read_all().to_pylist()
            if row["status"] in GOOD
        }
        return split(job, tasks, done)

    def _planned(self) -> list[TileTask]:
        """Rows of the source that the job takes, by tile; no pixel is read."""
        job = self.job
        if job.as_of is not None:
            now = self.engine.describe(job.source)["snapshot_id"]
            if now != job.as_of:
                raise UsageError(
                    f"Table {job.source!r} as of {job.as_of}: MaxCompute keeps only its present "
                    f"state ({now})."
                )
        columns = ["granule_id"] if "granule_id" in self.source.names else []
        found: dict[tuple[int, int], list[RowRef]] = {}
        for row in self.engine.planned(job.source, job.where, job.tiles, columns):
            ref = RowRef("", 0, row.get("granule_id") or "", row[ROW_DIGEST], row[ROW_BYTES])
            found.setdefault((row["tile_y"], row["tile_x"]), []).append(ref)
        return [
            TileTask(x, y, tuple(sorted(refs, key=lambda ref: ref.granule_id)))
            for (y, x), refs in sorted(found.items())
        ]

    def explain(self) -> RunPlan:
        """What `run` would do; nothing is written."""
        todo, ready = self.tasks()
        chosen(self.engine.plan, sizes_of(todo), streams=self._streams())
        zones = zones_of(todo)
        if self.engine.exists(self.job.target):
            self._check_zones(zones)
        return run_plan(todo, ready)

    def _check_zones(self, zones: Sequence[str]) -> None:
        """Refuse before anything is computed what could not be committed."""
        target = open_table(self.connection, self.job.target)
        if self.job.overwrite:
            target.check_zones([*zones, *target.partitions()], None)
        else:
            target.check_zones(zones, zones)

    def _streams(self) -> bool:
        try:
            find_udf(f"{self.job.udf.partition(':')[0]}:Stream")
        except UsageError:
            return False
        return True

    def _check_target(self) -> None:
        check_target(self.job, facts(self.engine.schema(self.job.target)))

    def job_id(self) -> str:
        """Same inputs, same parameters, same target: same id."""
        job = self.job
        source, target = (self.engine.describe(name) for name in (job.source, job.target))
        content = [
            source["uuid"],
            source["snapshot_id"],
            condition(job.where, self.source),
            job.method,
            job.params_json(),
            job.package_version,
            job.revision,
            target["uuid"],
            *([lookup.table, lookup.as_of] for lookup in job.lookups),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    # -- running ------------------------------------------------------------------------------

    def run(self, run: MaxComputeRun) -> RunReport:
        """Plan, compute, commit once, report."""
        started = time.monotonic()
        todo, ready = self.tasks()  # whatever it refuses, it refuses before a target is made
        plan = chosen(self.engine.plan, sizes_of(todo), streams=self._streams())
        zones = zones_of(todo)
        self.engine.ensure(self.job.target, self.job.schema)
        self._check_target()
        self._check_zones(zones)
        run.plan(len(todo) + len(ready))
        run.advance(len(ready))
        finished: list[Finished] = []
        with self._begin(run) as record:
            self._settle(run, record, len(todo))
            record.plan(Unit(tile=(task.tile_x, task.tile_y)) for task in todo)
            for task in ready:
                record.finish(Unit(tile=(task.tile_x, task.tile_y)), "skipped", "up to date")
            if todo or self.job.overwrite:
                finished = self._replaced(run, record, plan, todo, zones)
        return report(record, finished, skipped=len(ready), since=started)

    def _begin(self, run: MaxComputeRun) -> Record:
        """Note this run down, as the continuation of one that was cut off if there is one."""
        job, ledger, job_id = self.job, self.engine.warehouse.ledger, self.job_id()
        return ledger.job(
            "run",
            job_id=job_id,
            resume=ledger.unfinished("run", job_id) if job.resume else (),
            method=job.method,
            source=job.source,
            target=job.target,
            package_version=job.package_version,
            request=job.request,
            on_cancel=run.cancel,
        )

    def _settle(self, run: MaxComputeRun, record: Record, tiles: int) -> None:
        """See to what processes that were killed have left: nobody waits for it any more.

        The statement of this very job is waited for if it is resumed: it is ahead of any new one.
        """

        def take(instance: Any) -> None:
            run.sent(instance)
            with suppress(InstanceFailed):  # then its tiles are computed anew
                self.connection.wait(instance, run.check, lambda now: run.follow(now, tiles))

        target = self.connection.physical(self.job.target)
        ours = results_of(target, record.job_id)
        resumes = self.job.resume and tiles
        sweep(self.connection, target, ours=ours, take=take if resumes else None)

    def _replaced(
        self,
        run: MaxComputeRun,
        record: Record,
        plan: str,
        todo: Sequence[TileTask],
        zones: Sequence[str],
    ) -> list[Finished]:
        """Compute tiles into a staging table, and put them into the target at once."""
        with Results(self.connection, self.job, record) as results:
            resumed = results.resumed(todo) if self.job.resume else set()
            run.reached(len(resumed))
            rest = [task for task in todo if (task.tile_x, task.tile_y) not in resumed]
            run.check()
            if rest:
                self._compute(run, plan, rest, results, record.job_id, zones)
            finished = results.finished(todo, resumed)
            run.reached(len(todo))
            for tile in finished:
                tell(record, tile)
            run.check()
            run.status = "committing"
            replace_rows(
                open_table(self.connection, self.job.target),
                results.physical,
                keep_good=True,
                whole=self.job.overwrite,
                zones=zones,
            )
            record.snapshot_id = self.engine.describe(self.job.target)["snapshot_id"]
            results.forget_earlier(self.engine.warehouse.ledger)
        target = self.connection.physical(self.job.target)
        with suppress(GeoquarryError):  # what is committed is committed
            sweep(self.connection, target, ours=results_of(target, record.job_id), finished=True)
        return finished

    def _compute(
        self,
        run: MaxComputeRun,
        plan: str,
        tasks: Sequence[TileTask],
        results: Results,
        job_id: str,
        zones: Sequence[str],
    ) -> None:
        """Have tiles computed into the staging table.

        Raises
        ------
        UdfError
            The function failed as such, rather than a tile in it.
        InstanceFailed
            The service could not do it.
        """
        connection, job = self.connection, self.job
        function = tile_function(connection, job, self.source, plan)
        told = helper_name(connection.physical(job.target), "tasks", results.token)
        try:
            connection.execute(task_table(told, note_text(maker())))
            # Answers are of tiles: as many as the plan collect brings at a time.
            kept = batch_rows("collect", sizes_of(tasks))
            limits, folder = Limits(connection.max_cell_bytes, kept), self.engine.scratch()
            with task_spool(job, tasks, job_id, limits, folder) as spool:
                upload(connection, told, spool, run.check)
            tables = connection.physical(job.source), told, results.physical
            statement = job_statement(plan, function, job, self.source, tables=tables, zones=zones)
            image = image_of(self.needs, self.engine.image)
            run.check()
            instance = connection.start(statement, hints_of(plan, sizes_of(tasks), image))
            results.note.sent(instance)
            run.sent(instance)
            try:
                connection.wait(instance, run.check, lambda now: run.follow(now, len(tasks)))
            except InstanceFailed as error:
                raise readable(error, run.logview) from error
        finally:
            drop_quietly(connection, told)
