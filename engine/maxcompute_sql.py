"""Plain SELECT, answered by MaxCompute itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from sqlglot import exp

from geoquarry.engine.maxcompute_connection import FULL_SCAN, Connection
from geoquarry.engine.maxcompute_ddl import quoted
from geoquarry.engine.maxcompute_download import as_declared
from geoquarry.engine.maxcompute_errors import SessionGone
from geoquarry.engine.maxcompute_functions import scalar_names
from geoquarry.engine.maxcompute_plan import image_of
from geoquarry.engine.sql import ScalarFunction, parse_select, short, table_names
from geoquarry.schemas.errors import TableError

DIALECT = "hive"
"""The grammar of sqlglot that MaxCompute's SELECT is nearest to; the service reads its own."""
BATCH_ROWS = 16
"""Rows that a scalar function gets at a time: a raster may have 8 MiB."""


def select(
    connection: Connection, text: str, functions: Mapping[str, ScalarFunction]
) -> pa.RecordBatchReader:
    """Run one SELECT as it is written; see `Engine.sql`.

    Only names are changed: tables get the prefix of the project, functions their hashed names.
    """
    tree = parse_select(text, DIALECT)
    called = {node.name.lower() for node in tree.find_all(exp.Anonymous)} & set(functions)
    names = scalar_names(connection, functions, sorted(called))
    hints: dict[str, Any] = dict(FULL_SCAN)
    if called:
        hints |= {
            "odps.sql.python.version": "cp311",
            "odps.session.image": image_of(("numpy",), None),
            "odps.isolation.session.enable": "true",
            "odps.sql.executionengine.batch.rowcount": str(BATCH_ROWS),
        }
    instance = connection.execute(renamed(text, tree, connection, names), hints)
    answer = connection.answer(instance)
    schema = pa.schema([field.with_type(_ours(field.type)) for field in answer.schema])

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in answer.batches():
                columns = [
                    as_declared(column, field.type).combine_chunks()
                    for field, column in zip(schema, batch.columns, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except SessionGone as gone:
            raise TableError(
                f"SQL {short(text)!r}: the answer is gone; ask again. ({gone})"
            ) from gone

    return pa.RecordBatchReader.from_batches(schema, batches())


def renamed(
    text: str, tree: exp.Expression, connection: Connection, functions: Mapping[str, str]
) -> str:
    """The text with the names that tables and functions have in the project.

    Raises
    ------
    UsageError
        A table function, or a table of another project.
    """
    ours = {name.lower() for name in table_names(tree)}
    changes = []
    for table in tree.find_all(exp.Table):
        if connection.prefix and table.name.lower() in ours:
            name = quoted(connection.physical(table.name))
            alias = "" if table.alias else f" {quoted(table.name)}"
            changes.append((table.this.meta, name + alias))
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() in functions:
            changes.append((call.meta, functions[call.name.lower()]))
    for place, name in sorted(changes, key=lambda change: change[0]["start"], reverse=True):
        text = text[: place["start"]] + name + text[place["end"] + 1 :]
    return text


def _ours(type_: pa.DataType) -> pa.DataType:
    """Timestamps are in us and UTC."""
    return pa.timestamp("us", tz="UTC") if pa.types.is_timestamp(type_) else type_
