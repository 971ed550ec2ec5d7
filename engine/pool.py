"""Tiles through a pool of threads: NumPy, Arrow and zstd release the interpreter lock."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from geoquarry.engine.plan import TileTask
from geoquarry.engine.run import Run
from geoquarry.engine.tile import Part, TileWork


def in_threads(workers: int, work: TileWork, tasks: list[TileTask], run: Run) -> Iterator[Part]:
    """Compute tiles in any order; only a few are in flight at any time.

    Parameters
    ----------
    workers : int
    work : TileWork
    tasks : list of TileTask
    run : Run
        Asked between tiles whether to go on.

    Yields
    ------
    part : Part
        As soon as a tile is finished.

    Raises
    ------
    Cancelled
        Somebody cancelled the run; unfinished tiles are given up.
    """
    waiting = iter(tasks)
    with ThreadPoolExecutor(workers, thread_name_prefix="tile") as pool:
        flying: set[Future[Part]] = set()
        try:
            while True:
                run.check()
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
