"""The four source pixels around each wanted place, and how to mix them.

A neighbour contributes when its weight along each axis is at least 1e-6 (0.03 mm at 30 m): less
is the noise of a map projection, and must not let a nodata pixel eat a good one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError
from geoquarry.udfs.blocks import row_blocks

LEAST_WEIGHT = 1e-6
"""A neighbour with less weight along an axis does not contribute."""


@dataclass(frozen=True)
class Neighbours:
    """The four source pixels around each place, and how to mix them.

    A neighbour without weight is replaced by its partner, so "any of the four" means "any
    contributing".
    """

    upper: NDArray[np.intp]
    lower: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    down: NDArray[np.float32]
    across: NDArray[np.float32]
    outside: NDArray[np.bool_]

    def corners(self, band: NDArray[Any]) -> list[NDArray[Any]]:
        """Values at upper left, upper right, lower left and lower right."""
        return [
            # Every index is already inside; "clip" only spares NumPy a second look.
            band.take(row + col, mode="clip")
            for row in (self.upper, self.lower)
            for col in (self.left, self.right)
        ]

    def blend(self, corners: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Bilinear mean as three steps a + (b - a) t, which leave a constant untouched."""
        a, b, c, d = (corner.astype(np.float32) for corner in corners)
        for near, far, step in ((a, b, self.across), (c, d, self.across), (a, c, self.down)):
            far -= near
            far *= step
            near += far
        return a


def neighbours(
    shape: tuple[int, ...], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> Iterator[tuple[slice, Neighbours]]:
    """Walk over blocks of rows, with the neighbours of every place in them.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the source.
    rows, cols : float64, shape (v, u)
        Fractional pixel centres of the source; NaN = nowhere.

    Yields
    ------
    block, neighbours
        A slice of rows and what `bilinear` needs to know about it.
    """
    height, width = shape
    if height == 0 or width == 0:
        raise InputError(
            f"A source of shape {shape} has no pixels. Crop to a window that has some."
        )
    for block in row_blocks(*rows.shape):
        upper, lower, down, high = along(rows[block], height)
        left, right, across, wide = along(cols[block], width)
        upper *= width
        lower *= width
        yield block, Neighbours(upper, lower, left, right, down, across, high | wide)


def along(
    places: NDArray[np.float64], size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]:
    """First and second neighbour, weight of the second, and "outside", along one axis."""
    floor = np.floor(places)
    weight = places - floor
    weight[weight < LEAST_WEIGHT] = 0
    # Nearly the next centre: that neighbour alone contributes.
    next_centre = weight > 1 - LEAST_WEIGHT
    floor[next_centre] += 1
    weight[next_centre] = 0
    last = floor + (weight > 0)
    outside = ~((floor >= 0) & (last <= size - 1))  # NaN is outside, too
    floor[outside] = last[outside] = 0
    return (
        floor.astype(np.intp),
        last.astype(np.intp),
        np.where(outside, 0, weight).astype(np.float32),
        outside,
    )
