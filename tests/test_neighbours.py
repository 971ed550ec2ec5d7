"""Four tiles of one scene: no step where they meet, and each can be made alone again."""

import numpy as np
import pytest

from geoquarry.engine.local import open_engine
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.maps import physical
from geoquarry.jobs.run import job_of
from geoquarry.jobs.simulate import simulate
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.sensor import sensor

NAMES = sensor("aster_l1t").names
SIZE = 96
NOISE = 0.0015
"""Of reflectance: about one count, half of which the simulated sensor has as noise."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Engine, keys of the 2 x 2 tiles from the north-west by rows, and the truth over them.

    Granules are 5 % apart, their air is wrong by half, and footprints end inside the tiles.
    """
    folder = tmp_path_factory.mktemp("neighbours")
    made = simulate(
        folder / "scenes", size=2 * SIZE, scenes=3, seed=3, atmosphere="lut", calibration=0.05,
        aod_error=0.4, shift=0.3, cloud=0.2, ground_m=15.0,
    )  # fmt: skip
    engine = open_engine(str(folder / "warehouse"), workers=2)
    tiles = tuple((2 * made["tile_x"] + j, 2 * made["tile_y"] + i) for i in (0, 1) for j in (0, 1))
    files = folder / "scenes"
    report = ingest(
        engine,
        [files / scene["file"] for scene in made["scenes"]],
        "aster",
        aod=[files / name for name in made["aod"]],
        dem=[files / name for name in made["dem"]],
        reference=files / made["reference"],
        grid_name=f"res-30_tilesize-{SIZE}",
        tiles=tiles,
    )
    assert not report.failed
    return engine, tiles, np.load(files / made["truth"])["reflectance"]


def run(engine, tiles, target, **params):
    trigger = Trigger("color_balancing", "aster", target, params={"dtype": "float32", **params})
    report = run_phases(engine, job_of(engine, trigger, tiles=tiles))
    assert report.counts["ok"] == len(tiles)


def whole(engine, tiles, table):
    """The four tiles as one image, float32 (band, y, x)."""
    found = [physical(engine, table, tile) for tile in tiles]
    a, b, c, d = (np.stack([tile[name] for name in NAMES]) for tile in found)
    return np.block([[a, b], [c, d]])


def step(image, truth, at=SIZE):
    """Mean step of the error across a row and a column, per band: at `SIZE` tiles meet."""
    steps = []
    for error in (image - truth, (image - truth).transpose(0, 2, 1)):
        sides = [error[:, :, at + k] for k in (-2, -1, 0, 1)]
        across = (sides[2] - sides[1]) - (sides[1] - sides[0] + sides[3] - sides[2]) / 2
        for half in (slice(None, SIZE), slice(SIZE, None)):
            steps.append(np.nanmean(across[:, half], axis=1))
    return np.abs(np.array(steps)).mean()


@pytest.mark.parametrize("mosaic", ["median", "best"])
def test_tiles_made_in_one_job_meet_without_a_step(scenes, mosaic):
    engine, tiles, truth = scenes
    run(engine, tiles, f"job_{mosaic}", mosaic=mosaic)
    run(engine, tiles, f"alone_{mosaic}", mosaic=mosaic, scope="tile")
    together, alone = (whole(engine, tiles, f"{name}_{mosaic}") for name in ("job", "alone"))
    # What sharpness and noise leave anywhere, also where no tiles meet.
    anywhere = np.mean([step(together, truth, at) for at in range(20, 2 * SIZE, 24)])
    assert step(together, truth) - anywhere < NOISE / 2
    assert step(alone, truth) > 2 * step(together, truth)  # what the common tables are for


def test_tiles_made_one_by_one_are_the_same_bits(scenes):
    engine, tiles, _ = scenes
    run(engine, tiles, "one")
    expected = parity_digest(engine.read("one").read_all().to_pylist())
    engine.drop("one")
    for tile in reversed(tiles):
        run(engine, (tile,), "one")
    assert parity_digest(engine.read("one").read_all().to_pylist()) == expected
