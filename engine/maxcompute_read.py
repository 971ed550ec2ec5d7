"""Reading tables of MaxCompute: rows are chosen here, so a condition means the same everywhere."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from geoquarry.engine.choose import columns_wanted, rows_wanted
from geoquarry.engine.maxcompute_ddl import zone_of
from geoquarry.engine.maxcompute_download import Download
from geoquarry.engine.maxcompute_tables import MaxTable
from geoquarry.engine.where import condition
from geoquarry.schemas.errors import TableError, UsageError

ATTEMPTS = 3
Tiles = Sequence[tuple[int, int]]


def read(
    table: MaxTable,
    columns: Sequence[str] | None = None,
    where: str = "",
    as_of: int | None = None,
    tiles: Tiles | None = None,
) -> pa.RecordBatchReader:
    """Rows of a table, by tile_y, tile_x and granule; see `engine.local.Engine.read`."""
    at_present(table, as_of)
    schema = columns_wanted(table.name, table.schema, columns)
    names = schema.names
    plain = [name for name in names if name not in table.layout.blobs]
    download = Download(table)
    index = chosen(download, plain, where, tiles)
    if len(plain) == len(names):
        found = index.select(names).cast(schema)
        return pa.RecordBatchReader.from_batches(schema, found.to_batches())

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in download.rows(index, names):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, rows())


def planned(
    table: MaxTable,
    where: str = "",
    tiles: Tiles | None = None,
    columns: Iterable[str] = (),
    as_of: int | None = None,
) -> pa.Table:
    """What a job must know of the rows that satisfy a condition; no pixel is read.

    Parameters
    ----------
    table : MaxTable
    where : str
        SQL on non-BINARY columns; date literals mean UTC.
    tiles : sequence of (tile_x, tile_y), optional
    columns : iterable of str
        Further non-BINARY columns.
    as_of : int, optional
        Only the present snapshot is there.

    Returns
    -------
    rows : pa.Table
        Key, columns, ``row_digest, row_bytes, zone`` (and ``place``, which only the session knows),
        by tile_y, tile_x and granule.
    """
    at_present(table, as_of)
    return chosen(Download(table), columns, where, tiles)


def at_present(table: MaxTable, as_of: int | None) -> None:
    """Refuse a snapshot of the past: an ordinary table of MaxCompute has none."""
    if as_of is not None and as_of != table.snapshot_id:
        raise UsageError(
            f"Table {table.name!r} has no snapshot {as_of}: MaxCompute keeps the present state "
            f"only, {table.snapshot_id}. Leave --as-of away, or use the local or Spark engine."
        )


def chosen(download: Download, columns: Iterable[str], where: str, tiles: Tiles | None) -> pa.Table:
    """Index of the rows that satisfy a condition, in order."""
    table = download.table
    wanted = condition(where, table.schema)
    used = [
        field.name
        for field in table.schema
        if f'"{field.name}"' in wanted and field.name not in table.layout.blobs
    ]
    for _ in range(ATTEMPTS):
        before = table.snapshot_id
        zones = table.partitions()
        if tiles is not None:
            touched = {zone_of(x, y) for x, y in tiles}
            zones = [zone for zone in zones if zone in touched]
        index = download.index([*columns, *used], zones)
        table = table.reload()
        if table.snapshot_id == before:  # else some zones may be of before, some of after
            order = ", ".join(f'"{name}"' for name in table.layout.order) or "zone, place"
            found = rows_wanted(
                index, table.name, wanted=wanted, where=where, tiles=tiles, order=order
            )
            return found.cast(index.schema)
    raise TableError(f"Table {table.name!r} was changed while it was read. Read it again.")
