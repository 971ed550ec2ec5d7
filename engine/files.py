"""Files of tables, on a local disk or in an object store alike: all goes through a FileIO."""

import os
import re
import uuid
from functools import lru_cache, partial

import pyarrow as pa
from pyarrow import fs
from pyiceberg.io import FileIO, InputFile, OutputFile, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from geoquarry.engine.failpoint import failpoint
from geoquarry.schemas.errors import UsageError

FROM_ENVIRONMENT = {
    "s3.endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "s3.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "s3.access-key-id": ("AWS_ACCESS_KEY_ID",),
    "s3.secret-access-key": ("AWS_SECRET_ACCESS_KEY",),
    "s3.session-token": ("AWS_SESSION_TOKEN",),
}
"""Storage option -> environment variables that give it, the first one that is set."""
ATTEMPTS = 10
"""How often a file is begun whose folder goes away meanwhile."""
UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What a missing or damaged file looks like to a reader; a text that is none is a ValueError."""
SCHEMES = ("s3", "oss", "gs")
OPTION = ("s3.",)
"""How names of storage options begin; a catalog's other properties are no business of a FileIO."""


class SharedFileIO(PyArrowFileIO):
    """pyiceberg's Arrow FileIO, with one filesystem (and its connections) per process.

    The original makes a filesystem for every FileIO, and pyiceberg a FileIO for every look at a
    table: each would greet an object store anew.
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        options = sorted(storage_only(self.properties).items())
        self.fs_by_scheme = partial(_filesystem, tuple(options))

    def new_output(self, location: str) -> PyArrowFile:
        """A file that is about to be written."""
        failpoint("file.create")
        return super().new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file."""
        failpoint("file.delete")
        super().delete(location)


@lru_cache
def _filesystem(
    options: tuple[tuple[str, str], ...], scheme: str, netloc: str | None = None
) -> fs.FileSystem:
    return PyArrowFileIO(dict(options)).fs_by_scheme(scheme, netloc)


FILE_IO = f"{SharedFileIO.__module__}.{SharedFileIO.__qualname__}"
"""The FileIO's name, for pyiceberg's ``py-io-impl``."""


def storage_only(properties: Properties) -> dict[str, str]:
    """Those properties that are storage options.

    >>> storage_only({"uri": "postgresql://...", "s3.region": "eu-central-1"})
    {'s3.region': 'eu-central-1'}
    """
    return {name: str(value) for name, value in properties.items() if name.startswith(OPTION)}


def is_uri(location: str) -> bool:
    """Whether a location is a URI, not a path of this host.

    >>> is_uri("s3://bucket/quarry"), is_uri("/data/quarry")
    (True, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", location) is not None


def storage_options(location: str) -> dict[str, str]:
    """What the environment says about an object store.

    Parameters
    ----------
    location : str
        URI of a warehouse.

    Returns
    -------
    options : dict
        For pyiceberg's FileIO; never to be printed. Without keys in the environment the store's
        own rules hold (for S3 ``~/.aws`` and instance roles).

    Raises
    ------
    UsageError
        A scheme that is not supported, or no bucket.
    """
    scheme, _, rest = location.partition("://")
    if scheme not in SCHEMES or not rest.strip("/"):
        raise UsageError(
            f"Warehouse {location!r}: give the path of a folder, or a URI "
            f"{', '.join(f'{name}://BUCKET/PREFIX' for name in SCHEMES)}."
        )
    if scheme == "gs":
        return {}
    options = {}
    for name, variables in FROM_ENVIRONMENT.items():
        value = next(filter(None, map(os.environ.get, variables)), None)
        if value:
            options[name] = value
    if "s3.endpoint" in options:  # without a region, Amazon would be asked where the bucket is
        options.setdefault("s3.region", "us-east-1")
    return options


def check_reachable(io: FileIO, location: str) -> None:
    """Refuse an object store that does not answer, before anything is begun.

    Raises
    ------
    UsageError
        No connection, no permission, or no such bucket.
    """
    filesystem, inner = in_filesystem(io, location)
    bucket = inner.split("/")[0]
    try:
        found = filesystem.get_file_info(inner)
        if found.type == fs.FileType.NotFound:  # a new prefix, or no bucket
            found = filesystem.get_file_info(bucket)
    except OSError as error:
        raise UsageError(
            f"Warehouse {location} does not answer: {error}. Check the address and the keys in "
            "the environment (docs/warehouses.md lists the variables)."
        ) from error
    if found.type == fs.FileType.NotFound:
        raise UsageError(f"Warehouse {location}: there is no bucket {bucket!r}. Make it first.")


def in_filesystem(io: FileIO, path: str) -> tuple[fs.FileSystem, str]:
    """The Arrow filesystem that holds a path, and what it calls it (``bucket/key``)."""
    assert isinstance(io, PyArrowFileIO)
    scheme, netloc, inner = PyArrowFileIO.parse_location(path)
    return io.fs_by_scheme(scheme, netloc), inner


def list_files(io: FileIO, folder: str, *, recursive: bool = False) -> list[fs.FileInfo]:
    """Files below a folder, none if there is no folder; paths as the FileIO wants them."""
    filesystem, inner = in_filesystem(io, folder)
    selector = fs.FileSelector(inner, allow_not_found=True, recursive=recursive)
    found = [info for info in filesystem.get_file_info(selector) if info.is_file]
    if not is_uri(folder):
        return found
    scheme = folder[: folder.index("://") + 3]
    return [
        fs.FileInfo(scheme + info.path, info.type, mtime=info.mtime, size=info.size)
        for info in found
    ]


def delete_folder(io: FileIO, folder: str) -> None:
    """Delete a folder and all that is in it."""
    filesystem, inner = in_filesystem(io, folder)
    filesystem.delete_dir(inner)


def begin(io: FileIO, path: str) -> OutputStream:
    """A stream into a new file; its folder is made when it is missing.

    Another process may take the empty folder away before the file is in it: then once more.
    """
    for attempt in range(ATTEMPTS):
        try:
            return io.new_output(path).create(overwrite=True)
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError


def unfinished(path: str) -> str:
    """Name to write under: on a local disk another one, renamed at the end.

    An object store shows an object only when its upload is complete, so it needs no other name.
    """
    return path if is_uri(path) else f"{path}.{uuid.uuid4().hex[:8]}.tmp"


def finish(open_path: str, path: str) -> None:
    """Give a complete file its name."""
    failpoint("file.finish")
    if open_path != path:
        os.replace(open_path, path)
