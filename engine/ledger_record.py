"""One job's page of the ledger while it is written: in batches, by a thread beside the work."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Self

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from geoquarry.engine.lease import this_process
from geoquarry.engine.ledger_tables import JOBS, UNITS
from geoquarry.engine.ledger_unit import TRIED, Said, Unit, now_us, outcome
from geoquarry.engine.run import Cancelled
from geoquarry.schemas.redact import redacted

BEAT_S = 1.0
"""How often a living job writes what it has done, and looks whether it is to stop."""
BATCH = 5000
"""Units per transaction, so that other processes get their turn."""
LONGEST_TEXT = 2000
_log = logging.getLogger(__name__)


class Record:
    """One job as it is written down; made by `Ledger.job`, used in a ``with`` statement.

    What is said is kept in memory and written every second by a thread of its own, so that the
    work never waits for the database. If that cannot write, it warns once, keeps trying, and the
    job goes on: rows matter more than what is said about them.

    Attributes
    ----------
    commit_id, job_id : str
    resumed : bool
        The page of an unfinished job is continued.
    snapshot_id : int or None
        Set it when the job has committed.
    """

    def __init__(
        self,
        database: Engine | None,
        commit_id: str,
        job_id: str,
        *,
        resumed: bool = False,
        tries: Mapping[str, int] | None = None,
        known: Iterable[str] = (),
        on_cancel: Callable[[], None] | None = None,
    ) -> None:
        self.commit_id = commit_id
        self.job_id = job_id
        self.resumed = resumed
        self.snapshot_id: int | None = None
        self._database = database
        self._tries = dict(tries or {})
        self._known = set(known)
        self._on_cancel = on_cancel
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._changes: dict[Unit, Said] = {}
        self._gone: list[str] = []
        self._begun: dict[Unit, int] = {}
        self._cancelled = ""
        self._warned = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._since = time.monotonic()

    # -- what a job says ----------------------------------------------------------------------

    def plan(self, units: Iterable[Unit]) -> None:
        """Units that the job will work on."""
        for unit in units:
            self._say(unit, Said("pending", attempts=self._tries.get(unit.name, 0)))

    def start(self, unit: Unit) -> None:
        """The work on a unit begins; not every engine knows."""
        now = now_us()
        tries = self._tries.get(unit.name, 0) + 1
        with self._lock:
            self._begun[unit] = now
            self._changes[unit] = Said("running", attempts=tries, started=now)

    def finish(
        self,
        unit: Unit,
        state: str,
        reason: str = "",
        *,
        error_class: str = "",
        seconds: float | None = None,
        tried: bool = True,
    ) -> None:
        """A unit has come to an end.

        Parameters
        ----------
        unit : Unit
            Also one that was not planned.
        state : {"done", "empty", "failed", "skipped"}
        reason : str
            Why; may be empty when it is done.
        error_class : str
            Of what was raised.
        seconds : float, optional
            How long it took, where the worker has measured it.
        tried : bool
            False: it was taken over as it was, so this is no further attempt.
        """
        now = now_us()
        with self._lock:
            started = self._begun.pop(unit, None)
        if seconds is None and started is not None:
            seconds = (now - started) / 1e6
        elif seconds is not None and started is None:
            started = now - int(seconds * 1e6)
        more = int(tried and state in TRIED)
        said = Said(
            state,
            _clean(reason[:LONGEST_TEXT]),
            error_class[:128],
            self._tries.get(unit.name, 0) + more,
            started,
            now,
            seconds,
        )
        self._say(unit, said)

    def split(self, unit: Unit, into: Sequence[Unit]) -> None:
        """A unit turns out to be several, such as a scene once its tiles are known."""
        tries = self._tries.get(unit.name, 0)
        with self._lock:
            started = self._begun.pop(unit, None)
            self._changes.pop(unit, None)
            self._gone.append(unit.name)
        for part in into:
            self._tries.setdefault(part.name, tries)
            if started is None:
                self.plan([part])
                continue
            with self._lock:
                self._begun[part] = started
                said = Said("running", attempts=self._tries[part.name] + 1, started=started)
                self._changes[part] = said

    def _say(self, unit: Unit, said: Said) -> None:
        with self._lock:
            self._changes[unit] = said

    # -- cancelling ---------------------------------------------------------------------------

    @property
    def cancelled(self) -> bool:
        """True once somebody asked to stop, or another process took the job over."""
        return bool(self._cancelled)

    def check(self) -> None:
        """Raise `Cancelled` if the job is to stop."""
        if self._cancelled:
            raise Cancelled(f"The job was cancelled ({self._cancelled}). Run it again to finish.")

    def _ask_to_stop(self, why: str) -> None:
        if self._cancelled:
            return
        self._cancelled = why
        if self._on_cancel is not None:
            self._on_cancel()

    # -- the beat -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._database is not None:
            self._thread = threading.Thread(target=self._beat, name="ledger", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if error is None:
            status, reason = "", ""
        elif isinstance(error, Cancelled):
            status, reason = "cancelled", self._cancelled or "cancelled"
        elif isinstance(error, KeyboardInterrupt):
            status, reason = "cancelled", "stopped by its user"
        else:
            status, reason = "failed", redacted(str(error)[:LONGEST_TEXT])
        name = "" if error is None else type(error).__name__
        self._tell(lambda: self._close(status, reason, name))

    def flush(self) -> None:
        """Write what was said so far, without waiting for the next beat."""
        self._tell(self._write)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            self._tell(self._write)
            self._tell(self._look)

    def _tell(self, how: Callable[[], None]) -> None:
        """Do something with the database; its trouble is not the job's."""
        if self._database is None:
            return
        try:
            how()
        except (SQLAlchemyError, OSError) as error:
            warn(error, again=self._warned)
            self._warned = True

    def _look(self) -> None:
        """Say that the job lives, and find out whether it is to stop."""
        assert self._database is not None
        mine = this_process()
        own = (JOBS.c.host == mine.host) & (JOBS.c.pid == mine.pid) & (JOBS.c.born == mine.born)
        with self._database.begin() as connection:
            heard = connection.execute(
                update(JOBS)
                .where(JOBS.c.commit_id == self.commit_id, own)
                .values(heard=now_us(), status="running", reason="")
            )
            found = connection.execute(
                select(JOBS.c.cancel).where(JOBS.c.commit_id == self.commit_id)
            ).scalar()
        if found and heard.rowcount:
            self._ask_to_stop("job cancel")
        elif found is not None and not heard.rowcount:
            self._ask_to_stop("another process has taken it over")

    def _write(self) -> None:
        """Write what is waiting, a batch at a time; what cannot be written waits on."""
        assert self._database is not None
        with self._writing:
            while True:
                with self._lock:
                    batch = dict(islice(self._changes.items(), BATCH))
                    gone = self._gone
                    for unit in batch:
                        del self._changes[unit]
                    self._gone = []
                if not batch and not gone:
                    return
                try:
                    with self._database.begin() as connection:
                        self._store(connection, batch, gone)
                except BaseException:
                    with self._lock:
                        self._changes = {**batch, **self._changes}
                        self._gone = gone + self._gone
                    raise
                self._known.update(unit.name for unit in batch)
                self._known.difference_update(gone)

    def _store(
        self, connection: Connection, batch: Mapping[Unit, Said], gone: Sequence[str]
    ) -> None:
        if there := [name for name in gone if name in self._known]:
            connection.execute(
                delete(UNITS).where(
                    UNITS.c.commit_id == self.commit_id, UNITS.c.unit == bindparam("name")
                ),
                [{"name": name} for name in there],
            )
        new, old = [], []
        for unit, said in batch.items():
            name = unit.name
            if name in self._known:
                old.append({"name": name, **said._asdict()})
                continue
            x, y = unit.tile or (None, None)
            key = {"commit_id": self.commit_id, "unit": name, "item": unit.item}
            new.append({**key, "tile_x": x, "tile_y": y, **said._asdict()})
        if new:
            connection.execute(insert(UNITS), new)
        if old:
            connection.execute(
                update(UNITS).where(
                    UNITS.c.commit_id == self.commit_id, UNITS.c.unit == bindparam("name")
                ),
                old,
            )

    def _close(self, status: str, reason: str, error_class: str) -> None:
        """Write the rest and how it ended."""
        self._write()
        assert self._database is not None
        ended = now_us()
        with self._database.begin() as connection:
            if status:
                left = "cancelled before its turn" if status == "cancelled" else "the job failed"
                connection.execute(
                    update(UNITS)
                    .where(
                        UNITS.c.commit_id == self.commit_id,
                        UNITS.c.state.in_(("pending", "running")),
                    )
                    .values(state="pending", reason=left)
                )
            else:
                status = outcome(connection, self.commit_id)
            connection.execute(
                update(JOBS)
                .where(JOBS.c.commit_id == self.commit_id)
                .values(
                    status=status,
                    reason=reason,
                    error_class=error_class,
                    ended=ended,
                    heard=ended,
                    seconds=time.monotonic() - self._since,
                    snapshot_id=self.snapshot_id,
                )
            )


@lru_cache(256)
def _clean(reason: str) -> str:
    """A reason without secrets; thousands of units have the same."""
    return redacted(reason)


def warn(error: Exception, *, again: bool) -> None:
    """One warning per job; the rest is for those who look for it."""
    said = redacted(str(getattr(error, "orig", None) or error))
    _log.log(
        logging.DEBUG if again else logging.WARNING,
        "The ledger cannot be written (%s); the job goes on, `geoquarry jobs` will not know all.",
        said,
    )
