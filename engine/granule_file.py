"""One granule's rows as one data file: written by any worker, committed by the appender."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from geoquarry.engine.batches import check_row, rows_of
from geoquarry.engine.datafile import RowWriter, WrittenFile
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.layout import Layout
from geoquarry.engine.replace import unit_name
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.tables import facts


@dataclass(frozen=True)
class GranuleFiles:
    """Where the files of one appender go; can be pickled and needs no catalog.

    Attributes
    ----------
    layout : Layout
    folder : str
        Below ``data/``; a note of the appender keeps `vacuum` from it.
    """

    layout: Layout
    folder: str

    def write(
        self,
        granule_id: str,
        rows: Iterable[Mapping[str, Any] | pa.RecordBatch],
        tiles: Sequence[tuple[int, int]] | None = None,
    ) -> WrittenFile | None:
        """Write the rows of one granule; nobody sees them before the appender commits the file.

        Each call makes a file of its own name: a worker that is tried again, or runs twice, never
        touches the file of the other attempt.

        Parameters
        ----------
        granule_id : str
        rows : iterable of dict or RecordBatch
            Consumed lazily, one row in memory.
        tiles : sequence of (tile_x, tile_y), optional
            Rows in other tiles are refused.

        Returns
        -------
        file : WrittenFile or None
            None when there are no rows.

        Raises
        ------
        TableError
            A row of another granule, sensor or grid, a row twice, a row outside ``tiles``; nothing
            is left behind then.
        """
        layout = self.layout
        name = unit_name(layout, (facts(layout.schema)["grid"], granule_id))
        path = layout.data_path(self.folder, f"{name}-{uuid.uuid4().hex[:8]}")
        wanted = None if tiles is None else {(int(x), int(y)) for x, y in tiles}
        seen: set[tuple[int, int]] = set()
        writer = RowWriter(layout, path)
        try:
            for batch in rows_of(rows, layout):
                check_row(batch, layout)
                tile = batch.column("tile_x")[0].as_py(), batch.column("tile_y")[0].as_py()
                found = batch.column("granule_id")[0].as_py()
                if found != granule_id:
                    raise TableError(
                        f"Table {layout.name!r}: a row of granule {found!r} among those of "
                        f"{granule_id!r}."
                    )
                if tile in seen or (wanted is not None and tile not in wanted):
                    reason = "comes twice" if tile in seen else "is not among the tiles asked for"
                    raise TableError(
                        f"Table {layout.name!r}, granule {granule_id!r}: tile {tile} {reason}."
                    )
                seen.add(tile)
                writer.add(batch)
            if seen:
                return writer.close()
        except BaseException:
            writer.abort()
            raise
        writer.abort()
        return None

    def discard(self, file: WrittenFile) -> None:
        """Delete a file that will not be committed, and its index."""
        for path in (file.path, self.layout.index_path(file.path)):
            self.layout.io.delete(path)
            failpoint("granule.discard")
