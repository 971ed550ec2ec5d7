"""Values between Arrow, the process of a function, and DuckDB."""

import pyarrow as pa
from odps_types import to_arrow


def rows_on_wire(columns):
    """Rows as tuples, structs as tuples."""
    values = [[wire(value) for value in column.to_pylist()] for column in columns]
    return list(zip(*values, strict=True)) if values else []


def wire(value):
    """A value as marshal can carry it."""
    if isinstance(value, dict):
        return tuple(wire(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return [wire(each) for each in value]
    return value


def arrow_of(values, tree):
    """Answers as an Arrow array."""
    return pa.array([_named(value, tree) for value in values], to_arrow(tree))


def _named(value, tree):
    if value is None:
        return None
    if tree["type"] == "struct":
        return {n: _named(v, t) for (n, t), v in zip(tree["fields"], value, strict=True)}
    if tree["type"] == "array":
        return [_named(each, tree["of"]) for each in value]
    return value


def duck_type(tree):
    """A type in DuckDB's words."""
    kind = tree["type"]
    if kind == "array":
        return duck_type(tree["of"]) + "[]"
    if kind == "struct":
        return "STRUCT(" + ", ".join(f'"{n}" {duck_type(t)}' for n, t in tree["fields"]) + ")"
    return {"string": "VARCHAR", "binary": "BLOB"}.get(kind, kind.upper())
