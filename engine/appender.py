"""Rows into a table: whole granules as they are ingested, or any rows by key."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from geoquarry.engine.batches import check_row, rows_of
from geoquarry.engine.commit import commit, new_commit_id
from geoquarry.engine.datafile import RowWriter, WrittenFile, safe_name
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.granule_file import GranuleFiles
from geoquarry.engine.index import renew_index
from geoquarry.engine.note import Note, forget_note, write_note
from geoquarry.engine.replace import Replacement, Unit, unit_name
from geoquarry.engine.run import Cancelled
from geoquarry.engine.table import Table
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.tables import facts

OPEN_WRITERS = 64
"""Files that `append` keeps open at once when rows of many granules are mixed."""


@dataclass
class AppendReport:
    """What came in.

    Attributes
    ----------
    rows, units, files, nbytes : int
        Units are granules, or tiles in tables without granules.
    commit_ids : list of str
    snapshot_id : int or None
        After the last commit.
    """

    rows: int = 0
    units: int = 0
    files: int = 0
    nbytes: int = 0
    commit_ids: list[str] = field(default_factory=list)
    snapshot_id: int | None = None


class Appender:
    """Takes granules one by one and commits them in groups; see `Engine.appender`."""

    def __init__(
        self, table: Table, *, ingest_id: str | None, granules: int, seconds: float
    ) -> None:
        if "granule_id" not in table.layout.key:
            raise UsageError(f"Table {table.name!r} holds no granules; use append.")
        self.table = table
        self.layout = table.layout
        self.ingest_id = ingest_id or new_commit_id()
        self.granules = granules
        self.seconds = seconds
        self.report = AppendReport()
        # One folder for all commits: a worker writes before anybody knows which commit it will be.
        self._files = GranuleFiles(self.layout, new_commit_id())
        self._note: Note | None = None
        self._lock = threading.Lock()
        self._start_batch()

    def _start_batch(self) -> None:
        self._commit_id = new_commit_id()
        self._pending = Replacement()
        self._granules: set[str] = set()
        self._since = time.monotonic()

    @property
    def pending(self) -> frozenset[str]:
        """Granules that were added and are not committed yet."""
        with self._lock:
            return frozenset(self._granules)

    @property
    def files(self) -> GranuleFiles:
        """Writes granules for `add_file`, here or on a worker; vacuum spares them until the end."""
        with self._lock:
            if self._note is None:
                self._write_note()
        return self._files

    def _write_note(self) -> None:
        self._note = write_note(self.layout, "append", self._files.folder)
        failpoint("append.noted")

    def add_granule(
        self,
        granule_id: str,
        rows: Iterable[Mapping[str, Any] | pa.RecordBatch],
        *,
        replaces: Iterable[str] = (),
        tiles: Sequence[tuple[int, int]] | None = None,
    ) -> int:
        """Write one granule's rows; they replace all its earlier rows.

        Parameters
        ----------
        granule_id : str
        rows : iterable of dict or RecordBatch
            Consumed lazily, one row in memory. No rows: the granule's earlier rows go.
        replaces, tiles
            See `add_file`.

        Returns
        -------
        rows : int
            Rows written; visible to others after the next commit.

        Raises
        ------
        TableError
            See `GranuleFiles.write`; nothing of this granule is stored then.
        """
        file = self.files.write(granule_id, rows, tiles)
        self.add_file(granule_id, file, replaces=replaces, tiles=tiles)
        return 0 if file is None else file.rows

    def add_file(
        self,
        granule_id: str,
        file: WrittenFile | None,
        *,
        replaces: Iterable[str] = (),
        tiles: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Take a file that `files` has written; its rows replace all earlier ones of the granule.

        Parameters
        ----------
        granule_id : str
        file : WrittenFile or None
            None: the granule's earlier rows go.
        replaces : iterable of str
            Other granules whose rows go (in the same tiles), e.g. an older production of the
            same acquisition.
        tiles : sequence of (tile_x, tile_y), optional
            Replace rows in these tiles only; other rows stay.
        """
        grid = facts(self.layout.schema)["grid"]
        wanted = None if tiles is None else {(int(x), int(y)) for x, y in tiles}
        gone = {granule_id, *replaces}
        with self._lock:
            # What is still pending can be neither replaced nor added to: commit it first.
            if self._granules & gone:
                self._flush()
            if not self._granules:
                self._since = time.monotonic()
            if file is not None:
                self._pending.files.append(file)
                self.report.rows += file.rows
            self._granules.add(granule_id)
            for name in gone:
                self._pending.replaced[grid, name] = None if wanted is None else set(wanted)
            if (
                len(self._granules) >= self.granules
                or time.monotonic() - self._since >= self.seconds
            ):
                self._flush()

    def flush(self) -> None:
        """Commit what was added so far."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        pending, commit_id = self._pending, self._commit_id
        if pending.replaced:
            snapshot_id = commit(
                self.table,
                lambda table: pending.change(table, self._files.folder),
                commit_id=commit_id,
                kind="ingest",
                properties={"ingest-id": self.ingest_id, "granules": str(len(self._granules))},
            )
            failpoint("append.landed")
            renew_index(self.table)
            self.report.snapshot_id = snapshot_id
            self.report.commit_ids.append(commit_id)
            self.report.units += len(self._granules)
            self.report.files += len(pending.files)
            self.report.nbytes += sum(file.nbytes for file in pending.files)
            if self._note is not None:
                self._write_note()  # a note of another host counts as alive for a day only
        self._start_batch()

    def close(self) -> None:
        """Commit the rest; files that were written and not added are vacuum's from now on."""
        with self._lock:
            try:
                self._flush()
            finally:
                if self._note is not None:
                    forget_note(self.layout, self._note)
                    self._note = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Cancelled):  # nothing more is committed
            with self._lock:
                self._start_batch()
        self.close()


def append(
    table: Table,
    batches: Iterable[pa.RecordBatch | Mapping[str, Any]],
    *,
    commit_id: str | None,
    kind: str,
    properties: Mapping[str, str] | None,
) -> AppendReport:
    """Add rows in one commit, replacing rows of the same key; see `Engine.append`."""
    layout = table.layout
    commit_id = commit_id or new_commit_id()
    if not commit_id or safe_name(commit_id) != commit_id:
        raise UsageError(f"Commit id {commit_id!r}: use letters, digits, '.', '_' and '-'.")
    report = AppendReport(commit_ids=[commit_id])
    done = table.refresh().find_commit(commit_id)
    if done is not None:
        report.snapshot_id = done
        return report
    rest = [name for name in layout.key if name not in layout.unit]
    replacement = Replacement()
    writers: OrderedDict[Unit, RowWriter] = OrderedDict()
    used: dict[Unit, int] = {}
    note = write_note(layout, "append", commit_id)
    try:
        failpoint("append.noted")
        for batch in rows_of(batches, layout):
            check_row(batch, layout)
            unit = tuple(batch.column(name)[0].as_py() for name in layout.unit)
            key = tuple(batch.column(name)[0].as_py() for name in rest)
            seen = replacement.replaced.setdefault(unit, set())
            assert seen is not None
            if key in seen:
                said = ", ".join(f"{n}={batch.column(n)[0].as_py()!r}" for n in layout.key)
                raise TableError(f"Table {table.name!r}: the row {said} comes twice.")
            seen.add(key)
            if unit not in writers:
                if len(writers) >= OPEN_WRITERS:
                    replacement.files.append(writers.popitem(last=False)[1].close())
                number = used[unit] = used.get(unit, 0) + 1
                name = unit_name(layout, unit) + (f"-{number}" if number > 1 else "")
                writers[unit] = RowWriter(layout, layout.data_path(commit_id, name))
            writers.move_to_end(unit)
            writers[unit].add(batch)
            report.rows += 1
        while writers:
            replacement.files.append(writers.popitem(last=False)[1].close())
        report.snapshot_id = commit(
            table,
            lambda newest: replacement.change(newest, commit_id),
            commit_id=commit_id,
            kind=kind,
            properties=properties,
        )
        failpoint("append.landed")
    finally:
        for writer in writers.values():  # none but after an error
            writer.abort()
        forget_note(layout, note)
    renew_index(table)
    report.units = len(used)
    report.files = len(replacement.files)
    report.nbytes = sum(file.nbytes for file in replacement.files)
    return report
