"""CSV and Parquet files of rows: lossless, one row in memory, bad rows named."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geoquarry.engine.exchange import (
    read_csv,
    read_facts,
    read_parquet,
    rows_of,
    write_csv,
    write_parquet,
)
from geoquarry.schemas import blob
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.tables import OutputBand, facts, results_schema, tiles_schema

SCHEMA = results_schema("aster_l1t", "res-30_tilesize-32", "mosaic", [OutputBand("red", "red")])


def row(tile_x, **more):
    """One result row; its raster is long enough to pass the usual limit of a CSV field."""
    found = dict.fromkeys(SCHEMA.names)
    raster = np.random.default_rng(tile_x).integers(-9, 9999, (256, 256), np.int16)
    found |= {"grid": "res-30_tilesize-32", "tile_x": tile_x, "tile_y": 5, "message": "", **more}
    found |= {"granules": ["B", "A"], "issues": [{"granule_id": "C", "column": "", "error": "x"}]}
    return found | {"red": blob.encode(raster, codec="raw", delta=False)}


def batches(*rows):
    return [pa.RecordBatch.from_pylist([r], schema=SCHEMA) for r in rows]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_come_back_as_they_were(tmp_path, kind):
    rows = [row(3), row(4, message='two\nlines, "quoted"', provenance="{}"), row(5, status="ok")]
    write, read = {"csv": (write_csv, read_csv), "parquet": (write_parquet, read_parquet)}[kind]
    path = tmp_path / f"a.{kind}"
    assert write(path, batches(*rows), SCHEMA) == 3
    assert list(read(path, SCHEMA)) == rows
    assert write(path, [], SCHEMA) == 0
    assert list(read(path, SCHEMA)) == []
    assert not list(tmp_path.glob(".*"))


def test_facts_travel_with_both(tmp_path):
    write_csv(tmp_path / "a.csv", [], SCHEMA)
    write_parquet(tmp_path / "a.parquet", [], SCHEMA)
    assert read_facts(tmp_path / "a.csv") == facts(SCHEMA)
    assert facts(pq.read_schema(tmp_path / "a.parquet")) == facts(SCHEMA)
    assert read_facts(tmp_path / "b.csv") == {}


def test_parquet_has_one_row_per_row_group(tmp_path):
    write_parquet(tmp_path / "a.parquet", batches(row(3), row(4)), SCHEMA)
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 2


def test_hex_of_pixels_is_what_numpy_reads(tmp_path):
    write_csv(tmp_path / "a.csv", batches(row(3)), SCHEMA, hexadecimal="pixels")
    csv.field_size_limit(10**9)
    with open(tmp_path / "a.csv", newline="") as file:
        (line,) = csv.DictReader(file)
    pixels = np.frombuffer(bytes.fromhex(line["red"]), "<i2").reshape(256, 256)
    np.testing.assert_array_equal(pixels, blob.decode(row(3)["red"]))
    with pytest.raises(InputError, match=r"column 'red': Not a tile blob.*--hex blob"):
        list(read_csv(tmp_path / "a.csv", SCHEMA))


def test_bad_rows_are_named_and_the_others_go_on(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, batches(row(3, message="two\nlines"), row(4), row(5), row(6)), SCHEMA)
    text = path.read_text().replace(",4,5,", ",four,5,").replace(",5,5,", ",,5,")
    path.write_text(text + "\n1,2\n")
    errors = []
    assert [r["tile_x"] for r in read_csv(path, SCHEMA, on_error=errors.append)] == [3, 6]
    assert [str(e).split(": ", 1)[0] for e in errors] == [
        f"'{path}', line 4, column 'tile_x'",
        f"'{path}', line 5, column 'tile_x'",
        f"'{path}', line 8",
    ]
    with pytest.raises(InputError, match="'four' is not int32"):
        list(read_csv(path, SCHEMA))


def test_bad_rows_of_parquet_too(tmp_path):
    write_parquet(tmp_path / "a.parquet", batches(row(3), {**row(4), "red": b"GQ"}), SCHEMA)
    errors = []
    read = read_parquet(tmp_path / "a.parquet", SCHEMA, on_error=errors.append)
    assert [r["tile_x"] for r in read] == [3]
    assert "row 2, column 'red': Tile blob of 2 bytes" in str(errors[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing grid, tile_x, tile_y"),
        ("grid,tile_x,tile_y,colour\n", "unknown colour"),
        ("grid,tile_x,tile_y,red,red\n", "twice red"),
        ("grid,tile_x\n", "missing tile_y"),
        (b"\x89HDF\xff\xfe", "not CSV text"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        list(read_csv(path, SCHEMA))
    with pytest.raises(InputError, match="as Parquet"):
        list(read_parquet(path, SCHEMA))
    with pytest.raises(InputError, match="Cannot read"):
        list(read_csv(tmp_path / "none.csv", SCHEMA))


def test_columns_may_stand_in_any_order_and_nullable_ones_be_missing(tmp_path):
    (tmp_path / "a.csv").write_text("\ufefftile_y,grid,tile_x\n5,g,3\n", encoding="utf-8")
    (found,) = read_csv(tmp_path / "a.csv", SCHEMA)
    assert (found["tile_x"], found["tile_y"], found["red"]) == (3, 5, None)
    pq.write_table(pa.table({"tile_y": [5], "grid": ["g"], "tile_x": [3]}), tmp_path / "a.parquet")
    (again,) = read_parquet(tmp_path / "a.parquet", SCHEMA)
    assert again == found


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_csv(tmp_path / "a.csv", batches(row(3)), SCHEMA)
    before = (tmp_path / "a.csv").read_bytes()

    def broken():
        yield from batches(row(4))
        raise InputError("the table is damaged")

    for write, name in ((write_csv, "a.csv"), (write_parquet, "a.parquet")):
        with pytest.raises(InputError, match="damaged"):
            write(tmp_path / name, broken(), SCHEMA)
    assert (tmp_path / "a.csv").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.csv-metadata.json"]


def test_rows_of_gives_one_row_at_a_time():
    assert [r["tile_x"] for r in rows_of(batches(row(1), row(2)))] == [1, 2]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rasters_are_looked_at_as_check_does(tmp_path, kind):
    """Cut short, a changed pixel, another dtype, none: each costs its own row."""
    whole = row(3)["red"]
    wrong = {
        4: (whole[:100], "Tile blob is damaged"),
        5: (whole[:-1] + bytes([whole[-1] ^ 1]), "checksum"),
        6: (blob.encode(np.zeros((4, 4), np.uint8)), "a raster of uint8, the table declares int16"),
        7: (None, "no raster in red"),
    }
    bad = [{**row(x, status="ok"), "red": value} for x, (value, _) in wrong.items()]
    write, read = {"csv": (write_csv, read_csv), "parquet": (write_parquet, read_parquet)}[kind]
    empty = {**row(8, status="empty"), "red": None}
    write(tmp_path / "a", batches(row(3), *bad, empty), SCHEMA)
    errors = []
    found = list(read(tmp_path / "a", SCHEMA, on_error=errors.append))
    assert [one["tile_x"] for one in found] == [3, 8]
    for error, (_, text) in zip(errors, wrong.values(), strict=True):
        assert text in str(error)


def test_tiles_without_any_band_are_refused(tmp_path):
    schema = tiles_schema("aster_l1t", "g")
    (tmp_path / "a.csv").write_text("grid,tile_x,tile_y,granule_id\ng,3,5,A\n")
    with pytest.raises(InputError, match="none of the columns b01, b02"):
        list(read_csv(tmp_path / "a.csv", schema))
    (tmp_path / "a.csv").write_text("grid,tile_x,tile_y,granule_id,b01\ng,3,5,A,\n")
    with pytest.raises(InputError, match="line 2: no raster in b01, b02"):
        list(read_csv(tmp_path / "a.csv", schema))
