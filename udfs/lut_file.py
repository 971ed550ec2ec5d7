"""The file of a lookup table: arrays and their provenance, sealed with a digest."""

import hashlib
import io
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from fnmatch import fnmatch
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import InputError

FORMAT = 1
FOLDER_VARIABLE = "GEOQUARRY_LUT_DIR"
"""A folder of tables built elsewhere; looked at before the ones that ship beside this module."""
ABOUT = "about"
Arrays = Mapping[str, NDArray[np.floating]]
NOT_READABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""What zipfile and json raise over a file that is damaged or something else."""
MAX_BYTES = 512 * 2**20
"""Largest table that is unpacked; ours are about 1 MB."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][fu][1248])', 'fortran_order': False, "
    rb"'shape': \(([0-9, ]{0,99})\), \} *\n",
    re.DOTALL,
)
"""Head of an array in a NPY file, as NumPy writes it; nothing else is read."""


def file_name(sensor_name: str, aerosol_model: str) -> str:
    """Name of a table's file.

    >>> file_name("aster_l1t", "Continental")
    'lut_aster_l1t_continental.npz'
    """
    return f"lut_{sensor_name}_{aerosol_model.lower()}.npz"


def digest_of(arrays: Arrays, about: Mapping[str, Any]) -> str:
    """SHA-256 over names, dtypes, shapes, bytes and provenance.

    >>> len(digest_of({"a": np.zeros(2, "float32")}, {"sensor": "s"}))
    64
    """
    found = hashlib.sha256()
    found.update(json.dumps(dict(about), sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def pack(arrays: Arrays, about: Mapping[str, Any]) -> bytes:
    """A table as the bytes of an NPZ file.

    Parameters
    ----------
    arrays : dict of str -> float32 or float64
    about : dict
        JSON-safe: what it is and how it came about; the digest is added.
    """
    text = json.dumps({**about, "digest": digest_of(arrays, about)}, sort_keys=True).encode()
    stream = io.BytesIO()
    # mypy thinks that one of the names may be `allow_pickle`.
    np.savez_compressed(stream, **{ABOUT: np.frombuffer(text, np.uint8)}, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def unpack(
    data: bytes, where: str, *, max_bytes: int = MAX_BYTES
) -> tuple[dict[str, NDArray[np.floating]], dict[str, Any]]:
    """Arrays and provenance of a table, checked against its digest.

    Parameters
    ----------
    data : bytes
        Of an NPZ file; nothing in it is executed.
    where : str
        For messages.
    max_bytes : int
        Refuse larger tables before anything is allocated.

    Raises
    ------
    InputError
        Not a table, of another format, or changed since it was built.

    Examples
    --------
    >>> data = pack({"a": np.zeros(2, "float32")}, {"format": 1, "sensor": "s"})
    >>> unpack(data, "here")[1]["sensor"]
    's'
    """
    try:
        arrays = _arrays(data, max_bytes)
        about = json.loads(arrays.pop(ABOUT).tobytes())
        digest = about.pop("digest")
    except NOT_READABLE as error:
        raise InputError(f"{where} is no lookup table ({error}). {REBUILD}") from error
    if about.get("format") != FORMAT:
        raise InputError(
            f"{where} has format {about.get('format')!r}, this geoquarry reads {FORMAT}. {REBUILD}"
        )
    if digest_of(arrays, about) != digest:
        raise InputError(f"{where} is damaged: its digest is not {digest[:16]}... {REBUILD}")
    return arrays, {**about, "digest": digest}


def _arrays(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Members of a NPZ file; what it announces is checked before anything is allocated.

    NumPy's own reader makes room for whatever shape a header names, and zipfile for any size.
    """
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > max_bytes:
            raise ValueError(f"it unpacks to {size} bytes, over the limit of {max_bytes}")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.compress_type not in PACKED or name in found:
                raise ValueError(f"member {name!r} is packed in another way, or comes twice")
            body = archive.read(member)
            head = NPY.match(body)
            if head is None:
                raise ValueError(f"member {member.filename!r} is no array of numbers")
            dtype = np.dtype(head[1].decode())
            shape = [int(part) for part in head[2].split(b",") if part.strip()]
            if head.end() + math.prod(shape) * dtype.itemsize != len(body):
                raise ValueError(f"member {member.filename!r} has another length than its shape")
            array = np.frombuffer(body, dtype, offset=head.end()).reshape(shape)
            found[name] = array
    return found


REBUILD = "Build it again (geoquarry lut build) or install geoquarry again."


def locate(sensor_name: str, aerosol_model: str) -> Traversable:
    """The file of a table: in the folder of `FOLDER_VARIABLE`, or beside this module.

    Raises
    ------
    InputError
        There is no such table, or no such folder; the message says how to get one.
    """
    name = file_name(sensor_name, aerosol_model)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        if not os.path.isdir(folder):  # never another table than the one that was asked for
            raise InputError(f"{FOLDER_VARIABLE} is {folder!r}: there is no such folder.")
        path = Path(folder, name)
        if path.is_file():
            return path
    shipped = files("geoquarry.udfs") / name
    if shipped.is_file():
        return shipped
    raise InputError(
        f"No lookup table for sensor {sensor_name!r} and aerosol model {aerosol_model!r}. Build it "
        f"(geoquarry lut build --aerosol-model {aerosol_model}) and name its folder in "
        f"{FOLDER_VARIABLE}, or ingest with --atmosphere 6s."
    )


def find(sensor_name: str, aerosol_model: str) -> tuple[bytes, str]:
    """Bytes of a table and where they lie.

    Raises
    ------
    InputError
        As `locate`, or the file cannot be read.
    """
    path = locate(sensor_name, aerosol_model)
    try:
        return path.read_bytes(), str(path) if isinstance(path, Path) else path.name
    except OSError as error:
        raise InputError(f"The lookup table {path} cannot be read: {error}") from error


def carried_files() -> dict[str, bytes]:
    """What this module reads, for workers that see no file of this host.

    Returns
    -------
    files : dict of str -> bytes
        Tables by the path where `locate` finds them there: beside this module, those of the user's
        own folder instead of the ones that ship.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    own = Path(folder).iterdir() if folder and os.path.isdir(folder) else ()
    found = (*files("geoquarry.udfs").iterdir(), *own)
    pattern = file_name("*", "*")
    return {
        f"geoquarry/udfs/{path.name}": path.read_bytes()
        for path in found
        if fnmatch(path.name, pattern)
    }
