"""The files of an export: one raster per row, or one mosaic of all of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine.geotiff import Mosaic, write_geotiff
from geoquarry.engine.ledger import ROWS_LEFT_OUT, Record, Unit
from geoquarry.jobs.export_record import told_of
from geoquarry.jobs.export_rows import Found, Row
from geoquarry.jobs.layers import (
    RESULT_COLUMNS,
    Layer,
    band_tags,
    file_stem,
    file_tags,
    nodata_of,
    pixels,
    title,
)
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import Grid
from geoquarry.udfs.tile_method import SOURCE

Told = Callable[[str], None]
Files = dict[str, list[Layer]]
"""End of a file's name -> its bands."""


@dataclass(frozen=True)
class RasterFiles:
    """How the files of an export are written."""

    table: str
    about: dict[str, Any]
    frame: Grid
    out: Path
    files: Files
    options: dict[str, Any]

    def units(self, row: Row) -> list[Unit]:
        """The files of one row."""
        stem = file_stem(self.table, row)
        tile = row["tile_x"], row["tile_y"]
        return [Unit(f"{stem}{suffix}.tif", tile) for suffix in self.files]

    def each(self, rows: Iterable[Found], record: Record, on_failed: Told) -> Iterator[Path]:
        """One file per row, and one more for its flags."""
        for row, trouble in rows:
            if trouble is not None:
                self._lose(row, trouble, record, on_failed)
                continue
            for unit, (suffix, layers) in zip(self.units(row), self.files.items(), strict=True):
                if suffix and row["flags"] is None:
                    record.finish(unit, "empty", "a published row comes without flags")
                    continue
                record.start(unit)
                try:
                    rasters = pixels(row, layers, self.frame)
                except InputError as error:
                    self._lose(row, error, record, on_failed)
                    break
                tags = band_tags(row, layers)
                path = write_geotiff(
                    self.out / unit.item,
                    rasters,
                    transform=self.frame.transform(row["tile_x"], row["tile_y"]),
                    crs=self.frame.crs,
                    descriptions=[tag.description for tag in tags],
                    scales=[tag.scale for tag in tags],
                    offsets=[tag.offset for tag in tags],
                    units=[tag.unit for tag in tags],
                    nodata=nodata_of(layers[0], rasters[0].dtype),
                    tags=file_tags(self.table, self.about, [row]),
                    overviews=_overviews(self.about, suffix, layers),
                    **self.options,
                )
                record.finish(unit, "done", told_of(path))
                yield path

    def _lose(self, row: Row, error: Exception, record: Record, on_failed: Told) -> None:
        """None of a row's files can be written."""
        on_failed(f"{title(row)} left out: {error}")
        for lost in self.units(row):
            record.finish(lost, "failed", str(error), error_class=type(error).__name__)

    def merged(
        self,
        rows: Iterable[Found],
        keys: set[tuple[int, int]],
        record: Record,
        on_failed: Told,
        lost: list[str],
    ) -> list[Path]:
        """One mosaic of all rows, and one of their flags; each appears when it is complete.

        ``lost`` says which tiles failed before they came here.
        """
        units = [Unit(f"{self.table}{suffix}.tif") for suffix in self.files]
        if not keys:
            state, why = ("failed", lost[0]) if lost else ("empty", "no tile has a map")
            for unit in units:
                record.finish(unit, state, why, error_class="TileFailed" if lost else "")
            return []
        (left, right), (top, bottom) = ((min(k), max(k) + 1) for k in zip(*keys, strict=True))
        size = self.frame.tile_size
        done: list[Row] = []
        for unit in units:
            record.start(unit)
        with ExitStack() as stack:
            mosaics = {}
            for unit, (suffix, layers) in zip(units, self.files.items(), strict=True):
                nodata = nodata_of(layers[0], np.dtype(layers[0].dtype))
                mosaics[suffix] = stack.enter_context(
                    Mosaic(
                        self.out / unit.item,
                        height=(bottom - top) * size,
                        width=(right - left) * size,
                        dtype=str(layers[0].dtype),
                        transform=self.frame.transform(left, top),
                        crs=self.frame.crs,
                        bands=[layer.tag for layer in layers],
                        nodata=nodata,
                        overviews=_overviews(self.about, suffix, layers),
                        part_size=size,
                        **self.options,
                    )
                )
            for row, trouble in rows:
                try:
                    if trouble is not None:
                        raise InputError(str(trouble)) from trouble
                    parts = {
                        suffix: pixels(row, layers, self.frame)
                        for suffix, layers in self.files.items()
                    }
                except InputError as error:
                    lost.append(f"{title(row)} left out: {error}")
                    on_failed(lost[-1])
                    continue
                for suffix, rasters in parts.items():
                    place = (row["tile_y"] - top) * size, (row["tile_x"] - left) * size
                    mosaics[suffix].add(*place, rasters)
                done.append({name: row[name] for name in RESULT_COLUMNS})
            if not done:
                raise InputError(f"No tile of {self.table!r} could be read: no mosaic written.")
            for mosaic in mosaics.values():
                mosaic.tags |= file_tags(self.table, self.about, done)
        for unit in units:
            said = lost[0] if lost else told_of(self.out / unit.item)
            record.finish(unit, "done", said, error_class=ROWS_LEFT_OUT if lost else "")
        return [mosaic.path for mosaic in mosaics.values()]


def has_source(layers: Sequence[Layer]) -> bool:
    """Whether a band counts in each row's own list of granules."""
    return any(layer.column == SOURCE for layer in layers)


def _overviews(about: dict[str, Any], suffix: str, layers: Sequence[Layer]) -> str:
    """Bits, saturated counts and places in a list must not be averaged; a file has one way."""
    smooth = about["kind"] == "results" and not suffix and not has_source(layers)
    return "average" if smooth else "nearest"
