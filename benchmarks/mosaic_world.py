"""Simulated scenes of one place, ingested, with their truth: what mosaics are measured on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.local import Engine, open_engine
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.maps import physical
from geoquarry.jobs.run import job_of
from geoquarry.jobs.simulate import simulate
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import blob, flags
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor

SENSOR = "aster_l1t"
METHOD = "color_balancing"
"""A mosaic, balanced in whatever way, none included."""
NAMES = sensor(SENSOR).names
WAYS = {
    "as they are": {"harmonise": "none", "balance": "none"},
    "harmonised": {"harmonise": "linear", "balance": "none"},
    "balanced": {"harmonise": "none", "balance": "tasseled_cap"},
    "both": {"harmonise": "linear", "balance": "tasseled_cap"},
}
NAMING = ("harmonise", "balance", "masks")
UNCLEAR = flags.CLOUD | flags.SHADOW | flags.NOT_OBSERVED


@dataclass
class World:
    """Simulated scenes of one place, ingested.

    Attributes
    ----------
    engine : Engine
    made : dict
        Manifest of the simulation.
    truth : dict of str -> array
    tile : (int, int)
    """

    engine: Engine
    made: dict[str, Any]
    truth: dict[str, NDArray[Any]]
    tile: tuple[int, int]

    def result(self, **params: Any) -> dict[str, Any]:
        """Bands, flags and provenance of one result tile."""
        target = self.run("tiles", params)
        found: dict[str, Any] = physical(self.engine, target, self.tile)
        row = self.engine.read(target, ["provenance"], tiles=[self.tile]).read_all().to_pylist()[0]
        return found | {"provenance": json.loads(row["provenance"])}

    def run(self, table: str, params: dict[str, Any]) -> str:
        """Run one job in all its phases; the table it wrote."""
        # One target per way: its sums over the granules are taken once for all mosaics.
        target = "_".join([table, *(str(params.get(name)) for name in NAMING)])
        where = params.pop("where", "")
        target = "alone" if where else target
        trigger = Trigger(METHOD, table, target, where, params, overwrite=True)
        report = run_phases(self.engine, job_of(self.engine, trigger))
        if report.failed:
            raise RuntimeError(f"{params}: {report.failed}")
        return target

    def observed(self) -> Iterator[tuple[str, NDArray[np.uint16]]]:
        """Flags of every granule on the whole tile, by id."""
        columns = ["granule_id", "row0", "col0", "flags"]
        rows = self.engine.read("tiles", columns, tiles=[self.tile]).read_all().to_pylist()
        for row in sorted(rows, key=lambda row: str(row["granule_id"])):
            window = blob.decode(row["flags"])
            full = np.full(grid(self.made["grid"]).shape, flags.NOT_OBSERVED, np.uint16)
            top, left = row["row0"], row["col0"]
            full[top : top + window.shape[0], left : left + window.shape[1]] = window
            yield row["granule_id"], full


def world(folder: Path, *, size: int, **options: Any) -> World:
    """Simulate and ingest; also cut to a grid of half the tile size, as table ``quarters``."""
    made = simulate(folder / "scenes", size=size, atmosphere="lut", all_cloudy=True, **options)
    engine = open_engine(str(folder / "warehouse"))
    for table, name in (("tiles", made["grid"]), ("quarters", f"res-30_tilesize-{size // 2}")):
        whole = made["tile_x"], made["tile_y"]
        quarters = [(2 * whole[0] + x, 2 * whole[1] + y) for y in (0, 1) for x in (0, 1)]
        report = ingest(
            engine,
            [folder / "scenes" / scene["file"] for scene in made["scenes"]],
            table,
            aod=[folder / "scenes" / file for file in made["aod"]],
            dem=[folder / "scenes" / file for file in made["dem"]],
            reference=folder / "scenes" / made["reference"],
            grid_name=name,
            tiles=[whole] if table == "tiles" else quarters,
        )
        if report.failed:
            raise RuntimeError(f"Ingest failed: {report.failed}")
    with np.load(folder / "scenes" / made["truth"], allow_pickle=False) as arrays:
        truth = dict(arrays)
    return World(engine, made, truth, (made["tile_x"], made["tile_y"]))


def stack(found: dict[str, Any]) -> NDArray[np.float32]:
    """Reflectance (band, y, x) of a mosaic."""
    return np.stack([found[name] for name in NAMES])


def clear_sets(here: World) -> NDArray[np.int32]:
    """Which granules see a pixel clearly, as one number per set: borders all mosaics share."""
    label = np.zeros(grid(here.made["grid"]).shape, np.int32)
    for place, (_, bits) in enumerate(here.observed()):
        label |= np.where((bits & UNCLEAR) == 0, np.int32(1 << place), np.int32(0))
    return label


def could_be_clear(here: World) -> float:
    """Share of pixels that some granule sees without cloud and shadow, as simulated."""
    clear = np.zeros(grid(here.made["grid"]).shape, bool)
    bits = dict(here.observed())
    for place, scene in enumerate(here.made["scenes"]):
        hidden = here.truth["cloud"][place] | here.truth["shadow"][place]
        clear |= ~hidden & ((bits[scene["granule_id"]] & flags.NOT_OBSERVED) == 0)
    return float(clear.mean())


def search(tree: Any, name: str) -> Any:
    """The first value of that name in nested dicts, or None."""
    if not isinstance(tree, dict):
        return None
    if name in tree:
        return tree[name]
    return next((f for branch in tree.values() if (f := search(branch, name)) is not None), None)
