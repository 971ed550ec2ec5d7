"""`ingest`: scenes to rows of a `tiles` table."""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from geoquarry.engine.atomic import local_path
from geoquarry.engine.ledger import Unit
from geoquarry.engine.local import Engine
from geoquarry.engine.plan import RowRef, plan
from geoquarry.engine.readers import reader
from geoquarry.engine.sixs_state import AEROSOL_MODELS
from geoquarry.jobs.ancillary import Ancillary, number_or_files
from geoquarry.jobs.console import (
    DONE,
    SOME_FAILED,
    add_tiles_argument,
    answer,
    say,
    watched,
)
from geoquarry.jobs.cut import tiles_of, to_lattice
from geoquarry.jobs.download import download
from geoquarry.jobs.ingest_scene import OldRows, SceneWork
from geoquarry.jobs.intake import OTHER_AIR_DAYS, Intake, Report, known_granules
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.grid import DEFAULT, Grid, grid
from geoquarry.schemas.sensor import sensor, sensors
from geoquarry.schemas.tables import facts, tiles_schema

ATMOSPHERES = ("lut", "6s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry ingest`."""
    parser.add_argument("scenes", nargs="+", type=Path, metavar="SCENE", help="scene files")
    parser.add_argument("--table", required=True, help="tiles table to write (made when new)")
    parser.add_argument(
        "--aod", nargs="+", metavar="FILE|NUMBER", help="MCD19A2 files, or an optical depth"
    )
    parser.add_argument("--dem", nargs="+", metavar="FILE|NUMBER", help="DEM GeoTIFFs, or metres")
    parser.add_argument("--reference", type=Path, help="MOD09A1 HDF or 7-band GeoTIFF")
    parser.add_argument("--sensor", choices=sensors(), default=sensors()[0], help="who made them")
    parser.add_argument("--grid", help=f"grid name (default {DEFAULT}, or the table's own)")
    add_tiles_argument(parser, "--tile", "only these tiles; other rows of a granule stay")
    parser.add_argument(
        "--atmosphere",
        choices=ATMOSPHERES,
        default=ATMOSPHERES[0],
        help="lut: rows hold the state of the air, jobs look it up; 6s: coefficients are found now",
    )
    parser.add_argument(
        "--aerosol-model", choices=AEROSOL_MODELS, default="Continental", help="of 6S"
    )
    parser.add_argument("--csv", type=Path, help="also write the new rows to this CSV (hex)")
    parser.add_argument(
        "--keep-versions", action="store_true", help="keep older productions of an acquisition"
    )
    parser.add_argument(
        "--allow-late-swir", action="store_true", help="trust SWIR bands after the detector failed"
    )
    parser.add_argument(
        "--refresh-flags", action="store_true", help="only renew the masks of rows that are there"
    )
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


def ingest(
    engine: Engine,
    scenes: Sequence[Path],
    table: str,
    *,
    aod: float | Sequence[Path] | None = None,
    dem: float | Sequence[Path] | None = None,
    reference: Path | None = None,
    grid_name: str | None = None,
    tiles: Sequence[tuple[int, int]] | None = None,
    sensor_name: str = "aster_l1t",
    keep_versions: bool = False,
    refresh_flags: bool = False,
    csv: Path | None = None,
    atmosphere: str = ATMOSPHERES[0],
    aerosol_model: str = "Continental",
    retries: str = "",
    **reader_options: Any,
) -> Report:
    """Cut scenes to the grid and store one row per tile and granule.

    Parameters
    ----------
    engine : Engine
    scenes : sequence of Path
    table : str
        Made when it does not exist.
    aod, dem : number or files
        See ``jobs.ancillary.Ancillary``.
    reference : Path, optional
    grid_name : str, optional
        The table's own grid, or the default grid for a new table.
    tiles : sequence of (tile_x, tile_y), optional
        Only these tiles; rows of the same granules in other tiles stay.
    keep_versions : bool
        Otherwise the newest production of an acquisition replaces the others.
    refresh_flags : bool
        Renew only the masks of rows that exist.
    csv : Path, optional
        Also write the rows there, with those of the ingest that this one tries again.
    atmosphere : {"lut", "6s"}
        ``lut``: rows hold the state of the air only, and each job finds coefficients from it.
        ``6s``: 6S runs now, one state per tile, and jobs use its coefficients as they are.
    aerosol_model : str
        One of 6S's models by name.
    retries : str
        Commit id of the ingest of which this one tries again what failed.

    Returns
    -------
    report : Report
        A scene that cannot be used is listed there with its reason; the others go on. After an
        ingest that was cut off, scenes that it had stored are skipped.
    """
    asked = {name: value for name, value in locals().items() if name != "engine"}
    if refresh_flags and engine.name == "maxcompute":
        raise UsageError(
            "--refresh-flags reads rows from files of the warehouse; MaxCompute has none. Ingest "
            "the scenes again: that renews their masks, too."
        )
    frame = _grid_of(engine, table, grid_name)
    schema = tiles_schema(sensor_name, frame.name)
    ancillary = None
    if not refresh_flags:
        beside = None if reference is None else whole(reference)
        ancillary = Ancillary(_files(aod), _files(dem), beside)
        if aerosol_model == "NoAerosols" and atmosphere == "lut":
            raise UsageError("No lookup table is without aerosol: --aod 0, or --atmosphere 6s.")
        if engine.exists(table):
            engine.ensure(table, schema)  # another sensor is refused before anything is read
    scenes = list(dict.fromkeys(map(whole, scenes)))
    request = request_of(asked)
    ledger = engine.warehouse.ledger
    job = _job_id(frame, asked)
    record = ledger.job(
        "ingest",
        job_id=job,
        resume=ledger.unfinished("ingest", job),
        method=sensor_name,
        target=table,
        package_version=package_version(),
        request=request,
    )
    replacing = not (keep_versions or refresh_flags)
    cache = engine.warehouse.cache_path("sixs.sqlite") if atmosphere == "6s" else None
    with record:
        there = engine.exists(table)
        work = SceneWork(
            sensor=sensor_name,
            reader_options=reader_options,
            grid=frame,
            tiles=tiles or None,
            ancillary=ancillary,
            aerosol_model=aerosol_model,
            sixs_cache=str(cache) if cache else None,
            ingest_id=record.commit_id,
            known=known_granules(engine, table) if there and replacing else (),
            old=_old_rows(engine, table, tiles) if refresh_flags else None,
            began=lambda scene: record.start(Unit(str(scene))),
        )
        with Intake(engine, table, schema, work, replacing, record) as intake:
            todo = intake.left(scenes)
            # Closed at once when something goes wrong, so that no worker goes on for nothing.
            with closing(intake.through(todo)) as finished:
                for done in watched(finished, what="ingest", total=len(todo)):
                    intake.take(done)
            record.check()  # else somebody who stops the last scene would stop nothing
            intake.settle()
    if csv is not None and engine.exists(table):
        ids = ", ".join(f"'{each}'" for each in [record.commit_id, *ledger.tries_before(retries)])
        download(engine, table, csv, where=f"ingest_id IN ({ids})")
    return intake.report(scenes)


def request_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `ingest` as JSON, with whole paths: what the ledger keeps of it."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(whole(value))
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return {"command": "ingest", **{name: plain(value) for name, value in asked.items()}}


def _job_id(frame: Grid, asked: Mapping[str, Any]) -> str:
    """Same arguments, same files in the same state: same id."""
    request = {name: value for name, value in request_of(asked).items() if name != "retries"}
    files: list[Any] = []
    for value in asked.values():
        for path in value if isinstance(value, list | tuple) else [value]:
            if isinstance(path, Path) and path.is_file():
                found = path.stat()
                files.append([str(whole(path)), found.st_size, found.st_mtime_ns])
    content = [request, files, frame.name, package_version()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def again(
    engine: Engine,
    request: Mapping[str, Any],
    failed: Sequence[Unit],
    *,
    retries: str,
    as_json: bool,
) -> int:
    """Ingest again those scenes of an earlier one that failed; all of them if it was cut off."""
    asked = {**request, "retries": retries}
    del asked["command"]
    options = asked.pop("reader_options")
    for name in ("aod", "dem"):
        if isinstance(asked[name], list):
            asked[name] = [Path(path) for path in asked[name]]
    for name in ("reference", "csv"):
        asked[name] = None if asked[name] is None else Path(asked[name])
    asked["scenes"] = [Path(path) for path in asked["scenes"]]
    if failed:
        asked["scenes"] = list(dict.fromkeys(Path(unit.item) for unit in failed))
    if asked["tiles"] is not None:
        asked["tiles"] = [(int(x), int(y)) for x, y in asked["tiles"]]
    report = ingest(engine, **asked, **options)
    return _told(engine, report, asked["table"], asked["reference"], as_json=as_json)


def _files(value: float | Sequence[Path] | None) -> float | list[Path]:
    if value is None:
        raise UsageError("Say what the air and the ground are like: --aod and --dem.")
    return float(value) if isinstance(value, int | float) else [whole(path) for path in value]


def whole(path: str | Path) -> Path:
    """A path that means the same to a worker, which may stand in another folder."""
    return Path(path).absolute()


def _grid_of(engine: Engine, table: str, name: str | None) -> Grid:
    """The table's own grid; another one is refused rather than mixed in."""
    if not engine.exists(table):
        return grid(name or DEFAULT)
    held = facts(engine.schema(table))
    if held.get("kind") != "tiles":
        raise UsageError(f"Table {table!r} holds {held.get('kind')}, not tiles: choose another.")
    own = held["grid"]
    if name is not None and grid(name).name != own:
        raise UsageError(f"Table {table!r} holds grid {own!r}; --grid {name} needs another table.")
    return grid(own)


def _old_rows(engine: Engine, table: str, tiles: Sequence[tuple[int, int]] | None) -> OldRows:
    """Where the rows of each granule lie."""
    found = engine.warehouse.table(table)
    refs: dict[str, list[RowRef]] = {}
    for task in plan(found, tiles=tiles):
        for ref in task.rows:
            refs.setdefault(ref.granule_id, []).append(ref)
    return OldRows(found.layout, refs)


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry ingest`."""
    aod = number_or_files(args.aod, "aod", (0.0, 5.0)) if args.aod else None
    dem = number_or_files(args.dem, "dem", (-500.0, 9000.0)) if args.dem else None
    if args.reference is not None and not args.reference.is_file():
        raise UsageError(f"--reference {args.reference}: there is no such file.")
    for path in args.scenes:
        if path.is_dir():
            named = f"{path}/{reader(args.sensor).PATTERN}"
            raise UsageError(f"{path} is a folder: give its scenes, e.g. {named}")
    if args.csv is not None:
        local_path(args.csv)  # refused now, not after the scenes
    options: dict[str, Any] = {"allow_late_swir": True} if args.allow_late_swir else {}
    if args.explain:
        return _explain(args, engine, options)
    report = ingest(
        engine,
        args.scenes,
        args.table,
        aod=aod,
        dem=dem,
        reference=args.reference,
        grid_name=args.grid,
        tiles=args.tile,
        sensor_name=args.sensor,
        keep_versions=args.keep_versions,
        refresh_flags=args.refresh_flags,
        csv=args.csv,
        atmosphere=args.atmosphere,
        aerosol_model=args.aerosol_model,
        **options,
    )
    return _told(engine, report, args.table, args.reference, as_json=args.json)


def _told(
    engine: Engine, report: Report, table: str, reference: Path | None, *, as_json: bool
) -> int:
    """Say what came in, and give the exit code."""
    for item in report.skipped:
        say(f"skipped {item['scene']}: {item['reason']}")
    nothing = "Nothing lies there: " if report.nothing_there else ""
    if engine.exists(table):
        say(f"{nothing}{report.rows} rows of {len(report.granules)} granules in {table}.")
    else:
        say(f"{nothing}no row was stored, there is no table {table}.")
    if report.other_air:
        say(
            f"The aerosol of {report.other_air} scenes was measured more than {OTHER_AIR_DAYS} "
            f"days from them, up to {report.aerosol_days}: give the MCD19A2 files of their days. "
            "Column atmosphere_source says what was taken."
        )
    if reference is not None and report.without_reference:
        say(f"{report.without_reference} rows lie beside {reference}: no reference there.")
    if report.failed:
        scenes = len(report.failed) + len(report.skipped) + len(report.granules)
        say(f"{len(report.failed)} of {scenes} scenes failed; see above.")
    if as_json:
        answer(vars(report), as_json=True)
    return report.exit_code


def _explain(args: argparse.Namespace, engine: Engine, options: dict[str, Any]) -> int:
    """What will be read and written, without doing it."""
    frame = _grid_of(engine, args.table, args.grid)
    lines: list[dict[str, Any]] = []
    code = DONE
    for path in args.scenes:
        try:
            granule = reader(args.sensor).read(path, **options)
            touched = tiles_of(to_lattice(granule), frame)
            keys = [t for t in touched if args.tile is None or t in args.tile]
            lines.append({"scene": str(path), "tiles": keys, "error": None})
        except InputError as error:
            lines.append({"scene": str(path), "tiles": [], "error": str(error)})
            code = SOME_FAILED
    rows = sum(len(line["tiles"]) for line in lines)
    size = frame.tile_size**2 * len(sensor(args.sensor).bands) / 2**20
    answer(
        {
            "table": args.table,
            "grid": frame.name,
            "rows_at_most": rows,
            "raw_mib_at_most": round(rows * size, 1),
            "scenes": lines,
        },
        as_json=args.json,
    )
    return code
