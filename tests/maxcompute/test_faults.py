"""What goes wrong on the line and in the service: rows are there once or not at all."""

import pytest
from rows import GRID, made_up_row, made_up_rows

from geoquarry.engine import maxcompute_connection, maxcompute_ranges, maxcompute_upload
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import CommitConflict, TableError
from geoquarry.schemas.tables import tiles_schema

pytestmark = pytest.mark.maxcompute

ROWS = made_up_rows(((3, 5), (4, 5), (40, 80)), granules=2)
NEW = [made_up_row(3, 5, 1, seed=5), made_up_row(4, 5, 7)]


@pytest.fixture(scope="module")
def wanted():
    """Digest of the table before and after: the new rows replace one and add one."""
    blobs = {(r["tile_x"], r["tile_y"], r["granule_id"]): r for r in ROWS}
    after = blobs | {(r["tile_x"], r["tile_y"], r["granule_id"]): r for r in NEW}
    return len(blobs), len(after)


@pytest.fixture
def engine(maxcompute_engine, monkeypatch):
    for module in (maxcompute_connection, maxcompute_ranges, maxcompute_upload):
        monkeypatch.setattr(module.time, "sleep", quick(module.time.sleep))
    engine = maxcompute_engine()
    engine.create("aster", tiles_schema("aster_l1t", GRID))
    engine.append("aster", ROWS)
    return engine


def quick(sleep):
    """Pauses are long for people's lines, not for a server beside us."""
    return lambda seconds: sleep(min(seconds, 0.05))


def content(engine):
    return parity_digest(engine.read("aster").read_all().to_pylist())


def left_over(odps):
    return [table.name for table in odps.list_tables() if "__" in table.name]


@pytest.fixture
def right(engine, maxcompute_engine, tmp_path):
    """Digest of the table as it shall be after `NEW` came in."""
    from geoquarry.engine.local import open_engine

    here = open_engine(str(tmp_path / "here"))
    here.create("aster", tiles_schema("aster_l1t", GRID))
    here.append("aster", ROWS)
    here.append("aster", NEW)
    return content(here)


UP = {
    "503 at a block": ("5xx", "upload.block", {"times": 2}),
    "429 at a block": ("quota", "upload.block", {}),
    "connection reset at a block": ("reset", "upload.block", {"times": 2}),
    "answer of a block is lost": ("reply_lost", "upload.block", {}),
    "503 when a session is made": ("5xx", "upload.create", {}),
    "commit not done, 503": ("5xx", "upload.commit", {}),
    "commit done, answered 500": ("done_5xx", "upload.commit", {}),
    "commit done, answer lost": ("reply_lost", "upload.commit", {}),
    "a block is not there at the commit": ("block_lost", "", {}),
    "session expired at a block": ("expired_upload", "upload.block", {}),
    "session expired at the commit": ("expired_upload", "upload.commit", {}),
}
STATEMENT = {
    "503 when a statement is sent": ("5xx", "instance.create", {}),
    "statement accepted, answer lost": ("reply_lost", "instance.create", {"times": 3}),
    "statement accepted, answered 500": ("done_5xx", "instance.create", {"times": 3}),
    "503 while waiting": ("5xx", "instance.status", {"times": 3}),
    "another writer at the last step": ("conflict", "INSERT", {"times": 2}),
    "task failed": ("task_failed", "INSERT", {}),
    "task failed although it did its work": ("task_failed_done", "INSERT", {}),
    "task slow": ("task_slow", "INSERT", {"seconds": 0.5}),
}


@pytest.mark.parametrize("fault", [*UP, *STATEMENT])
def test_rows_go_up_once_whatever_happens(fault, engine, right, server, odps):
    kind, match, details = (UP | STATEMENT)[fault]
    planted = server.faults.add(kind, match=match, **{"times": 1, **details})
    engine.append("aster", NEW)
    assert planted.hits, "the fault never struck"
    assert content(engine) == right
    assert engine.check("aster") == []
    server.faults.clear()
    engine.append("aster", NEW)
    assert content(engine) == right
    assert [name for name in left_over(odps) if "__lock_" in name] == []


NEVER = {
    "another writer, always": ("conflict", "INSERT", CommitConflict, "others kept writing"),
    "task cancelled by an administrator": ("task_cancelled", "INSERT", TableError, "cancelled"),
    "no upload at all": ("5xx", "upload.block", TableError, "block 1"),
    "sessions always expire": ("expired_upload", "upload.commit", TableError, "closed 4 upload"),
    "no answer to any statement": ("5xx", "instance.create", TableError, "a statement"),
}


@pytest.mark.parametrize("fault", NEVER)
def test_what_cannot_be_done_leaves_the_table_as_it_was(fault, engine, right, server, odps):
    kind, match, error, said = NEVER[fault]
    before = content(engine)
    server.faults.add(kind, times=None, match=match)
    with pytest.raises(error, match=said):
        engine.append("aster", NEW)
    server.faults.clear()
    assert content(engine) == before
    engine.append("aster", NEW)  # again, and it is as if nothing had been
    assert content(engine) == right


DOWN = {
    "503": ("5xx", "download.data", {"times": 2}),
    "503 when a session is made": ("5xx", "download.create", {}),
    "truncated": ("truncated", "download.data", {"times": 2}),
    "too few rows": ("short", "download.data", {"times": 2}),
    "wrong checksum": ("crc", "download.data", {"times": 2}),
    "no answer": ("reply_lost", "download.data", {"times": 2}),
    "session expired": ("expired_download", "download.data", {}),
    "session expired twice": ("expired_download", "download.data", {"times": 2}),
    "session expired among the pixels": ("expired_download", "b3n", {"times": 2}),
    "quota": ("quota", "download.create", {}),
}


@pytest.mark.parametrize("fault", DOWN)
def test_rows_come_down_whole_whatever_happens(fault, engine, server):
    kind, match, details = DOWN[fault]
    before = content(engine)
    planted = server.faults.add(kind, match=match, **{"times": 1, **details})
    assert content(engine) == before
    assert planted.hits, "the fault never struck"
    found = engine.sql("SELECT tile_x, b01 FROM aster").read_all()
    assert found.num_rows == len(ROWS)


@pytest.mark.parametrize("kind", ["truncated", "short", "crc", "reply_lost", "5xx"])
def test_answers_of_statements_come_whole(kind, engine, server):
    planted = server.faults.add(kind, times=2, match=r"download.data \w+ \S*/instances/")
    found = engine.sql("SELECT granule_id, tile_x, b01 FROM aster").read_all()
    assert planted.hits
    assert sorted(found["granule_id"].to_pylist()) == sorted(r["granule_id"] for r in ROWS)


def test_a_line_that_never_holds_is_named(engine, server):
    server.faults.add("crc", times=None, match="download.data")
    with pytest.raises(TableError, match=r"table 'aster', zone x0000_y0000"):
        engine.read("aster").read_all()
