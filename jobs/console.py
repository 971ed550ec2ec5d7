"""How jobs talk: people read stderr, programs read stdout."""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from geoquarry.schemas.redact import redacted

DONE, FAILED, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3
"""Exit codes: all done, failed, wrong usage, finished with some rows failed (listed)."""

LOG_S = 30.0
"""How often progress is told where it cannot be written over."""

T = TypeVar("T")


def say(text: str) -> None:
    """Tell a person something (stderr), past a progress bar that may be there; no secrets."""
    tqdm.write(redacted(text), file=sys.stderr)


def answer(content: Any, *, as_json: bool) -> None:
    """Give the result (stdout): one JSON document on one line, or the plain text of a person."""
    if as_json:
        print(json.dumps(plain(content), allow_nan=False), flush=True)
    elif isinstance(content, str):
        print(content, flush=True)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            rows = isinstance(value, list) and value and isinstance(value[0], Mapping)
            print(f"{key}:\n{table_text(value)}" if rows else f"{key}: {value}", flush=True)
    else:
        for line in content:
            print(line if isinstance(line, str) else json.dumps(plain(line)), flush=True)


def plain(value: Any) -> Any:
    """The same in words of strict JSON: NaN and infinity become null, times ISO 8601, blobs sizes.

    >>> plain({"on": date(2006, 6, 18), "list": [1.5, float("nan")], "blob": b"abc"})
    {'on': '2006-06-18', 'list': [1.5, None], 'blob': '<3 bytes>'}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):  # e.g. the SUM of integers
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, date | time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def watched(items: Iterable[T], *, what: str, total: int | None = None) -> Iterator[T]:
    """The same items with a progress bar, see `progress_bar`."""
    with progress_bar(what, total) as bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(what: str, total: int | None = None) -> Any:
    """A bar to update by hand, after two seconds; into a pipe or a file, a line every 30 s."""
    if sys.stderr.isatty():
        return tqdm(desc=what, total=total, delay=2, file=sys.stderr, leave=False)
    rare = {"delay": LOG_S, "mininterval": LOG_S, "maxinterval": 2 * LOG_S}
    return tqdm(desc=what, total=total, file=_Lines(sys.stderr), ascii=True, leave=False, **rare)


class _Lines:
    """A log file: what tqdm would write over itself is a line of its own."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> None:
        if line := text.strip():
            self.file.write(f"{line}\n")

    def flush(self) -> None:
        self.file.flush()


def table_text(rows: list[dict[str, Any]]) -> str:
    """Rows as an aligned text table.

    >>> print(table_text([{"name": "a", "rows": 12}]))
    name  rows
    a       12
    """
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(c[i]) for c in cells)) for i, name in enumerate(names)]
    numeric = [isinstance(rows[0].get(name), int | float) for name in names]
    lines = [names, *cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def add_tiles_argument(parser: argparse.ArgumentParser, name: str, about: str) -> None:
    """One or more tiles as ``X,Y``."""
    parser.add_argument(name, nargs="+", type=tile_key, metavar="X,Y", help=about)


def tile_key(text: str) -> tuple[int, int]:
    """Read ``X,Y``.

    >>> tile_key("260,526")
    (260, 526)
    """
    try:
        x, y = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a tile: write X,Y") from None
    return x, y
