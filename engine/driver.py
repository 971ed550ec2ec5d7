"""A job from plan to commit. Engines differ only in who computes the tiles in between."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from geoquarry.engine.commit import Change, commit
from geoquarry.engine.datafile import WrittenFile, describe_file
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.files import list_files
from geoquarry.engine.index import read_index, renew_index
from geoquarry.engine.layout import iceberg_schema
from geoquarry.engine.ledger import Record, Unit
from geoquarry.engine.note import forget_note, notes, write_note
from geoquarry.engine.plan import TileTask, attach, looked_up, plan, select_index
from geoquarry.engine.run import Run, RunPlan, RunReport
from geoquarry.engine.run_report import report, run_plan, tell
from geoquarry.engine.table import JOB_ID, Table
from geoquarry.engine.tile import (
    GOOD,
    Part,
    TileWork,
    check_source,
    check_target,
    digest_of_task,
    find_udf,
    part_name,
)
from geoquarry.engine.warehouse import Warehouse
from geoquarry.engine.where import condition
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job

Execute = Callable[[TileWork, list[TileTask], Run], Iterable[Part]]
"""How an engine computes tiles: it yields each part as it is finished."""


def job_id(job: Job, source: Table, target: Table) -> str:
    """Same inputs, same parameters, same target: same id (DESIGN section 3)."""
    content = [
        source.uuid,
        job.as_of or source.snapshot_id,
        condition(job.where, source.schema),
        job.method,
        job.params_json(),
        job.package_version,
        job.revision,
        target.uuid,
        *([lookup.table, lookup.as_of] for lookup in job.lookups),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


class Driver:
    """One job on one warehouse.

    Parameters
    ----------
    warehouse : Warehouse
    job : Job
    """

    target: Table

    def __init__(self, warehouse: Warehouse, job: Job) -> None:
        if job.source == job.target:
            raise UsageError(f"Source and target are both {job.source!r}; name another target.")
        find_udf(job.udf)
        self.job = job
        self.source = warehouse.table(job.source)
        check_source(job, self.source.schema)
        condition(job.where, self.source.schema)
        self.warehouse = warehouse
        if warehouse.exists(job.target):
            check_target(job, warehouse.table(job.target).facts)
        else:
            iceberg_schema(job.schema)  # refuses now what cannot be stored later

    def _open_target(self) -> None:
        self.target = self.warehouse.ensure_table(self.job.target, self.job.schema)
        check_target(self.job, self.target.facts)
        self.job_id = job_id(self.job, self.source, self.target)

    def tasks(self) -> tuple[list[TileTask], list[TileTask]]:
        """Tiles to compute, and tiles whose result is up to date."""
        tasks = plan(self.source, self.job.where, self.job.tiles, self.job.as_of)
        for lookup in self.job.lookups:
            rows = looked_up(self.warehouse.table(lookup.table), lookup)
            tasks = attach(tasks, lookup, rows)
        if self.job.overwrite or not self.warehouse.exists(self.job.target):
            return tasks, []
        target = self.warehouse.table(self.job.target)
        done = {
            (x, y): digest
            for x, y, digest, status in _rows(
                target, '"tile_x", "tile_y", "input_digest", "status"'
            )
            if status in GOOD
        }
        return split(self.job, tasks, done)

    def explain(self) -> RunPlan:
        """What `run` would do; nothing is written."""
        todo, ready = self.tasks()
        return run_plan(todo, ready)

    def run(self, run: Run, execute: Execute) -> RunReport:
        """Plan, compute, commit once, report."""
        started = time.monotonic()
        todo, ready = self.tasks()  # whatever it refuses, it refuses before a target is made
        self._open_target()
        run.plan(len(todo) + len(ready))
        run.advance(len(ready))
        with self._begin(run) as record:
            note = write_note(self.target.layout, self.job_id, record.commit_id)
            record.plan(Unit(tile=(task.tile_x, task.tile_y)) for task in todo)
            for task in ready:
                record.finish(Unit(tile=(task.tile_x, task.tile_y)), "skipped", "up to date")
            parts = self._computed(run, execute, todo, record)
            run.check()
            failpoint("run.computed")
            run.status = "committing"
            record.snapshot_id = commit(
                self.target,
                lambda table: self.change(table, parts),
                commit_id=record.commit_id,
                kind=f"run {self.job.method}",
                properties={
                    JOB_ID.removeprefix("geoquarry."): self.job_id,
                    "source": self.job.source,
                    "source-snapshot": str(self.job.as_of or self.source.snapshot_id),
                },
            )
            failpoint("run.landed")
            forget_note(self.target.layout, note)
            renew_index(self.target)
        return report(record, parts, skipped=len(ready), since=started)

    def _computed(
        self, run: Run, execute: Execute, todo: list[TileTask], record: Record
    ) -> list[Part]:
        """The parts of all tiles: those an unfinished run has left, and the others anew."""
        parts: list[Part] = []
        if record.resumed:
            for part in self._finished(record.commit_id, todo):
                parts.append(part)
                run.advance()
                tell(record, part)
            have = {(part.tile_x, part.tile_y) for part in parts}
            todo = [task for task in todo if (task.tile_x, task.tile_y) not in have]
        work = TileWork(
            self.job,
            self.source.layout,
            self.target.layout,
            self.job_id,
            record.commit_id,
            check=run.check,
            began=lambda task: record.start(Unit(tile=(task.tile_x, task.tile_y))),
        )
        failpoint("run.planned")
        for part in execute(work, todo, run):
            parts.append(part)
            run.advance()
            tell(record, part)
            failpoint("run.tile")
        return parts

    def change(self, table: Table, parts: list[Part]) -> Change:
        """Which files the commit swaps, at the target's newest state.

        A failed tile never replaces an earlier good row, whatever happens to the others.
        """
        current: dict[tuple[int, int], list[Any]] = {}
        for file in table.files():
            (x, _), (y, _) = table.bounds(file, ("tile_x", "tile_y"))
            current.setdefault((x, y), []).append(file)
        change = Change()
        stays = set()
        for part in parts:
            key = (part.tile_x, part.tile_y)
            old = current.get(key, [])
            if part.status == "failed" and any(is_good(table, file.file_path) for file in old):
                stays.add(key)
                continue
            change.add.append(part.file)
            if not self.job.overwrite:
                change.remove.extend(old)
        if self.job.overwrite:
            change.remove = [f for key, old in current.items() if key not in stays for f in old]
        return change

    def _begin(self, run: Run) -> Record:
        """Write this run down: under the commit id of an unfinished one to resume, or a new one."""
        layout, ledger, job = self.target.layout, self.warehouse.ledger, self.job
        cut_off = []
        for note in notes(layout, self.job_id):
            if note.is_live() and not ledger.has_ended(note.commit_id):
                continue
            landed = self.target.find_commit(note.commit_id)
            if landed is None:
                cut_off.append(note.commit_id)
            else:  # its process died between the commit and saying so
                ledger.landed(note.commit_id, landed)
                forget_note(layout, note)
        return ledger.job(
            "run",
            job_id=self.job_id,
            resume=cut_off if job.resume else (),
            method=job.method,
            source=job.source,
            target=job.target,
            package_version=job.package_version,
            request=job.request,
            on_cancel=run.cancel,
        )

    def _finished(self, commit_id: str, todo: list[TileTask]) -> Iterator[Part]:
        """Parts of an unfinished run that are still what this run would compute."""
        layout = self.target.layout
        folder = f"{layout.location}/data/{commit_id}"
        attempts: dict[str, list[str]] = {}
        newest_first = sorted(list_files(layout.io, folder), key=lambda i: i.mtime_ns, reverse=True)
        for info in newest_first:
            name, _, ending = info.base_name.rpartition("-")
            if ending.endswith(".parquet"):  # else its writer is not finished
                attempts.setdefault(name, []).append(f"{folder}/{info.base_name}")
        for task in todo:
            paths = attempts.get(part_name(task.tile_x, task.tile_y), [])
            finished = (self._good(task, path) for path in paths)
            part = next(filter(None, finished), None)
            if part is not None:
                yield part

    def _good(self, task: TileTask, path: str) -> Part | None:
        """The part in a file, if it is what this run would compute."""
        layout = self.target.layout
        for row in read_index(layout, path).to_pylist():  # none, if its writer gave up
            if row["status"] in GOOD and row["input_digest"] == digest_of_task(self.job, task):
                file = reopened(self.target, path, row)
                said, issues = row["message"] or "", tuple(row.get("issues") or ())
                key = task.tile_x, task.tile_y
                return Part(*key, row["status"], said, file, resumed=True, issues=issues)
        return None


def reopened(target: Table, path: str, row: dict[str, Any]) -> WrittenFile:
    """A data file of an earlier process, as its writer described it."""
    with target.iceberg.io.new_input(path).open() as stream:
        footer = pq.ParquetFile(stream).metadata
    bounds = {name: (row[name], row[name]) for name in target.layout.key}
    return describe_file(target.layout, path, footer, bounds)


def split(
    job: Job, tasks: Iterable[TileTask], done: Mapping[tuple[int, int], str]
) -> tuple[list[TileTask], list[TileTask]]:
    """Tiles to compute, and tiles whose result is up to date.

    Parameters
    ----------
    job : Job
    tasks : iterable of TileTask
    done : mapping of (tile_x, tile_y) -> input digest
        Good results that there are.
    """
    todo: list[TileTask] = []
    ready: list[TileTask] = []
    for task in tasks:
        current = done.get((task.tile_x, task.tile_y)) == digest_of_task(job, task)
        (ready if current else todo).append(task)
    return todo, ready


def is_good(table: Table, path: str) -> bool:
    """Whether a result file holds a row that is worth keeping."""
    return bool(set(read_index(table.layout, path).column("status").to_pylist()) & GOOD)


def _rows(table: Table, select: str) -> list[tuple[Any, ...]]:
    found = select_index(table, select)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
