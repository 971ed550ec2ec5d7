"""A partition as one download session shows it, its rows at fixed places."""

import threading
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from odps.tunnel import TableTunnel

from geoquarry.engine.datafile import ROW_DIGEST
from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_ddl import ZONE
from geoquarry.engine.maxcompute_errors import ATTEMPTS, SessionGone
from geoquarry.engine.maxcompute_ranges import Ranges
from geoquarry.schemas.errors import TableError


class Part:
    """A partition, or an unpartitioned table, as one download session shows it.

    Parameters
    ----------
    connection : Connection
    physical : str
    zone : str
        Empty: not partitioned.
    """

    def __init__(self, connection: Connection, physical: str, zone: str = "") -> None:
        self.connection = connection
        self.physical = physical
        self.zone = zone
        self._lock = threading.Lock()
        self._session: Any = None

    @property
    def _what(self) -> str:
        return f"table {self.physical!r}" + (f", zone {self.zone}" if self.zone else "")

    @property
    def session(self) -> Any:
        """The download session; it is opened when it is first needed."""
        with self._lock:
            if self._session is None:
                spec = f"{ZONE}={self.zone}" if self.zone else None
                self._session = self.connection.patiently(
                    lambda: TableTunnel(self.connection.odps).create_download_session(
                        self.connection.odps.get_table(self.physical), partition_spec=spec
                    ),
                    self._what,
                )
                self.connection.opened(self.physical)
            return self._session

    def renew(self) -> None:
        """Forget a session that is lost."""
        with self._lock:
            self._session = None

    def read(self, columns: Sequence[str], start: int = 0, count: int | None = None) -> pa.Table:
        """Rows by their place.

        Parameters
        ----------
        columns : sequence of str
        start, count : int
            Default: all rows.

        Raises
        ------
        SessionGone
            The places mean nothing any more.
        TableError
        """
        ranges = Ranges(self.session, self.connection.ours, self._what)
        return ranges.table(columns, start, count)


def read_whole(part: Part, columns: Sequence[str]) -> pa.Table:
    """All rows of a part, from the beginning again when its session is lost."""
    for _ in range(ATTEMPTS):
        try:
            return part.read(columns)
        except SessionGone as gone:
            part.renew()
            last = gone
    raise TableError(f"Table {part.physical!r}: download sessions are lost again and again: {last}")


def places_of(part: Part, key: Sequence[str]) -> dict[tuple[Any, ...], tuple[int, str]]:
    """Where the rows of a part lie, by key, and their digests."""
    there = read_whole(part, [*key, ROW_DIGEST])
    return {
        tuple(row[name] for name in key): (place, row[ROW_DIGEST])
        for place, row in enumerate(there.to_pylist())
    }


def as_declared(column: pa.ChunkedArray | pa.Array, type_: pa.DataType) -> pa.ChunkedArray:
    """A column as it came, as the schema declares it: int32 again, timestamps in us and UTC."""
    if column.type != type_:
        # The service keeps nanoseconds, which nothing here can hold.
        column = column.cast(type_, safe=not pa.types.is_timestamp(type_))
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column], type_)
