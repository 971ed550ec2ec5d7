"""Work that goes wrong on purpose: importable, because it travels to Python workers."""

import os
import signal
import threading
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from air import optics

import geoquarry
from geoquarry.engine import sixs_batch
from geoquarry.engine.tile import Part, TileWork
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs import methods

ONE_AT_A_TIME = threading.Lock()


def first_time(folder, name):
    """Whether nobody has been here before, in any process."""
    try:
        os.close(os.open(Path(folder, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def compute(rows, job):
    """`methods.compute`, but it notes down each attempt and meets what `trouble` says.

    ``trouble`` = {folder, seconds, kill, exit, stall}: every tile takes so many seconds; the first
    attempt at each tile of the lists kills its Python worker after one row, leaves it, or takes a
    minute.
    """
    params = dict(job.params)
    trouble = params.pop("trouble")
    folder, tile = trouble["folder"], [job.tile_x, job.tile_y]
    name = f"{job.tile_x}_{job.tile_y}"
    said = f"{os.getpid()} {geoquarry.__file__}"
    Path(folder, f"attempt-{name}-{uuid.uuid4().hex}").write_text(said)
    time.sleep(trouble.get("seconds", 0))
    kinds = [kind for kind in ("kill", "exit", "stall") if tile in trouble.get(kind, [])]
    if kinds and first_time(folder, f"{kinds[0]}-{name}"):
        next(iter(rows))
        if kinds == ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if kinds == ["exit"]:
            os._exit(9)
        time.sleep(60)
    return methods.compute(rows, replace(job, params=params))


def slow(rows, job):
    """`methods.compute`, but every tile takes a second."""
    time.sleep(1)
    return methods.compute(rows, job)


def attempts(folder):
    """What `compute` noted down: [(tile, process id, where geoquarry was imported from)]."""
    found = []
    for path in Path(folder).glob("attempt-*"):
        process, _, module = path.read_text().partition(" ")
        if process:
            found.append((path.name.split("-")[1], int(process), module))
    return found


@dataclass(frozen=True)
class BreaksAfterWriting:
    """`TileWork` whose first attempt at a tile fails when its file is already there."""

    work: TileWork
    folder: str
    always: bool = False

    def __call__(self, task) -> Part:
        part = self.work(task)
        if first_time(self.folder, f"broke-{task.tile_x}_{task.tile_y}") or self.always:
            raise OSError("the disk is full, says the test")
        return part


def invented_air(rows, job):
    """`sixs_batch.compute` with the formulas of tests/air.py instead of 6S."""

    def answer(sensor_name, band, state, aerosol_model):
        found = optics(sensor(sensor_name).names.index(band), state)
        return {name: found[name] for name in sixs_batch.OUTPUTS}

    with (
        ONE_AT_A_TIME,  # two threads that patch the same name would restore each other's patch
        patch.object(sixs_batch, "outputs_of", answer),
        patch.object(sixs_batch, "version", lambda: "6SV of this test"),
    ):
        return sixs_batch.compute(rows, job)
