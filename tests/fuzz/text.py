"""Targets of text: CSV uploads of both layouts, cells, facts, ODL, formulas, grids, catalogues."""

import contextlib
import itertools
import json
import math

import numpy as np
import pyarrow as pa
from fuzz.registry import Target, scratch, words

from geoquarry.engine import odl
from geoquarry.engine.aster_l1t_gmi import COLUMNS, is_gmi, read_gmi_csv
from geoquarry.engine.cells import from_text, to_text
from geoquarry.engine.exchange import csv_lines, facts_path, read_csv, read_facts
from geoquarry.engine.layout import iceberg_schema, table_properties
from geoquarry.engine.maxcompute_ddl import arrow_type
from geoquarry.jobs.upload import _schema
from geoquarry.schemas import blob
from geoquarry.schemas.csvfile import parse_rows
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.formula import bands_of, denominators, parse
from geoquarry.schemas.grid import grid
from geoquarry.schemas.index import read_catalogue
from geoquarry.schemas.redact import redacted
from geoquarry.schemas.sensor import read_bands
from geoquarry.schemas.tables import (
    ISSUE,
    TIMESTAMP,
    OutputBand,
    facts,
    results_schema,
    tiles_schema,
)
from geoquarry.udfs.indices import evaluate

GRID = "res-30_tilesize-4"
BANDS = ("b01", "b02", "b3n", "b04", "b05")
RESULTS = results_schema("aster_l1t", GRID, "mosaic", [OutputBand("m01", "band 1")])
TILES = tiles_schema("aster_l1t", GRID)


def csv(data: bytes) -> None:
    """A CSV in our own layout; rows that are taken fit the table's columns."""
    schema = TILES if data[:1] != b"r" else RESULTS
    path = scratch("case.csv", data[1:])
    taken = 0
    for row in read_csv(path, schema, on_error=lambda error: None):
        taken += 1
        for field in schema:
            value = row[field.name]
            pa.array([value], field.type)
            assert from_text(to_text(value, field.type), field.type) == value or value != value
    refuse_nothing(taken)


def _csvs() -> tuple[bytes, ...]:
    one = blob.encode([[1, 2]], codec="raw").hex()
    tile = f'"{GRID}",1,2,g,2006-06-18T17:48:58Z,"[1.5, null]","[""HGH""]",0.25,{one}'
    head = "grid,tile_x,tile_y,granule_id,acquired,xa,gain_code,aod550,b01"
    issue = '"[{""granule_id"": ""g"", ""column"": ""b01"", ""error"": ""e""}]"'
    return (
        f"t{head}\n{tile}\n".encode(),
        b"t" + f"{head}\r\n{tile}\r\nbad\r\n".encode("utf-8-sig"),
        f"rgrid,tile_x,tile_y,status,issues,m01\n{GRID},1,2,ok,{issue},{one}\n".encode(),
        f"rgrid,tile_x,tile_y\n{GRID},,2\n".encode(),
    )


TYPES = (
    pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.binary(),
    TIMESTAMP, pa.list_(pa.float64()), pa.list_(pa.string()), pa.list_(ISSUE),
)  # fmt: skip


def cell(data: bytes) -> None:
    """One cell of every type, there and back."""
    if not data:
        return
    type_ = TYPES[data[0] % len(TYPES)]
    try:
        value = from_text(data[1:].decode("utf-8", "surrogateescape"), type_)
    except ValueError as error:
        if type(error) in (ValueError, UnicodeDecodeError):  # what `from_text` promises
            return
        raise
    scalar = pa.scalar(value, type_).as_py()
    again = from_text(to_text(scalar, type_), type_)
    assert pa.scalar(again, type_).equals(pa.scalar(scalar, type_)) or _has_nan(scalar)


def _has_nan(value: object) -> bool:
    if isinstance(value, list):
        return any(_has_nan(item) for item in value)
    return isinstance(value, float) and math.isnan(value)


def gmi(data: bytes) -> None:
    """A CSV in the published layout."""
    path = scratch("gmi.csv", data)
    is_gmi(next(csv_lines(path), (0, []))[1])
    taken = 0
    for row in itertools.islice(read_gmi_csv(path, on_error=lambda error: None), 5):
        taken += 1
        for field in tiles_schema("aster_l1t", row["grid"]):
            pa.array([row.get(field.name)], field.type)
    refuse_nothing(taken)


def refuse_nothing(taken: int) -> None:
    """Rows left out are told one by one; a file without a good one counts as refused."""
    if not taken:
        raise InputError("no row could be used")


def _gmis() -> tuple[bytes, ...]:
    meta = {
        "CALENDARDATE": "20060618", "TIMEOFDAY": "174858000000Z",
        "SOLARDIRECTION": "131.5, 68.2", "POINTINGANGLE.1": "0.0", "POINTINGANGLE.2": "-0.02",
        "FLYINGDIRECTION": "DE", "GAIN.1": "01, HGH", "GAIN.2": "02, HGH", "GAIN.3": "3N, NOR",
        **{f"GAIN.{n}": f"0{n}, NOR" for n in range(4, 10)},
        **{f"{key}{n}": "0.7" for n in ("1", "2", "3N", *"456789") for key in ("INCL", "OFFSET")},
    }  # fmt: skip
    paras = {
        name.replace("_Image", ":Image"): {"a": 0.01, "b": 0.02, "c": 0.1}
        for name in COLUMNS
        if "ImageData" in name
    }

    def record(about: str, coefficients: str, reference: str) -> bytes:
        cells = ["AST_L1T_00306182006174858_1", "0", "0", "1", "2", "3", "2", GRID]
        cells += [about, coefficients, *["010203040506"] * 9, *[reference] * 7]
        return ",".join('"' + text.replace('"', '""') + '"' for text in cells).encode()

    header = ",".join(COLUMNS).encode()
    plain = record(json.dumps(meta), json.dumps(paras), "")
    python = record(str(meta), str(paras), "6400" * 16)
    return header + b"\n" + plain, python + b"\n" + plain + b"\n", header + b"\n" + python


def facts_json(data: bytes) -> None:
    """Facts beside a CSV: what they say must make a table, or be refused."""
    path = scratch("facts.csv", b"")
    scratch(facts_path(path).name, data)
    schema = _schema(read_facts(path), None, path)
    facts(schema)
    iceberg_schema(schema)
    table_properties(schema)


def odl_text(data: bytes) -> None:
    """Metadata of a granule: one text, or split pieces (separated by a form feed)."""
    parts = data.decode("latin-1").split("\f")
    found = odl.read({f"core.{n}": part for n, part in enumerate(parts)}, ("core",), "case")
    for name in itertools.islice(found.items, 5):
        found.values(name)
        for ask in (lambda n: found.number(n), lambda n: found.numbers(n, 2)):
            with contextlib.suppress(InputError):
                ask(name)


ODL = """GROUP = INVENTORYMETADATA
  GROUPTYPE = MASTERGROUP
  OBJECT = GAIN
    CLASS = "1"
    NUM_VAL = 2
    VALUE = ("01", "HGH")
  END_OBJECT = GAIN
  OBJECT = C
    CLASS = "2"
    OBJECT = INNER
      VALUE = 4.5
    END_OBJECT = INNER
  END_OBJECT = C
END_GROUP = INVENTORYMETADATA
END
"""
STRUCT = 'GROUP=S\n\tGROUP=D_1\n\t\tDimensionName="a"\n\t\tSize=14\n\tEND_GROUP=D_1\n'
STRUCT += "\t\tUpperLeftPointMtrs=(441.5,-1e6)\n\t\tProjection=GCTP_UTM\nEND_GROUP=S\nEND\n\0\0"


def formula(data: bytes) -> None:
    """An index formula; what is accepted runs on pixels."""
    program = parse(data.decode("utf-8", "surrogateescape"), BANDS)
    assert set(denominators(program)) <= set(bands_of(program)) <= set(BANDS)
    value = evaluate(program, {name: np.float32([[0.5, np.nan]]) for name in BANDS})
    assert np.asarray(value).dtype == np.float32


def grid_name(data: bytes) -> None:
    """A grid by name; what is accepted is a finite grid."""
    found = grid(data.decode("utf-8", "surrogateescape"))
    assert found.tile_count >= 1
    assert all(map(math.isfinite, found.bounds(found.tile_count - 1, 0)))
    left, bottom, right, top = found.bounds(0, 0)
    assert (0, 0) in list(itertools.islice(found.tiles(left, bottom, right, top), 4))


def secrets(data: bytes) -> None:
    """A message on its way out: done once is done, and what it found is gone."""
    text = data.decode("utf-8", "surrogateescape")
    done = redacted(text)
    assert redacted(done) == done
    hidden = redacted(f"{text} password='{MARK}'")
    assert MARK not in hidden or text.count("'") % 2 or text.count('"') % 2, hidden


MARK = "hush-hush"


def type_text(data: bytes) -> None:
    """A column type as MaxCompute spells it."""
    type_ = arrow_type(data.decode("utf-8", "replace"))
    assert isinstance(type_, pa.DataType)


def catalogue(data: bytes) -> None:
    """The catalogue of indices, and a band table."""
    text = data[1:].decode("utf-8", "surrogateescape")
    rows = parse_rows(text, "case")
    if data[:1] == b"i":
        read_catalogue(rows, "aster_l1t", BANDS)
    else:
        read_bands(rows, "case")


INDEX_HEAD = "name,sensor,title,formula,meaning,scale,valid_min,valid_max,mask,reference,source"
BAND_HEAD = (
    "band,number,role,hdf_eos,stac,earth_engine,wavelength_min_um,wavelength_max_um,"
    "resolution_m,swath,irradiance_w_m2_um"
)
TARGETS = (
    Target("csv", csv, _csvs(), words('grid tile_x granule_id "" NaN inf -0 1e400 null'), share=50),
    Target("cell", cell, tuple(bytes([n]) + text for n in range(len(TYPES)) for text in (
        b"1", b"[1, null]", b'["a"]', b'[{"error": "x"}]', b"2006-06-18T17:48:58Z", b"true", b"")),
        words("null NaN Infinity [ ] { } + - Z 00 24:00 9999-12-31 0001-01-01"), share=90,
        longest=256),
    Target("gmi", gmi, _gmis(), words('"" SOLARDIRECTION GAIN.1 1e999 -1 ] [ { nan'), share=30,
           longest=8192),
    Target("facts", facts_json, (
        b'{"kind": "tiles", "sensor": "aster_l1t", "grid": "res-30_tilesize-4"}',
        json.dumps(facts(RESULTS)).encode(), b"{}", b"[[1]]"),
        words('"kind" "tiles" "results" "bands" "name" [ ] { } null 1e999'), share=40,
        longest=2048),
    Target("odl", odl_text, (
        ODL.encode(), STRUCT.encode(), (ODL[:90] + "\f" + ODL[90:]).encode()),
        words("GROUP OBJECT END_GROUP END_OBJECT END VALUE CLASS = ( ) { } <m> \" /* */ -\n 2#1#"),
           share=60, longest=1024),
    Target("formula", formula, (b"(b05 + b04) / b02", b"1.5 * b3n - 2e-3", b"b01/(b02-b01)"),
           words("b01 b3n ( ) + - * / ** // 1e5 0x1 1_0 lambda if : [ ] . __"), share=100,
           longest=600),
    Target("grid", grid_name, (
           b"res-30_tilesize-96", b"webmercator-30m-1024", b"res-0.5_tilesize-1"),
           words("res- _tilesize- 999999 0.000001 8192"), share=100, longest=64),
    Target("secrets", secrets, (
           b"postgresql://ann:pw@host/x?sslpassword=pw", b"token: Bearer x, y"),
           words("password = : // @ secret_access_key ' \" { } Bearer ***"), share=50, longest=512),
    Target("type_text", type_text, (b"ARRAY<STRUCT<`a`:STRING,b:ARRAY<DOUBLE>>>", b"varchar(3)"),
           words("ARRAY<  STRUCT< > : , ( ) ` BIGINT"), share=50, longest=2048),
    Target("catalogue", catalogue, (
        f"i{INDEX_HEAD}\nn,aster_l1t,t,b01 / b02,m,0.001,0,5,cloud water,r,s\n# c\n".encode(),
        f"b{BAND_HEAD}\nb01,1,green,V:1,B01,B01,0.52,0.6,15,VNIR,1846\n".encode()),
        words("nan inf # \" , aster_l1t"), share=50, longest=1024),
)  # fmt: skip
