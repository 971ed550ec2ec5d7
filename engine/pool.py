"""Tiles through a pool: threads by default, since NumPy, Arrow and zstd release the lock."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from geoquarry.engine.plan import TileTask
from geoquarry.engine.tile import Part, TileWork
from geoquarry.schemas.errors import GeoquarryError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Check = Callable[[], None]
ATTEMPTS = 3
"""How often a pool of processes is started again after a worker died."""


def in_threads(
    workers: int, work: Callable[[Item], Answer], tasks: Sequence[Item], check: Check
) -> Iterator[Answer]:
    """Compute tiles, or anything, in any order; only a few are in flight at any time.

    Parameters
    ----------
    workers : int
    work : callable
    tasks : sequence
    check : callable
        Asked between tasks whether to go on; what it raises ends everything.

    Yields
    ------
    answer : Part, or what the work answers
        As soon as a task is finished.

    Raises
    ------
    Cancelled
        Somebody cancelled the run; unfinished tiles are given up.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="tile") as pool:
        yield from _through(pool, workers, work, tasks, check)


def in_processes(
    workers: int, work: TileWork, tasks: list[TileTask], check: Check
) -> Iterator[Part]:
    """The same in processes of their own, for UDFs that hold the interpreter lock.

    A worker that dies (out of memory, a crash in native code) takes its pool along; the tiles that
    are not finished go to a new one, at most `ATTEMPTS` times.

    Raises
    ------
    Cancelled
        Somebody cancelled the run.
    GeoquarryError
        Workers keep dying.
    """
    left = {(task.tile_x, task.tile_y): task for task in tasks}
    for _ in range(ATTEMPTS):
        try:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for part in _through(pool, workers, work, list(left.values()), check):
                    del left[part.tile_x, part.tile_y]
                    yield part
                return
        except BrokenProcessPool:
            continue
    raise GeoquarryError(
        f"Worker processes died {ATTEMPTS} times with {len(left)} tiles left; nothing was "
        "committed. Is there enough memory? Try fewer workers."
    )


def _through(
    pool: Executor,
    workers: int,
    work: Callable[[Item], Answer],
    tasks: Sequence[Item],
    check: Check,
) -> Iterator[Answer]:
    waiting = iter(tasks)
    flying: set[Future[Answer]] = set()
    try:
        while True:
            check()
            room = 2 * workers - len(flying)
            flying |= {pool.submit(work, task) for task in islice(waiting, room)}
            if not flying:
                return
            done, flying = wait(flying, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in flying:
            future.cancel()


Execute = Callable[[int, TileWork, list[TileTask], Check], Iterator[Part]]
EXECUTORS: dict[str, Execute] = {"thread": in_threads, "process": in_processes}
"""Ways to compute tiles on one machine, by name."""
