"""Rows from outside as one-row batches of a table's schema."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from geoquarry.engine.layout import Layout
from geoquarry.schemas.blob import header
from geoquarry.schemas.digest import row_digest
from geoquarry.schemas.errors import BlobError, TableError
from geoquarry.schemas.tables import facts


def rows_of(
    batches: Iterable[pa.RecordBatch | Mapping[str, Any]], layout: Layout
) -> Iterator[pa.RecordBatch]:
    """Rows of dictionaries, record batches or a mix, each as a one-row batch of the table's schema.

    Raises
    ------
    TableError
        A column the table lacks, a missing key, or a value of another type.
    """
    for item in batches:
        if isinstance(item, Mapping):
            yield row_batch(item, layout)
        else:
            for place in range(item.num_rows):
                yield conform(item.slice(place, 1), layout)


def row_batch(row: Mapping[str, Any], layout: Layout) -> pa.RecordBatch:
    """One dictionary as a one-row batch of the table's schema."""
    schema = layout.schema
    unknown = sorted(set(row) - set(schema.names))
    if unknown:
        raise TableError(
            f"Table {layout.name!r} has no column {', '.join(map(repr, unknown))}. "
            f"Columns: {', '.join(schema.names)}."
        )
    arrays = []
    for column in schema:
        value = row.get(column.name)
        if isinstance(value, pa.Buffer):
            value = memoryview(value)
        if value is None and not column.nullable:
            raise TableError(f"Table {layout.name!r}: a row has no {column.name!r} (a key column).")
        try:
            arrays.append(pa.array([value], type=column.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise TableError(
                f"Table {layout.name!r}, column {column.name!r}: {column.type} expected, "
                f"{type(value).__name__} found ({error})."
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def conform(batch: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
    """A batch of any column order and offset width as one of the table's schema."""
    names = set(batch.schema.names)
    unknown = sorted(names - set(layout.schema.names))
    if unknown:
        raise TableError(
            f"Table {layout.name!r} has no column {', '.join(map(repr, unknown))}. "
            f"Columns: {', '.join(layout.schema.names)}."
        )
    arrays = []
    for column in layout.schema:
        if column.name not in names:
            array = pa.nulls(batch.num_rows, column.type)
        else:
            try:
                array = batch.column(column.name).cast(column.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise TableError(
                    f"Table {layout.name!r}, column {column.name!r}: {column.type} expected, "
                    f"{batch.column(column.name).type} found ({error})."
                ) from error
        if array.null_count and not column.nullable:
            raise TableError(f"Table {layout.name!r}: a row has no {column.name!r} (a key column).")
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=layout.schema)


def digest_of(row: Mapping[str, Any]) -> str:
    """`row_digest` over the columns that hold something.

    A column added to the table later is null in old rows and leaves their digests as they were.
    """
    return row_digest({name: value for name, value in row.items() if value is not None})


def check_row(batch: pa.RecordBatch, layout: Layout) -> None:
    """Refuse a one-row batch of another sensor, grid or method, or with bytes that are no blob.

    Raises
    ------
    TableError, BlobError
    """
    told = facts(layout.schema)
    for name in ("grid", "sensor", "method"):
        if name in told and name in batch.schema.names:
            found = batch.column(name)[0].as_py()
            if found is not None and found != told[name]:
                raise TableError(
                    f"Table {layout.name!r} holds {name} {told[name]!r}; a row has {found!r}. "
                    "A table holds one sensor and one grid: use another table."
                )
    if told.get("kind") not in ("tiles", "results"):
        return
    for name in layout.blobs:
        value = batch.column(name)[0]
        if value.is_valid:
            try:
                header(memoryview(value.as_buffer()))
            except BlobError as error:
                raise BlobError(f"Table {layout.name!r}, column {name!r}: {error}") from error
