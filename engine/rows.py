"""Reading single rows of data files: only the row groups and the columns that are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from geoquarry.engine.files import UNREADABLE
from geoquarry.engine.index import fill
from geoquarry.engine.layout import Layout
from geoquarry.engine.plan import RowRef
from geoquarry.schemas.errors import TableError


def read_batches(
    layout: Layout, refs: Iterable[RowRef], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows one by one, each as a one-row batch; at most one is in memory.

    Parameters
    ----------
    layout : Layout
    refs : iterable of RowRef
        A file stays open while consecutive rows lie in it.
    columns : sequence of str
        In this order; a column that an old file lacks is null.

    Raises
    ------
    TableError
        A file is missing or damaged.
    """
    name = ""
    stream: pa.NativeFile | None = None
    file: pq.ParquetFile | None = None
    try:
        for ref in refs:
            if ref.file != name:
                if stream is not None:
                    stream.close()
                name = ref.file
                stream = layout.io.new_input(f"{layout.location}/data/{name}").open()
                file = pq.ParquetFile(stream)
                present = set(file.schema_arrow.names)
            assert file is not None
            found = file.read_row_group(
                ref.row_group, columns=[c for c in columns if c in present], use_threads=False
            )
            if found.num_rows != 1 and columns:
                raise TableError(
                    f"Table {layout.name!r}: row group {ref.row_group} of {name} has "
                    f"{found.num_rows} rows, one is expected."
                )
            yield fill(found, layout, columns)
    except UNREADABLE as error:
        raise TableError(
            f"Table {layout.name!r}: cannot read data file {name!r}: {str(error).rstrip('.')}. "
            "`geoquarry check` lists all damaged files."
        ) from error
    finally:
        if stream is not None:
            stream.close()


def as_dict(batch: pa.RecordBatch) -> dict[str, Any]:
    """A one-row batch as a dictionary; BINARY values are memoryviews into it, not copies."""
    row: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        value = column[0]
        if pa.types.is_binary(column.type):
            row[name] = memoryview(value.as_buffer()) if value.is_valid else None
        else:
            row[name] = value.as_py()
    return row
