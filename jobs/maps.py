"""Result tiles as plain arrays of physical values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.local import Engine
from geoquarry.schemas import blob
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.tables import output_bands


def physical(engine: Engine, table: str, tile: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Bands of one result tile as physical values, NaN where there is none.

    Returns
    -------
    bands : dict of str -> float32, shape (y, x)
        Also ``flags`` (uint16) as stored.

    Raises
    ------
    TableError
        No row of that tile, or one without a map (empty or failed).
    """
    rows = engine.read(table, tiles=[tile]).read_all().to_pylist()
    if not rows or rows[0]["flags"] is None:
        raise TableError(f"Table {table!r} has no map of tile {tile[0]},{tile[1]}.")
    row = rows[0]
    bands: dict[str, NDArray[Any]] = {"flags": blob.decode(row["flags"])}
    for band in output_bands(engine.schema(table)):
        stored = blob.decode(row[band.name])
        value = stored.astype(np.float32) * np.float32(band.scale) + np.float32(band.offset)
        bands[band.name] = np.where(stored == band.nodata, np.float32(np.nan), value)
    return bands
