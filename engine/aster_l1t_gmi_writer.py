"""Write rows of a `tiles` table in the published 26-column GMI layout."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t_gmi import MODIS_SIZE
from geoquarry.engine.aster_l1t_gmi_columns import COLUMNS, MODIS_COLUMNS, tile_info
from geoquarry.engine.aster_l1t_gmi_meta import BANDS, attributes
from geoquarry.engine.exchange import Row
from geoquarry.schemas import blob
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.tables import NODATA_INT16


def bounding_box(valid: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Smallest box around all True pixels, as (min_row, min_col, max_row, max_col), ends included.

    Parameters
    ----------
    valid : bool, shape (y, x)

    Returns
    -------
    box : tuple of int, or None when nothing is True
        The published pipeline then writes (0, 0, rows, cols), whose ends are one too large.

    Examples
    --------
    >>> bounding_box(np.array([[False, False], [False, True]]))
    (1, 1, 1, 1)
    """
    rows, cols = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if rows.size == 0:
        return None
    return int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])


def write_gmi(rows: Iterable[Row]) -> Iterator[list[str]]:
    """Rows of a `tiles` table as records of the published layout, its header first.

    Raises
    ------
    InputError
        A row without coefficients, or whose bands are not uint8 DN: the layout cannot hold it.
    """
    yield list(COLUMNS)
    for row in rows:
        where = f"tile {row['tile_x']},{row['tile_y']} of {row['granule_id']}"
        coefficients = [row[name] for name in ("xa", "xb", "xc")]
        if any(values is None for values in coefficients):
            raise InputError(f"{where}: no coefficients xa, xb, xc, which the layout needs.")
        dn = np.stack([blob.decode(row[band.name]) for band in BANDS])
        if dn.dtype != np.uint8:
            raise InputError(f"{where}: bands of {dn.dtype}; the layout holds uint8 DN.")
        box = bounding_box((dn != 0).all(axis=0)) or (0, 0, dn.shape[1] - 1, dn.shape[2] - 1)
        crop = dn[:, box[0] : box[2] + 1, box[1] : box[3] + 1]
        place = [n + (row["row0"], row["col0"])[i % 2] for i, n in enumerate(box)]
        paras = {
            band.aliases[1].removesuffix("N"): dict(zip("abc", values, strict=True))
            for band, *values in zip(BANDS, *coefficients, strict=True)
        }
        yield [
            row["granule_id"],
            *map(str, (*place, row["tile_x"], row["tile_y"])),
            tile_info(grid(row["grid"])),
            json.dumps(attributes(row)),
            json.dumps(paras),
            *(band.tobytes().hex() for band in crop),
            *(_reference_hex(row[f"ref_{i}"]) for i in range(1, len(MODIS_COLUMNS) + 1)),
        ]


def _reference_hex(value: Any) -> str:
    if value is None:
        return ""
    layer = blob.decode(value)
    rows, cols = (np.arange(MODIS_SIZE) * size // MODIS_SIZE for size in layer.shape)
    layer = layer[rows[:, None], cols]  # the layout has one size, whatever the tile's
    return np.where(layer == NODATA_INT16, 0, layer).astype("<i2").tobytes().hex()
