"""Rows of a table in order: from the index alone, unless a raster is asked for."""

from collections.abc import Sequence

import pyarrow as pa

from geoquarry.engine.choose import columns_wanted
from geoquarry.engine.plan import plan, select_index
from geoquarry.engine.rows import read_batches
from geoquarry.engine.table import Table


def read(
    table: Table,
    columns: Sequence[str] | None = None,
    where: str = "",
    as_of: int | None = None,
    tiles: Sequence[tuple[int, int]] | None = None,
) -> pa.RecordBatchReader:
    """Rows of a table, by tile_y, tile_x and granule; see `engine.local.Engine.read`."""
    layout = table.layout
    schema = columns_wanted(table.name, table.schema, columns)
    names = schema.names
    if not set(names) & set(layout.blobs):
        order = ", ".join(f'"{name}"' for name in layout.order)
        wanted = ", ".join(f'"{name}"' for name in names)
        rows = select_index(table, wanted, where, tiles, as_of, order=order)
        return pa.RecordBatchReader.from_batches(schema, rows.cast(schema).to_batches())
    refs = (ref for task in plan(table, where, tiles, as_of) for ref in task.rows)
    batches = (batch.cast(schema) for batch in read_batches(layout, refs, names))
    return pa.RecordBatchReader.from_batches(schema, batches)
