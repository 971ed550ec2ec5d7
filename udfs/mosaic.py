"""The mosaics by name: how many observations of one place become one."""

from geoquarry.udfs.mosaic_base import TIERS, Mosaic, MosaicResult
from geoquarry.udfs.mosaic_darkest import DeshadowMosaic, MinMosaic
from geoquarry.udfs.mosaic_mean import MeanMosaic
from geoquarry.udfs.mosaic_median import MedianMosaic

__all__ = ["MOSAICS", "TIERS", "Mosaic", "MosaicResult"]

MOSAICS: dict[str, type[Mosaic]] = {
    "median": MedianMosaic,
    "mean": MeanMosaic,
    "min": MinMosaic,
    "deshadow": DeshadowMosaic,
}
"""Name -> class. A new mosaic is one line here and one class beside it."""
