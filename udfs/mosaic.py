"""The mosaics by name: how many observations of one place become one."""

from geoquarry.udfs.mosaic_base import Mosaic, MosaicResult
from geoquarry.udfs.mosaic_best import BestMosaic
from geoquarry.udfs.mosaic_darkest import DeshadowMosaic, MinMosaic
from geoquarry.udfs.mosaic_mean import MeanMosaic
from geoquarry.udfs.mosaic_median import MedianMosaic
from geoquarry.udfs.mosaic_medoid import MedoidMosaic
from geoquarry.udfs.mosaic_tiers import TIERS

__all__ = ["MOSAICS", "TIERS", "Mosaic", "MosaicResult"]

MOSAICS: dict[str, type[Mosaic]] = {
    "median": MedianMosaic,
    "medoid": MedoidMosaic,
    "best": BestMosaic,
    "mean": MeanMosaic,
    "min": MinMosaic,
    "deshadow": DeshadowMosaic,
}
"""Name -> class. A new mosaic is one line here and one class beside it."""
