"""The one ground of a simulation: invented, sampled for the truth, the DEM and the reference."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.ancillary_writer import write_dem
from geoquarry.engine.aster_l1t_writer import SENSOR
from geoquarry.engine.frame import (
    frame_bounds,
    outline,
    pixel_coordinates,
    project_bounds,
    project_points,
)
from geoquarry.jobs.simulate_frame import Frame
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.granule import Transform
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs import landscape, modis_model, sensor_model
from geoquarry.udfs.landscape_cover import dry_change

GROUND_EDGE_M = 180
"""Ground beyond the outermost pixels, so that blurring never sees the mirrored edge."""
SECOND_DEG = 1 / 3600
REFERENCE_GRID = "modis-500m-256"
REFERENCE_SAMPLES = 20
"""Points per side of a reference pixel that are averaged."""


@dataclass(frozen=True)
class Ground:
    """The one ground all scenes look at.

    Attributes
    ----------
    reflectance : float32, shape (band, y, x)
        Blurred by each band's own point spread.
    elevation_m : float32, shape (y, x)
    left, top : int
        Centre of the first node [m].
    step_m : float
    plants : dict of float -> float32, shape (y, x)
        Share of green plants as bands of a resolution [m] see it; empty where seasons do not
        matter.
    dry_change : tuple of float, shape (band,)
        What a full share of plants changes by when it is dry.
    """

    reflectance: NDArray[np.float32]
    elevation_m: NDArray[np.float32]
    left: int
    top: int
    step_m: float
    plants: dict[float, NDArray[np.float32]]
    dry_change: tuple[float, ...]

    @property
    def transform(self) -> Transform:
        """Affine of the lattice, nodes as pixel centres."""
        half = self.step_m / 2
        return (self.step_m, 0.0, self.left - half, 0.0, -self.step_m, self.top + half)

    def reflectance_of(
        self, band: int, frame: Frame, pixel_m: float, dryness: float
    ) -> NDArray[np.float32]:
        """Reflectance of one band at the pixels of a frame, with plants as dry as that."""
        seen = self.seen(self.reflectance[band], frame, pixel_m)
        if dryness > 0:
            change = np.float32(dryness * self.dry_change[band])
            seen = np.clip(seen + change * self.seen(self.plants[pixel_m], frame, pixel_m), 0, 1)
        return seen

    def seen(self, layer: NDArray[np.float32], frame: Frame, pixel_m: float) -> NDArray[np.float32]:
        """A layer at the pixels of a frame."""
        return sensor_model.sample(
            layer,
            row0=round((self.top - frame.top) / self.step_m),
            col0=round((frame.left - self.left) / self.step_m),
            every=round(pixel_m / self.step_m),
            shape=frame.shape(pixel_m),
        )


def invent(
    frames: Sequence[Frame],
    bands: Sequence[str],
    extent_m: float,
    seed: int,
    latitude_deg: float,
    ground_m: float,
    surface: str | None = None,
) -> tuple[landscape.Landscape, Ground]:
    """One sharp ground under all frames; `truth_on_tile` fills in the blurred copy for scenes."""
    left = min(f.left for f in frames) - GROUND_EDGE_M
    top = max(f.top for f in frames) + GROUND_EDGE_M
    width = max(f.right for f in frames) + GROUND_EDGE_M - left
    height = top - min(f.bottom for f in frames) + GROUND_EDGE_M
    # Mountains as steep at every size, and summits that just reach into the snow.
    relief_m = min(1100.0, 0.17 * extent_m)
    snow_m = landscape.snow_line_m(latitude_deg)
    base_m = float(np.clip(snow_m - 0.8 * relief_m, 100.0, 1700.0))
    land = landscape.landscape(
        (round(height / ground_m) + 1, round(width / ground_m) + 1),
        pixel_m=ground_m,
        extent_m=extent_m,
        seed=seed,
        bands=tuple(bands),
        base_m=base_m,
        relief_m=relief_m,
        snow_m=snow_m,
        north_is_shady=latitude_deg >= 0,
        surface=surface,
    )
    # Filled in by `truth_on_tile` and `keep_plants`.
    blurred = np.empty_like(land.reflectance)
    dry = dry_change(tuple(bands))
    return land, Ground(blurred, land.elevation_m, left, top, ground_m, {}, dry)


def keep_plants(land: landscape.Landscape, ground: Ground, resolutions_m: Iterable[float]) -> None:
    """Blur the share of green plants, so that scenes can show them dry."""
    percent = land.abundance_percent[land.class_names.index("green_vegetation")]
    share = percent.astype(np.float32) / np.float32(100)
    for pixel_m in set(resolutions_m):
        ground.plants[pixel_m] = sensor_model.point_spread(
            share, fwhm_m=pixel_m, ground_m=ground.step_m
        )


def truth_on_tile(
    land: landscape.Landscape,
    ground: Ground,
    spot: tuple[NDArray[np.float64], NDArray[np.float64]],
    resolution_m: Sequence[float],
) -> dict[str, NDArray[Any]]:
    """What a pixel of the coarsest band would see at each tile pixel; blurs the ground for scenes.

    Fine bands reach the tile averaged with 1-2-1 weights, which makes them as wide as the coarsest
    band within 3 %, so one point spread serves all bands of the truth.
    """
    rows, cols = spot
    coarsest = max(resolution_m)
    reflectance = np.empty((len(resolution_m), *rows.shape), np.float32)
    for band, own_m in enumerate(resolution_m):
        sharp = land.reflectance[band]
        blurred = sensor_model.point_spread(sharp, fwhm_m=own_m, ground_m=ground.step_m)
        ground.reflectance[band] = blurred
        if own_m != coarsest:
            blurred = sensor_model.point_spread(sharp, fwhm_m=coarsest, ground_m=ground.step_m)
        reflectance[band] = sensor_model.at_points(blurred, rows, cols)
    r, c = np.rint(rows).astype(int), np.rint(cols).astype(int)
    return {
        "reflectance": reflectance,
        "elevation": sensor_model.at_points(ground.elevation_m, rows, cols),
        "classes": land.classes[r, c],
        "abundance_percent": land.abundance_percent[:, r, c],
    }


def write_elevation(out: Path, ground: Ground, crs: str) -> list[str]:
    """Elevation at one second, one file per whole degree as ASTER GDEM has it."""
    rows, cols = ground.elevation_m.shape
    box = frame_bounds(ground.transform, (rows, cols))
    west, south, east, north = project_bounds(box, crs, "EPSG:4326")
    names = []
    for cell_y in range(math.floor(south), math.floor(north) + 1):
        for cell_x in range(math.floor(west), math.floor(east) + 1):
            # A GDEM cell includes both its edges.
            first, last = max(west, cell_x), min(east, cell_x + 1)
            upper, lower = min(north, cell_y + 1), max(south, cell_y)
            lon = np.arange(math.ceil(first * 3600 - 1e-6), math.floor(last * 3600 + 1e-6) + 1)
            lat = np.arange(math.floor(upper * 3600 + 1e-6), math.ceil(lower * 3600 - 1e-6) - 1, -1)
            if lon.size < 2 or lat.size < 2:
                continue
            x, y = project_points(lon[None, :] / 3600, lat[:, None] / 3600, "EPSG:4326", crs)
            at = (ground.top - y) / ground.step_m, (x - ground.left) / ground.step_m
            height = np.rint(sensor_model.at_points(ground.elevation_m, *at)).astype(np.int16)
            name = (
                f"ASTGTMV003_{'S' if cell_y < 0 else 'N'}{abs(cell_y):02d}"
                f"{'W' if cell_x < 0 else 'E'}{abs(cell_x):03d}_dem.tif"
            )
            write_dem(
                out / name,
                height,
                west_deg=float(lon[0]) / 3600,
                north_deg=float(lat[0]) / 3600,
                step_deg=SECOND_DEG,
            )
            names.append(name)
    return names


def reference_around(
    land: landscape.Landscape, ground: Ground, crs: str, frame: Grid, tile: tuple[int, int]
) -> tuple[NDArray[np.int16], Transform]:
    """MODIS bands over the 256 x 256 reference tile: box means; the land is mirrored beyond."""
    modis = grid(REFERENCE_GRID)
    left, bottom, right, top = frame.bounds(*tile)
    key = next(modis.tiles(left, bottom, right, top))
    step = modis.resolution_m
    box = modis.bounds(*key)
    if not (box[0] <= left and box[1] <= bottom and right <= box[2] and top <= box[3]):
        # The district straddles reference tiles: a window of the same lattice around it.
        half = modis.tile_size // 2 * step
        x0 = box[0] + step * round(((left + right) / 2 - half - box[0]) / step)
        y0 = box[3] - step * round((box[3] - (top + bottom) / 2 - half) / step)
        box = (x0, y0 - 2 * half, x0 + 2 * half, y0)
    # Reference pixels that lie wholly on the ground.
    rows, cols = ground.elevation_m.shape
    low_x, low_y, high_x, high_y = _inner_bounds(ground, crs, modis.crs)
    first, last = math.ceil((low_x - box[0]) / step), math.floor((high_x - box[0]) / step)
    upper, lower = math.ceil((box[3] - high_y) / step), math.floor((box[3] - low_y) / step)
    first, upper = max(first, 0), max(upper, 0)
    last, lower = min(last, modis.tile_size), min(lower, modis.tile_size)
    if first >= last or upper >= lower:
        raise UsageError("The district is smaller than a reference pixel. Use a larger --size.")
    inner = (lower - upper, last - first)
    at = pixel_coordinates(
        modis.crs,
        (
            step / REFERENCE_SAMPLES,
            0.0,
            box[0] + first * step,
            0.0,
            -step / REFERENCE_SAMPLES,
            box[3] - upper * step,
        ),
        (inner[0] * REFERENCE_SAMPLES, inner[1] * REFERENCE_SAMPLES),
        crs,
        ground.transform,
    )
    r = np.clip(np.rint(at[0]), 0, rows - 1).astype(int)
    c = np.clip(np.rint(at[1]), 0, cols - 1).astype(int)
    n = REFERENCE_SAMPLES
    means = np.stack(
        [
            band[r, c].reshape(inner[0], n, inner[1], n).mean(axis=(1, 3), dtype=np.float64)
            for band in land.reflectance
        ]
    ).astype(np.float32)
    stored = modis_model.as_stored(modis_model.modis_bands(means, sensor(SENSOR)))
    pad = ((0, 0), (upper, modis.tile_size - lower), (first, modis.tile_size - last))
    whole = np.pad(stored, pad, mode="symmetric")
    return whole, (step, 0.0, box[0], 0.0, -step, box[3])


def _inner_bounds(ground: Ground, crs: str, target: str) -> tuple[float, float, float, float]:
    """A box that lies wholly on the ground, in another system: the inner hull of its edges."""
    rows, cols = ground.elevation_m.shape
    steps = 21
    x, y = project_points(*outline(ground.transform, (rows, cols), steps=steps), crs, target)
    top, right, bottom, left = (slice(k * steps, (k + 1) * steps) for k in range(4))
    return float(x[left].max()), float(y[bottom].max()), float(x[right].min()), float(y[top].min())
