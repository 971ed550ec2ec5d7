"""Print one digest over every method and mosaic: `.ci/run` compares it between NumPy versions."""

import hashlib
from types import SimpleNamespace

from rows import GRID, SENSOR, mixed_rows

from geoquarry.schemas.digest import parity_digest
from geoquarry.udfs import methods


def digest():
    """SHA-256 over the results of all jobs on made-up rows, without any engine."""
    found = []
    wanted = [
        *(("mosaic", {"mosaic": name}) for name in sorted(methods.MOSAICS)),
        *(("color_balancing", {"balance": name}) for name in sorted(methods.BALANCES)),
        ("mineral_indices", {}),
        ("mineral_indices", {"dtype": "float32"}),
    ]
    for method, params in wanted:
        method, params = methods.normalise(method, params, SENSOR.name)
        for tile_x, tile_y in ((3, 5), (4, 5)):
            job = SimpleNamespace(
                method=method,
                params=params,
                sensor=SENSOR.name,
                grid=GRID,
                tile_x=tile_x,
                tile_y=tile_y,
                spill_dir=None,
            )
            rows = mixed_rows(((tile_x, tile_y),))
            found.append(parity_digest([methods.compute(rows, job)]))
    return hashlib.sha256("".join(found).encode()).hexdigest()


if __name__ == "__main__":
    print(digest())
