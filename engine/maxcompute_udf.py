"""Text of the Python UDFs that MaxCompute loads: thin wrappers around `engine.maxcompute_worker`.

The service reads such a module without any package, so it imports nothing at its top but
``odps.udf``; the archive of ours is found below ``work/`` when the first row comes. Types stand in
the text, because the service checks calls by them: ``@annotate('string,...->struct<...>')``.

One module holds a job's tile function in three forms: ``Collect`` (a function of all rows of a tile
as an array), ``Stream`` (a table function that sees rows one by one) and ``Merge`` (an aggregate).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from geoquarry.engine.maxcompute_archive import FOLDER, HASH_CHARACTERS, PREFIX
from geoquarry.engine.maxcompute_ddl import NAMES, TYPES, ZONE, has_zones, odps_type, stored_schema
from geoquarry.engine.sql import ScalarFunction
from geoquarry.engine.tile import target_of
from geoquarry.schemas.job import Job

FIELD = "c_"
"""Before the name of every field of a struct: no column is a word of SQL or of Python then."""
TIMESTAMP = pa.timestamp("us", tz="UTC")
ARGUMENTS = {**TYPES, TIMESTAMP: "STRING"}
"""Types as functions take and give them: they know no TIMESTAMP."""
BEFORE = (pa.field("given", pa.string()), pa.field("granule", pa.string()))
"""Fields of a source row before those of the job: what lookups add (JSON), and its granule."""

HEAD = '''\
"""{about}

Made by geoquarry; its name says what is in it, so it is never changed.
"""

from odps.udf import {imports}

ABOUT = {told!r}


def load():
    import sys

    folder = "work/{archive}/{folder}"
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from geoquarry.engine import maxcompute_worker

    return maxcompute_worker
'''

TILE = """

@annotate({collect!r})
class Collect(object):
    def __init__(self):
        self.worker = load().Worker(ABOUT)

    def evaluate(self, tile, rows):
        return self.worker.collected(tile, rows)


@annotate({stream!r})
class Stream(BaseUDTF):
    def __init__(self):
        module = load()
        self.stream = module.Streaming(
            module.Worker(ABOUT), lambda *values: self.forward(*values)
        )

    def process(self, tile_x, tile_y, tile, row):
        self.stream.process(tile_x, tile_y, tile, row)

    def close(self):
        self.stream.close()


@annotate({merge!r})
class Merge(BaseUDAF):
    def __init__(self):
        self.module = load()
        self.worker = self.module.Worker(ABOUT)

    def new_buffer(self):
        return [None, []]

    def iterate(self, buffer, tile, row):
        if tile is not None:
            buffer[0] = tile
        if row is not None:
            buffer[1].append(self.module.plain(tuple(row)))

    def merge(self, buffer, other):
        if other[0] is not None:
            buffer[0] = other[0]
        buffer[1].extend(other[1])

    def terminate(self, buffer):
        if buffer[0] is None and not buffer[1]:
            return None
        return self.worker.collected(buffer[0], buffer[1])
"""

SCALAR = """

@annotate({signature!r})
class Scalar(object):
    def __init__(self):
        self.scalar = load().Scalar(ABOUT)

    def evaluate(self, *values):
        return self.scalar(*values)
"""


def tile_module(job: Job, source: pa.Schema, archive: str) -> str:
    """The module of a job's tile function.

    Parameters
    ----------
    job : Job
    source : pa.Schema
        Of the table that the job reads.
    archive : str
        Name of the archive's resource.
    """
    columns = [source.field(name) for name in job.columns]
    answer = answer_fields(job.schema)
    told = {
        "udf": job.udf,
        "columns": [[field.name, spec_of(field.type)] for field in columns],
        "answer": [[field.name, spec_of(field.type)] for field in answer],
        "rasters": dict(target_of(job.schema).rasters),
    }
    row, gives = struct_of([*BEFORE, *columns]), struct_of(answer)
    flat = ",".join(word(field.type) for field in answer)
    return HEAD.format(
        about=f"Tiles through {job.udf}.",
        imports="BaseUDAF, BaseUDTF, annotate",
        told=json.dumps(told),
        archive=archive,
        folder=FOLDER,
    ) + TILE.format(
        collect=f"string,array<{row}>->{gives}",
        stream=f"bigint,bigint,string,{row}->{flat}",
        merge=f"string,{row}->{gives}",
    )


def scalar_module(name: str, function: ScalarFunction, archive: str) -> str:
    """The module of a scalar function for plain SQL."""
    told = {"udf": udf_name(function), "gives": spec_of(function.gives)}
    takes = ",".join(word(type_) for type_ in function.takes)
    return HEAD.format(
        about=f"{name}, a function of one row's values.",
        imports="annotate",
        told=json.dumps(told),
        archive=archive,
        folder=FOLDER,
    ) + SCALAR.format(signature=f"{takes}->{word(function.gives)}")


def udf_name(function: ScalarFunction) -> str:
    """Where a scalar function is found: ``package.module:function``."""
    return f"{function.call.__module__}:{function.call.__qualname__}"


def answer_fields(schema: pa.Schema) -> list[pa.Field]:
    """Columns that a tile function gives: those of the stored table, and the zone."""
    fields = list(stored_schema(schema))
    return [*fields, pa.field(ZONE, pa.string())] if has_zones(schema.names) else fields


def hashed(stem: str, text: str) -> str:
    """A name that says what is behind it.

    >>> hashed("tile", "text")
    'geoquarry_tile_982d9e3eb996'
    """
    return f"{PREFIX}{stem}_{hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARACTERS]}"


def word(type_: pa.DataType) -> str:
    """A type as it stands in a signature.

    >>> word(pa.list_(pa.struct([("at", TIMESTAMP), ("n", pa.int32())])))
    'array<struct<at:string,n:bigint>>'
    """
    return odps_type(type_, "", ARGUMENTS).lower().replace("`", "")


def struct_of(fields: Iterable[pa.Field]) -> str:
    """A struct of these columns, in a signature."""
    return f"struct<{','.join(f'{FIELD}{field.name}:{word(field.type)}' for field in fields)}>"


def spec_of(type_: pa.DataType) -> Any:
    """A type as data for `engine.maxcompute_worker`.

    >>> spec_of(pa.list_(pa.struct([("n", pa.int32())])))
    ['array', ['struct', [['n', 'int']]]]
    """
    if pa.types.is_list(type_):
        return ["array", spec_of(type_.value_type)]
    if pa.types.is_struct(type_):
        return ["struct", [[field.name, spec_of(field.type)] for field in type_]]
    return NAMES[type_].lower()


def names_of(fields: Sequence[pa.Field]) -> list[str]:
    """Names of the struct's fields."""
    return [FIELD + field.name for field in fields]
