"""Housekeeping: forget old snapshots, delete files nobody needs."""

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.exceptions import CommitFailedException

from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.files import is_uri, list_files
from geoquarry.engine.note import notes
from geoquarry.engine.table import Table
from geoquarry.engine.warehouse import patiently
from geoquarry.schemas.errors import GeoquarryError, UsageError

ATTEMPTS = 20
CLOCKS_S = 60.0
"""How far the clocks of a writer and of its disk may be apart."""


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


def vacuum(
    table: Table, older_than: timedelta, keep: int, *, dry_run: bool = False
) -> VacuumReport:
    """Expire snapshots and delete unreferenced files; see `Engine.vacuum`."""
    if keep < 1 or older_than < timedelta(0):
        raise UsageError("vacuum keeps at least 1 snapshot, and older_than cannot be negative.")
    report = VacuumReport()
    cutoff = datetime.now(UTC) - older_than
    report.snapshots = _expire(table.refresh(), cutoff, keep, dry_run)
    failpoint("vacuum.expired")
    # Notes first: a commit that lands in between is then referenced, noted, or both.
    live = [note for note in notes(table.refresh().layout) if note.is_live()]
    noted = {note.path for note in live}
    writing = tuple(
        f"{table.location}/{room}/{note.commit_id}/" for note in live for room in ("data", "index")
    )
    # Metadata of a commit that has not landed yet bears no id, but is no older than its note.
    since_s = min((note.written_s for note in live), default=math.inf) - CLOCKS_S
    listed = [
        info
        for room in ("data", "index", "metadata", "parts")
        for info in list_files(table.layout.io, f"{table.location}/{room}", recursive=True)
    ]
    referenced = _referenced(table)
    for info in listed:
        if info.path in referenced or info.mtime > cutoff:
            continue
        landing = info.path.startswith(f"{table.location}/metadata/")
        landing = landing and info.mtime.timestamp() >= since_s
        if landing or info.path in noted or info.path.startswith(writing):
            report.kept_unfinished += 1
            continue
        report.files += 1
        report.nbytes += info.size or 0
        if not dry_run:
            with suppress(FileNotFoundError):  # another vacuum was quicker
                table.layout.io.delete(info.path)
    if not dry_run:
        _sweep_cache(table)
        if not is_uri(table.location):
            _sweep(table, writing)
    return report


def _expire(table: Table, cutoff: datetime, keep: int, dry_run: bool) -> int:
    for _ in range(ATTEMPTS):
        newest_first = table.snapshots()[::-1]
        limit = min(cutoff.timestamp() * 1000, _read_ms(table))
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


def _read_ms(table: Table) -> float:
    """When the oldest snapshot was made that a job may be reading now."""
    since = table.warehouse.ledger.read_since(table.name)
    if since is None:
        return math.inf
    # A job has opened its source some moments before the ledger hears of it.
    since_ms = (since.timestamp() - CLOCKS_S) * 1000
    made = [found.timestamp_ms for found in table.snapshots()]
    return max((ms for ms in made if ms <= since_ms), default=since_ms)


def _referenced(table: Table) -> set[str]:
    """Every file that the table still needs, at its newest state."""
    for _ in range(ATTEMPTS):
        try:
            return _referenced_by(table.refresh())
        except FileNotFoundError:  # of a snapshot that another vacuum has just forgotten, or damage
            seen = table.iceberg.metadata_location
            if table.refresh().iceberg.metadata_location == seen:
                raise
    raise GeoquarryError(f"Table {table.name!r}: others kept changing it; run vacuum again.")


def _referenced_by(table: Table) -> set[str]:
    metadata = table.iceberg.metadata
    found = {table.iceberg.metadata_location}
    found |= {entry.metadata_file for entry in metadata.metadata_log}
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        found |= {m.manifest_path for m in table.manifests(snapshot)}
        for file in table.files(snapshot.snapshot_id):
            found.add(file.file_path)
            found.add(table.layout.index_path(file.file_path))
    return found


def _sweep(table: Table, writing: tuple[str, ...]) -> None:
    """Remove folders that became empty (on a local disk: an object store has none)."""
    for room in ("data", "index", "parts"):
        for folder, _, _ in os.walk(f"{table.location}/{room}", topdown=False):
            if f"{folder}/" not in writing:
                with suppress(OSError):  # not empty, or gone
                    os.rmdir(folder)


def _sweep_cache(table: Table) -> None:
    """Remove what a killed process left beside the cached index."""
    cache = table.warehouse.cache_path(f"index/{table.uuid}.parquet")
    for left in cache.parent.glob(f"{table.uuid}.*.tmp"):
        with suppress(OSError):
            left.unlink()
