"""Rows on their way up, checked and spooled to this host's disk before a byte is sent.

What is refused, is refused as a whole before anything was sent; and whatever goes wrong on the
line, each block can be made again from the file.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from geoquarry.engine.batches import check_row, digest_of
from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST
from geoquarry.engine.layout import Layout
from geoquarry.engine.maxcompute_ddl import ZONE, has_zones, stored_schema, zone_of
from geoquarry.engine.maxcompute_limits import BATCH_BYTES, BLOCK_BYTES, BLOCKS, CELL_BYTES
from geoquarry.engine.maxcompute_limits import check_row as check_limits
from geoquarry.schemas.blob import decode, encode, header
from geoquarry.schemas.errors import BlobError, TableError

WORKERS_HAVE = ("raw", "zlib")
"""Codecs of a tile blob that MaxCompute's workers can read: they have no zstd."""


class Spool:
    """Rows of one upload in a file; use it in a ``with`` statement, which deletes it.

    Parameters
    ----------
    schema : pa.Schema
        Of every batch.
    folder : path
        Where the file goes.

    Attributes
    ----------
    rows, nbytes : int
    largest_cell : int
    zones : set of str
        That the rows of a table with zones go to.
    """

    def __init__(self, schema: pa.Schema, folder: Path) -> None:
        handle, path = tempfile.mkstemp(suffix=".arrow", prefix="upload-", dir=folder)
        self.path = Path(path)
        self.schema = schema
        self.rows = self.nbytes = self.largest_cell = 0
        self.zones: set[str] = set()
        self._stream = os.fdopen(handle, "wb")
        self._writer = pa.ipc.new_file(self._stream, schema)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._batch_bytes: list[int] = []

    def add(self, batch: pa.RecordBatch, largest_cell: int = 0) -> None:
        """Take a batch of few rows; small ones go to the file together."""
        size = batch.nbytes
        if self._waiting and self._waiting_bytes + size > BATCH_BYTES:
            self._flush()
        self._waiting.append(batch)
        self._waiting_bytes += size
        self.rows += batch.num_rows
        self.nbytes += size
        self.largest_cell = max(self.largest_cell, largest_cell)

    def _flush(self) -> None:
        if self._waiting:
            whole = pa.Table.from_batches(self._waiting, self.schema).combine_chunks()
            for batch in whole.to_batches():
                self._writer.write_batch(batch)
                self._batch_bytes.append(batch.nbytes)
        self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        """Nothing is added any more."""
        self._flush()
        self._writer.close()
        self._stream.close()

    def blocks(self) -> list[range]:
        """Which batches go up together, each block at most `BLOCK_BYTES` but for a single batch."""
        target = max(BLOCK_BYTES, -(-self.nbytes // (BLOCKS - 1)))
        found: list[range] = []
        first = held = 0
        for place, size in enumerate(self._batch_bytes):
            if place > first and held + size > target:
                found.append(range(first, place))
                first, held = place, 0
            held += size
        if self._batch_bytes:
            found.append(range(first, len(self._batch_bytes)))
        return found

    def batches(self, places: Iterable[int]) -> Iterator[pa.RecordBatch]:
        """Batches of the file, one in memory at a time; can be asked for again."""
        with pa.OSFile(str(self.path)) as source:  # a memory map would count as our memory
            reader = pa.ipc.open_file(source)
            for place in places:
                yield reader.get_batch(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self.path.unlink(missing_ok=True)


def staged_schema(schema: pa.Schema) -> pa.Schema:
    """Columns of a staging table: the stored ones and, for tiles, the zone."""
    zone = [pa.field(ZONE, pa.string())] if has_zones(schema.names) else []
    return pa.schema([*stored_schema(schema), *zone]).remove_metadata()


def spooled(
    rows: Iterable[pa.RecordBatch], layout: Layout, folder: Path, cell_bytes: int = CELL_BYTES
) -> Spool:
    """Check rows, make them what the service stores, and spool them.

    Parameters
    ----------
    rows : iterable of pa.RecordBatch
        One row each, of the table's schema.
    layout : Layout
        Of the table.
    folder : Path
    cell_bytes : int
        Largest value that the project takes.

    Returns
    -------
    spool : Spool
        Finished; of `staged_schema`.

    Raises
    ------
    TableError, BlobError
        A row of another sensor or grid, a key twice, a value that is too large; nothing is left.
    """
    spool = Spool(staged_schema(layout.schema), folder)
    seen: set[tuple[Any, ...]] = set()
    try:
        for batch in rows:
            check_row(batch, layout)
            key = tuple(batch.column(name)[0].as_py() for name in layout.key)
            if key in seen:
                said = ", ".join(f"{n}={k!r}" for n, k in zip(layout.key, key, strict=True))
                raise TableError(f"Table {layout.name!r}: the row {said} comes twice.")
            seen.add(key)
            ready = as_stored(batch, layout)
            if ZONE in spool.schema.names:
                spool.zones.add(ready.column(ZONE)[0].as_py())
            spool.add(ready, check_limits(ready, layout.name, layout.key, cell_bytes))
        spool.finish()
    except BaseException:
        spool.__exit__(None, None, None)
        raise
    return spool


def as_stored(batch: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
    """A one-row batch as a staging table takes it: blobs for the workers, digest, size, zone."""
    blobs = {name: for_workers(batch.column(name)[0]) for name in layout.blobs}
    columns: list[Any] = [
        pa.array([blobs[field.name]], field.type) if field.name in blobs else column
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    row: dict[str, Any] = {
        name: blobs[name] if name in blobs else column[0].as_py()
        for name, column in zip(batch.schema.names, columns, strict=True)
    }
    own: dict[str, Any] = {
        ROW_DIGEST: digest_of(row),
        ROW_BYTES: sum(len(blob) for blob in blobs.values() if blob is not None),
    }
    schema = staged_schema(layout.schema)
    if ZONE in schema.names:
        own[ZONE] = zone_of(row["tile_x"], row["tile_y"])
    columns += [pa.array([value], schema.field(name).type) for name, value in own.items()]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def for_workers(value: pa.Scalar) -> bytes | None:
    """A raster with a codec that the workers have; other bytes as they are."""
    if not value.is_valid:
        return None
    data: bytes = value.as_buffer().to_pybytes()
    try:
        codec = header(data).codec
    except BlobError:
        return data  # a table of other things than tiles may hold any bytes
    return data if codec in WORKERS_HAVE else encode(decode(data), codec="zlib")
