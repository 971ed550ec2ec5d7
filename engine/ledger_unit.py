"""What the ledger knows: the units of a job, their states, and how a job ended by them."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from geoquarry.engine.lease import this_process
from geoquarry.engine.ledger_tables import UNITS

LONGEST_NAME = 700
UNIT_STATES = ("pending", "running", "done", "empty", "failed", "skipped")
JOB_STATES = ("running", "done", "partial", "failed", "cancelled")
"""``partial``: it ended, and some of its units failed or lack rows."""
TRIED = ("done", "empty", "failed")
ROWS_LEFT_OUT = "RowsLeftOut"
"""Class of the error of a unit that is done, but not from all of its rows."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a job that succeeds or fails by itself.

    Attributes
    ----------
    item : str
        Scene or file; empty where the tile says all.
    tile : (tile_x, tile_y) or None

    Examples
    --------
    >>> Unit("scene.hdf", (3, 5)).name, Unit(tile=(3, 5)).name
    ('scene.hdf 3,5', '3,5')
    """

    item: str = ""
    tile: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Its name within the job."""
        place = "" if self.tile is None else f"{self.tile[0]},{self.tile[1]}"
        name = f"{self.item} {place}".strip()
        if len(name) <= LONGEST_NAME:
            return name
        end = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        return f"{name[: LONGEST_NAME - 41]}~{end}"


class Said(NamedTuple):
    """What the ledger says about a unit; times in microseconds since the epoch."""

    state: str
    reason: str = ""
    error_class: str = ""
    attempts: int = 0
    started: int | None = None
    ended: int | None = None
    seconds: float | None = None


def now_us() -> int:
    """Microseconds since the epoch."""
    return int(time.time() * 1e6)


def outcome(connection: Connection, commit_id: str) -> str:
    """How a job that came to its end ended, by its units."""
    counts = count_units(connection, [commit_id])[commit_id]
    if not counts["failed"]:
        left_out = (UNITS.c.commit_id == commit_id) & (UNITS.c.error_class == ROWS_LEFT_OUT)
        found = connection.execute(select(UNITS.c.unit).where(left_out).limit(1)).first()
        return "partial" if found else "done"
    return "failed" if counts["failed"] == sum(counts.values()) else "partial"


def count_units(connection: Connection, commit_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Units of some jobs by state."""
    counts = {commit_id: dict.fromkeys(UNIT_STATES, 0) for commit_id in commit_ids}
    found = connection.execute(
        select(UNITS.c.commit_id, UNITS.c.state, func.count())
        .where(UNITS.c.commit_id.in_(commit_ids))
        .group_by(UNITS.c.commit_id, UNITS.c.state)
    )
    for commit_id, state, number in found:
        counts[commit_id][state] = number
    return counts


def first_row(
    commit_id: str, job_id: str, about: Mapping[str, Any], attempts: int = 1
) -> dict[str, Any]:
    """The row of a job that begins, or that another process takes over."""
    now = now_us()
    return {
        **about,
        "commit_id": commit_id,
        "job_id": job_id,
        "status": "running",
        "reason": "",
        "error_class": "",
        "attempts": attempts,
        **asdict(this_process()),
        "started": now,
        "heard": now,
        "ended": None,
        "seconds": None,
        "snapshot_id": None,
        "cancel": 0,
    }
