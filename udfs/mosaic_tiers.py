"""Tiers of quality of an observation, from its flags, and the flags of what was made of them."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f

TIERS = (
    "clear",
    "saturated",
    "unreliable",
    "shadow",
    "shadow_unreliable",
    "cloud",
    "cloud_unreliable",
)
"""Best first. Saturated values are lower bounds of clear ground; "unreliable" has no values in the
bands that SWIR_UNRELIABLE speaks of, but true ones in the others; a shadow still shows the ground,
a cloud does not. Reliable and unreliable observations never share a tier, so every band of a pixel
has the same observations."""
NO_TIER = 255
SHADOW_TIER = TIERS.index("shadow")
UNRELIABLE_TIERS = tuple(i for i, name in enumerate(TIERS) if "unreliable" in name)
SURFACE_BITS = (f.SNOW, f.WATER)
"""Bits that say what the ground is; decided by majority, all others by "any"."""
QUALITY = np.uint16(~sum(SURFACE_BITS) & 0xFFFF)


def _tier_table() -> NDArray[np.uint8]:
    bits = np.arange(1 << 16, dtype=np.uint32)
    bad = (bits & f.SWIR_UNRELIABLE) != 0
    tier = np.where(bad, 2, np.where((bits & f.SATURATED) != 0, 1, 0))
    tier = np.where((bits & f.SHADOW) != 0, 3 + bad, tier)
    tier = np.where((bits & f.CLOUD) != 0, 5 + bad, tier)
    return np.where((bits & f.NOT_OBSERVED) != 0, NO_TIER, tier).astype(np.uint8)


TIER_OF_FLAGS = _tier_table()
"""Tier by flags value, uint8, shape (65536,)."""


def finish_flags(
    flags: NDArray[np.uint16], count: NDArray[np.uint16], tier: NDArray[np.uint8]
) -> NDArray[np.uint16]:
    """Add the bits every mosaic sets in the same way: FILLED, FEW_OBSERVATIONS, NOT_OBSERVED.

    Parameters
    ----------
    flags : uint16, shape (y, x)
        Of the observations that were used.
    count : uint16, shape (y, x)
        Observations of the best tier.
    tier : uint8, shape (y, x)
        Index into `TIERS`, or NO_TIER.

    Returns
    -------
    flags : uint16, shape (y, x)

    Examples
    --------
    >>> finish_flags(np.zeros(3, np.uint16), np.array([2, 1, 0], np.uint16),
    ...              np.array([0, 5, 255], np.uint8)).tolist()
    [0, 2176, 32768]
    """
    observed = tier != NO_TIER
    out = flags & np.uint16(~f.NOT_OBSERVED & 0xFFFF)
    out |= np.where(observed & (tier >= SHADOW_TIER), np.uint16(f.FILLED), np.uint16(0))
    out |= np.where(observed & (count < 2), np.uint16(f.FEW_OBSERVATIONS), np.uint16(0))
    return np.where(observed, out, np.uint16(f.NOT_OBSERVED)).astype(np.uint16)


def clamp_count(count: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Counts as stored: uint8, 255 = that many or more.

    >>> clamp_count(np.array([3, 300], np.uint16)).tolist()
    [3, 255]
    """
    return np.minimum(count, 255).astype(np.uint8)
