"""Housekeeping: forget old snapshots, delete files nobody needs, verify what is there."""

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException

from geoquarry.engine.batches import check_row, digest_of
from geoquarry.engine.files import is_uri, list_files
from geoquarry.engine.index import fill, read_index
from geoquarry.engine.note import notes
from geoquarry.engine.table import Table
from geoquarry.engine.warehouse import patiently
from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import GeoquarryError, UsageError

ATTEMPTS = 20


@dataclass
class VacuumReport:
    """What a vacuum took away.

    Attributes
    ----------
    snapshots, files, nbytes : int
    kept_unfinished : int
        Files that belong to a commit of a living process.
    """

    snapshots: int = 0
    files: int = 0
    nbytes: int = 0
    kept_unfinished: int = 0


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a table.

    Attributes
    ----------
    where : str
        File, row group and column as far as known.
    message : str
    """

    where: str
    message: str


@dataclass
class _Live:
    paths: set[str] = field(default_factory=set)
    folders: tuple[str, ...] = ()


def vacuum(
    table: Table, older_than: timedelta, keep: int, *, dry_run: bool = False
) -> VacuumReport:
    """Expire snapshots and delete unreferenced files; see `Engine.vacuum`."""
    if keep < 1 or older_than < timedelta(0):
        raise UsageError("vacuum keeps at least 1 snapshot, and older_than cannot be negative.")
    report = VacuumReport()
    cutoff = datetime.now(UTC) - older_than
    report.snapshots = _expire(table.refresh(), cutoff, keep, dry_run)
    table.refresh()
    # Notes first: a commit that lands in between is then referenced, noted, or both.
    writing = tuple(
        f"{table.location}/{room}/{note.commit_id}/"
        for note in notes(table.layout)
        if note.is_live()
        for room in ("data", "index")
    )
    listed = [
        info
        for room in ("data", "index", "metadata", "parts")
        for info in list_files(table.layout.io, f"{table.location}/{room}", recursive=True)
    ]
    table.refresh()
    referenced = _referenced(table)
    for info in listed:
        if info.path in referenced or info.mtime > cutoff:
            continue
        if info.path.startswith(writing) or _is_live_note(table, info.path):
            report.kept_unfinished += 1
            continue
        report.files += 1
        report.nbytes += info.size or 0
        if not dry_run:
            table.iceberg.io.delete(info.path)
    if not dry_run and not is_uri(table.location):
        _sweep(table)
    return report


def _is_live_note(table: Table, path: str) -> bool:
    if not path.startswith(f"{table.location}/parts/"):
        return False
    return any(note.path == path and note.is_live() for note in notes(table.layout))


def _expire(table: Table, cutoff: datetime, keep: int, dry_run: bool) -> int:
    for _ in range(ATTEMPTS):
        newest_first = table.snapshots()[::-1]
        limit = cutoff.timestamp() * 1000
        old = [found for found in newest_first[keep:] if found.timestamp_ms < limit]
        if not old or dry_run:
            return len(old)
        try:
            expire = table.iceberg.maintenance.expire_snapshots()
            patiently(expire.by_ids([found.snapshot_id for found in old]).commit)
            return len(old)
        except (CommitFailedException, ValueError):
            time.sleep(0.1)  # somebody committed meanwhile: look again
            table.refresh()
    raise GeoquarryError(f"Table {table.name!r}: others kept committing; run vacuum again.")


def _referenced(table: Table) -> set[str]:
    """Every file that the table still needs."""
    metadata = table.iceberg.metadata
    found = {table.iceberg.metadata_location}
    found |= {entry.metadata_file for entry in metadata.metadata_log}
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        found |= {m.manifest_path for m in snapshot.manifests(table.iceberg.io)}
        for file in table.files(snapshot.snapshot_id):
            found.add(file.file_path)
            found.add(table.layout.index_path(file.file_path))
    return found


def _sweep(table: Table) -> None:
    """Remove folders that became empty (on a local disk: an object store has none)."""
    for room in ("data", "index", "parts"):
        for folder, _, _ in os.walk(f"{table.location}/{room}", topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                continue  # not empty


def check(table: Table) -> list[Problem]:
    """Read everything once: files, index, keys and every blob; see `Engine.check`."""
    problems: list[Problem] = []
    seen: dict[tuple[object, ...], str] = {}
    for file in table.refresh().files():
        name = file.file_path.removeprefix(f"{table.location}/")
        try:
            source = table.iceberg.io.new_input(file.file_path)
            with source.open() as stream:
                size = len(source)
                if size != file.file_size_in_bytes:
                    said = f"{size} bytes, the table says {file.file_size_in_bytes}"
                    problems.append(Problem(name, said))
                problems += _check_file(table, name, file.file_path, pq.ParquetFile(stream), seen)
        except (OSError, pa.ArrowException, GeoquarryError) as error:
            problems.append(Problem(name, str(error)))
    return problems


def _check_file(
    table: Table,
    name: str,
    path: str,
    parquet: pq.ParquetFile,
    seen: dict[tuple[object, ...], str],
) -> list[Problem]:
    problems = []
    layout = table.layout
    digests = read_index(layout, path).column("row_digest").to_pylist()
    if len(digests) != parquet.num_row_groups:
        problems.append(
            Problem(name, f"{parquet.num_row_groups} rows, its index has {len(digests)}")
        )
        return problems
    for group, expected in enumerate(digests):
        where = f"{name} row {group}"
        try:
            batch = fill(parquet.read_row_group(group), layout, layout.schema.names)
            row = batch.to_pylist()[0]
            key = tuple(row[column] for column in layout.key)
            if key in seen:
                problems.append(Problem(where, f"key {key} is also in {seen[key]}"))
            seen[key] = where
            check_row(batch, layout)
            if digest_of(row) != expected:
                problems.append(Problem(where, "the row differs from its digest in the index"))
        except (OSError, pa.ArrowException, GeoquarryError) as error:
            problems.append(Problem(where, str(error)))
            continue
        for column in layout.blobs:
            if row[column] is not None:
                try:
                    decode(row[column])
                except GeoquarryError as error:
                    problems.append(Problem(f"{where} column {column}", str(error)))
    return problems
