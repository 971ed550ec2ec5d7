"""An invented mineral district: relief, rocks, alteration, soils, plants, water, salt, snow.

Everything scales with the district, so that a tile of any size shows all of it: a mountain range
with two intrusions and their alteration zones (advanced argillic and argillic core, phyllic ring,
propylitic halo, iron caps: Lowell and Guilbert 1970, doi 10.2113/gsecongeo.65.4.373), layered host
rocks cut by a fault, a basin with alluvium, a lake, a playa and gypsum dunes. Only for tests and
demonstrations: it looks like such a place, it is none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoquarry.udfs.landscape_cover import MIXTURES, mix
from geoquarry.udfs.landscape_relief import NODES, Field, fractal, relief, step


@dataclass(frozen=True)
class Landscape:
    """Ground as it is, before any sensor.

    Attributes
    ----------
    reflectance : float32, shape (band, y, x)
        Lambertian surface reflectance on level ground.
    elevation_m : float32, shape (y, x)
    classes : uint8, shape (y, x)
        Position in ``class_names`` of the class with the largest share.
    abundance_percent : uint8, shape (class, y, x)
        Share of every class in the pixel, rounded.
    class_names : tuple of str
    """

    reflectance: NDArray[np.float32]
    elevation_m: Field
    classes: NDArray[np.uint8]
    abundance_percent: NDArray[np.uint8]
    class_names: tuple[str, ...]


def snow_line_m(latitude_deg: float) -> float:
    """A winter snow line: 5200 m at the equator, 85 m lower per degree, never under 900 m (ours).

    >>> snow_line_m(0.0), snow_line_m(-40.0), snow_line_m(70.0)
    (5200.0, 1800.0, 900.0)
    """
    return max(5200.0 - 85.0 * abs(latitude_deg), 900.0)


def landscape(
    shape: tuple[int, int],
    *,
    pixel_m: float,
    extent_m: float,
    seed: int,
    bands: tuple[str, ...],
    base_m: float = 1500.0,
    relief_m: float = 1000.0,
    snow_m: float = 2500.0,
    north_is_shady: bool = True,
    surface: str | None = None,
) -> Landscape:
    """Invent a district.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the ground lattice, north up.
    pixel_m : float
        Its spacing.
    extent_m : float
        Width of the district in the middle of the frame; beyond it the land goes on.
    seed : int
        Same seed, shape and sizes: same ground.
    bands : tuple of str
        Columns of ``spectra.csv``.
    base_m, relief_m : float
        Lowest point, and height of the summits above it.
    snow_m : float
        Snow lies above this elevation.
    north_is_shady : bool
        Plants prefer the slopes that look away from the sun: north of the equator, True.
    surface : str, optional
        Cover nearly all of it with one of `landscape_cover.SURFACES`.

    Returns
    -------
    landscape : Landscape

    Examples
    --------
    >>> land = landscape((60, 70), pixel_m=30, extent_m=1500, seed=1, bands=("b02", "b3n"))
    >>> land.reflectance.shape, land.class_names[0]
    ((2, 60, 70), 'alluvium')
    """
    rng = np.random.default_rng([seed, 71])
    frame = _Frame(shape, pixel_m, extent_m, float(rng.uniform(0, 2 * np.pi)))
    nodes = _Frame((NODES, NODES), max(shape) * pixel_m / NODES, extent_m, frame.turn, shape)
    along = nodes.along() + np.float32(0.05) * fractal((NODES, NODES), rng, slope=2)
    uplift = step(along, -0.16, 0.1) * (1 - np.float32(0.55) * step(along, 0.35, 0.75))
    uplift *= 1 + np.float32(0.25) * fractal((NODES, NODES), rng, slope=2)
    ground = relief(shape, np.clip(uplift, 0, 2).astype(np.float32), rng)
    fields = _fields(frame, ground.elevation, ground.drainage, rng)
    flat = np.maximum(fields["bed"], fields["playa"])
    # Lakes and playas are level: the ground sinks to one height under each.
    level = np.float32(np.quantile(ground.elevation, 0.04))
    elevation_m = (ground.elevation * (1 - flat) + level * flat) * np.float32(relief_m)
    elevation_m += np.float32(base_m)
    gy, gx = np.gradient(elevation_m, np.float32(pixel_m))
    fields["slope"] = np.hypot(gx, gy).astype(np.float32)
    # Positive where the ground falls towards the pole.
    fields["shady"] = np.clip(gy if north_is_shady else -gy, -0.6, 0.6).astype(np.float32)
    fields["drainage"] = ground.drainage
    fields["height"] = ground.elevation
    fields["snowy"] = (elevation_m - np.float32(snow_m)) / np.float32(0.1 * relief_m)
    reflectance, percent, classes = mix(shape, fields, bands, rng, surface)
    return Landscape(reflectance, elevation_m, classes, percent, tuple(MIXTURES))


@dataclass(frozen=True)
class _Frame:
    """Coordinates in units of the district, turned so that mountains lie ahead."""

    shape: tuple[int, int]
    pixel_m: float
    extent_m: float
    turn: float
    whole: tuple[int, int] | None = None
    """Shape of the full lattice, where this one is coarser and not square to it."""

    def axes(self) -> tuple[Field, Field]:
        rows, cols = self.shape
        scale = self.pixel_m / self.extent_m
        y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * np.float32(scale)
        x = (np.arange(cols, dtype=np.float32) - (cols - 1) / 2) * np.float32(scale)
        if self.whole is not None:
            longest = max(self.whole)
            y, x = y * np.float32(self.whole[0] / longest), x * np.float32(self.whole[1] / longest)
        return y[:, None].astype(np.float32), x[None, :].astype(np.float32)

    def along(self) -> Field:
        """Into the mountains (positive) or the basin (negative)."""
        y, x = self.axes()
        ahead: Field = x * np.float32(np.cos(self.turn)) - y * np.float32(np.sin(self.turn))
        return ahead

    def across(self) -> Field:
        y, x = self.axes()
        aside: Field = x * np.float32(np.sin(self.turn)) + y * np.float32(np.cos(self.turn))
        return aside


INTRUSIONS = ((0.17, -0.13, 0.15), (0.10, 0.26, 0.10))
"""Centres (along, across) and radius of the phyllic ring's outer edge, in units of the district."""


def _fields(
    frame: _Frame, elevation: Field, drainage: Field, rng: np.random.Generator
) -> dict[str, Field]:
    """Places and noises from which shares are made, all float32 (y, x)."""
    shape = frame.shape
    span = frame.extent_m / frame.pixel_m
    warp, grain = (
        fractal(shape, rng, slope=s, longest_px=span / d) for s, d in ((2.0, 4), (1.1, 40))
    )
    patch = fractal(shape, rng, slope=1.7, longest_px=span / 8)
    other = fractal(shape, rng, slope=1.7, longest_px=span / 8)
    a = frame.along() + np.float32(0.012) * warp
    b = frame.across() + np.float32(0.012) * other
    near = np.full(shape, np.inf, np.float32)
    for along, across, radius in INTRUSIONS:
        distance = np.hypot(a - np.float32(along), b - np.float32(across)) / np.float32(radius)
        np.minimum(near, distance, out=near)
    fault = (frame.along() * np.float32(0.35) + frame.across() - np.float32(0.06)) > 0
    # Layers dip into the mountain and are offset along the fault.
    layer = a * 5 + b * np.float32(1.6) - elevation * np.float32(1.1) + fault * np.float32(0.55)
    lake = _spot(a, b, (-0.17, 0.27), (0.075, 0.11))
    playa = _spot(a, b, (-0.31, -0.16), (0.10, 0.17))
    dunes = _spot(a, b, (-0.20, -0.36), (0.10, 0.12))
    flow = _spot(a, b, (-0.07, 0.06), (0.05, 0.16))
    stock = _spot(a, b, (0.31, 0.06), (0.13, 0.17))
    crest = np.sin((frame.along() + np.float32(0.009) * patch) * np.float32(2 * np.pi * 40))
    return {
        "near": near + np.float32(0.10) * patch,
        "layer": layer.astype(np.float32),
        "lake": step(lake, 0.0, 0.06),
        "bed": step(lake, -0.8, 0.05),
        "shore": step(lake, -0.9, 0.0),
        "playa": step(playa, 0.0, 0.15),
        "salt": step(playa + np.float32(0.12) * patch, 0.25, 0.6),
        "dunes": step(dunes + np.float32(0.10) * patch, 0.05, 0.35) * (1 - step(playa, -0.1, 0.1)),
        "crest": step(crest.astype(np.float32), -1.0, 0.8),
        "flow": step(flow + np.float32(0.15) * patch, 0.0, 0.1),
        "stock": step(stock, 0.0, 0.08),
        "warp": warp,
        "plain": step(elevation + np.float32(0.02) * patch, 0.24, 0.1),
        "grain": grain,
        "patch": patch,
        "other": other,
    }


def _spot(a: Field, b: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """1 in the middle of an ellipse, 0 on its edge, negative outside."""
    spot: Field = 1 - np.hypot(
        (a - np.float32(centre[0])) / np.float32(radii[0]),
        (b - np.float32(centre[1])) / np.float32(radii[1]),
    )
    return spot
