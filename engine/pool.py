"""Tiles through a pool: threads by default, since NumPy, Arrow and zstd release the lock."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

from geoquarry.engine.plan import TileTask
from geoquarry.engine.run import Cancelled
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
        try:
            yield from _through(pool.submit, workers, work, tasks, check)
        finally:
            pool.shutdown(cancel_futures=True)


def in_processes(
    workers: int, work: TileWork, tasks: list[TileTask], check: Check
) -> Iterator[Part]:
    """The same in processes of their own, for UDFs that hold the interpreter lock.

    A worker that dies (out of memory, a crash in native code) takes its pool along; the tiles that
    are not finished go to a new one, at most `ATTEMPTS` times.

    Ctrl-C in a terminal reaches workers too; they leave it to the driver, which tells them to stop.

    Raises
    ------
    Cancelled
        Somebody cancelled the run.
    GeoquarryError
        Workers keep dying.
    """
    left = {(task.tile_x, task.tile_y): task for task in tasks}
    spawn = get_context("spawn")
    for _ in range(ATTEMPTS):
        stop = spawn.RawValue("b", 0)  # without a lock, which a worker could take to its grave
        pool = ProcessPoolExecutor(
            workers, mp_context=spawn, initializer=_begin_worker, initargs=(stop,)
        )
        try:
            todo = list(left.values())
            for part in _through(_deaf(pool), workers, _Told(work), todo, check):
                del left[part.tile_x, part.tile_y]
                yield part
            return
        except BrokenProcessPool:
            continue
        finally:
            stop.value = 1
            # Not `Future.cancel`: the pool's thread dies of such a one when a worker dies as well,
            # and then shutdown waits for ever.
            pool.shutdown(cancel_futures=True)
    raise GeoquarryError(
        f"Worker processes died {ATTEMPTS} times with {len(left)} tiles left; nothing was "
        "committed. Is there enough memory? Try fewer workers."
    )


class _Told:
    """Work in a process of its own that stops, between rows as well, when the driver says so."""

    def __init__(self, work: TileWork) -> None:
        self.work = work

    def __call__(self, task: TileTask) -> Part:
        _go_on_in_worker()
        return replace(self.work, check=_go_on_in_worker)(task)


def _deaf(pool: ProcessPoolExecutor) -> Callable[..., Future[Any]]:
    """Submit to a pool whose workers hear no Ctrl-C from their first moment: they inherit that."""

    def submit(work: Callable[[Item], Answer], task: Item) -> Future[Answer]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(work, task)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return submit


_stop: Any = None
"""In a worker: what the driver sets to make it stop."""


def _begin_worker(stop: Any) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _go_on_in_worker() -> None:
    if _stop.value:
        raise Cancelled("The job was cancelled.")


def _through(
    submit: Callable[[Callable[[Item], Answer], Item], Future[Answer]],
    workers: int,
    work: Callable[[Item], Answer],
    tasks: Sequence[Item],
    check: Check,
) -> Iterator[Answer]:
    waiting = iter(tasks)
    flying: set[Future[Answer]] = set()
    while True:
        check()
        room = 2 * workers - len(flying)
        flying |= {submit(work, task) for task in islice(waiting, room)}
        if not flying:
            return
        done, flying = wait(flying, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


Execute = Callable[[int, TileWork, list[TileTask], Check], Iterator[Part]]
EXECUTORS: dict[str, Execute] = {"thread": in_threads, "process": in_processes}
"""Ways to compute tiles on one machine, by name."""
