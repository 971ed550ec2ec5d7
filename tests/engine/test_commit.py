"""Commits: atomic, repeated safely, and right when several writers meet."""

import importlib.util
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from pyiceberg.exceptions import CommitFailedException

from geoquarry.engine import commit as commit_module
from geoquarry.engine.batches import rows_of
from geoquarry.engine.commit import Change, commit, new_commit_id
from geoquarry.engine.datafile import RowWriter
from geoquarry.engine.local import open_engine
from geoquarry.schemas.errors import CommitConflict, TableError

if "toy_udfs" not in sys.modules:
    spec = importlib.util.spec_from_file_location("toy_udfs", Path(__file__).with_name("toy.py"))
    sys.modules["toy_udfs"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["toy_udfs"])
toy = sys.modules["toy_udfs"]


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(str(tmp_path / "wh"))
    engine.create("aster", toy.TILES)
    return engine


def keys(engine):
    found = engine.read("aster", columns=["granule_id", "tile_x", "tile_y"]).read_all()
    return sorted(tuple(row.values()) for row in found.to_pylist())


def write(table, granule, commit_id):
    writer = RowWriter(table.layout, table.layout.data_path(commit_id, granule))
    for batch in rows_of([toy.row(granule, 0, 0)], table.layout):
        writer.add(batch)
    return writer.close()


def test_repeating_a_commit_id_is_a_no_op_and_nothing_else_is(engine):
    first = engine.append("aster", [toy.row("G1", 0, 0, value=1)], commit_id="c1")
    engine.append("aster", [toy.row("G1", 0, 0, value=2)], commit_id="c2")
    again = engine.append("aster", [toy.row("G1", 0, 0, value=1)], commit_id="c1")
    assert again.snapshot_id == first.snapshot_id
    assert len(engine.history("aster")) == 2
    engine.append("aster", [toy.row("G1", 0, 0, value=1)], commit_id="c3")
    assert [found["commit_id"] for found in engine.history("aster")] == ["c1", "c2", "c3"]
    assert len(keys(engine)) == 1


def test_commit_that_lands_but_is_reported_as_failed_is_not_done_twice(engine, monkeypatch):
    swap = commit_module.swap_files

    def lost_answer(*args, **named):
        swap(*args, **named)
        raise CommitFailedException("the answer was lost")

    monkeypatch.setattr(commit_module, "swap_files", lost_answer)
    report = engine.append("aster", [toy.row("G1", 0, 0)])
    assert report.snapshot_id == engine.describe("aster")["snapshot_id"]
    assert len(engine.history("aster")) == 1


def test_a_state_that_a_vacuum_took_is_planned_again(engine, monkeypatch):
    """Another writer went on and the files of the state we started from are gone."""
    swap, tries = commit_module.swap_files, []

    def too_old(*args, **named):
        tries.append(1)
        if len(tries) == 1:
            monkeypatch.setattr(commit_module, "swap_files", swap)
            other = open_engine(engine.warehouse.location)
            other.append("aster", [toy.row("G2", 0, 0)])
            monkeypatch.setattr(commit_module, "swap_files", too_old)
            raise FileNotFoundError("m0.avro")
        return swap(*args, **named)

    monkeypatch.setattr(commit_module, "swap_files", too_old)
    engine.append("aster", [toy.row("G1", 0, 0)])
    assert [granule for granule, *_ in keys(engine)] == ["G1", "G2"]


def test_a_missing_file_that_nobody_took_is_damage(engine, monkeypatch):
    def missing(*args, **named):
        raise FileNotFoundError("m0.avro")

    monkeypatch.setattr(commit_module, "swap_files", missing)
    with pytest.raises(FileNotFoundError):
        engine.append("aster", [toy.row("G1", 0, 0)])


def test_a_writer_that_never_wins_gives_up_and_stores_nothing(engine, monkeypatch):
    def always_late(*args, **named):
        raise CommitFailedException("somebody was quicker")

    monkeypatch.setattr(commit_module, "swap_files", always_late)
    monkeypatch.setattr(commit_module.time, "sleep", lambda seconds: None)
    with pytest.raises(CommitConflict, match="20 attempts"):
        engine.append("aster", [toy.row("G1", 0, 0)])
    monkeypatch.undo()
    assert keys(engine) == []


@pytest.mark.parametrize("same", [True, False])
def test_plan_made_before_another_commit_is_made_again_if_it_touches_the_same_keys(engine, same):
    """Between planning and committing another writer lands; with the same key it is replaced."""
    table = engine.warehouse.table("aster")
    mine = new_commit_id()
    file = write(table, "G1", mine)
    plans = []

    def replan(newest):
        old = [found for found in newest.files() if newest.unit_of(found)[1] == "G1"]
        plans.append(len(old))
        if len(plans) == 1:  # the other writer is quicker
            other = open_engine(engine.warehouse.location)
            other.append("aster", [toy.row("G1" if same else "G2", 0, 0, value=7)])
        return Change([file], old)

    commit(table, replan, commit_id=mine, kind="test")
    assert plans == ([0, 1] if same else [0])
    expected = [("G1", 0, 0)] if same else [("G1", 0, 0), ("G2", 0, 0)]
    assert keys(engine) == expected


def test_explicit_files_must_still_be_there(engine):
    engine.append("aster", [toy.row("G1", 0, 0)])
    table = engine.warehouse.table("aster")
    stale = table.files()
    engine.append("aster", [toy.row("G1", 0, 0, value=2)])
    mine = new_commit_id()
    file = write(table, "G1", mine)
    attempts = iter([stale])

    def replan(newest):
        return Change([file], next(attempts, newest.files()))

    commit(table, replan, commit_id=mine, kind="test")
    assert keys(engine) == [("G1", 0, 0)]


def test_many_commits_leave_few_manifests_and_other_readers_agree(engine):
    for number in range(30):
        engine.append("aster", [toy.row(f"G{number % 9}", 0, 0, value=number)])
    iceberg = engine.warehouse.table("aster").iceberg
    assert len(iceberg.current_snapshot().manifests(iceberg.io)) <= 20
    assert len(keys(engine)) == 9
    assert iceberg.scan(selected_fields=("granule_id",)).to_arrow().num_rows == 9
    assert len(list(Path(engine.describe("aster")["location"]).glob("metadata/*.json"))) <= 52


WRITER = """
    import sys
    sys.path.insert(0, {folder!r})
    import toy
    from geoquarry.engine.local import open_engine
    engine = open_engine(sys.argv[1])
    print("ready", flush=True); sys.stdin.readline()
    for number in range({count}):
        granule = {granule}
        with engine.appender("aster") as appender:
            appender.add_granule(granule, [toy.row(granule, x, 0, number) for x in range(2)])
"""


def race(engine, granule, count, writers=2):
    code = textwrap.dedent(WRITER).format(
        folder=str(Path(__file__).parent), granule=granule, count=count
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, engine.warehouse.location, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        )
        for number in range(writers)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


@pytest.mark.kill
def test_two_processes_with_different_granules_lose_and_double_nothing(engine):
    race(engine, 'f"AST_L1T_0030618200318{sys.argv[2]}_{number}"', 8)
    counts = Counter(keys(engine))
    assert len(counts) == 2 * 8 * 2
    assert set(counts.values()) == {1}


@pytest.mark.kill
def test_two_processes_with_the_same_granule_leave_exactly_one_version(engine):
    race(engine, '"G1"', 8)
    assert keys(engine) == [("G1", 0, 0), ("G1", 1, 0)]
    found = engine.read("aster").read_all()
    assert len({bytes(value) for value in found.column("b01").to_pylist()}) == 1


@pytest.mark.kill
def test_two_processes_that_open_a_new_warehouse_at_once(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import toy;"
        "from geoquarry.engine.local import open_engine as o;"
        "o(sys.argv[1]).warehouse.ensure_table('aster', toy.TILES)"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    arguments = [sys.executable, "-c", code, str(tmp_path / "new")]
    running = [subprocess.Popen(arguments, env=env) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert open_engine(str(tmp_path / "new")).tables() == ["aster"]


def test_a_catalog_that_is_no_database_is_named(tmp_path):
    (tmp_path / "wh").mkdir()
    (tmp_path / "wh" / "catalog.db").write_bytes(b"not a database" * 100)
    with pytest.raises(TableError, match="catalog"):
        open_engine(str(tmp_path / "wh"))
