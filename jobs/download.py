"""`download`: rows of a table to a CSV or Parquet file."""

import argparse
import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine.atomic import local_path, replacing
from geoquarry.engine.exchange import HEX_STYLES, Row, rows_of, write_csv, write_parquet
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, answer, say, watched
from geoquarry.jobs.published import (
    Layout,
    add_layout_arguments,
    layout_of,
    published_records,
    tell,
)
from geoquarry.schemas.errors import UsageError

SUFFIXES = (".csv", ".parquet")
LAYOUTS = ("own", "published")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry download`."""
    parser.add_argument("table", help="name of the table")
    parser.add_argument("file", metavar="FILE.csv|.parquet", help="replaced when it exists")
    parser.add_argument("--where", default="", metavar="SQL", help="only rows that fulfil this")
    parser.add_argument("--as-of", type=int, metavar="SNAPSHOT", help="the table as it was then")
    parser.add_argument(
        "--hex",
        choices=HEX_STYLES,
        default=HEX_STYLES[0],
        help="CSV: blobs that `upload` reads back exactly, or bare pixels for other programs",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="CSV: our columns, or the published ones of tiles or of results",
    )
    add_layout_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


def download(
    engine: Engine,
    table: str,
    path: str | Path,
    *,
    where: str = "",
    as_of: int | None = None,
    hexadecimal: str = "blob",
    layout: str = "own",
    published: Layout | None = None,
) -> int:
    """Write the rows of a table to a file, one at a time.

    Parameters
    ----------
    engine : Engine
    table : str
    path : path
        ``.csv`` or ``.parquet``; replaced when it exists.
    where : str
        SQL condition on columns that hold no rasters.
    as_of : int, optional
        Snapshot id.
    hexadecimal : {"blob", "pixels"}
        Rasters in a CSV: hex of our self-describing blobs, which ``upload`` reads back exactly,
        or hex of bare pixels (no shape, no dtype), as the published results have them.
    layout : {"own", "published"}
        ``published``: the columns of the published pipeline; of a `tiles` table 26, which hold
        coefficients: rows without any get those of their state, one set per tile.
    published : Layout, optional
        What can be told about that layout.

    Returns
    -------
    count : int
        Rows written.

    Raises
    ------
    UsageError
        No path of this host, another suffix, or a layout that this table cannot take.
    InputError
        A row that the published layout cannot hold.
    """
    path = _checked(path)
    schema = engine.schema(table)
    batches = watched(engine.read(table, where=where, as_of=as_of), what=f"download {table}")
    if layout == "published":
        return _published(path, rows_of(batches), schema, published or Layout())
    if layout not in LAYOUTS:
        raise UsageError(f"No layout {layout!r}. Choose one of: {', '.join(LAYOUTS)}.")
    if published not in (None, Layout()):
        raise UsageError("A spelling and a scale are for --layout published.")
    if path.suffix.lower() == ".parquet":
        return write_parquet(path, batches, schema)
    return write_csv(path, batches, schema, hexadecimal=hexadecimal)


def _checked(place: str | Path) -> Path:
    path = local_path(place)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in {' or '.join(SUFFIXES)}.")
    return path


def explain(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
    """What `download` would read and write."""
    path = _checked(args.file)
    keys = ["tile_x", "tile_y"]
    rows = engine.read(args.table, keys, where=args.where, as_of=args.as_of).read_all().num_rows
    about = engine.describe(args.table)
    share = rows / about["rows"] if about["rows"] else 0.0
    return {
        "rows": rows,
        "stored_mib": round(about["nbytes"] * share / 2**20, 1),
        "file": str(path),
        "replaces": path.exists(),
    }


def _published(path: Path, rows: Iterable[Row], schema: pa.Schema, layout: Layout) -> int:
    if path.suffix.lower() != ".csv":
        raise UsageError(f"{path}: the published layout is a CSV.")
    count, amiss = -1, Counter[str]()  # the header
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        for record in published_records(schema, rows, layout, amiss):
            lines.writerow(record)
            count += 1
    tell(amiss)
    return count


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry download`."""
    if args.explain:
        answer(explain(engine, args), as_json=args.json)
        return DONE
    count = download(
        engine,
        args.table,
        args.file,
        where=args.where,
        as_of=args.as_of,
        hexadecimal=args.hex,
        layout=args.layout,
        published=layout_of(args),
    )
    say(f"{count} rows of {args.table} in {args.file}.")
    if args.json:
        answer({"rows": count, "file": str(args.file)}, as_json=True)
    return DONE
