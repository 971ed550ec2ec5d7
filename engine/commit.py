"""One atomic step from one table state to the next: whole files out, whole files in."""

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    LessThanOrEqual,
)
from pyiceberg.manifest import DataFile
from sqlalchemy.exc import OperationalError

from geoquarry.engine.datafile import WrittenFile, iceberg_file
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.storage import catalog_trouble, is_busy, writing
from geoquarry.engine.swap import swap_files
from geoquarry.engine.table import COMMIT_ID, KIND, Table
from geoquarry.schemas.errors import CommitConflict

ATTEMPTS = 20
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 2.0


@dataclass
class Change:
    """What one commit does to a table."""

    add: list[WrittenFile] = field(default_factory=list)
    remove: list[DataFile] = field(default_factory=list)


def new_commit_id() -> str:
    """A commit id nobody has used.

    >>> len(new_commit_id())
    32
    """
    return uuid.uuid4().hex


def commit(
    table: Table,
    replan: Callable[[Table], Change],
    *,
    commit_id: str,
    kind: str,
    properties: Mapping[str, str] | None = None,
) -> int | None:
    """Apply a change; under concurrency, plan it again on the newest state and try again.

    Parameters
    ----------
    table : Table
        Refreshed on return.
    replan : callable
        Given the table at its newest state, says which files come and which go. It is called once
        per attempt, because another writer may have changed which files hold the same keys.
    commit_id : str
        Repeating one is a no-op.
    kind : str
        What the commit is for, e.g. ``ingest``; stored in the snapshot.
    properties : mapping, optional
        More to store in the snapshot (``geoquarry.`` is put before each name).

    Returns
    -------
    snapshot_id : int or None
        The snapshot that holds this commit; the current one when there was nothing to change.

    Raises
    ------
    CommitConflict
        Others kept changing the same rows through 20 attempts.
    """
    said = {f"geoquarry.{name}": str(value) for name, value in (properties or {}).items()}
    said.update({COMMIT_ID: commit_id, KIND: kind})
    last: Exception | None = None
    for attempt in range(ATTEMPTS):
        table.refresh()
        done = table.find_commit(commit_id)
        if done is not None:
            return done
        seen = table.snapshot_id
        try:
            change = replan(table)
            if not change.add and not change.remove:
                return table.snapshot_id
            with writing(table.location):
                failpoint("commit.planned")
                swap_files(
                    table.iceberg,
                    add=[iceberg_file(table, file) for file in change.add],
                    remove=change.remove,
                    conflicts=key_range(table, change),
                    properties=said,
                )
                failpoint("commit.landed")
            table.refresh()
            return table.find_commit(commit_id)
        except (CommitFailedException, ValidationException) as error:
            last = error
        except OperationalError as error:
            if not is_busy(error):
                raise catalog_trouble(error) from error
            last = error
        except FileNotFoundError as error:
            # Others went on and a vacuum took the state we started from; without them it is damage.
            table.refresh()
            if table.snapshot_id == seen:
                raise
            last = error
        pause = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
        time.sleep(random.uniform(0.2, 1.0) * pause)
    raise CommitConflict(
        f"Table {table.name!r}: other writers changed the same rows during {ATTEMPTS} attempts "
        f"({last}). Nothing of commit {commit_id} was stored; run it again when they are done."
    ) from last


def key_range(table: Table, change: Change) -> BooleanExpression:
    """The bounding range of the keys a change touches: who else writes there is in conflict.

    One range, never one term per key: 2,000 terms take minutes to evaluate.
    """
    columns = [name for name in table.layout.unit if name != "grid"]
    if not columns:  # all rows share one file: whoever else writes is in conflict
        return AlwaysTrue()
    bounds: list[Sequence[tuple[Any, Any]]] = [
        [file.bounds[name] for name in columns] for file in change.add
    ]
    bounds += [table.bounds(file, columns) for file in change.remove]
    terms: list[BooleanExpression] = []
    for place, name in enumerate(columns):
        low, high = min(row[place][0] for row in bounds), max(row[place][1] for row in bounds)
        # mypy does not see that these take a name and a value, in this order.
        terms.append(GreaterThanOrEqual(name, low))  # type: ignore[call-arg, arg-type]
        terms.append(LessThanOrEqual(name, high))  # type: ignore[call-arg, arg-type]
    return And(*terms)
