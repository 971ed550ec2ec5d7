"""`export`: rows to GeoTIFF or COG, one file per tile or one mosaic."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from geoquarry.engine.exchange import rows_of
from geoquarry.engine.geotiff import FORMATS, Mosaic, write_geotiff
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
from geoquarry.jobs.layers import (
    RESULT_COLUMNS,
    TILE_COLUMNS,
    Layer,
    band_layers,
    band_tags,
    file_stem,
    file_tags,
    flag_layers,
    nodata_of,
    pixels,
    title,
)
from geoquarry.schemas.errors import InputError, TableError, UsageError
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.tables import facts
from geoquarry.udfs.tile_method import SOURCE

Told = Callable[[str], None]
Files = dict[str, list[Layer]]
"""End of a file's name -> its bands."""
DONE_STATUS = ("ok", "partial")


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
) -> list[Path]:
    """Write the rasters of a table as files; running it again replaces them.

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

    Returns
    -------
    paths : list of Path
        Files written.

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
    keys = _keys(engine, table, about["kind"], tiles, as_of, on_empty, on_failed)
    columns = [*(RESULT_COLUMNS if about["kind"] == "results" else TILE_COLUMNS)]
    columns += [layer.column for layers in files.values() for layer in layers]
    reader = engine.read(table, columns, as_of=as_of, tiles=tiles)
    wanted = (row for row in rows_of(reader) if (row["tile_x"], row["tile_y"]) in keys)
    rows = watched(wanted, what=f"export {table}")
    frame, out = grid(about["grid"]), Path(out_dir)
    options = {"cog": format == "cog"}
    if merge:
        return _merged(out, table, about, frame, files, rows, keys, on_failed, options)
    return list(_each(out, table, about, frame, files, rows, on_failed, options))


def _refuse_merge(table: str, about: dict[str, Any], merge: bool, layers: Sequence[Layer]) -> None:
    if merge and about["kind"] != "results":
        raise UsageError(
            f"{table!r} has several granules per tile: run `mosaic` first, export its result."
        )
    if merge and _has_source(layers):
        raise UsageError(
            f"The band {SOURCE!r} of {table!r} counts in each tile's own list of granules, so the "
            "same number means another granule in the next tile. Export it without --merge, or "
            "name the other bands with --bands."
        )


def _has_source(layers: Sequence[Layer]) -> bool:
    return any(layer.column == SOURCE for layer in layers)


def _keys(
    engine: Engine,
    table: str,
    kind: str,
    tiles: Sequence[tuple[int, int]] | None,
    as_of: int | None,
    on_empty: Told,
    on_failed: Told,
) -> set[tuple[int, int]]:
    """Tiles that have a map; no raster is read for that."""
    names = ["tile_x", "tile_y", *(["status", "message"] if kind == "results" else [])]
    found, count = set(), 0
    for row in rows_of(engine.read(table, names, as_of=as_of, tiles=tiles)):
        count += 1
        status = row.get("status", "ok")
        if status in DONE_STATUS:
            found.add((row["tile_x"], row["tile_y"]))
        else:
            told = on_empty if status == "empty" else on_failed
            told(f"{title(row)} left out: {status}: {row['message'] or 'no reason given'}")
    if not count:
        raise TableError(f"Nothing to export: {table!r} has no rows{' there' if tiles else ''}.")
    return found


def _each(
    out: Path,
    table: str,
    about: dict[str, Any],
    frame: Grid,
    files: Files,
    rows: Iterator[dict[str, Any]],
    on_failed: Told,
    options: dict[str, Any],
) -> Iterator[Path]:
    for row in rows:
        for suffix, layers in files.items():
            if suffix and row["flags"] is None:
                continue  # published rows come without
            try:
                rasters = pixels(row, layers, frame)
            except InputError as error:
                on_failed(f"{title(row)} left out: {error}")
                break
            tags = band_tags(row, layers)
            yield write_geotiff(
                out / f"{file_stem(table, row)}{suffix}.tif",
                rasters,
                transform=frame.transform(row["tile_x"], row["tile_y"]),
                crs=frame.crs,
                descriptions=[tag.description for tag in tags],
                scales=[tag.scale for tag in tags],
                offsets=[tag.offset for tag in tags],
                units=[tag.unit for tag in tags],
                nodata=nodata_of(layers[0], rasters[0].dtype),
                tags=file_tags(table, about, [row]),
                overviews=_overviews(about, suffix, layers),
                **options,
            )


def _merged(
    out: Path,
    table: str,
    about: dict[str, Any],
    frame: Grid,
    files: Files,
    rows: Iterator[dict[str, Any]],
    keys: set[tuple[int, int]],
    on_failed: Told,
    options: dict[str, Any],
) -> list[Path]:
    if not keys:
        return []
    (left, right), (top, bottom) = ((min(k), max(k) + 1) for k in zip(*keys, strict=True))
    size = frame.tile_size
    done: list[dict[str, Any]] = []
    with ExitStack() as stack:
        mosaics = {}
        for suffix, layers in files.items():
            nodata = nodata_of(layers[0], np.dtype(layers[0].dtype))
            mosaics[suffix] = stack.enter_context(
                Mosaic(
                    out / f"{table}{suffix}.tif",
                    height=(bottom - top) * size,
                    width=(right - left) * size,
                    dtype=str(layers[0].dtype),
                    transform=frame.transform(left, top),
                    crs=frame.crs,
                    bands=[layer.tag for layer in layers],
                    nodata=nodata,
                    overviews=_overviews(about, suffix, layers),
                    part_size=size,
                    **options,
                )
            )
        for row in rows:
            try:
                parts = {suffix: pixels(row, layers, frame) for suffix, layers in files.items()}
            except InputError as error:
                on_failed(f"{title(row)} left out: {error}")
                continue
            for suffix, rasters in parts.items():
                place = (row["tile_y"] - top) * size, (row["tile_x"] - left) * size
                mosaics[suffix].add(*place, rasters)
            done.append({name: row[name] for name in RESULT_COLUMNS})
        if not done:
            raise InputError(f"No tile of {table!r} could be read: no mosaic written.")
        for mosaic in mosaics.values():
            mosaic.tags |= file_tags(table, about, done)
    return [mosaic.path for mosaic in mosaics.values()]


def _overviews(about: dict[str, Any], suffix: str, layers: Sequence[Layer]) -> str:
    """Bits, saturated counts and places in a list must not be averaged; a file has one way."""
    smooth = about["kind"] == "results" and not suffix and not _has_source(layers)
    return "average" if smooth else "nearest"


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


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry export`."""
    if args.explain:
        answer(explain(engine, args), as_json=args.json)
        return DONE
    empty: list[str] = []
    failed: list[str] = []
    paths = export(
        engine,
        args.table,
        args.dir,
        format=args.format,
        bands=args.bands,
        merge=args.merge,
        with_flags=args.flags,
        tiles=args.tiles,
        as_of=args.as_of,
        on_empty=empty.append,
        on_failed=failed.append,
    )
    for text in [*empty, *failed]:
        say(text)
    say(f"{len(paths)} files in {args.dir}; {len(empty)} tiles empty, {len(failed)} failed.")
    files = [str(path) for path in paths]
    answer(
        {"files": files, "empty": empty, "failed": failed} if args.json else files,
        as_json=args.json,
    )
    return DONE if not failed else SOME_FAILED if paths else FAILED
