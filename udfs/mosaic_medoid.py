"""The `medoid` mosaic: of all observations, the one most like their median."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.mosaic_base import Mosaic
from geoquarry.udfs.mosaic_views import Views, smallest
from geoquarry.udfs.ranking import lower_median_of


class MedoidMosaic(Mosaic):
    """The observation of the best tier whose spectrum is nearest to the median, band by band.

    Nearest in the sum of squared differences over all bands that are reliable; equal ones go to
    the smaller granule id. With an even number of observations the smaller of the middle two
    stands for the median: the mean of two is as far from one as from the other, so rounding would
    choose, pixel by pixel; and what a mask misses is mostly cloud, i.e. bright. All values of a
    pixel were measured together: no ratio of bands is invented.
    """

    has_source = True

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        far = [np.zeros(view.used.shape, np.float32) for view in views.all]
        for band in range(self.band_count if views.all else 0):
            middle = lower_median_of(views.planes(band))
            doubtful = band in self.optional and not views.reliable.all()
            for view, distance in zip(views.all, far, strict=True):
                step = view.values[band] - middle[view.window]
                step *= step
                if doubtful:
                    step[~views.reliable[view.window]] = 0
                distance += step
        views.choose(smallest(views, far)[0][0])
        return views.gather(self.band_count), views.flags()
