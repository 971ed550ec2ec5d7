"""`demo`: simulated scenes to mineral maps, pictures and a comparison with the truth."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.local import Engine, open_engine
from geoquarry.jobs import pictures
from geoquarry.jobs.console import DONE, FAILED, answer, say, table_text
from geoquarry.jobs.export import export
from geoquarry.jobs.functions import scalar_functions
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.maps import physical
from geoquarry.jobs.run import job_of
from geoquarry.jobs.simulate import simulate
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import blob, flags
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.schemas.tables import facts

METHODS = {
    "mosaic": "demo_mosaic",
    "color_balancing": "demo_balanced",
    "mineral_indices": "demo_indices",
}
PICTURED = ("alunite_kaolinite_pyrophyllite", "sericite_muscovite_illite_smectite", "ferric_iron")
"""Index maps the demo draws: advanced argillic, phyllic and iron-oxide alteration."""
SWIR_COMPOSITE = ("4", "6", "8")
TABLE = "demo_tiles"
UNCLEAR = flags.CLOUD | flags.SHADOW | flags.NOT_OBSERVED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry demo`."""
    parser.add_argument(
        "dir", nargs="?", type=Path, default=Path("demo"), metavar="DIR", help="default: demo"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels per side of the tile")
    parser.add_argument("--scenes", type=int, default=5, help="how many scenes")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same scenes")


def demo(out: Path, *, size: int = 256, scenes: int = 5, seed: int = 1) -> dict[str, Any]:
    """Simulate, ingest, run the three methods, export and draw.

    Parameters
    ----------
    out : Path
        Folder for scenes, warehouse, maps and pictures; it may exist (everything is replaced).
    size, scenes, seed : int
        Of the simulation.

    Returns
    -------
    summary : dict
        ``recovered`` (per band: bias and RMSE of the mosaic against the truth), ``maps``,
        ``pictures``, ``seconds`` per step.
    """
    pictures.refuse_without_matplotlib()
    seconds: dict[str, float] = {}
    clock = time.monotonic()

    def lap(step: str) -> None:
        nonlocal clock
        seconds[step] = round(time.monotonic() - clock, 1)
        say(f"{step}: {seconds[step]} s")
        clock = time.monotonic()

    say(f"geoquarry demo in {out}: {scenes} scenes of {size} x {size} pixels.")
    scene_dir = out / "scenes"
    made = simulate(scene_dir, size=size, scenes=scenes, seed=seed)
    lap("simulate")
    engine = open_engine(str(out / "warehouse"), functions=scalar_functions())
    if engine.exists(TABLE):
        engine.drop(TABLE)
    report = ingest(
        engine,
        [scene_dir / scene["file"] for scene in made["scenes"]],
        TABLE,
        aod=[scene_dir / name for name in made["aod"]],
        dem=[scene_dir / name for name in made["dem"]],
        reference=scene_dir / made["reference"],
        grid_name=made["grid"],
        tiles=[(made["tile_x"], made["tile_y"])],
    )
    if report.failed:
        raise RuntimeError(f"The demo's own scenes could not be read: {report.failed}")
    lap("ingest")
    for method, target in METHODS.items():
        done = run_phases(engine, job_of(engine, Trigger(method, TABLE, target, overwrite=True)))
        if done.failed:
            raise RuntimeError(f"The demo's {method} failed: {done.failed}")
    lap("run three methods")
    maps = [path for target in METHODS.values() for path in export(engine, target, out / "maps")]
    lap("export")
    tile = (made["tile_x"], made["tile_y"])
    drawn = _draw(engine, out / "pictures", tile)
    lap("draw")
    recovered = compare(engine, METHODS["mosaic"], tile, scene_dir / made["truth"])
    summary = {
        "recovered": recovered,
        "maps": [str(path) for path in maps],
        "pictures": [str(path) for path in drawn],
        "seconds": seconds,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def compare(engine: Engine, table: str, tile: tuple[int, int], truth: Path) -> list[dict[str, Any]]:
    """Recovered against true reflectance, per band, over clear pixels.

    Returns
    -------
    rows : list of dict
        ``band, true_mean, bias, rmse, pixels``.
    """
    with np.load(truth, allow_pickle=False) as arrays:
        true = arrays["reflectance"]
    got = physical(engine, table, tile)
    clear = (got["flags"] & UNCLEAR) == 0
    rows = []
    for place, name in enumerate(sensor(facts(engine.schema(table))["sensor"]).names):
        use = clear & np.isfinite(got[name])
        error = got[name][use].astype(float) - true[place][use]
        rows.append(
            {
                "band": name,
                "true_mean": round(float(true[place][use].mean(dtype=float)), 4),
                "bias": round(float(error.mean()), 5),
                "rmse": round(float(np.sqrt((error**2).mean())), 5),
                "pixels": int(use.sum()),
            }
        )
    return rows


def _roles(facts_: Sensor, *roles: str) -> list[str]:
    return [facts_.bands[place].name for role in roles if (place := facts_.role(role)) is not None]


def _draw(engine: Engine, out: Path, tile: tuple[int, int]) -> list[Path]:
    """False colours before and after, a SWIR composite, three index maps."""
    out.mkdir(parents=True, exist_ok=True)
    kind = sensor(facts(engine.schema(TABLE))["sensor"])
    nir, red, green = _roles(kind, "nir", "red", "green")
    swir = [kind.names[kind.position(number)] for number in SWIR_COMPOSITE]
    mosaic, balanced = (physical(engine, METHODS[m], tile) for m in ("mosaic", "color_balancing"))
    before = _cloudiest(engine, tile, kind)
    drawn = [out / "before_after.png", out / "swir_468.png"]
    pictures.draw_pair(
        drawn[0],
        (
            np.stack([before[name] for name in (nir, red, green)]),
            "one scene as it came (DN 3N-2-1)",
        ),
        (
            np.stack([balanced[name] for name in (nir, red, green)]),
            "all scenes: atmosphere removed, median, balanced",
        ),
    )
    pictures.draw_false_colour(
        drawn[1],
        mosaic[swir[0]],
        mosaic[swir[1]],
        mosaic[swir[2]],
        "SWIR 4-6-8, surface reflectance",
    )
    maps = physical(engine, METHODS["mineral_indices"], tile)
    for index in indices(kind.name):
        if index.name in PICTURED:
            path = out / f"{index.name}.png"
            pictures.draw_index(
                path,
                maps[index.name],
                title=index.title,
                legend=f"{index.formula}\n{index.meaning}",
            )
            drawn.append(path)
    return drawn


def _cloudiest(engine: Engine, tile: tuple[int, int], kind: Sensor) -> dict[str, NDArray[Any]]:
    """DN of the tile's cloudiest granule on the full tile, NaN where not observed."""
    rows = engine.read(TABLE, tiles=[tile]).read_all().to_pylist()
    row = max(rows, key=lambda r: (r["cloud_fraction"], r["granule_id"]))
    shape = blob.header(row["elevation"])
    bands = {}
    for name in kind.names:
        window = blob.decode(row[name])
        full = np.full((shape.height, shape.width), np.nan, np.float32)
        place = full[
            row["row0"] : row["row0"] + window.shape[0], row["col0"] : row["col0"] + window.shape[1]
        ]
        place[...] = np.where(window == 0, np.float32(np.nan), window)
        bands[name] = full
    return bands


def main(args: argparse.Namespace) -> int:
    """Run `geoquarry demo`."""
    try:
        summary = demo(args.dir, size=args.size, scenes=args.scenes, seed=args.seed)
    except RuntimeError as error:
        say(str(error))
        return FAILED
    if args.json:
        answer(summary, as_json=True)
        return DONE
    answer("Recovered surface reflectance against the simulated truth:", as_json=False)
    answer(table_text(summary["recovered"]), as_json=False)
    answer(f"Pictures: {args.dir / 'pictures'}   GeoTIFFs: {args.dir / 'maps'}", as_json=False)
    answer("Not crosstalk-corrected.", as_json=False)
    return DONE
