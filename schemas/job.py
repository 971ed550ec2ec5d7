"""A compute job as data: what an engine needs to know, and nothing about what is computed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from geoquarry.schemas.errors import UsageError


@dataclass(frozen=True)
class Lookup:
    """Columns of a small table that the source rows get beside their own.

    Attributes
    ----------
    table : str
    on : tuple of str
        Key columns that both have: ``("granule_id",)`` or ``("tile_x", "tile_y")``.
    columns : tuple of str
        Not BINARY; null in rows that find nothing.
    as_of : int
        Snapshot of the table to read.

    Raises
    ------
    UsageError
        Other keys than these.
    """

    table: str
    on: tuple[str, ...]
    columns: tuple[str, ...]
    as_of: int

    def __post_init__(self) -> None:
        if self.on not in (("granule_id",), ("tile_x", "tile_y")):
            raise UsageError(
                f"Rows can be joined by granule_id or by tile_x, tile_y, not {self.on}."
            )


@dataclass(frozen=True)
class Job:
    """Rows of a source table, grouped by tile, through one UDF, into a target table.

    Attributes
    ----------
    source, target : str
        Table names.
    method : str
        Name of the method, stored in every result row.
    params : dict
        JSON-safe parameters, already checked and completed.
    udf : str
        ``package.module:function`` with the signature ``compute(rows, job) -> dict``: ``rows``
        iterates over source rows (dict; BINARY as bytes-like) of one tile in any order; ``job``
        has ``method, params, sensor, grid, tile_x, tile_y, spill_dir``; the answer holds the
        result columns ``status, message, granules, issues, provenance`` (a dict) ``flags, count``
        and the bands.
    columns : tuple of str
        Source columns the UDF reads.
    schema : pa.Schema
        Of the target table.
    where : str
        SQL condition on non-BINARY columns of the source; empty = all rows.
    tiles : tuple of (tile_x, tile_y) or None
        Only these tiles.
    overwrite : bool
        Replace the target's whole content instead of tile by tile.
    resume : bool
        Reuse finished part files of the same job id.
    as_of : int or None
        Snapshot of the source to read; None = the current one.
    package_version : str
    revision : str
        State of whatever else the UDF reads besides rows and parameters, such as a table that
        ships with it: another revision computes every tile again.
    lookups : tuple of Lookup
        Small tables whose columns join the source rows; a tile is computed again when what it
        finds there has changed.
    request : mapping or None
        What started it, JSON-safe, so that the ledger can start it again. It decides nothing.
    """

    source: str
    target: str
    method: str
    params: dict[str, Any]
    udf: str
    columns: tuple[str, ...]
    schema: pa.Schema
    where: str = ""
    tiles: tuple[tuple[int, int], ...] | None = None
    overwrite: bool = False
    resume: bool = False
    as_of: int | None = None
    package_version: str = field(default="")
    revision: str = ""
    lookups: tuple[Lookup, ...] = ()
    request: Mapping[str, Any] | None = field(default=None, compare=False)

    def params_json(self) -> str:
        """The parameters as canonical JSON."""
        return json.dumps(self.params, sort_keys=True, separators=(",", ":"))
