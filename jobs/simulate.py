"""`simulate`: scenes of an invented mineral district, with ancillary files and the truth."""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine import sixs
from geoquarry.engine.ancillary_writer import write_reference_geotiff
from geoquarry.engine.aster_l1t_writer import SENSOR, write_granule
from geoquarry.engine.raster import outline, pixel_coordinates, project_points
from geoquarry.jobs.console import DONE, answer, say, watched
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
    Ground,
    invent,
    reference_around,
    truth_on_tile,
    write_elevation,
)
from geoquarry.jobs.simulate_scene import State, draw_state, draw_times, image
from geoquarry.schemas.atmosphere import (
    ozone_above,
    standard_water,
    water_above,
    water_fraction,
)
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.ozone import ozone_column
from geoquarry.schemas.sensor import sensor

FINE_GROUND_M = 7.5
ELEVATION_LEVELS = 2
"""At the lowest and the highest ground: the water's transmittance in between is linear to 0.1 %
over 600 m (estimated from its curvature: 3.3 % in 500 m at band 9, falling off in 4.6 km)."""
LARGE_M = 16_000.0
"""Tiles wider than this get a coarser ground."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry simulate`."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument("--size", type=int, default=256, help="pixels per side of the tile")
    parser.add_argument("--scenes", type=int, default=5, help="how many scenes")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same files")
    parser.add_argument("--latitude", type=float, default=32.78, metavar="DEG")
    parser.add_argument("--longitude", type=float, default=-108.06, metavar="DEG")
    parser.add_argument("--grid", help="grid whose tile is covered (default from --size)")
    parser.add_argument("--cloud", type=float, default=0.25, help="largest cloud cover of a scene")
    parser.add_argument("--noise", type=float, default=0.5, metavar="DN", help="noise, 1 sigma")
    parser.add_argument("--ground", type=float, metavar="M", help="spacing of the ground lattice")
    parser.add_argument(
        "--elevation-levels",
        type=int,
        default=ELEVATION_LEVELS,
        help="6S runs per scene between low and high",
    )
    parser.add_argument(
        "--keep-lattice-truth", action="store_true", help="also keep the truth per granule pixel"
    )


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
    noise_dn: float = 0.5,
    ground_m: float | None = None,
    elevation_levels: int = ELEVATION_LEVELS,
    keep_lattice_truth: bool = False,
    atmosphere: Mapping[str, Sequence[float]] | None = None,
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
        The first scene is free of clouds.
    latitude_deg, longitude_deg : float
        The tile with this place is taken.
    grid_name : str, optional
        Another grid; replaces size and resolution.
    cloud : float
        Largest share of a scene under clouds, 0 to 0.8.
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
    atmosphere : mapping of str -> list of float, optional
        ``xa``, ``xb``, ``xc`` per band for all scenes; without it 6S runs.
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
    _refuse(size, scenes, cloud, ground_m, latitude_deg, elevation_levels)
    frame_grid = grid(grid_name or f"res-{resolution_m:g}_tilesize-{size}")
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
            when, facts, lat, lon, cloud=float(rng.uniform(0.3, 1)) * cloud * (i > 0), rng=rng
        )
        for i, when in enumerate(times)
    ]
    frames = [
        frame_of(edge_x, edge_y, turn_deg=state.turn_deg, shift_m=state.shift_m) for state in states
    ]

    say(f"Inventing the ground of tile {tile[0]},{tile[1]} of {frame_grid.name}.")
    extent_m = float(np.sqrt((np.ptp(edge_x)) * (np.ptp(edge_y))))
    if ground_m is None:
        ground_m = FINE_GROUND_M if extent_m <= LARGE_M else 2 * FINE_GROUND_M
    land, ground = invent(frames, facts.names, extent_m, seed, lat, ground_m)
    spot = pixel_coordinates(
        frame_grid.crs, transform, frame_grid.shape, crs, ground.transform, step=1
    )
    truth = truth_on_tile(land, ground, spot, [band.resolution_m for band in facts.bands])
    elevation_m = float(truth["elevation"].mean(dtype=np.float64))
    reference, reference_transform = reference_around(land, ground, crs, frame_grid, tile)
    land_names = land.class_names
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
        state = _with_air(state, elevation_m, lat, rng)
        state = _with_coefficients(state, ground, elevation_levels, atmosphere, cache)
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
        "atmosphere": "given" if atmosphere is not None else "6S",
        "scenes": made,
        "aod": sorted(aod),
        **files,
        "truth": TRUTH_FILE,
        "lattice_truth": keep_lattice_truth,
    }
    (out / SCENES_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _refuse(
    size: int, scenes: int, cloud: float, ground_m: float | None, latitude_deg: float, levels: int
) -> None:
    if not 32 <= size <= 2048:
        raise UsageError(f"--size {size}: give 32 to 2048 pixels.")
    if not 1 <= scenes <= 200:
        raise UsageError(f"--scenes {scenes}: give 1 to 200.")
    if not 0 <= cloud <= 0.8:
        raise UsageError(f"--cloud {cloud}: give a share from 0 to 0.8.")
    finest = min(band.resolution_m for band in sensor(SENSOR).bands)
    if ground_m is not None and (ground_m <= 0 or finest % ground_m):
        raise UsageError(f"--ground {ground_m}: {finest:g} m must be a multiple of it, e.g. 7.5.")
    if abs(latitude_deg) > 80:
        raise UsageError(f"--latitude {latitude_deg}: UTM ends at 80 degrees.")
    if not 1 <= levels <= 8:
        raise UsageError(f"--elevation-levels {levels}: give 1 to 8.")


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


def _with_air(
    state: State, elevation_m: float, latitude_deg: float, rng: np.random.Generator
) -> State:
    """Aerosol drawn at random; water around the standard column, ozone that of the season."""
    water = float(standard_water(latitude_deg, state.acquired))
    ozone = ozone_column(latitude_deg, state.acquired)
    return replace(
        state,
        elevation_m=elevation_m,
        aod550=round(float(np.clip(rng.lognormal(math.log(0.1), 0.55), 0.02, 0.5)), 3),
        water_vapour_g_cm2=round(water_above(water, elevation_m) * float(rng.uniform(0.5, 1.4)), 3),
        ozone_cm_atm=ozone_above(ozone, elevation_m),
    )


def _with_coefficients(
    state: State,
    ground: Ground,
    levels: int,
    given: Mapping[str, Sequence[float]] | None,
    cache: sixs.Cache | None,
) -> State:
    if given is not None:
        sets = [[list(map(float, given[name]))] for name in ("xa", "xb", "xc")]
        return replace(state, xa=sets[0], xb=sets[1], xc=sets[2], level_m=[state.elevation_m])
    if levels == 1:
        heights = [state.elevation_m]
    else:
        lowest, highest = float(ground.elevation_m.min()), float(ground.elevation_m.max())
        heights = np.linspace(lowest, highest, levels).tolist()
    share = water_fraction(state.elevation_m)
    found = [
        sixs.correction(
            sensor(SENSOR),
            sun_zenith_deg=state.sun_zenith_deg,
            sun_azimuth_deg=state.sun_azimuth_deg,
            view_zenith_deg=state.view_zenith_deg,
            view_azimuth_deg=state.view_azimuth_deg,
            aod550=state.aod550,
            elevation_m=height,
            water_vapour_g_cm2=state.water_vapour_g_cm2 * water_fraction(height) / share,
            ozone_cm_atm=state.ozone_cm_atm,
            earth_sun_distance_au=state.earth_sun_distance_au,
            aerosol_model="Continental",
            cache=cache,
        )
        for height in heights
    ]
    return replace(
        state,
        xa=[f.xa for f in found],
        xb=[f.xb for f in found],
        xc=[f.xc for f in found],
        level_m=heights,
    )


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
