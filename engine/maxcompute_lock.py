"""Who may write to a table: one at a time, by a small table whose name says until when.

MaxCompute has no locks that outlive a statement. Each contender makes a table of its own name,
``<table>__lock_<end of lease><token>``, and then looks for others: who sees another live one steps
back, so of two that see each other none goes on. Names are never used twice, so a lock whose lease
has ended can be dropped by anybody without taking away somebody's fresh one.

A statement runs on when the process that sent it is killed. Its lock names it, so whoever takes the
lock over waits for it to end; and the rows of one that was not named yet are dropped, so that it
cannot begin. Who gives up on a statement leaves the lock only when that has ended.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_ddl import literal, quoted
from geoquarry.engine.maxcompute_note import (
    LEASE_S,
    is_dead,
    maker,
    note_text,
    read_note,
    runs,
    write_note,
)
from geoquarry.engine.maxcompute_tables import (
    HELPER,
    drop_physical,
    helper_name,
    physical_names,
)
from geoquarry.engine.run import go_on
from geoquarry.schemas.errors import CommitConflict, GeoquarryError

PATIENCE_S = 1800
SETTLE_S = 60
"""How long a statement that was stopped is waited for before its lock is left behind."""
TOKEN = 8


class Lock:
    """Sole writing rights on one table, in a ``with`` statement.

    Parameters
    ----------
    connection : Connection
    physical : str
        The table.
    check : callable
        Raises to give up waiting.
    patience_s : float
        Seconds to wait for others.
    lease_s : float
        How long the lock outlives its process, if that is on another host.
    rows : str
        Table that the statement will read.

    Raises
    ------
    CommitConflict
        Others kept writing.
    """

    def __init__(
        self,
        connection: Connection,
        physical: str,
        check: Callable[[], None] = go_on,
        patience_s: float = PATIENCE_S,
        lease_s: float = LEASE_S,
        rows: str = "",
    ) -> None:
        self.connection = connection
        self.physical = physical
        self.check = check
        self.patience_s = patience_s
        self.lease_s = lease_s
        self.token = uuid.uuid4().hex[:TOKEN]
        self.about: dict[str, Any] = {**maker(), "rows": rows}
        self._names: list[str] = []
        self._until = 0.0
        self._left = threading.Event()
        self._renewing: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._wait()
        except BaseException:
            self._drop()
            raise
        self._renewing = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._renewing.start()
        return self

    def _wait(self) -> None:
        until = time.monotonic() + self.patience_s
        pause = 0.2
        while True:
            self.check()
            others = self._live_others()
            if not others:
                self._make()
                others = self._live_others()
                if not others:
                    return
                self._drop()
            if time.monotonic() > until:
                raise CommitConflict(
                    f"Table {self.physical!r}: others have been writing for "
                    f"{self.patience_s:.0f} s ({', '.join(others)}). Run it again later."
                )
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 5.0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        if self._renewing is not None:
            self._renewing.join()
        with suppress(GeoquarryError):  # what was written is written; the lease ends by itself
            if kind is None or self._settled():
                self._drop()

    def holds(self) -> None:
        """Refuse to go on when the lease has ended, because it could not be renewed.

        Raises
        ------
        CommitConflict
        """
        if time.time() >= self._until:
            raise CommitConflict(
                f"Table {self.physical!r}: the lock on it could not be renewed in "
                f"{self.lease_s:.0f} s, so others may write. Run it again."
            )

    def note(self, instance: Any) -> None:
        """The statement is on its way: whoever finds this lock without its process waits for it."""
        self.about["instance"] = str(instance.id)
        self._tell()

    def _tell(self) -> None:
        for name in list(self._names):
            with suppress(GeoquarryError):  # the next lock of this process has it from the start
                write_note(self.connection, name, self.about)

    def _settled(self) -> bool:
        """Whether the statement has ended; if not, the lock stays until it has."""
        until = time.monotonic() + SETTLE_S
        while runs(self.connection, self.about):
            if time.monotonic() > until:
                self.about["left"] = True
                self._tell()
                return False
            time.sleep(0.5)
        return True

    def _make(self) -> None:
        """A lock with a fresh lease beside the old one, which goes then."""
        ends = int(time.time() + self.lease_s)
        name = helper_name(self.physical, "lock", f"{ends:08x}{self.token}")
        if name in self._names:
            return
        self._names.append(name)
        told = literal(note_text(self.about))
        self.connection.execute(
            f"CREATE TABLE IF NOT EXISTS {quoted(name)} (`held` BIGINT) COMMENT {told} LIFECYCLE 1"
        )
        self._until = float(ends)
        self._drop(keep=name)

    def _drop(self, keep: str = "") -> None:
        for name in [name for name in self._names if name != keep]:
            drop_physical(self.connection, name)
            self._names.remove(name)

    def _renew(self) -> None:
        while not self._left.wait(self.lease_s / 3):
            with suppress(GeoquarryError):  # once more before the lease ends; see `holds`
                self._make()

    def _live_others(self) -> list[str]:
        """Locks of others whose lease and process are alive; the rest is dropped."""
        live = []
        for name in physical_names(self.connection, f"{self.physical}__lock_"):
            match = HELPER.fullmatch(name)
            said = name.rpartition("_")[2]
            if match is None or match[1] != self.physical or said[-TOKEN:] == self.token:
                continue
            about = read_note(self.connection, name)
            held = lease_left_s(name) > 0 and not about.get("left") and not is_dead(about)
            if held or runs(self.connection, about):
                live.append(name)
                continue
            if about.get("rows") and "instance" not in about:
                drop_physical(self.connection, about["rows"])
            drop_physical(self.connection, name)
        return live


def lease_left_s(name: str) -> float:
    """Seconds until the lease in a lock's name ends; negative afterwards.

    >>> lease_left_s("aster__lock_0000000012345678") < 0
    True
    """
    return int(name.rpartition("_")[2][:-TOKEN] or "0", 16) - time.time()
