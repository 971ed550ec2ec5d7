"""The published 26-column layout of the global mineral index pipeline: its columns and spellings.

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

A CSV file has a header or none; with one, and in a table, the order is free.
"""

from collections.abc import Sequence

from geoquarry.engine.aster_l1t_gmi_meta import DN_COLUMNS
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.tables import REFERENCE_BANDS

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
"""The 26 columns in the published order, as the CSV files spell them."""
INTEGERS = frozenset((*BOX, "tile_index_x", "tile_index_y"))
"""Columns of whole numbers (BIGINT in a published table); all others are text."""
EXTRAS = ("aod", "dem")
"""Not part of the layout, read when present: aerosol in MCD19A2 integers (120 = 0.12), metres."""
MODIS_IN_TABLES = tuple(
    f"modis_{'vnir' if i < 4 else 'swir'}_swath_imagedata{i + 1}" for i in range(len(MODIS_COLUMNS))
)
"""How Script 2 and the SQL call what Script 1 calls `MODIS_COLUMNS`."""
ALIASES = {
    **dict(zip(MODIS_IN_TABLES, MODIS_COLUMNS, strict=True)),
    # The SQL of Script3 spells the fourth band, and the word atmospheric, differently again.
    "atmospheric_correction_paras": PARAS,
    "vnir_swath_imagedata3n": DN_COLUMNS[2],
}
"""Other spellings, lower case."""
TABLE_COLUMNS = tuple(
    dict(zip(MODIS_COLUMNS, MODIS_IN_TABLES, strict=True)).get(name, name).lower()
    for name in COLUMNS
)
"""The same columns as Script 2 creates the table; the service keeps names in lower case."""


def is_gmi(first: Sequence[str]) -> bool:
    """Whether the first record of a CSV file is of this layout: its header, or a row without one.

    >>> is_gmi(COLUMNS), is_gmi(["grid", "tile_x", "granule_id"])
    (True, False)
    """
    names = layout_names(first)
    if "granule_id" in names:
        return "tile_info" in names
    return len(first) == len(COLUMNS) and first[7].startswith("res-")


def layout_names(found: Sequence[str]) -> list[str]:
    """Column names in the spelling of `COLUMNS`; unknown ones in lower case.

    >>> layout_names(["GRANULE_ID", "modis_swir_swath_imagedata7", "VNIR_Swath:ImageData1"])
    ['granule_id', 'modis_bands_6', 'VNIR_Swath_ImageData1']
    """
    known = {name.lower(): name for name in COLUMNS} | ALIASES
    plain = (name.strip().lower().replace(":", "_") for name in found)
    return [known.get(name, name) for name in plain]


def check_names(names: Sequence[str], *, where: str) -> None:
    """Refuse columns that are not those of the layout.

    Raises
    ------
    InputError
        Columns are missing, unknown, or there twice.
    """
    missing = [n for n in COLUMNS if n not in names and n not in MODIS_COLUMNS]
    missing += [n for n in MODIS_COLUMNS if n not in names and set(MODIS_COLUMNS) & set(names)]
    strange = [n for n in names if n not in COLUMNS + EXTRAS or list(names).count(n) > 1]
    if missing or strange:
        raise InputError(
            f"{where} is not the published 26-column layout: missing "
            f"{', '.join(missing) or 'nothing'}; "
            f"unknown or twice {', '.join(strange) or 'nothing'}."
        )


def tile_info(frame: Grid) -> str:
    """How the published layout names a grid.

    >>> from geoquarry.schemas.grid import grid
    >>> tile_info(grid("webmercator-30m-1024"))
    'res-30_tilesize-1024'
    """
    return f"res-{frame.resolution_m:g}_tilesize-{frame.tile_size}"
