"""What a pushbroom radiometer makes of a scene: blur, sampling, footprint, counts.

The ground lies on a fine lattice; a pixel is one node of the blurred ground, so what was sampled
is known exactly. Terrain does not shade or shift anything: the ground is level to light and view.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from geoquarry.udfs.landscape_relief import Field
from geoquarry.udfs.radiometry import radiance_to_dn

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def point_spread(ground: NDArray[np.float32], *, fwhm_m: float, ground_m: float) -> Field:
    """Blur the ground as optics and detector do.

    Parameters
    ----------
    ground : float32, shape (y, x)
        Reflectance on a fine lattice.
    fwhm_m : float
        Full width at half maximum of the Gaussian point spread; one pixel of the band is usual.
    ground_m : float
        Spacing of the fine lattice.

    Returns
    -------
    blurred : float32, shape (y, x)
        On the same lattice; beyond its edge the ground is mirrored.

    Examples
    --------
    >>> bright = point_spread(np.eye(1, 9, 4, dtype="float32"), fwhm_m=30, ground_m=15)
    >>> round(float(bright[0, 5] / bright[0, 4]), 2)
    0.5
    """
    sigma = fwhm_m / FWHM_PER_SIGMA / ground_m
    blurred: Field = ndimage.gaussian_filter(ground, sigma, mode="mirror", truncate=4.0)
    return blurred


def sample(
    blurred: NDArray[np.float32], *, row0: int, col0: int, every: int, shape: tuple[int, int]
) -> Field:
    """Pixels of a band: every n-th node of the blurred ground, without interpolation.

    Parameters
    ----------
    blurred : float32, shape (y, x)
    row0, col0 : int
        Node under the centre of the first pixel.
    every : int
        Nodes per pixel.
    shape : (int, int)
        Rows and columns of the band.

    Raises
    ------
    ValueError
        The band reaches beyond the ground.

    Examples
    --------
    >>> sample(np.arange(12, dtype="float32")[None], row0=0, col0=1, every=4, shape=(1, 3)).tolist()
    [[1.0, 5.0, 9.0]]
    """
    last_row, last_col = row0 + every * (shape[0] - 1), col0 + every * (shape[1] - 1)
    rows, cols = blurred.shape
    if min(row0, col0) < 0 or last_row >= rows or last_col >= cols:
        raise ValueError(
            f"Pixels from node ({row0}, {col0}) to ({last_row}, {last_col}) leave the ground of "
            f"{rows} x {cols} nodes. Make the ground larger."
        )
    return np.ascontiguousarray(blurred[row0 : last_row + 1 : every, col0 : last_col + 1 : every])


def at_points(
    blurred: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> Field:
    """The continuous ground between nodes, by cubic splines.

    Blurred over two nodes or more, the ground has next to nothing above the lattice's Nyquist
    frequency, so this is the same continuous ground that `sample` takes its nodes from.

    Parameters
    ----------
    blurred : float32, shape (y, x)
    rows, cols : float64, shape (v, u)
        Places in nodes.

    Returns
    -------
    values : float32, shape (v, u)
    """
    values: Field = ndimage.map_coordinates(
        blurred, [rows, cols], output=np.float32, order=3, mode="mirror"
    )
    return values


def footprint(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    centre: tuple[float, float],
    half_size_m: tuple[float, float],
    turn_deg: float,
) -> NDArray[np.bool_]:
    """Pixels inside a rotated rectangle.

    Parameters
    ----------
    x : float64, shape (x,)
        Coordinates of the columns' centres [m].
    y : float64, shape (y,)
        Coordinates of the rows' centres [m].
    centre : (float, float)
        Middle of the rectangle, x before y.
    half_size_m : (float, float)
        Half of its width across the track and of its length along it.
    turn_deg : float
        How far its long side leans from north to the east.

    Returns
    -------
    inside : bool, shape (y, x)

    Examples
    --------
    >>> at = np.array([-2.0, 0.0, 2.0])
    >>> footprint(at, at, centre=(0, 0), half_size_m=(2.1, 2.1), turn_deg=45).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    across, along = track_axes(turn_deg)
    dx, dy = x[None, :] - centre[0], y[:, None] - centre[1]
    inside: NDArray[np.bool_] = np.abs(dx * across[0] + dy * across[1]) <= half_size_m[0]
    inside &= np.abs(dx * along[0] + dy * along[1]) <= half_size_m[1]
    return inside


def track_axes(turn_deg: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Unit vectors (x, y) to the right of the track seen northwards, and along it to the north.

    >>> track_axes(0.0)
    ((1.0, -0.0), (0.0, 1.0))
    """
    turn = math.radians(turn_deg)
    return (math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))


def counts(
    radiance: NDArray[np.float32],
    scale: ArrayLike,
    offset: ArrayLike,
    *,
    inside: NDArray[np.bool_],
    noise_dn: float = 0.0,
    rng: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Counts a sensor sends down: noise, gain, rounding, saturation.

    Parameters
    ----------
    radiance : float32, shape (band, y, x)
        At the sensor [W m-2 sr-1 um-1].
    scale, offset : float, shape (band,)
        ``radiance = scale * dn + offset``.
    inside : bool, shape (y, x) or (band, y, x)
        Footprint; outside the count is 0.
    noise_dn : float
        Standard deviation of white noise, in counts.
    rng : numpy.random.Generator
        Needed for noise.

    Returns
    -------
    dn : uint8, shape (band, y, x)
        0 = not observed, 1 = zero radiance, 255 = saturated (254.5 and above).

    Examples
    --------
    >>> radiance = np.array([[[0.0, 2.5, 900.0, 1.0]]], dtype="float32")
    >>> counts(radiance, [0.5], [-0.5], inside=np.array([[True, True, True, False]]))
    array([[[  1,   6, 255,   0]]], dtype=uint8)
    """
    signal = np.where(inside, radiance, np.float32(np.nan)).astype(np.float32)
    if noise_dn > 0:
        if rng is None:
            raise ValueError("Noise needs a random generator: pass rng.")
        step_size = np.asarray(scale, np.float32)[:, None, None] * np.float32(noise_dn)
        signal += step_size * rng.standard_normal(signal.shape, dtype=np.float32)
    return radiance_to_dn(signal, scale, offset)
