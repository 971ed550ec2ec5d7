"""Small rows and jobs for the tests of jobs (see job_udfs.py for their UDF)."""

import datetime as dt
from dataclasses import replace

import numpy as np

from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.job import Job
from geoquarry.schemas.tables import OutputBand, results_schema, tiles_schema

GRID = "res-30_tilesize-96"
TILES = tiles_schema("aster_l1t", GRID)
JOB = Job(
    source="aster",
    target="maps",
    method="toy",
    params={},
    udf="job_udfs:fold",
    columns=("granule_id", "acquired", "b01"),
    schema=results_schema("aster_l1t", GRID, "toy", [OutputBand("value", "toy value")]),
    package_version="1",
)


def row(granule, x, y, value=1, **more):
    """One tile row with a constant band."""
    return {
        "grid": GRID,
        "tile_x": x,
        "tile_y": y,
        "granule_id": granule,
        "sensor": "aster_l1t",
        "acquired": dt.datetime(2005, 1, 1, 12, 30, tzinfo=dt.UTC),
        "cloud_fraction": 0.1,
        "b01": encode(np.full((8, 8), value, np.uint8)),
    } | more


def job(**changes):
    """The toy job with other parameters."""
    own = {name: changes.pop(name) for name in list(changes) if name not in JOB.__dict__}
    return replace(JOB, **{"params": own, **changes})


def values(engine, table="maps"):
    """Tile -> the constant of its value, None where it has none."""
    return {
        (r["tile_x"], r["tile_y"]): None if r["value"] is None else int(decode(r["value"])[0, 0])
        for r in engine.read(table).read_all().to_pylist()
    }


def statements(server, begins):
    """Statements of that kind that the server was given."""
    return [one.query for one in server.instances.all.values() if one.query.startswith(begins)]
