"""Results of a job on their way: one staging table per attempt, and what earlier ones have left.

The table's name tells the job and the attempt, so a run that was cut off is found again. What it
finished is copied, not taken over: its process may live on another host, and drop its table.
"""

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

from geoquarry.engine.ledger import Ledger, Record
from geoquarry.engine.maxcompute_connection import FULL_SCAN, Connection
from geoquarry.engine.maxcompute_ddl import listed, literal, quoted
from geoquarry.engine.maxcompute_note import Note
from geoquarry.engine.maxcompute_tables import (
    drop_physical,
    helper_name,
    make_helper,
    physical_names,
)
from geoquarry.engine.maxcompute_tasks import LIFECYCLE_DAYS
from geoquarry.engine.maxcompute_udf import answer_fields
from geoquarry.engine.plan import TileTask
from geoquarry.engine.tile import GOOD, Finished, digest_of_task
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.job import Job

ID_CHARACTERS, TRY_CHARACTERS = 8, 4
"""Of the job id in the names of its helper tables, and of what makes each attempt's its own."""
ANSWERS = ("tile_x", "tile_y", "status", "message", "input_digest", "issues")
"""Columns of a result that a report needs."""
DIGESTS = 10_000
"""Digests named in one statement: 67 bytes each, of 2 MB."""

Tiles = Collection[tuple[int, int]]


class Results:
    """The staging table of one attempt; use it in a ``with`` statement, which drops it.

    Parameters
    ----------
    connection : Connection
    job : Job
    record : Record
        Of the attempt.

    Attributes
    ----------
    token : str
        Of the names of the attempt's helper tables.
    physical : str
        The table's name in the project.
    note : Note
        What it says of this process, and of the statement that fills it.
    """

    def __init__(self, connection: Connection, job: Job, record: Record) -> None:
        self.connection, self.job, self._record = connection, job, record
        self._target = connection.physical(job.target)
        attempt = uuid4().hex[:TRY_CHARACTERS]
        self.token = record.job_id[:ID_CHARACTERS] + record.commit_id + attempt
        self.physical = helper_name(self._target, "result", self.token)
        self.note = Note(connection, self.physical)
        self._before: list[str] = []
        self._open = ExitStack()

    def __enter__(self) -> "Results":
        make_helper(self.connection, self.physical, self.job.schema, lifecycle_days=LIFECYCLE_DAYS)
        self._open.callback(drop_quietly, self.connection, self.physical)
        self._open.enter_context(self.note)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # -- earlier attempts ---------------------------------------------------------------------

    def resumed(self, todo: Sequence[TileTask]) -> set[tuple[int, int]]:
        """Copy finished tiles that are still what this run would compute; which those are."""
        begin = results_of(self._target, self._record.job_id)
        found = physical_names(self.connection, begin)
        self._before = [name for name in found if name != self.physical]
        wanted = {(task.tile_x, task.tile_y): digest_of_task(self.job, task) for task in todo}
        copied: set[tuple[int, int]] = set()
        for left in self._before:
            same = [
                key
                for key, digest in self._good(left).items()
                if digest == wanted.get(key) and key not in copied
            ]
            for start in range(0, len(same), DIGESTS):
                some = same[start : start + DIGESTS]
                self._copy(left, [wanted[key] for key in some])
                copied |= set(some)
        return copied

    def _good(self, left: str) -> dict[tuple[int, int], str]:
        """Digests of the good tiles in a table that may be dropped at this moment."""
        try:
            rows = self._said(left)
        except TableError:
            return {}
        good = (row for row in rows if row["status"] in GOOD)
        return {(row["tile_x"], row["tile_y"]): row["input_digest"] for row in good}

    def _copy(self, left: str, digests: Sequence[str]) -> None:
        names = listed(field.name for field in answer_fields(self.job.schema))
        # A digest says of which job and tile a row is, so nothing else is asked for.
        self.connection.execute(
            f"INSERT INTO TABLE {quoted(self.physical)}\nSELECT {names}\nFROM {quoted(left)}\n"  # nosec B608
            f"WHERE `input_digest` IN ({', '.join(map(literal, digests))})",
            FULL_SCAN,
        )

    def forget_earlier(self, ledger: Ledger) -> None:
        """Drop what attempts have left that nobody works on any more."""
        for left in self._before:
            commit_id = left[-len(self._record.commit_id) - TRY_CHARACTERS : -TRY_CHARACTERS]
            if commit_id == self._record.commit_id or ledger.has_ended(commit_id):
                drop_quietly(self.connection, left)

    # -- this attempt -------------------------------------------------------------------------

    def finished(self, todo: Sequence[TileTask], resumed: Tiles) -> list[Finished]:
        """Answers of all tiles, each once.

        Raises
        ------
        TableError
            Tiles are missing or come twice.
        """
        rows = self._said(self.physical) if todo else []
        keys = [(row["tile_x"], row["tile_y"]) for row in rows]
        wanted = {(task.tile_x, task.tile_y) for task in todo}
        missing = len(wanted - set(keys))
        if missing:
            raise TableError(
                f"{missing} of {len(wanted)} tiles did not come back, nothing was committed. Rows "
                f"of {self.job.source!r} changed or went while the job ran: run it again."
            )
        if len(keys) != len(wanted):
            raise TableError(
                f"{len(keys)} rows came for {len(wanted)} tiles, nothing was committed: "
                f"{self.physical!r} was written to by somebody else."
            )
        return [
            Finished(
                *key,
                row["status"],
                row["message"] or "",
                resumed=key in resumed,
                issues=tuple(row.get("issues") or ()),
            )
            for key, row in zip(keys, rows, strict=True)
        ]

    def _said(self, physical: str) -> list[dict[str, Any]]:
        """What the rows of a staging table are, without their rasters."""
        names = [name for name in ANSWERS if name in self.job.schema.names]
        text = f"SELECT {listed(names)}\nFROM {quoted(physical)}"  # nosec B608
        rows: list[dict[str, Any]] = self.connection.rows(text, FULL_SCAN).to_pylist()
        return rows


def results_of(target: str, job_id: str) -> str:
    """How the names of all staging tables of a job begin, whichever attempt made them."""
    return helper_name(target, "result", job_id[:ID_CHARACTERS])


def drop_quietly(connection: Connection, physical: str) -> None:
    """Drop a helper table; one that stays goes by its lifecycle, or with `vacuum`."""
    with suppress(Exception):
        drop_physical(connection, physical)
