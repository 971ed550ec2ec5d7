"""How a job runs on MaxCompute: in which of three forms, with which settings, or not at all.

- ``collect`` (default): all rows of a tile come to a function as one array.
- ``udtf``: a table function sees the sorted rows one by one; for stacks too deep for one array.
- ``udaf``: an aggregate; its buffer is written out between machines and may hold 2 MB, so it is for
  small tiles only.

Settings and limits are those of the service's documentation (Python 3 UDF, UDAF and UDTF; SQL
limits; flag parameters); docs/decisions/0010-maxcompute.md names the pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from geoquarry.engine.plan import TileTask
from geoquarry.schemas.errors import UsageError

PLANS = ("auto", "collect", "udtf", "udaf")
COLLECT_BYTES = 1 << 30
"""Most bytes of one tile's rows that go through one array: the worker holds them about twice."""
BUFFER_BYTES = 1_500_000
"""Most bytes in the buffer of an aggregate: 2 MB are documented, counted after marshalling."""
ROW_OVERHEAD_BYTES = 2048
"""Of one row in such a buffer besides its rasters: numbers, names, lists."""
BATCH_BYTES = 64 << 20
"""Most bytes that one call of the service brings to a function; its default is 1,024 rows."""
MOST_TILES, MOST_ROWS = 16, 1024
MEMORY_MIB = 4096
"""Of a worker, unless the deepest tile needs more."""
MOST_MEMORY_MIB = 12288
PYTHON_MEMORY_MIB = 4096
IMAGES = {"scipy": "scipy", "numpy": "common"}
"""Package that a UDF imports -> the service's image that has it, the larger one first."""


@dataclass(frozen=True)
class Sizes:
    """What a job moves, by its plan."""

    tiles: int
    largest_row: int
    largest_tile: int
    deepest_tile: int


def sizes_of(tasks: Sequence[TileTask]) -> Sizes:
    """Sizes of some tasks; bytes are those of all rasters in a row, of which a job may read fewer.

    >>> sizes_of([])
    Sizes(tiles=0, largest_row=0, largest_tile=0, deepest_tile=0)
    """
    return Sizes(
        tiles=len(tasks),
        largest_row=max((ref.nbytes for task in tasks for ref in task.rows), default=0),
        largest_tile=max((sum(ref.nbytes for ref in task.rows) for task in tasks), default=0),
        deepest_tile=max((len(task.rows) for task in tasks), default=0),
    )


def chosen(plan: str, sizes: Sizes, *, streams: bool) -> str:
    """The form that a job takes.

    Parameters
    ----------
    plan : str
        One of `PLANS`.
    sizes : Sizes
    streams : bool
        Whether its UDF can be fed row by row.

    Raises
    ------
    UsageError
        No such form, or the job does not fit into it.

    Examples
    --------
    >>> chosen("auto", Sizes(1, 10 << 20, 2 << 30, 200), streams=True)
    'udtf'
    """
    if plan not in PLANS:
        raise UsageError(f"No plan {plan!r}. Choose one of: {', '.join(PLANS)}.")
    if plan == "auto":
        plan = "udtf" if streams and sizes.largest_tile > COLLECT_BYTES else "collect"
    if plan == "udtf" and not streams:
        raise UsageError(
            "The plan udtf needs a UDF that takes rows one by one (a `Stream` beside it); this one "
            "has none. Use the plan collect."
        )
    if plan == "collect" and sizes.largest_tile > COLLECT_BYTES:
        raise UsageError(
            f"A tile has {sizes.largest_tile >> 20} MiB of rows ({sizes.deepest_tile} granules), "
            f"over the {COLLECT_BYTES >> 20} MiB that the plan collect can bring to one worker. "
            "Use the plan udtf, a stricter condition, or a grid of smaller tiles."
        )
    buffer = sizes.largest_tile + ROW_OVERHEAD_BYTES * (sizes.deepest_tile + 1)
    if plan == "udaf" and buffer > BUFFER_BYTES:
        raise UsageError(
            f"A tile has {buffer} bytes of rows; the plan udaf holds them in a buffer of at most "
            f"{BUFFER_BYTES} (MaxCompute allows 2 MB after marshalling). Use the plan collect."
        )
    return plan


def batch_rows(plan: str, sizes: Sizes) -> int:
    """Rows that one call of the service may bring to a function: whole tiles, or single rows.

    >>> batch_rows("collect", Sizes(9, 10 << 20, 40 << 20, 4)), batch_rows("udtf", sizes_of([]))
    (1, 1024)
    """
    one, most = (
        (sizes.largest_tile, MOST_TILES) if plan == "collect" else (sizes.largest_row, MOST_ROWS)
    )
    return max(1, min(most, BATCH_BYTES // max(one, 1)))


def hints_of(plan: str, sizes: Sizes, image: str) -> dict[str, str]:
    """Settings of the job's statement, besides those of every statement.

    Parameters
    ----------
    plan : str
        As chosen.
    sizes : Sizes
    image : str
        With the packages that the UDF imports.

    Examples
    --------
    >>> hints_of("collect", Sizes(9, 10 << 20, 40 << 20, 4), "scipy")[
    ...     "odps.sql.executionengine.batch.rowcount"]
    '1'
    """
    one = sizes.largest_tile if plan == "collect" else sizes.largest_row
    need = max(MEMORY_MIB, 1024 + 4 * (one >> 20))
    found = {
        "odps.sql.python.version": "cp311",
        "odps.session.image": image,
        "odps.isolation.session.enable": "true",
        "odps.sql.executionengine.batch.rowcount": str(batch_rows(plan, sizes)),
        "odps.stage.mapper.split.size": "256",
        "odps.stage.reducer.mem": str(min(need, MOST_MEMORY_MIB)),
        "odps.sql.udf.python.memory": str(PYTHON_MEMORY_MIB),
        "odps.function.timeout": "3600",
    }
    if plan == "udaf":
        found["odps.sql.map.aggr"] = "false"  # one buffer less on the way
    return found


def image_of(needs: Sequence[str], wanted: str | None) -> str:
    """The image to use: the one asked for, or the smallest that has what the UDF imports.

    >>> image_of(["numpy", "scipy"], None), image_of(["numpy"], None)
    ('scipy', 'common')
    """
    return wanted or next((IMAGES[name] for name in IMAGES if name in needs), "common")
