"""Values on their way into and out of a Python UDF of MaxCompute; part of `maxcompute_worker`.

Functions know numbers, texts, bytes, lists and named tuples: times come and go as text, in UTC.
"""

from collections import namedtuple
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from struct import Struct
from typing import Any

from geoquarry.schemas.errors import TableError, UsageError

FLOAT = Struct("<f")
INTEGERS = {"int": 32, "bigint": 64}
"""Types of whole numbers and their bits."""
Spec = Any
"""A type as data: ``"bigint"``, ``["array", spec]`` or ``["struct", [[name, spec], ...]]``."""


def plain(value: Any) -> Any:
    """A value that `marshal` can write and read back: structs become tuples.

    >>> plain(namedtuple("Row", "a b")(1, [b"2"]))
    (1, [b'2'])
    """
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


def taken(value: Any, spec: Spec) -> Any:
    """A value as the local engine hands it to a UDF.

    >>> taken("2003-01-01 18:00:00.5", "timestamp").isoformat()
    '2003-01-01T18:00:00.500000+00:00'
    >>> taken((1, "x"), ["struct", [["a", "bigint"], ["b", "string"]]])
    {'a': 1, 'b': 'x'}
    """
    if value is None:
        return None
    if spec == "timestamp":
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    if isinstance(spec, str):
        return value
    kind, inner = spec
    if kind == "array":
        return [taken(one, inner) for one in value]
    return {name: taken(one, of) for (name, of), one in zip(inner, value, strict=True)}


def fitted(value: Any, spec: Spec, name: str) -> Any:
    """A value as MaxCompute takes it for a column of this type.

    Raises
    ------
    TableError
        It is of another type, or too large for it.

    Examples
    --------
    >>> fitted([1, 2], ["array", "double"], "xa")
    [1.0, 2.0]
    """
    if value is None:
        return None
    if isinstance(spec, str):
        return _fitted_plain(value, spec, name)
    kind, inner = spec
    if kind == "array":
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise _wrong(name, "a list", value)
        return [fitted(one, inner, name) for one in value]
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping", value)
    unknown = sorted(set(value) - {field for field, _ in inner})
    if unknown:
        raise TableError(f"Column {name!r} has no field {', '.join(map(repr, unknown))}.")
    struct = namedtuple("Row", [field for field, _ in inner], rename=True)  # type: ignore[misc]
    return struct(*(fitted(value.get(field), of, name) for field, of in inner))


def _fitted_plain(value: Any, spec: str, name: str) -> Any:
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a NumPy number: the service would take its bytes, or nothing
    if spec in INTEGERS:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(name, "an integer", value)
        if not -(2 ** (INTEGERS[spec] - 1)) <= value < 2 ** (INTEGERS[spec] - 1):
            raise TableError(f"Column {name!r}: {value} does not fit into {INTEGERS[spec]} bits.")
        return value
    if spec in ("double", "float"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, "a number", value)
        # FLOAT holds what float32 holds; a reader shall see what was digested.
        return float(value) if spec == "double" else FLOAT.unpack(FLOAT.pack(value))[0]
    if spec == "binary":
        if not isinstance(value, bytes | bytearray | memoryview):
            raise _wrong(name, "bytes", value)
        return bytes(value)
    if spec == "boolean":
        if not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
        return value
    if spec == "timestamp":
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise _wrong(name, "a time with its zone", value)
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if spec == "string":
        if not isinstance(value, str):
            raise _wrong(name, "text", value)
        return str(value)
    raise UsageError(f"Column {name!r}: no values of type {spec!r} are known.")


def _wrong(name: str, wanted: str, value: Any) -> TableError:
    return TableError(f"Column {name!r}: {wanted} expected, {type(value).__name__} found.")
