"""What a project holds: tables with their partitions, resources and functions.

Rows are Arrow tables that never change: a write replaces a list by another one, so a query or a
download goes on with the rows it began with. Larger pieces lie in files that are mapped into
memory, so that a test can measure the memory of its own side.
"""

import itertools
import os
import re
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from odps_errors import OdpsError, missing, no_table, semantic
from odps_types import schema_of, value_sizes

MAX_COLUMNS = 1200
MAX_PARTITIONS = 60_000
MAX_COMMENT = 1024
IN_MEMORY = 1 << 20
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}\Z")


@dataclass
class Column:
    """A column of a table."""

    name: str
    tree: dict
    comment: str = ""
    nullable: bool = True


@dataclass
class Part:
    """The rows of a partition, or of a table without partitions."""

    pieces: list = field(default_factory=list)
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)

    @property
    def rows(self):
        """Number of rows."""
        return sum(piece.num_rows for piece in self.pieces)

    @property
    def nbytes(self):
        """Bytes of the rows."""
        return sum(piece.nbytes for piece in self.pieces)


@dataclass
class Table:
    """A table."""

    name: str
    columns: list
    keys: list
    comment: str = ""
    lifecycle: int = -1
    properties: dict = field(default_factory=dict)
    parts: dict = field(default_factory=dict)
    table_id: str = ""
    created: float = field(default_factory=time.time)
    changed: float = field(default_factory=time.time)

    @property
    def schema(self):
        """Arrow schema without the partition columns."""
        return schema_of(self.columns)

    @property
    def modified(self):
        """When rows last changed."""
        return max([self.created, self.changed, *(part.modified for part in self.parts.values())])

    def part(self, values):
        """The partition with these values; ``()`` for a table without partitions."""
        if values not in self.parts:
            spec = "/".join(f"{k.name}={v}" for k, v in zip(self.keys, values, strict=False))
            raise missing("partition", spec)
        return self.parts[values]


class Catalog:
    """All tables, resources and functions of a project, by name and by schema."""

    def __init__(self, folder, seed=0):
        self.folder = folder
        self.lock = threading.RLock()
        self.tables = {}
        self.resources = {}
        self.functions = {}
        self.random = np.random.default_rng(seed)
        self._count = itertools.count(1)

    def table(self, name, schema="default", *, by_statement=False):
        """The table, or the error that a request or a statement gets."""
        found = self.tables.get((schema, name.lower()))
        if found is None:
            raise no_table(name) if by_statement else missing("table", name)
        return found

    def create(self, table, schema="default", *, if_not_exists=False):
        """Add a table: exactly one of several that try at once succeeds."""
        for name in [table.name, *(c.name for c in table.columns + table.keys)]:
            if not NAME.match(name):
                raise semantic(f"invalid name {name!r}")
        names = [column.name for column in table.columns + table.keys]
        if len(set(names)) != len(names):
            raise semantic("column names are not unique")
        if len(names) > MAX_COLUMNS:
            raise semantic(f"the number of columns {len(names)} exceeds the limit {MAX_COLUMNS}")
        if len(table.keys) > 6:
            raise semantic("more than 6 levels of partitions")
        for comment in [table.comment, *(c.comment for c in table.columns + table.keys)]:
            check_comment(comment)
        with self.lock:
            if (schema, table.name) in self.tables:
                if if_not_exists:
                    return
                raise OdpsError(
                    "ODPS-0110061",
                    "Failed to run ddltask - AlreadyExistsException"
                    f"(message:Table {table.name} already exists)",
                )
            table.table_id = f"{next(self._count):032x}"
            if not table.keys:
                table.parts[()] = Part()
            self.tables[schema, table.name] = table

    def drop(self, name, schema="default", *, if_exists=False):
        """Remove a table."""
        with self.lock:
            gone = self.tables.pop((schema, name.lower()), None)
            if gone is None and not if_exists:
                raise no_table(name)
            if gone is not None:
                gone.parts = {}  # a download that goes on finds the table changed

    def write(self, table, rows_by_part, *, overwrite, create_parts=True):
        """Replace or extend partitions by rows (``{values: [arrow table]}``), all at once."""
        kept = {
            values: [self.keep(self.shuffled(piece)) for piece in pieces if piece.num_rows]
            for values, pieces in rows_by_part.items()
        }
        with self.lock:
            if not self.holds(table):
                raise no_table(table.name)
            new = [values for values in kept if values not in table.parts]
            if new and not create_parts:
                table.part(new[0])
            if len(table.parts) + len(new) > MAX_PARTITIONS:
                raise semantic(f"more than {MAX_PARTITIONS} partitions")
            for values, pieces in kept.items():
                old = table.parts.get(values, Part())
                table.parts[values] = Part(
                    pieces if overwrite else old.pieces + pieces, created=old.created
                )

    def holds(self, table):
        """Whether a table is still there."""
        with self.lock:
            return any(known is table for known in self.tables.values())

    def drop_parts(self, table, wanted, *, if_exists):
        """Remove partitions."""
        with self.lock:
            for values in wanted:
                if values not in table.parts and not if_exists:
                    raise semantic(f"Partition not found - {values}")
            for values in wanted:
                table.parts.pop(values, None)
            table.changed = time.time()

    def shuffled(self, rows):
        """The rows in an order that nobody should rely on."""
        if rows.num_rows < 2:
            return rows
        return rows.take(pa.array(self.random.permutation(rows.num_rows)))

    def keep(self, rows):
        """The rows, in a file when they are many bytes."""
        if rows.nbytes < IN_MEMORY:
            return rows.combine_chunks()
        path = os.path.join(self.folder, f"{next(self._count)}.arrow")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=1024)
        with pa.memory_map(path) as source:
            mapped = pa.ipc.open_file(source).read_all()
        os.unlink(path)  # the mapping keeps the bytes until nobody reads them any more
        return mapped


def check_comment(text):
    """Raise for a comment that is too long."""
    if len((text or "").encode()) > MAX_COMMENT:
        raise semantic(f"a comment of {len(text.encode())} bytes exceeds {MAX_COMMENT}")


def check_rows(rows, columns, max_field, max_record):
    """Raise for rows that a table cannot take: NULL where it may not be, cells, records too big."""
    total = np.zeros(rows.num_rows, np.int64)
    for column in columns:
        array = rows.column(column.name)
        if not column.nullable and array.null_count:
            raise OdpsError("InvalidData", f"column {column.name} is NOT NULL but got NULL")
        sizes = value_sizes(array)
        if len(sizes) and sizes.max() > max_field:
            raise OdpsError(
                "InvalidData",
                f"the value of {column.name} has {sizes.max()} bytes, more than the maximum"
                f" of a field, {max_field}",
            )
        total += sizes
    if len(total) and total.max() > max_record:
        raise OdpsError("InvalidData", f"a record has {total.max()} bytes, more than {max_record}")
