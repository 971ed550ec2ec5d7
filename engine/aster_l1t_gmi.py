"""The published 26-column CSV of the global mineral index pipeline: ASTER L1T tiles as hex text.

Layout, in this order (source: Script1_transfer_aster_to_table.py, commit 180598d, and
Script2_upload_table_to_odps.py, commit 423bf65, of
github.com/datahub-zjlab/Global_Mineral_Indices_Computing_Engine)::

    0      granule_id                           file name up to the first dot
    1-4    min_row min_col max_row max_col      box in the tile, both ends included
    5-6    tile_index_x tile_index_y
    7      tile_info                            res-30_tilesize-1024
    8      meta                                 the HDF file's attributes, JSON; a str(dict) once
    9      atmoshpheric_correction_paras        (so spelled) {band: {a, b, c}}, JSON or str(dict)
    10-18  VNIR_Swath_ImageData1..3 SWIR_Swath_ImageData4..9   uint8 DN of the box, hex
    19-25  modis_bands_0..6, or modis_vnir_swath_imagedata1..4 modis_swir_swath_imagedata5..7
           int16 x 1e-4 surface reflectance, 256 x 256 over the whole tile, hex; or empty

The file has a header or none; with one, the order is free. The published pixels lie one source
pixel to the south-east of where they belong (15 m VNIR, 30 m SWIR); they are taken as they are.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t import SENSOR, SWIR_FAILED_FROM
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
from geoquarry.schemas.tables import NODATA_INT16, REFERENCE_BANDS

BOX = ("min_row", "min_col", "max_row", "max_col")
PARAS = "atmoshpheric_correction_paras"
MODIS_COLUMNS = tuple(f"modis_bands_{i}" for i in range(len(REFERENCE_BANDS)))
COLUMNS = (
    "granule_id",
    *BOX,
    "tile_index_x",
    "tile_index_y",
    "tile_info",
    "meta",
    PARAS,
    *DN_COLUMNS,
    *MODIS_COLUMNS,
)
"""The 26 columns in the published order."""
EXTRAS = ("aod", "dem")
"""Not part of the layout, read when present: aerosol in MCD19A2 integers (120 = 0.12), metres."""
ALIASES = {
    **{
        f"modis_{'vnir' if i < 4 else 'swir'}_swath_imagedata{i + 1}": name
        for i, name in enumerate(MODIS_COLUMNS)
    },
    # The SQL of Script3 spells the fourth band, and the word atmospheric, differently again.
    "atmospheric_correction_paras": PARAS,
    "vnir_swath_imagedata3n": DN_COLUMNS[2],
}
"""Other spellings, lower case."""

MODIS_SIZE = 256
MODIS_RANGE = (-100, 16000)
"""Valid range of MOD09 surface reflectance; its fill is -28672, the published one is 0."""


def is_gmi(first: Sequence[str]) -> bool:
    """Whether the first record of a CSV file is of this layout: its header, or a row without one.

    >>> is_gmi(COLUMNS), is_gmi(["grid", "tile_x", "granule_id"])
    (True, False)
    """
    names = _names(first)
    if "granule_id" in names:
        return "tile_info" in names
    return len(first) == len(COLUMNS) and first[7].startswith("res-")


def read_gmi_csv(
    path: str | os.PathLike[str],
    frame: Grid | None = None,
    *,
    allow_late_swir: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Row]:
    """Read published rows as rows of a `tiles` table, one at a time.

    Parameters
    ----------
    path : path
        With or without a header; either spelling of the MODIS columns.
    frame : Grid, optional
        Grid of the table; without one, the first row's ``tile_info`` names it.
    allow_late_swir : bool
        Take rows acquired since the SWIR detector failed (2008-04-01); otherwise they are bad
        rows, for the layout has no place to mark bands.
    on_error : callable, optional
        Receives an InputError for each bad row, naming line and column; the others go on.

    Yields
    ------
    row : dict
        The coefficients a, b, c of the row are ``xa, xb, xc``; DN 0 stays "not observed"; MODIS
        fill, the published 0 and values out of range become nodata; ``flags`` is null, so a job
        masks the tile by itself.

    Raises
    ------
    InputError
        Not this layout; a bad row without ``on_error``.
    """
    lines = csv_lines(path)
    line, first = next(lines, (0, []))
    names = list(COLUMNS)
    if "granule_id" in _names(first):
        names = _names(first)
        _check_names(path, names)
        line, first = next(lines, (0, []))
    while first:
        where = f"{os.fspath(path)!r}, line {line}"
        try:
            if len(first) != len(names):
                raise InputError(f"{where}: {len(first)} fields, {len(names)} expected.")
            cells = dict(zip(names, first, strict=True))
            if frame is None:
                frame = _grid_of(cells, where)
            yield _tile_row(cells, frame, where, allow_late_swir=allow_late_swir)
        except InputError as error:
            if on_error is None:
                raise
            on_error(error)
        line, first = next(lines, (0, []))


def _names(first: Sequence[str]) -> list[str]:
    known = {name.lower(): name for name in COLUMNS} | ALIASES
    plain = (name.strip().lower().replace(":", "_") for name in first)
    return [known.get(name, name) for name in plain]


def _check_names(path: str | os.PathLike[str], names: list[str]) -> None:
    missing = [n for n in COLUMNS if n not in names and n not in MODIS_COLUMNS]
    missing += [n for n in MODIS_COLUMNS if n not in names and set(MODIS_COLUMNS) & set(names)]
    strange = [n for n in names if n not in COLUMNS + EXTRAS or names.count(n) > 1]
    if missing or strange:
        raise InputError(
            f"{os.fspath(path)!r} is not the published 26-column layout: missing "
            f"{', '.join(missing) or 'nothing'}; "
            f"unknown or twice {', '.join(strange) or 'nothing'}."
        )


def tile_info(frame: Grid) -> str:
    """How the published layout names a grid.

    >>> tile_info(grid("webmercator-30m-1024"))
    'res-30_tilesize-1024'
    """
    return f"res-{frame.resolution_m:g}_tilesize-{frame.tile_size}"


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
