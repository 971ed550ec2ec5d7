"""Housekeeping of MaxCompute tables: what they are, what is left over, what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from geoquarry.engine.batches import check_row, digest_of
from geoquarry.engine.check import Problem
from geoquarry.engine.datafile import ROW_DIGEST
from geoquarry.engine.maxcompute_archive import PREFIX
from geoquarry.engine.maxcompute_connection import FULL_SCAN, Connection
from geoquarry.engine.maxcompute_ddl import ZONE, literal, quoted
from geoquarry.engine.maxcompute_download import Download
from geoquarry.engine.maxcompute_limits import PARTITIONS_READ
from geoquarry.engine.maxcompute_lock import lease_left_s
from geoquarry.engine.maxcompute_note import is_at_work, read_note
from geoquarry.engine.maxcompute_orphans import sweep
from geoquarry.engine.maxcompute_tables import MaxTable, drop_physical, helpers
from geoquarry.engine.vacuum import VacuumReport
from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import GeoquarryError, UsageError
from geoquarry.schemas.tables import described_columns, facts


def describe(table: MaxTable) -> dict[str, Any]:
    """What a table is; see `Engine.describe`."""
    told = table.found
    return {
        "name": table.name,
        "facts": facts(table.schema),
        "columns": described_columns(table.schema),
        "rows": _counted(table),
        "files": max(int(told.file_num or 0), 0),
        "nbytes": max(int(told.size or 0), 0),
        "snapshot_id": table.snapshot_id,
        "uuid": table.uuid,
        "location": f"{table.connection.account.project}.{table.physical}",
        "zones": len(table.partitions()),
        "lifecycle_days": told.lifecycle if told.lifecycle and told.lifecycle > 0 else None,
    }


def history(table: MaxTable) -> list[dict[str, Any]]:
    """The present state, as one snapshot."""
    if table.snapshot_id is None:
        return []
    return [
        {
            "snapshot_id": table.snapshot_id,
            "committed": datetime.fromtimestamp(table.snapshot_id / 1000, UTC),
            "kind": "present",
            "commit_id": "",
            "job_id": "",
            "added_rows": (rows := _counted(table)),
            "removed_rows": 0,
            "rows": rows,
            "files": max(int(table.found.file_num or 0), 0),
            "properties": {},
        }
    ]


def _counted(table: MaxTable) -> int:
    """Rows of a table; counted by a statement if the service does not tell them."""
    if table.rows >= 0:
        return table.rows
    text = f"SELECT COUNT(*) AS n FROM {quoted(table.physical)}"  # nosec B608
    zones, total = table.partitions(), 0
    for start in range(0, max(len(zones), 1), PARTITIONS_READ):
        some = zones[start : start + PARTITIONS_READ]
        within = f" WHERE {quoted(ZONE)} IN ({', '.join(map(literal, some))})"
        one = text + (within if len(zones) > PARTITIONS_READ else "")
        total += int(table.connection.rows(one, FULL_SCAN).column(0)[0].as_py())
    return total


def vacuum(table: MaxTable, older_than: timedelta, *, dry_run: bool) -> VacuumReport:
    """Delete what killed processes left beside a table, and functions nobody made lately.

    Statements of killed processes are stopped, however young they are. A helper table of a process
    that is known to live is never touched; one of another host that has been uploading for longer
    than ``older_than`` would lose its rows on their way: it fails then, and the table stays as it
    was.

    Returns
    -------
    report : VacuumReport
        ``files`` are helper tables, functions and resources.
    """
    if older_than < timedelta(0):
        raise UsageError("vacuum: older_than cannot be negative.")
    connection, report = table.connection, VacuumReport()
    gone = sweep(connection, table.physical, dry_run=dry_run)
    report.files += len(gone)
    for name, kind, age_s in list(helpers(connection, table.physical)):
        if name in gone:
            continue
        held = kind == "lock" and lease_left_s(name) > 0
        if (
            held
            or age_s < older_than.total_seconds()
            or (kind != "lock" and is_at_work(read_note(connection, name)))
        ):
            report.kept_unfinished += 1
            continue
        report.files += 1
        if not dry_run:
            drop_physical(connection, name)
    limit = datetime.now(UTC) - older_than
    for drop in list(_old_functions(connection, limit)):
        report.files += 1
        if not dry_run:
            drop()
    return report


def _old_functions(connection: Connection, limit: datetime) -> Iterator[Any]:
    """What deletes each function and resource of ours that is older; functions come first."""
    begins = connection.prefix + PREFIX
    client = connection.odps

    def functions() -> list[Any]:
        return [f for f in client.list_functions(prefix=begins) if f.name.startswith(begins)]

    def resources() -> list[Any]:
        return [r for r in client.list_resources(prefix=begins) if r.name.startswith(begins)]

    for found in connection.patiently(functions, "the list of functions"):
        made = found.creation_time
        if made is None or made.astimezone(UTC) < limit:
            yield found.drop
    for found in connection.patiently(resources, "the list of resources"):
        made = found.last_modified_time or found.creation_time
        if made is None or made.astimezone(UTC) < limit:
            yield found.drop


def check(table: MaxTable) -> list[Problem]:
    """Read the whole table once: keys, digests, every blob; [] is good news."""
    problems: list[Problem] = []
    seen: set[tuple[Any, ...]] = set()
    download = Download(table)
    index = download.index([], table.partitions())
    key = table.layout.key
    for known in index.to_pylist():
        named = tuple(known[name] for name in key)
        if named in seen:
            problems.append(Problem(_place(known), f"key {named} comes twice"))
        seen.add(named)
    rows = download.rows(index, table.schema.names)
    for known, batch in zip(index.to_pylist(), rows, strict=True):
        where = f"{_place(known)} {', '.join(str(known[name]) for name in key)}"
        row = batch.to_pylist()[0]
        try:
            check_row(batch, table.layout)
        except GeoquarryError as error:
            problems.append(Problem(where, str(error)))
            continue
        if table.counted and digest_of(row) != known[ROW_DIGEST]:
            problems.append(Problem(where, "the row differs from its digest"))
        for column in table.layout.blobs:
            if row[column] is not None:
                try:
                    decode(row[column])
                except GeoquarryError as error:
                    problems.append(Problem(f"{where} column {column}", str(error)))
    return problems


def _place(known: dict[str, Any]) -> str:
    return f"zone {known['zone']}" if known["zone"] else "row"
