"""Rows out of a table: what they are first, then the pixels of the rows that are wanted.

A download session shows a table, or one partition of it, as it was when it began, its rows at fixed
places. Whatever breaks is read again from the row where it broke. When a session itself is lost,
the rows are looked for in a new one, and each is known by its digest.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST
from geoquarry.engine.maxcompute_connection import FULL_SCAN
from geoquarry.engine.maxcompute_ddl import ZONE, listed, literal, quoted
from geoquarry.engine.maxcompute_errors import ATTEMPTS, SessionGone
from geoquarry.engine.maxcompute_limits import BATCH_BYTES, PARTITIONS_READ
from geoquarry.engine.maxcompute_parts import Part, as_declared, places_of, read_whole
from geoquarry.engine.maxcompute_tables import MaxTable
from geoquarry.schemas.errors import TableError, UnknownName

__all__ = ["Download", "Part", "as_declared", "read_whole"]
THREADS = 4
MOST_ZONES = 1000
"""Zones named one by one in a statement."""
PLACE = "place"
"""Column of an index: where the row lies in its session."""


@dataclass(frozen=True)
class Wanted:
    """Rows that lie side by side in one part, with what they must be."""

    part: Part
    start: int
    digests: tuple[str, ...]
    keys: tuple[tuple[Any, ...], ...]


class Download:
    """Reads one table; sessions are kept, so that pixels lie where the index says.

    Parameters
    ----------
    table : MaxTable
    """

    def __init__(self, table: MaxTable) -> None:
        self.table = table
        self.connection = table.connection
        self.parts: dict[str, Part] = {}
        self._known: dict[str, dict[tuple[Any, ...], tuple[int, str]]] = {}

    def index(self, columns: Iterable[str], zones: Sequence[str]) -> pa.Table:
        """All rows of some zones without their pixels.

        Parameters
        ----------
        columns : iterable of str
            Besides the key; no BINARY ones.
        zones : sequence of str
            Ignored when the table has none.

        Returns
        -------
        index : pa.Table
            Key and columns as the schema declares them, ``row_digest, row_bytes, zone, place``.
            The place is -1 when it is not known yet: zones that are too many for a session each are
            asked for in one statement.
        """
        table = self.table
        if table.zones and not self.connection.may_open(table.physical, len(zones)):
            return self._by_statement(columns, zones)
        names = list(dict.fromkeys([*table.layout.key, *columns]))
        schema = index_schema(table, names)
        own = [ROW_DIGEST, ROW_BYTES] if table.counted else []
        names = [*names, *own] or [table.schema.names[0]]

        def one(zone: str) -> pa.Table:
            part = Part(self.connection, table.physical, zone)
            try:
                found = read_whole(part, names)
            except UnknownName:
                if not zone:
                    raise
                return schema.empty_table()  # its last row has just gone
            self.parts[zone] = part
            return self._indexed(found, zone, schema)

        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(one, zones if table.zones else [""]))
        return pa.concat_tables([schema.empty_table(), *found])

    def _by_statement(self, columns: Iterable[str], zones: Sequence[str]) -> pa.Table:
        names = list(dict.fromkeys([*self.table.layout.key, *columns]))
        schema = index_schema(self.table, names)
        large = len(self.table.partitions()) > PARTITIONS_READ
        if len(zones) > PARTITIONS_READ:  # more than one statement may read
            parts = [zones[i : i + PARTITIONS_READ] for i in range(0, len(zones), PARTITIONS_READ)]
            return pa.concat_tables([self._by_statement(names, part) for part in parts])
        wanted = listed([*names, ROW_DIGEST, ROW_BYTES, ZONE])
        text = f"SELECT {wanted} FROM {quoted(self.table.physical)}"  # nosec B608
        if len(zones) <= MOST_ZONES or large:
            text += f" WHERE {quoted(ZONE)} IN ({', '.join(map(literal, zones))})"
        found = self.connection.rows(text, FULL_SCAN)
        arrays = [
            pa.chunked_array([pa.array([-1] * found.num_rows, pa.int64())])
            if field.name == PLACE
            else as_declared(found.column(field.name), field.type)
            for field in schema
        ]
        index = pa.table(arrays, schema=schema)
        return index.filter(pc.is_in(index[ZONE], pa.array(zones, pa.string())))

    def _places(self, zone: str) -> dict[tuple[Any, ...], tuple[int, str]]:
        """Where the rows of a zone lie, by key, and their digests."""
        if zone not in self._known:
            part = self.parts[zone] = Part(self.connection, self.table.physical, zone)
            try:
                self._known[zone] = places_of(part, self.table.layout.key)
            except UnknownName:
                self._known[zone] = {}  # its last row has just gone
        return self._known[zone]

    def _indexed(self, found: pa.Table, zone: str, schema: pa.Schema) -> pa.Table:
        count = found.num_rows
        extra: dict[str, Any] = {
            ROW_DIGEST: pa.array([""] * count),
            ROW_BYTES: pa.array([0] * count, pa.int64()),
            ZONE: pa.array([zone] * count),
            PLACE: pa.array(range(count), pa.int64()),
        }
        columns = [
            found.column(field.name) if field.name in found.column_names else extra[field.name]
            for field in schema
        ]
        return pa.table(
            [as_declared(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )

    def rows(self, index: pa.Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of an index, in its order, each as a one-row batch with these columns.

        At most `THREADS` requests are on their way, each for a few rows.

        Raises
        ------
        TableError
            The table was changed meanwhile.
        """
        wanted = self.wanted(index)
        with ThreadPoolExecutor(THREADS) as pool:
            coming: deque[Future[list[pa.RecordBatch]]] = deque()
            try:
                for one in wanted:
                    coming.append(pool.submit(self._fetch, one, columns))
                    if len(coming) >= THREADS:
                        yield from coming.popleft().result()
                while coming:
                    yield from coming.popleft().result()
            finally:
                for other in coming:
                    other.cancel()

    def wanted(self, index: pa.Table) -> Iterator[Wanted]:
        """The rows of an index as requests: neighbours go together, up to `BATCH_BYTES`."""
        key = self.table.layout.key
        run: list[tuple[str, int, str, tuple[Any, ...]]] = []
        held = 0
        for row in index.select([*key, ZONE, PLACE, ROW_DIGEST, ROW_BYTES]).to_pylist():
            zone, place, size = row[ZONE], row[PLACE], row[ROW_BYTES]
            named = tuple(row[name] for name in key)
            if place < 0:
                place, digest = self._places(zone).get(named, (-1, ""))
                if digest != row[ROW_DIGEST]:
                    raise self.changed
            beside = run and run[-1][0] == zone and run[-1][1] + 1 == place
            if run and not (beside and held + size <= BATCH_BYTES and size > 0):
                yield self._wanted(run)
                run, held = [], 0
            run.append((zone, place, row[ROW_DIGEST], named))
            held += size
        if run:
            yield self._wanted(run)

    def _wanted(self, run: list[tuple[str, int, str, tuple[Any, ...]]]) -> Wanted:
        return Wanted(
            self.parts[run[0][0]],
            run[0][1],
            tuple(digest for _, _, digest, _ in run),
            tuple(key for _, _, _, key in run),
        )

    def _fetch(self, one: Wanted, columns: Sequence[str]) -> list[pa.RecordBatch]:
        check = [ROW_DIGEST] if self.table.counted else []
        names = list(dict.fromkeys([*columns, *check]))
        try:
            found = one.part.read(names, one.start, len(one.digests))
            right = not check or found.column(ROW_DIGEST).to_pylist() == list(one.digests)
        except SessionGone:
            if self.table.counted:  # else nobody could tell whether rows lie where they lay
                one.part.renew()
            right = False
        if not right:
            found = self._found_anew(one, names)
        fields = [self.table.schema.field(name) for name in columns]
        batches = []
        for place in range(found.num_rows):
            row = found.slice(place, 1)
            arrays = [
                as_declared(row.column(field.name), field.type).combine_chunks() for field in fields
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))
        return batches

    def _found_anew(self, one: Wanted, names: list[str]) -> pa.Table:
        """The rows in a new session, wherever they lie there."""
        key = self.table.layout.key
        if not self.table.counted or not key:
            raise self.changed
        for _ in range(ATTEMPTS):
            part = Part(self.connection, one.part.physical, one.part.zone)
            try:
                places = places_of(part, key)
                tables = []
                for wanted, digest in zip(one.keys, one.digests, strict=True):
                    place, found = places.get(wanted, (-1, ""))
                    if found != digest:
                        raise self.changed
                    tables.append(part.read(names, place, 1))
                return pa.concat_tables(tables)
            except SessionGone:
                continue
            except UnknownName:
                raise self.changed from None
        raise self.changed

    @property
    def changed(self) -> TableError:
        """What is said when rows are not there any more."""
        return TableError(
            f"Table {self.table.name!r} was changed while it was read. Read it again."
        )


def index_schema(table: MaxTable, names: Sequence[str]) -> pa.Schema:
    """Columns of an index of a table."""
    fields = [table.schema.field(name).remove_metadata() for name in names]
    own = [
        pa.field(ROW_DIGEST, pa.string()),
        pa.field(ROW_BYTES, pa.int64()),
        pa.field(ZONE, pa.string()),
        pa.field(PLACE, pa.int64()),
    ]
    return pa.schema([*fields, *own])
