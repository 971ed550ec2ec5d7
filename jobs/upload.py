"""`upload`: rows of a CSV or Parquet file to a table."""

import argparse
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine.exchange import (
    OnError,
    Row,
    csv_lines,
    open_parquet,
    read_csv,
    read_facts,
    read_parquet,
)
from geoquarry.engine.ledger import Record, Unit
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, FAILED, SOME_FAILED, answer, say, watched
from geoquarry.jobs.upload_rows import Rows, stored_before
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensors
from geoquarry.schemas.tables import (
    OutputBand,
    facts,
    results_schema,
    same_facts,
    tiles_schema,
)

SUFFIXES = (".csv", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry upload`."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE.csv|.parquet",
        help="ours, or a CSV in the published layout",
    )
    parser.add_argument("table", help="made when it does not exist")
    parser.add_argument(
        "--sensor", choices=sensors(), default=sensors()[0], help="of the published layout"
    )
    parser.add_argument(
        "--allow-late-swir", action="store_true", help="trust SWIR bands after the detector failed"
    )


@dataclass
class Report:
    """What an upload did."""

    rows: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0; 3 when some rows could not be used; 1 when none could."""
        if not self.failed:
            return DONE
        return SOME_FAILED if self.rows or self.skipped else FAILED


def upload(
    engine: Engine,
    path: str | Path,
    table: str,
    *,
    sensor_name: str | None = None,
    allow_late_swir: bool = False,
    retries: str = "",
) -> Report:
    """Put the rows of a file into a table, replacing rows of the same key, in one commit.

    Parameters
    ----------
    engine : Engine
    path : path
        Parquet or CSV as ``download`` writes them, or the published GMI layout (26 columns, hex,
        with or without a header), which is recognised by itself.
    table : str
        Made when it does not exist.
    sensor_name : str, optional
        Sensor of a file in the published layout.
    allow_late_swir : bool
        Take published rows from after the detector failed.
    retries : str
        Commit id of the upload of which this one tries again what failed: rows that it has stored,
        and that are still there, are left as they are.

    Returns
    -------
    report : Report
        Bad rows are listed with line and column; the others are in the table.

    Raises
    ------
    InputError
        The file as a whole cannot be used.
    UsageError
        Another suffix; rows of another kind, sensor or grid than the table's.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in {' or '.join(SUFFIXES)}.")
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file.")
    sensor_name = sensor_name or sensors()[0]
    request = {
        "command": "upload",
        "path": str(path.absolute()),
        "table": table,
        "sensor_name": sensor_name,
        "allow_late_swir": allow_late_swir,
    }
    rows = Rows(path)
    found, schema = _open(engine, path, table, sensor_name, allow_late_swir, rows.unreadable)
    first = next(found, None)  # what cannot be begun is no job
    if first is not None and engine.exists(table):
        _refuse_other(facts(schema), facts(engine.schema(table)), path, table)
    with _recorded(engine, request, path, retries) as record:
        rows.write_down(record)
        if first is None:
            if not rows.failed:
                say(f"{path} has no rows.")
            return Report(failed=rows.failed)
        if not engine.exists(table):
            engine.ensure(table, schema)
        held = engine.schema(table)
        before = stored_before(engine, table, retries)
        told = watched(itertools.chain([first], found), what=f"upload {path.name}")
        good = rows.good(told, held, facts(schema), before)
        begun = next(good, None)
        if begun is not None:
            good = itertools.chain([begun], good)
            done = engine.append(table, good, commit_id=record.commit_id, kind="upload")
            record.snapshot_id = done.snapshot_id
        rows.stored()
        return Report(len(rows.taken), rows.skipped, rows.failed)


def _recorded(engine: Engine, request: Mapping[str, Any], path: Path, retries: str) -> Record:
    """The page of the ledger, always a new one: one commit holds all rows, so there is no rest.

    Same arguments, same file in the same state: same job id.
    """
    state = path.stat()
    content = [request, state.st_size, state.st_mtime_ns, package_version()]
    job_id = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    ledger, table = engine.warehouse.ledger, request["table"]
    for cut_off in ledger.unfinished("upload", job_id) if engine.exists(table) else ():
        for snapshot in engine.history(table):  # its process died between the commit and saying so
            if snapshot["commit_id"] == cut_off:
                ledger.landed(cut_off, snapshot["snapshot_id"])
    return ledger.job(
        "upload",
        job_id=job_id,
        method=path.suffix.lower().removeprefix("."),
        source=request["path"],
        target=table,
        package_version=package_version(),
        request={**request, "retries": retries},
    )


def _open(
    engine: Engine, path: Path, table: str, sensor_name: str, late: bool, bad: OnError
) -> tuple[Iterator[Row], pa.Schema]:
    """The rows of a file and the schema of the table they belong to."""
    known = engine.schema(table) if engine.exists(table) else None
    if path.suffix.lower() == ".parquet":
        with open_parquet(path) as file:
            own = file.schema_arrow
        schema = _schema(facts(own), known, path)
        return read_parquet(path, schema, on_error=bad), schema
    _, first = next(csv_lines(path), (0, []))
    if not first:
        raise InputError(f"{path} is empty: not even a line that names columns.")
    layout = _published(sensor_name)
    if layout is not None and layout.is_gmi(first):
        frame = grid(facts(known)["grid"]) if known is not None else None
        rows = layout.read_gmi_csv(path, frame, allow_late_swir=late, on_error=bad)
        head = list(itertools.islice(rows, 1))
        if not head:
            return iter(()), known
        return itertools.chain(head, rows), known or tiles_schema(sensor_name, head[0]["grid"])
    about = read_facts(path) or _guess(path, first)
    schema = _schema(about, known, path)
    return read_csv(path, schema, on_error=bad), schema


def _published(sensor_name: str) -> Any:
    """The module of a sensor's published layout, or None."""
    try:
        return import_module(f"geoquarry.engine.{sensor_name}_gmi")
    except ModuleNotFoundError:
        return None


def _schema(about: dict[str, Any], known: pa.Schema | None, path: Path) -> pa.Schema:
    """Schema from a file's facts; without any, the table's own."""
    if not about.get("kind"):
        if known is not None:
            return known
        raise UsageError(
            f"{path} does not say what kind of table it is (no facts in it or beside it). "
            "Upload it to an existing table, or keep the -metadata.json that `download` wrote."
        )
    if known is not None:
        _refuse_other(about, facts(known), path, "the table")
        return known
    try:
        if about["kind"] == "tiles":
            return tiles_schema(about["sensor"], about["grid"])
        bands = [OutputBand(**band) for band in about["bands"]]
        return results_schema(about["sensor"], about["grid"], about["method"], bands)
    except (KeyError, TypeError) as error:
        raise InputError(f"The facts of {path} are incomplete: {error}.") from error


def _guess(path: Path, names: list[str]) -> dict[str, Any]:
    """A tiles file names its sensor and grid in every row."""
    if not {"sensor", "granule_id", "grid"} <= set(names):
        return {}
    lines = csv_lines(path)
    next(lines)
    _, cells = next(lines, (0, []))
    if not cells:
        raise InputError(f"{path} has no rows: there is nothing below its line of columns.")
    row = dict(zip(names, cells, strict=False))
    return {"kind": "tiles", "sensor": row.get("sensor"), "grid": row.get("grid")}


def _refuse_other(mine: dict[str, Any], theirs: dict[str, Any], path: Path, table: str) -> None:
    for key in ("kind", "sensor", "grid", "method", "bands"):
        if not same_facts(mine.get(key), theirs.get(key)):
            raise UsageError(
                f"{path} holds {key} {_short(mine.get(key))}, {table} {_short(theirs.get(key))}. "
                "Choose another table."
            )


def _short(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) < 60 else f"{text[:57]}...")


def again(
    engine: Engine,
    request: Mapping[str, Any],
    failed: Sequence[Unit],
    *,
    retries: str,
    as_json: bool,
) -> int:
    """Upload the file again, without the rows that an earlier upload has stored."""
    asked = {name: value for name, value in request.items() if name not in ("command", "retries")}
    return _told(upload(engine, **asked, retries=retries), request["table"], as_json=as_json)


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry upload`."""
    report = upload(
        engine,
        args.file,
        args.table,
        sensor_name=args.sensor,
        allow_late_swir=args.allow_late_swir,
    )
    return _told(report, args.table, as_json=args.json)


def _told(report: Report, table: str, *, as_json: bool) -> int:
    """Say what came in, and give the exit code."""
    for text in report.failed:
        say(f"left out: {text}")
    before = f" {report.skipped} were stored before and left as they are;" if report.skipped else ""
    say(f"{report.rows} rows in {table};{before} {len(report.failed)} left out.")
    if as_json:
        answer(vars(report), as_json=True)
    return report.exit_code
