"""Layouts that were published for a sensor: what `adopt`, `download`, `publish` share."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pyarrow as pa

from geoquarry.engine.exchange import Row
from geoquarry.engine.local import Engine
from geoquarry.jobs.coefficients import with_coefficients
from geoquarry.jobs.console import say
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import facts


@dataclass(frozen=True)
class Layout:
    """What rows look like in a published layout.

    Attributes
    ----------
    original_spelling : bool
        Columns of results as the published tables misspell them.
    scale : float, optional
        Of all rasters of results; default: each band's own.
    """

    original_spelling: bool = False
    scale: float | None = None


def add_layout_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told about a published layout."""
    parser.add_argument(
        "--original-spelling",
        action="store_true",
        help="published results: gosson, ferric_oxdes, dolomit, as the published tables spell them",
    )
    parser.add_argument(
        "--scale",
        type=float,
        metavar="NUMBER",
        help="published results: physical = stored x NUMBER (default: each band's own scale)",
    )


def layout_of(args: argparse.Namespace) -> Layout:
    """The layout that the command line asks for."""
    return Layout(original_spelling=args.original_spelling, scale=args.scale)


def published_records(
    schema: pa.Schema, rows: Iterable[Row], layout: Layout, amiss: Counter[str]
) -> Iterator[list[str]]:
    """Rows of a table of ours as records of the published layout of their kind, header first.

    Parameters
    ----------
    schema : pa.Schema
        Of the table: `tiles` go to the 26 columns of the source, `results` to those of a result.
    rows : iterable of dict
        All columns; held one at a time. Tiles without coefficients get those of their state.
    layout : Layout
    amiss : Counter
        Counts what a reader of the records cannot see; tell it with `tell`.

    Raises
    ------
    UsageError
        There is no published layout for this table.
    InputError
        A row that the layout cannot hold.
    """
    about = facts(schema)
    if about.get("kind") == "tiles":
        if layout != Layout():
            raise UsageError("A spelling and a scale can be chosen for results, not for tiles.")
        writer = layout_module(about["sensor"], "gmi_writer")
        found: Iterator[list[str]] = writer.write_gmi(with_coefficients(row, amiss) for row in rows)
    elif about.get("kind") == "results":
        results = layout_module(about["sensor"], "gmi_results")
        found = results.write_results(
            rows,
            schema,
            original_spelling=layout.original_spelling,
            scale=layout.scale,
            amiss=amiss,
        )
    else:
        raise UsageError(f"There is no published layout for a table of {about.get('kind')}.")
    return found


def published_integers(schema: pa.Schema) -> frozenset[str]:
    """Columns of a published layout that hold whole numbers; the others hold text."""
    about = facts(schema)
    found: frozenset[str] = layout_module(
        about["sensor"], "gmi_columns" if about["kind"] == "tiles" else "gmi_results"
    ).INTEGERS
    return found


def published_names(schema: pa.Schema, header: list[str]) -> list[str]:
    """The columns of a record as the published tables have them (files spell some otherwise)."""
    about = facts(schema)
    if about["kind"] != "tiles":
        return header
    columns = layout_module(about["sensor"], "gmi_columns")
    known = dict(zip(columns.COLUMNS, columns.TABLE_COLUMNS, strict=True))
    return [known[name] for name in header]


def tell(amiss: Counter[str]) -> None:
    """Say what readers of published records cannot see."""
    for text, times in sorted(amiss.items()):
        say(f"{text} in {times} of the rows.")


def layout_module(sensor_name: str, part: str) -> Any:
    """A module of a sensor's published layout: ``gmi``, ``gmi_columns``, ``gmi_results``, ...

    Raises
    ------
    UsageError
        Nothing was published for this sensor.
    """
    try:
        return import_module(f"geoquarry.engine.{sensor_name}_{part}")
    except ModuleNotFoundError:
        raise UsageError(f"No published layout for sensor {sensor_name!r}.") from None


def published_engine(engine: Engine) -> Any:
    """What an engine has for tables in a published layout: `PublishedTable`, `write_published`.

    Raises
    ------
    UsageError
        Its tables are files of ours only.
    """
    try:
        return import_module(f"geoquarry.engine.{engine.name}_published")
    except ModuleNotFoundError as error:
        if error.name != f"geoquarry.engine.{engine.name}_published":
            raise
        raise UsageError(
            f"Engine {engine.name!r} has no published tables, only files of them: `upload FILE.csv "
            "TABLE` reads one, `download TABLE FILE.csv --layout published` writes one. Published "
            "tables are for --engine maxcompute."
        ) from None
