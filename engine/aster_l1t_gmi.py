"""Rows of the published 26-column layout, in CSV files or tables, as rows of a `tiles` table.

The published pixels lie one source pixel to the south-east of where they belong (15 m VNIR, 30 m
SWIR); they are taken as they are.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t import SENSOR, SWIR_FAILED_FROM
from geoquarry.engine.aster_l1t_gmi_columns import (
    BOX,
    COLUMNS,
    EXTRAS,
    MODIS_COLUMNS,
    PARAS,
    check_names,
    is_gmi,
    layout_names,
    tile_info,
)
from geoquarry.engine.aster_l1t_gmi_meta import (
    BANDS,
    DN_COLUMNS,
    coefficients,
    geometry,
    mapping,
)
from geoquarry.engine.exchange import OnError, Row, csv_lines
from geoquarry.schemas import blob
from geoquarry.schemas.errors import GeoquarryError, InputError
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.tables import NODATA_INT16

__all__ = [
    "COLUMNS",
    "EXTRAS",
    "check_names",
    "is_gmi",
    "layout_names",
    "read_gmi",
    "read_gmi_csv",
]

MODIS_SIZE = 256
MODIS_RANGE = (-100, 16000)
"""Valid range of MOD09 surface reflectance; its fill is -28672, the published one is 0."""


def read_gmi_csv(
    path: str | os.PathLike[str],
    frame: Grid | None = None,
    *,
    allow_late_swir: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Row]:
    """Read the published rows of a CSV file as rows of a `tiles` table, one at a time.

    Parameters
    ----------
    path : path
        With or without a header; either spelling of the MODIS columns.
    frame, allow_late_swir, on_error
        See `read_gmi`; errors name line and column.

    Yields
    ------
    row : dict
        See `read_gmi`.

    Raises
    ------
    InputError
        Not this layout; a bad row without ``on_error``.
    """
    lines = csv_lines(path)
    line, first = next(lines, (0, []))
    if not first:
        return
    names, head = list(COLUMNS), [(line, first)]
    if "granule_id" in layout_names(first):
        names, head = layout_names(first), []
        check_names(names, where=repr(os.fspath(path)))
    records = (
        (f"{os.fspath(path)!r}, line {line}", fields)
        for line, fields in itertools.chain(head, lines)
    )
    yield from read_gmi(names, records, frame, allow_late_swir=allow_late_swir, on_error=on_error)


def read_gmi(
    names: Sequence[str],
    records: Iterable[tuple[str, Sequence[str]]],
    frame: Grid | None = None,
    *,
    allow_late_swir: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Row]:
    """Read published rows, wherever they come from, as rows of a `tiles` table, one at a time.

    Parameters
    ----------
    names : sequence of str
        Columns of the records, as `layout_names` gives them.
    records : iterable of (str, sequence of str)
        Where the record stands, for errors, and its fields as text.
    frame : Grid, optional
        Grid of the table; without one, the first row's ``tile_info`` names it.
    allow_late_swir : bool
        Take rows acquired since the SWIR detector failed (2008-04-01); otherwise they are bad
        rows, for the layout has no place to mark bands.
    on_error : callable, optional
        Receives an InputError for each bad row; the others go on.

    Yields
    ------
    row : dict
        The coefficients a, b, c of the row are ``xa, xb, xc``; DN 0 stays "not observed"; MODIS
        fill, the published 0 and values out of range become nodata; ``flags`` is null, so a job
        masks the tile by itself.

    Raises
    ------
    InputError
        A bad row without ``on_error``.
    """
    for where, fields in records:
        try:
            if len(fields) != len(names):
                raise InputError(f"{where}: {len(fields)} fields, {len(names)} expected.")
            cells = dict(zip(names, fields, strict=True))
            if frame is None:
                frame = _grid_of(cells, where)
            yield _tile_row(cells, frame, where, allow_late_swir=allow_late_swir)
        except InputError as error:
            if on_error is None:
                raise
            on_error(error)


def _grid_of(cells: dict[str, str], where: str) -> Grid:
    """The grid of a row; the default grid goes by its own name."""
    try:
        found = grid(cells["tile_info"])
        usual = grid("webmercator-30m-1024")
    except GeoquarryError as error:
        raise InputError(f"{where}, column 'tile_info': {error}") from error
    return usual if tile_info(usual) == tile_info(found) else found


def _tile_row(cells: dict[str, str], frame: Grid, where: str, *, allow_late_swir: bool) -> Row:
    if tile_info(_grid_of(cells, where)) != tile_info(frame):
        raise InputError(
            f"{where}, column 'tile_info': {cells['tile_info']!r} is not the table's grid "
            f"{frame.name!r} ({tile_info(frame)}). Upload it to a table of its own."
        )
    tile_x, tile_y = (_integer(cells, f"tile_index_{axis}", where) for axis in "xy")
    if not (0 <= tile_x < frame.tile_count and 0 <= tile_y < frame.tile_count):
        raise InputError(
            f"{where}, columns tile_index_x, tile_index_y: {tile_x}, {tile_y} is outside the grid "
            f"of {frame.tile_count} x {frame.tile_count} tiles."
        )
    if not cells["granule_id"]:
        raise InputError(f"{where}, column 'granule_id': empty, but it is a key.")
    row0, col0, dn = _dn(cells, frame, where)
    meta = mapping(cells, "meta", where)
    row: Row = {
        "grid": frame.name,
        "tile_x": tile_x,
        "tile_y": tile_y,
        "granule_id": cells["granule_id"],
        "sensor": SENSOR,
        "row0": row0,
        "col0": col0,
        "valid_fraction": int((dn != 0).all(axis=0).sum()) / frame.tile_size**2,
        "cloud_fraction": None,
        "ingest_id": None,
        "flags": None,
        "mask_version": None,
        **coefficients(cells, PARAS, where),
    }
    row |= geometry(meta, row, frame, f"{where}, column 'meta'")
    if row["acquired"] >= SWIR_FAILED_FROM and not allow_late_swir:
        raise InputError(
            f"{where}, column 'meta': acquired {row['acquired']:%Y-%m-%d}, when the SWIR detector "
            "had failed, and published rows cannot mark bands. --allow-late-swir takes them."
        )
    row |= {band.name: blob.encode(dn[i]) for i, band in enumerate(BANDS)}
    row |= {f"ref_{i}": _reference(cells, name, frame, where) for i, name in _numbered()}
    return row


def _numbered() -> Iterator[tuple[int, str]]:
    return iter(enumerate(MODIS_COLUMNS, start=1))


def _dn(cells: dict[str, str], frame: Grid, where: str) -> tuple[int, int, NDArray[np.uint8]]:
    top, left, bottom, right = (_integer(cells, name, where) for name in BOX)
    size = frame.tile_size
    first = len(cells[DN_COLUMNS[0]]) // 2
    if (top, left, bottom, right) == (0, 0, size, size) and first == size**2:
        bottom = right = size - 1  # no pixel with all bands: the published box is one too large
    if not (0 <= top <= bottom < size and 0 <= left <= right < size):
        raise InputError(
            f"{where}, columns {', '.join(BOX)}: {top}, {left}, {bottom}, {right} is no box in a "
            f"tile of {size} x {size} pixels."
        )
    shape = bottom - top + 1, right - left + 1
    dn = [_pixels(cells, name, np.uint8, shape, where) for name in DN_COLUMNS]
    return top, left, np.stack(dn)


def _pixels(
    cells: dict[str, str], name: str, dtype: Any, shape: tuple[int, int], where: str
) -> NDArray[Any]:
    try:
        raw = bytes.fromhex(cells[name])
    except ValueError as error:
        raise InputError(f"{where}, column {name!r}: not hex: {error}.") from error
    needed = shape[0] * shape[1] * np.dtype(dtype).itemsize
    if len(raw) != needed:
        raise InputError(
            f"{where}, column {name!r}: {len(raw)} bytes, {shape[0]} x {shape[1]} pixels of "
            f"{np.dtype(dtype)} need {needed}."
        )
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)


def _reference(cells: dict[str, str], name: str, frame: Grid, where: str) -> bytes | None:
    text = cells.get(name, "")
    if not text:
        return None
    size = frame.tile_size if len(text) == 4 * frame.tile_size**2 else MODIS_SIZE
    values = _pixels(cells, name, np.int16, (size, size), where)
    known = (values >= MODIS_RANGE[0]) & (values <= MODIS_RANGE[1]) & (values != 0)
    return blob.encode(np.where(known, values, NODATA_INT16), dtype="int16")


def _integer(cells: dict[str, str], name: str, where: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", cells[name].strip()):
        raise InputError(f"{where}, column {name!r}: {cells[name][:40]!r} is not a whole number.")
    return int(cells[name])
