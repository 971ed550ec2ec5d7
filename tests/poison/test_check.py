"""`check` finds what is wrong with a table, and says where."""

from pathlib import Path

import pyarrow as pa
import pytest

from geoquarry.engine import table as tables


def test_damage_in_a_data_file_is_found_and_the_other_rows_are_read(ask, store, rows, told):
    """One byte of one stored raster; then a file cut off; then a file gone."""
    engine = store(rows)
    table = engine.warehouse.table("tiles")
    path = next(f.file_path for f in table.files() if "granule_001" in f.file_path)
    data = bytearray(open(path, "rb").read())  # noqa: SIM115
    place = bytes(data).index(rows[4]["b04"]) + 60
    data[place] ^= 0xFF
    open(path, "wb").write(data)  # noqa: SIM115
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert "column b04" in out
    assert "digest" in out
    assert ask("run", "mosaic", "tiles", "maps")[0] == 3
    open(path, "wb").write(data[:-100])  # noqa: SIM115
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert f"{len(data) - 100} bytes, the table says {len(data)}" in out
    code, _, said = ask("run", "mosaic", "tiles", "cut")
    assert code in (1, 3)
    assert "granule_001" in said
    told("a damaged data file", "a byte, a cut", "check 3, run 3 or 1, named", 6, 6)


def test_check_compares_what_the_table_says_of_its_files(store, rows, monkeypatch):
    """Bounds, counts and the index decide what a job reads: they are compared with the rows."""
    from geoquarry.engine import check as module

    engine = store(rows)
    real = module.read_index

    def other(layout, path):
        index = real(layout, path)
        place = index.schema.get_field_index("cloud_fraction")
        return index.set_column(place, "cloud_fraction", pa.array([2.0] * len(index)))

    monkeypatch.setattr(module, "read_index", other)
    assert {p.message for p in engine.check("tiles")} == {
        "its line in the index has another cloud_fraction"
    }
    monkeypatch.undo()
    table = engine.warehouse.table("tiles")
    bounds = type(table).bounds
    monkeypatch.setattr(
        type(table),
        "bounds",
        lambda self, file, columns: [
            (0, 9) if c == "tile_x" else b
            for c, b in zip(columns, bounds(self, file, columns), strict=True)
        ],
    )
    assert "tile_x runs from 0 to 2, the table says 0 to 9" in engine.check("tiles")[0].message


def test_check_looks_at_older_snapshots_too(store, rows):
    engine = store(rows)
    path = engine.warehouse.table("tiles").files()[0].file_path
    engine.append("tiles", rows)
    assert engine.check("tiles") == []
    engine.warehouse.table("tiles").iceberg.io.delete(path)
    found = engine.check("tiles")
    assert [p.message for p in found] == ["the file is missing"]
    assert found[0].where.startswith("snapshot ")


@pytest.mark.parametrize("what", ["snap-*.avro", "*-m0.avro"])
@pytest.mark.parametrize("damage", [b"", b"Obj\x01", b"no such thing at all" * 9, None])
def test_damaged_lists_of_files_are_named(ask, store, rows, what, damage):
    """What Iceberg keeps of a table is verified as well; None: the file is gone."""
    engine = store(rows)
    metadata = Path(engine.warehouse.table("tiles").location, "metadata")
    path = next(p for p in metadata.glob(what) if what.startswith("snap") or "snap" not in p.name)
    path.unlink() if damage is None else path.write_bytes(damage)
    tables._manifests.clear()  # what this process remembers is no proof
    code, out, _ = ask("check", "tiles")
    assert code == 3
    assert path.name in out
    for words in (["run", "mosaic", "tiles", "maps"], ["vacuum"], ["sql", "SELECT 1 FROM tiles"]):
        code, _, said = ask(*words)
        assert code == 1, words
        assert path.name in said


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff"])
def test_damaged_metadata_is_told(ask, store, rows, damage):
    engine = store(rows)
    Path(engine.warehouse.table("tiles").iceberg.metadata_location).write_bytes(damage)
    code, _, said = ask("check", "tiles")
    assert code == 1
    assert "metadata is damaged" in said


def test_a_vacuum_does_not_need_the_ledger(ask, store, rows, house):
    store(rows)
    Path(house, "ledger.db").write_bytes(b"no database")
    code, out, said = ask("vacuum")
    assert code == 0
    assert "tiles" in out
    assert "ledger does not answer" in said
