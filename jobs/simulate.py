"""`simulate`: scenes of an invented mineral district, with ancillary files and the truth."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine import sixs
from geoquarry.engine.ancillary_writer import write_reference_geotiff
from geoquarry.engine.aster_l1t_writer import SENSOR, write_granule
from geoquarry.engine.frame import outline, pixel_coordinates, project_points
from geoquarry.jobs.console import DONE, answer, say, watched
from geoquarry.jobs.simulate_air import (
    Atmosphere,
    with_air,
    with_coefficients,
    with_errors,
)
from geoquarry.jobs.simulate_files import (
    SCENES_FILE,
    TRUTH_FILE,
    masks_on_tile,
    modis_heights,
    scene_of,
    start_afresh,
    write_aod,
    write_lattice_truth,
)
from geoquarry.jobs.simulate_frame import frame_of
from geoquarry.jobs.simulate_ground import (
    invent,
    keep_plants,
    reference_around,
    truth_on_tile,
    write_elevation,
)
from geoquarry.jobs.simulate_options import ELEVATION_LEVELS, refuse
from geoquarry.jobs.simulate_options import add_arguments as add_arguments
from geoquarry.jobs.simulate_scene import draw_state, draw_times, image, with_season
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.sensor import sensor

FINE_GROUND_M = 7.5
LARGE_M = 16_000.0
"""Tiles wider than this get a coarser ground."""


def simulate(
    out: Path,
    *,
    size: int = 256,
    scenes: int = 5,
    seed: int = 1,
    latitude_deg: float = 32.78,
    longitude_deg: float = -108.06,
    resolution_m: float = 30.0,
    grid_name: str | None = None,
    cloud: float = 0.25,
    all_cloudy: bool = False,
    calibration: float = 0.0,
    aod_error: float = 0.0,
    season: float = 0.0,
    shift: float = 0.0,
    surface: str | None = None,
    noise_dn: float = 0.5,
    ground_m: float | None = None,
    elevation_levels: int = ELEVATION_LEVELS,
    keep_lattice_truth: bool = False,
    atmosphere: Atmosphere = "6s",
    cache: sixs.Cache | None = None,
) -> dict[str, Any]:
    """Write scenes that cover one tile, what goes with them, and the truth.

    Parameters
    ----------
    out : Path
        Folder; files of an earlier simulation in it are replaced.
    size, resolution_m : int, float
        Of the tile: grid ``res-<resolution>_tilesize-<size>``.
    scenes, seed : int
        The first scene is free of clouds and covers the tile.
    latitude_deg, longitude_deg : float
        The tile with this place is taken.
    grid_name : str, optional
        Another grid; replaces size and resolution.
    cloud : float
        Largest share of a scene under clouds, 0 to 0.8.
    all_cloudy : bool
        Every scene, the first included, has just that share.
    calibration, aod_error : float
        Scenes and aerosol files that err: see `simulate_air.with_errors`.
    season : float
        Plants of a scene may be as dry as that, in winter; 0: green all year. The truth has them
        green.
    shift : float
        Every footprint but the first is moved by up to this share of the tile, down and across.
    surface : str, optional
        Cover nearly all of the ground with one of `landscape_cover.SURFACES`.
    noise_dn : float
        White noise in counts, one standard deviation.
    ground_m : float, optional
        Spacing of the ground lattice; 15 must be a multiple of it. Default 7.5, for tiles over
        16 km 15 (memory: about 1.6 GB at 512 pixels and 7.5 m, and at 1024 pixels and 15 m).
    elevation_levels : int
        6S runs at so many heights from the lowest to the highest ground, linear between them. 1:
        one set of coefficients per scene, at the tile's mean elevation.
    keep_lattice_truth : bool
        Write ``lattice/<granule id>.npz``: true reflectance of every granule pixel.
    atmosphere : {"6s", "lut"} or mapping of str -> list of float
        Who finds the coefficients (`simulate_air.ATMOSPHERES`); or ``xa``, ``xb``, ``xc`` per
        band for all scenes.
    cache : Cache, optional
        Of 6S runs.

    Returns
    -------
    manifest : dict
        As written to ``scenes.json``: ``grid``, ``tile_x``, ``tile_y``, file names (``scenes``,
        ``aod``, ``dem``, ``reference``, ``truth``) and the state of every scene.

    Raises
    ------
    UsageError
        A size, number or place out of range.
    """
    grid_name = grid_name or f"res-{resolution_m:g}_tilesize-{size}"
    refuse(
        {"size": size, "scenes": scenes, "cloud": cloud, "elevation-levels": elevation_levels}
        | {"calibration": calibration, "aod-error": aod_error, "season": season, "shift": shift}
        | {"seed": seed, "noise": noise_dn, "latitude": latitude_deg, "longitude": longitude_deg},
        ground_m,
        grid_name,
        surface,
    )
    frame_grid = grid(grid_name)
    facts = sensor(SENSOR)
    rng = np.random.default_rng([seed, 7])
    tile, zone = _tile_at(frame_grid, latitude_deg, longitude_deg)
    start_afresh(out)
    crs = f"EPSG:{32600 + zone}"  # counted from the equator, also in the south, as granules do
    transform = frame_grid.transform(*tile)
    edge_x, edge_y = project_points(*outline(transform, frame_grid.shape), frame_grid.crs, crs)
    lon, lat = _middle(frame_grid, tile)
    times = draw_times(scenes, lat, lon, rng)
    states = [
        draw_state(
            when,
            facts,
            lat,
            lon,
            cloud=max(float(rng.uniform(0.3, 1)) * (i > 0), float(all_cloudy)) * cloud,
            rng=rng,
        )
        for i, when in enumerate(times)
    ]
    extent_m = float(np.sqrt((np.ptp(edge_x)) * (np.ptp(edge_y))))
    # Streams of their own: what these options draw never changes what the others do.
    more = [np.random.default_rng([seed, 8, i]) for i in range(scenes)]
    states = [
        with_season(state, season, shift * extent_m * (i > 0), lat, more[i])
        for i, state in enumerate(states)
    ]
    frames = [
        frame_of(
            edge_x,
            edge_y,
            turn_deg=state.turn_deg,
            shift_m=state.shift_m,
            beside_m=state.beside_m,
        )
        for state in states
    ]

    say(f"Inventing the ground of tile {tile[0]},{tile[1]} of {frame_grid.name}.")
    if ground_m is None:
        ground_m = FINE_GROUND_M if extent_m <= LARGE_M else 2 * FINE_GROUND_M
    land, ground = invent(frames, facts.names, extent_m, seed, lat, ground_m, surface)
    spot = pixel_coordinates(
        frame_grid.crs, transform, frame_grid.shape, crs, ground.transform, step=1
    )
    truth = truth_on_tile(land, ground, spot, [band.resolution_m for band in facts.bands])
    elevation_m = float(truth["elevation"].mean(dtype=np.float64))
    reference, reference_transform = reference_around(land, ground, crs, frame_grid, tile)
    land_names = land.class_names
    if season > 0:
        keep_plants(land, ground, [band.resolution_m for band in facts.bands])
    del land  # the largest array by far

    files = {
        "dem": write_elevation(out, ground, crs),
        "reference": write_reference_geotiff(
            out / "modis_reference.tif", reference, reference_transform
        ).name,
    }
    heights = modis_heights(ground, crs, frame_grid, tile, elevation_m)
    made: list[dict[str, Any]] = []
    aod: set[str] = set()
    masks = []
    for place, (state, frame) in enumerate(
        watched(zip(states, frames, strict=True), what="scenes", total=scenes)
    ):
        state = with_air(state, elevation_m, lat, rng)
        state = with_errors(state, calibration=calibration, aod_error=aod_error, rng=more[place])
        state = with_coefficients(state, ground, elevation_levels, atmosphere, cache)
        picture = image(
            state,
            frame,
            ground,
            facts,
            cloud_size_m=float(np.clip(0.11 * extent_m, 250, 1500)),
            cloud_height_m=float(rng.uniform(700, 2000)),
            noise_dn=noise_dn,
            rng=np.random.default_rng([seed, 100 + place]),
        )
        scene = scene_of(state, frame, picture, zone, crs, place)
        path = write_granule(out, scene, picture.dn)
        aod |= write_aod(out, state, heights, seed)
        masks.append(masks_on_tile(picture.sky, frame, ground, spot))
        if keep_lattice_truth:
            write_lattice_truth(out, scene.granule_id, state, frame, picture, crs)
        made.append(
            {
                "file": path.name,
                "granule_id": scene.granule_id,
                **state.as_json(),
                "gain_code": picture.gain_code,
                "cloud_fraction_of_tile": round(float(masks[-1][0].mean()), 4),
            }
        )
    truth["cloud"], truth["shadow"] = (np.stack([m[k] for m in masks]) for k in (0, 1))
    truth["class_names"] = np.array(land_names)
    truth["dry_change"] = np.array(ground.dry_change, np.float32)
    arrays: dict[str, Any] = truth
    np.savez_compressed(out / TRUTH_FILE, **arrays)
    manifest = {
        "grid": frame_grid.name,
        "tile_x": tile[0],
        "tile_y": tile[1],
        "bounds": list(frame_grid.bounds(*tile)),
        "granule_crs": crs,
        "seed": seed,
        "noise_dn": noise_dn,
        "ground_m": ground_m,
        "elevation_m": elevation_m,
        "atmosphere": atmosphere if isinstance(atmosphere, str) else "given",
        "calibration": calibration,
        "aod_error": aod_error,
        "season": season,
        "shift": shift,
        "surface": surface,
        "scenes": made,
        "aod": sorted(aod),
        **files,
        "truth": TRUTH_FILE,
        "lattice_truth": keep_lattice_truth,
    }
    (out / SCENES_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _tile_at(frame: Grid, latitude_deg: float, longitude_deg: float) -> tuple[tuple[int, int], int]:
    """The tile with a place, and the UTM zone of the tile's middle."""
    x, y = project_points([longitude_deg], [latitude_deg], "EPSG:4326", frame.crs)
    at_x, at_y = float(x[0]), float(y[0])
    tiles = list(
        frame.tiles(at_x, at_y, math.nextafter(at_x, math.inf), math.nextafter(at_y, math.inf))
    )
    if not tiles:
        raise UsageError(f"No tile of {frame.name} at {latitude_deg}, {longitude_deg}.")
    middle = _middle(frame, tiles[0])
    return tiles[0], min(int((middle[0] + 180) // 6) + 1, 60)


def _middle(frame: Grid, tile: tuple[int, int]) -> tuple[float, float]:
    """Longitude and latitude of a tile's middle."""
    left, bottom, right, top = frame.bounds(*tile)
    lon, lat = project_points([(left + right) / 2], [(bottom + top) / 2], frame.crs, "EPSG:4326")
    return float(lon[0]), float(lat[0])


def main(args: argparse.Namespace) -> int:
    """Run `geoquarry simulate`."""
    manifest = simulate(
        args.dir,
        size=args.size,
        scenes=args.scenes,
        seed=args.seed,
        latitude_deg=args.latitude,
        longitude_deg=args.longitude,
        grid_name=args.grid,
        cloud=args.cloud,
        all_cloudy=args.all_cloudy,
        calibration=args.calibration,
        aod_error=args.aod_error,
        season=args.season,
        shift=args.shift,
        surface=args.surface,
        atmosphere=args.atmosphere,
        noise_dn=args.noise,
        ground_m=args.ground,
        elevation_levels=args.elevation_levels,
        keep_lattice_truth=args.keep_lattice_truth,
    )
    if args.json:
        answer(manifest, as_json=True)
        return DONE
    say(
        f"{len(manifest['scenes'])} scenes of tile {manifest['tile_x']},{manifest['tile_y']} "
        f"({manifest['grid']}) in {args.dir}; the truth is in {TRUTH_FILE}."
    )
    return DONE
