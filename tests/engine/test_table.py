"""Tables and warehouses: names, schemas, snapshots, and folders that were moved."""

import importlib.util
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.manifest import ManifestContent

from geoquarry.engine.load import load
from geoquarry.engine.local import open_engine
from geoquarry.engine.relocate import relocate
from geoquarry.engine.warehouse import open_warehouse
from geoquarry.schemas.errors import TableError, UnknownName, UsageError
from geoquarry.schemas.tables import facts

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


@pytest.fixture
def engine(tmp_path):
    return open_engine(str(tmp_path / "wh"))


@pytest.mark.parametrize("schema", [toy.TILES, toy.RESULTS])
def test_schema_comes_back_identical_with_comments_and_facts(engine, schema):
    engine.create("t", schema)
    again = open_engine(engine.warehouse.location)
    assert again.schema("t").equals(schema, check_metadata=True)
    assert again.describe("t")["facts"] == facts(schema)
    about = {column["name"]: column["about"] for column in again.describe("t")["columns"]}
    assert about["flags"] == schema.field("flags").metadata[b"about"].decode()


def test_other_programs_see_the_comments_as_docs(engine):
    engine.create("t", toy.TILES)
    field = engine.warehouse.table("t").iceberg.schema().find_field("aod550")
    assert field.doc == toy.TILES.field("aod550").metadata[b"about"].decode()


@pytest.mark.parametrize(
    "name", ["", "ä", "a b", "a.b", 'a"b', "a'b", "a;b", "../a", "1a", "a" * 65, "a\n", "größe"]
)
def test_odd_table_names_are_refused(engine, name):
    for verb in (lambda: engine.create(name, toy.TILES), lambda: engine.drop(name),
                 lambda: engine.read(name), lambda: engine.exists(name)):  # fmt: skip
        with pytest.raises(UsageError, match="no table name"):
            verb()


def test_names_that_exist_not_or_twice(engine):
    with pytest.raises(UnknownName, match=r"No table 'aster'.*none yet"):
        engine.read("aster")
    engine.create("aster", toy.TILES)
    with pytest.raises(TableError, match="exists already"):
        engine.create("aster", toy.TILES)
    assert engine.tables() == ["aster"]


@pytest.mark.parametrize("type_", [pa.uint8(), pa.timestamp("ns"), pa.large_binary()])
def test_types_that_tables_cannot_hold_are_refused_at_creation(engine, type_):
    with pytest.raises(TableError, match="'odd'"):
        engine.create("t", pa.schema([pa.field("k", pa.string(), nullable=False), ("odd", type_)]))
    assert engine.tables() == []


def test_drop_deletes_files_and_the_name_is_free(engine):
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row("G1", 0, 0)])
    folder = Path(engine.describe("aster")["location"])
    uuid = engine.describe("aster")["uuid"]
    engine.drop("aster")
    assert not folder.exists()
    engine.create("aster", toy.TILES)
    assert engine.describe("aster")["uuid"] != uuid
    assert engine.read("aster").read_all().num_rows == 0


def test_history_and_as_of(engine):
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row("G1", 0, 0)], kind="upload", properties={"who": "me"})
    engine.append("aster", [toy.row("G2", 0, 0), toy.row("G1", 0, 0)])
    first, second = engine.history("aster")
    assert (first["kind"], first["added_rows"], first["properties"]["who"]) == ("upload", 1, "me")
    assert (second["added_rows"], second["removed_rows"], second["rows"]) == (2, 1, 2)
    old = engine.read("aster", columns=["granule_id"], as_of=first["snapshot_id"]).read_all()
    assert old.column(0).to_pylist() == ["G1"]
    with pytest.raises(UnknownName, match="no snapshot 7"):
        engine.read("aster", as_of=7)


def test_a_table_with_delete_files_is_refused(engine, monkeypatch):
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row("G1", 0, 0)])
    table = engine.warehouse.table("aster")
    manifest = table.iceberg.current_snapshot().manifests(table.iceberg.io)[0]
    monkeypatch.setattr(type(manifest), "content", property(lambda self: ManifestContent.DELETES))
    with pytest.raises(TableError, match="delete files"):
        table.files()


def test_column_added_later_is_null_in_old_rows(engine):
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row("G1", 0, 0)])
    table = engine.warehouse.table("aster")
    with table.iceberg.update_schema() as update:
        from pyiceberg.types import DoubleType

        update.add_column("quality", DoubleType(), doc="added later")
    engine.append("aster", [toy.row("G2", 0, 0, quality=0.5)])
    found = engine.read("aster", columns=["granule_id", "quality", "b01"]).read_all()
    assert found.column("quality").to_pylist() == [None, 0.5]
    counted = engine.sql("SELECT granule_id FROM aster WHERE quality > 0.1").read_all()
    assert counted.column(0).to_pylist() == ["G2"]


def test_moved_or_copied_folder_is_named_and_relocate_offered(engine, tmp_path):
    engine.create("aster", toy.TILES)
    shutil.copytree(tmp_path / "wh", tmp_path / "copy")
    with pytest.raises(TableError, match="relocate"):
        open_engine(str(tmp_path / "copy")).read("aster")
    shutil.move(tmp_path / "wh", tmp_path / "moved")
    with pytest.raises(TableError, match="relocate"):
        open_engine(str(tmp_path / "moved")).read("aster")


def test_folder_names_may_be_odd_and_links_are_the_same_warehouse(tmp_path):
    odd = tmp_path / "a b?c#d%20é'"
    engine = open_engine(str(odd))
    engine.create("aster", toy.TILES)
    engine.append("aster", [toy.row("G1", 0, 0)])
    (tmp_path / "link").symlink_to(odd)
    assert open_engine(str(tmp_path / "link")).read("aster").read_all().num_rows == 1


def test_uri_and_file_are_no_folders(tmp_path):
    with pytest.raises(UsageError, match="catalog URI"):
        open_warehouse("s3://bucket/wh")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        open_warehouse(str(tmp_path / "file"))


def test_engines_by_name():
    assert load("local").open_engine is open_engine
    with pytest.raises(UnknownName, match="No engine 'sparc'"):
        load("sparc")


def test_relocate_keeps_rows_history_and_lets_work_go_on(engine, tmp_path):
    engine.create("aster", toy.TILES)
    for number in range(3):
        engine.append("aster", [toy.row(f"G{number % 2}", 0, 0, value=number)])
    before = engine.read("aster").read_all()
    history = engine.history("aster")
    shutil.copytree(tmp_path / "wh", tmp_path / "copy")
    copy = open_engine(str(tmp_path / "copy"))
    assert relocate(copy.warehouse) == ["aster"]
    assert relocate(copy.warehouse) == []
    shutil.move(tmp_path / "wh", tmp_path / "away")
    assert copy.read("aster").read_all().equals(before)
    assert copy.history("aster") == history
    old = copy.read("aster", ["granule_id"], as_of=history[0]["snapshot_id"]).read_all()
    assert old.column(0).to_pylist() == ["G0"]
    assert copy.check("aster") == []
    copy.append("aster", [toy.row("G0", 0, 0, value=9)])
    copy.vacuum("aster", timedelta(0), keep=1)
    assert copy.read("aster").read_all().num_rows == 2
    assert copy.check("aster") == []


def test_relocate_refuses_half_a_folder(engine, tmp_path):
    engine.create("aster", toy.TILES)
    (tmp_path / "half").mkdir()
    shutil.copy(tmp_path / "wh" / "catalog.db", tmp_path / "half")
    with pytest.raises(TableError, match="not moved as a whole"):
        relocate(open_engine(str(tmp_path / "half")).warehouse)
