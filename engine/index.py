"""The index of a table: all its non-BINARY columns plus where each row lies, for planning.

Beside every data file lies an immutable index file. Many small files are slow to open, so the
concatenation for one snapshot is kept in the warehouse's cache; both can be rebuilt at any time.
"""

import os
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoquarry.engine.batches import digest_of
from geoquarry.engine.datafile import INDEX_FIELDS, write_index
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.files import UNREADABLE
from geoquarry.engine.layout import Layout
from geoquarry.engine.table import Table
from geoquarry.schemas.errors import TableError

FILE = "file"
"""Column of the index: the data file, relative to the table's ``data/`` folder."""
REWRITE_FILES = 16
"""The cached concatenation is renewed when this many index files are not in it."""
READERS = 8
SNAPSHOT = b"geoquarry.snapshot"
NEED = (FILE, *(field.name for field in INDEX_FIELDS))


def index_schema(layout: Layout) -> pa.Schema:
    """Columns of the index."""
    plain = [column for column in layout.schema if column.name not in layout.blobs]
    return pa.schema([pa.field(FILE, pa.string()), *plain, *INDEX_FIELDS])


def load_index(
    table: Table, columns: Sequence[str] | None = None, snapshot_id: int | None = None
) -> pa.Table:
    """The index of a snapshot, one row per row of the table.

    Parameters
    ----------
    table : Table
    columns : sequence of str, optional
        Non-BINARY columns wanted; where a row lies is always there.
    snapshot_id : int, optional
        Default: the table's current snapshot.

    Returns
    -------
    index : pa.Table
        In no particular order.
    """
    schema = index_schema(table.layout)
    wanted = [name for name in schema.names if columns is None or name in {*NEED, *columns}]
    asked = table.snapshot_id if snapshot_id is None else snapshot_id
    if asked is None:
        return schema.empty_table().select(wanted)
    cache = table.warehouse.cache_path(f"index/{table.uuid}.parquet")
    if _snapshot_of(cache) == asked:
        cached = _read_cache(cache, wanted, schema)
        if cached is not None:
            return cached
    base = f"{table.location}/data/"
    live = {file.file_path.removeprefix(base) for file in table.files(asked)}
    known = _read_cache(cache, schema.names, schema)
    if known is None:
        known = schema.empty_table()
    cached_files = set(pc.unique(known.column(FILE)).to_pylist())
    if not cached_files <= live:
        known = known.filter(pc.is_in(known.column(FILE), pa.array(sorted(live), pa.string())))
    missing = sorted(live - cached_files)
    whole = pa.concat_tables([known, *_read_many(table.layout, missing, schema)])
    if asked == table.snapshot_id and len(missing) + len(cached_files - live) >= REWRITE_FILES:
        _write_cache(cache, whole, asked)
    return whole.select(wanted)


def renew_index(table: Table) -> None:
    """After a commit: bring the cached concatenation up to date, if that is worth it.

    The writer pays a little (2 ms per new file), so that the next plan need not.
    """
    with suppress(FileNotFoundError):  # others went on, and a vacuum took the state of this commit
        load_index(table, [])


def read_index(layout: Layout, data_path: str) -> pa.Table:
    """Index of one data file; rebuilt from the data file if it is missing or damaged.

    Raises
    ------
    TableError
        The data file is missing or damaged, too.
    """
    try:
        return _stored(layout, data_path)
    except UNREADABLE:
        try:
            rebuild_index(layout, data_path)
            return _stored(layout, data_path)
        except FileNotFoundError:
            raise  # a vacuum took it, and its snapshot
        except UNREADABLE as error:
            raise TableError(
                f"Table {layout.name!r}: {data_path} and the index beside it cannot be read: "
                f"{str(error).rstrip('.')}. `geoquarry check` lists all damaged files."
            ) from error


def _stored(layout: Layout, data_path: str) -> pa.Table:
    """The index file as it lies there, with the columns of today's schema."""
    schema = index_schema(layout)
    with layout.io.new_input(layout.index_path(data_path)).open() as stream:
        found = pq.ParquetFile(stream).read(use_threads=False)
    relative = data_path.removeprefix(f"{layout.location}/data/")
    columns = []
    for column in schema:
        if column.name == FILE:
            columns.append(pa.array([relative] * found.num_rows, pa.string()))
        elif column.name in found.column_names:
            array = found.column(column.name)
            array.validate(full=True)  # texts
            columns.append(array if array.type == column.type else array.cast(column.type))
        else:  # a column added to the table after this file was written
            columns.append(pa.nulls(found.num_rows, column.type))
    return pa.table(columns, schema=schema)


def rebuild_index(layout: Layout, data_path: str) -> None:
    """Write the index of a data file anew, from the data file itself."""
    plain, sizes, digests = [], [], []
    names = [name for name in layout.schema.names if name not in layout.blobs]
    with layout.io.new_input(data_path).open() as stream:
        file = pq.ParquetFile(stream)
        for group in range(file.num_row_groups):
            found = file.read_row_group(group)
            if found.num_rows != 1:
                raise TableError(
                    f"Table {layout.name!r}: {data_path} has {found.num_rows} rows in one row "
                    "group, one is expected; it was not written by geoquarry."
                )
            row = fill(found, layout, layout.schema.names)
            plain.append(row.select(names))
            sizes.append(row.nbytes)
            digests.append(digest_of(row.to_pylist()[0]))
    write_index(layout, data_path, plain, sizes, digests)


def fill(found: pa.Table, layout: Layout, columns: Iterable[str]) -> pa.RecordBatch:
    """Columns as the table declares them; those that an old file lacks are null."""
    fields = [layout.schema.field(name) for name in columns]
    arrays = []
    for column in fields:
        if column.name in found.column_names:
            array = found.column(column.name).combine_chunks()
            arrays.append(array.cast(column.type) if array.type != column.type else array)
        else:
            arrays.append(pa.nulls(found.num_rows, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _read_many(layout: Layout, relative: Sequence[str], schema: pa.Schema) -> list[pa.Table]:
    if not relative:
        return []
    paths = [f"{layout.location}/data/{name}" for name in relative]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda path: read_index(layout, path), paths))


def _snapshot_of(cache: Path) -> int | None:
    try:
        metadata = pq.read_schema(cache).metadata or {}
    except UNREADABLE:
        return None
    return int(metadata.get(SNAPSHOT, b"0"))


def _read_cache(cache: Path, names: Sequence[str], schema: pa.Schema) -> pa.Table | None:
    """Columns of the cached concatenation; None if there is none that fits the schema."""
    try:
        with pq.ParquetFile(cache) as file:
            if file.schema_arrow.names != schema.names:
                return None
            found = file.read(columns=list(names))
    except UNREADABLE:
        return None
    wanted = pa.schema([schema.field(name) for name in names])
    return found.select(list(names)).cast(wanted)


def _write_cache(cache: Path, index: pa.Table, snapshot_id: int) -> None:
    temporary = cache.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
    marked = index.replace_schema_metadata({SNAPSHOT: str(snapshot_id)})
    try:
        pq.write_table(marked, temporary, compression="zstd")
        failpoint("index.cache")
        os.replace(temporary, cache)
    except OSError:  # a full disk or a read-only warehouse costs speed, nothing else
        with suppress(OSError):
            temporary.unlink()
