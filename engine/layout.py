"""Where a table's files lie and what columns they have: all that a worker needs to know."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from pyiceberg import types as ice
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable

from geoquarry.engine.files import SharedFileIO, storage_only
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.tables import FACTS, facts

FACTS_PROPERTY = "geoquarry.facts"
FIELD_ID = b"PARQUET:field_id"
PLAIN: dict[pa.DataType, ice.PrimitiveType] = {
    pa.bool_(): ice.BooleanType(),
    pa.int32(): ice.IntegerType(),
    pa.int64(): ice.LongType(),
    pa.float32(): ice.FloatType(),
    pa.float64(): ice.DoubleType(),
    pa.string(): ice.StringType(),
    pa.binary(): ice.BinaryType(),
    pa.date32(): ice.DateType(),
    pa.timestamp("us", tz="UTC"): ice.TimestamptzType(),
}
"""Arrow type <-> Iceberg type; besides these only lists and structs of them."""
ARROW = {str(iceberg): arrow for arrow, iceberg in PLAIN.items()}


def iceberg_schema(schema: pa.Schema) -> Schema:
    """The Iceberg twin of an Arrow schema; `about` becomes the column's doc.

    Raises
    ------
    TableError
        A column type that the tables cannot hold, e.g. uint8 or timestamp[ns].
    """
    ids = iter(range(1, 1_000_000))

    def type_of(type_: pa.DataType, where: str) -> ice.IcebergType:
        if type_ in PLAIN:
            return PLAIN[type_]
        if pa.types.is_list(type_):
            number = next(ids)
            return ice.ListType(number, type_of(type_.value_type, where), element_required=False)
        if pa.types.is_struct(type_):
            return ice.StructType(*(field_of(child, where) for child in type_))
        raise TableError(
            f"Column {where!r}: tables cannot hold {type_}. "
            f"Use one of: {', '.join(map(str, PLAIN))}, or lists and structs of them."
        )

    def field_of(field: pa.Field, where: str) -> ice.NestedField:
        about = (field.metadata or {}).get(b"about")
        return ice.NestedField(
            next(ids),
            field.name,
            type_of(field.type, where or field.name),
            required=not field.nullable,
            doc=about.decode() if about else None,
        )

    return Schema(*(field_of(field, "") for field in schema))


def arrow_schema(schema: Schema, *, field_ids: bool = False) -> pa.Schema:
    """The Arrow twin of an Iceberg schema.

    Parameters
    ----------
    schema : Schema
    field_ids : bool
        Carry Parquet field ids (to write files) instead of `about` texts (to show people).
    """

    def mark(number: int, doc: str | None = None) -> dict[bytes, bytes] | None:
        if field_ids:
            return {FIELD_ID: str(number).encode()}
        return {b"about": doc.encode()} if doc else None

    def type_of(type_: ice.IcebergType) -> pa.DataType:
        if isinstance(type_, ice.ListType):
            element = type_of(type_.element_type)
            if field_ids:
                return pa.list_(pa.field("element", element, metadata=mark(type_.element_id)))
            return pa.list_(element)
        if isinstance(type_, ice.StructType):
            return pa.struct([field_of(child) for child in type_.fields])
        return ARROW[str(type_)]

    def field_of(field: ice.NestedField) -> pa.Field:
        return pa.field(
            field.name,
            type_of(field.field_type),
            nullable=not field.required,
            metadata=mark(field.field_id, field.doc),
        )

    return pa.schema([field_of(field) for field in schema.fields])


def table_properties(schema: pa.Schema) -> dict[str, str]:
    """Iceberg properties of a new table; each is explained in docs/decisions/0001."""
    properties = {
        "format-version": "2",
        "write.delete.isolation-level": "serializable",
        "write.update.isolation-level": "serializable",
        "write.merge.isolation-level": "serializable",
        "commit.retry.num-retries": "20",
        "commit.retry.min-wait-ms": "20",
        "commit.retry.max-wait-ms": "2000",
        "commit.manifest-merge.enabled": "true",
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "50",
        "write.metadata.metrics.default": "none",
    }
    for field in schema:
        if not field.nullable:
            # Truncated bounds would make different granules of one day look alike.
            properties[f"write.metadata.metrics.column.{field.name}"] = "full"
    told = (schema.metadata or {}).get(FACTS)
    if told:
        properties[FACTS_PROPERTY] = told.decode()
    return properties


@dataclass(frozen=True)
class Layout:
    """What a worker needs to read and write a table's files: no catalog, can be pickled.

    Attributes
    ----------
    name, location : str
        Table name and its folder.
    schema : pa.Schema
        With facts and `about`.
    file_schema : pa.Schema
        Same columns with Parquet field ids.
    io_properties : dict of str -> str
        Storage options, which may hold keys: travels to workers, is never printed.
    """

    name: str
    location: str
    schema: pa.Schema
    file_schema: pa.Schema
    io_properties: dict[str, str] = dataclasses.field(repr=False)

    @property
    def io(self) -> FileIO:
        """The table's FileIO: every open goes through it."""
        return SharedFileIO(self.io_properties)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Key columns: those that are never null."""
        return tuple(field.name for field in self.schema if not field.nullable)

    @cached_property
    def unit(self) -> tuple[str, ...]:
        """Columns that say which rows share a data file: a granule's, or one tile's.

        A small table says so itself: with the fact ``unit`` = ["grid"] all its rows share one.
        """
        own = facts(self.schema).get("unit")
        if own:
            return tuple(own)
        if "granule_id" in self.key:
            return tuple(name for name in self.key if name not in ("tile_x", "tile_y"))
        return self.key

    @cached_property
    def blobs(self) -> tuple[str, ...]:
        """BINARY columns."""
        return tuple(field.name for field in self.schema if pa.types.is_binary(field.type))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Columns that rows are read in the order of: tile_y, tile_x, then the rest of the key."""
        first = tuple(name for name in ("tile_y", "tile_x") if name in self.key)
        return first + tuple(name for name in self.key if name not in (*first, "grid"))

    def data_path(self, commit_id: str, name: str) -> str:
        """Where a data file lies."""
        return f"{self.location}/data/{commit_id}/{name}.parquet"

    def index_path(self, data_path: str) -> str:
        """Where the index of a data file lies: the same path below ``index/``."""
        base = f"{self.location}/data/"
        if not data_path.startswith(base):
            raise TableError(
                f"Table {self.name!r}: data file {data_path!r} lies outside {base}; "
                "it was not written by geoquarry."
            )
        return f"{self.location}/index/{data_path.removeprefix(base)}"


def layout_of(name: str, iceberg: IcebergTable) -> Layout:
    """The part of a table that workers need."""
    schema = arrow_schema(iceberg.schema())
    told = iceberg.metadata.properties.get(FACTS_PROPERTY)
    return Layout(
        name=name,
        location=str(iceberg.metadata.location),
        schema=schema.with_metadata({FACTS: told.encode()}) if told else schema,
        file_schema=arrow_schema(iceberg.schema(), field_ids=True),
        io_properties=storage_only(iceberg.io.properties),
    )
