"""Cloud shadows: where a cloud, moved along the sun's direction, covers the most darkness.

After Zhu & Woodcock 2012, Remote Sens. Environ. 118, 83 (object matching over cloud heights);
without a thermal band the height is found by the match alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.udfs.morphology import Mask, dilate

Reflectance = Mapping[str, NDArray[np.float32]]

HEIGHTS_M = (300.0, 12_000.0)
"""Where clouds are looked for above the ground."""

NEARLY = 0.75
"""Share of a body's best match that the height of all clouds together must reach to replace it."""


def find_dark(rho: Reflectance, clear: Mask, *, pixel_m: float) -> Mask:
    """Ground below 0.65 of the mean of the clear pixels within some 5 km, in NIR and SWIR.

    Means are sums of integers (1e-4 reflectance), so they are the same on every machine.
    """
    # Lakes stay in: a deep shadow has the colours of a lake (the air's light over black), and
    # whether a cloud explains the darkness is for the match to say.
    dark = clear.copy()
    step = max(1, round(2000.0 / pixel_m))
    starts = [np.arange(0, size, step) for size in clear.shape]
    cell = [np.arange(size) // step for size in clear.shape]
    for role in ("nir", "swir16"):
        if role not in rho:
            continue
        known = clear & (rho[role] > -1)  # NaN is not
        counts = (np.where(known, rho[role], 0) * np.float32(1e4)).astype(np.int32)
        sums = []
        for layer in (counts, known):
            rows = np.add.reduceat(layer, starts[0], axis=0, dtype=np.int64)
            block = np.add.reduceat(rows, starts[1], axis=1, dtype=np.int64)
            around = np.pad(block, 2)
            sums.append(
                sum(
                    around[i : i + block.shape[0], j : j + block.shape[1]]
                    for i in range(5)
                    for j in range(5)
                )
            )
        total, number = sums
        limit = (0.65e-4 * total / np.maximum(number, 1)).astype(np.float32)
        for rows_of, row in ((cell[0] == k, k) for k in range(limit.shape[0])):
            dark[rows_of] &= rho[role][rows_of] < limit[row][cell[1]]
    return dark


def shadow_shift(sun_zenith_deg: float, sun_azimuth_deg: float) -> tuple[float, float]:
    """How far a shadow falls per metre of cloud height, down and to the right in the image.

    >>> [round(x, 3) for x in shadow_shift(45, 90)]  # sun in the east, shadow to the west
    [0.0, -1.0]
    """
    length = np.tan(np.radians(min(sun_zenith_deg, 85.0)))
    azimuth = np.radians(sun_azimuth_deg)
    return float(length * np.cos(azimuth)), float(-length * np.sin(azimuth))


def find_shadows(
    cloud: Mask,
    dark: Mask,
    observed: Mask,
    *,
    pixel_m: float,
    shift_m_per_m: tuple[float, float],
) -> Mask:
    """Shadows: each cloud is moved along the sun's direction to where it covers most darkness.

    All heights of `HEIGHTS_M` are tried; the best has the largest number of dark minus clear
    pixels under the moved cloud (the part that falls on cloud or out of the granule does not
    count). Only dark pixels at that place become shadow, so a lake elsewhere stays a lake.

    Parameters
    ----------
    cloud, dark, observed : bool, shape (y, x)
        Cloud bodies without buffer, dark clear pixels, and pixels with data.
    pixel_m : float
        Pixel size [m].
    shift_m_per_m : (float, float)
        From `shadow_shift`.

    Returns
    -------
    shadow : bool, shape (y, x)
    """
    shadow = np.zeros(cloud.shape, bool)
    body, count = ndimage.label(cloud, np.ones((3, 3), int))
    row, col = np.nonzero(cloud)
    if row.size == 0 or not dark.any():
        return shadow
    body = body[row, col]
    # State of the ground under a moved cloud: 0 = cannot say, 1 = clear, 2 = dark.
    ground = (observed & ~cloud).astype(np.uint8)
    ground[dark] = 2
    size = np.bincount(body, minlength=count + 1)
    stride = 1 + row.size // 150_000
    some = ((row + col) % stride == 0) | (size[body] < 500)
    down, right = (shift / pixel_m for shift in shift_m_per_m)
    reach = np.hypot(down, right) * (HEIGHTS_M[1] - HEIGHTS_M[0])
    heights = np.linspace(*HEIGHTS_M, int(np.clip(reach / 2, 1, 400)) + 1)

    tried = (row[some], col[some], body[some])
    least = np.minimum(np.bincount(tried[2], minlength=count + 1), 200) // 10

    def fit(height: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Dark and clear pixels under each body when it is moved."""
        r, c, there = move(tried[0], tried[1], height * down, height * right, cloud.shape)
        tally = np.bincount(
            tried[2][there] * 3 + ground[r[there], c[there]], minlength=3 * (count + 1)
        ).reshape(-1, 3)
        return tally[:, 2], tally[:, 1]

    best, score, purity = np.zeros(count + 1), least.copy(), np.zeros(count + 1)
    together = np.zeros(len(heights), np.int64)
    for place, height in enumerate(heights):
        under, beside = fit(height)
        gain = under - beside
        together[place] = np.maximum(gain, 0).sum()
        better = (gain > score) & (under >= 2 * beside)
        score[better], best[better] = gain[better], height
        purity[better] = (under / np.maximum(under + beside, 1))[better]
    # Clouds of one air mass share their height. A body whose own shadow is half hidden below it
    # covers more darkness far away; but there it covers clear ground, too.
    middle = int(together.argmax())
    for height in heights[max(middle - 1, 0) : middle + 2]:
        under, beside = fit(height)
        gain, share = under - beside, under / np.maximum(under + beside, 1)
        apart = np.abs(best - height) > 1.5 * (heights[1] - heights[0])
        shared = (best == 0) & (gain > least // 2) & (under >= 2 * beside)
        shared |= apart & (gain > least) & ((share > purity) | (gain > NEARLY * score))
        best[shared], score[shared], purity[shared] = height, gain[shared], share[shared]
    height_of = best[body]
    r, c, there = move(row, col, height_of * down, height_of * right, cloud.shape)
    there &= height_of > 0
    shadow[r[there], c[there]] = True
    # Heights come in steps of two pixels and sides of clouds cast shadows, too: look 3 around.
    found: Mask = dilate(shadow, 3.0) & dark
    return found


def move(
    row: NDArray[np.intp], col: NDArray[np.intp], down: Any, right: Any, shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Mask]:
    """Shift pixels by a fractional distance: new row, new column, still inside."""
    r = row + np.floor(np.asarray(down) + 0.5).astype(np.intp)
    c = col + np.floor(np.asarray(right) + 0.5).astype(np.intp)
    return r, c, (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
