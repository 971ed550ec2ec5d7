"""Tile methods and scalar tile functions for plain Spark SQL, in anybody's session."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from geoquarry.engine.spark_session import Session
from geoquarry.engine.spark_tables import spark_schema
from geoquarry.engine.spark_udf import Group, group_function, struct_of
from geoquarry.engine.sql import ScalarFunction, by_row
from geoquarry.engine.tile import LONGEST_MESSAGE, TileJob, find_udf
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.sensor import sensors
from geoquarry.schemas.tables import results_schema

METHODS = "geoquarry.udfs.methods"
"""Where the tile methods are: named, not imported, since an engine carries any UDF."""
KEY = ("grid", "sensor", "tile_x", "tile_y")
OF_A_ROW = ("grid", "tile_x", "tile_y", "method", "input_digest")
"""Columns of a results table that a job adds to what a method answers."""


def register_methods(session: Session) -> None:
    """Let Spark SQL call each tile method by its name, ``mosaic(struct(*), '{}')`` and so on."""
    named = {name: name for name in _of("METHODS")} | _of("ALIASES")
    for name, method in named.items():
        gives = method_fields(method)
        session.udf.register(name, group_function(name, MethodCall(method, gives), gives))


def register_scalars(session: Session, functions: Mapping[str, ScalarFunction]) -> None:
    """Let Spark SQL call scalar functions on one row's values."""
    for name, function in functions.items():
        session.udf.register(name, _scalar(name, function))


def method_fields(method: str) -> pa.Schema:
    """Fields of the struct that a method answers: those of every sensor and every parameter.

    >>> method_fields("mosaic").names[:7]
    ['status', 'message', 'granules', 'issues', 'provenance', 'flags', 'count']
    >>> method_fields("mosaic").names[-2:]
    ['b09', 'source']
    """
    found: dict[str, pa.Field] = {}
    for sensor in sensors():
        _, params = _of("normalise")(method, {}, sensor)
        bands = _of("output_bands")(method, params | {"source": True}, sensor)
        for column in results_schema(sensor, "any", method, bands):
            if column.name not in OF_A_ROW:
                found.setdefault(column.name, column)
    return pa.schema(list(found.values()))


class MethodCall:
    """One call of a tile method in a query: the rows of a tile in, its rasters out.

    A call knows its own tile only, so granules are compared in each tile alone (``scope`` tile)
    unless the columns that a job's first phase gives stand beside the rows.

    Parameters
    ----------
    method : str
    gives : pa.Schema
        See `method_fields`.
    """

    def __init__(self, method: str, gives: pa.Schema) -> None:
        self.method = method
        self.gives = gives

    def __call__(self, group: Group) -> pa.Scalar:
        """The answer as a struct; a tile that fails has the status ``failed`` and a message.

        Raises
        ------
        UsageError
            The call is wrong: it would be so for every tile.
        """
        key: dict[str, Any] = {name: group.first.get(name) for name in KEY}
        lacks = [name for name, value in key.items() if value is None]
        if lacks:
            raise UsageError(f"{group.name}: the struct has no {', '.join(lacks)}; use struct(*).")
        params = {"scope": "tile"} | group.params
        method, params = _of("normalise")(self.method, params, key["sensor"])
        wanted = set(_of("columns")(method, params, key["sensor"]))
        lacks = sorted(wanted - group.columns - set(_of("OPTIONAL_COLUMNS")))
        if lacks:
            raise UsageError(
                f"{group.name}: the struct has no {', '.join(lacks)}. Use struct(*), or name all "
                "columns that the method reads."
            )
        if params["scope"] == "job":
            raise UsageError(
                f"{group.name}: one call sees one tile, so scope is 'tile' here. A statement "
                "INSERT INTO ... through geoquarry.engine.spark.sql compares over all tiles."
            )
        spill_dir = tempfile.mkdtemp(prefix="geoquarry-")
        job = TileJob(
            method, params, key["sensor"], key["grid"], key["tile_x"], key["tile_y"], spill_dir
        )
        try:
            answer = dict(_of("compute")(_one_tile(group, key), job))
            answer["provenance"] = json.dumps(answer.get("provenance") or {}, sort_keys=True)
            return struct_of(answer, self.gives)
        except UsageError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
            return struct_of({"status": "failed", "message": said}, self.gives)
        finally:
            shutil.rmtree(spill_dir, ignore_errors=True)


def _one_tile(group: Group, key: Mapping[str, Any]) -> Any:
    for row in group:
        if any(row[name] != value for name, value in key.items()):
            raise UsageError(
                f"{group.name}: rows of several tiles, sensors or grids come together. Write "
                "GROUP BY tile_x, tile_y."
            )
        yield row


def _scalar(name: str, function: ScalarFunction) -> Any:
    from pyspark.sql.functions import arrow_udf

    def call(*columns: pa.Array) -> pa.Array:
        if len(columns) != len(function.takes):
            raise UsageError(f"{name} takes {len(function.takes)} values, found {len(columns)}.")
        return by_row(function)(*columns)

    call.__name__ = name
    gives = spark_schema(pa.schema([("answer", function.gives)])).fields[0].dataType
    return arrow_udf(call, gives)


def _of(name: str) -> Any:
    return find_udf(f"{METHODS}:{name}")
