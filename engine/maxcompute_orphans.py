"""What a process that was killed has left: its statement is stopped, its helper tables dropped.

The statement of a job runs on when the process that sent it is killed, and costs what it costs,
though nobody waits for it. The staging table of its results names it (`engine.maxcompute_note`), so
the next run into the same table, or `vacuum`, finds it. Nothing of a living process is touched.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_note import is_dead, read_note, runs
from geoquarry.engine.maxcompute_tables import HELPER, drop_physical, helper_name, physical_names
from geoquarry.engine.maxcompute_upload import count_rows
from geoquarry.schemas.errors import UnknownName

SETTLE_S = 60
"""How long a statement that was stopped is waited for before its tables are left to the next."""
_log = logging.getLogger(__name__)


def sweep(
    connection: Connection,
    physical: str,
    *,
    ours: str = "",
    take: Callable[[Any], None] | None = None,
    finished: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Stop statements of dead processes, and drop their helper tables that nobody can use.

    Tiles that a dead process has computed and not committed are kept for a run that resumes it, and
    so are rows that a lock names: their statement is waited for by whoever takes the lock over.

    Parameters
    ----------
    connection : Connection
    physical : str
        The table that the helpers stand beside.
    ours : str
        How the names of the result tables of one job begin.
    take : callable (instance), optional
        Waits for the statement of an attempt at that job, instead of stopping it.
    finished : bool
        That job is done: what earlier attempts at it have computed goes, too.
    dry_run : bool
        Only say what would go.

    Returns
    -------
    dropped : list of str
    """
    found = dict(_beside(connection, physical))
    locked = [read_note(connection, name) for name, kind in found.items() if kind == "lock"]
    held = {str(about.get("rows", "")) for about in locked}
    dropped: list[str] = []
    for name in [name for name, kind in found.items() if kind == "result"]:
        tasks = helper_name(physical, "tasks", name.rpartition("_")[2])
        kind_of_tasks = found.pop(tasks, "")  # they go with their results, or stay with them
        about = read_note(connection, name)
        if name in held or not is_dead(about):
            continue
        mine = bool(ours) and name.startswith(ours)
        if not dry_run and not _ended(connection, about, take if mine else None):
            continue
        dropped += [tasks] if kind_of_tasks else []
        if (mine and finished) or not _rows(connection, name):
            dropped.append(name)
    for name, kind in found.items():
        if kind in ("new", "tasks") and name not in held and is_dead(read_note(connection, name)):
            dropped.append(name)
    if not dry_run:
        for name in dropped:
            drop_physical(connection, name)
    return dropped


def _beside(connection: Connection, physical: str) -> Iterator[tuple[str, str]]:
    """Helper tables and their kinds."""
    for name in physical_names(connection, f"{physical}__"):
        match = HELPER.fullmatch(name)
        if match and match[1] == physical:
            yield name, match[2]


def _ended(
    connection: Connection, about: dict[str, Any], take: Callable[[Any], None] | None
) -> bool:
    """See to it that the statement of a dead process is not at work any more."""
    if not runs(connection, about):
        return True
    instance = connection.odps.get_instance(about["instance"])
    if take is not None:
        take(instance)
    else:
        connection.stop(instance)
        _log.warning("Stopped instance %s: the process that sent it was killed.", instance.id)
    until = time.monotonic() + SETTLE_S
    while runs(connection, about):
        if time.monotonic() > until:
            _log.warning("Instance %s does not stop; its tables stay for now.", instance.id)
            return False
        time.sleep(0.5)
    return True


def _rows(connection: Connection, physical: str) -> int:
    """Rows of a result table; 0 if somebody has just dropped it."""
    try:
        return count_rows(connection, physical)
    except UnknownName:
        return 0
