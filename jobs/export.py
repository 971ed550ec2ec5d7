"""`export`: rows to GeoTIFF or COG, one file per tile or one mosaic."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine.atomic import local_path
from geoquarry.engine.exchange import rows_of
from geoquarry.engine.geotiff import FORMATS
from geoquarry.engine.ledger import Unit
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import (
    DONE,
    FAILED,
    SOME_FAILED,
    add_tiles_argument,
    answer,
    say,
    watched,
)
from geoquarry.jobs.export_files import Files, RasterFiles, Told, has_source
from geoquarry.jobs.export_record import recorded, written_before
from geoquarry.jobs.export_rows import each, listed
from geoquarry.jobs.layers import (
    RESULT_COLUMNS,
    TILE_COLUMNS,
    Layer,
    band_layers,
    flag_layers,
    title,
)
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.tables import facts
from geoquarry.udfs.tile_method import SOURCE

NO_MAP = {"empty": "", "failed": "TileFailed"}
"""Status of a tile without a map -> class of the error."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry export`."""
    parser.add_argument("table", help="name of the table")
    parser.add_argument("dir", metavar="DIR", help="folder for the files")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="default: cog")
    parser.add_argument("--bands", nargs="+", metavar="BAND", help="only these, in this order")
    parser.add_argument("--merge", action="store_true", help="one mosaic, not a file per tile")
    parser.add_argument("--flags", action="store_true", help="flags and count as a second file")
    add_tiles_argument(parser, "--tiles", "only these tiles")
    parser.add_argument("--as-of", type=int, metavar="SNAPSHOT", help="the table as it was then")
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


def export(
    engine: Engine,
    table: str,
    out_dir: str | Path,
    *,
    format: str = "cog",
    bands: Sequence[str] | None = None,
    merge: bool = False,
    with_flags: bool = False,
    tiles: Sequence[tuple[int, int]] | None = None,
    as_of: int | None = None,
    on_empty: Told = say,
    on_failed: Told = say,
    retries: str = "",
) -> list[Path]:
    """Write the rasters of a table as files; running it again replaces them.

    After an export that was cut off, the same one goes on with the files that are missing.

    Parameters
    ----------
    engine : Engine
    table : str
        Of kind `results`, or `tiles` (DN; scale and offset then give radiance).
    out_dir : path
        Made when missing. Files are ``<table>_x<tile_x>_y<tile_y>.tif`` (plus ``_<granule_id>``
        for `tiles`), ``<table>.tif`` for a mosaic, ``..._flags.tif`` for flags and count.
    format : {"cog", "geotiff"}
    bands : sequence of str, optional
        Band columns, in the order of the file; default: all.
    merge : bool
        One mosaic over all tiles of a `results` table; missing tiles are nodata. Memory holds one
        tile at a time.
    with_flags : bool
        Also flags and count, uint16.
    tiles : sequence of (tile_x, tile_y), optional
        Only these.
    as_of : int, optional
        Snapshot id.
    on_empty, on_failed : callable
        Told of each row without a map, and of each that failed or is damaged.
    retries : str
        Commit id of the export of which this one tries again what failed.

    Returns
    -------
    paths : list of Path
        The files, also those that were there from an export that was cut off.

    Raises
    ------
    UsageError
        No such band or format; no folder of this host; ``merge`` of a table with several
        rows per tile.
    TableError
        The bands do not fit into one file, or the table has no rows here.
    """
    if format not in FORMATS:
        raise UsageError(f"No format {format!r}. Choose one of: {', '.join(FORMATS)}.")
    out = _checked(out_dir)
    schema = engine.schema(table)
    about = facts(schema)
    files: Files = {"": band_layers(table, schema, bands)}
    if with_flags:
        files["_flags"] = flag_layers(schema)
    _refuse_merge(table, about, merge, files[""])
    request = {
        "command": "export",
        "table": table,
        "out_dir": str(out.absolute()),
        "format": format,
        "bands": None if bands is None else list(bands),
        "merge": merge,
        "with_flags": with_flags,
        "tiles": None if tiles is None else [list(tile) for tile in tiles],
        "as_of": as_of,
    }
    writing = RasterFiles(table, about, grid(about["grid"]), out, files, {"cog": format == "cog"})
    about_now = engine.describe(table)
    # One state of the table from beginning to end, whoever commits meanwhile; where there is only
    # the present one, what is read is what is there.
    snapshot = as_of or (None if engine.name == "maxcompute" else about_now["snapshot_id"])
    there = list(listed(engine, table, about["kind"], tiles, snapshot))
    out.mkdir(parents=True, exist_ok=True)  # what cannot be begun is no job
    with recorded(engine.warehouse.ledger, request, about_now, retries) as record:
        before = written_before(engine.warehouse.ledger, record, out)
        wanted, done, lost = [], [], []
        for row, left_out in there:
            units = [] if merge else writing.units(row)
            if left_out:
                status, said = left_out
                for unit in units:
                    record.finish(unit, status, said, error_class=NO_MAP[status])
                text = f"{title(row)} left out: {said}"
                (on_empty if status == "empty" else on_failed)(text)
                lost += [text] if status == "failed" else []
                continue
            kept = [unit for unit in units if unit in before]
            done += [out / unit.item for unit in kept]
            record.plan(unit for unit in units if unit not in before)
            if merge or len(kept) < len(units):
                wanted.append(row)
        columns = [*(RESULT_COLUMNS if about["kind"] == "results" else TILE_COLUMNS)]
        columns += [layer.column for layers in files.values() for layer in layers]
        found = each(engine, table, columns, wanted, snapshot, record.check)
        rows = watched(found, what=f"export {table}", total=len(wanted))
        if merge:
            keys = {(row["tile_x"], row["tile_y"]) for row in wanted}
            return writing.merged(rows, keys, record, on_failed, lost)
        return sorted({*done, *writing.each(rows, record, on_failed)})


def _checked(place: str | Path) -> Path:
    out = local_path(place)
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out} is a file; an export needs a folder. `download` writes a table as CSV or "
            "Parquet."
        )
    return out


def _refuse_merge(table: str, about: dict[str, Any], merge: bool, layers: Sequence[Layer]) -> None:
    if merge and about["kind"] != "results":
        raise UsageError(
            f"{table!r} has several granules per tile: run `mosaic` first, export its result."
        )
    if merge and has_source(layers):
        raise UsageError(
            f"The band {SOURCE!r} of {table!r} counts in each tile's own list of granules, so the "
            "same number means another granule in the next tile. Export it without --merge, or "
            "name the other bands with --bands."
        )


def explain(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
    """What `export` would read and write."""
    out = _checked(args.dir)
    schema = engine.schema(args.table)
    layers = band_layers(args.table, schema, args.bands)
    _refuse_merge(args.table, facts(schema), args.merge, layers)
    frame = grid(facts(schema)["grid"])
    keys = [
        (row["tile_x"], row["tile_y"])
        for row in rows_of(
            engine.read(args.table, ["tile_x", "tile_y"], as_of=args.as_of, tiles=args.tiles)
        )
    ]
    itemsize = np.dtype(layers[0].dtype or "uint8").itemsize
    raw = frame.tile_size**2 * itemsize * len(layers)
    return {
        "rows": len(keys),
        "bands": [layer.column for layer in layers],
        "files": (1 if args.merge else len(keys)) * (2 if args.flags else 1),
        "raw_mib": round(raw * len(keys) / 2**20, 1),
        "memory_mib": round(3 * raw / 2**20 + 64, 1),
        "directory": str(out),
    }


def again(
    engine: Engine,
    request: Mapping[str, Any],
    failed: Sequence[Unit],
    *,
    retries: str,
    as_json: bool,
) -> int:
    """Export again what failed in an earlier export; all of it if it was cut off, or a mosaic."""
    asked = {name: value for name, value in request.items() if name not in ("command", "retries")}
    tiles = [unit.tile for unit in failed if unit.tile is not None]
    if tiles:
        asked["tiles"] = tiles
    elif asked["tiles"] is not None:
        asked["tiles"] = [(int(x), int(y)) for x, y in asked["tiles"]]
    return _told(engine, as_json=as_json, retries=retries, **asked)


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry export`."""
    if args.explain:
        answer(explain(engine, args), as_json=args.json)
        return DONE
    return _told(
        engine,
        as_json=args.json,
        table=args.table,
        out_dir=args.dir,
        format=args.format,
        bands=args.bands,
        merge=args.merge,
        with_flags=args.flags,
        tiles=args.tiles,
        as_of=args.as_of,
    )


def _told(engine: Engine, *, as_json: bool, **asked: Any) -> int:
    """Export, say what came of it, and give the exit code."""
    empty: list[str] = []
    failed: list[str] = []
    paths = export(engine, **asked, on_empty=empty.append, on_failed=failed.append)
    for text in [*empty, *failed]:
        say(text)
    out = asked["out_dir"]
    say(f"{len(paths)} files in {out}; {len(empty)} tiles empty, {len(failed)} failed.")
    files = [str(path) for path in paths]
    answer(
        {"files": files, "empty": empty, "failed": failed} if as_json else files, as_json=as_json
    )
    return DONE if not failed else SOME_FAILED if paths else FAILED
