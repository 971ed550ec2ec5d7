"""The `best` mosaic: the observation of the granule with the most merit there."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.mosaic_base import Mosaic
from geoquarry.udfs.mosaic_views import Views, smallest


class BestMosaic(Mosaic):
    """The observation of the best tier with the highest merit; see `merit`.

    Equal merit goes to the smaller granule id. Where merit is the same over a region, so is the
    granule, but for pixels that it does not see clearly.
    """

    has_source = True

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        keys = []
        for view in views.all:
            if view.merit is None:
                name = self.granule_ids[view.granule]
                raise InputError(f"Granule {name}: the mosaic 'best' needs its merit, none given.")
            keys.append(-view.merit)
        views.choose(smallest(views, keys)[0][0])
        return views.gather(self.band_count), views.flags()
