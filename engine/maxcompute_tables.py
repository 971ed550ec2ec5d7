"""Tables of a MaxCompute project: made, found, described, dropped; helpers of ours stay hidden."""

import re
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
from odps import errors

from geoquarry.engine.datafile import ROW_DIGEST
from geoquarry.engine.layout import Layout
from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_ddl import (
    ZONE,
    Described,
    create_table,
    quoted,
    schema_of,
)
from geoquarry.engine.maxcompute_errors import InstanceFailed
from geoquarry.engine.maxcompute_limits import check_room, check_zones
from geoquarry.engine.maxcompute_note import maker, note_text
from geoquarry.engine.warehouse import check_name
from geoquarry.schemas.errors import TableError, UnknownName, UsageError

HELPERS = ("new", "lock", "tasks", "result")
"""What small tables beside a table are for: rows on their way in, who writes, a job's tiles."""
HELPER = re.compile(rf"(.+)__({'|'.join(HELPERS)})_[0-9a-f]{{12,}}")
"""Tokens are long, so that somebody's ``sites__new_york`` is not taken for one of ours."""
TOKEN = 12
EXISTS_ALREADY = ("already exists", "AlreadyExists", "ObjectAlreadyExists")


def helper_name(physical: str, kind: str, token: str | None = None) -> str:
    """Name of a new helper table, hidden by `tables` and removed by `vacuum` when it is left over.

    Raises
    ------
    UsageError
        The table's name is so long that there is no room for helpers beside it.

    Examples
    --------
    >>> helper_name("aster", "new", "0123456789ab")
    'aster__new_0123456789ab'
    """
    assert kind in HELPERS, kind
    check_room(physical)
    return f"{physical}__{kind}_{token or uuid.uuid4().hex[:TOKEN]}"


@dataclass(frozen=True)
class MaxTable:
    """One table of the project, as it was when it was looked up.

    Attributes
    ----------
    connection : Connection
    name, physical : str
        Ours, and the project's.
    schema : pa.Schema
        As given to `create`.
    zones : bool
        Whether it is partitioned by zone.
    counted : bool
        Whether rows have digests: it was made here and not by another program.
    """

    connection: Connection
    name: str
    physical: str
    schema: pa.Schema
    zones: bool
    counted: bool
    found: Any

    @cached_property
    def layout(self) -> Layout:
        """Schema, key and rasters in the words of the other engines; there are no files."""
        return Layout(self.name, "", self.schema, self.schema, {})

    @cached_property
    def _zones(self) -> dict[str, tuple[int, datetime | None]]:
        """Zones as they are now: rows (-1: not told) and when their data were last changed."""
        if not self.zones:
            return {}

        def ask() -> dict[str, tuple[int, datetime | None]]:
            table = self.connection.odps.get_table(self.physical)
            return {
                part.partition_spec[ZONE]: (
                    -1 if part.record_num is None else int(part.record_num),
                    part.last_data_modified_time,
                )
                for part in table.iterate_partitions()
            }

        return self.connection.patiently(ask, f"partitions of {self.name!r}")

    def partitions(self) -> list[str]:
        """Zones that exist, sorted."""
        return sorted(self._zones)

    def check_zones(self, written: Collection[str], read: Collection[str] | None) -> None:
        """Refuse a commit of too many zones, see `maxcompute_limits.check_zones`.

        Parameters
        ----------
        written : collection of str
            Zones that it will write, as far as they are known.
        read : collection of str or None
            Zones whose rows are looked at; None: all.

        Raises
        ------
        TableError
        """
        if self.zones:
            there, zones = set(self._zones), set(written)
            check_zones(
                self.name,
                have=len(there),
                new=len(zones - there),
                written=len(zones),
                read=len(there if read is None else there & set(read)),
            )

    def reload(self) -> "MaxTable":
        """The table as it is now."""
        return open_table(self.connection, self.name)

    @property
    def rows(self) -> int:
        """Rows as the service tells them; -1 when it does not."""
        if self.zones:
            counts = [rows for rows, _ in self._zones.values()]
            return -1 if any(rows < 0 for rows in counts) else sum(counts)
        count = self.found.record_num
        return -1 if count is None else int(count)

    @property
    def uuid(self) -> str:
        """Identity of the table: a dropped and remade table has another."""
        return str(self.found.table_id or self.found.creation_time)

    @property
    def snapshot_id(self) -> int | None:
        """When its data were last changed, in ms; None while it is empty.

        The service tells whole seconds, so two changes within one second look like one.
        """
        moments = [moment for _, moment in self._zones.values()]
        moments.append(self.found.last_data_modified_time)
        told = [_utc(moment).timestamp() for moment in moments if moment is not None]
        if not told or self.rows == 0:
            return None
        return int(max(told) * 1000)


def open_table(connection: Connection, name: str) -> MaxTable:
    """Look a table up.

    Raises
    ------
    UnknownName
        No such table.
    """
    check_name(name)
    physical = connection.physical(name)

    def ask() -> Any:
        table = connection.odps.get_table(physical)
        table.reload()
        table.reload_extend_info()
        return table

    try:
        found = connection.patiently(ask, f"table {name!r}")
    except UnknownName as error:
        names = ", ".join(table_names(connection)) or "none yet"
        raise UnknownName(
            f"No table {name!r} in MaxCompute project {connection.account.project!r}. "
            f"Tables: {names}."
        ) from error
    columns = [
        Described(column.name, str(column.type), column.comment or "")
        for column in found.table_schema.simple_columns
    ]
    partitions = [column.name for column in found.table_schema.partitions or ()]
    if partitions not in ([], [ZONE]):
        raise UsageError(
            f"Table {name!r} is partitioned by {', '.join(partitions)}: it was not made here. "
            "Copy it to a table of its own first (CREATE TABLE ... AS SELECT)."
        )
    return MaxTable(
        connection,
        name,
        physical,
        schema_of(columns, found.comment or ""),
        zones=bool(partitions),
        counted=ROW_DIGEST in [column.name for column in columns],
        found=found,
    )


def table_names(connection: Connection) -> list[str]:
    """Our tables, sorted: those with our prefix, without helpers."""
    return sorted(
        name.removeprefix(connection.prefix)
        for name in physical_names(connection, connection.prefix)
        if not HELPER.fullmatch(name)
    )


def physical_names(connection: Connection, prefix: str) -> list[str]:
    """Names in the project that begin like this."""

    def ask() -> list[str]:
        found = connection.odps.list_tables(prefix=prefix or None)
        return [table.name.lower() for table in found if table.name.lower().startswith(prefix)]

    return connection.patiently(ask, "the list of tables")


def exists(connection: Connection, name: str) -> bool:
    """Whether there is a table of that name."""
    check_name(name)
    physical = connection.physical(name)
    return bool(
        connection.patiently(lambda: connection.odps.exist_table(physical), f"table {name!r}")
    )


def create(connection: Connection, name: str, schema: pa.Schema) -> None:
    """Make an empty table.

    Raises
    ------
    TableError
        It exists already, or MaxCompute cannot hold its schema.
    """
    check_name(name)
    physical = connection.physical(name)
    if HELPER.fullmatch(physical):
        raise UsageError(f"{name!r} looks like a helper of another table: choose another name.")
    check_room(physical)
    statement = create_table(physical, schema)
    try:
        connection.execute(statement)
    except InstanceFailed as error:
        if any(word in error.text for word in EXISTS_ALREADY):
            raise TableError(
                f"Table {name!r} exists already. Drop it first, or choose another name."
            ) from error
        raise


def make_helper(
    connection: Connection, physical: str, schema: pa.Schema, *, lifecycle_days: int = 1
) -> str:
    """Make an unpartitioned table of a schema's columns, which the service deletes after a day.

    Its comment is a note of this process (`engine.maxcompute_note`).
    """
    connection.execute(
        create_table(
            physical,
            schema,
            zones=False,
            lifecycle_days=lifecycle_days,
            exist_ok=True,
            comment=note_text(maker()),
        )
    )
    return physical


def drop_physical(connection: Connection, physical: str) -> None:
    """Drop a table by its name in the project; one that is gone is no error."""
    connection.execute(f"DROP TABLE IF EXISTS {quoted(physical)}")


def helpers(connection: Connection, physical: str) -> Iterator[tuple[str, str, float]]:
    """Helper tables of one table: name, kind, age in seconds."""
    now = time.time()
    for name in physical_names(connection, f"{physical}__"):
        match = HELPER.fullmatch(name)
        if match and match[1] == physical:
            made = _made(connection, name)
            if made is not None:
                yield name, match[2], now - made


def _made(connection: Connection, physical: str) -> float | None:
    def ask() -> float | None:
        table = connection.odps.get_table(physical)
        try:
            table.reload()
        except errors.NoSuchObject:
            return None  # somebody has just dropped it
        return _utc(table.creation_time).timestamp()

    return connection.patiently(ask, f"table {physical!r}")


def _utc(moment: datetime) -> datetime:
    """PyODPS tells times without a zone, in that of this host."""
    return moment.astimezone(UTC)
