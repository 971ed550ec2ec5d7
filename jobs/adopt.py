"""`adopt`: rows of a published table, where it is, into a table of ours."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from geoquarry.engine.exchange import Row
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, FAILED, SOME_FAILED, answer, say, watched
from geoquarry.jobs.published import layout_module, published_engine
from geoquarry.schemas.errors import InputError, TableError, UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensors
from geoquarry.schemas.tables import facts, tiles_schema

ROWS_PER_COMMIT = 256
"""A run that was cut off begins again after the last commit."""
SESSIONS = 4
"""Sessions that are lost one after the other before anything came: then something else is wrong."""
KEY = ("tile_index_x", "tile_index_y", "granule_id")
OUR_KEY = ("tile_x", "tile_y", "granule_id")
Key = tuple[Any, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry adopt`."""
    parser.add_argument("published", help="table in the published layout: NAME or PROJECT.NAME")
    parser.add_argument("table", help="tiles table of ours (made when new)")
    parser.add_argument(
        "--sensor", choices=sensors(), default=sensors()[0], help="of the published layout"
    )
    parser.add_argument(
        "--allow-late-swir", action="store_true", help="trust SWIR bands after the detector failed"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="also rows whose tile and granule are there"
    )
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


@dataclass
class Report:
    """What an adoption did.

    Attributes
    ----------
    rows : int
        Taken over.
    there : int
        Left alone: tile and granule are in the table already.
    repeated : int
        Left out: tile and granule came before in the published table.
    failed : list of str
        Rows that cannot be used, with the reason.
    """

    rows: int = 0
    there: int = 0
    repeated: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0; 3 when some rows could not be used; 1 when none could."""
        good = self.rows + self.there
        return DONE if not self.failed else SOME_FAILED if good else FAILED


def adopt(
    engine: Engine,
    published: str,
    table: str,
    *,
    sensor_name: str | None = None,
    allow_late_swir: bool = False,
    overwrite: bool = False,
    rows_per_commit: int = ROWS_PER_COMMIT,
) -> Report:
    """Take over a table in the published layout, row by row; begin again where it stopped.

    Parameters
    ----------
    engine : Engine
        One whose project may hold published tables (MaxCompute).
    published : str
        ``name`` or ``project.name``.
    table : str
        Made when it does not exist, on the grid of the first row.
    sensor_name : str, optional
    allow_late_swir : bool
        Take rows from after the detector failed.
    overwrite : bool
        Replace rows that are there; otherwise they are left alone, so that a run that was cut off
        can simply be repeated.
    rows_per_commit : int

    Returns
    -------
    report : Report
        Bad rows are listed; the others are in the table.

    Raises
    ------
    UsageError
        This engine has no such tables; not the published layout; a table of another kind or grid.
    """
    report, done, idle = Report(), set[Key](), 0
    while True:
        source, before = _open(engine, published, sensor_name), len(done)
        first = not done and not idle
        due = _due(engine, source, table, overwrite, done, report if first else Report())
        try:
            for chunk in _chunks(due, rows_per_commit):
                _take(engine, source, table, chunk, report, allow_late_swir)
                done.update(key for _, key in chunk)
            return report
        except published_engine(engine).SessionGone as gone:
            # Sessions last a day; a new one numbers the rows anew.
            idle = 0 if len(done) > before else idle + 1
            if idle == SESSIONS:
                raise TableError(f"Table {published!r} cannot be read: {gone}") from gone


@dataclass(frozen=True)
class _Source:
    """A published table and how its columns are called in the layout."""

    table: Any
    layout: Any
    sensor: str
    columns: list[str]
    names: list[str]

    def spelled(self, names: Sequence[str]) -> list[str]:
        """The table's own spelling of columns of the layout."""
        own = dict(zip(self.names, self.columns, strict=True))
        return [own[name] for name in names]


def _open(engine: Engine, published: str, sensor_name: str | None) -> _Source:
    sensor_name = sensor_name or sensors()[0]
    layout = layout_module(sensor_name, "gmi")
    table = published_engine(engine).PublishedTable(engine, published)
    known = {*layout.COLUMNS, *layout.EXTRAS}
    named = zip(layout.layout_names(table.columns), table.columns, strict=True)
    pairs = [(name, own) for name, own in named if name in known]  # others may stand beside them
    names, columns = [name for name, _ in pairs], [own for _, own in pairs]
    try:
        layout.check_names(names, where=f"Table {published!r}")
    except InputError as error:
        raise UsageError(str(error)) from error
    return _Source(table, layout, sensor_name, columns, names)


def _due(
    engine: Engine,
    source: _Source,
    table: str,
    overwrite: bool,
    done: set[Key],
    report: Report,
) -> list[tuple[int, Key]]:
    """Rows to take over, by number and key; each key once."""
    seen: set[Key] = set()
    there: set[Key] = set()
    if engine.exists(table) and not overwrite:
        rows = engine.read(table, list(OUR_KEY)).read_all().to_pylist()
        there = {tuple(row[name] for name in OUR_KEY) for row in rows}
    due = []
    for number, key in enumerate(source.table.values(source.spelled(KEY))):
        if key in seen:
            report.repeated += 1
        elif key in there and key not in done:
            report.there += 1
        elif key not in done:
            due.append((number, key))
        seen.add(key)
    return due


def _take(
    engine: Engine,
    source: _Source,
    table: str,
    chunk: list[tuple[int, Key]],
    report: Report,
    allow_late_swir: bool,
) -> None:
    """One commit; it counts when it is done."""
    failed: list[str] = []
    count = 0
    held = engine.schema(table) if engine.exists(table) else None
    frame = None if held is None else _grid_of(facts(held), source.sensor, table)
    rows = source.layout.read_gmi(
        source.names,
        _records(source, [number for number, _ in chunk]),
        frame,
        allow_late_swir=allow_late_swir,
        on_error=lambda error: failed.append(str(error)),
    )
    first = next(rows, None)
    if first is not None:
        if held is None:
            held = tiles_schema(source.sensor, first["grid"])
            engine.ensure(table, held)
        names = held.names

        def good() -> Iterator[Row]:
            nonlocal count
            for row in chain([first], rows):
                yield {name: row.get(name) for name in names}
                count += 1

        engine.append(table, good(), kind="adopt")
    report.rows += count
    report.failed += failed


def _grid_of(about: dict[str, Any], sensor_name: str, table: str) -> Any:
    if (about.get("kind"), about.get("sensor")) != ("tiles", sensor_name):
        raise UsageError(
            f"{table!r} holds {about.get('kind')} of {about.get('sensor')}, not tiles of "
            f"{sensor_name}. Choose another table."
        )
    return grid(about["grid"])


def _records(source: _Source, numbers: list[int]) -> Iterator[tuple[str, list[str]]]:
    found = source.table.rows(numbers, source.columns)
    told = watched(numbers, what=f"adopt {source.table.name}", total=len(numbers))
    for number, values in zip(told, found, strict=True):
        where = f"{source.table.name!r}, row {number}"
        yield where, ["" if value is None else str(value) for value in values]


def _chunks(due: list[tuple[int, Key]], size: int) -> Iterator[list[tuple[int, Key]]]:
    for first in range(0, len(due), size):
        yield due[first : first + size]


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry adopt`."""
    if args.explain:
        report = Report()
        source = _open(engine, args.published, args.sensor)
        due = _due(engine, source, args.table, args.overwrite, set(), report)
        found = {"rows": len(due), "there_already": report.there, "repeated": report.repeated}
        answer({**found, "commits": -(-len(due) // ROWS_PER_COMMIT)}, as_json=args.json)
        return DONE
    report = adopt(
        engine,
        args.published,
        args.table,
        sensor_name=args.sensor,
        allow_late_swir=args.allow_late_swir,
        overwrite=args.overwrite,
    )
    for text in report.failed:
        say(f"left out: {text}")
    say(
        f"{report.rows} rows of {args.published} in {args.table}; {report.there} were there, "
        f"{report.repeated} repeated, {len(report.failed)} left out."
    )
    if args.json:
        answer(vars(report), as_json=True)
    return report.exit_code
