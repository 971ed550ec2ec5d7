"""One bad thing among good ones: it is named with its reason, the rest is done, mending mends."""

import json
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows import GRID, SENSOR, made_up_row, made_up_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.tables import tiles_schema

GOOD = made_up_row(1, 0, 1)
PAYLOAD = GOOD["b04"][blob.HEADER.size :]
NOT_GIVEN = dict.fromkeys(("xa", "xb", "xc"))
NAN = [float("nan")] * 9
LARGE = 16000
BAD_BANDS = {
    "wrong header": (b"XXXX" + GOOD["b04"][4:], "Not a tile blob"),
    "header of a later version": (b"GQT1\x09" + GOOD["b04"][5:], "version 9"),
    "truncated blob": (GOOD["b04"][: len(GOOD["b04"]) // 2], "damaged"),
    "flipped bit": (
        GOOD["b04"][:-40] + bytes([GOOD["b04"][-40] ^ 1]) + GOOD["b04"][-39:],
        "amaged",
    ),
    "header says 100 GB": (
        blob.HEADER.pack(b"GQT1", 1, 0, 2, 1, 400_000, 250_000, 1) + PAYLOAD,
        "100000000000 bytes, over the limit",
    ),
    "payload grows a thousandfold": (
        blob.HEADER.pack(b"GQT1", 1, 0, 1, 1, 64, 64, 1) + zlib.compress(bytes(LARGE**2), 9),
        "damaged",
    ),
    "wrong dtype": (blob.encode(np.zeros((64, 64), np.float32)), "uint8"),
    "wrong shape": (blob.encode(np.zeros((5, 5), np.uint8)), "(5, 5)"),
    "no raster": (None, "missing"),
}
BAD_VALUES = {
    "NaN coefficients": ({"xa": NAN}, "finite"),
    "coefficients of another sensor": ({"xb": [0.1] * 3}, "9 finite numbers"),
    "NaN for the sun": ({"sun_zenith_deg": float("nan"), **NOT_GIVEN}, "finite"),
    "NaN aerosol": ({"aod550": float("nan"), **NOT_GIVEN}, "finite"),
}
IN_A_TABLE = {fault: ({"b04": value}, said) for fault, (value, said) in BAD_BANDS.items()}
IN_A_TABLE |= BAD_VALUES


def digest(engine, table):
    return parity_digest(engine.read(table).read_all().to_pylist())


NO_DAMAGE = ("wrong dtype", "wrong shape", "no raster")
"""Faults that only a job can know: the blob as such is in order."""


def newest(ask):
    """Id of the newest job."""
    return json.loads(ask("jobs", "--json", "--limit", "1")[1])[0]["commit_id"]


@pytest.mark.kill  # slow: every kind of bad row is run, mended and tried again
def test_bad_rows_in_a_table(ask, store, told):
    """One bad row in each of many tiles: all named with their reasons, all tiles made without."""
    tiles = [(x, 0) for x in range(len(IN_A_TABLE) + 1)]
    clean = made_up_rows(tiles, granules=2)
    engine = store(clean)
    assert ask("run", "mineral_indices", "tiles", "clean")[0] == 0
    expected = digest(engine, "clean")
    bad = [{**made_up_row(x, 0, 1), **change} for x, (change, _) in enumerate(IN_A_TABLE.values())]
    store(bad)
    code, _, said = ask("run", "mineral_indices", "tiles", "maps")
    assert code == 3, said
    found = engine.read("maps", ["tile_x", "status"]).read_all().to_pylist()
    status = {row["tile_x"]: row["status"] for row in found}
    assert status.pop(len(bad)) == "ok"
    assert set(status.values()) == {"partial"}
    code, listed, _ = ask("check", "tiles")
    assert code == 3
    for x, (fault, (change, reason)) in enumerate(IN_A_TABLE.items()):
        lines = [line for line in said.splitlines() if f"tile {x},0" in line]
        assert any(
            "granule_001" in line and next(iter(change)) in line and reason in line
            for line in lines
        ), (fault, lines)
        seen = f"row {x} column b04" in listed
        assert seen == ("b04" in change and fault not in NO_DAMAGE), (fault, listed)
        told(f"{fault} in a row", "stored past the checks", "3, row named, tile partial", 2, 2)
    store(made_up_rows(tiles[:-1], granules=2))
    assert ask("job", "retry", newest(ask))[0] == 0
    assert digest(engine, "maps") == expected
    told("all of these", "rows mended, `job retry`", "0, digest of the clean table", 28, 28)


def test_a_tile_whose_only_row_is_bad(ask, store, rows, told):
    """A failed tile never takes the place of a good one."""
    engine = store(rows[:3])
    assert ask("run", "mosaic", "tiles", "maps")[0] == 0
    before = digest(engine, "maps")
    store([rows[0], {**rows[1], "b04": b"XXXX" + rows[1]["b04"][4:]}, rows[2]])
    code, _, said = ask("run", "mosaic", "tiles", "maps")
    assert code == 3
    assert "tile 1,0" in said
    assert "Not a tile blob" in said
    kept = engine.read("maps", ["tile_x", "status"]).read_all().to_pylist()
    assert [row["status"] for row in kept] == ["ok"] * 3
    engine.append("tiles", rows[:3])
    assert ask("run", "mosaic", "tiles", "maps")[0] == 0
    assert digest(engine, "maps") == before
    told("the only row of a tile", "wrong header", "3, tile named, its good map stays", 3, 3)


def test_a_row_of_another_grid_in_a_table(ask, store, rows, told):
    store(rows[:4])
    store([{**rows[4], "grid": "res-30_tilesize-96"}])
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert "holds grid 'res-30_tilesize-64'; a row has 'res-30_tilesize-96'" in out
    told("a row of another grid", "stored past the checks", "check: 3, row named", 5, 5)


def test_a_key_twice_in_a_table(ask, store, rows, told):
    """Two files with the same key, as no commit of ours leaves them."""
    from geoquarry.engine.commit import Change, commit
    from geoquarry.engine.granule_file import GranuleFiles

    engine = store(rows)
    table = engine.warehouse.table("tiles")
    file = GranuleFiles(table.layout, "twice").write("granule_001", [rows[4]])
    commit(table, lambda _: Change(add=[file]), commit_id="twice", kind="test")
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert "is also in" in out
    code, _, said = ask("run", "mosaic", "tiles", "maps")
    assert code == 3
    assert "granule_001" in said
    told("duplicate key in a table", "committed past the checks", "check 3; run 3, named", 7, 7)


def changed(table, **change):
    """An Arrow table with one row (tile 1,0 of granule_001) changed."""
    rows = table.to_pylist()
    place = next(
        n for n, r in enumerate(rows) if (r["tile_x"], r["granule_id"]) == (1, "granule_001")
    )
    rows[place].update(change)
    return pa.Table.from_pylist(rows, table.schema)


def many_clouds(table):
    place = table.schema.get_field_index("cloud_fraction")
    words = pa.array(["many" if n == 3 else "0.5" for n in range(len(table))])
    facts = table.schema.metadata
    return table.set_column(place, "cloud_fraction", words).replace_schema_metadata(facts)


UPLOADS = {
    "wrong header": (lambda t: changed(t, b04=b"XXXX"), 3, 5, "b04"),
    "header says 100 GB": (
        lambda t: changed(t, b04=BAD_BANDS["header says 100 GB"][0]),
        3,
        5,
        "over the limit",
    ),
    "a granule of another grid": (
        lambda t: changed(t, grid="res-30_tilesize-96"),
        3,
        5,
        "'res-30_tilesize-96'",
    ),
    "a key twice": (lambda t: pa.concat_tables([t, t.slice(2, 1)]), 3, 6, "comes twice"),
    "a word for a number": (many_clouds, 3, 5, "'cloud_fraction'"),
    "no key column": (lambda t: t.drop_columns(["granule_id"]), 1, 0, "missing granule_id"),
    "an unknown column": (lambda t: t.append_column("b99", t["b04"]), 1, 0, "unknown b99"),
    "no rows": (lambda t: t.slice(0, 0), 0, 0, "0 rows"),
}


@pytest.mark.parametrize("fault", UPLOADS)
def test_a_bad_row_in_a_file(ask, store, rows, told, tmp_path, fault):
    change, wanted, count, reason = UPLOADS[fault]
    engine = store(rows)
    file = tmp_path / "rows.parquet"
    pq.write_table(change(engine.read("tiles").read_all()), file)
    code, _, said = ask("upload", file, "new")
    assert code == wanted, said
    assert reason in said
    there = engine.describe("new")["rows"] if engine.exists("new") else 0
    assert there == count
    told(f"{fault} in an upload", "Parquet file", f"{code}, named", 0, there)


def test_a_missing_band_in_a_file(ask, store, rows, told, tmp_path):
    """The column is nullable: rows come in, a job says what it cannot use."""
    engine = store(rows)
    file = tmp_path / "rows.parquet"
    pq.write_table(engine.read("tiles").read_all().drop_columns(["b04"]), file)
    assert ask("upload", file, "new")[0] == 0
    code, _, said = ask("run", "mosaic", "new", "maps")
    assert code == 1
    assert "b04" in said
    assert "missing" in said
    told("a missing column", "Parquet file without b04", "run: 1, every tile named", 6, 6)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_that_was_cut_off(ask, store, rows, told, tmp_path, kind):
    engine = store(rows)
    whole, half = tmp_path / f"whole.{kind}", tmp_path / f"half.{kind}"
    assert ask("download", "tiles", whole)[0] == 0
    half.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 12])
    code, _, said = ask("upload", half, "tiles")
    assert code == (3 if kind == "csv" else 1)
    assert "half" in said
    assert engine.describe("tiles")["rows"] == 6
    told(f"a cut off {kind} file", "upload", f"{code}, named, nothing lost", 6, 6)


def test_an_empty_table(ask, store, told, tmp_path):
    engine = store([])
    code, _, said = ask("run", "mosaic", "tiles", "maps")
    assert code == 0
    assert "no row" in said
    code, _, said = ask("export", "tiles", tmp_path / "out")
    assert code == 1
    assert "no rows" in said
    assert ask("download", "tiles", tmp_path / "rows.parquet")[0] == 0
    assert ask("check", "tiles")[0] == 0
    engine.create("maps2", engine.schema("maps"))
    assert ask("export", "maps2", tmp_path / "out")[0] == 1
    told("an empty table", "run, export, download, check", "0, 1, 0, 0, each says so", 0, 0)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    spectrum = {"xa": [0.03] * 9, "xb": [0.005] * 9, "xc": [0.02] * 9}
    return folder, simulate(folder, size=64, scenes=2, seed=5, atmosphere=spectrum)


def cut(data):
    return data[: len(data) // 2]


def no_metadata(data):
    return data.replace(b"OBJECT", b"OBJEKT")


SCENES = {
    "truncated HDF": cut,
    "empty file": lambda data: b"",
    "no HDF at all": lambda data: b"GIF89a" + data[:100],
    "metadata that cannot be read": no_metadata,
}


@pytest.mark.parametrize("fault", SCENES)
def test_a_bad_scene(ask, scenes, told, tmp_path, house, fault):
    folder, about = scenes
    good, bad = (folder / scene["file"] for scene in about["scenes"])
    mine = tmp_path / bad.name
    mine.write_bytes(SCENES[fault](bad.read_bytes()))
    aod, dem = ([folder / name for name in about[kind]] for kind in ("aod", "dem"))
    words = ["--table", "aster", "--aod", *aod, "--dem", *dem, "--grid", about["grid"]]
    code, _, said = ask("ingest", mine, good, *words)
    assert code == 3
    assert bad.name in said
    engine = open_engine(str(house))
    count = engine.describe("aster")["rows"]
    assert count > 0
    assert engine.check("aster") == []
    mine.write_bytes(bad.read_bytes())
    assert ask("job", "retry", newest(ask))[0] == 0
    mended = engine.describe("aster")["rows"]
    assert mended > count
    told(fault, "1 of 2 scenes", "3, scene named, the other in; `job retry`: 0", count, mended)


def test_a_scene_into_a_table_of_another_grid(ask, scenes, told, house):
    folder, about = scenes
    scene = folder / about["scenes"][0]["file"]
    engine = open_engine(str(house))
    engine.create("aster", tiles_schema(SENSOR.name, "res-30_tilesize-96"))
    words = ["--table", "aster", "--aod", "0.1", "--dem", "1000", "--grid", GRID]
    code, _, said = ask("ingest", scene, *words)
    assert code == 2
    assert "res-30_tilesize-96" in said
    told("a granule of another grid", "ingest --grid", "2, both grids named", 0, 0)


def test_a_header_is_checked_before_anything_is_allocated():
    """A hundred gigabytes announced, twenty bytes there."""
    with pytest.raises(blob.BlobError, match="over the limit"):
        blob.decode(struct.pack("<4sBBBBIII", b"GQT1", 1, 0, 0, 0, 400_000, 250_000, 0))
