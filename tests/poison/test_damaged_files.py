"""Data files that a disk has damaged: an export loses only the rows in them, and says which."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from geoquarry.engine.commit import Change, commit
from geoquarry.engine.tile import TileWork
from geoquarry.jobs import export_files, export_rows
from geoquarry.jobs.export import export
from geoquarry.schemas.errors import TableError

pytestmark = pytest.mark.kill  # many fits of damage; beside the other faults


def data_file(engine, table, tile_x):
    """Where the row of a tile lies."""
    found = engine.warehouse.table(table)
    place = next(f for f in found.files() if found.bounds(f, ("tile_x",))[0] == (tile_x, tile_x))
    return Path(place.file_path)


def no_text(data):
    """The same size; a text in it is not UTF-8 any more."""
    return data.replace(b"mosaic", b"\xffosaic")


DAMAGE = {
    "cut off": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a byte of its end": lambda data: data[:-40] + bytes([data[-40] ^ 0xFF]) + data[-39:],
    "zeros in its middle": lambda data: data[:200] + bytes(60) + data[260:],
    "a text that is none": no_text,
}


@pytest.fixture
def maps(ask, store, rows):
    """An engine with three maps."""
    engine = store(rows)
    assert ask("run", "mosaic", "tiles", "maps", "--scope", "tile")[0] == 0
    return engine


def newest_job(ask):
    return json.loads(ask("jobs", "--json", "--limit", "1")[1])[0]


def failed_units(ask):
    said = json.loads(ask("job", "show", newest_job(ask)["commit_id"], "--json")[1])["shown"]
    return {unit["item"]: unit for unit in said if unit["state"] == "failed"}


@pytest.mark.parametrize("fault", [*DAMAGE, "gone", "the file of another tile"])
def test_an_export_loses_only_the_tiles_of_damaged_files(ask, maps, told, tmp_path, fault):
    path, out = data_file(maps, "maps", 1), tmp_path / "out"
    whole = path.read_bytes()
    if fault == "gone":
        path.unlink()
    elif fault in DAMAGE:
        path.write_bytes(DAMAGE[fault](whole))
    else:
        path.write_bytes(data_file(maps, "maps", 2).read_bytes())
    assert ask("check", "maps")[0] == 3
    code, listed, said = ask("export", "maps", out, "--flags")
    assert code == 3, said
    assert [Path(line).name for line in listed.split()] == [
        "maps_x0_y0.tif", "maps_x0_y0_flags.tif", "maps_x2_y0.tif", "maps_x2_y0_flags.tif"
    ]  # fmt: skip
    assert "Tile 1,0 left out" in said
    assert "Tile 2,0" not in said
    assert newest_job(ask)["status"] == "partial"
    units = failed_units(ask)
    assert units.keys() == {"maps_x1_y0.tif", "maps_x1_y0_flags.tif"}
    for unit in units.values():
        assert unit["error_class"] == "TableError"
        assert "'maps'" in unit["reason"]
    path.write_bytes(whole)
    code, listed, _ = ask("job", "retry", newest_job(ask)["commit_id"])
    assert code == 0
    assert [Path(line).name for line in listed.split()] == [*units]
    told(f"a map's file: {fault}", "export", "3, tile named; mended and retried: 0", 3, 3)


def test_a_damaged_granule_costs_only_its_own_rows(ask, store, rows, told, tmp_path):
    engine = store(rows)
    path = next(
        Path(f.file_path)
        for f in engine.warehouse.table("tiles").files()
        if "granule_001" in f.file_path
    )
    path.write_bytes(path.read_bytes()[:3000])
    code, listed, said = ask("export", "tiles", tmp_path)
    assert code == 3
    assert len(listed.split()) == 3
    assert all("granule_000" in line for line in listed.split())
    assert [f"Tile {x},0 of granule_001 left out" in said for x in range(3)] == [True] * 3
    told("a granule's file, cut off", "export", "3, its rows named", 6, 6)


def test_a_mosaic_lacks_what_cannot_be_read_and_is_made_again(ask, maps, told, tmp_path):
    path = data_file(maps, "maps", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    assert ask("export", "maps", tmp_path, "--merge")[0] == 3
    assert newest_job(ask)["status"] == "partial"
    with rasterio.open(tmp_path / "maps.tif") as file:
        assert file.tags()["TILES"] == "2"
    path.write_bytes(whole)
    assert ask("job", "retry", newest_job(ask)["commit_id"])[0] == 0
    with rasterio.open(tmp_path / "maps.tif") as file:
        assert file.tags()["TILES"] == "3"
    told("a map's file, cut off", "export --merge", "3, tile named; mended: 0", 3, 3)


@pytest.mark.parametrize("tiles", [("0,0", "1,0"), ("1,0",)])
def test_a_mosaic_without_a_failed_tile_is_not_called_done(
    ask, store, rows, tmp_path, monkeypatch, tiles
):
    """The tile failed when it was computed: the ledger says so, and it can be tried again."""
    store(rows)
    compute = TileWork.compute

    def fails(self, task):
        row = compute(self, task)
        return row | ({"status": "failed", "message": "no sun"} if task.tile_x == 1 else {})

    monkeypatch.setattr(TileWork, "compute", fails)
    assert ask("run", "mosaic", "tiles", "maps", "--scope", "tile")[0] == 3
    code = ask("export", "maps", tmp_path, "--merge", "--tiles", *tiles)[0]
    assert code == (3 if len(tiles) > 1 else 1)
    assert newest_job(ask)["status"] == ("partial" if len(tiles) > 1 else "failed")
    monkeypatch.undo()
    assert ask("run", "mosaic", "tiles", "maps", "--scope", "tile")[0] == 0
    exported = json.loads(ask("jobs", "--json")[1])
    failed = next(row["commit_id"] for row in exported if row["kind"] == "export")
    assert ask("job", "retry", failed)[0] == 0
    assert newest_job(ask)["status"] == "done"


def test_a_key_twice_is_no_map(ask, maps, told, tmp_path):
    """Which of two is the right one nobody can tell."""
    table = maps.warehouse.table("maps")
    (row,) = maps.read("maps", tiles=[(1, 0)]).read_all().to_pylist()
    from geoquarry.engine.batches import row_batch
    from geoquarry.engine.datafile import RowWriter

    writer = RowWriter(table.layout, table.layout.data_path("twice", "x1_y0"))
    writer.add(row_batch(row, table.layout))
    file = writer.close()
    commit(table, lambda _: Change(add=[file]), commit_id="twice", kind="test")
    code, listed, said = ask("export", "maps", tmp_path)
    assert (code, len(listed.split())) == (3, 2)
    assert "its key is in 'maps' 2 times" in said
    told("a key twice in a table of maps", "export", "3, tile named", 4, 4)


def test_an_export_is_of_one_snapshot_whoever_commits_meanwhile(ask, maps, tmp_path, monkeypatch):
    """Reading is begun anew behind a damaged file: not on what is the newest by then."""
    write, digests = export_files.write_geotiff, []
    (row,) = maps.read("maps", tiles=[(2, 0)]).read_all().to_pylist()

    def replaced(path, *arguments, **options):
        if not digests:
            maps.append("maps", [row | {"input_digest": "of another run"}])
        digests.append(options["tags"]["INPUT_DIGEST"])
        return write(path, *arguments, **options)

    monkeypatch.setattr(export_files, "write_geotiff", replaced)
    data_file(maps, "maps", 1).write_bytes(b"")
    assert len(export(maps, "maps", tmp_path, on_failed=lambda _: None)) == 2
    assert digests[1] == row["input_digest"]


def test_a_storage_that_does_not_answer_ends_the_export(maps, tmp_path, monkeypatch):
    """Not every row waits for it in turn."""
    read, asked = maps.read, []

    def silent(table, columns, *arguments, **options):
        asked.append(options)
        if "b01" in columns:
            raise TableError("no answer")
        return read(table, columns, *arguments, **options)

    monkeypatch.setattr(maps, "read", silent)
    monkeypatch.setattr(export_rows, "PATIENCE_S", -1.0)
    with pytest.raises(TableError, match="no answer"):
        export(maps, "maps", tmp_path)
    assert len(asked) == 2


INDEX_DAMAGE = {name: DAMAGE[name] for name in DAMAGE if name != "a text that is none"} | {
    "a text that is none": lambda data: data.replace(b"made up", b"\xffade up"),
    "another table": lambda data: (Path(__file__)).read_bytes(),
}


@pytest.mark.parametrize("fault", [*INDEX_DAMAGE, "gone"])
def test_a_damaged_index_is_made_again(ask, store, rows, told, fault):
    """It says nothing that the data file does not say; its cache may be cold."""
    engine = store(rows)
    table = engine.warehouse.table("tiles")
    before = engine.read("tiles", ["granule_id", "tile_x"]).read_all()
    for file in table.files():
        path = Path(table.layout.index_path(file.file_path))
        if fault == "gone":
            path.unlink()
        else:
            whole = path.read_bytes()
            path.write_bytes(INDEX_DAMAGE[fault](whole))
            assert path.read_bytes() != whole
    table.warehouse.cache_path(f"index/{table.uuid}.parquet").unlink(missing_ok=True)
    code, _, said = ask("run", "mosaic", "tiles", "maps")
    assert code == 0, said
    assert engine.read("tiles", ["granule_id", "tile_x"]).read_all().equals(before)
    told(f"index files: {fault}", "written over", "0, made again", 6, 6)


def test_an_index_and_its_data_that_are_damaged_are_named(ask, store, rows):
    engine = store(rows)
    table = engine.warehouse.table("tiles")
    path = Path(table.files()[0].file_path)
    path.write_bytes(b"nothing")
    Path(table.layout.index_path(str(path))).write_bytes(b"nothing")
    table.warehouse.cache_path(f"index/{table.uuid}.parquet").unlink(missing_ok=True)
    code, _, said = ask("run", "mosaic", "tiles", "maps")
    assert code == 1
    assert path.name in said
    assert "geoquarry check" in said
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert path.name in out


def test_check_names_a_text_that_is_none(ask, store, rows, told):
    engine = store(rows)
    path = Path(engine.warehouse.table("tiles").files()[0].file_path)
    path.write_bytes(path.read_bytes().replace(b"made up", b"\xffade up"))
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert path.name in out
    told("bytes that are no text", "check", "3, row named", 6, 6)


def test_a_row_of_another_sensor_in_a_file_costs_only_itself(ask, store, rows, told, tmp_path):
    """As one of another grid does; a method is one value of a table, too."""
    engine = store(rows)
    file, found = tmp_path / "rows.parquet", engine.read("tiles").read_all()
    place = found.schema.get_field_index("sensor")
    others = pa.array(["other", *found["sensor"].to_pylist()[1:]])
    pq.write_table(found.set_column(place, found.schema.field("sensor"), others), file)
    code, _, said = ask("upload", file, "new")
    assert code == 3
    assert "of sensor 'other'" in said
    assert engine.describe("new")["rows"] == 5
    told("a row of another sensor", "upload", "3, row named", 0, 5)
