"""The tile blob: one raster in one BINARY value, self-describing and checked before it is read.

Layout (little-endian), 20 bytes, then the payload::

    0  magic    4 bytes  b"GQT1"
    4  version  uint8    1
    5  dtype    uint8    index into DTYPES
    6  codec    uint8    0 raw, 1 zlib, 2 zstd
    7  filter   uint8    0 none, 1 horizontal delta (modulo 2**bits, row by row)
    8  height   uint32
    12 width    uint32
    16 crc32    uint32   of dtype, height, width (bytes 5, 8-15) and the decoded bytes

Measured on 16 tiles: delta + zstd level 1 = 0.36 of raw, against 0.61 without the filter.
"""

import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.schemas.errors import BlobError

MAGIC = b"GQT1"
HEADER = struct.Struct("<4sBBBBIII")
DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64")
"""Position = dtype code. Only appended to, never reordered."""
CODECS = ("raw", "zlib", "zstd")
FILTERS = ("none", "delta")
MAX_BYTES = 256 * 1024 * 1024
"""Largest raster a reader allocates unless told otherwise (8192 x 8192 x float32)."""


@dataclass(frozen=True)
class Header:
    """What a blob says of itself."""

    dtype: str
    codec: str
    filter: str
    height: int
    width: int
    crc32: int

    @property
    def nbytes(self) -> int:
        """Size of the decoded raster."""
        return self.height * self.width * np.dtype(self.dtype).itemsize


def header(blob: Any, *, max_bytes: int = MAX_BYTES) -> Header:
    """Read and check a blob's header; nothing is allocated.

    Raises
    ------
    BlobError
        Not a tile blob, an unknown version or code, or a raster larger than ``max_bytes``.

    Examples
    --------
    >>> header(encode([[1, 2]], dtype="uint8")).width
    2
    """
    view = memoryview(blob)
    if view.nbytes < HEADER.size:
        raise BlobError(
            f"Tile blob of {view.nbytes} bytes is shorter than its {HEADER.size}-byte header."
        )
    magic, version, dtype, codec, filter_, height, width, crc32 = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise BlobError(f"Not a tile blob: it starts with {magic!r} instead of {MAGIC!r}.")
    if version != 1:
        raise BlobError(f"Tile blob version {version} is newer than this reader (1).")
    if dtype >= len(DTYPES) or codec >= len(CODECS) or filter_ >= len(FILTERS):
        raise BlobError(
            f"Tile blob with unknown dtype, codec or filter code: {dtype}, {codec}, {filter_}."
        )
    found = Header(DTYPES[dtype], CODECS[codec], FILTERS[filter_], height, width, crc32)
    if found.filter == "delta" and found.dtype.startswith("float"):
        raise BlobError("Tile blob with a delta filter on floats: damaged header.")
    if found.nbytes > max_bytes:
        raise BlobError(
            f"Tile blob announces {height} x {width} {found.dtype} = {found.nbytes} bytes, "
            f"over the limit of {max_bytes}."
        )
    return found


def encode(
    raster: ArrayLike, *, dtype: str | None = None, codec: str | None = None, delta: bool = True
) -> bytes:
    """Pack one raster.

    Parameters
    ----------
    raster : array, shape (y, x)
        Any dtype of ``DTYPES``.
    dtype : str, optional
        Cast to this first (a cast that changes a value is the caller's business).
    codec : {"zstd", "zlib", "raw"}, optional
        Default: zstd; zlib on a worker that has no pyarrow.
    delta : bool
        Store differences along each row; ignored for floats.

    Returns
    -------
    blob : bytes

    Raises
    ------
    BlobError
        Not two-dimensional, or a dtype that has no code.

    Examples
    --------
    >>> decode(encode([[0, 255]], dtype="uint8"))
    array([[  0, 255]], dtype=uint8)
    """
    array = np.ascontiguousarray(raster, dtype=dtype)
    if array.ndim != 2 or array.dtype.name not in DTYPES:
        raise BlobError(
            f"A tile blob holds a (y, x) raster of {', '.join(DTYPES)}; "
            f"got {array.dtype} {array.shape}."
        )
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    code = DTYPES.index(np.dtype(dtype or np.asarray(raster).dtype).name)
    height, width = array.shape
    crc32 = _checksum(code, height, width, array)
    filter_ = 1 if delta and array.dtype.kind in "iu" else 0
    if filter_:
        unsigned = array.view(f"<u{array.dtype.itemsize}")
        steps = unsigned.copy()
        steps[:, 1:] = unsigned[:, 1:] - unsigned[:, :-1]
        array = steps
    codec = codec or _best_codec()
    payload = _compress(array.tobytes(), codec)
    return HEADER.pack(MAGIC, 1, code, CODECS.index(codec), filter_, height, width, crc32) + payload


def decode(blob: Any, *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Unpack one raster.

    Parameters
    ----------
    blob : bytes-like
        As made by ``encode`` (bytes, memoryview, pyarrow buffer).
    max_bytes : int
        Refuse larger rasters before anything is allocated.

    Returns
    -------
    raster : array, shape (y, x)
        Read-only when the payload was stored raw and unfiltered.

    Raises
    ------
    BlobError
        Damaged, truncated, too large, or the checksum disagrees.
    """
    view = memoryview(blob).cast("B")
    head = header(view, max_bytes=max_bytes)
    raw = _decompress(view[HEADER.size :], head)
    dtype = np.dtype(head.dtype).newbyteorder("<")
    array: NDArray[Any] = np.frombuffer(raw, dtype=dtype).reshape(head.height, head.width)
    if head.filter == "delta":
        unsigned = array.view(f"<u{dtype.itemsize}")
        # cumsum in the same width wraps exactly as the differences did.
        array = np.cumsum(unsigned, axis=1, dtype=unsigned.dtype).view(dtype)
    if _checksum(DTYPES.index(head.dtype), head.height, head.width, array) != head.crc32:
        raise BlobError("Tile blob is damaged: the checksum of pixels and header disagrees.")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _checksum(code: int, height: int, width: int, array: NDArray[Any]) -> int:
    """What the raster is belongs to the sum: floats relabelled as integers are damage, too."""
    start = zlib.crc32(struct.pack("<BII", code, height, width))
    return zlib.crc32(np.ascontiguousarray(array).data, start) if array.size else start


@cache
def _best_codec() -> str:
    try:
        import pyarrow  # noqa: F401  only to see whether it is there
    except ImportError:
        return "zlib"
    return "zstd"


def _compress(raw: bytes, codec: str) -> bytes:
    if codec == "raw":
        return raw
    if codec == "zlib":
        return zlib.compress(raw, 1)
    if codec == "zstd":
        import pyarrow as pa  # only here: a worker with zlib blobs needs no pyarrow

        packed: bytes = pa.Codec("zstd", compression_level=1).compress(raw, asbytes=True)
        return packed
    raise BlobError(f"No codec {codec!r}. Choose one of: {', '.join(CODECS)}.")


def _decompress(payload: memoryview, head: Header) -> Any:
    size = head.nbytes
    try:
        if head.codec == "raw":
            raw: Any = payload
        elif head.codec == "zlib":
            stream = zlib.decompressobj()
            raw = stream.decompress(payload, size + 1)  # one byte more shows a bomb, never more
        else:
            import pyarrow as pa

            raw = pa.Codec("zstd").decompress(pa.py_buffer(payload), decompressed_size=size)
    except (zlib.error, OSError, ValueError) as error:
        raise BlobError(f"Tile blob is damaged: {head.codec} says {error}") from error
    if memoryview(raw).nbytes != size:
        raise BlobError(
            f"Tile blob is damaged: {memoryview(raw).nbytes} bytes of pixels, "
            f"{head.height} x {head.width} {head.dtype} needs {size}."
        )
    return raw
