"""What the kill tests disturb: a warehouse with small tiles, scenes to ingest, rows to upload."""

import random

import pytest
from rows import GRID, SENSOR, mixed_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas.tables import tiles_schema

TILES = [(x, y) for x in range(3) for y in range(2)]
COEFFICIENTS = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """A warehouse with a table `tiles`, which nobody changes."""
    engine = open_engine(str(tmp_path_factory.mktemp("house") / "warehouse"), workers=2)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", mixed_rows(TILES, granules=3))
    return engine


@pytest.fixture(scope="session")
def ingest_words(tmp_path_factory):
    """The arguments of an ingest of three scenes, without table and warehouse."""
    folder = tmp_path_factory.mktemp("scenes")
    about = simulate(folder, size=64, scenes=3, seed=5, atmosphere=COEFFICIENTS)
    scenes = [folder / scene["file"] for scene in about["scenes"]]
    aod, dem = ([folder / name for name in about[kind]] for kind in ("aod", "dem"))
    return ["ingest", *scenes, "--aod", *aod, "--dem", *dem, "--grid", about["grid"]]


@pytest.fixture
def moments(request):
    """Chance with a seed that is told, so that what failed can be done again."""
    seed = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(10**6) if seed == 0 else seed
    print(f"--seed {seed}")
    return random.Random(f"{request.node.name} {seed}")


@pytest.fixture
def kills(request):
    """How often each phase is killed."""
    return request.config.getoption("--kills")


@pytest.fixture
def at_random(request):
    """Whether processes are killed at any moment rather than at named points."""
    return request.config.getoption("--at-random")
