"""The client of a MaxCompute project: statements, waiting for them, errors in our words."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import odps
import pyarrow as pa
import requests
from odps import accounts, errors
from odps.tunnel import InstanceTunnel

from geoquarry.engine.maxcompute_account import Account
from geoquarry.engine.maxcompute_errors import (
    ATTEMPTS,
    CANCELLED,
    InstanceFailed,
    is_transient,
)
from geoquarry.engine.maxcompute_limits import CELL_BYTES, check_prefix, check_sql
from geoquarry.engine.maxcompute_ranges import Ranges
from geoquarry.engine.run import go_on
from geoquarry.schemas.errors import GeoquarryError, TableError, UnknownName, UsageError

Answer = TypeVar("Answer")
__all__ = ["FULL_SCAN", "HINTS", "Connection", "InstanceFailed"]
HINTS = {"odps.sql.type.system.odps2": "true", "odps.sql.timezone": "UTC"}
"""Of every statement: BINARY and TIMESTAMP exist, and dates mean UTC."""
FULL_SCAN = {"odps.sql.allow.fullscan": "true"}
"""For statements that do not name their zones."""
DENIED = (errors.NoPermission, errors.AuthorizationRequired, errors.SignatureNotMatch)
SESSIONS, SESSIONS_S = 150, 300.0
"""Download sessions of one table in so many seconds; the service allows 200 in 300 s."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
PATIENT = 60
"""Attempts to learn how a statement stands: it runs on while the line is down, for 9 minutes."""


class Connection:
    """One project as one account sees it; used by any number of threads.

    Parameters
    ----------
    account : Account
    prefix : str
        Before the name of every table, function and resource of ours.
    max_cell_bytes : int
        Largest value that the project takes.

    Raises
    ------
    UsageError
        A prefix that no name can begin with.
    """

    def __init__(
        self, account: Account, *, prefix: str = "", max_cell_bytes: int = CELL_BYTES
    ) -> None:
        self.account = account
        self.prefix = check_prefix(prefix.lower())
        self.max_cell_bytes = max_cell_bytes
        self._opened: dict[str, deque[float]] = {}

    def __repr__(self) -> str:
        return f"Connection({self.account!r}, prefix={self.prefix!r})"

    @cached_property
    def odps(self) -> Any:
        """PyODPS's entry object."""
        account = self.account
        if account.security_token:
            who: Any = accounts.StsAccount(
                account.access_id, account.secret_access_key, account.security_token
            )
        else:
            who = accounts.CloudAccount(account.access_id, account.secret_access_key)
        return odps.ODPS(
            who,
            None,
            account.project,
            account.endpoint,
            schema=account.odps_schema or None,
            tunnel_endpoint=account.tunnel_endpoint or None,
            quota_name=account.quota or None,
        )

    def physical(self, name: str) -> str:
        """What a table of ours is called in the project; MaxCompute knows no case."""
        return self.prefix + name.lower()

    def reach(self) -> None:
        """Ask the service for a table of the project, once.

        Raises
        ------
        GeoquarryError
            It does not answer, there is no such project, or this account may not see it.
        """
        try:
            next(iter(self.odps.list_tables(prefix=self.prefix or None)), None)
        except Exception as error:
            raise self.ours(error, "asked whether it is there") from None

    # -- statements ---------------------------------------------------------------------------

    def start(self, sql: str, hints: Mapping[str, Any] | None = None) -> Any:
        """Send a statement and do not wait.

        It carries an id of its own: when the answer to the request is lost, asking again with the
        same id does not run it twice.

        Parameters
        ----------
        sql : str
        hints : mapping, optional
            Besides `HINTS`.

        Returns
        -------
        instance : odps.models.Instance

        Raises
        ------
        GeoquarryError
        """
        check_sql(sql)
        told = {name: str(value) for name, value in {**HINTS, **(hints or {})}.items()}
        once = uuid.uuid4().hex
        return self.patiently(
            lambda: self.odps.run_sql(sql, hints=told, unique_identifier_id=once), "a statement"
        )

    def execute(
        self,
        sql: str,
        hints: Mapping[str, Any] | None = None,
        check: Callable[[], None] = go_on,
        sent: Callable[[Any], None] | None = None,
    ) -> Any:
        """Run a statement to its end.

        Parameters
        ----------
        sql, hints
            See `start`.
        check : callable
            Raises to give up; the instance is stopped then.
        sent : callable (instance), optional
            Called once when the statement is on its way.

        Returns
        -------
        instance : odps.models.Instance

        Raises
        ------
        InstanceFailed
            The statement failed.
        """
        instance = self.start(sql, hints)
        if sent is not None:
            sent(instance)
        return self.wait(instance, check)

    def wait(
        self,
        instance: Any,
        check: Callable[[], None] = go_on,
        follow: Callable[[Any], None] | None = None,
    ) -> Any:
        """Wait for an instance.

        Parameters
        ----------
        instance : odps.models.Instance
        check : callable
            See `execute`.
        follow : callable (instance), optional
            Called each time it was looked at and is still running.
        """
        pause = 0.05
        try:
            while not self.patiently(
                lambda: instance.is_terminated(retry=False),
                f"instance {instance.id}",
                PATIENT,
            ):
                check()
                if follow is not None:
                    follow(instance)
                time.sleep(pause)
                pause = min(pause * 1.5, 2.0)
        except BaseException:
            self.stop(instance)
            raise
        return self.ended(instance)

    def ended(self, instance: Any) -> Any:
        """A terminated instance, if it was successful.

        Raises
        ------
        InstanceFailed
        """
        statuses = self.patiently(
            lambda: instance.get_task_statuses(status_only=True), f"instance {instance.id}"
        )
        words = {str(task.status.value).upper() for task in statuses.values()}
        if words <= {"SUCCESS"}:
            return instance
        if "FAILED" not in words:
            raise self.failure(instance, CANCELLED)
        results = self.patiently(
            lambda: instance.get_task_results_without_format(retry=False),
            f"instance {instance.id}",
        )
        text = "\n".join(_text(value) for value in results.values())
        raise self.failure(instance, text)

    def failure(self, instance: Any, text: str) -> InstanceFailed:
        """The error of an instance that failed."""
        text = self.account.hide(text)
        code = next((word.strip(":,") for word in text.split() if word.startswith("ODPS-")), "")
        code = code.partition(":")[0]
        said = " ".join(text.split())
        return InstanceFailed(
            f"MaxCompute instance {instance.id}: {said[:1500] or 'no reason given'}",
            str(instance.id),
            code,
            text,
        )

    def stop(self, instance: Any) -> None:
        """Ask the service to stop an instance; one that has ended stays as it is."""
        try:
            instance.stop()
        except (errors.BaseODPSError, requests.RequestException):
            return

    def rows(
        self,
        sql: str,
        hints: Mapping[str, Any] | None = None,
        check: Callable[[], None] = go_on,
    ) -> pa.Table:
        """The answer to a small SELECT, whole."""
        return self.answer(self.execute(sql, hints, check)).table()

    def answer(self, instance: Any) -> Ranges:
        """The rows that a SELECT found, read by ranges."""
        session = self.patiently(
            lambda: InstanceTunnel(self.odps).create_download_session(instance, limit=False),
            "the answer of a statement",
        )
        return Ranges(session, self.ours, f"the answer of instance {instance.id}")

    def may_open(self, physical: str, sessions: int) -> bool:
        """Whether a table may get so many download sessions more without being made to wait."""
        opened = self._opened.setdefault(physical, deque(maxlen=SESSIONS))
        recent = sum(moment > time.monotonic() - SESSIONS_S for moment in list(opened))
        return recent + sessions <= SESSIONS

    def opened(self, physical: str) -> None:
        """Note that a table has got a download session."""
        self._opened.setdefault(physical, deque(maxlen=SESSIONS)).append(time.monotonic())

    # -- calls --------------------------------------------------------------------------------

    def patiently(self, ask: Callable[[], Answer], what: str, attempts: int = ATTEMPTS) -> Answer:
        """Ask the service; when it or the line is not well for a moment, ask again.

        Parameters
        ----------
        ask : callable
            May be called several times.
        what : str
            For the error text.
        attempts : int

        Raises
        ------
        UsageError
            Not allowed, or a wrong signature.
        UnknownName
            No such thing.
        TableError
            Whatever else the service says.
        """
        pause = FIRST_WAIT_S
        for attempt in range(1, attempts + 1):
            try:
                return ask()
            except GeoquarryError:
                raise
            except Exception as error:
                if attempt == attempts or not is_transient(error):
                    raise self.ours(error, what) from _bare(error)
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_WAIT_S)
        raise AssertionError("unreachable")

    def ours(self, error: Exception, what: str) -> GeoquarryError:
        """An error of the client as one that says what to do."""
        said = self.account.hide(" ".join(str(error).split()))[:1500]
        where = f"MaxCompute project {self.account.project!r}, {what}"
        if isinstance(error, DENIED) or getattr(error, "status_code", None) in (401, 403):
            return UsageError(
                f"{where}: {said} Check the access id and its secret, and that the account has "
                "the permissions of docs/maxcompute.md."
            )
        if isinstance(error, errors.NoSuchObject):
            return UnknownName(f"{where}: {said}")
        if isinstance(error, requests.RequestException):
            return TableError(f"{where}: {self.account.endpoint} does not answer: {said}")
        return TableError(f"{where}: {type(error).__name__}: {said}")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bare(error: Exception) -> Exception | None:
    """An error to chain: requests hold the signed headers, which have no place in a trace."""
    return None if isinstance(error, requests.RequestException) else error
