"""Writing one data file: a row per row group, blobs as they are, field ids, key bounds."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record
from pyiceberg.types import PrimitiveType

from geoquarry.engine.batches import digest_of
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.files import begin, finish, unfinished
from geoquarry.engine.layout import FIELD_ID, Layout
from geoquarry.engine.storage import writing
from geoquarry.engine.table import Table

ROW_GROUP = "row_group"
ROW_BYTES = "row_bytes"
ROW_DIGEST = "row_digest"
INDEX_FIELDS = (
    pa.field(ROW_GROUP, pa.int32()),
    pa.field(ROW_BYTES, pa.int64()),
    pa.field(ROW_DIGEST, pa.string()),
)
"""What the index says of each row besides its non-BINARY columns."""


@dataclass(frozen=True)
class WrittenFile:
    """One finished data file, not yet committed; small and picklable.

    Attributes
    ----------
    path : str
    nbytes, rows : int
    bounds : dict of str -> (low, high)
        Of the key columns.
    column_bytes : dict of int -> int
        Stored size per field id.
    offsets : list of int
        Where the row groups begin.
    """

    path: str
    nbytes: int
    rows: int
    bounds: dict[str, tuple[Any, Any]]
    column_bytes: dict[int, int] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)

    def unit(self, layout: Layout) -> tuple[Any, ...]:
        """The granule or the tile whose rows the file holds."""
        return tuple(self.bounds[name][0] for name in layout.unit)


def safe_name(text: str) -> str:
    """A file name for any identity: readable, without path separators, never two alike.

    >>> safe_name("AST_L1T_00306182003180534")
    'AST_L1T_00306182003180534'
    >>> safe_name("../a b")
    '.._a_b-2c2c791a'
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:120]
    if name != text or name.startswith("."):
        name += "-" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return name


class RowWriter:
    """Writes one data file and its index, row by row; both appear whole or not at all.

    Parameters
    ----------
    layout : Layout
    path : str
        Where the data file will lie, see `Layout.data_path`.

    Examples
    --------
    ``writer = RowWriter(layout, path); writer.add(batch); file = writer.close()``
    """

    def __init__(self, layout: Layout, path: str) -> None:
        self.layout = layout
        self.path = path
        self._io = layout.io
        self._open_path = unfinished(path)
        self._footers: list[pq.FileMetaData] = []
        with writing(path):
            self._stream = begin(self._io, self._open_path)
            self._writer = pq.ParquetWriter(
                self._stream,
                layout.file_schema,
                metadata_collector=self._footers,
                **options(layout),
            )
        self._digests: list[str] = []
        self._sizes: list[int] = []
        self._plain: list[pa.RecordBatch] = []
        self._plain_columns = [n for n in layout.schema.names if n not in layout.blobs]
        self._bounds: dict[str, tuple[Any, Any]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Write a one-row batch of the table's schema as one row group."""
        row = batch.to_pylist()[0]
        for name in self.layout.key:
            low, high = self._bounds.get(name, (row[name], row[name]))
            self._bounds[name] = min(low, row[name]), max(high, row[name])
        self._digests.append(digest_of(row))
        self._sizes.append(batch.nbytes)
        self._plain.append(batch.select(self._plain_columns))
        arrays = [
            column.cast(field.type) if column.type != field.type else column
            for column, field in zip(batch.columns, self.layout.file_schema, strict=True)
        ]
        with writing(self.path):
            self._writer.write_batch(
                pa.RecordBatch.from_arrays(arrays, schema=self.layout.file_schema), row_group_size=1
            )
            failpoint("datafile.row")

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return len(self._digests)

    def close(self) -> WrittenFile:
        """Finish: the index first, then the data file gets its name; after an error it is gone."""
        try:
            with writing(self.path):
                self._writer.close()
                self._stream.close()
                write_index(self.layout, self.path, self._plain, self._sizes, self._digests)
                failpoint("datafile.index")
                finish(self._open_path, self.path)
                failpoint("datafile.done")
            return describe_file(self.layout, self.path, self._footers[0], self._bounds)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing behind."""
        with suppress(Exception):
            self._writer.close()
        with suppress(Exception):
            self._stream.close()
        with suppress(Exception):
            self._io.delete(self._open_path)


def options(layout: Layout) -> dict[str, Any]:
    """How Parquet is written: blobs are packed already, statistics for everything else."""
    leaves = list(_leaves(layout.file_schema))
    return {
        "compression": {path: "none" if blob else "zstd" for path, _, blob in leaves},
        "use_dictionary": False,
        "write_statistics": [path for path, _, blob in leaves if not blob],
    }


def write_index(
    layout: Layout,
    data_path: str,
    plain: list[pa.RecordBatch],
    sizes: list[int],
    digests: list[str],
) -> None:
    """Write the index of one data file: non-BINARY columns, row group, size and digest."""
    path = layout.index_path(data_path)
    schema = pa.schema([f for f in layout.schema if f.name not in layout.blobs])
    table = pa.Table.from_batches(plain, schema=schema)
    values = (list(range(len(digests))), sizes, digests)
    for index_field, value in zip(INDEX_FIELDS, values, strict=True):
        table = table.append_column(index_field, pa.array(value, index_field.type))
    open_path = unfinished(path)
    try:
        with begin(layout.io, open_path) as stream:
            pq.write_table(table, stream, compression="zstd")
        finish(open_path, path)
    except BaseException:
        with suppress(Exception):  # on a full disk every byte counts
            layout.io.delete(open_path)
        raise


def describe_file(
    layout: Layout, path: str, footer: pq.FileMetaData, bounds: dict[str, tuple[Any, Any]]
) -> WrittenFile:
    """What Iceberg wants to know of a file."""
    ids = {path: number for path, number, _ in _leaves(layout.file_schema)}
    column_bytes: dict[int, int] = {}
    offsets = []
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        offsets.append(row_group.column(0).data_page_offset)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            number = ids[column.path_in_schema]
            column_bytes[number] = column_bytes.get(number, 0) + column.total_compressed_size
    size = len(layout.io.new_input(path))
    return WrittenFile(path, size, footer.num_rows, bounds, column_bytes, sorted(offsets))


def iceberg_file(table: Table, file: WrittenFile) -> DataFile:
    """A written file as the entry that a commit adds to the table."""
    schema = table.iceberg.schema()
    lower, upper, counts, nulls = {}, {}, {}, {}
    for name, (low, high) in file.bounds.items():
        column = schema.find_field(name)
        assert isinstance(column.field_type, PrimitiveType)
        lower[column.field_id] = to_bytes(column.field_type, low)
        upper[column.field_id] = to_bytes(column.field_type, high)
        counts[column.field_id] = file.rows
        nulls[column.field_id] = 0
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=file.path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=file.rows,
        file_size_in_bytes=file.nbytes,
        column_sizes=file.column_bytes,
        value_counts=counts,
        null_value_counts=nulls,
        nan_value_counts={},
        lower_bounds=lower,
        upper_bounds=upper,
        split_offsets=file.offsets,
        sort_order_id=None,
        spec_id=table.iceberg.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
    )


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, int, bool]]:
    """Leaf columns as Parquet names them: (path, field id, is BINARY)."""

    def walk(column: pa.Field, path: str) -> Iterator[tuple[str, int, bool]]:
        if pa.types.is_list(column.type):
            yield from walk(column.type.value_field, f"{path}.list.element")
        elif pa.types.is_struct(column.type):
            for child in column.type:
                yield from walk(child, f"{path}.{child.name}")
        else:
            yield path, int(column.metadata[FIELD_ID]), pa.types.is_binary(column.type)

    for column in schema:
        yield from walk(column, column.name)
