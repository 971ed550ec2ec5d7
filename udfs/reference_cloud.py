"""The public reference's two cloud masks and its edge erosion, as named algorithms.

They are kept for comparison and reproduce the reference's numbers; ours are in
`geoquarry.udfs.masks`. Both cloud masks always find clouds (one to two fifths of a clear scene),
because their thresholds are relative to the scene. Arrays follow the reference's conventions:
float64 reflectance, shape (band, y, x), ASTER order (green, red, NIR, SWIR 1.65, 2.165, 2.205,
...), **0 = not observed in that band**.

Source: github.com/datahub-zjlab/AsterL1T_SWIR-VNIR_pipeline, aster_core/cloud.py and preprocess.py
at commit 04373b3, read as a description. `cloud_get` follows the spectral indices of Zhai, Zhang,
Zhang & Li 2018, ISPRS J. Photogramm. 144, 235; `cloud_cal` uses Otsu's threshold (1979, IEEE
Trans. SMC 9, 62) as scikit-image computes it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]


def cloud_cal(reflectance: Floats, *, lower_percent: float = 99.0) -> Mask:
    """The reference's ``cal_cloud_mask``: pixels that look like the brightest ones.

    The mean spectrum of the brightest percent (by b1 + b2 + b3) is compared with every pixel by
    the **signed** sum of differences over the first four bands, so a bright pixel can hide behind
    an opposite difference. Otsu's threshold splits the positive distances; cloud is below it and
    brighter in b1 than max(0.15, Otsu of b1). Done twice, the second time from the cloud's own
    spectrum.

    Parameters
    ----------
    reflectance : float, shape (band, y, x)
        Surface reflectance, at least four bands, 0 = not observed.
    lower_percent : float
        Percentile from which a pixel counts among the brightest.

    Returns
    -------
    cloud : bool, shape (y, x)

    Examples
    --------
    >>> image = np.full((4, 1, 6), 0.2) * [1, 1.01, 1.02, 1.03, 3, 3.1]
    >>> cloud_cal(image).astype(int)
    array([[0, 0, 0, 0, 1, 1]])
    """
    image = np.asarray(reflectance, np.float64)
    brightness = image[:3].sum(axis=0)
    floor = max(otsu(image[0][image[0] > 0]), 0.15)

    def resembles(sample: Mask, lower: float) -> Mask:
        low, high = np.percentile(brightness[sample], [lower, 100])
        spectrum = image[:4, (brightness >= low) & (brightness <= high)].mean(axis=1)
        distance = (spectrum[:, None, None] - image[:4]).sum(axis=0)
        cloud: Mask = (distance < otsu(distance[distance > 0])) & (image[0] > floor)
        return cloud

    cloud = resembles(image[0] != 0, lower_percent)
    return resembles(cloud, 0.0) if cloud.any() else cloud


def otsu(values: NDArray[np.float64], bins: int = 256) -> float:
    """Otsu's threshold: the bin centre that best separates two classes.

    Parameters
    ----------
    values : float64, shape (n,)
        At least one value.
    bins : int
        Bins of the histogram between the smallest and the largest value.

    Returns
    -------
    threshold : float

    Examples
    --------
    >>> otsu(np.array([0.0, 0.0, 1.0, 1.0]), bins=2)
    0.25
    """
    if values.min() == values.max():
        return float(values.min())
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2.0
    return float(centres[np.argmax(between)])


def cloud_get(
    reflectance: Floats,
    *,
    flatness: float = 1.0,
    bright: float = 1 / 3,
    dark: float = 1 / 2,
    dark_green: float = 3 / 4,
    reach_px: int = 30,
) -> NDArray[np.uint8]:
    """The reference's ``get_cloud_mask``: cloud and shadow by spectral indices.

    Cloud: (NIR + SWIR1) / (green + red) within ``flatness`` of 1, and the mean of five bands above
    mean + ``bright`` (max - mean). Shadow: (NIR + SWIR1) / 2 below min + ``dark`` (mean - min),
    green below min + ``dark_green`` (mean - min), and a cloud pixel in the window of ``reach_px``
    around it. Each is smoothed by a 3 x 3 median and widened by a 5 x 5 square.

    Parameters
    ----------
    reflectance : float, shape (band, y, x)
        Surface reflectance, at least six bands in ASTER order, 0 = not observed.
    flatness, bright, dark, dark_green : float
        Entries 0 to 3 of the reference's ``threashold`` list.
    reach_px : int
        Entries 4 and 5: side of the window in which a shadow needs a cloud.

    Returns
    -------
    cloud_or_shadow : uint8, shape (y, x)
        1 = cloud or shadow.

    Examples
    --------
    >>> image = np.full((6, 9, 9), 0.1)
    >>> image[:, 3:6, 3:6] = 0.6
    >>> cloud_get(image, dark=0.0)[4]
    array([0, 1, 1, 1, 1, 1, 1, 1, 0], dtype=uint8)
    """
    green, red, nir, swir1, _, swir2 = np.asarray(reflectance, np.float64)[:6]
    slope = (nir + swir1) / (green + red + 1e-10)
    mean5 = (green + red + nir + swir1 + swir2) / 5
    infrared = (nir + swir1) / 2

    def above_least(values: NDArray[np.float64], share: float) -> float:
        seen = values[values > 0]
        return float(seen.min() + (seen.mean() - seen.min()) * share)

    seen = mean5[mean5 > 0]
    limit = seen.mean() + (seen.max() - seen.mean()) * bright
    cloud = widen((np.abs(slope - 1) < flatness) & (mean5 > limit) & (green != 0))
    shade = (infrared < above_least(infrared, dark)) & (green < above_least(green, dark_green))
    # An even window: 15 pixels before, 14 after.
    near = ndimage.maximum_filter(cloud, size=reach_px, mode="constant", cval=False)
    shadow = widen(shade & near & (green != 0))
    return (cloud | shadow).astype(np.uint8)


def widen(mask: Mask) -> Mask:
    """A 3 x 3 median with repeated borders, then a 5 x 5 square."""
    most = ndimage.uniform_filter(9 * mask.astype(np.uint8), 3, mode="nearest") >= 5
    wide: Mask = ndimage.maximum_filter(most, size=5, mode="constant", cval=False)
    return wide


def reference_boundary(
    radiance: NDArray[Any], *, close_px: int = 6, erosion_px: int = 16
) -> NDArray[Any]:
    """The reference's ``set_boundary_inner_pixels_to_nodata``: holes closed, edge eroded.

    The mask "all bands nonzero" is closed by a square of ``close_px`` and eroded by one of
    ``erosion_px``; outside it all bands become 0. Outside the array counts as observed, so tile
    borders are not eroded. Both squares are even: closing moves the mask by one row and column,
    erosion takes 8 pixels before and 7 after. A hole smaller than the closing stays 0 in its own
    band only, while the other bands keep their data there.

    Parameters
    ----------
    radiance : any dtype, shape (band, y, x)
        0 = not observed.
    close_px, erosion_px : int
        Sides of the squares.

    Returns
    -------
    radiance : as given
        A copy with the edge set to 0.

    Examples
    --------
    >>> image = np.ones((1, 1, 40))
    >>> image[..., :10] = 0
    >>> int(np.argmax(reference_boundary(image)[0, 0] > 0))
    19
    """
    valid = erode(close((radiance != 0).all(axis=0), close_px), erosion_px)
    return np.where(valid, radiance, np.zeros((), radiance.dtype))


def close(mask: Mask, side_px: int) -> Mask:
    """Dilate, then erode, by the same square; outside never matters."""
    wide: Mask = ndimage.maximum_filter(mask, size=side_px, mode="constant", cval=False)
    return erode(wide, side_px)


def erode(mask: Mask, side_px: int) -> Mask:
    """Keep a pixel when all of its square is set; side/2 pixels before it, the rest after."""
    kept: Mask = ndimage.minimum_filter(mask, size=side_px, mode="constant", cval=True)
    return kept
