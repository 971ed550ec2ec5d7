"""The driver's side of an ingest: takes what workers have written, settles versions, commits."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from geoquarry.engine.appender import Appender
from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.ledger import Record, Unit
from geoquarry.engine.local import Engine
from geoquarry.engine.run import Cancelled
from geoquarry.jobs.console import DONE, FAILED, SOME_FAILED, say
from geoquarry.jobs.ingest_scene import SceneDone, SceneRows, SceneWork, versions

GRANULE = "granule "
"""What the ledger says of a row that is stored; the granule's id follows."""
NO_PIXEL, NO_ROW = "no usable pixel there", "no row of it is in the table"
"""Why there is nothing of a scene that was read."""
OTHER_AIR_DAYS = 8
"""Aerosol from farther than that is told: weather brings other air within days, and what is left
of a longer distance is the season. 8 days is what MODIS itself composites into one date."""
STORED_BEFORE = "stored before this ingest was cut off"


@dataclass
class Report:
    """What an ingest did; scenes in the order in which they were given.

    ``other_air`` of them have aerosol of another time (`OTHER_AIR_DAYS`), at most ``aerosol_days``
    from the scene.
    """

    rows: int = 0
    without_reference: int = 0
    other_air: int = 0
    aerosol_days: int = 0
    granules: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def nothing_there(self) -> bool:
        """Every scene could be read, and none has anything in the tiles or the table."""
        reasons = {one["reason"] for one in self.skipped}
        others = self.granules or self.failed
        return bool(reasons) and reasons <= {NO_PIXEL, NO_ROW} and not others

    @property
    def exit_code(self) -> int:
        """0; 3 when some granules could not be used; 1 when none could."""
        if not self.failed:
            return DONE
        return SOME_FAILED if self.granules or self.skipped else FAILED


@dataclass
class Intake:
    """Scenes into one table; use it in a ``with`` statement, which commits at its end.

    Parameters
    ----------
    engine : Engine
    table : str
    schema : pa.Schema
        Of the table, if it must be made.
    work : SceneWork
    replacing : bool
        The newest production of an acquisition replaces the others.
    record : Record
        The page of the ledger. A scene is done there when its rows are committed.
    """

    engine: Engine
    table: str
    schema: pa.Schema
    work: SceneWork
    replacing: bool
    record: Record
    _appender: Appender | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _taken: list[tuple[SceneDone, str]] = field(default_factory=list)
    _seen: dict[str, SceneDone] = field(default_factory=dict)
    _waiting: list[tuple[SceneDone, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        if self.engine.exists(self.table):
            self._open()
        return self

    def _open(self) -> None:
        self.engine.ensure(self.table, self.schema)
        made = self.engine.appender(self.table, ingest_id=self.work.ingest_id)
        self._appender = self._stack.enter_context(made)
        self.work = replace(self.work, files=self._appender.files)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if not isinstance(error, Cancelled):
            self._write_down(frozenset())

    def left(self, scenes: Sequence[Path]) -> list[Path]:
        """Scenes to do: all but those that this ingest had stored before it was cut off."""
        before = stored_before(self.engine, self.table, self.record)
        self.record.plan(Unit(str(scene)) for scene in scenes if scene not in before)
        for scene in scenes:
            if scene in before:
                self._taken.append((SceneDone(SceneRows(scene)), STORED_BEFORE))
        return [scene for scene in scenes if scene not in before]

    def through(self, scenes: Iterable[Path]) -> Generator[SceneDone, None, None]:
        """Scenes through the workers of the engine, in the order in which they are finished.

        A table is made by the first scene that has something for it. Until then scenes are read
        here, because a worker could not know where to write.
        """
        waiting = deque(scenes)
        while waiting and self._appender is None:
            self.record.check()
            found = self.work.cut(waiting.popleft())
            if found.rows:
                self._open()
            yield self.work.write(found)
        if waiting:
            yield from self.engine.each(self.work, list(waiting), self.record.check)

    def take(self, done: SceneDone) -> None:
        """Record one scene; of two productions of one acquisition the newer stays."""
        found = done.found
        if found.failed:
            self._taken.append((done, ""))
            unit = Unit(str(found.scene))
            self.record.finish(unit, "failed", found.failed, error_class=found.error_class)
            named = found.scene.name in found.failed
            say(found.failed if named else f"{found.scene.name}: {found.failed}")
            return
        for text in found.notes:
            say(f"{found.granule_id}: {text}")
        older, newer = self._versions(done)
        newest = found.newer or (newer[-1] if newer else "")
        if newest:
            if done.file is not None and self._appender is not None:
                self._appender.files.discard(done.file)
            said = f"a newer production is in the table: {newest}"
            self._taken.append((done, said))
            self.record.finish(Unit(str(found.scene)), "skipped", said)
            return
        why = ""
        if not done.rows:
            refreshing = self.work.old is not None
            why = NO_ROW if refreshing else NO_PIXEL
        self._taken.append((done, why))
        self._waiting.append((done, why))
        # Earlier rows of a granule go, also when it no longer touches any tile of the grid.
        if self._appender is None or (why and (self.work.tiles or self.work.old is not None)):
            self._write_down(self._appender.pending if self._appender else frozenset())
            return
        self._appender.add_file(found.granule_id, done.file, replaces=older, tiles=self.work.tiles)
        self._seen[found.observation_id] = done
        self._write_down(self._appender.pending)
        failpoint("ingest.scene")

    def _write_down(self, pending: frozenset[str]) -> None:
        """Scenes that are committed, scene by scene and tile by tile."""
        still = []
        for done, why in self._waiting:
            scene = str(done.found.scene)
            if done.found.granule_id in pending:
                still.append((done, why))
            elif why:
                self.record.finish(Unit(scene), "empty", why)
            else:
                units = [Unit(scene, tile) for tile in done.tiles]
                self.record.split(Unit(scene), units)
                for unit in units:
                    self.record.finish(unit, "done", f"{GRANULE}{done.found.granule_id}")
        self._waiting = still

    def _versions(self, done: SceneDone) -> tuple[list[str], list[str]]:
        """Other productions of the same acquisition in the table: older ones, newer ones."""
        if self._appender is None or not self.replacing:
            return [], []
        found = done.found
        if found.observation_id in self._seen:
            self._appender.flush()  # so that the look-up sees what this call has added
        known = known_granules(self.engine, self.table, found.observation_id)
        return versions(found.granule_id, found.observation_id, known)

    def settle(self) -> None:
        """What another process added meanwhile: of two productions one stays.

        Each process looks after its own commit, so the later one sees both.
        """
        if self._appender is None or not self.replacing:
            return
        self._appender.flush()
        for done in self._seen.values():
            older, newer = self._versions(done)
            for gone in [*older, done.found.granule_id] if newer else older:
                self._appender.add_file(gone, None, tiles=self.work.tiles)

    def report(self, scenes: Sequence[Path]) -> Report:
        """What came in."""
        place = {scene: number for number, scene in enumerate(scenes)}
        report = Report()
        first: dict[str, str] = {}
        for done, skipped in sorted(self._taken, key=lambda one: place[one[0].found.scene]):
            scene = str(done.found.scene)
            if done.found.failed:
                report.failed.append({"scene": scene, "reason": done.found.failed})
            elif skipped:
                report.skipped.append({"scene": scene, "reason": skipped})
            elif (same := first.setdefault(done.found.granule_id, scene)) != scene:
                report.skipped.append({"scene": scene, "reason": f"the same granule as {same}"})
            else:
                report.other_air += done.found.aerosol_days > OTHER_AIR_DAYS
                report.aerosol_days = max(report.aerosol_days, done.found.aerosol_days)
                report.rows += done.rows
                report.without_reference += done.without_reference
                report.granules.append(done.found.granule_id)
        return report


def stored_before(engine: Engine, table: str, record: Record) -> dict[Path, list[Unit]]:
    """Scenes that an ingest had stored before it was cut off, and whose rows are still there.

    Parameters
    ----------
    engine : Engine
    table : str
    record : Record
        Of the ingest that goes on; its commit id is the ``ingest_id`` of the rows.
    """
    if not (record.resumed and engine.exists(table)):
        return {}
    found = engine.read(
        table,
        ["granule_id", "tile_x", "tile_y"],
        where=f"ingest_id = '{record.commit_id}'",
    ).read_all()
    there = {tuple(row.values()) for row in found.to_pylist()}
    scenes: dict[Path, list[Unit]] = {}
    lacking: set[Path] = set()
    for said in engine.warehouse.ledger.units(record.commit_id):
        scene = Path(said["item"])
        if said["tile_x"] is None:
            continue
        tile = said["tile_x"], said["tile_y"]
        if (said["reason"].removeprefix(GRANULE), *tile) not in there:
            lacking.add(scene)
        scenes.setdefault(scene, []).append(Unit(said["item"], tile))
    return {scene: units for scene, units in scenes.items() if scene not in lacking}


def known_granules(engine: Engine, table: str, observation_id: str = "") -> list[str]:
    """Granules of a table, or those of one acquisition, sorted."""
    start = observation_id.replace("'", "''")
    where = f"granule_id >= '{start}' AND granule_id < '{start}~'" if start else ""
    found = engine.read(table, ["granule_id"], where=where).read_all()
    return sorted(set(found["granule_id"].to_pylist()))
