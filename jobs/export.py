"""`export`: rows to GeoTIFF or COG, one file per tile or one mosaic."""

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine.exchange import rows_of
from geoquarry.engine.geotiff import FORMATS
from geoquarry.engine.ledger import Record, Unit
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
from geoquarry.jobs.export_files import Files, RasterFiles, Row, Told, has_source
from geoquarry.jobs.layers import (
    RESULT_COLUMNS,
    TILE_COLUMNS,
    Layer,
    band_layers,
    flag_layers,
    title,
)
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.tables import facts
from geoquarry.udfs.tile_method import SOURCE

DONE_STATUS = ("ok", "partial")
NO_MAP = {"empty": "", "failed": "TileFailed"}
"""Status of a tile without a map -> class of the error."""
CLOCK_S = 2.0
"""A file may seem that much younger than the moment when its end was written down, seconds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry export`."""
    parser.add_argument("table", help="name of the table")
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder for the files")
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
        No such band or format; ``merge`` of a table with several rows per tile.
    TableError
        The bands do not fit into one file, or the table has no rows here.
    """
    if format not in FORMATS:
        raise UsageError(f"No format {format!r}. Choose one of: {', '.join(FORMATS)}.")
    schema = engine.schema(table)
    about = facts(schema)
    files: Files = {"": band_layers(table, schema, bands)}
    if with_flags:
        files["_flags"] = flag_layers(schema)
    _refuse_merge(table, about, merge, files[""])
    out = Path(out_dir)
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
    listed = list(_listed(engine, table, about["kind"], tiles, as_of))
    out.mkdir(parents=True, exist_ok=True)  # what cannot be begun is no job
    with _recorded(engine, request, retries) as record:
        before = _written_before(engine, record, out)
        keys, done = set(), []
        for row, left_out in listed:
            units = [] if merge else writing.units(row)
            if left_out:
                status, said = left_out
                for unit in units:
                    record.finish(unit, status, said, error_class=NO_MAP[status])
                (on_empty if status == "empty" else on_failed)(f"{title(row)} left out: {said}")
                continue
            there = [unit for unit in units if unit in before]
            done += [out / unit.item for unit in there]
            record.plan(unit for unit in units if unit not in before)
            if merge or len(there) < len(units):
                keys.add((row["tile_x"], row["tile_y"]))
        columns = [*(RESULT_COLUMNS if about["kind"] == "results" else TILE_COLUMNS)]
        columns += [layer.column for layers in files.values() for layer in layers]
        wanted = tiles if tiles is not None or not before else sorted(keys)
        with closing(engine.read(table, columns, as_of=as_of, tiles=wanted)) as reader:
            found = (row for row in rows_of(reader) if (row["tile_x"], row["tile_y"]) in keys)
            rows = watched(_until_cancelled(found, record), what=f"export {table}")
            if merge:
                return writing.merged(rows, keys, record, on_failed)
            return sorted({*done, *writing.each(rows, record, on_failed)})


@contextmanager
def _recorded(engine: Engine, request: Mapping[str, Any], retries: str) -> Iterator[Record]:
    """The page of the ledger: under the commit id of the same export that was cut off, or anew."""
    ledger, about = engine.warehouse.ledger, engine.describe(request["table"])
    content = [request, about["uuid"], request["as_of"] or about["snapshot_id"], package_version()]
    job_id = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    with ledger.job(
        "export",
        job_id=job_id,
        resume=ledger.unfinished("export", job_id),
        method=request["format"],
        source=request["table"],
        target=request["out_dir"],
        package_version=package_version(),
        request={**request, "retries": retries},
    ) as record:
        yield record


def _written_before(engine: Engine, record: Record, out: Path) -> set[Unit]:
    """Files of an export that was cut off, if nobody has touched them since."""
    found: set[Unit] = set()
    if not record.resumed:
        return found
    for said in engine.warehouse.ledger.units(record.commit_id, ("done",)):
        path = out / said["item"]
        latest = said["ended"].timestamp() + CLOCK_S
        if not said["error_class"] and path.is_file() and path.stat().st_mtime <= latest:
            tile = None if said["tile_x"] is None else (said["tile_x"], said["tile_y"])
            found.add(Unit(said["item"], tile))
    return found


def _until_cancelled(rows: Iterable[Row], record: Record) -> Iterator[Row]:
    for row in rows:
        record.check()
        yield row


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


def _listed(
    engine: Engine,
    table: str,
    kind: str,
    tiles: Sequence[tuple[int, int]] | None,
    as_of: int | None,
) -> Iterator[tuple[Row, tuple[str, str] | None]]:
    """Rows without their rasters, and why there is no map: ``empty`` or ``failed``, in words."""
    more = ["status", "message"] if kind == "results" else ["granule_id"]
    found = engine.read(table, ["tile_x", "tile_y", *more], as_of=as_of, tiles=tiles)
    count = 0
    for row in rows_of(found):
        count += 1
        status = row.get("status", "ok")
        if status in DONE_STATUS:
            yield row, None
        else:
            said = f"{status}: {row['message'] or 'no reason given'}"
            yield row, ("empty" if status == "empty" else "failed", said)
    if not count:
        raise TableError(f"Nothing to export: {table!r} has no rows{' there' if tiles else ''}.")


def explain(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
    """What `export` would read and write."""
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
        "directory": str(args.dir),
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
