"""What a finished tile says about itself: flags of the ground, and figures for provenance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.mosaic import TIERS, MosaicResult

VEGETATION_NDVI = np.float32(0.3)
"""Above it the ground is largely covered (catalogue of indices: ndvi)."""


def add_ground_flags(
    reflectance: NDArray[np.float32], flags: NDArray[np.uint16], facts: Sensor
) -> None:
    """NEGATIVE_REFLECTANCE and VEGETATION, from the final reflectance, in place."""
    red, nir = facts.role("red"), facts.role("nir")
    for rows in row_blocks(*flags.shape):
        part = reflectance[:, rows]
        negative = part[0] < 0
        for band in range(1, len(part)):
            negative |= part[band] < 0
        flags[rows] |= np.where(negative, np.uint16(f.NEGATIVE_REFLECTANCE), np.uint16(0))
        if red is not None and nir is not None:
            total = part[nir] + part[red]
            green = (part[nir] - part[red] > VEGETATION_NDVI * total) & (total > 0)
            flags[rows] |= np.where(green, np.uint16(f.VEGETATION), np.uint16(0))


def quality_figures(merged: MosaicResult) -> dict[str, Any]:
    """JSON-safe figures: pixels per tier, what is left of clouds, and each granule's share."""
    pixels = np.bincount(merged.tier.ravel(), minlength=256)
    observed = int(pixels[: len(TIERS)].sum())
    figures: dict[str, Any] = {
        "pixels": {name: int(pixels[i]) for i, name in enumerate(TIERS) if pixels[i]},
        "observed_fraction": round(observed / merged.tier.size, 6),
    }
    if observed:
        cloudy = sum(int(pixels[i]) for i, name in enumerate(TIERS) if name.startswith("cloud"))
        figures["cloud_fraction_left"] = round(cloudy / observed, 6)
        figures["granule_share"] = {
            name: round(merged.shares[name] / observed, 6) for name in sorted(merged.shares)
        }
    return figures


def plain_nan(raster: NDArray[Any]) -> NDArray[Any]:
    """NaN has many bit patterns; stored rasters have one."""
    if raster.dtype.kind == "f":
        for rows in row_blocks(*raster.shape):
            raster[rows][np.isnan(raster[rows])] = np.nan
    return raster
