"""Resources and functions in a project: made when they are missing, used again when they are there.

Names say what is in them (`engine.maxcompute_udf.hashed`), so nothing is ever overwritten: a job
that runs while another version of geoquarry starts one keeps its own.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from odps import errors

from geoquarry.engine.maxcompute_archive import Archive, archive_of
from geoquarry.engine.maxcompute_connection import Connection
from geoquarry.engine.maxcompute_udf import hashed, scalar_module, tile_module, udf_name
from geoquarry.engine.sql import ScalarFunction
from geoquarry.schemas.job import Job

FORMS = {"collect": "Collect", "udtf": "Stream", "udaf": "Merge"}
"""Plan -> class in the tile module."""


def tile_function(connection: Connection, job: Job, source: pa.Schema, plan: str) -> str:
    """The function that computes tiles of a job.

    Parameters
    ----------
    connection : Connection
    job : Job
    source : pa.Schema
        Of the table that the job reads.
    plan : {"collect", "udtf", "udaf"}

    Returns
    -------
    name : str
        As SQL calls it.
    """
    packed = archive_resource(connection, archive_of(job.udf))
    text = tile_module(job, source, packed)
    return _function(connection, "tile", text, FORMS[plan], packed)


def scalar_names(
    connection: Connection, functions: Mapping[str, ScalarFunction], wanted: Sequence[str]
) -> dict[str, str]:
    """Scalar functions for SQL: the name that a user writes -> the one in the project.

    Parameters
    ----------
    connection : Connection
    functions : mapping of str -> ScalarFunction
    wanted : sequence of str
        Those that are called.
    """
    found = {}
    for name in wanted:
        function = functions[name]
        packed = archive_resource(connection, archive_of(udf_name(function)))
        text = scalar_module(name, function, packed)
        found[name] = _function(connection, name, text, "Scalar", packed)
    return found


def archive_resource(connection: Connection, archive: Archive) -> str:
    """The archive in the project; its name there."""
    name = connection.physical(archive.name)
    _resource(connection, name, "archive", lambda: io.BytesIO(archive.data))
    return name


def _function(connection: Connection, stem: str, text: str, form: str, archive: str) -> str:
    """A function made of a module's class and the archive."""
    module = connection.physical(hashed(stem, text))
    _resource(connection, f"{module}.py", "py", lambda: io.StringIO(text))
    name = f"{module}_{form.lower()}"

    def make() -> None:
        connection.odps.create_function(
            name, class_type=f"{module}.{form}", resources=[f"{module}.py", archive]
        )

    _unless_there(connection, f"function {name!r}", make, connection.odps.exist_function, name)
    return name


def _resource(connection: Connection, name: str, kind: str, content: Callable[[], Any]) -> None:
    def make() -> None:
        connection.odps.create_resource(name, kind, file_obj=content())

    _unless_there(connection, f"resource {name!r}", make, connection.odps.exist_resource, name)


def _unless_there(
    connection: Connection,
    what: str,
    make: Callable[[], Any],
    exists: Callable[[str], bool],
    name: str,
) -> None:
    if connection.patiently(lambda: exists(name), what):
        return

    def make_once() -> None:
        try:
            make()
        except errors.ObjectAlreadyExists:
            return  # another job has just made it, or our own request before its answer was lost
        except errors.BaseODPSError:
            if not exists(name):
                raise

    connection.patiently(make_once, what)
