"""`ingest`: scenes to rows of a `tiles` table."""

import argparse
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoquarry.engine import sixs
from geoquarry.engine.appender import Appender
from geoquarry.engine.local import Engine
from geoquarry.engine.readers import reader
from geoquarry.engine.sixs_state import AEROSOL_MODELS
from geoquarry.jobs.ancillary import (
    Ancillary,
    add_ancillary,
    air_over,
    number_or_files,
    still_clamped,
)
from geoquarry.jobs.coefficients import add_coefficients, not_covered
from geoquarry.jobs.console import (
    DONE,
    SOME_FAILED,
    add_tiles_argument,
    answer,
    say,
    watched,
)
from geoquarry.jobs.cut import rows_of, tiles_of, to_lattice
from geoquarry.jobs.download import download
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.granule import Granule
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


@dataclass
class Report:
    """What an ingest did."""

    rows: int = 0
    without_reference: int = 0
    granules: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 3 when some granules could not be used."""
        return SOME_FAILED if self.failed else DONE


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
        Also write the rows there.
    atmosphere : {"lut", "6s"}
        ``lut``: rows hold the state of the air only, and each job finds coefficients from it.
        ``6s``: 6S runs now, one state per tile, and jobs use its coefficients as they are.
    aerosol_model : str
        One of 6S's models by name.

    Returns
    -------
    report : Report
        A scene that cannot be used is listed there with its reason; the others go on.
    """
    frame = _grid_of(engine, table, grid_name)
    schema = tiles_schema(sensor_name, frame.name)
    if not refresh_flags:
        if aod is None or dem is None:
            raise UsageError("Say what the air and the ground are like: --aod and --dem.")
        if aerosol_model == "NoAerosols" and atmosphere == "lut":
            raise UsageError("No lookup table is without aerosol: --aod 0, or --atmosphere 6s.")
        if engine.exists(table):
            engine.ensure(table, schema)  # another sensor is refused before anything is read
    report = Report()
    observations: dict[str, Granule] = {}
    only = set(tiles) if tiles else None
    ingest_id = uuid.uuid4().hex
    with ExitStack() as stack:
        appender: Appender | None = None  # a table is made by the first granule that can be used
        for path in watched(scenes, what="ingest", total=len(scenes)):
            try:
                granule = reader(sensor_name).read(path, **reader_options)
                if appender is not None and granule.observation_id in observations:
                    appender.flush()  # so that the look-up sees what this call has added
                older, newer = _versions(engine, table, granule)
                if newer and not (keep_versions or refresh_flags):
                    why = f"a newer production is in the table: {newer[0]}"
                    report.skipped.append({"scene": str(path), "reason": why})
                    continue
                if refresh_flags:
                    rows = _with_new_flags(engine, table, granule, frame, only)
                else:
                    ancillary = Ancillary(_files(aod), _files(dem), reference)
                    rows = _new_rows(granule, frame, only, ancillary, aerosol_model)
                    for row in rows:
                        row["ingest_id"] = ingest_id
                    if atmosphere == "6s":
                        cache = sixs.Cache(engine.warehouse.cache_path("sixs.sqlite"))
                        add_coefficients(rows, cache)
                    else:
                        for text in not_covered(rows):
                            say(f"{granule.granule_id}: {text}")
            except InputError as error:
                report.failed.append({"scene": str(path), "reason": str(error)})
                named = path.name in str(error)
                say(str(error) if named else f"{path.name}: {error}")
                continue
            if not rows:  # earlier rows of it, in tiles it no longer touches, go all the same
                why = "no row of it is in the table" if refresh_flags else "no usable pixel there"
                report.skipped.append({"scene": str(path), "reason": why})
                if tiles or refresh_flags:
                    continue
            if appender is None:
                engine.ensure(table, schema)
                appender = stack.enter_context(engine.appender(table))
                columns = set(engine.schema(table).names)
            # A table that is older than a column goes without it.
            rows = [{name: row[name] for name in row if name in columns} for row in rows]
            replaces = set() if keep_versions or refresh_flags else set(older)
            appender.add_granule(granule.granule_id, rows, replaces=replaces, tiles=tiles)
            report.rows += len(rows)
            report.granules += [granule.granule_id] if rows else []
            report.without_reference += sum(row.get("ref_1") is None for row in rows)
            observations[granule.observation_id] = granule
        if appender is not None and not (keep_versions or refresh_flags):
            appender.flush()
            _drop_older(engine, table, appender, observations.values(), tiles)
    if csv is not None and engine.exists(table):
        download(engine, table, csv, where=f"ingest_id = '{ingest_id}'")
    return report


def _files(value: float | Sequence[Path] | None) -> float | list[Path]:
    if value is None:
        raise UsageError("Say what the air and the ground are like: --aod and --dem.")
    return float(value) if isinstance(value, int | float) else [Path(path) for path in value]


def _grid_of(engine: Engine, table: str, name: str | None) -> Grid:
    """The table's own grid; another one is refused rather than mixed in."""
    if not engine.exists(table):
        return grid(name or DEFAULT)
    own = facts(engine.schema(table))["grid"]
    if name is not None and grid(name).name != own:
        raise UsageError(f"Table {table!r} holds grid {own!r}; --grid {name} needs another table.")
    return grid(own)


def _versions(engine: Engine, table: str, granule: Granule) -> tuple[list[str], list[str]]:
    """Other productions of the same acquisition in the table: older ones, newer ones."""
    if not engine.exists(table):
        return [], []
    start = granule.observation_id.replace("'", "''")
    where = f"granule_id >= '{start}' AND granule_id < '{start}~'"
    found = engine.read(table, ["granule_id"], where=where)
    others = set(found.read_all()["granule_id"].to_pylist()) - {granule.granule_id}
    newer = sorted(other for other in others if other > granule.granule_id)
    return sorted(others - set(newer)), newer


def _drop_older(
    engine: Engine,
    table: str,
    appender: Appender,
    granules: Iterable[Granule],
    tiles: Sequence[tuple[int, int]] | None,
) -> None:
    """What another process added meanwhile: of two productions of one acquisition one stays.

    Each process looks after its own commit, so the later one sees both.
    """
    for granule in granules:
        older, newer = _versions(engine, table, granule)
        for gone in [*older, granule.granule_id] if newer else older:
            appender.add_granule(gone, [], tiles=tiles)


def _new_rows(
    granule: Granule,
    frame: Grid,
    only: set[tuple[int, int]] | None,
    ancillary: Ancillary,
    aerosol_model: str,
) -> list[dict[str, Any]]:
    """Rows with the state of the air, without coefficients."""
    lattice = to_lattice(granule)
    rows = list(rows_of(granule, lattice, frame, only))
    if not rows:
        return []
    field = air_over(granule, tiles_of(lattice, frame), frame, ancillary)
    for row in rows:
        add_ancillary(row, granule, frame, ancillary, field, aerosol_model=aerosol_model)
    return rows


def _with_new_flags(
    engine: Engine, table: str, granule: Granule, frame: Grid, only: set[tuple[int, int]] | None
) -> list[dict[str, Any]]:
    """The rows that are there, with masks (and the pixels they admit) cut anew."""
    name = granule.granule_id.replace("'", "''")
    old = engine.read(table, where=f"granule_id = '{name}'").read_all().to_pylist()
    kept = {(row["tile_x"], row["tile_y"]): row for row in old}
    if only is not None:
        kept = {tile: row for tile, row in kept.items() if tile in only}
    if not kept:
        return []
    fresh = {
        (row["tile_x"], row["tile_y"]): row
        for row in rows_of(granule, to_lattice(granule), frame, only)
    }
    for tile, row in fresh.items():
        if tile in kept:
            row["flags"] = still_clamped(row, kept[tile], frame)
    return [{**row, **fresh.get(tile, {})} for tile, row in kept.items()]


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry ingest`."""
    aod = number_or_files(args.aod, "aod", (0.0, 5.0)) if args.aod else None
    dem = number_or_files(args.dem, "dem", (-500.0, 9000.0)) if args.dem else None
    if args.reference is not None and not args.reference.is_file():
        raise UsageError(f"--reference {args.reference}: there is no such file.")
    options = {"allow_late_swir": True} if args.allow_late_swir else {}
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
    for item in report.skipped:
        say(f"skipped {item['scene']}: {item['reason']}")
    say(f"{report.rows} rows of {len(report.granules)} granules in {args.table}.")
    if args.reference is not None and report.without_reference:
        say(f"{report.without_reference} rows lie beside {args.reference}: no reference there.")
    if report.failed:
        say(f"{len(report.failed)} of {len(args.scenes)} scenes failed; see above.")
    if args.json:
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
