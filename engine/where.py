"""Conditions from outside: read as a tree, checked against an allow-list, written back as SQL."""

import pyarrow as pa
from sqlglot import exp

from geoquarry.engine.sql_text import read_trees, written
from geoquarry.schemas.errors import UsageError

_TIME = (
    "TimestampTrunc DateTrunc TimestampFromParts Date Extract Year Month Day DayOfYear DayOfWeek"
)
_PARTS = """
    Column Identifier Literal Boolean Null Paren Var Interval
    And Or Not EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Between In Is Like ILike
    Add Sub Mul Div IntDiv Mod Neg
    Cast TryCast DataType DataTypeParam Case If Coalesce
    Abs Round Floor Ceil Least Greatest Upper Lower Length Trim Substring StartsWith Concat DPipe
    ArrayContains ArraySize Bracket Array Tuple
    JSONExtract JSONExtractScalar JSONPath JSONPathKey JSONPathRoot JSONPathSubscript
    """
ALLOWED = frozenset(getattr(exp, name) for name in (_PARTS + _TIME).split() if hasattr(exp, name))
"""Everything a condition may be made of. No subquery, no other function, no parameter."""
MAX_LENGTH = 20_000


def condition(where: str, schema: pa.Schema) -> str:
    """A condition on the non-BINARY columns of a table, checked and in normal form.

    Parameters
    ----------
    where : str
        SQL, e.g. ``acquired < '2008-04-01' AND cloud_fraction < 0.6``; empty = all rows.
    schema : pa.Schema
        Of the table.

    Returns
    -------
    where : str
        The same condition as DuckDB reads it, columns quoted; equal conditions that differ in
        spacing or case of keywords give the same text.

    Raises
    ------
    UsageError
        Not one condition, an unknown or BINARY column, or anything outside the allow-list.

    Examples
    --------
    >>> schema = pa.schema([("aod550", pa.float64()), ("b01", pa.binary())])
    >>> condition("AOD550<0.3", schema)
    '"aod550" < 0.3'
    >>> condition("aod550 < (SELECT 1)", schema)
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: Condition ...: Subquery is not allowed. Use columns, ...
    """
    if not where.strip():
        return ""
    if len(where) > MAX_LENGTH:
        raise UsageError(f"Condition of {len(where)} characters is over the limit of {MAX_LENGTH}.")
    shown = where if len(where) <= 200 else where[:200] + "..."
    what = f"the condition {shown!r}"
    # Only parsed, never run.
    trees = read_trees(where, "duckdb", what, before="SELECT 1 FROM t WHERE ")
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        raise UsageError(f"{shown!r} is not one condition; give what stands after WHERE.")
    select = trees[0]
    # Text such as "1=1 GROUP BY x" must not slip in beside the condition.
    beside = [
        name
        for name, value in select.args.items()
        if value and name not in ("expressions", "where", "from", "from_", "kind")
    ]
    if beside or select.args.get("where") is None:
        raise UsageError(f"{shown!r} is not one condition; give what stands after WHERE.")
    tree = select.args["where"].this
    known = {field.name.lower(): field for field in schema}
    for node in list(tree.walk()):
        if type(node) not in ALLOWED:
            raise UsageError(
                f"Condition {shown!r}: {_name_of(node)} is not allowed. "
                "Use columns, literals, comparisons, AND/OR/NOT, IN, BETWEEN, LIKE, IS NULL, "
                "arithmetic, casts and simple date, text and list functions."
            )
        if isinstance(node, exp.Column):
            _resolve(node, known, shown)
    return written(tree, "duckdb", what)


def _resolve(column: exp.Column, known: dict[str, pa.Field], shown: str) -> None:
    field = known.get(column.name.lower())
    if field is None or column.table:
        raise UsageError(
            f"Condition {shown!r}: no column {column.sql()!r}. Columns: "
            f"{', '.join(f.name for f in known.values() if not pa.types.is_binary(f.type))}. "
            "(Text stands in 'single quotes'.)"
        )
    if pa.types.is_binary(field.type):
        raise UsageError(
            f"Condition {shown!r}: {field.name!r} is a raster; a condition can use the other "
            "columns only."
        )
    column.set("this", exp.to_identifier(field.name, quoted=True))


def _name_of(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return f"function {node.name!r}"
    return type(node).__name__
