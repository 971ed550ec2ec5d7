"""A Spark SQL function over a group of rows: the rows of one tile in, one struct out.

``f(struct(*), '<parameters as JSON>')``: a grouped-aggregate Arrow UDF in its iterator form, which
holds a batch of rows (64 MB), never the group. Parameters are a value in the call because Spark
drops arguments by name on their way to such a function, without a word.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from geoquarry.engine.rows import as_dict
from geoquarry.engine.spark_tables import spark_schema
from geoquarry.schemas.errors import GeoquarryError, UsageError

NEEDS = "4.2"
"""The first pyspark whose `arrow_udf` aggregates in the iterator form."""


def group_function(name: str, answer: Callable[["Group"], pa.Scalar], gives: pa.Schema) -> Any:
    """Make a function that Spark SQL can call on a group.

    Parameters
    ----------
    name : str
        As it is called in SQL.
    answer : callable (Group) -> pa.StructScalar
        Pickled; runs on the workers.
    gives : pa.Schema
        Fields of the struct.

    Returns
    -------
    function : pyspark UDF
        To call on columns, or to register.

    Raises
    ------
    GeoquarryError
        This pyspark is too old.
    """
    from pyspark.util import PythonEvalType

    if not hasattr(PythonEvalType, "SQL_GROUPED_AGG_ARROW_ITER_UDF"):
        import pyspark

        raise GeoquarryError(
            f"Tile methods in Spark SQL need pyspark >= {NEEDS}; this is {pyspark.__version__}. "
            "Upgrade it, or use the direct plan."
        )
    from pyspark.sql.functions import arrow_udf

    def fold(batches: Iterator[tuple[pa.Array, ...]]) -> pa.Scalar:
        return answer(Group(name, batches))

    fold.__name__ = name
    return arrow_udf(fold, spark_schema(gives))


class Group:
    """Rows of one group, read once, one at a time.

    Parameters
    ----------
    name : str
        Of the function that was called.
    batches : iterator of (StructArray, StringArray)
        Its arguments. Strings and BINARY may be of either offset width.

    Attributes
    ----------
    first : dict
        The first row.
    params : dict
        The parameters, equal in all rows.

    Raises
    ------
    UsageError
        The arguments are others, or parameters differ within the group.
    """

    def __init__(self, name: str, batches: Iterator[tuple[pa.Array, ...]]) -> None:
        self.name = name
        self._pairs = self._read(batches)
        self.first, self._literal = next(self._pairs)
        self.params = self._parsed(self._literal)
        self.columns = frozenset(self.first)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        row, self.first = self.first, {}  # held no longer than its turn
        yield row
        del row
        for other, literal in self._pairs:
            if literal != self._literal:
                raise UsageError(f"{self.name}: the parameters differ within a group.")
            yield other

    def _read(
        self, batches: Iterator[tuple[pa.Array, ...]]
    ) -> Iterator[tuple[dict[str, Any], str | None]]:
        for arguments in batches:
            # One argument comes bare; arguments by name do not come at all.
            if not isinstance(arguments, tuple) or len(arguments) != 2:
                raise self._misused()
            rows, literals = arguments
            if not pa.types.is_struct(rows.type) or not _is_text(literals.type):
                raise self._misused()
            names = [field.name for field in rows.type]
            if len(set(names)) != len(names):
                twice = ", ".join(sorted({n for n in names if names.count(n) > 1}))
                raise UsageError(f"{self.name}: columns come twice in the struct: {twice}.")
            for place in range(len(rows)):
                one = pa.RecordBatch.from_struct_array(rows.slice(place, 1))
                yield as_dict(one), literals[place].as_py()

    def _parsed(self, literal: str | None) -> dict[str, Any]:
        try:
            params = json.loads(literal or "")
        except ValueError as error:
            raise UsageError(f"{self.name}: {literal!r} is not JSON ({error}).") from error
        if not isinstance(params, dict):
            raise UsageError(f"{self.name}: {literal!r} is no JSON object such as '{{}}'.")
        return params

    def _misused(self) -> UsageError:
        return UsageError(
            f"Write {self.name}(struct(*), '<parameters as JSON>'), with '{{}}' for the defaults. "
            f"Spark does not hand arguments by name (name => value) to {self.name}."
        )


def struct_of(row: Mapping[str, Any], gives: pa.Schema) -> pa.Scalar:
    """One struct with these fields; those that the row lacks are null."""
    return pa.array([dict(row)], pa.struct(list(gives)))[0]


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))
