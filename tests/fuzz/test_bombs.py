"""Inputs made to blow up: larger than the cases of a fuzzer, and written down by hand."""

import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pytest
import rasterio

from geoquarry.engine import hdf4, odl
from geoquarry.engine.aster_l1t_gmi_meta import mapping
from geoquarry.engine.exchange import csv_lines, read_facts
from geoquarry.engine.raster import read_geotiff
from geoquarry.engine.sql import parse_select
from geoquarry.engine.where import condition
from geoquarry.jobs.statement import read_statement
from geoquarry.schemas import blob
from geoquarry.schemas.csvfile import parse_rows
from geoquarry.schemas.errors import GeoquarryError, InputError, UsageError
from geoquarry.schemas.formula import parse
from geoquarry.schemas.redact import redacted
from geoquarry.udfs import lut_file

MEBIBYTE = 2**20
SCHEMA = pa.schema([("tile_x", pa.int32()), ("granule_id", pa.string())])


def refused(call, *, seconds=2.0, mebibytes=64):
    """The call ends in an error of ours, soon, and without much memory."""
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(GeoquarryError) as told:
            call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.thread_time() - began < seconds
    assert peak < mebibytes * MEBIBYTE, f"{peak / MEBIBYTE:.0f} MiB"
    assert len(str(told.value)) < 2000
    return str(told.value)


@pytest.mark.parametrize("codec", range(3))
def test_a_blob_that_announces_100_gib(codec):
    head = struct.pack("<4sBBBBIII", b"GQT1", 1, 0, codec, 0, 2**20, 100 * 2**10, 0)
    assert "over the limit" in refused(lambda: blob.decode(head + bytes(100)))


@pytest.mark.parametrize("codec", ["zlib", "zstd"])
def test_a_blob_that_unpacks_to_more_than_it_announces(codec):
    large = bytes(128 * MEBIBYTE)
    packed = zlib.compress(large, 1) if codec == "zlib" else None
    if packed is None:
        packed = pa.Codec("zstd").compress(large, asbytes=True)
    del large
    head = struct.pack("<4sBBBBIII", b"GQT1", 1, 0, blob.CODECS.index(codec), 0, 4, 4, 0)
    before = pa.total_allocated_bytes()
    assert "damaged" in refused(lambda: blob.decode(head + packed))
    assert pa.total_allocated_bytes() - before < MEBIBYTE


def npz(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue()


def npy(shape, body=b""):
    stream = io.BytesIO()
    told = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, told)
    return stream.getvalue() + body


def test_a_lookup_table_that_unpacks_without_end():
    data = npz({f"{n}.npy": bytes(4 * MEBIBYTE) for n in range(9)})
    limit = 32 * MEBIBYTE
    told = refused(lambda: lut_file.unpack(data, "here", max_bytes=limit), mebibytes=1)
    assert "over the limit" in told


def test_a_lookup_table_whose_array_announces_80_gb():
    data = npz({"about.npy": npy((10**10,))})
    assert "another length" in refused(lambda: lut_file.unpack(data, "here"))


def test_a_lookup_table_with_a_pickle():
    stream = io.BytesIO()
    np.save(stream, np.array([{}], object), allow_pickle=True)
    data = npz({"about.npy": stream.getvalue()})
    assert "no array of numbers" in refused(lambda: lut_file.unpack(data, "here"))


def test_a_geotiff_of_100_gib_in_a_few_bytes(tmp_path):
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=200_000, width=270_000, count=1, dtype="int16",
        crs="EPSG:32613", transform=rasterio.Affine(30, 0, 4e5, 0, -30, 4e6),
        tiled=True, blockxsize=4096, blockysize=4096, sparse_ok=True, bigtiff="YES",
    ):  # fmt: skip
        pass
    assert path.stat().st_size < MEBIBYTE
    assert "over the limit" in refused(lambda: read_geotiff(path))
    left, top = 4e5, 4e6
    box = (left + 300, top - 600, left + 600, top - 300)
    part = read_geotiff(path, bounds=box)
    assert part is not None
    assert part.data.nbytes < MEBIBYTE


def test_an_hdf4_directory_that_is_read_again_and_again(tmp_path):
    """Blocks that overlap: without a limit 10,000 of them would read gigabytes."""
    size = 600_000
    data = bytearray(struct.pack(">H", 20_000) * (size // 2))
    data[:4] = hdf4.MAGIC
    at = 4
    for following in range(4 + 60, 400_000, 60):
        struct.pack_into(">hi", data, at, 20_000, following)
        at = following
    path = tmp_path / "circles.hdf"
    path.write_bytes(data)
    refused(lambda: hdf4.refuse_damaged(path))


@pytest.mark.parametrize(
    "text",
    ["(" * 10**6, "A=(" + "1," * 50_000, "GROUP=A\n" * 10**5, "A" * 10**6, "/* " * 300_000,
     '"' * 500_001, "1/=1=1", "A = " + "-\n" * 300_000 + "=", "<" * 10**6],
)  # fmt: skip
def test_odl_without_end(text):
    refused(lambda: odl.parse(text, "here"), seconds=4.0, mebibytes=256)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, "-" * 10**6, "{'a':" * 10**5, "1" * 10**6, "'" * 10**6]
)
def test_literals_without_end(text):
    refused(lambda: mapping({"meta": text}, "meta", "here"))


def test_a_literal_that_would_cost_seconds():
    text = "{'a': [" + "1," * 10**6 + "]}"
    refused(lambda: mapping({"meta": text}, "meta", "here"))


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1" * 10**5, "nul", "\ufeff{}"])
def test_facts_that_are_no_json(text, tmp_path):
    tmp_path.joinpath("a.csv-metadata.json").write_text(text)
    refused(lambda: read_facts(tmp_path / "a.csv"))


def test_a_csv_that_is_one_quote(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n"' + b"\0" * MEBIBYTE)
    found = list(csv_lines(path))
    assert found[1][1] == ["\0" * MEBIBYTE]  # within the limit of a field
    with pytest.raises(InputError, match="twice"):
        parse_rows(",".join(found[0][1] * 2), "here")


@pytest.mark.parametrize(
    "text",
    ["(" * 9_000, "NOT " * 4_000 + "true", "tile_x" + "+1" * 9_000 + " > nosuch",
     "- " * 9_000 + "1 > 0",
     "tile_x IN (" + "1," * 9_000 + "1) AND x", "CASE WHEN " * 1_900, "a" * 20_001,
     "CAST(" * 3_000, "tile_x[" * 2_000, "'" + "a" * 9_000, "1 > " * 3_000 + "(",
     "((((((((((" * 900 + "1))))))))))" * 900],
)  # fmt: skip
def test_conditions_without_end(text):
    refused(lambda: condition(text, SCHEMA), seconds=5.0, mebibytes=256)


def test_statements_without_end():
    job = "INSERT INTO t SELECT tile_x, tile_y, mosaic(*, n => {}) FROM a GROUP BY tile_x, tile_y"
    for value in ("9" * 5_000, "1e999", "[" * 2_000, "-" * 3_000 + "1", "'" + "a" * 10**6 + "'"):
        with pytest.raises(UsageError):
            read_statement("/* */" + job.format(value), {"mosaic"}) or parse_select(value)
    with pytest.raises(UsageError, match="over the limit"):
        parse_select("SELECT " + "1," * 60_000 + "1")


@pytest.mark.parametrize(
    "text", ["(" * 400, "1" * 501, "+".join(["b01"] * 100), "1e400", "b01" * 99]
)
def test_formulas_without_end(text):
    refused(lambda: parse(text, {"b01"}))


@pytest.mark.parametrize(
    "text",
    ["-" * 50_000, "a." * 50_000, "token=" * 20_000, "x://" * 20_000, "a://b:" * 20_000,
     "'" * 50_000, "password:" + " " * 50_000],
)  # fmt: skip
def test_messages_without_end(text):
    began = time.thread_time()
    redacted(text)
    assert time.thread_time() - began < 1
