"""Which columns and rows of a table somebody wants: the same words on every engine."""

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from geoquarry.engine.duck import connect
from geoquarry.schemas.errors import UnknownName, UsageError


def columns_wanted(table: str, schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """The part of a table's schema that is asked for, facts included.

    Parameters
    ----------
    table : str
        Its name, for the message.
    schema : pa.Schema
    columns : sequence of str or None
        None = all.

    Raises
    ------
    UnknownName
        A column that the table lacks.

    Examples
    --------
    >>> columns_wanted("t", pa.schema([("a", pa.int64()), ("b", pa.string())]), ["b"]).names
    ['b']
    """
    names = list(schema.names if columns is None else columns)
    unknown = [name for name in names if name not in schema.names]
    if unknown:
        raise UnknownName(
            f"Table {table!r} has no column {', '.join(map(repr, unknown))}. "
            f"Columns: {', '.join(schema.names)}."
        )
    return pa.schema([schema.field(name) for name in names], schema.metadata)


def rows_wanted(
    index: pa.Table,
    table: str,
    *,
    select: str = "*",
    wanted: str = "",
    where: str = "",
    tiles: Iterable[tuple[int, int]] | None = None,
    order: str = "",
) -> pa.Table:
    """Rows of an index that satisfy a condition.

    Parameters
    ----------
    index : pa.Table
        Columns without BINARY.
    table : str
        Its name, for the message.
    select, order : str
        SQL of ours.
    wanted : str
        A condition as `engine.where.condition` has written it.
    where : str
        The condition as the user wrote it, for the message.
    tiles : iterable of (tile_x, tile_y), optional
        Only these.

    Raises
    ------
    UsageError
        The condition fails on the data, e.g. by a bad cast.
    """
    terms = [f"({wanted})"] if wanted else []
    with connect() as connection:
        connection.register("rows", index)
        if tiles is not None:
            keys = sorted(set(tiles))
            places = {"x": [x for x, _ in keys], "y": [y for _, y in keys]}
            schema = pa.schema([("x", pa.int32()), ("y", pa.int32())])
            connection.register("tiles", pa.table(places, schema=schema))
            terms.append("(tile_x, tile_y) IN (SELECT (x, y) FROM tiles)")
        query = f"SELECT {select} FROM rows"  # nosec B608  # ours, or written from a checked tree
        if terms:
            query += f" WHERE {' AND '.join(terms)}"
        if order:
            query += f" ORDER BY {order}"
        try:
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"Condition {where!r} on table {table!r}: {reason}") from error
