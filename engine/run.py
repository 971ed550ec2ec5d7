"""A job on its way: progress, cancelling, and the report at its end. The same for every engine."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from geoquarry.schemas.errors import GeoquarryError

STATES = ("planning", "running", "committing", "done", "cancelled", "failed")
"""What `Run.status` may say, in order; the last three are final."""


class Cancelled(GeoquarryError):
    """The job was cancelled; nothing of it was committed."""


@dataclass(frozen=True)
class RunPlan:
    """What a job would do: the answer to ``--explain``.

    Attributes
    ----------
    tiles, rows, granules : int
        To compute, up-to-date tiles not counted.
    skipped : int
        Tiles whose result is up to date.
    nbytes : int
        Bytes of stored rows to read (all columns; the job may read fewer).
    largest_tile_rows : int
        Rows of the tile with the most granules.
    """

    tiles: int
    rows: int
    granules: int
    skipped: int
    nbytes: int
    largest_tile_rows: int


@dataclass(frozen=True)
class FailedTile:
    """One tile that gave no result, and why."""

    tile_x: int
    tile_y: int
    message: str


@dataclass(frozen=True)
class BadRow:
    """One source row that a tile could not use; the tile was made from the others."""

    tile_x: int
    tile_y: int
    granule_id: str
    column: str
    error: str


@dataclass(frozen=True)
class RunReport:
    """How a job ended.

    Attributes
    ----------
    job_id, commit_id : str
    snapshot_id : int or None
        Of the target after the commit; None when there was nothing to commit.
    tiles : int
        Tiles planned, skipped ones included.
    counts : dict of str -> int
        Tiles per status: ``ok, partial, empty, failed, skipped`` (up to date), ``resumed`` is the
        part of the others taken from an earlier, unfinished run.
    failed : list of FailedTile
    issues : list of BadRow
        Rows left out of tiles that were computed now; failed tiles are in ``failed``.
    seconds : float
        Wall time from planning to commit.
    """

    job_id: str
    commit_id: str
    snapshot_id: int | None
    tiles: int
    counts: dict[str, int]
    failed: list[FailedTile] = field(default_factory=list)
    issues: list[BadRow] = field(default_factory=list)
    seconds: float = 0.0


def go_on() -> None:
    """The check of work that nobody cancels."""


class Run:
    """A job running in the background.

    Examples
    --------
    >>> run = Run(lambda run: RunReport("j", "c", None, 0, {}))
    >>> run.wait().job_id, run.status
    ('j', 'done')
    """

    def __init__(self, work: Callable[["Run"], RunReport]) -> None:
        self.status = "planning"
        self.started = time.monotonic()
        self._done = 0
        self._total = 0
        self._cancel = threading.Event()
        self._lock = threading.Lock()
        self._report: RunReport | None = None
        self._error: BaseException | None = None
        # Not the thread's own join(): one that Ctrl-C breaks off takes a live thread for ended, and
        # the next one returns at once (https://github.com/python/cpython/issues/90882).
        self._ended = threading.Event()
        threading.Thread(target=self._drive, args=(work,), name="run", daemon=True).start()

    @property
    def progress(self) -> tuple[int, int]:
        """Tiles finished and tiles planned; (0, 0) while planning."""
        with self._lock:
            return self._done, self._total

    @property
    def cancelled(self) -> bool:
        """True once somebody asked to stop."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Ask to stop: takes effect at the next row, commits nothing."""
        self._cancel.set()

    def wait(self, timeout: float | None = None) -> RunReport:
        """Block until the job has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever. Ctrl-C while waiting cancels the job.

        Raises
        ------
        TimeoutError
            Still running; call again.
        Cancelled
            The job was cancelled.
        GeoquarryError
            The job could not run at all (one failed tile is no error, see `RunReport.failed`).
        """
        try:
            ended = self._ended.wait(timeout)
        except KeyboardInterrupt:
            self.cancel()
            self._ended.wait()
            raise
        if not ended:
            raise TimeoutError(f"The job still runs after {timeout} s; wait again or cancel it.")
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    # For the engine that drives this run:

    def plan(self, total: int) -> None:
        """Say how many tiles there are."""
        with self._lock:
            self._total = total
            self.status = "running"

    def advance(self, tiles: int = 1) -> None:
        """Count finished tiles."""
        with self._lock:
            self._done += tiles

    def check(self) -> None:
        """Raise `Cancelled` if somebody asked to stop."""
        if self._cancel.is_set():
            raise Cancelled("The job was cancelled; nothing was committed. Run it again to finish.")

    def _drive(self, work: Callable[["Run"], RunReport]) -> None:
        try:
            self._report = work(self)
            self.status = "done"
        except Cancelled as error:
            self._error, self.status = error, "cancelled"
        except BaseException as error:
            self._error, self.status = error, "failed"
        finally:
            self._ended.set()
