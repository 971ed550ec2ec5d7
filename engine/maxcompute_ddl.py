"""One schema in MaxCompute's words and back: types, quoting, CREATE TABLE.

A table remembers what it was made for in its comments, so nothing else must be kept beside it: the
facts stand in the table's comment, what a column is in the column's. A comment holds 1,024 bytes;
the facts of many bands do not fit into one, so each band's stand in the comment of its column.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from geoquarry.engine.datafile import ROW_BYTES, ROW_DIGEST
from geoquarry.engine.maxcompute_limits import check_comment, check_names
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.tables import FACTS, facts

ZONE = "zone"
OWN = (
    pa.field(ROW_DIGEST, pa.string(), metadata={"about": "digest of the row as stored"}),
    pa.field(ROW_BYTES, pa.int64(), metadata={"about": "bytes of the rasters as stored"}),
)
"""Columns that every table has besides those of its schema."""
ZONE_TILES = 16
"""Tiles per side of a zone. A table takes 60,000 partitions: zones of a whole world of 30 m tiles
are 6,700, its tiles are 1.7 million."""
TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int32(): "BIGINT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "STRING",
    pa.binary(): "BINARY",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}
"""Arrow type -> MaxCompute's. Integers are BIGINT throughout: functions know no INT argument."""
ARROW = {name: type_ for type_, name in TYPES.items()} | {
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "SMALLINT": pa.int16(),
    "TINYINT": pa.int8(),
    "DATETIME": pa.timestamp("us", tz="UTC"),
    "TIMESTAMP_NTZ": pa.timestamp("us", tz="UTC"),
}
NAMES = {pa.int32(): "INT", **{t: n for t, n in TYPES.items() if t != pa.int32()}}
"""The same with int32 told apart: what a column's comment says."""


def odps_type(type_: pa.DataType, where: str = "", names: dict[pa.DataType, str] = TYPES) -> str:
    """MaxCompute's word for an Arrow type.

    Raises
    ------
    TableError
        A type that the tables cannot hold.

    Examples
    --------
    >>> odps_type(pa.list_(pa.struct([("error", pa.string())])))
    'ARRAY<STRUCT<`error`:STRING>>'
    """
    if pa.types.is_list(type_):
        return f"ARRAY<{odps_type(type_.value_type, where, names)}>"
    if pa.types.is_struct(type_):
        inner = ",".join(f"{quoted(f.name)}:{odps_type(f.type, where, names)}" for f in type_)
        return f"STRUCT<{inner}>"
    if type_ not in names:
        raise TableError(
            f"Column {where!r}: tables cannot hold {type_}. "
            f"Use one of: {', '.join(map(str, names))}, or lists and structs of them."
        )
    return names[type_]


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type of a MaxCompute type.

    Raises
    ------
    UsageError
        A type that is not read here, e.g. MAP or DECIMAL.

    Examples
    --------
    >>> arrow_type("array<struct<`a`:string,b:array<double>>>")
    ListType(list<item: struct<a: string, b: list<item: double>>>)
    """
    words = re.findall(r"`[^`]*`|\w+|[<>:,()]", text)
    type_, rest = _type(words, text)
    if rest:
        raise _unreadable(text)
    return type_


def _type(words: list[str], text: str) -> tuple[pa.DataType, list[str]]:
    if not words:
        raise _unreadable(text)
    name, rest = words[0].upper(), words[1:]
    if name == "ARRAY" and rest[:1] == ["<"]:
        inner, rest = _type(rest[1:], text)
        if rest[:1] != [">"]:
            raise _unreadable(text)
        return pa.list_(inner), rest[1:]
    if name == "STRUCT" and rest[:1] == ["<"]:
        fields = []
        while rest[:1] in (["<"], [","]):
            if len(rest) < 3 or rest[2] != ":":
                raise _unreadable(text)
            field = rest[1].strip("`").lower()  # the client shows types in capitals
            inner, rest = _type(rest[3:], text)
            fields.append((field, inner))
        if rest[:1] != [">"]:
            raise _unreadable(text)
        return pa.struct(fields), rest[1:]
    if name in ("CHAR", "VARCHAR") and rest[:1] == ["("]:
        return pa.string(), rest[3:]
    if name not in ARROW:
        raise _unreadable(text)
    return ARROW[name], rest


def _unreadable(text: str) -> UsageError:
    return UsageError(f"Type {text!r} of MaxCompute is not read here; leave that column out.")


def quoted(name: str) -> str:
    """A name between backquotes.

    >>> quoted("count")
    '`count`'
    """
    return f"`{name.replace('`', '')}`"


def literal(text: str) -> str:
    r"""A text as a constant of SQL; the service reads backslashes as escapes.

    >>> print(literal("it's a \\ here"))
    'it\'s a \\ here'
    """
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f"'{text}'"


def listed(names: Iterable[str], alias: str = "") -> str:
    """Columns for a SELECT.

    >>> listed(["a", "b"], "o")
    'o.`a`, o.`b`'
    """
    before = f"{alias}." if alias else ""
    return ", ".join(before + quoted(name) for name in names)


def zone_of(tile_x: int, tile_y: int) -> str:
    """The partition that a tile lies in.

    >>> zone_of(300, 417)
    'x0018_y0026'
    """
    return f"x{tile_x // ZONE_TILES:04d}_y{tile_y // ZONE_TILES:04d}"


def has_zones(names: Sequence[str]) -> bool:
    """Whether a table of these columns is partitioned: it has tiles."""
    return "tile_x" in names and "tile_y" in names


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Columns of the table itself: the schema's, then `OWN`; the partition column is not there."""
    return pa.schema([*schema, *OWN])


def create_table(
    physical: str,
    schema: pa.Schema,
    *,
    zones: bool | None = None,
    lifecycle_days: int | None = None,
    exist_ok: bool = False,
    comment: str | None = None,
) -> str:
    """The statement that makes a table for a schema.

    Parameters
    ----------
    physical : str
        Its name in the project.
    schema : pa.Schema
        From schemas/tables.py.
    zones : bool, optional
        Partition it by zone; False makes the zone an ordinary column, for a staging table. Default:
        zones if there are tiles.
    lifecycle_days : int, optional
        The service deletes it when it was not changed for so long.
    exist_ok : bool
        Another one of that name is no error.
    comment : str, optional
        Of the table, instead of the facts.

    Raises
    ------
    TableError
        A type, a name or a description that MaxCompute cannot hold.
    """
    clash = {ROW_DIGEST, ROW_BYTES, ZONE} & {name.lower() for name in schema.names}
    if clash:
        raise TableError(f"Table {physical!r}: {', '.join(sorted(clash))} is a column of its own.")
    check_names(physical, [*schema.names, ROW_DIGEST, ROW_BYTES, ZONE])
    bands = {band["name"]: band for band in facts(schema).get("bands", [])}
    columns = []
    for field in stored_schema(schema):
        said = check_comment(_column_comment(field, bands), f"Column {field.name!r}")
        about = f" COMMENT {literal(said)}" if said else ""
        columns.append(f"  {quoted(field.name)} {odps_type(field.type, field.name)}{about}")
    end = ""
    if has_zones(schema.names):
        zone = f"{quoted(ZONE)} STRING COMMENT '{ZONE_TILES} x {ZONE_TILES} tiles'"
        if zones is False:
            columns.append(f"  {zone}")
        else:
            end += f"\nPARTITIONED BY ({zone})"
    if lifecycle_days is not None:
        end += f"\nLIFECYCLE {lifecycle_days}"
    told = check_comment(
        _table_comment(schema) if comment is None else comment, f"Table {physical!r}"
    )
    exists = "IF NOT EXISTS " if exist_ok else ""
    body = ",\n".join(columns)
    return f"CREATE TABLE {exists}{quoted(physical)} (\n{body}\n)\nCOMMENT {literal(told)}{end}"


def _column_comment(field: pa.Field, bands: dict[str, dict[str, Any]]) -> str:
    """What a column is: its text, or JSON when there is more to say."""
    about = (field.metadata or {}).get(b"about", b"").decode()
    said: dict[str, Any] = {"about": about}
    named = odps_type(field.type, field.name, NAMES)
    if named != odps_type(field.type, field.name):
        said["type"] = named
    if not field.nullable:
        said["key"] = True
    if field.name in bands:
        band = {k: v for k, v in bands[field.name].items() if k != "name"}
        if band.get("description") == about:
            del band["description"]
        said["band"] = band
    return about if set(said) == {"about"} and not about.startswith("{") else _json(said)


def _table_comment(schema: pa.Schema) -> str:
    told = facts(schema)
    if not told:
        return ""
    if "bands" in told:
        names = [band["name"] for band in told["bands"]]
        there = [name for name in schema.names if name in names]
        if names != there:
            raise TableError("Facts: the bands must be columns of the schema, in the same order.")
        told = {**told, "bands": True}
    return _json({"geoquarry": told})


@dataclass(frozen=True)
class Described:
    """What MaxCompute says about a column."""

    name: str
    type: str
    comment: str = ""


def schema_of(columns: Iterable[Described], comment: str) -> pa.Schema:
    """The schema that a table was made with; without our comments, the plain types.

    Parameters
    ----------
    columns : iterable of Described
        Without partition columns; `OWN` columns are left out.
    comment : str
        Of the table.

    Returns
    -------
    schema : pa.Schema
        For tables made by `create_table` exactly the one that was given there.
    """
    own = {field.name for field in OWN}
    told = (_read_json(comment) or {}).get("geoquarry")
    fields, bands = [], []
    for column in columns:
        if column.name in own:
            continue
        said = _read_json(column.comment) or {"about": column.comment}
        about = str(said.get("about", ""))
        fields.append(
            pa.field(
                column.name,
                arrow_type(str(said.get("type", column.type))),
                nullable=not said.get("key", False),
                metadata={"about": about} if about else None,
            )
        )
        if isinstance(said.get("band"), dict):
            band = {"name": column.name, "description": about, **said["band"]}
            bands.append(band)
    schema = pa.schema(fields)
    if not isinstance(told, dict):
        return schema
    if told.get("bands") is True:
        told = {**told, "bands": bands}
    return schema.with_metadata({FACTS: json.dumps(told)})


def _json(said: dict[str, Any]) -> str:
    # NaN (the nodata of floats) is no JSON, but Python writes and reads it the same.
    return json.dumps(said, separators=(",", ":"))


def _read_json(text: str | None) -> dict[str, Any] | None:
    if not text or not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
