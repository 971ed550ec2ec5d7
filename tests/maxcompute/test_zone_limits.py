"""How many zones a table, a statement and a worker take, and how long names may be."""

import odps_catalog
import odps_insert
import odps_query
import pytest
from toys import TILES, job, row, statements, values

from geoquarry.engine import (
    maxcompute_care,
    maxcompute_commit,
    maxcompute_download,
    maxcompute_limits,
)
from geoquarry.schemas.errors import TableError, UsageError

pytestmark = [pytest.mark.maxcompute]
READERS = (maxcompute_care, maxcompute_commit, maxcompute_download, maxcompute_limits)


@pytest.fixture
def at_most(monkeypatch):
    """Sets a limit, of the service and here."""

    def limit(**changes):
        for name, value in changes.items():
            if name == "held":
                monkeypatch.setattr(odps_catalog, "MAX_PARTITIONS", value)
                monkeypatch.setattr(maxcompute_limits, "PARTITIONS", value)
            elif name == "read":
                monkeypatch.setattr(odps_query, "MAX_PARTITIONS_READ", value)
                for module in READERS:
                    monkeypatch.setattr(module, "PARTITIONS_READ", value)
            elif name == "written":
                monkeypatch.setattr(odps_insert, "MAX_DYNAMIC_PARTITIONS", value)
                monkeypatch.setattr(maxcompute_limits, "PARTITIONS_WRITTEN", value)
            else:
                monkeypatch.setattr(odps_insert, "MAX_OF_WORKER", value)
                monkeypatch.setattr(maxcompute_limits, "PARTITIONS_OF_WORKER", value)

    return limit


def rows(*zones, value=1):
    return [row("A", 16 * zone, 0, value) for zone in zones]


@pytest.fixture
def engine(maxcompute_engine):
    found = maxcompute_engine()
    found.create("aster", TILES)
    found.append("aster", rows(0, 1, 2))
    return found


def uploads(server):
    return server.count("upload.create")


def test_a_table_that_is_full_is_named_before_a_row_is_sent(engine, server, at_most):
    at_most(held=4)
    engine.append("aster", rows(2, 3))
    before = uploads(server)
    with pytest.raises(TableError, match=r"'aster' has 4 zones and would get 1 more; .* takes 4 "):
        engine.append("aster", rows(3, 4))
    assert uploads(server) == before
    engine.append("aster", rows(0, 3, value=2))  # what is there can be replaced
    assert engine.describe("aster")["zones"] == 4


def test_too_many_zones_at_once_are_refused_before_a_row_is_sent(engine, server, at_most):
    at_most(written=2)
    before = uploads(server)
    with pytest.raises(TableError, match="'aster': 3 zones would be written at once"):
        engine.append("aster", rows(3, 4, 5))
    assert uploads(server) == before
    engine.append("aster", rows(3, 4))


def test_rows_go_into_a_table_of_more_zones_than_a_statement_reads(engine, server, at_most):
    at_most(read=2)
    engine.append("aster", rows(1, 3, value=7))  # names its zones
    assert engine.describe("aster")["rows"] == 4
    assert engine.read("aster", ["tile_x"]).read_all().num_rows == 4
    engine.connection._opened.clear()
    engine.connection.may_open = lambda *args: False  # so that a statement tells what is there
    assert engine.read("aster", ["tile_x"]).read_all().num_rows == 4
    with pytest.raises(TableError, match="rows of 3 zones would have to be compared"):
        engine.append("aster", rows(0, 1, 2, value=8))


def test_whole_granules_need_a_table_that_one_statement_can_read(engine, server, at_most):
    """Where their old rows lie is not known, so all zones are looked at."""
    at_most(read=2)
    before = uploads(server)
    compared = pytest.raises(TableError, match="rows of 3 zones would have to be compared")
    with compared, engine.appender("aster") as appender:
        appender.add_granule("A", rows(0))
    assert uploads(server) == before


@pytest.mark.parametrize(
    ("limit", "changes", "said"),
    [
        ({"held": 2}, {}, "would get 3 more"),
        ({"written": 2}, {}, "3 zones would be written"),
        ({"written": 2}, {"overwrite": True}, "3 zones would be written"),
        ({"read": 2}, {}, "touches 3 zones"),
    ],
)
def test_a_job_that_could_not_commit_computes_nothing(
    engine, server, at_most, limit, changes, said, monkeypatch
):
    at_most(**limit)
    if "read" in limit:
        from geoquarry.engine import maxcompute_statement

        monkeypatch.setattr(maxcompute_statement, "PARTITIONS_READ", limit["read"])
    with pytest.raises((TableError, UsageError), match=said):
        engine.run(job(**changes)).wait()
    assert statements(server, "INSERT INTO TABLE `maps__result") == []
    engine.run(job(tiles=((0, 0),))).wait()
    assert values(engine) == {(0, 0): 1}


def test_many_zones_are_spread_over_workers(engine, server, at_most):
    at_most(worker=3)
    zones = range(24)
    engine.append("aster", rows(*zones, value=3))
    assert engine.describe("aster")["zones"] == 24
    last = [one for one in server.instances.all.values() if "TABLE `aster` PART" in one.query][-1]
    assert last.hints["odps.stage.reducer.num"] == "32"


# -- names -------------------------------------------------------------------------------------

LONGEST, PREFIX = "a" * 64, "p" * 11


def test_the_longest_name_has_room_for_everything(maxcompute_engine, server):
    engine = maxcompute_engine(prefix=PREFIX)
    engine.create(LONGEST, TILES)
    engine.append(LONGEST, rows(0, 1))
    target = "m" * 64
    engine.run(job(source=LONGEST, target=target)).wait()
    assert len(values(engine, target)) == 2
    made = [one.query for one in server.instances.all.values() if "CREATE TABLE" in one.query]
    assert max(len(text.split("`")[1]) for text in made) == 128  # the longest there is


def test_longer_names_are_refused_at_once(maxcompute_engine, engine, odps, server):
    one = maxcompute_engine(prefix=PREFIX + "_")
    with pytest.raises(UsageError, match=r"has 76 bytes, its prefix included, of 75"):
        one.create(LONGEST, TILES)
    one.create("aster", TILES)
    with pytest.raises(UsageError, match="has 76 bytes"):
        one.run(job(target=LONGEST))
    odps.execute_sql(f"CREATE TABLE {PREFIX}_{LONGEST} (a BIGINT)")  # by another program
    assert one.read(LONGEST).read_all().num_rows == 0
    with pytest.raises(UsageError, match="has 76 bytes"):
        one.append(LONGEST, [{"a": 1}])
    assert server.count("upload.create") == 1


@pytest.mark.parametrize("prefix", ["1st", "a-b", "a" * 75, "_x", "ü"])
def test_a_prefix_that_no_name_can_have(maxcompute_engine, prefix):
    with pytest.raises(UsageError, match=r"Prefix|bytes, its prefix included"):
        maxcompute_engine(prefix=prefix)
