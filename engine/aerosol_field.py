"""Aerosol and water vapour as smooth fields: retrievals on the MODIS grid, gaps filled, any place.

One field serves a whole granule, so that neighbouring tiles agree where they meet. What stands at a
place depends only on retrievals within 50 km of it, not on the window that was read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.engine.sinusoidal import to_sinusoidal
from geoquarry.schemas.granule import Transform

Floats = NDArray[np.float64]

REACH_KM = 50.0
"""A place farther than this from any retrieval has no value."""
WIDTHS_KM = (1.5, 4.0, 10.0, 20.0)
"""Standard deviations of the Gaussians: the first takes the noise out of 1 km pixels, wider ones
step in where it finds little."""
ENOUGH = 0.5
"""Share of a Gaussian that must lie on retrievals for it to be trusted alone: along the straight
edge of a covered area it is just that."""


@dataclass(frozen=True)
class Window:
    """A piece of the MODIS sinusoidal grid.

    Attributes
    ----------
    left_m, top_m : float
        Corner of its first pixel in sinusoidal coordinates.
    pixel_m : float
    shape : (int, int)
        Rows, columns.
    shear : float
        East = x + shear * y: sinusoidal axes are oblique far from longitude 0.
    """

    left_m: float
    top_m: float
    pixel_m: float
    shape: tuple[int, int]
    shear: float

    @property
    def western(self) -> bool:
        """Whether its middle lies at negative longitudes."""
        return self.left_m + self.shape[1] / 2 * self.pixel_m < 0

    @property
    def transform(self) -> Transform:
        """Affine of its pixel corners."""
        return (self.pixel_m, 0.0, self.left_m, 0.0, -self.pixel_m, self.top_m)

    def places(self, longitude_deg: ArrayLike, latitude_deg: ArrayLike) -> tuple[Floats, Floats]:
        """Rows and columns of places, counted in pixel centres."""
        x, y = to_sinusoidal(longitude_deg, latitude_deg)
        return (
            (self.top_m - y) / self.pixel_m - 0.5,
            (x - self.left_m) / self.pixel_m - 0.5,
        )


def window_around(
    longitude_deg: Floats, latitude_deg: Floats, pixel_m: float, origin_m: tuple[float, float]
) -> Window:
    """Window of whole pixels that holds places and all that lies within reach of them.

    Parameters
    ----------
    longitude_deg, latitude_deg : float64
        At least one place, all on one side of 180 degrees.
    pixel_m : float
    origin_m : (float, float)
        A pixel corner of the grid.

    Examples
    --------
    >>> window = window_around(np.array([0.0]), np.array([0.0]), 1000.0, (0.0, 0.0))
    >>> window.shape, window.left_m, window.top_m
    ((106, 106), -53000.0, 53000.0)
    """
    x, y = to_sinusoidal(longitude_deg, latitude_deg)
    middle = (longitude_deg.min() + longitude_deg.max()) / 2
    shear = math.radians(middle) * math.sin(
        math.radians((latitude_deg.min() + latitude_deg.max()) / 2)
    )
    up = REACH_KM * 1000.0
    sideways = up * math.hypot(1.0, shear)  # the widest the sheared circle gets
    spare = 3  # for the pixels that a place lies between
    first = math.floor((x.min() - sideways - origin_m[0]) / pixel_m) - spare
    last = math.ceil((x.max() + sideways - origin_m[0]) / pixel_m) + spare
    upper = math.floor((origin_m[1] - y.max() - up) / pixel_m) - spare
    lower = math.ceil((origin_m[1] - y.min() + up) / pixel_m) + spare
    return Window(
        origin_m[0] + first * pixel_m,
        origin_m[1] - upper * pixel_m,
        pixel_m,
        (lower - upper, last - first),
        shear,
    )


def filled(values: Floats, window: Window, weights: Floats | None = None) -> Floats:
    """Smooth retrievals, and carry them into gaps up to 50 km away.

    Normalised Gaussian means with weights; where the narrow Gaussian lies on too few retrievals,
    the next wider one takes over, gradually. A plane comes back as it is inside a covered area.

    Parameters
    ----------
    values : float64, shape of the window
        NaN = no retrieval.
    window : Window
    weights : float64, optional
        Positive where there is a value; their ratios count.

    Returns
    -------
    filled : float64
        NaN where no retrieval lies within 50 km.
    """
    known = np.isfinite(values)
    if not known.any():
        return np.full(values.shape, np.nan)
    weight = np.where(known, 1.0 if weights is None else weights, 0.0)
    weight /= weight.max()
    middle = float(values[known].mean())
    layers = np.stack(
        [known.astype(np.float64), weight, weight * np.where(known, values - middle, 0)]
    )
    size = tuple(n + 2 * k for n, k in zip(values.shape, _radius(window), strict=True))
    spectra = np.fft.rfft2(layers, size)
    answer: Floats = np.zeros(values.shape)
    for width_km in reversed(WIDTHS_KM):
        kernel = _kernel(window, width_km)
        count, total, sum_ = _convolved(spectra, kernel, size, values.shape)
        # Transforms leave noise of 1e-12; one poor retrieval at 50 km weighs 1e-5.
        mean = sum_ / np.maximum(total, 1e-9)
        if width_km == WIDTHS_KM[-1]:
            answer = mean
            continue
        trust = np.clip(count / kernel.sum() / ENOUGH, 0.0, 1.0)
        answer = np.where(total > 1e-6, trust * mean + (1 - trust) * answer, answer)
    disc = (_kernel(window, REACH_KM) > 0).astype(np.float64)
    within = np.rint(_convolved(spectra[:1], disc, size, values.shape)[0]) >= 1
    return np.where(within, answer + middle, np.nan)


def _radius(window: Window) -> tuple[int, int]:
    """Rows and columns from the middle of the widest kernel to its edge."""
    up = REACH_KM * 1000.0 / window.pixel_m
    return math.ceil(up), math.ceil(up * math.hypot(1.0, window.shear))


def _kernel(window: Window, width_km: float) -> Floats:
    """A Gaussian over the ground, 0 beyond reach."""
    rows, columns = _radius(window)
    step = window.pixel_m / 1000.0
    north = -np.arange(-rows, rows + 1)[:, None] * step
    east = np.arange(-columns, columns + 1)[None, :] * step + window.shear * north
    square = north**2 + east**2
    return np.where(square <= REACH_KM**2, np.exp(-square / (2 * width_km**2)), 0.0)


def _convolved(
    spectra: NDArray[np.complex128], kernel: Floats, size: tuple[int, ...], shape: tuple[int, ...]
) -> Floats:
    whole: Floats = np.fft.irfft2(spectra * np.fft.rfft2(kernel, size), size)
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    return whole[:, rows : rows + shape[0], columns : columns + shape[1]]


@dataclass(frozen=True)
class Part:
    """Fields on one window; NaN = none within reach.

    Attributes
    ----------
    window : Window
    aod550, uncertainty, water_sea_level_g_cm2 : float64, shape of the window
    """

    window: Window
    aod550: Floats
    uncertainty: Floats
    water_sea_level_g_cm2: Floats


@dataclass(frozen=True)
class AerosolField:
    """Aerosol and water vapour around one granule.

    Attributes
    ----------
    parts : sequence of Part
        One; two where the granule lies across 180 degrees, the western hemisphere first.
    source : str
        Where the fields came from.
    """

    parts: Sequence[Part]
    source: str

    def at(
        self, longitude_deg: ArrayLike, latitude_deg: ArrayLike
    ) -> tuple[Floats, Floats, Floats]:
        """Fields at places, bilinear between pixel centres.

        Parameters
        ----------
        longitude_deg, latitude_deg : float
            Within the places the field was read for.

        Returns
        -------
        aod550, uncertainty, water_sea_level_g_cm2 : float64, shape of the places
            Optical depth at 550 nm, its uncertainty, and the water vapour column a surface at sea
            level would have [g cm-2]; NaN where nothing was retrieved within 50 km.
        """
        longitude = wrapped(longitude_deg)
        latitude = np.asarray(latitude_deg, np.float64)
        found = np.full((3, *longitude.shape), np.nan)
        for part in self.parts:
            mine = np.isfinite(longitude) & np.isfinite(latitude)
            if len(self.parts) > 1:
                mine &= (longitude < 0) == part.window.western
            rows, columns = part.window.places(longitude[mine], latitude[mine])
            layers = (part.aod550, part.uncertainty, part.water_sea_level_g_cm2)
            found[:, mine] = [_bilinear(layer, rows, columns) for layer in layers]
        return found[0], found[1], found[2]


def wrapped(longitude_deg: ArrayLike) -> Floats:
    """Longitudes from -180 to 180.

    >>> wrapped([190.0, -180.0, 12.5]).tolist()
    [-170.0, -180.0, 12.5]
    """
    return (np.asarray(longitude_deg, np.float64) + 180.0) % 360.0 - 180.0


def _bilinear(layer: Floats, rows: Floats, columns: Floats) -> Floats:
    """NaN beyond the layer and where one of the four neighbours that count is NaN."""
    height, width = layer.shape
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    top = np.clip(np.floor(rows), 0, height - 2).astype(int)
    left = np.clip(np.floor(columns), 0, width - 2).astype(int)
    down, right = rows - top, columns - left
    mixed = (
        layer[top, left] * (1 - down) * (1 - right)
        + layer[top, left + 1] * (1 - down) * right
        + layer[top + 1, left] * down * (1 - right)
        + layer[top + 1, left + 1] * down * right
    )
    return np.where(inside, mixed, np.nan)
