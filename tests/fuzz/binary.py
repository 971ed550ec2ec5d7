"""Targets of bytes: tile blobs, lookup tables, HDF4, GeoTIFF and Parquet files."""

import io
import json
import re
import struct
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from fuzz.registry import Target, scratch, words

from geoquarry.engine import hdf4
from geoquarry.engine.exchange import open_parquet, read_parquet
from geoquarry.engine.raster import read_geotiff
from geoquarry.jobs.upload import _schema
from geoquarry.schemas import blob
from geoquarry.schemas.errors import BlobError, InputError
from geoquarry.schemas.tables import facts, tiles_schema
from geoquarry.udfs import lut_file
from geoquarry.udfs.lut import Lut

SMALL = 2**20
"""Largest raster the harness lets a blob announce, so that the limit on memory means something."""
GRID = "res-30_tilesize-4"


def decode(data: bytes) -> None:
    """Header and pixels; whatever is accepted comes back the same from a second packing."""
    try:
        head = blob.header(data, max_bytes=SMALL)
    except BlobError:
        head = None
    try:
        array = blob.decode(data, max_bytes=SMALL)
    except BlobError:
        return
    assert head is not None, "decoded without a header"
    assert array.shape == (head.height, head.width)
    assert array.dtype.name == head.dtype
    assert array.nbytes == head.nbytes <= SMALL
    again = blob.decode(blob.encode(array, codec="zlib"))
    assert again.tobytes() == array.tobytes()


def sealed(data: bytes) -> None:
    """A sound blob with a few bytes changed: refused, or the very pixels it was made from."""
    if len(data) < 14:
        return
    dtype, codec, width, height, edits = data[:5]
    dtype = blob.DTYPES[dtype % len(blob.DTYPES)]
    codec = blob.CODECS[codec % len(blob.CODECS)]
    width, height = width % 17, height % 17
    need = width * height * np.dtype(dtype).itemsize
    body = data[5 + 3 * (edits % 4) :]
    pixels = np.frombuffer((body + bytes(need))[:need], dtype).reshape(height, width)
    packed = bytearray(blob.encode(pixels, codec=codec, delta=bool(edits & 8)))
    for place in range(edits % 4):
        at, low, value = data[5 + 3 * place : 8 + 3 * place]
        packed[(at + 256 * low) % len(packed)] = value
    try:
        found = blob.decode(bytes(packed), max_bytes=SMALL)
    except BlobError:
        return
    assert found.dtype == pixels.dtype
    assert found.shape == pixels.shape
    assert found.tobytes() == pixels.tobytes()


def _blobs() -> tuple[bytes, ...]:
    ramp = np.arange(12).reshape(3, 4)
    sound = [
        blob.encode(ramp, dtype=dtype, codec=codec, delta=delta)
        for dtype in ("uint8", "int16", "float32", "int64")
        for codec in blob.CODECS
        for delta in (True, False)
    ]
    return (*sound, struct.pack("<4sBBBBIII", b"GQT1", 1, 0, 2, 0, 2**31, 2**31, 0))


def lut(data: bytes) -> None:
    """The file of a lookup table."""
    lut_file.unpack(data, "case", max_bytes=SMALL)


def lut_members(data: bytes) -> None:
    """A lookup table whose ZIP and seal are sound: what its members say is the case.

    The members stand one after the other, with a line of two hyphens between them: a JSON text,
    then pairs of a name on a line of its own and a NPY file.
    """
    about, *rest = data.split(b"\n--\n")
    pairs = [member.partition(b"\n") for member in rest]
    members = [
        (re.sub(rb"[^\w.]", b"_", name)[:40].decode() + ".npy", body) for name, _, body in pairs
    ]
    try:
        told = json.loads(about)
        arrays = lut_file._arrays(_closed(members), SMALL)
        told["digest"] = lut_file.digest_of(arrays, told)
        about = json.dumps(told).encode()
    except lut_file.NOT_READABLE:
        pass
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(about, np.uint8))
    whole = _closed([*members, ("about.npy", buffer.getvalue())])
    arrays, told = lut_file.unpack(whole, "case", max_bytes=SMALL)
    try:
        Lut(arrays, told)
    except lut_file.NOT_READABLE as error:
        raise InputError(f"as `udfs.lut` says: {error!r}") from error


def _closed(members: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that comes twice is a case like any other
        for name, body in members:
            archive.writestr(name, body)
    return stream.getvalue()


def _luts() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    shapes = {"g.phase": (1, 3), "g.single": (1, 3), "g.depth": (1, 2, 2)}
    arrays = {name: np.ones(shape, "float32") for name, shape in shapes.items()}
    about = {
        "format": 1, "sensor": "s", "aerosol_model": "m", "bands": ["b"], "provenance": {},
        "ranges": {"aod550": [0, 1]},
        "groups": {
            "g": {"bands": ["b"], "coupled": [], "axes": {
                "phase": [["turn", [0, 1, 2]]],
                "depth": [["water", [1, 2]], ["elevation", [0, 1]]]}}
        },
    }  # fmt: skip
    members = json.dumps(about).encode()
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        members += b"\n--\n" + name.encode() + b"\n" + buffer.getvalue()
    bare = io.BytesIO()
    np.savez(bare, about=np.frombuffer(b'{"format": 1, "digest": "x"}', np.uint8))
    return (lut_file.pack(arrays, about), bare.getvalue()), (members,)


def hdf4_directory(data: bytes) -> None:
    """The check of an HDF4 file's own directory, before the library sees it."""
    hdf4.refuse_damaged(scratch("case.hdf", data))


def _hdf4s() -> tuple[bytes, ...]:
    entry = struct.pack(">HHii", 720, 1, 40, 4)
    one = hdf4.MAGIC + struct.pack(">hi", 1, 0) + entry + bytes(40)
    two = hdf4.MAGIC + struct.pack(">hi", 1, 22) + entry + struct.pack(">hi", 1, 0) + entry
    return one, two + bytes(60), one[:20]


def geotiff(data: bytes) -> None:
    """A raster of elevation or reflectance."""
    found = read_geotiff(scratch("case.tif", data), max_bytes=SMALL)
    assert found is None or found.data.nbytes <= SMALL


def _geotiffs() -> tuple[bytes, ...]:
    found = []
    for extra in ({}, {"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}):
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff", height=4, width=5, count=1, dtype="int16", nodata=-9999,
                crs="EPSG:32613", transform=rasterio.Affine(30, 0, 4e5, 0, -30, 4e6), **extra,
            ) as out:  # fmt: skip
                out.write(np.arange(20, dtype="int16").reshape(1, 4, 5))
            found.append(memory.read())
    return tuple(found)


SCHEMA = tiles_schema("aster_l1t", GRID)


def parquet(data: bytes) -> None:
    """A Parquet file of rows; bad rows are told, the file as a whole may be refused."""
    path = scratch("case.parquet", data)
    with open_parquet(path) as file:
        own = file.schema_arrow
    _schema(facts(own), SCHEMA, path)
    for row in read_parquet(path, SCHEMA, on_error=lambda error: None):
        assert set(row) == set(SCHEMA.names)


def _parquets() -> tuple[bytes, ...]:
    row = {"grid": GRID, "tile_x": 1, "tile_y": 2, "granule_id": "g", "b01": blob.encode([[1]])}
    schema = pa.schema([SCHEMA.field(name) for name in row])
    found = []
    for codec in ("none", "zstd", "snappy"):
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row], schema), buffer, compression=codec)
        found.append(buffer.getvalue())
    return tuple(found)


FILES, MEMBERS = _luts()
TARGETS = (
    Target("blob", decode, _blobs(), words("GQT1"), share=150, longest=512),
    Target("blob_sealed", sealed, (bytes(range(64)), b"\x01\x02\x04\x04\x0b" * 9), share=100,
           longest=256),
    Target("lut", lut, FILES, words("PK about.npy \x93NUMPY descr fortran_order shape <f4 |u1"),
           share=30),
    Target("lut_members", lut_members, MEMBERS, words("groups axes phase nodes 1e999 null [] {}"),
           share=30),
    Target("hdf4_directory", hdf4_directory, _hdf4s(), share=60, longest=1024),
    Target("geotiff", geotiff, _geotiffs(), share=20, longest=2048),
    Target("parquet", parquet, _parquets(), words("PAR1"), share=20),
)  # fmt: skip
