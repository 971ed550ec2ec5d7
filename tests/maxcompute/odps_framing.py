"""The body of an Arrow upload or download: record batches in chunks with checksums.

A chunk size as a big-endian number; then chunks, each followed by the CRC-32C of its bytes; the
last, shorter chunk is followed by the CRC-32C of everything. The batches come without their schema.
"""

import struct

import pyarrow as pa
import pyarrow.compute as pc
from odps.tunnel.checksum import Checksum
from odps_errors import OdpsError

CHUNK = 65536


def crc32c(data, crc=None):
    """Checksum of bytes, or of more bytes."""
    crc = crc or Checksum()
    crc.update(bytes(data))
    return crc


def value_of(crc):
    """The number of a checksum."""
    return crc.getvalue() & 0xFFFFFFFF


def unframed(body):
    """The payload of a framed body; raises where a checksum is wrong or bytes are missing."""
    if len(body) < 8:
        raise OdpsError("IncompleteBody", f"a body of {len(body)} bytes is not complete")
    (size,) = struct.unpack_from("!I", body)
    view, place = memoryview(body), 4
    whole, parts = Checksum(), []
    while len(body) - place >= size + 4:
        chunk = view[place : place + size]
        _compare(crc32c(chunk), view, place + size)
        crc32c(chunk, whole)
        parts.append(chunk)
        place += size + 4
    last = view[place : len(body) - 4]
    crc32c(last, whole)
    _compare(whole, view, len(body) - 4)
    return b"".join([*parts, last])


def _compare(crc, view, place):
    if struct.unpack_from("!I", view, place)[0] != value_of(crc):
        raise OdpsError("MalformedDataStream", "the checksum of the data stream is wrong")


def batches_of(payload, schema):
    """Record batches of a payload that lacks its schema."""
    if not payload:
        return []
    try:
        with pa.ipc.open_stream(pa.py_buffer(schema.serialize().to_pybytes() + payload)) as stream:
            batches = list(stream)
        for batch in batches:
            batch.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise OdpsError(
            "MalformedDataStream", f"not record batches of the table: {error}"
        ) from None
    return batches


class Framer:
    """Frames batches as they come, so that an answer needs no memory for all of them."""

    def __init__(self, wrong_crc=False):
        self.rest = b""
        self.whole = Checksum()
        self.first = True
        self.wrong = 1 if wrong_crc else 0

    def add(self, payload):
        """Framed bytes that are ready."""
        out = [struct.pack("!I", CHUNK)] if self.first else []
        self.first = False
        crc32c(payload, self.whole)
        view = memoryview(self.rest + bytes(payload))
        place = 0
        while len(view) - place >= CHUNK:
            chunk = view[place : place + CHUNK]
            out += [bytes(chunk), struct.pack("!I", value_of(crc32c(chunk)))]
            place += CHUNK
        self.rest = bytes(view[place:])
        return b"".join(out)

    def end(self):
        """The last bytes."""
        head = self.add(b"")
        return head + self.rest + struct.pack("!I", value_of(self.whole) ^ self.wrong)


def wire_batch(batch, instants_as_struct):
    """A batch as it travels: results of an instance carry instants as seconds and nanoseconds."""
    if not instants_as_struct:
        return batch
    arrays = []
    for array in batch.columns:
        if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
            ns = array.cast(pa.int64())
            sec = pa.array([None if v is None else v // 10**9 for v in ns.to_pylist()], pa.int64())
            nano = pc.subtract(ns, pc.multiply(sec, 10**9)).cast(pa.int32())
            array = pa.StructArray.from_arrays([sec, nano], ["sec", "nano"], mask=ns.is_null())
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
