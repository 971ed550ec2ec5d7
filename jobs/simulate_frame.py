"""The map frame and the rotated footprint of a simulated granule."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t_writer import FRAME_STEP_M
from geoquarry.udfs import sensor_model

MARGIN_M = 420.0
"""Between the district's tile and the edge of a footprint: masks take 240 m off the edge."""
SWIR_SHIFT_M = (55.0, -40.0)
"""How far the SWIR footprint lies beside the VNIR's, across and along the track."""


@dataclass(frozen=True)
class Frame:
    """Map frame of a granule: centres of its corner pixels, and its footprints by swath."""

    left: int
    top: int
    right: int
    bottom: int
    centre: dict[str, tuple[float, float]]
    half_size_m: tuple[float, float]
    turn_deg: float

    def shape(self, pixel_m: float) -> tuple[int, int]:
        """Rows and columns at a pixel size."""
        height, width = self.top - self.bottom, self.right - self.left
        return round(height / pixel_m) + 1, round(width / pixel_m) + 1

    def inside(self, swath: str, pixel_m: float) -> NDArray[np.bool_]:
        """Footprint of a swath on its lattice."""
        rows, cols = self.shape(pixel_m)
        return sensor_model.footprint(
            self.left + pixel_m * np.arange(cols, dtype=np.float64),
            self.top - pixel_m * np.arange(rows, dtype=np.float64),
            centre=self.centre[swath],
            half_size_m=self.half_size_m,
            turn_deg=self.turn_deg,
        )

    def corners(self, swath: str) -> list[tuple[float, float]]:
        """Footprint's corners (x, y): upper left, upper right, lower left, lower right."""
        return _corners(self.centre[swath], self.half_size_m, self.turn_deg)


def frame_of(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    turn_deg: float,
    shift_m: tuple[float, float],
    beside_m: tuple[float, float] = (0.0, 0.0),
) -> Frame:
    """The frame of a scene that covers an outline with a margin.

    Parameters
    ----------
    x, y : float64, shape (n,)
        Outline of the tile in the granule's UTM frame.
    turn_deg : float
        How far the footprint leans from north to east.
    shift_m : (float, float)
        Of its middle against the tile's.
    beside_m : (float, float)
        How far the footprint is moved away within the frame: it then ends inside the tile, and
        beyond the frame nothing is kept of it.
    """
    across, along = sensor_model.track_axes(turn_deg)
    middle = (
        float(x.min() + x.max()) / 2 + shift_m[0],
        float(y.min() + y.max()) / 2 + shift_m[1],
    )
    swir = (
        middle[0] + SWIR_SHIFT_M[0] * across[0] + SWIR_SHIFT_M[1] * along[0],
        middle[1] + SWIR_SHIFT_M[0] * across[1] + SWIR_SHIFT_M[1] * along[1],
    )
    dx, dy = x - middle[0], y - middle[1]
    half = (
        float(np.abs(dx * across[0] + dy * across[1]).max()) + MARGIN_M + abs(SWIR_SHIFT_M[0]),
        float(np.abs(dx * along[0] + dy * along[1]).max()) + MARGIN_M + abs(SWIR_SHIFT_M[1]),
    )
    centres = {"VNIR": middle, "SWIR": swir}
    points = [p for centre in centres.values() for p in _corners(centre, half, turn_deg)]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    moved = {name: (x + beside_m[0], y + beside_m[1]) for name, (x, y) in centres.items()}
    return Frame(
        left=FRAME_STEP_M * math.floor(min(xs) / FRAME_STEP_M),
        top=FRAME_STEP_M * math.ceil(max(ys) / FRAME_STEP_M),
        right=FRAME_STEP_M * math.ceil(max(xs) / FRAME_STEP_M),
        bottom=FRAME_STEP_M * math.floor(min(ys) / FRAME_STEP_M),
        centre=moved,
        half_size_m=half,
        turn_deg=turn_deg,
    )


def _corners(
    centre: tuple[float, float], half: tuple[float, float], turn_deg: float
) -> list[tuple[float, float]]:
    across, along = sensor_model.track_axes(turn_deg)
    return [
        (
            centre[0] + sx * half[0] * across[0] + sy * half[1] * along[0],
            centre[1] + sx * half[0] * across[1] + sy * half[1] * along[1],
        )
        for sx, sy in ((-1, 1), (1, 1), (-1, -1), (1, -1))
    ]
