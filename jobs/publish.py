"""`publish`: a table of ours as a table in the published layout, where others look for it."""

import argparse
from collections import Counter
from typing import Any

import pyarrow as pa

from geoquarry.engine.exchange import rows_of
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, answer, say, watched
from geoquarry.jobs.published import (
    Layout,
    add_layout_arguments,
    layout_of,
    published_engine,
    published_integers,
    published_names,
    published_records,
    tell,
)
from geoquarry.schemas.tables import facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry publish`."""
    parser.add_argument("table", help="table of ours: tiles or results")
    parser.add_argument("published", help="table to write, as a whole: NAME or PROJECT.NAME")
    parser.add_argument("--where", default="", metavar="SQL", help="only rows that fulfil this")
    add_layout_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


def publish(
    engine: Engine, table: str, published: str, *, where: str = "", layout: Layout | None = None
) -> int:
    """Write a table in the published layout; it is replaced as a whole, in one commit.

    Parameters
    ----------
    engine : Engine
        One whose project may hold published tables (MaxCompute).
    table : str
        Tiles become the 26 columns of the source, results those of their method.
    published : str
        ``name`` or ``project.name``. Made when it does not exist.
    where : str
        SQL condition on columns that hold no rasters.
    layout : Layout, optional
        Spelling and scale of results.

    Returns
    -------
    count : int
        Rows written.

    Raises
    ------
    UsageError
        This engine has no such tables; no published layout for this table; a table of that name
        with other columns, or of ours.
    InputError
        A row that the layout cannot hold.
    """
    writer = published_engine(engine)
    schema = engine.schema(table)
    rows = rows_of(watched(engine.read(table, where=where), what=f"publish {table}"))
    amiss = Counter[str]()
    records = published_records(schema, rows, layout or Layout(), amiss)
    names = published_names(schema, next(records))
    integers = published_integers(schema)
    about = facts(schema)
    count: int = writer.write_published(
        engine,
        published,
        {name: pa.int64() if name in integers else pa.string() for name in names},
        records,
        about=f"{about.get('method', about['kind'])} of {about['sensor']} in the published layout, "
        f"from {table} on {about['grid']}",
    )
    tell(amiss)
    return count


def explain(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
    """What `publish` would read and write."""
    published_engine(engine)
    keys = ["tile_x", "tile_y"]
    schema = engine.schema(args.table)
    header = next(published_records(schema, (), layout_of(args), Counter()))
    return {
        "rows": engine.read(args.table, keys, where=args.where).read_all().num_rows,
        "table": args.published,
        "columns": ", ".join(published_names(schema, header)),
    }


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry publish`."""
    if args.explain:
        answer(explain(engine, args), as_json=args.json)
        return DONE
    count = publish(engine, args.table, args.published, where=args.where, layout=layout_of(args))
    say(f"{count} rows of {args.table} in {args.published}.")
    if args.json:
        answer({"rows": count, "table": args.published}, as_json=True)
    return DONE
