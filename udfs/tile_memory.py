"""How much memory one tile needs, for plans that refuse what cannot fit."""

from collections.abc import Mapping
from typing import Any

from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.blocks import BLOCK_PIXELS
from geoquarry.udfs.first_phase import wants_nodes, wants_pairs
from geoquarry.udfs.merge import BLOCK_BYTES
from geoquarry.udfs.overviews import BLOCK_PIXELS as COMPARED_PIXELS
from geoquarry.udfs.tile_method import HELD_BYTES

COMPARED_BYTES = 23
"""Of one band of a pixel that is compared: counts with their limits, whether good, and squares."""


def memory_bytes(
    method: str, params: Mapping[str, Any], sensor_name: str, shape: tuple[int, int], granules: int
) -> int:
    """About how much memory one tile needs at its peak, for plans that refuse what cannot fit.

    Counts that wait (1 byte per band), the elevation, one block of all granules, overviews where
    the tile compares its granules itself, the reflectance and its copy while it is balanced, and
    the rasters that go out; within 20 % above what `benchmarks/chain.py` sees. A first phase
    that has more granules to compare than that has room for decides instead.

    Examples
    --------
    >>> from geoquarry.udfs.methods import normalise
    >>> request = normalise("mineral_indices", {}, "aster_l1t")
    >>> memory_bytes(*request, "aster_l1t", (1024, 1024), 5) // 2**20
    189
    """
    pixels, bands = shape[0] * shape[1], len(sensor(sensor_name).bands)
    held = min(granules * (bands + 2) * pixels, HELD_BYTES)
    block = min(granules * min(BLOCK_PIXELS, pixels) * 4 * bands, BLOCK_BYTES)
    compared = wants_pairs(params) or wants_nodes(params)
    overviews = granules * pixels // 16 * 2 * bands if compared else 0
    alone = params["scope"] == "tile"
    each = 4 if params["dtype"] == "float32" else 2
    names = params["indices"] if method == "mineral_indices" else sensor(sensor_name).names
    ground = 2 * pixels if params["atmosphere"] == "per_pixel" else 0
    second = held + block + ground + pixels * (8 * bands + each * len(names) + 12)
    at_once = min(COMPARED_PIXELS, granules * pixels // 16)
    first = overviews + ground + at_once * bands * COMPARED_BYTES
    return second + overviews if alone else max(first, second)
