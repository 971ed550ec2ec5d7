"""Staged rows into a table: one statement that swaps them in, under a lock, safe to say again.

MaxCompute promises that an INSERT OVERWRITE happens as a whole, also over many partitions, and that
readers see the state before it or after it; an INSERT INTO that fails may leave rows behind
(https://www.alibabacloud.com/help/en/maxcompute/product-overview/acid-semantics). So zones are
overwritten with what they shall hold; only where nothing is replaced, and a zone holds rows that
would have to be copied for nothing, rows are inserted. What to do is looked up anew in each
attempt, so an attempt that was done, whole or in part, without our knowing is completed.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST
from geoquarry.engine.maxcompute_connection import FULL_SCAN
from geoquarry.engine.maxcompute_ddl import ZONE, listed, literal, quoted
from geoquarry.engine.maxcompute_errors import InstanceFailed
from geoquarry.engine.maxcompute_limits import PARTITIONS_READ, spread
from geoquarry.engine.maxcompute_lock import Lock
from geoquarry.engine.maxcompute_tables import MaxTable
from geoquarry.engine.run import go_on
from geoquarry.schemas.errors import CommitConflict
from geoquarry.schemas.tables import STATUS

ATTEMPTS = 5
GOOD = ", ".join(literal(status) for status in STATUS if status != "failed")
MOST_ZONES = 1000
"""Zones named one by one in a statement; beyond that it reads all of them, if it may."""
TILE_FACTOR = 10**9
"""Makes one number of tile_x and tile_y."""
OURS = ("ODPS-0130", "ODPS-0123", "ODPS-0121")
"""Codes of statements that will never work: they are not said again."""

Units = Mapping[str, Collection[tuple[int, int]] | None]
"""Granule -> tiles whose rows go, or None for all its rows."""


@dataclass
class Replaced:
    """What a commit did.

    Attributes
    ----------
    added, removed : int
        Rows.
    zones : list of str
        Written or emptied.
    attempts : int
    """

    added: int = 0
    removed: int = 0
    zones: list[str] = field(default_factory=list)
    attempts: int = 0


@dataclass(frozen=True)
class _Zone:
    """What a commit will do to a zone: rows that stay, that go, that come."""

    name: str
    kept: int
    gone: int
    new: int


def replace_rows(
    table: MaxTable,
    staging: str,
    *,
    units: Units | None = None,
    keep_good: bool = False,
    whole: bool = False,
    zones: Collection[str] | None = None,
    check: Callable[[], None] = go_on,
) -> Replaced:
    """Put the rows of a staging table into a table, replacing rows of the same key.

    Nothing is seen before the one statement has ended, and then everything. Called again with the
    same staging table it changes nothing more.

    Parameters
    ----------
    table : MaxTable
    staging : str
        Table of the project with the columns of `maxcompute_ddl.create_table(..., zones=False)`,
        each key once. It is not dropped.
    units : mapping of granule -> tiles or None, optional
        Rows that go besides: all of a granule, or those in some tiles.
    keep_good : bool
        A staged row with status ``failed`` does not replace a good one.
    whole : bool
        All other rows go, too.
    zones : collection of str, optional
        Those of the staged rows and of ``units``, if known: only they are looked at.
    check : callable
        Raises to give up before the statement is sent.

    Returns
    -------
    replaced : Replaced

    Raises
    ------
    CommitConflict
        Others kept writing.
    InstanceFailed
        The service could not do it; the table is as it was.
    TableError
        More zones than one statement can read or write; the table is as it was.
    """
    narrow = sorted(zones) if zones and not whole else []
    commit = _Commit(table, staging, units or {}, keep_good, whole, narrow)
    with Lock(table.connection, table.physical, check, rows=staging) as lock:

        def go() -> None:
            check()
            lock.holds()

        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = commit.once(go, lock.note)
                found.attempts = attempt
                return found
            except InstanceFailed as error:
                if error.code.startswith(OURS) or error.cancelled:
                    raise
                if attempt == ATTEMPTS:
                    if error.conflict:
                        raise CommitConflict(
                            f"Table {table.name!r}: others kept writing. Run it again. ({error})"
                        ) from error
                    raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class _Commit:
    table: MaxTable
    staging: str
    units: Units
    keep_good: bool
    whole: bool
    narrow: list[str]

    def once(self, go: Callable[[], None], sent: Callable[[Any], None]) -> Replaced:
        """Look what there is and swap the rows in one statement."""
        go()
        connection = self.table.connection
        self.table.check_zones(self.narrow, self.narrow or None)
        zones = self.zones()
        work = [zone for zone in zones if zone.new or zone.gone]
        self.table.check_zones([zone.name for zone in work], self.narrow or None)
        added, removed = sum(z.new for z in work), sum(z.gone for z in work)
        if work:
            filled = [zone for zone in work if zone.kept + zone.new]
            go()
            if removed == 0 and any(zone.kept for zone in work):
                connection.execute(self.insert(), spread(len(filled)), sent=sent)
            elif filled or not self.table.zones:
                text = self.overwrite([z.name for z in filled])
                connection.execute(text, {**FULL_SCAN, **spread(len(filled))}, sent=sent)
            emptied = [zone.name for zone in work if not zone.kept + zone.new]
            if self.table.zones and emptied:
                connection.execute(self.drop_zones(emptied))
        return Replaced(added, removed, sorted(zone.name for zone in work))

    def zones(self) -> list[_Zone]:
        """Rows that stay, go and come, by zone."""
        found = self.table.connection.rows(self.count(), FULL_SCAN)
        return [
            _Zone(row["name"] or "", int(row["kept"]), int(row["gone"]), int(row["fresh"]))
            for row in found.to_pylist()
        ]

    # -- statements ---------------------------------------------------------------------------

    def count(self) -> str:
        """The statement behind `zones`."""
        zone = f"o.{quoted(ZONE)}" if self.table.zones else "''"
        staged = f"n.{quoted(ZONE)}" if self.table.zones else "''"
        stays = f"CASE WHEN {self._stays} THEN 1 ELSE 0 END"
        return (
            f"SELECT name, SUM(kept) AS kept, SUM(gone) AS gone, SUM(fresh) AS fresh FROM (\n"  # nosec B608
            f"  SELECT {zone} AS name, {stays} AS kept, 1 - {stays} AS gone, 0 AS fresh\n"
            f"  FROM {self._old(self.narrow)}\n"
            f"  UNION ALL\n"
            f"  SELECT {staged} AS name, 0 AS kept, 0 AS gone, 1 AS fresh\n"
            f"  FROM {self._new(self.narrow)}\n"
            f") u GROUP BY name"
        )

    def insert(self) -> str:
        """Rows that replace none."""
        return (
            f"INSERT INTO TABLE {quoted(self.table.physical)}{self._partition}\n"  # nosec B608
            f"SELECT {listed(self._columns, 'n')}\nFROM {self._new(self.narrow)}"
        )

    def overwrite(self, zones: list[str]) -> str:
        """Zones anew: rows that stay, and the staged ones."""
        return (
            f"INSERT OVERWRITE TABLE {quoted(self.table.physical)}{self._partition}\n"  # nosec B608
            f"SELECT {listed(self._columns)} FROM (\n"
            f"  SELECT {listed(self._columns, 'o')}\n"
            f"  FROM {self._old(zones)} AND ({self._stays})\n"
            f"  UNION ALL\n"
            f"  SELECT {listed(self._columns, 'n')}\n  FROM {self._new(zones)}\n"
            f") u"
        )

    def drop_zones(self, zones: list[str]) -> str:
        """Zones that no row is left in: a statement that writes partitions cannot empty one."""
        parts = ", ".join(f"PARTITION ({quoted(ZONE)}={literal(name)})" for name in zones)
        return f"ALTER TABLE {quoted(self.table.physical)} DROP IF EXISTS {parts}"

    # -- pieces -------------------------------------------------------------------------------

    @property
    def _columns(self) -> list[str]:
        names = [*self.table.schema.names, ROW_DIGEST, ROW_BYTES]
        return [*names, ZONE] if self.table.zones else names

    @property
    def _partition(self) -> str:
        return f" PARTITION ({quoted(ZONE)})" if self.table.zones else ""

    def _old(self, zones: list[str]) -> str:
        """The table's rows ``o``, each with what is staged for its key, ``s``."""
        keys = listed(self.table.layout.key)
        status = ", `status` AS new_status" if self.keep_good else ""
        return (
            f"{quoted(self.table.physical)} o LEFT OUTER JOIN\n"  # nosec B608
            f"    (SELECT {keys}{status}, 1 AS staged FROM {quoted(self.staging)}) s\n"
            f"    ON {self._on('o', 's')} WHERE {self._within('o', zones)}"
        )

    def _new(self, zones: list[str]) -> str:
        """The staged rows ``n`` that go in."""
        if not self.keep_good:
            return f"{quoted(self.staging)} n"
        keys = listed(self.table.layout.key)
        return (
            f"{quoted(self.staging)} n LEFT OUTER JOIN\n"  # nosec B608
            f"    (SELECT {keys}, 1 AS good FROM {quoted(self.table.physical)} WHERE "
            f"`status` IN ({GOOD}) AND {self._within('', zones)}) g\n"
            f"    ON {self._on('n', 'g')} WHERE (n.`status` <> 'failed' OR g.good IS NULL)"
        )

    def _on(self, one: str, other: str) -> str:
        return " AND ".join(
            f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in self.table.layout.key
        )

    def _within(self, alias: str, zones: list[str]) -> str:
        """Only these zones are read; none named: all of them."""
        if not self.table.zones or not zones:
            return "1 = 1"
        if len(zones) > MOST_ZONES and len(self.table.partitions()) <= PARTITIONS_READ:
            return "1 = 1"
        column = f"{alias}.{quoted(ZONE)}" if alias else quoted(ZONE)
        return f"{column} IN ({', '.join(map(literal, zones))})"

    @property
    def _stays(self) -> str:
        """Which of the table's rows stay."""
        kept_for_good = f"(s.new_status = 'failed' AND o.`status` IN ({GOOD}))"
        if self.whole:
            return f"s.staged IS NOT NULL AND {kept_for_good}" if self.keep_good else "1 = 0"
        stays = "s.staged IS NULL"
        if self.keep_good:
            stays = f"({stays} OR {kept_for_good})"
        gone = self._gone
        return f"{stays} AND NOT ({gone})" if gone else stays

    @property
    def _gone(self) -> str:
        """Rows of the granules that go."""
        everywhere = sorted(name for name, tiles in self.units.items() if tiles is None)
        terms = []
        if everywhere:
            terms.append(f"o.`granule_id` IN ({', '.join(map(literal, everywhere))})")
        by_tiles: dict[frozenset[tuple[int, int]], list[str]] = {}
        for name, tiles in self.units.items():
            if tiles is not None:
                by_tiles.setdefault(frozenset(tiles), []).append(name)
        for tiles, names in by_tiles.items():
            if tiles:
                # One condition however many tiles: the service takes 256 in a statement.
                places = ", ".join(str(x * TILE_FACTOR + y) for x, y in sorted(tiles))
                granules = ", ".join(map(literal, sorted(names)))
                terms.append(
                    f"(o.`granule_id` IN ({granules}) "
                    f"AND o.`tile_x` * {TILE_FACTOR} + o.`tile_y` IN ({places}))"
                )
        return " OR ".join(terms)
