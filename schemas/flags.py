"""Bits of the `flags` rasters (uint16), in tiles and in results.

Per-granule bits are set at ingest; the others only make sense for a result.
"""

CLOUD = 1 << 0
SHADOW = 1 << 1
SNOW = 1 << 2
WATER = 1 << 3
VEGETATION = 1 << 4
SATURATED = 1 << 5
SWIR_UNRELIABLE = 1 << 6
FEW_OBSERVATIONS = 1 << 7
ATMOSPHERE_CLAMPED = 1 << 8
NEGATIVE_REFLECTANCE = 1 << 9
INDEX_OUT_OF_RANGE = 1 << 10
FILLED = 1 << 11
NOT_BALANCED = 1 << 12
NOT_OBSERVED = 1 << 15
"""In tiles: the pixel must not be used (outside the footprint, eroded edge, a band missing)."""

NAMES: dict[int, str] = {
    CLOUD: "cloud",
    SHADOW: "shadow",
    SNOW: "snow",
    WATER: "water",
    VEGETATION: "vegetation",
    SATURATED: "saturated",
    SWIR_UNRELIABLE: "swir_unreliable",
    FEW_OBSERVATIONS: "few_observations",
    ATMOSPHERE_CLAMPED: "atmosphere_clamped",
    NEGATIVE_REFLECTANCE: "negative_reflectance",
    INDEX_OUT_OF_RANGE: "index_out_of_range",
    FILLED: "filled",
    NOT_BALANCED: "not_balanced",
    NOT_OBSERVED: "not_observed",
}
"""Bit -> name, as written into GeoTIFF tags and reports."""


def bit(name: str) -> int:
    """The bit of a flag's name.

    >>> bit("cloud"), bit("snow")
    (1, 4)
    """
    for value, known in NAMES.items():
        if known == name:
            return value
    raise KeyError(f"No flag {name!r}. Choose one of: {', '.join(NAMES.values())}.")
