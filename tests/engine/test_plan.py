"""Conditions and plans: what is read as SQL, what is refused, and what time a date means."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from geoquarry.engine import index as index_module
from geoquarry.engine.local import open_engine
from geoquarry.engine.plan import plan
from geoquarry.engine.where import condition
from geoquarry.schemas.errors import UsageError

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = open_engine(str(tmp_path_factory.mktemp("wh")))
    engine.create("aster", toy.TILES)
    with engine.appender("aster") as appender:
        for number in range(3):
            granule = f"G{number}"
            rows = [
                toy.row(granule, x, y, cloud_fraction=number / 10)
                for x in range(2) for y in range(2)
            ]  # fmt: skip
            appender.add_granule(granule, rows)
    return engine


def rows(engine, where):
    return sum(len(task.rows) for task in plan(engine.warehouse.table("aster"), where))


def test_tiles_come_sorted_with_their_rows_sorted_by_granule(engine):
    tasks = plan(engine.warehouse.table("aster"), "cloud_fraction > 0")
    assert [(task.tile_x, task.tile_y) for task in tasks] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert {tuple(ref.granule_id for ref in task.rows) for task in tasks} == {("G1", "G2")}


def test_only_the_tiles_asked_for(engine):
    tasks = plan(engine.warehouse.table("aster"), tiles=[(1, 1), (9, 9)])
    assert [(task.tile_x, task.tile_y) for task in tasks] == [(1, 1)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", 12),
        ("granule_id = 'G1'", 4),
        ("GRANULE_ID in ('G1', 'G2') and not tile_x = 1", 4),
        ("granule_id like 'G%' and cloud_fraction between 0.05 and 0.15", 4),
        ("aod550 is null", 12),
        ("view_zenith_deg[1] < 1 and list_contains(gain_code, 'HGH')", 12),
        ("extract(year from acquired) = 2005 and meta->>'$.n' = '1'", 12),
        ("acquired < date '2005-01-01' + interval 1 day", 12),
        ("cast(tile_x as bigint) * 2 >= 1.5 -- comment", 6),
    ],
)
def test_conditions_mean_what_they_say(engine, where, expected):
    assert rows(engine, where) == expected


@pytest.mark.parametrize(
    "where",
    [
        "1=1; DROP TABLE aster",
        "1=1) UNION SELECT (1",
        "EXISTS (SELECT 1)",
        "tile_x IN (SELECT 1)",
        "1=1 GROUP BY tile_x",
        "1=1 LIMIT 1",
        "1=1 ORDER BY 1",
        "read_text('/etc/passwd') = 'x'",
        "'x' IN (SELECT * FROM read_csv('/etc/passwd'))",
        "getenv('HOME') = 'x'",
        "acquired < now()",
        "count(*) > 1",
        "row_number() OVER () = 1",
        "aod550 < $1",
        "b01 IS NULL",
        "nosuch = 1",
        "other.aod550 < 1",
        'aod550 < "2"',
        "tile_x, tile_y",
        "((((",
        "'",
        "(" * 3000 + "1" + ")" * 3000 + " = 1",
        "x" * 30_000,
    ],
)
def test_anything_but_one_plain_condition_is_refused(engine, where):
    with pytest.raises(UsageError):
        rows(engine, where)


def test_a_condition_that_fails_on_the_data_says_which(engine):
    with pytest.raises(UsageError, match=r"CAST.*granule_id|granule_id.*Convers"):
        rows(engine, "CAST(granule_id AS INTEGER) = 1")


def test_equal_conditions_have_one_normal_form():
    first = condition("Cloud_Fraction<0.3   and tile_x=1", toy.TILES)
    assert first == condition("cloud_fraction < 0.3 AND (tile_x) = 1", toy.TILES).replace(
        '("tile_x")', '"tile_x"'
    )


def test_date_literals_mean_utc_wherever_the_process_runs(engine):
    code = (
        "import sys; from geoquarry.engine.local import open_engine as o; e = o(sys.argv[1]);"
        "n = lambda w: e.read('aster', ['tile_x'], w).read_all().num_rows;"
        "s = e.sql(\"SELECT count(*) n FROM aster WHERE acquired < '2005-01-01'\").read_all();"
        "print(n(\"acquired < '2005-01-01'\"), n(\"acquired <= '2005-01-01'\"),"
        " n(\"acquired < timestamp '2005-01-01 00:00:01'\"), s.column(0)[0])"
    )
    for zone in ("America/New_York",):
        done = subprocess.run(
            [sys.executable, "-c", code, engine.warehouse.location],
            env={"TZ": zone, "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["0", "12", "12", "0"]


def test_cached_concatenation_is_used_renewed_and_never_trusted_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "REWRITE_FILES", 2)
    engine = open_engine(str(tmp_path / "wh"))
    engine.create("aster", toy.TILES)
    table = engine.warehouse.table("aster")
    cache = engine.warehouse.cache_path(f"index/{table.uuid}.parquet")
    for number in range(5):
        engine.append("aster", [toy.row(f"G{number}", 0, 0)])
        assert rows(engine, "") == number + 1
    assert cache.exists()
    before = rows(engine, "")
    engine.append("aster", [toy.row("G0", 0, 0, value=9)])  # replaces: a cached file must go
    assert rows(engine, "") == before
    cache.write_bytes(b"damaged")
    assert rows(engine, "") == before
