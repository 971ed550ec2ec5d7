"""Types of MaxCompute as small trees: parsed from text, turned into Arrow types, measured.

A tree is a dictionary: ``{"type": "bigint"}``, ``{"type": "array", "of": tree}``,
``{"type": "map", "key": tree, "value": tree}`` or ``{"type": "struct", "fields": [[name, tree]]}``.
It is made of plain lists and strings only, because the process that runs a UDF gets it as well.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from odps_errors import OdpsError

ARROW = {
    "bigint": pa.int64(),
    "int": pa.int32(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "double": pa.float64(),
    "float": pa.float32(),
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("ms"),
    "timestamp": pa.timestamp("ns"),
}
SECOND_EDITION = {"int", "smallint", "tinyint", "float", "binary", "date", "timestamp"}
"""Types that need ``odps.sql.type.system.odps2``."""

_TOKEN = re.compile(r"\s*(`[^`]*`|[A-Za-z_][A-Za-z_0-9]*|[<>,:*()]|\d+)")


def parse_type(text):
    """Tree of a type's text.

    >>> parse_type("array<struct<`a`:string,b: double>>")["of"]["fields"][1]
    ['b', {'type': 'double'}]
    """
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s+", "", text):
        raise OdpsError("ODPS-0130161", f"Parse exception - invalid type {text!r}")
    tree = _parse(tokens)
    if tokens:
        raise OdpsError("ODPS-0130161", f"Parse exception - invalid type {text!r}")
    return tree


def parse_types(text):
    """Trees of a list of types, as in a function's signature; ``*`` stays ``{"type": "*"}``."""
    tokens = _TOKEN.findall(text)
    trees = []
    while tokens:
        trees.append(_parse(tokens))
        if tokens and tokens.pop(0) != ",":
            raise OdpsError("ODPS-0130161", f"Parse exception - invalid types {text!r}")
    return trees


def _parse(tokens):
    name = tokens.pop(0).lower() if tokens else ""
    if name == "array":
        return {"type": "array", "of": _inside(tokens, 1)[0]}
    if name == "map":
        key, value = _inside(tokens, 2)
        return {"type": "map", "key": key, "value": value}
    if name == "struct":
        _expect(tokens, "<")
        fields = []
        while True:
            field = tokens.pop(0).strip("`").lower()
            _expect(tokens, ":")
            fields.append([field, _parse(tokens)])
            if _comma_or_end(tokens):
                return {"type": "struct", "fields": fields}
    if name != "*" and name not in ARROW:
        raise OdpsError("ODPS-0130161", f"Parse exception - unknown type {name!r}")
    return {"type": name}


def _inside(tokens, count):
    _expect(tokens, "<")
    trees = []
    for place in range(count):
        trees.append(_parse(tokens))
        _expect(tokens, "," if place < count - 1 else ">")
    return trees


def _expect(tokens, sign):
    found = tokens.pop(0) if tokens else "the end"
    if found != sign:
        raise OdpsError("ODPS-0130161", f"Parse exception - expected {sign!r}, found {found!r}")


def _comma_or_end(tokens):
    sign = tokens.pop(0) if tokens else ""
    if sign not in (",", ">"):
        raise OdpsError("ODPS-0130161", "Parse exception - a struct type is not closed")
    return sign == ">"


def render(tree):
    """Text of a tree, as the service writes it."""
    kind = tree["type"]
    if kind == "array":
        return f"array<{render(tree['of'])}>"
    if kind == "map":
        return f"map<{render(tree['key'])},{render(tree['value'])}>"
    if kind == "struct":
        return "struct<" + ",".join(f"`{n}`:{render(t)}" for n, t in tree["fields"]) + ">"
    return kind


def names_in(tree):
    """Names of all types in a tree."""
    below = [tree[key] for key in ("of", "key", "value") if key in tree]
    below += [field for _, field in tree.get("fields", [])]
    return {tree["type"]}.union(*(names_in(each) for each in below))


def to_arrow(tree):
    """Arrow type in which the tunnel carries a tree."""
    kind = tree["type"]
    if kind == "array":
        return pa.list_(to_arrow(tree["of"]))
    if kind == "map":
        return pa.map_(to_arrow(tree["key"]), to_arrow(tree["value"]))
    if kind == "struct":
        return pa.struct([(name, to_arrow(field)) for name, field in tree["fields"]])
    return ARROW[kind]


def from_arrow(kind):
    """Tree of an Arrow type that a query answered with; a wide number becomes what it is there."""
    types = pa.types
    if types.is_struct(kind):
        return {
            "type": "struct",
            "fields": [[f.name.lower(), from_arrow(f.type)] for f in kind],
        }
    if types.is_map(kind):
        return {
            "type": "map",
            "key": from_arrow(kind.key_type),
            "value": from_arrow(kind.item_type),
        }
    if types.is_list(kind) or types.is_large_list(kind):
        return {"type": "array", "of": from_arrow(kind.value_type)}
    if types.is_timestamp(kind):
        return {"type": "timestamp"}
    if types.is_decimal(kind):  # DuckDB's sum of BIGINT, and its number with a point
        return {"type": "bigint" if kind.scale == 0 else "double"}
    if types.is_null(kind):
        return {"type": "string"}
    for name, known in ARROW.items():
        if kind == known:
            return {"type": name}
    wide = {pa.large_string(): "string", pa.large_binary(): "binary", pa.uint64(): "bigint"}
    if kind in wide:
        return {"type": wide[kind]}
    raise OdpsError("ODPS-0130071", f"Semantic analysis exception - no type for {kind}")


def schema_of(columns):
    """Arrow schema of columns ``[(name, tree, ...)]``."""
    return pa.schema([(column.name, to_arrow(column.tree)) for column in columns])


def value_sizes(array):
    """Bytes of every value of an Arrow array, whatever is nested in it."""
    if isinstance(array, pa.ChunkedArray):
        parts = [value_sizes(chunk) for chunk in array.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
    kind = array.type
    if pa.types.is_struct(kind):
        parts = [value_sizes(array.field(place)) for place in range(kind.num_fields)]
        return np.sum([np.zeros(len(array), np.int64), *parts], axis=0)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        inner = [array.values] if pa.types.is_list(kind) else [array.keys, array.items]
        running = np.concatenate([[0], np.cumsum(np.sum([value_sizes(x) for x in inner], axis=0))])
        offsets = array.offsets.to_numpy()
        return running[offsets[1:]] - running[offsets[:-1]]
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        lengths = pc.fill_null(pc.binary_length(array), 0)
        return lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return np.full(len(array), 8, np.int64)
