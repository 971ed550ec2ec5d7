"""Plain SELECT on the tables of a warehouse, answered by DuckDB."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from duckdb.func import FunctionNullHandling, PythonUDFType
from sqlglot import exp

from geoquarry.engine.duck import connect, lock_settings
from geoquarry.engine.files import in_filesystem
from geoquarry.engine.index import load_index
from geoquarry.engine.sql_ledger import is_ledger, ledger_names, refuse_unknown, register_ledger
from geoquarry.engine.sql_text import first_word, read_trees, reason
from geoquarry.engine.table import Table
from geoquarry.engine.warehouse import Warehouse
from geoquarry.schemas.errors import UsageError

BATCH_ROWS = 1024
SQL_TYPE: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
}
"""Arrow type -> what DuckDB calls it."""
COMMANDS = {
    "SHOW": "`geoquarry tables` lists the tables",
    "DESCRIBE": "`geoquarry describe TABLE` shows the columns of one",
    "DESC": "`geoquarry describe TABLE` shows the columns of one",
    "DROP": "`geoquarry drop TABLE` deletes one",
}
"""First words of other people's SQL, and the command that answers."""


@dataclass(frozen=True)
class ScalarFunction:
    """A function for SQL: values of one row in, one value out; NULL in, NULL out.

    Attributes
    ----------
    call : callable
        BINARY arguments come as memoryview.
    takes : tuple of pa.DataType
    gives : pa.DataType
        May be a struct; ``call`` then answers a dict.
    """

    call: Callable[..., Any]
    takes: tuple[pa.DataType, ...]
    gives: pa.DataType


def sql_type(type_: pa.DataType) -> str:
    """DuckDB's word for an Arrow type.

    >>> sql_type(pa.struct([("count", pa.int64()), ("mean", pa.float64())]))
    'STRUCT("count" BIGINT, "mean" DOUBLE)'
    """
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f'"{f.name}" {sql_type(f.type)}' for f in type_) + ")"
    if pa.types.is_list(type_):
        return f"{sql_type(type_.value_type)}[]"
    return SQL_TYPE[type_]


def select(
    warehouse: Warehouse, text: str, functions: Mapping[str, ScalarFunction]
) -> pa.RecordBatchReader:
    """Run one SELECT; see `Engine.sql`."""
    tree = parse_select(text)
    names = table_names(tree)
    tables = {name: warehouse.table(name) for name in names}
    columns = {found.name.lower() for found in tree.find_all(exp.Identifier)}
    connection = connect(lock=False)
    try:
        for name, function in functions.items():
            connection.create_function(
                name,
                by_row(function),
                [duckdb.sqltype(sql_type(type_)) for type_ in function.takes],
                duckdb.sqltype(sql_type(function.gives)),
                type=PythonUDFType.ARROW,
                null_handling=FunctionNullHandling.SPECIAL,
            )
        lock_settings(connection)
        for name, table in tables.items():
            rasters = {blob.lower() for blob in table.layout.blobs}
            whole = bool(rasters & columns) or reads_whole_rows(tree)
            connection.register(name, _dataset(table) if whole else _metadata(table, columns))
        for name in ledger_names(tree):
            register_ledger(connection, warehouse.ledger, name)
        reader = connection.sql(text).to_arrow_reader(BATCH_ROWS)
    except duckdb.Error as error:
        connection.close()
        raise UsageError(f"SQL {short(text)!r}: {reason(error)}") from error
    except BaseException:
        connection.close()
        raise
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, connection, text))


def parse_select(text: str, dialect: str = "duckdb") -> exp.Expression:
    """The tree of one SELECT statement.

    Parameters
    ----------
    text : str
    dialect : str
        Of sqlglot: whose words they are.

    Raises
    ------
    UsageError
        Unreadable, several statements, or anything but a SELECT.

    Examples
    --------
    >>> parse_select("DROP TABLE x")
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: 'DROP TABLE x' is not one SELECT statement...
    """
    trees = read_trees(text, dialect, f"the SQL {short(text)!r}")
    if len(trees) != 1 or not isinstance(trees[0], exp.Select | exp.SetOperation):
        command = COMMANDS.get(first_word(text, dialect), "")
        raise UsageError(
            f"{short(text)!r} is not one SELECT statement. "
            + (f"{command}. " if command else "")
            + "INSERT ... SELECT with a tile method "
            "starts a job; tables are made and dropped by commands."
        )
    return trees[0]


def table_names(tree: exp.Expression) -> list[str]:
    """Tables a statement reads, without the ledger's and the names that it defines itself.

    Raises
    ------
    UsageError
        A table function or a name with dots.
    """
    own = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    names = set()
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise UsageError(
                f"{short(table.sql(dialect='duckdb'))!r}: SQL reads the warehouse's tables only."
            )
        if is_ledger(table):
            continue
        refuse_unknown(table)
        if table.args.get("db"):
            raise UsageError(f"{table.sql(dialect='duckdb')!r}: write the table name without dots.")
        if table.name.lower() not in own:
            names.add(table.name)
    return sorted(names)


def reads_whole_rows(tree: exp.Expression) -> bool:
    """Whether columns are used that the statement does not name.

    >>> reads_whole_rows(parse_select("SELECT count(*) FROM aster"))
    False
    >>> reads_whole_rows(parse_select("SELECT * FROM aster"))
    True
    """
    if any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)):
        return True
    if tree.find(exp.Columns) or any(join.method == "NATURAL" for join in tree.find_all(exp.Join)):
        return True
    tables = {table.alias_or_name.lower() for table in tree.find_all(exp.Table)}
    return any(column.name.lower() in tables for column in tree.find_all(exp.Column))


def _metadata(table: Table, columns: set[str]) -> pa.Table:
    """The non-BINARY columns that a statement names, in the table's order."""
    plain = [name for name in table.schema.names if name not in table.layout.blobs]
    wanted = [name for name in plain if name.lower() in columns] or list(table.layout.key)
    return load_index(table, wanted).select(wanted)


def _dataset(table: Table) -> ds.Dataset:
    """All columns, read lazily and only as far as the statement needs them."""
    io = table.layout.io
    filesystem, _ = in_filesystem(io, table.location)
    return ds.dataset(
        [in_filesystem(io, file.file_path)[1] for file in table.files()],
        schema=table.schema,
        format="parquet",
        filesystem=filesystem,
    )


def by_row(function: ScalarFunction) -> Callable[..., pa.Array]:
    """A function of single values as one of Arrow columns; null where any of them is."""

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        answers = []
        for values in zip(*columns, strict=True):
            if all(value.is_valid for value in values):
                answers.append(function.call(*map(_plain, values)))
            else:
                answers.append(None)
        return pa.array(answers, type=function.gives)

    # DuckDB counts the parameters.
    kind = inspect.Parameter.POSITIONAL_ONLY
    names = [f"a{place}" for place in range(len(function.takes))]
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    vars(call)["__signature__"] = signature
    return call


def _plain(value: pa.Scalar) -> Any:
    return memoryview(value.as_buffer()) if pa.types.is_binary(value.type) else value.as_py()


def _batches(
    reader: pa.RecordBatchReader, connection: duckdb.DuckDBPyConnection, text: str
) -> Iterator[pa.RecordBatch]:
    """Hand batches on; the connection lives as long as somebody reads."""
    try:
        yield from reader
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise UsageError(f"SQL {short(text)!r}: {reason(error)}") from error
    finally:
        reader.close()
        connection.close()


def short(text: str) -> str:
    """A statement as errors quote it."""
    return text if len(text) <= 200 else text[:200] + "..."
