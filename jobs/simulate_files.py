"""Files of a simulation: the granule's metadata, aerosol, truth per granule, and housekeeping."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.ancillary_writer import (
    TILE_PX,
    Overpass,
    sinusoidal_tile,
    tile_transform,
    write_mcd19a2,
)
from geoquarry.engine.aster_l1t_writer import SENSOR, Scene
from geoquarry.engine.frame import outline, project_points
from geoquarry.engine.sinusoidal import to_sinusoidal
from geoquarry.jobs.simulate_frame import Frame
from geoquarry.jobs.simulate_ground import Ground
from geoquarry.jobs.simulate_scene import Image, State
from geoquarry.schemas.atmosphere import water_fractions
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.cloud_model import Clouds

SCENES_FILE = "scenes.json"
TRUTH_FILE = "truth.npz"
LATTICE_FOLDER = "lattice"
PRODUCED = datetime(2015, 6, 1, 12, tzinfo=UTC)
HEIGHT_SAMPLES_M = 60.0
CLOUD_BOUND = 0.10
"""Opacity from which a pixel counts as cloud in the truth, and missing sunlight as shadow."""


def scene_of(state: State, frame: Frame, picture: Image, zone: int, crs: str, place: int) -> Scene:
    """What the granule's metadata say."""
    points = frame.corners(next(iter(frame.centre)))
    lon, lat = project_points([p[0] for p in points], [p[1] for p in points], crs, "EPSG:4326")
    inside = frame.inside(
        next(iter(frame.centre)), min(b.resolution_m for b in sensor(SENSOR).bands)
    )
    corners = [(float(a), float(b)) for a, b in zip(lat, lon, strict=True)]
    return Scene(
        acquired=state.acquired,
        produced=PRODUCED + timedelta(minutes=place),
        number=10000 + place,
        zone=zone,
        upper_left_m=(float(frame.left), float(frame.top)),
        gain_code=picture.gain_code,
        sun_zenith_deg=state.sun_zenith_deg,
        sun_azimuth_deg=state.sun_azimuth_deg,
        pointing_deg=state.pointing_deg,
        corners=(corners[0], corners[1], corners[2], corners[3]),
        orientation_deg=state.turn_deg,
        cloud_percent=round(100 * float((picture.sky.opacity[inside] > 0.5).mean())),
    )


def modis_heights(
    ground: Ground, crs: str, frame: Grid, tile: tuple[int, int], elevation_m: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Mean elevation of the 1 km pixels of each MODIS tile the district touches.

    Beyond the ground ``elevation_m`` stands in.
    """
    x, y = outline(frame.transform(*tile), frame.shape)
    lon, lat = project_points(x, y, frame.crs, "EPSG:4326")
    every = max(round(HEIGHT_SAMPLES_M / ground.step_m), 1)
    height = ground.elevation_m[::every, ::every].astype(np.float64)
    step = every * ground.step_m
    at_x, at_y = to_sinusoidal(
        *project_points(
            ground.left + step * np.arange(height.shape[1])[None, :],
            ground.top - step * np.arange(height.shape[0])[:, None],
            crs,
            "EPSG:4326",
        )
    )
    heights = {}
    for found in {sinusoidal_tile(float(a), float(b)) for a, b in zip(lat, lon, strict=True)}:
        a, _, left, _, e, top = tile_transform(found)
        rows, columns = (np.floor(v).astype(int) for v in ((at_y - top) / e, (at_x - left) / a))
        here = (rows >= 0) & (rows < TILE_PX) & (columns >= 0) & (columns < TILE_PX)
        place = rows[here] * TILE_PX + columns[here]
        total = np.bincount(place, height[here], TILE_PX**2)
        count = np.bincount(place, minlength=TILE_PX**2)
        mean = np.where(count > 0, total / np.maximum(count, 1), elevation_m)
        heights[found] = mean.reshape(TILE_PX, TILE_PX)
    return heights


def write_aod(
    out: Path, state: State, heights: dict[tuple[int, int], NDArray[np.float64]], seed: int
) -> set[str]:
    """One file per MODIS tile; the scene's own Terra orbit has what counts.

    One optical depth everywhere; the water vapour follows the ground.
    """
    when = state.acquired
    day_end = when.replace(hour=23, minute=59)
    names = set()
    for tile, height in sorted(heights.items()):
        share = water_fractions(height) / water_fractions(state.elevation_m)
        water = state.water_vapour_g_cm2 * share
        overpasses = [
            Overpass(when, "T", state.aod_reported, water),
            Overpass(min(when + timedelta(minutes=99), day_end), "T", None),
            Overpass(
                min(when + timedelta(minutes=185), day_end),
                "A",
                round(1.2 * state.aod_reported, 3),
                water,
            ),
        ]
        names.add(write_mcd19a2(out, tile, overpasses, seed=seed).name)
    return names


def masks_on_tile(
    sky: Clouds,
    frame: Frame,
    ground: Ground,
    spot: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Clouds, and shadows outside clouds, at the tile's pixels."""
    finest = min(band.resolution_m for band in sensor(SENSOR).bands)
    every = finest / ground.step_m
    rows = np.rint((spot[0] - (ground.top - frame.top) / ground.step_m) / every).astype(int)
    cols = np.rint((spot[1] - (frame.left - ground.left) / ground.step_m) / every).astype(int)
    cloud = sky.opacity[rows, cols] >= CLOUD_BOUND
    return cloud, (sky.shadow[rows, cols] >= CLOUD_BOUND) & ~cloud


def write_lattice_truth(
    out: Path, granule_id: str, state: State, frame: Frame, picture: Image, crs: str
) -> None:
    """True reflectance by band, pixels without cloud or shadow, and the frame."""
    folder = out / LATTICE_FOLDER
    folder.mkdir(exist_ok=True)
    clear = (picture.sky.opacity < 1e-3) & (picture.sky.shadow < 1e-3)
    arrays: dict[str, Any] = {
        "clear": clear,
        "corner_centres_m": np.array([frame.left, frame.top, frame.right, frame.bottom]),
        "crs": np.array(crs),
        "xa": np.array(state.xa),
        "xb": np.array(state.xb),
        "xc": np.array(state.xc),
        **picture.truth,
    }
    np.savez_compressed(folder / f"{granule_id}.npz", **arrays)


def start_afresh(out: Path) -> None:
    """Make the folder; delete what an earlier simulation listed in it, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / SCENES_FILE
    if not manifest.is_file():
        return
    try:
        old = json.loads(manifest.read_text(encoding="utf-8"))
        names = [*(scene["file"] for scene in old["scenes"]), *old["aod"], *old["dem"]]
        names += [old["reference"], old["truth"]]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{manifest} is not a list of simulated scenes. Choose another folder."
        ) from None
    for name in names:
        if Path(name).name == name:
            (out / name).unlink(missing_ok=True)
    for scene in old["scenes"]:
        stem = Path(scene["file"]).stem
        (out / LATTICE_FOLDER / f"{stem}.npz").unlink(missing_ok=True)
    manifest.unlink()
