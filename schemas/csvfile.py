"""Read the fact tables (CSV) that ship beside this module."""

import csv
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from geoquarry.schemas.errors import InputError


@cache
def read_rows(name: str) -> tuple[dict[str, str], ...]:
    """All rows of one CSV file of this room.

    Parameters
    ----------
    name : str
        File name without ``.csv``.

    Returns
    -------
    rows : tuple of dict
        One dict per row, column name -> text. Lines that start with ``#`` are comments.

    Raises
    ------
    FileNotFoundError
        There is no such file in the package.

    Examples
    --------
    >>> read_rows("aster_l1t_bands")[0]["band"]
    'b01'
    """
    text = files("geoquarry.schemas").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return parse_rows(text, f"{name}.csv")


def parse_rows(text: str, where: str) -> tuple[dict[str, str], ...]:
    """Rows of a fact table: every line has one field per column, whatever they mean.

    Parameters
    ----------
    text : str
        CSV with a header. Lines that start with ``#`` are comments, blank ones are left out.
    where : str
        For messages.

    Raises
    ------
    InputError
        No header, a column without a name or named twice, or a line with fewer or more fields.

    Examples
    --------
    >>> parse_rows("band,number\\n# a comment\\nb01,1\\n", "here")
    ({'band': 'b01', 'number': '1'},)
    """
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    try:
        names, *records = csv.reader(lines)
    except ValueError:
        raise InputError(f"{where} is empty: its first line must name the columns.") from None
    except csv.Error as error:
        raise InputError(f"{where} is not CSV text: {error}.") from error
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{where}: a column without a name, or named twice: {names!r:.200}.")
    for place, record in enumerate(records, start=1):
        if len(record) != len(names):
            raise InputError(
                f"{where}, row {place}: {len(record)} fields, the header has {len(names)}."
            )
    return tuple(dict(zip(names, record, strict=True)) for record in records)


def text_of(row: Mapping[str, str], column: str, where: str) -> str:
    """A field of a row.

    Raises
    ------
    InputError
        There is no such column.
    """
    if column not in row:
        raise InputError(f"{where}: no column {column!r}; there are {', '.join(row)}.")
    return row[column]


def number_of(row: Mapping[str, str], column: str, where: str) -> float:
    """A field of a row as a finite number.

    Raises
    ------
    InputError
        There is no such column, or something else stands there.

    Examples
    --------
    >>> number_of({"scale": "0.001"}, "scale", "here")
    0.001
    """
    text = text_of(row, column, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}, column {column!r}: {text[:40]!r} is not a finite number.")
    return value


def carried_files() -> dict[str, bytes]:
    """What this module reads, for workers that see no file of this host.

    >>> sorted(carried_files())[0]
    'geoquarry/schemas/aster_l1t_bands.csv'
    """
    found = files("geoquarry.schemas").iterdir()
    return {
        f"geoquarry/schemas/{path.name}": path.read_bytes()
        for path in found
        if path.name.endswith(".csv")
    }
