"""What a helper table says of its maker: which process, whether it lives, what it has sent.

It stands in the table's comment, so it is found by whoever finds the table, on any host. A process
of this host is known to live or not; one of another is believed for a while after it was heard of.
"""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from odps import errors

from geoquarry.engine.lease import Process, this_process
from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_ddl import literal, quoted
from geoquarry.schemas.errors import GeoquarryError

LEASE_S = 600
"""Who was not heard of for so long, and works on another host, is taken for dead."""


def maker() -> dict[str, Any]:
    """This process, for a note."""
    return asdict(this_process())


def note_text(about: Mapping[str, Any]) -> str:
    """A note as it stands in a comment."""
    return json.dumps(about)


def read_note(connection: Connection, name: str) -> dict[str, Any]:
    """What a table says of its maker; nothing, if it is gone or says nothing."""

    def ask() -> str:
        table = connection.odps.get_table(name)
        try:
            table.reload()
        except errors.NoSuchObject:
            return ""
        return table.comment or ""

    try:
        found = json.loads(connection.patiently(ask, f"table {name!r}") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write_note(connection: Connection, name: str, about: Mapping[str, Any]) -> None:
    """Change what a table says."""
    told = literal(note_text(about))
    connection.execute(f"ALTER TABLE {quoted(name)} SET COMMENT {told}")


def is_dead(about: Mapping[str, Any]) -> bool:
    """Whether the maker is no more: known of this host, believed of others after the lease.

    A note that does not say when its maker was heard of is not kept fresh: of another host, or
    another container of that name, nothing is known then.

    >>> is_dead(maker()), is_dead({"host": "other", "pid": 1}), is_dead({})
    (False, False, False)
    >>> is_dead({"host": "other", "pid": 1, "heard": 0})
    True
    """
    process = _process(about)
    heard = float(about.get("heard", time.time()))
    return process is not None and not process.is_live(heard, LEASE_S)


def is_at_work(about: Mapping[str, Any]) -> bool:
    """Whether the maker lives for sure, and keeps its note fresh if it ever did.

    >>> is_at_work(maker()), is_at_work({"host": "other", "pid": 1}), is_at_work({})
    (True, False, False)
    """
    process, heard = _process(about), about.get("heard")
    if process is None or (heard is not None and time.time() - float(heard) >= LEASE_S):
        return False
    return process.is_live(float(heard or 0.0), LEASE_S)


def _process(about: Mapping[str, Any]) -> Process | None:
    try:
        return Process(str(about["host"]), int(about["pid"]), str(about.get("born", "")))
    except (KeyError, ValueError, TypeError):
        return None


def runs(connection: Connection, about: Mapping[str, Any]) -> bool:
    """Whether the statement that a note names is still at work."""
    number = about.get("instance")
    if not number:
        return False

    def ask() -> bool:
        try:
            return not connection.odps.get_instance(number).is_terminated(retry=False)
        except errors.NoSuchObject:
            return False

    return connection.patiently(ask, f"instance {number}")


class Note:
    """The note of a helper table, kept fresh in a ``with`` statement.

    Parameters
    ----------
    connection : Connection
    physical : str
        The table; it is there when the statement is entered.
    lease_s : float
        It is renewed three times in so many seconds.

    Attributes
    ----------
    about : dict
        What it says.
    """

    def __init__(self, connection: Connection, physical: str, lease_s: float = LEASE_S) -> None:
        self.connection, self.physical, self.lease_s = connection, physical, lease_s
        self.about: dict[str, Any] = {**maker(), "heard": int(time.time())}
        self._writing = threading.Lock()
        self._left = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="note", daemon=True)

    def __enter__(self) -> Self:
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        self._renewing.join()

    def sent(self, instance: Any) -> None:
        """A statement is on its way: whoever finds the table without its process can stop it."""
        self.about["instance"] = str(instance.id)
        self._write()

    def _renew(self) -> None:
        while not self._left.wait(self.lease_s / 3):
            self._write()

    def _write(self) -> None:
        with self._writing, suppress(GeoquarryError):  # the next one says the same
            self.about["heard"] = int(time.time())
            write_note(self.connection, self.physical, self.about)
