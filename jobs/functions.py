"""Scalar tile functions that SQL may call on BINARY columns: `tile_stats`, `tile_value`."""

from typing import Any

import pyarrow as pa

from geoquarry.engine.sql import ScalarFunction
from geoquarry.udfs.stats import tile_stats, tile_value

STATS = pa.struct(
    [
        ("count", pa.int64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("mean", pa.float64()),
        ("std", pa.float64()),
    ]
)


def scalar_functions() -> dict[str, Any]:
    """Name -> function, as every engine registers them.

    >>> sorted(scalar_functions())
    ['tile_stats', 'tile_value']
    """
    return {
        "tile_stats": ScalarFunction(tile_stats, takes=(pa.binary(),), gives=STATS),
        "tile_value": ScalarFunction(
            tile_value, takes=(pa.binary(), pa.int64(), pa.int64()), gives=pa.float64()
        ),
    }
