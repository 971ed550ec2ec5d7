"""UDFs of a user, which travel to the loopback project: NumPy, geoquarry.schemas, nothing else."""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from geoquarry.schemas.blob import decode, encode

SIZE = 8


def fold(rows: Iterable[Mapping[str, Any]], job: Any) -> dict[str, Any]:
    """Sum of band 1 over the granules, weighted where a lookup says so; trouble on request."""
    stream = Stream(job)
    for row in rows:
        stream.update(row)
    return stream.result()


class Stream:
    """The same, row by row."""

    def __init__(self, job: Any) -> None:
        self.job, self.total, self.granules = job, 0, []

    def update(self, row: Mapping[str, Any]) -> None:
        weight = row.get("weight")
        self.total += int(decode(row["b01"])[0, 0]) * (1 if weight is None else weight)
        self.total += row.get("bonus") or 0
        assert row["acquired"].utcoffset().total_seconds() == 0
        self.granules.append(row["granule_id"])
        time.sleep(self.job.params.get("seconds", 0))

    def result(self) -> dict[str, Any]:
        key = [self.job.tile_x, self.job.tile_y]
        if key in self.job.params.get("fail", []):
            raise ValueError("toy failure")
        if key in self.job.params.get("die", []):
            os._exit(9)
        dtype = np.uint8 if key in self.job.params.get("wrong", []) else np.int16
        value = np.full((SIZE, SIZE), self.total, dtype)
        if self.job.params.get("big"):
            value = np.random.default_rng(0).integers(0, 2**15, (64, 64), np.int16)
        return {
            "status": "ok",
            "message": f"NumPy {np.__version__}" if self.job.params.get("version") else "",
            "granules": self.granules,
            "flags": encode(np.zeros((SIZE, SIZE), np.uint16)),
            "count": encode(np.full((SIZE, SIZE), len(self.granules), np.uint8)),
            "value": encode(value),
            "provenance": {"quality": 1},
        }

    def close(self) -> None:
        pass
