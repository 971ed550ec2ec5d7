"""Rows into a table of MaxCompute: spooled here, staged there, swapped in by one statement."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine.appender import Appender, AppendReport
from geoquarry.engine.batches import rows_of
from geoquarry.engine.commit import new_commit_id
from geoquarry.engine.datafile import WrittenFile, safe_name
from geoquarry.engine.maxcompute_commit import Replaced, Units, replace_rows
from geoquarry.engine.maxcompute_ddl import zone_of
from geoquarry.engine.maxcompute_orphans import sweep
from geoquarry.engine.maxcompute_spool import spooled
from geoquarry.engine.maxcompute_tables import (
    MaxTable,
    drop_physical,
    helper_name,
    make_helper,
)
from geoquarry.engine.maxcompute_upload import Uploaded, upload
from geoquarry.engine.plan import RowRef
from geoquarry.engine.rows import read_batches
from geoquarry.engine.run import go_on
from geoquarry.engine.table import Table
from geoquarry.schemas.errors import GeoquarryError, UsageError


@dataclass(frozen=True)
class Put:
    """How rows came in: what was sent, and what it replaced."""

    sent: Uploaded
    replaced: Replaced


def put_rows(
    table: MaxTable,
    rows: Iterable[pa.RecordBatch],
    folder: Path,
    *,
    units: Units | None = None,
    check: Callable[[], None] = go_on,
) -> Put:
    """Store rows in one commit, replacing those of the same key.

    Parameters
    ----------
    table : MaxTable
    rows : iterable of pa.RecordBatch
        One row each; consumed once, to a file in ``folder``.
    folder : Path
    units : mapping, optional
        Rows that go besides; see `replace_rows`.
    check : callable
        Raises to give up.

    Raises
    ------
    TableError
        A row that cannot be stored, or the service's refusal; nothing is stored then.
    """
    connection = table.connection
    staging = helper_name(table.physical, "new")
    with spooled(rows, table.layout, folder, connection.max_cell_bytes) as spool:
        if not spool.rows and not units:
            return Put(Uploaded(0, 0, 0), Replaced())
        zones = _zones(spool.zones, units or {}) if table.zones else None
        table.check_zones(spool.zones, zones)
        try:
            make_helper(connection, staging, table.schema)
            sent = upload(connection, staging, spool, check)
            replaced = replace_rows(table, staging, units=units, zones=zones, check=check)
        finally:
            with suppress(GeoquarryError):  # left over: the service, vacuum or the next deletes it
                drop_physical(connection, staging)
    with suppress(GeoquarryError):  # the rows are stored, whatever others have left
        sweep(connection, table.physical)
    return Put(sent, replaced)


def _zones(staged: set[str], units: Units) -> set[str] | None:
    """Zones that rows come to or go from; None: granules go wherever they are."""
    found = set(staged)
    for tiles in units.values():
        if tiles is None:
            return None
        found |= {zone_of(x, y) for x, y in tiles}
    return found


def append(
    table: MaxTable,
    batches: Iterable[pa.RecordBatch | Mapping[str, Any]],
    folder: Path,
    *,
    commit_id: str | None,
) -> AppendReport:
    """Add rows in one commit, replacing rows of the same key; see `Engine.append`."""
    commit_id = commit_id or new_commit_id()
    if not commit_id or safe_name(commit_id) != commit_id:
        raise UsageError(f"Commit id {commit_id!r}: use letters, digits, '.', '_' and '-'.")
    units: set[tuple[Any, ...]] = set()

    def watched() -> Iterator[pa.RecordBatch]:
        for batch in rows_of(batches, table.layout):
            units.add(tuple(batch.column(name)[0].as_py() for name in table.layout.unit))
            yield batch

    put = put_rows(table, watched(), folder)
    return AppendReport(
        rows=put.sent.rows,
        units=len(units),
        files=put.sent.blocks,
        nbytes=put.sent.nbytes,
        commit_ids=[commit_id],
        snapshot_id=table.reload().snapshot_id,
    )


class MaxAppender(Appender):
    """Takes granules as files on this host's disk and sends them up in groups.

    Parameters
    ----------
    target : MaxTable
    scratch : Table
        Local table of the same schema: where workers write. Nothing is ever committed to it.
    folder : Path
        For spools.
    ingest_id, granules, seconds
        See `Engine.appender`.
    """

    def __init__(
        self,
        target: MaxTable,
        scratch: Table,
        folder: Path,
        *,
        ingest_id: str | None,
        granules: int,
        seconds: float,
    ) -> None:
        super().__init__(scratch, ingest_id=ingest_id, granules=granules, seconds=seconds)
        self.target = target
        self.folder = folder

    def _flush(self) -> None:
        pending, commit_id = self._pending, self._commit_id
        if pending.replaced:
            units = {unit[-1]: tiles for unit, tiles in pending.replaced.items()}
            put = put_rows(
                self.target,
                self._rows(pending.files),
                self.folder,
                units={name: _pairs(tiles) for name, tiles in units.items()},
            )
            self.target = self.target.reload()  # its zones are counted before the next rows go up
            self.report.snapshot_id = self.target.snapshot_id
            self.report.commit_ids.append(commit_id)
            self.report.units += len(self._granules)
            self.report.files += put.sent.blocks
            self.report.nbytes += put.sent.nbytes
            for file in pending.files:
                self._files.discard(file)
        self._start_batch()

    def _rows(self, files: Iterable[WrittenFile]) -> Iterator[pa.RecordBatch]:
        layout = self.target.layout
        base = f"{self.layout.location}/data/"
        for file in files:
            name = file.path.removeprefix(base)
            refs = (RowRef(name, place, "", "", 0) for place in range(file.rows))
            for batch in read_batches(self.layout, refs, layout.schema.names):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=layout.schema)


def _pairs(tiles: Any) -> set[tuple[int, int]] | None:
    return None if tiles is None else {(int(x), int(y)) for x, y in tiles}
