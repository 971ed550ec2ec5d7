"""Mosaics that look for the darkest observation: `min` and `deshadow`."""

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.mosaic_base import Mosaic
from geoquarry.udfs.mosaic_tiers import QUALITY
from geoquarry.udfs.mosaic_views import Views, blend, smallest


class MinMosaic(Mosaic):
    """All bands from the granule with the smallest ``first + weight x second`` key band.

    With weight 0.001 these are the numbers of the reference's merge_min where every granule sees
    the pixel; equal keys go to the smaller granule id.
    """

    has_source = True
    weight = np.float32(0.001)

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        first, second = self.key_bands
        keys = [view.values[first] + self.weight * view.values[second] for view in views.all]
        views.choose(smallest(views, keys)[0][0])
        return views.gather(self.band_count), views.flags()


class DeshadowMosaic(Mosaic):
    """Between the darkest and the second darkest observation, by the first key band.

    ``w x darkest + (1 - w) x second`` with w = 1 where the second's key is at least 0.2, else
    1 - key / 0.2, kept within 0 to 1: the numbers of the reference's merge_deshadow. A pixel seen
    once keeps its only observation, where the reference fails.
    """

    bright = np.float32(0.2)

    def _merge(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        keys = [view.values[self.key_bands[0]] for view in views.all]
        (darkest, _), (second, key) = smallest(views, keys, places=2)
        views.choose(second)
        other, flags = views.gather(self.band_count), views.flags() & QUALITY
        views.choose(darkest)
        # Quality bits of either; what the ground is, the darkest says.
        out, flags = views.gather(self.band_count), views.flags() | flags
        weight = np.clip(np.float32(1) - key / self.bright, 0, 1)
        weight = np.where(key >= self.bright, np.float32(1), weight)
        two = second >= 0
        for band in range(self.band_count):
            mixed = weight * out[band]
            mixed += (np.float32(1) - weight) * other[band]
            blend(out[band], mixed, two)
        mixes = two & (weight < 1)
        for number, view in enumerate(views.all):
            view.used |= mixes[view.window] & (second[view.window] == number)
        return out, flags
