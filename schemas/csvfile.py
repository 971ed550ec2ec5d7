"""Read the fact tables (CSV) that ship beside this module."""

import csv
from functools import cache
from importlib.resources import files


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
    return tuple(csv.DictReader(x for x in text.splitlines() if x and not x.startswith("#")))
