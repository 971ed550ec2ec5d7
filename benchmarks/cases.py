"""What is measured: each case runs in a process of its own and answers one line of JSON."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
"""Before the heavy imports below: what a process pays before its first tile."""

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from made_up import full_granule, rows_of_granules  # noqa: E402

from geoquarry.engine.commit import Change, commit, new_commit_id  # noqa: E402
from geoquarry.engine.datafile import WrittenFile  # noqa: E402
from geoquarry.engine.local import Engine, open_engine  # noqa: E402
from geoquarry.engine.plan import TileTask, plan  # noqa: E402
from geoquarry.engine.tile import TileJob  # noqa: E402
from geoquarry.jobs.run import job_of  # noqa: E402
from geoquarry.jobs.statement import Trigger  # noqa: E402
from geoquarry.schemas import blob  # noqa: E402
from geoquarry.schemas.grid import grid  # noqa: E402
from geoquarry.schemas.job import Job  # noqa: E402
from geoquarry.schemas.sensor import sensor  # noqa: E402
from geoquarry.schemas.tables import facts, tiles_schema  # noqa: E402
from geoquarry.udfs.methods import compute  # noqa: E402

IMPORTED = time.perf_counter() - STARTED
SOURCE = "tiles"


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(x for x in lines if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Clock:
    """Wall and CPU seconds of what runs inside `lap`; CPU counts all threads and children."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextmanager
    def lap(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += _cpu() - cpu

    def answer(self, **more: Any) -> dict[str, Any]:
        return {"wall": self.wall, "cpu": self.cpu, "peak_mb": peak_mb(), **more}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# -- compute ----------------------------------------------------------------------------------


def prepare(folder: str, tiles: int, granules: int, size: int) -> dict[str, Any]:
    """A warehouse of made-up rows; the time is that of encoding and storing them."""
    name = f"res-30_tilesize-{size}"
    frame = grid(name)
    x0, y0 = (int(side) for side in next(iter(frame.tiles(-12.2e6, 3.8e6, -12.19e6, 3.81e6))))
    keys = [(x0 + n % 2, y0 + n // 2) for n in range(tiles)]
    engine = open_engine(folder)
    engine.create(SOURCE, tiles_schema("aster_l1t", name))
    raw = 0
    with engine.appender(SOURCE) as appender:
        for granule_id, rows in rows_of_granules(keys, granules, size, name):
            appender.add_granule(granule_id, rows)
            bands = (row[band] for row in rows for band in sensor("aster_l1t").names)
            raw += sum(blob.header(band).nbytes for band in bands)
    clock = Clock()
    stored = engine.describe(SOURCE)["nbytes"]
    return clock.answer(raw_mb=raw / 1e6, stored_mb=stored / 1e6)


def _job(engine: Engine, method: str, params: dict[str, str]) -> tuple[Job, list[TileTask]]:
    trigger = Trigger(method, SOURCE, f"out_{method}", params=params, overwrite=True)
    return job_of(engine, trigger), plan(engine.warehouse.table(SOURCE))


def _rows(engine: Engine, job: Job, task: TileTask) -> Iterator[dict[str, Any]]:
    """Row groups read with nothing but pyarrow."""
    data = f"{engine.warehouse.table(SOURCE).location}/data".removeprefix("file://")
    for ref in task.rows:
        with pq.ParquetFile(f"{data}/{ref.file}") as file:
            found = file.read_row_group(ref.row_group, list(job.columns), use_threads=False)
        yield found.to_pylist()[0]


def _tile_job(job: Job, task: TileTask, spill: str) -> TileJob:
    told = facts(job.schema)
    return TileJob(
        job.method, job.params, told["sensor"], told["grid"], task.tile_x, task.tile_y, spill
    )


def kernel(folder: str, method: str, params: dict[str, str]) -> dict[str, Any]:
    """The UDF alone, over rows that are in memory, in one thread."""
    engine = open_engine(folder)
    job, tasks = _job(engine, method, params)
    clock = Clock()
    with tempfile.TemporaryDirectory() as spill:
        for task in tasks:
            rows = list(_rows(engine, job, task))
            with clock.lap():
                answer = compute(rows, _tile_job(job, task, spill))
            assert answer["status"] == "ok", answer["message"]
    return clock.answer()


def loop(folder: str, method: str, params: dict[str, str]) -> dict[str, Any]:
    """What somebody would write without an engine: read, compute, write, one tile at a time."""
    engine = open_engine(folder)
    job, tasks = _job(engine, method, params)
    blobs = [field.name for field in job.schema if field.type == pa.binary()]
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=folder) as out, clock.lap():
        for task in tasks:
            answer = compute(_rows(engine, job, task), _tile_job(job, task, out))
            table = pa.table({name: pa.array([answer[name]], pa.binary()) for name in blobs})
            path = f"{out}/{task.tile_x}_{task.tile_y}.parquet"
            pq.write_table(table, path, compression="none", use_dictionary=False)
    return clock.answer()


def engine(folder: str, method: str, params: dict[str, str], workers: int) -> dict[str, Any]:
    """The local engine, from the plan to the commit; opening the warehouse is start-up."""
    opened = time.perf_counter()
    local = open_engine(folder, workers=workers)
    job, _ = _job(local, method, params)
    opened = time.perf_counter() - opened
    clock = Clock()
    with clock.lap():
        report = local.run(job).wait()
    assert report.counts["ok"] == report.tiles, report
    peak = peak_mb()
    local.drop(job.target)
    return clock.answer(start_s=IMPORTED + opened) | {"peak_mb": peak}


# -- ingest -----------------------------------------------------------------------------------


def ingest() -> dict[str, Any]:
    """One granule of full size to rows of every tile it touches, without file and without 6S."""
    from geoquarry.jobs.cut import rows_of, to_lattice

    granule, frame = full_granule(), grid("webmercator-30m-1024")
    masks, tiles = Clock(), Clock()
    with masks.lap():
        lattice = to_lattice(granule)
    with tiles.lap():
        rows = list(rows_of(granule, lattice, frame))
    covered = sum(row["valid_fraction"] for row in rows)
    return tiles.answer(lattice_s=masks.wall, rows=len(rows), covered=covered)


def sixs() -> dict[str, Any]:
    """The correction of one granule and tile by 6S, nothing cached."""
    from geoquarry.engine import sixs as program

    why_not = program.available()
    if why_not is not None:
        return {"missing": why_not}
    clock = Clock()
    with clock.lap():
        found = program.correction(
            sensor("aster_l1t"),
            sun_zenith_deg=30.0,
            sun_azimuth_deg=140.0,
            view_zenith_deg=[3.0] * 9,
            view_azimuth_deg=[100.0] * 9,
            aod550=0.12,
            elevation_m=1200.0,
            water_vapour_g_cm2=1.1,
            ozone_cm_atm=0.31,
            earth_sun_distance_au=1.01,
        )
    return clock.answer(runs=found.runs)


# -- storage ----------------------------------------------------------------------------------


def storage(folder: str, granules: int = 2000, tiles: int = 50) -> dict[str, Any]:
    """Plan 100,000 rows, and commit as many files as there are granules.

    Planning opens no data file, so one small file stands for all of them by hard links.
    """
    import os

    from geoquarry.engine.batches import row_batch
    from geoquarry.engine.datafile import RowWriter, write_index

    name = "res-30_tilesize-64"
    keys = [(3000 + n % 10, 4000 + n // 10) for n in range(tiles)]
    local = open_engine(folder)
    local.create(SOURCE, tiles_schema("aster_l1t", name))
    table = local.warehouse.table(SOURCE)
    layout = table.layout
    (_, rows), *_ = rows_of_granules(keys, 1, 64, name)
    writer = RowWriter(layout, layout.data_path("seed", "seed"))
    for row in rows:
        writer.add(row_batch(row, layout))
    seed = writer.close()
    plain = [column for column in layout.schema.names if column not in layout.blobs]
    batch = pa.Table.from_batches([row_batch(row, layout) for row in rows]).select(plain)
    place, commit_id, files = plain.index("granule_id"), new_commit_id(), []
    for number in range(granules):
        granule = f"AST_L1T_003{number:014d}"
        path = layout.data_path(commit_id, granule)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(seed.path, path)
        ids = pa.array([granule] * tiles)
        renamed = batch.set_column(place, layout.schema.field("granule_id"), ids)
        write_index(
            layout, path, renamed.to_batches(), [9_000_000] * tiles, [f"{number:064d}"] * tiles
        )
        bounds = {**seed.bounds, "granule_id": (granule, granule)}
        files.append(WrittenFile(path, seed.nbytes, tiles, bounds, seed.column_bytes, seed.offsets))
    found: dict[str, Any] = {"files": granules}

    def timed(what: str, call: Callable[[], Any]) -> Any:
        clock = Clock()
        with clock.lap():
            value = call()
        found[what] = clock.wall
        return value

    timed(
        "commit_s",
        lambda: commit(table, lambda _: Change(files, []), commit_id=commit_id, kind="x"),
    )
    where = "acquired < '2008-04-01' AND cloud_fraction < 0.6"
    fresh = open_engine(folder).warehouse.table(SOURCE)
    timed("plan_first_s", lambda: plan(fresh, where))
    tasks = timed("plan_s", lambda: plan(fresh, where))
    found["rows"] = sum(len(task.rows) for task in tasks)
    swapped, other = [], new_commit_id()
    for file in files:
        path = file.path.replace(commit_id, other)
        swapped.append(
            WrittenFile(path, file.nbytes, tiles, file.bounds, file.column_bytes, file.offsets)
        )
    timed(
        "swap_s",
        lambda: commit(table, lambda now: Change(swapped, now.files()), commit_id=other, kind="x"),
    )
    return found | {"peak_mb": peak_mb()}


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    case.__name__: case for case in (prepare, kernel, loop, engine, ingest, sixs, storage)
}

if __name__ == "__main__":
    np.seterr(all="ignore")
    print(json.dumps(CASES[sys.argv[1]](**json.loads(sys.argv[2]))))
