"""The file of a lookup table: arrays and their provenance, sealed with a digest."""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
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
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy, zipfile and json raise over a file that is damaged or something else."""


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
    np.savez_compressed(stream, **{ABOUT: np.frombuffer(text, np.uint8)}, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def unpack(data: bytes, where: str) -> tuple[dict[str, NDArray[np.floating]], dict[str, Any]]:
    """Arrays and provenance of a table, checked against its digest.

    Parameters
    ----------
    data : bytes
        Of an NPZ file; nothing in it is executed.
    where : str
        For messages.

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
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
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
