"""`download`: rows of a table to a CSV or Parquet file."""

import argparse
import csv
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from geoquarry.engine.atomic import replacing
from geoquarry.engine.exchange import HEX_STYLES, rows_of, write_csv, write_parquet
from geoquarry.engine.local import Engine
from geoquarry.jobs.coefficients import with_coefficients
from geoquarry.jobs.console import DONE, answer, say, watched
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import facts

SUFFIXES = (".csv", ".parquet")
LAYOUTS = ("own", "published")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry download`."""
    parser.add_argument("table", help="name of the table")
    parser.add_argument(
        "file", type=Path, metavar="FILE.csv|.parquet", help="replaced when it exists"
    )
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
        help="CSV: our columns, or the published 26 columns of a tiles table",
    )
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
        ``published``: the 26 columns of the published pipeline, from a `tiles` table. It holds
        coefficients: rows without any get those of their state, one set per tile.

    Returns
    -------
    count : int
        Rows written.

    Raises
    ------
    UsageError
        Another suffix, or a layout that this table cannot take.
    InputError
        A row that the published layout cannot hold.
    """
    path = Path(path)
    _refuse_suffix(path)
    schema = engine.schema(table)
    batches = watched(engine.read(table, where=where, as_of=as_of), what=f"download {table}")
    if layout == "published":
        return _published(path, rows_of(batches), facts(schema))
    if layout not in LAYOUTS:
        raise UsageError(f"No layout {layout!r}. Choose one of: {', '.join(LAYOUTS)}.")
    if path.suffix.lower() == ".parquet":
        return write_parquet(path, batches, schema)
    return write_csv(path, batches, schema, hexadecimal=hexadecimal)


def _refuse_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the name must end in {' or '.join(SUFFIXES)}.")


def explain(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
    """What `download` would read and write."""
    _refuse_suffix(args.file)
    keys = ["tile_x", "tile_y"]
    rows = engine.read(args.table, keys, where=args.where, as_of=args.as_of).read_all().num_rows
    about = engine.describe(args.table)
    share = rows / about["rows"] if about["rows"] else 0.0
    return {
        "rows": rows,
        "stored_mib": round(about["nbytes"] * share / 2**20, 1),
        "file": str(args.file),
        "replaces": args.file.exists(),
    }


def _published(path: Path, rows: Any, about: dict[str, Any]) -> int:
    if about.get("kind") != "tiles" or path.suffix.lower() != ".csv":
        raise UsageError("The published layout is a CSV of a tiles table.")
    try:
        writer = import_module(f"geoquarry.engine.{about['sensor']}_gmi_writer")
    except ModuleNotFoundError:
        raise UsageError(f"No published layout for sensor {about['sensor']!r}.") from None
    count, amiss = -1, Counter[str]()  # the header
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, lineterminator="\n")
        for record in writer.write_gmi(with_coefficients(row, amiss) for row in rows):
            lines.writerow(record)
            count += 1
    for text, times in sorted(amiss.items()):
        say(f"{text} in {times} of the rows, whose coefficients are looked up.")
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
    )
    say(f"{count} rows of {args.table} in {args.file}.")
    if args.json:
        answer({"rows": count, "file": str(args.file)}, as_json=True)
    return DONE
