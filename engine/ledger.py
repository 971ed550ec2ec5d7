"""The ledger of a warehouse: every job and what became of each of its units.

An engine, or a job that works on files, writes it through one small interface::

    with warehouse.ledger.job("run", job_id=..., source="aster", target="maps") as record:
        record.plan(Unit(tile=key) for key in keys)
        for key, status in compute():
            record.check()  # raises Cancelled when somebody said `job cancel`
            record.finish(Unit(tile=key), "done")
        record.snapshot_id = commit(record.commit_id)

States of units: ``pending`` (planned), ``running`` (where the driver can see it begin), ``done``,
``empty`` (nothing there), ``failed`` (with class and text of the error), ``skipped`` (nothing to
do, or taken as it was). A job whose process died is found by whoever reads the ledger next.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, insert, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError

from geoquarry.engine.commit import new_commit_id
from geoquarry.engine.ledger_reader import CUT_OFF, PROCESS_DIED, LedgerReader, is_live
from geoquarry.engine.ledger_record import Record, warn
from geoquarry.engine.ledger_tables import JOBS, UNITS, make, there
from geoquarry.engine.ledger_unit import ROWS_LEFT_OUT, Unit, first_row, now_us, outcome
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.redact import redacted, redacted_values

__all__ = ["ROWS_LEFT_OUT", "Ledger", "Record", "Unit"]


class Ledger(LedgerReader):
    """Jobs and units of one warehouse, for any number of processes.

    Nothing is opened or made before the first job, and a reader makes nothing.

    """

    # -- writing ------------------------------------------------------------------------------

    def job(
        self,
        kind: str,
        *,
        job_id: str,
        commit_id: str | None = None,
        resume: Iterable[str] = (),
        method: str = "",
        source: str = "",
        target: str = "",
        package_version: str = "",
        request: Mapping[str, Any] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> Record:
        """Begin a job, or continue one that was cut off.

        Parameters
        ----------
        kind : str
            ``ingest``, ``upload``, ``run`` or ``export``.
        job_id : str
            Same inputs, same parameters, same target: same id.
        commit_id : str, optional
            Of a job that begins; default: a new one.
        resume : iterable of str
            Commit ids that may be continued. The first that no living process has is taken, and
            no other process can take it as well.
        method, source, target, package_version : str
        request : mapping, optional
            What would start the job again, JSON-safe; secrets are taken out. If it holds
            ``retries``, the units' attempts count on from the job of that commit id.
        on_cancel : callable, optional
            Called from another thread when somebody asks the job to stop.

        Returns
        -------
        record : Record
            Without a ledger that can be written, one that forgets.
        """
        before = str((request or {}).get("retries") or "")
        about = {
            "kind": kind,
            "method": method,
            "source": redacted(source),
            "target": redacted(target),
            "package_version": package_version,
            "retries": before,
            "request": None if request is None else json.dumps(redacted_values(request)),
        }
        own = commit_id or new_commit_id()
        try:
            self._make()
            for candidate in resume:
                known = self._take(candidate, job_id, about)
                if known is not None:
                    return Record(
                        self._database,
                        candidate,
                        job_id,
                        resumed=True,
                        tries=known,
                        known=known,
                        on_cancel=on_cancel,
                    )
            with self._database.begin() as connection:
                connection.execute(insert(JOBS), first_row(own, job_id, about))
            tries = self._tries(before) if before else {}
            return Record(self._database, own, job_id, tries=tries, on_cancel=on_cancel)
        except (SQLAlchemyError, OSError) as error:
            warn(error, again=False)
            return Record(None, own, job_id, on_cancel=on_cancel)

    def _make(self) -> None:
        if self._made:
            return
        try:
            make(self._database)
        except DatabaseError:  # another process has just made it
            make(self._database)
        self._made = True

    def _take(self, commit_id: str, job_id: str, about: Mapping[str, Any]) -> dict[str, int] | None:
        """Take over a job that no living process has; its units and their attempts, or None."""
        with self._database.begin() as connection:
            row = self._row(connection, commit_id)
            if row is None:
                try:
                    connection.execute(insert(JOBS), first_row(commit_id, job_id, about))
                except IntegrityError:
                    return None
                return {}
            if row["status"] == "running" and is_live(dict(row)):
                return None
            seen = (JOBS.c.heard == row["heard"]) & (JOBS.c.attempts == row["attempts"])
            mine = first_row(commit_id, job_id, about, row["attempts"] + 1)
            taken = connection.execute(
                update(JOBS).where(JOBS.c.commit_id == commit_id, seen).values(mine)
            )
            if not taken.rowcount:
                return None
        return self._tries(commit_id)

    def _tries(self, commit_id: str) -> dict[str, int]:
        with self._database.connect() as connection:
            found = connection.execute(
                select(UNITS.c.unit, UNITS.c.attempts).where(UNITS.c.commit_id == commit_id)
            )
            return {row.unit: row.attempts for row in found}

    def has_ended(self, commit_id: str) -> bool:
        """Whether the ledger knows that nobody works on this commit any more."""
        try:
            with self._database.connect() as connection:
                row = self._row(connection, commit_id) if there(self._database) else None
        except (SQLAlchemyError, OSError):
            return False
        return row is not None and (row["status"] != "running" or not is_live(dict(row)))

    def landed(self, commit_id: str, snapshot_id: int | None) -> None:
        """A job whose process died had committed: that is what counts."""
        died = (JOBS.c.commit_id == commit_id) & (JOBS.c.status.in_(("running", *CUT_OFF)))
        with suppress(SQLAlchemyError, OSError), self._database.begin() as connection:
            found = connection.execute(select(JOBS.c.status).where(died)).scalar()
            if found is None:
                return
            connection.execute(
                update(UNITS)
                .where(
                    UNITS.c.commit_id == commit_id,
                    or_(
                        UNITS.c.state.in_(("pending", "running")),
                        UNITS.c.error_class == PROCESS_DIED,
                    ),
                )
                .values(state="done", reason="committed; its row tells more", error_class="")
            )
            status = outcome(connection, commit_id)
            said = {"status": status, "reason": "", "error_class": "", "snapshot_id": snapshot_id}
            connection.execute(update(JOBS).where(died).values(said))

    def unfinished(self, kind: str, job_id: str) -> list[str]:
        """The newest commit id of a job, if it was cut off; for `job`."""
        newest = self._newest(kind, job_id)
        return [newest["commit_id"]] if newest and newest["status"] in CUT_OFF else []

    def _newest(self, kind: str, job_id: str) -> dict[str, Any] | None:
        wanted = select(JOBS).where(JOBS.c.job_id == job_id, JOBS.c.kind == kind)
        try:
            found = self._ask(wanted.order_by(JOBS.c.started.desc()).limit(1))
        except TableError:
            return None  # without a ledger nothing can be continued
        return found[0] if found else None

    # -- asking jobs to stop, forgetting old ones -----------------------------------------------

    def cancel(self, commit_id: str) -> None:
        """Ask a living job to stop; it looks every second.

        Raises
        ------
        UsageError
            It does not run.
        """
        found = self.find(commit_id)  # a reader finds out whether its process died
        with self._database.begin() as connection:
            asked = connection.execute(
                update(JOBS)
                .where(JOBS.c.commit_id == commit_id, JOBS.c.status == "running")
                .values(cancel=1)
            )
        if not asked.rowcount:
            raise UsageError(f"Job {commit_id} does not run: it is {found['status']}.")

    def prune(self, older_than: timedelta, *, dry_run: bool = False) -> int:
        """Forget jobs that ended longer ago; how many."""
        limit = now_us() - int(older_than.total_seconds() * 1e6)
        old = (JOBS.c.status != "running") & (JOBS.c.heard < limit)
        with self._looking() as connection:
            if connection is None:
                return 0
            gone = connection.execute(select(JOBS.c.commit_id).where(old)).scalars().all()
            if not dry_run:
                for commit_id in gone:
                    connection.execute(delete(UNITS).where(UNITS.c.commit_id == commit_id))
                    connection.execute(delete(JOBS).where(JOBS.c.commit_id == commit_id))
                connection.commit()
        return len(gone)

    @staticmethod
    def _row(connection: Connection, commit_id: str) -> RowMapping | None:
        wanted = select(JOBS).where(JOBS.c.commit_id == commit_id)
        return connection.execute(wanted).mappings().first()
