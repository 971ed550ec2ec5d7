"""Looking things up in the ledger; who looks also finds out which jobs have died."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
from sqlalchemy import RowMapping, or_, select, update
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from geoquarry.engine.lease import Process
from geoquarry.engine.ledger_tables import JOBS, UNITS, connect, plain, read, there
from geoquarry.engine.ledger_unit import count_units
from geoquarry.schemas.errors import TableError, UnknownName, UsageError
from geoquarry.schemas.redact import redacted

LEASE_S = 120.0
"""A job of another host that was not heard of for this long has died; clocks may differ a bit."""
DIED = "its process died"
PROCESS_DIED = "ProcessDied"
"""Class of the error of a job and of units that were under way when its process died."""
SHORTEST_ID = 4
CUT_OFF = ("failed", "cancelled")
"""States of jobs that the same command continues."""


class LedgerReader:
    """What was written down about the jobs of one warehouse.

    Parameters
    ----------
    url : URL
        SQLAlchemy URL of the database.
    own_file : bool
        The database is a file that holds nothing else.
    """

    def __init__(self, url: URL, *, own_file: bool) -> None:
        self._url, self._own_file = url, own_file
        self._made = False

    @cached_property
    def _database(self) -> Engine:
        return connect(self._url, own_file=self._own_file)

    def jobs(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Jobs, newest first, each with its units counted by state."""
        return self._jobs(select(JOBS).order_by(JOBS.c.started.desc()).limit(limit))

    def find(self, id_: str) -> dict[str, Any]:
        """The newest job of a job id or commit id, or of the beginning of one.

        Raises
        ------
        UnknownName
            No such job.
        UsageError
            Several jobs begin like that.
        """
        if len(id_) < SHORTEST_ID:
            raise UsageError(f"{id_!r} is too short for a job; give at least {SHORTEST_ID} signs.")
        like = [each.startswith(id_, autoescape=True) for each in (JOBS.c.job_id, JOBS.c.commit_id)]
        found = self._jobs(select(JOBS).where(or_(*like)).order_by(JOBS.c.started.desc()))
        if not found:
            raise UnknownName(f"No job {id_!r}. `geoquarry jobs` lists those there are.")
        meant = {row["job_id"] for row in found}
        if len(meant) > 1 and not any(id_ in (row["job_id"], row["commit_id"]) for row in found):
            raise UsageError(f"{len(meant)} jobs begin with {id_!r}; give more of it.")
        return found[0]

    def last_try(self, commit_id: str) -> dict[str, Any]:
        """The newest job that tried again what failed in this one; itself, if none did."""
        found = self.find(commit_id)
        newer = self._jobs(
            select(JOBS)
            .where(JOBS.c.retries == found["commit_id"], JOBS.c.commit_id != found["commit_id"])
            .order_by(JOBS.c.started.desc())
            .limit(1)
        )
        return self.last_try(newer[0]["commit_id"]) if newer else found

    def tries_before(self, commit_id: str) -> list[str]:
        """A job that is tried again, the one that it tried again itself, and so on; "": none."""
        found: list[str] = []
        while commit_id and commit_id not in found:
            found.append(commit_id)
            rows = self._ask(select(JOBS.c.retries).where(JOBS.c.commit_id == commit_id))
            commit_id = rows[0]["retries"] if rows else ""
        return found

    def units(self, commit_id: str, states: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Units of a job, in all states or in some."""
        wanted = select(UNITS).where(UNITS.c.commit_id == commit_id)
        if states:
            wanted = wanted.where(UNITS.c.state.in_(states))
        return self._ask(wanted.order_by(UNITS.c.unit))

    def read_since(self, table: str) -> datetime | None:
        """When the oldest of the jobs that read a table now was started; None: nobody does.

        Without a ledger that answers nobody is known to.
        """
        wanted = select(JOBS).where(JOBS.c.source == table, JOBS.c.status == "running")
        try:
            rows = self._ask(wanted.order_by(JOBS.c.started).limit(1))
        except TableError:
            return None
        return rows[0]["started"] if rows else None

    def table(self, name: str) -> pa.Table:
        """``jobs`` or ``units`` for SQL."""
        with self._looking() as connection:
            return read(connection, name)

    def _jobs(self, wanted: Any) -> list[dict[str, Any]]:
        with self._looking() as connection:
            if connection is None:
                return []
            rows = [plain(row) for row in connection.execute(wanted).mappings()]
            counts = count_units(connection, [row["commit_id"] for row in rows])
        return [{**row, "units": counts[row["commit_id"]]} for row in rows]

    def _ask(self, wanted: Any) -> list[dict[str, Any]]:
        with self._looking() as connection:
            if connection is None:
                return []
            return [plain(row) for row in connection.execute(wanted).mappings()]

    @contextmanager
    def _looking(self) -> Iterator[Connection | None]:
        """A connection for a reader, who first notes down which jobs have died; None: no ledger.

        Raises
        ------
        TableError
            The database does not answer.
        """
        try:
            if not there(self._database):
                yield None
                return
            self._bury()
            with self._database.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            said = redacted(str(getattr(error, "orig", None) or error))
            raise TableError(f"The ledger does not answer: {said}") from error

    def _bury(self) -> None:
        """Jobs whose process died: say so, and which of their units were under way."""
        with self._database.connect() as connection:
            running = select(JOBS).where(JOBS.c.status == "running")
            dead = [row for row in connection.execute(running).mappings() if not is_live(dict(row))]
        for row in dead:
            with suppress(SQLAlchemyError):  # a reader who may not write still reads
                self._bury_one(row)

    def _bury_one(self, row: RowMapping) -> None:
        own = UNITS.c.commit_id == row["commit_id"]
        with self._database.begin() as connection:
            seen = (JOBS.c.heard == row["heard"]) & (JOBS.c.attempts == row["attempts"])
            buried = connection.execute(
                update(JOBS)
                .where(JOBS.c.commit_id == row["commit_id"], JOBS.c.status == "running", seen)
                .values(
                    status="failed",
                    reason=DIED,
                    error_class=PROCESS_DIED,
                    ended=row["heard"],
                    seconds=(row["heard"] - row["started"]) / 1e6,
                )
            )
            if not buried.rowcount:
                return
            connection.execute(
                update(UNITS)
                .where(own, UNITS.c.state == "running")
                .values(state="failed", reason=DIED, error_class=PROCESS_DIED, ended=row["heard"])
            )
            connection.execute(
                update(UNITS)
                .where(own, UNITS.c.state == "pending")
                .values(reason=f"{DIED} before its turn")
            )


def is_live(row: Mapping[str, Any]) -> bool:
    """Whether the process of a job may still be at work."""
    process = Process(row["host"], row["pid"], row["born"])
    return process.is_live(row["heard"] / 1e6, LEASE_S)
