"""The rows of an upload: each is a unit in the ledger, and a bad one costs only itself."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine.exchange import Row
from geoquarry.engine.ledger import Record, Unit
from geoquarry.engine.local import Engine
from geoquarry.schemas.errors import InputError

ONE_OF = ("grid", "sensor", "method")
"""Columns in which a table holds one value."""
STORED_BEFORE = "stored by the upload that this one tries again"


@dataclass
class Rows:
    """Rows on their way from a file into a table, as they are counted and written down.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    taken : list of Unit
    skipped : int
    failed : list of str
    record : Record
        The page of the ledger, once there is a job. A good row is its tile (and granule) there, a
        bad one its place in the file; a row is done when it is committed.
    """

    path: Path
    taken: list[Unit] = field(default_factory=list)
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    record: Record | None = None
    _place: int = 0
    _early: list[tuple[Unit, InputError]] = field(default_factory=list)

    def write_down(self, record: Record) -> None:
        """The job has begun: rows are written down from now on, and those seen before it."""
        self.record = record
        for unit, error in self._early:
            record.finish(unit, "failed", str(error), error_class=type(error).__name__)

    def unreadable(self, error: InputError) -> None:
        """The next row of the file cannot be read."""
        self._place += 1
        self._leave_out(error)

    def _leave_out(self, error: InputError) -> None:
        self.failed.append(str(error))
        unit = Unit(f"row {self._place}")
        if self.record is None:
            self._early.append((unit, error))
        else:
            self.record.finish(unit, "failed", str(error), error_class=type(error).__name__)

    def good(
        self, rows: Iterable[Row], held: pa.Schema, about: Mapping[str, Any], before: set[Unit]
    ) -> Iterator[Row]:
        """Rows that the table takes, each key once.

        Parameters
        ----------
        rows : iterable of dict
            Those that can be read.
        held : pa.Schema
            Of the table.
        about : mapping
            Facts of the file.
        before : set of Unit
            Rows to leave as they are.
        """
        assert self.record is not None
        key = [field.name for field in held if not field.nullable]
        wanted = {name: about[name] for name in ONE_OF if name in about and name in held.names}
        seen: set[Unit] = set()
        for row in rows:
            self.record.check()
            self._place += 1
            unit = unit_of(row)
            other = [name for name in wanted if row.get(name) not in (None, wanted[name])]
            if other:
                name = other[0]
                said = f"{self.path}: {unit.name} is of {name} {row[name]!r}, the table of "
                text = f"{said}{wanted[name]!r}. Upload it to a table of its own."
                self._leave_out(InputError(text))
            elif unit in seen:
                said = ", ".join(f"{name} {row[name]}" for name in key)
                text = f"{self.path}: the row of {said} comes twice; the first one is taken."
                self._leave_out(InputError(text))
            elif unit in before:
                seen.add(unit)
                self.skipped += 1
                self.record.finish(unit, "skipped", STORED_BEFORE)
            else:
                seen.add(unit)
                self.taken.append(unit)
                self.record.plan([unit])
                yield {name: row.get(name) for name in held.names}

    def stored(self) -> None:
        """What was taken is committed."""
        assert self.record is not None
        for unit in self.taken:
            self.record.finish(unit, "done")


def stored_before(engine: Engine, table: str, retries: str) -> set[Unit]:
    """Rows that an upload and those before it have stored, and that are still in the table."""
    ledger = engine.warehouse.ledger
    known = {
        (said["item"], said["tile_x"], said["tile_y"])
        for commit_id in ledger.tries_before(retries)
        for said in ledger.units(commit_id, ("done",))
    }
    if not known:
        return set()
    key = [field.name for field in engine.schema(table) if not field.nullable]
    there = {unit_of(row) for row in engine.read(table, key).read_all().to_pylist()}
    return {unit for unit in there if (unit.item, *(unit.tile or (None, None))) in known}


def unit_of(row: Mapping[str, Any]) -> Unit:
    """A row by its key, as the ledger calls it."""
    tile = (row["tile_x"], row["tile_y"]) if "tile_x" in row else None
    return Unit(row.get("granule_id") or "", tile)
