"""Read the SQL statement that triggers a job.

The statement is the same on every engine::

    INSERT OVERWRITE TABLE indices
    SELECT tile_x, tile_y, mineral_indices(*, mosaic => 'median')
    FROM aster WHERE acquired < '2008-04-01' AND cloud_fraction < 0.6
    GROUP BY tile_x, tile_y
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from geoquarry.engine.sql_text import first_word, read_trees, written
from geoquarry.schemas.errors import UsageError

DIALECT = "spark"
SHAPE = (
    "INSERT OVERWRITE|INTO TABLE target SELECT tile_x, tile_y, method(*, name => value, ...) "
    "FROM source [WHERE ...] GROUP BY tile_x, tile_y"
)

UNDERSTOOD: dict[type[exp.Expression], tuple[str, ...]] = {
    exp.Insert: ("this", "expression", "overwrite"),
    exp.Select: ("expressions", "from_", "where", "group"),
    exp.Group: ("expressions",),
}
"""Parts of a statement that mean something here; of tables the name and an alias."""


@dataclass(frozen=True)
class Trigger:
    """What a statement asks for.

    Attributes
    ----------
    method, source, target : str
    where : str
        Condition as SQL text, empty when there is none.
    params : dict
        Named arguments of the method.
    overwrite : bool
        ``INSERT OVERWRITE``: the target's whole content is replaced; ``INSERT INTO`` replaces
        by tile.
    """

    method: str
    source: str
    target: str
    where: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False


def read_statement(text: str, methods: Collection[str]) -> Trigger | None:
    """The job an INSERT triggers, or None: whatever else a text may be, the engine answers.

    Parameters
    ----------
    text : str
        One SQL statement.
    methods : collection of str
        Names (and aliases) of the tile methods.

    Raises
    ------
    UsageError
        An INSERT that is not of the shape above.

    Examples
    --------
    >>> found = read_statement(
    ...     "INSERT INTO m SELECT tile_x, tile_y, mosaic(*, mosaic => 'min') FROM a "
    ...     "GROUP BY tile_x, tile_y", {"mosaic"})
    >>> found.method, found.params, found.overwrite
    ('mosaic', {'mosaic': 'min'}, False)
    >>> read_statement("SELECT count(*) FROM a", {"mosaic"}) is None
    True
    """
    if first_word(text, DIALECT) != "INSERT":
        return None
    statements = read_trees(text, DIALECT, f"the statement (form: {SHAPE})")
    if len(statements) != 1:
        raise UsageError(f"One SQL statement at a time, please; {len(statements)} found.")
    insert = statements[0]
    if not isinstance(insert, exp.Insert):
        raise UsageError(f"A job statement has the form {SHAPE}.")
    select = insert.expression
    if not isinstance(select, exp.Select):
        raise UsageError(f"A job statement has the form {SHAPE}.")
    _refuse_extras(insert, select)
    calls = [
        node.unalias()
        for node in select.expressions
        if isinstance(node.unalias(), exp.Anonymous | exp.Func)
    ]
    keys = [node.name.lower() for node in select.expressions if isinstance(node, exp.Column)]
    if len(calls) != 1 or len(calls) + len(keys) != len(select.expressions):
        raise UsageError(
            f"The SELECT list holds tile_x, tile_y and one tile method. Form: {SHAPE}."
        )
    method, arguments = _call(calls[0])
    if method not in methods:
        raise UsageError(f"No tile method {method!r}. Choose one of: {', '.join(sorted(methods))}.")
    group = select.args.get("group")
    grouped = [node.name.lower() for node in group.expressions] if group else []
    if sorted(keys) != ["tile_x", "tile_y"] or sorted(grouped) != ["tile_x", "tile_y"]:
        raise UsageError(f"Select and GROUP BY exactly tile_x, tile_y. Form: {SHAPE}.")
    where = select.args.get("where")
    return Trigger(
        method=method,
        source=_table(select.args["from_"].this),
        target=_table(insert.this),
        where=written(where.this, "duckdb", "the condition") if where else "",
        params=_params(arguments, method),
        overwrite=bool(insert.args.get("overwrite")),
    )


def _refuse_extras(insert: exp.Insert, select: exp.Select) -> None:
    """Whatever we would otherwise silently ignore is refused by name."""
    if select.args.get("from_") is None:
        raise UsageError(f"The SELECT names no source table. Form: {SHAPE}.")
    for node in insert.find_all(exp.Insert, exp.Select, exp.Table, exp.Group, exp.Star):
        for clause, value in node.args.items():
            if value and clause not in UNDERSTOOD.get(type(node), ("this", "alias")):
                raise UsageError(
                    f"A job statement takes no {clause.strip('_').upper()}. Form: {SHAPE}."
                )
    if isinstance(insert.this, exp.Schema):
        raise UsageError(f"INSERT takes no column list here. Form: {SHAPE}.")


def _call(node: exp.Expression) -> tuple[str, list[exp.Expression]]:
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower(), list(node.expressions)
    raise UsageError(f"{node.sql()} is not a tile method. Form: {SHAPE}.")


def _table(node: exp.Expression) -> str:
    if not isinstance(node, exp.Table) or node.args.get("db") or not node.name:
        raise UsageError(f"{node.sql()} is not the plain name of a table.")
    return node.name


def _params(arguments: list[exp.Expression], method: str) -> dict[str, Any]:
    if not arguments or not isinstance(arguments[0], exp.Star):
        raise UsageError(f"{method} takes all columns: write {method}(*, name => value, ...).")
    params: dict[str, Any] = {}
    for argument in arguments[1:]:
        if not isinstance(argument, exp.Kwarg):
            raise UsageError(f"Write {argument.sql()!r} as name => value in {method}(*, ...).")
        name = argument.this.name.lower()
        if name in params:
            raise UsageError(f"{method}: {name!r} is given twice.")
        params[name] = _literal(argument.expression, f"{method}: {name}")
    return params


def _number(text: str, where: str) -> float:
    try:
        value = float(text) if any(c in text for c in ".eE") else int(text)
        if math.isfinite(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{where}: {text[:40]!r} is no number that can be computed with.")


def _literal(node: exp.Expression, where: str) -> Any:
    if isinstance(node, exp.Literal):
        if node.is_string:
            return node.this
        return _number(node.this, where)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return -_literal(node.this, where)
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Null):  # not given
        return None
    if isinstance(node, exp.Array):
        return [_literal(item, where) for item in node.expressions]
    raise UsageError(f"{where}: {node.sql()} is not a constant.")
