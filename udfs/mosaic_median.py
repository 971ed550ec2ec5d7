"""The `median` mosaic: the middle of the observations, band by band."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.mosaic_base import Mosaic
from geoquarry.udfs.mosaic_views import Views
from geoquarry.udfs.ranking import median_of


class MedianMosaic(Mosaic):
    """Median of the observations of the best tier, band by band.

    With an even number of observations, the mean of the middle two.
    """

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        out = np.full((self.band_count, *self.shape), np.nan, np.float32)
        even = (views.count % 2 == 0) & (views.count > 0)
        for band in range(self.band_count if views.all else 0):
            out[band] = median_of(views.planes(band), even)
        return out, views.flags()
