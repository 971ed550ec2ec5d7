"""One data file: what is in it, and that it appears whole or not at all."""

import importlib.util
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geoquarry.engine.batches import digest_of, row_batch, rows_of
from geoquarry.engine.datafile import RowWriter, safe_name
from geoquarry.engine.index import read_index
from geoquarry.engine.local import open_engine
from geoquarry.engine.plan import RowRef
from geoquarry.engine.rows import as_dict, read_batches
from geoquarry.schemas.errors import TableError

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


@pytest.fixture
def layout(tmp_path):
    engine = open_engine(str(tmp_path / "wh"))
    engine.create("aster", toy.TILES)
    return engine.warehouse.table("aster").layout


def write(layout, rows, name="G1"):
    writer = RowWriter(layout, layout.data_path("c1", name))
    for batch in rows_of(rows, layout):
        writer.add(batch)
    return writer.close()


def test_one_row_per_row_group_without_dictionary_and_blobs_not_packed_again(layout):
    file = write(layout, [toy.row("G1", x, 0) for x in range(3)])
    footer = pq.read_metadata(file.path)
    assert footer.num_row_groups == 3
    for place in range(footer.num_columns):
        column = footer.row_group(0).column(place)
        assert not column.has_dictionary_page
        raster = column.path_in_schema in layout.blobs
        assert column.compression == ("UNCOMPRESSED" if raster else "ZSTD")
        assert bool(column.is_stats_set) == (not raster)


def test_every_leaf_carries_its_field_id(layout):
    file = write(layout, [toy.row("G1", 0, 0)])
    schema = pq.read_schema(file.path)
    ids = [int(field.metadata[b"PARQUET:field_id"]) for field in schema]
    nested = schema.field("view_zenith_deg").type.value_field
    assert len(set(ids)) == len(schema.names)
    assert int(nested.metadata[b"PARQUET:field_id"]) not in ids


def test_rows_come_back_as_they_went_in(layout):
    rows = [toy.row("G1", x, 0, value=x + 1) for x in range(3)]
    file = write(layout, rows)
    name = file.path.removeprefix(f"{layout.location}/data/")
    refs = [RowRef(name, group, "G1", "", 0) for group in (2, 0)]
    found = [as_dict(batch) for batch in read_batches(layout, refs, layout.schema.names)]
    for back, place in zip(found, (2, 0), strict=True):
        for column, value in rows[place].items():
            assert (bytes(back[column]) if column in ("b01", "b02") else back[column]) == value


def test_batches_of_another_column_order_and_offset_width_are_taken(layout):
    row = toy.row("G1", 0, 0)
    batch = row_batch(row, layout)
    wide = pa.record_batch(
        {"b01": batch.column("b01").cast(pa.large_binary())}
        | {name: batch.column(name) for name in reversed(batch.schema.names) if name != "b01"}
    )
    assert next(rows_of([wide], layout)).equals(batch)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"b99": b"x"}, "b99"),
        ({"granule_id": None}, "granule_id"),
        ({"tile_x": "one"}, "tile_x"),
        ({"tile_x": 2**40}, "tile_x"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_name(layout, change, word):
    with pytest.raises(TableError, match=word):
        row_batch(toy.row("G1", 0, 0) | change, layout)


def test_index_holds_all_but_rasters_and_can_be_rebuilt_exactly(layout):
    file = write(layout, [toy.row("G1", x, 0, value=x) for x in range(3)])
    before = read_index(layout, file.path)
    assert set(layout.schema.names) - set(layout.blobs) < set(before.column_names)
    assert before.column("row_group").to_pylist() == [0, 1, 2]
    os.remove(layout.index_path(file.path))
    assert read_index(layout, file.path).equals(before)


def test_digest_ignores_who_wrote_the_row_and_columns_added_later(layout):
    row = as_dict(row_batch(toy.row("G1", 0, 0), layout))
    assert digest_of(row) == digest_of(row | {"ingest_id": "x", "later": None})
    assert digest_of(row) != digest_of(row | {"aod550": 0.2})


def test_nothing_is_visible_before_the_file_is_complete(layout):
    writer = RowWriter(layout, layout.data_path("c1", "G1"))
    writer.add(row_batch(toy.row("G1", 0, 0), layout))
    folder = Path(layout.location, "data", "c1")
    assert not list(folder.glob("*.parquet"))
    writer.abort()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("text", ["../up", "a/b", "a b", ".hidden", "ä", "", "x" * 300])
def test_any_identity_gives_a_plain_file_name(text):
    name = safe_name(text)
    assert name == Path(name).name
    assert name.isascii()
    assert len(name) < 140
    assert not name.startswith("..") or "-" in name
    assert name != safe_name(text + "_")
