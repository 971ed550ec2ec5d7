"""A job from plan to commit. Engines differ only in who computes the tiles in between."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow.parquet as pq

from geoquarry.engine.commit import Change, commit, new_commit_id
from geoquarry.engine.datafile import WrittenFile, describe_file
from geoquarry.engine.files import list_files
from geoquarry.engine.index import read_index, renew_index
from geoquarry.engine.layout import iceberg_schema
from geoquarry.engine.note import Note, forget_note, notes, write_note
from geoquarry.engine.plan import TileTask, attach, plan, select_index
from geoquarry.engine.run import FailedTile, Run, RunPlan, RunReport
from geoquarry.engine.table import JOB_ID, Table
from geoquarry.engine.tile import (
    GOOD,
    Part,
    TileWork,
    check_source,
    digest_of_task,
    find_udf,
    part_name,
)
from geoquarry.engine.warehouse import Warehouse
from geoquarry.engine.where import condition
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import facts

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
            check_target(job, warehouse.table(job.target))
        else:
            iceberg_schema(job.schema)  # refuses now what cannot be stored later

    def _open_target(self) -> None:
        self.target = self.warehouse.ensure_table(self.job.target, self.job.schema)
        check_target(self.job, self.target)
        self.job_id = job_id(self.job, self.source, self.target)

    def tasks(self) -> tuple[list[TileTask], list[TileTask]]:
        """Tiles to compute, and tiles whose result is up to date."""
        tasks = plan(self.source, self.job.where, self.job.tiles, self.job.as_of)
        for lookup in self.job.lookups:
            tasks = attach(tasks, lookup, self.warehouse.table(lookup.table))
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
        todo: list[TileTask] = []
        ready: list[TileTask] = []
        for task in tasks:
            current = done.get((task.tile_x, task.tile_y)) == digest_of_task(self.job, task)
            (ready if current else todo).append(task)
        return todo, ready

    def explain(self) -> RunPlan:
        """What `run` would do; nothing is written."""
        todo, ready = self.tasks()
        return RunPlan(
            tiles=len(todo),
            rows=sum(len(task.rows) for task in todo),
            granules=len({ref.granule_id for task in todo for ref in task.rows}),
            skipped=len(ready),
            nbytes=sum(ref.nbytes for task in todo for ref in task.rows),
            largest_tile_rows=max((len(task.rows) for task in todo), default=0),
        )

    def run(self, run: Run, execute: Execute) -> RunReport:
        """Plan, compute, commit once, report."""
        started = time.monotonic()
        todo, ready = self.tasks()  # whatever it refuses, it refuses before a target is made
        self._open_target()
        run.plan(len(todo) + len(ready))
        run.advance(len(ready))
        parts: list[Part] = []
        note = self._begin()
        commit_id = note.commit_id
        if self.job.resume:
            for part in self._finished(commit_id, todo):
                parts.append(part)
                run.advance()
            have = {(part.tile_x, part.tile_y) for part in parts}
            todo = [task for task in todo if (task.tile_x, task.tile_y) not in have]
        work = TileWork(
            self.job, self.source.layout, self.target.layout, self.job_id, commit_id, run.check
        )
        for part in execute(work, todo, run):
            parts.append(part)
            run.advance()
        run.check()
        run.status = "committing"
        snapshot_id = commit(
            self.target,
            lambda table: self.change(table, parts),
            commit_id=commit_id,
            kind=f"run {self.job.method}",
            properties={
                JOB_ID.removeprefix("geoquarry."): self.job_id,
                "source": self.job.source,
                "source-snapshot": str(self.job.as_of or self.source.snapshot_id),
            },
        )
        forget_note(self.target.layout, note)
        renew_index(self.target)
        counts = dict.fromkeys(("ok", "partial", "empty", "failed"), 0)
        for part in parts:
            counts[part.status] += 1
        counts["skipped"] = len(ready)
        counts["resumed"] = sum(part.resumed for part in parts)
        return RunReport(
            job_id=self.job_id,
            commit_id=commit_id,
            snapshot_id=snapshot_id,
            tiles=len(parts) + len(ready),
            counts=counts,
            failed=[
                FailedTile(part.tile_x, part.tile_y, part.message)
                for part in sorted(parts, key=lambda part: (part.tile_y, part.tile_x))
                if part.status == "failed"
            ],
            seconds=time.monotonic() - started,
        )

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

    def _begin(self) -> Note:
        """Note this run down: under the commit id of an unfinished one to resume, or a new one."""
        if self.job.resume:
            for note in notes(self.target.layout, self.job_id):
                unfinished = self.target.find_commit(note.commit_id) is None
                if unfinished and not note.is_live():
                    return write_note(self.target.layout, self.job_id, note.commit_id)
        return write_note(self.target.layout, self.job_id, new_commit_id())

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
                said = row["message"] or ""
                return Part(task.tile_x, task.tile_y, row["status"], said, file, resumed=True)
        return None


def reopened(target: Table, path: str, row: dict[str, Any]) -> WrittenFile:
    """A data file of an earlier process, as its writer described it."""
    with target.iceberg.io.new_input(path).open() as stream:
        footer = pq.ParquetFile(stream).metadata
    bounds = {name: (row[name], row[name]) for name in target.layout.key}
    return describe_file(target.layout, path, footer, bounds)


def is_good(table: Table, path: str) -> bool:
    """Whether a result file holds a row that is worth keeping."""
    return bool(set(read_index(table.layout, path).column("status").to_pylist()) & GOOD)


def check_target(job: Job, target: Table) -> None:
    """Refuse a target that was made for something else.

    Raises
    ------
    TableError
        Another kind, sensor, grid, method or other output bands.
    """
    have, need = target.facts, facts(job.schema)
    for name in ("kind", "sensor", "grid", "method"):
        if have.get(name) != need.get(name):
            raise TableError(
                f"Table {job.target!r} holds {name} {have.get(name)!r}, this job makes "
                f"{need.get(name)!r}. Choose another target, or drop the table first."
            )
    if json.dumps(have.get("bands")) != json.dumps(need.get("bands")):
        raise TableError(
            f"Table {job.target!r} was made with other output bands than this job makes. "
            "Choose another target, or drop the table first."
        )


def _rows(table: Table, select: str) -> list[tuple[Any, ...]]:
    found = select_index(table, select)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
