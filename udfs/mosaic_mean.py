"""The `mean` mosaic: in integers, so that order cannot matter."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.mosaic_base import Mosaic
from geoquarry.udfs.mosaic_views import Views

FIXED_POINT = 2.0**24
"""Counts per unit reflectance in the sums: each value is off by at most 3e-8."""


class MeanMosaic(Mosaic):
    """Mean of the observations of the best tier.

    Sums are integers (reflectance x 2^24); against exact arithmetic the mean is off by at most
    3e-8 plus its rounding to float32.
    """

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        with np.errstate(divide="ignore"):
            share = 1 / (views.count * FIXED_POINT)
        used = [-view.used.astype(np.int32) for view in views.all]
        sure = [-(view.used & views.reliable[view.window]).astype(np.int32) for view in views.all]
        out = np.empty((self.band_count, *self.shape), np.float32)
        for band in range(self.band_count):
            total = np.zeros(self.shape, np.int64)
            for view, bits in zip(views.all, sure if band in self.optional else used, strict=True):
                value = (view.values[band].view(np.int32) & bits).view(np.float32)  # NaN to 0
                value *= np.float32(FIXED_POINT)
                total[view.window] += np.rint(value, out=value).astype(np.int64)
            out[band] = total * share
        return out, views.flags()
