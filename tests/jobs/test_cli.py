"""The command line as people and programs meet it: exit codes, stdout, stderr, nothing by halves.

`ingest` has a page of its own, tests/jobs/test_ingest.py.
"""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
from rows import GRID, SENSOR, made_up_rows
from sqlalchemy.exc import OperationalError

from geoquarry.engine import sixs
from geoquarry.engine.local import open_engine
from geoquarry.engine.storage import catalog_trouble
from geoquarry.jobs import console, doctor
from geoquarry.jobs.__main__ import WITH_ENGINE, WITHOUT_ENGINE, main
from geoquarry.schemas.errors import UnknownName
from geoquarry.schemas.tables import tiles_schema
from geoquarry.udfs.lut_file import FOLDER_VARIABLE

SPARK = pytest.mark.skipif(find_spec("pyspark") is None, reason="pyspark is not installed")

TILES = [(3, 5), (4, 5)]
DESIGN = """
INSERT OVERWRITE TABLE indices
SELECT tile_x, tile_y, mineral_indices(*, mosaic => 'median')
FROM aster WHERE acquired < '2008-04-01' AND cloud_fraction < 0.9
GROUP BY tile_x, tile_y
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A warehouse: `aster` (2 tiles, 3 granules), `empty`, and the mosaic `map` of `aster`."""
    house = tmp_path_factory.mktemp("original") / "warehouse"
    engine = open_engine(str(house))
    for name in ("aster", "empty"):
        engine.create(name, tiles_schema(SENSOR.name, GRID))
    engine.append("aster", made_up_rows(TILES, granules=3))
    assert main(["run", "mosaic", "aster", "map", "--warehouse", str(house)]) == 0
    return house


@pytest.fixture
def ask(original, tmp_path, monkeypatch, capsys):
    """Give a command in an empty folder with a warehouse of its own; code, stdout, stderr."""
    house = tmp_path / "warehouse"
    copy = subprocess.run(["cp", "-r", str(original), str(house)], check=False)
    assert copy.returncode == 0
    monkeypatch.setenv("GEOQUARRY_WAREHOUSE", str(house))
    monkeypatch.chdir(tmp_path)
    assert main(["relocate"]) == 0
    capsys.readouterr()

    def give(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return give


@pytest.fixture
def answer(ask):
    """The one JSON document of a command that works."""

    def give(*words, code=0):
        found, out, err = ask(*words, "--json")
        assert found == code, err
        assert out.count("\n") == 1
        return json.loads(out, parse_constant=pytest.fail)  # NaN is not JSON

    return give


@pytest.mark.parametrize("command", ["", *WITH_ENGINE, *WITHOUT_ENGINE])
def test_help_is_there(ask, command):
    code, out, err = ask(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: geoquarry {command}".rstrip())


ALL = ["aster", "empty", "map", "map_gains", "map_sums"]


def test_tables_and_describe(ask, answer):
    rows = {row["table"]: (row["kind"], row["rows"]) for row in answer("tables")}
    assert rows == {
        "aster": ("tiles", 6), "empty": ("tiles", 0), "map": ("results", 2),
        "map_gains": ("gains", 3), "map_sums": ("sums", 2),
    }  # fmt: skip
    _, out, _ = ask("tables")
    assert [line.split()[0] for line in out.splitlines()] == ["table", *rows]
    about = answer("describe", "map")
    assert about["facts"]["method"] == "mosaic"
    assert "tile_x" in [column["name"] for column in about["columns"]]
    code, out, _ = ask("describe", "map")
    assert code == 0
    assert f"grid: {GRID}\n" in out


def test_history_vacuum_check_drop(ask, answer):
    assert answer("history", "map")[0]["kind"] == "run mosaic"
    assert ask("history", "map")[1].count("\n") == 2
    ask("run", "mosaic", "aster", "map", "--mosaic", "min")
    old = ("vacuum", "map", "--older-than", "0s", "--keep", 1)
    assert answer(*old, "--explain")[0]["snapshots"] == 1
    assert len(answer("history", "map")) == 2
    assert answer(*old)[0]["snapshots"] == 1
    assert len(answer("history", "map")) == 1
    assert answer("check", "map") == []
    assert ask("check", "map")[0] == 0
    own = ["map_sums", "map_gains"]
    assert answer("drop", "map") == {"dropped": "map", "with": own}
    assert ask("drop", "map")[0] == 2


def test_check_lists_what_is_damaged(ask, answer, tmp_path):
    damaged = next((tmp_path / "warehouse/tables/map/data").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-50])
    assert damaged.name in answer("check", "map", code=3)[0]["where"]
    assert ask("check", "map")[0] == 3
    code, _, err = ask("download", "map", "a.csv")
    assert code == 1
    assert "geoquarry check" in err


def test_run(ask, answer):
    plan = answer("run", "mosaic", "aster", "new", "--explain")
    assert plan.pop("memory_mib") > 100
    assert plan | {"nbytes": 0} == {
        "tiles": 2, "rows": 6, "granules": 3, "skipped": 0, "nbytes": 0, "largest_tile_rows": 3,
        "first_phase_tiles": 2,
    }  # fmt: skip
    assert "new" not in [row["table"] for row in answer("tables")]
    code, out, err = ask("run", "mosaic", "aster", "new")
    assert (code, out) == (0, "")
    assert "new: 2 ok in" in err
    assert answer("run", "merge", "aster", "new")["counts"]["skipped"] == 2  # the alias
    assert answer("run", "mosaic", "aster", "new", "--overwrite")["counts"]["ok"] == 2
    assert ask("run", "color_balancing", "aster", "b", "--balance", "none")[0] == 0
    assert ask("run", "mineral_indices", "aster", "i", "--indices", "clay", "ndvi")[0] == 0
    assert answer("sql", "SELECT count(*) AS n FROM i") == [{"n": 2}]
    options = ("--per-tile", "--outside", "error")
    assert answer("run", "mosaic", "aster", "new", *options)["counts"]["ok"] == 2
    query = (
        "INSERT INTO new SELECT tile_x, tile_y, mosaic(*, atmosphere => 'per_tile', "
        "outside => 'error') FROM aster GROUP BY tile_x, tile_y"
    )
    assert answer("sql", query)["counts"]["skipped"] == 2


def test_a_damaged_row_gives_3_and_names_the_tile(ask, answer, tmp_path):
    damaged = made_up_rows([(9, 9)], granules=1)[0]
    damaged["b04"] = damaged["b04"][:-9] + bytes(9)
    open_engine(str(tmp_path / "warehouse")).append("aster", [damaged])
    report = answer("run", "mosaic", "aster", "new", code=3)
    assert report["counts"]["ok"] == 2
    assert [(t["tile_x"], t["tile_y"]) for t in report["failed"]] == [(9, 9)]
    code, _, err = ask("run", "mosaic", "aster", "new", "--tiles", "9,9")
    assert code == 1  # nothing but failures
    assert "tile 9,9: " in err
    code, out, err = ask("export", "new", "maps", "--tiles", "9,9", "3,5")
    assert (code, out.count(".tif")) == (3, 1)
    assert "left out: failed" in err


def test_run_that_finds_nothing_says_so(ask, answer):
    code, _, err = ask("run", "mosaic", "aster", "new", "--where", "cloud_fraction > 2")
    assert code == 0
    assert "no row of the source matches cloud_fraction > 2, so no tiles." in err
    assert answer("sql", "SELECT tile_x FROM new") == []
    assert ask("run", "mosaic", "aster", "map", "--where", "cloud_fraction > 2")[0] == 0
    assert len(answer("sql", "SELECT tile_x FROM map")) == 2
    assert ask("run", "mosaic", "empty", "new2")[0] == 0
    code, _, err = ask("run", "mosaic", "aster", "new3", "--tiles", "5,3", "3,5")
    assert code == 0
    assert "no row in tile 5,3; the others go on" in err
    assert answer("sql", "SELECT tile_x FROM new3") == [{"tile_x": 3}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("run nothing aster new", "mineral_indices"),
        ("run mosaic nowhere new", "No table 'nowhere'. Tables: aster, empty, map, map_gains"),
        ("run mosaic map new", "'map' holds results"),
        ("run mosaic aster aster", "Source and target"),
        ("run mosaic aster ../new", "table name"),
        ("run mosaic aster a-b", "'a-b' is no table name"),
        ("run mosaic aster new --where no_such<1", "no column 'no_such'. Columns: grid"),
        ("run mosaic aster new --where b01<1", "is a raster"),
        ("run mosaic aster new --where acquired<", "Cannot read the condition"),
        ("run mosaic aster new --where acquired<", "missing or misspelt at 'acquired<'."),
        ("run mosaic aster new --where 1=1;DROP", "not one condition"),
        ("run mosaic aster new --tiles 5,3", "SELECT DISTINCT tile_x, tile_y FROM aster"),
        ("run mosaic aster new --tiles five", "write X,Y"),
        ("run mosaic aster new --balance none", "no parameter 'balance'"),
        ("export map maps --as-of 7", "no snapshot 7"),
        ("run mosaic aster new --engine sparc", "invalid choice"),
        ("run mosaic aster new --master local[2]", "--master is an option of --engine spark"),
        ("run mosaic aster new --engine spark --executor process", "option of --engine local"),
        ("run mosaic aster new --engine spark --conf spark.ui.port", "KEY=VALUE"),
        pytest.param("run mosaic aster new --engine spark --workers 0", "at least 1", marks=SPARK),
        pytest.param(
            "run mosaic aster new --engine spark --master yarn --workers 2",
            "spark.executor.cores",
            marks=SPARK,
        ),
        ("run mosaic aster new --workers 0", "at least 1"),
        ("tables --warehouse s3://bucket/path", "URI"),
        ("tables --warehouse file", "is a file"),
        ("describe nowhere", "Tables: aster, empty, map, map_gains, map_sums."),
        ("history nowhere", "Tables: aster, empty, map, map_gains, map_sums."),
        ("check nowhere", "Tables: aster, empty, map, map_gains, map_sums."),
        ("vacuum nowhere", "Tables: aster, empty, map, map_gains, map_sums."),
        ("vacuum --older-than week", "write 7d"),
        ("drop nowhere", "Tables: aster, empty, map, map_gains, map_sums."),
        ("export nowhere maps", "Tables: aster, empty, map, map_gains, map_sums."),
        ("export map maps --bands b99", "no band 'b99'. Choose from: b01"),
        ("export map maps --format png", "geotiff"),
        ("export map file", "file is a file; an export needs a folder"),
        ("export map file --explain", "file is a file; an export needs a folder"),
        ("export map s3://bucket/maps", "s3://bucket/maps is an address"),
        ("export map s3://bucket/maps --explain", "s3://bucket/maps is an address"),
        ("download map s3://bucket/a.csv", "s3://bucket/a.csv is an address"),
        ("download map s3://bucket/a.csv --explain", "s3://bucket/a.csv is an address"),
        ("download map folder.csv", "folder.csv is a folder"),
        ("vacuum --keep -1", "--keep -1: at least 1"),
        ("export aster maps --merge", "run `mosaic` first"),
        ("export aster maps --merge --explain", "run `mosaic` first"),
        ("download nowhere a.csv", "Tables: aster, empty, map, map_gains, map_sums."),
        ("download aster a.txt", ".csv or .parquet"),
        ("download aster a.csv --where no_such<1", "no column"),
        ("download map a.parquet --layout published", "CSV"),
        ("upload nowhere.csv new", "no such file"),
        ("upload file new", ".csv or .parquet"),
        ("upload words.csv new", "does not say what kind of table"),
        ("ingest scene.hdf --table new", "--aod and --dem"),
        ("ingest scene.hdf --table new --aod 120 --dem 0", "from 0 to 5"),
        ("simulate new --size 5", "32 to 2048"),
        ("demo new --size 5", "32 to 2048"),
        ("nothing", "invalid choice"),
        ("", "COMMAND"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2_says_what_and_writes_nothing(ask, tmp_path, words, text):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "words.csv").write_text("hello\nworld\n")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ask(*words.split())
    assert (code, out) == (2, "")
    assert text in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("run mineral_indices aster map", "method 'mosaic'"),
        ("export map maps --tiles 9,9", "no rows there"),
        ("export empty maps", "no rows"),
        ("download map file/a.csv", "file"),
        ("upload broken.parquet new", "Cannot read 'broken.parquet' as Parquet"),
        ("upload picture.csv new", "is not CSV text"),
        ("simulate file --size 32", "file"),
    ],
)
def test_what_cannot_be_done_is_1_and_leaves_nothing(ask, tmp_path, words, text):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "broken.parquet").write_text("PAR1 and no more")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ask(*words.split())
    assert (code, out) == (1, "")
    assert text in err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_about_many_tables_names_only_the_near_ones(ask, tmp_path):
    engine = open_engine(str(tmp_path / "warehouse"))
    for n in range(8):
        engine.create(f"other{n}", tiles_schema(SENSOR.name, GRID))
    code, _, err = ask("run", "mosaic", "astre", "new")
    assert code == 2
    assert "No table 'astre'. Did you mean aster? `geoquarry tables` lists all 13." in err
    assert "map_gains" not in err


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELEC * FROM aster", "missing or misspelt at 'SELEC * FROM'."),
        ("SHOW TABLES", "`geoquarry tables` lists the tables."),
        ("DESCRIBE aster", "`geoquarry describe TABLE`"),
        ("SELECT * FROM geoquarry.foo", "there are geoquarry.jobs and geoquarry.units"),
        (DESIGN.split("indices\n", 1)[1], "go into a table. Form: INSERT OVERWRITE|INTO"),
    ],
)
def test_sql_that_cannot_be_answered_says_what_to_do(ask, statement, text):
    code, _, err = ask("sql", statement)
    assert code == 2
    assert text in err
    assert "<class" not in err


def test_verbose_shows_where_an_error_comes_from(ask, capsys):
    assert main(["drop", "nowhere", "-v"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.count("'nowhere'") == 1  # and what it is, once


def test_ctrl_c_while_libraries_are_loaded_is_one_line():
    job = subprocess.Popen(
        [sys.executable, "-v", "-m", "geoquarry", "tables"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in job.stderr:
        if line.startswith("import 'numpy"):
            break
    job.send_signal(signal.SIGINT)
    _, err = job.communicate(timeout=60)
    assert "geoquarry: stopped." in err.splitlines()
    assert "Traceback" not in err
    assert job.returncode == 130


def test_progress_in_a_log_is_lines_and_rare(monkeypatch, capsys):
    for seconds, lines in ((30.0, 0), (0.0, 6)):
        monkeypatch.setattr(console, "LOG_S", seconds)
        list(console.watched(range(5), what="rows", total=5))
        err = capsys.readouterr().err
        assert err.count("\n") == lines
        assert "\r" not in err


def test_the_designs_statement(ask, answer):
    plan = answer("sql", DESIGN, "--explain")
    assert (plan["tiles"], plan["skipped"]) == (2, 0)
    assert answer("sql", DESIGN)["counts"]["ok"] == 2
    assert answer("history", "indices")[-1]["kind"] == "run mineral_indices"
    one = DESIGN.replace("cloud_fraction < 0.9", "tile_x = 3").replace("'median'", "'min'")
    into = one.replace("OVERWRITE TABLE", "INTO")
    code, out, err = ask("sql", into)
    assert (code, out) == (0, "")
    assert "indices: 1 ok" in err
    mosaics = "SELECT tile_x, provenance->>'$.params.mosaic' AS m FROM indices ORDER BY tile_x"
    by_tile = [(row["tile_x"], row["m"]) for row in answer("sql", mosaics)]
    assert by_tile == [(3, "min"), (4, "median")]  # INTO: by tile
    assert ask("sql", one)[0] == 0
    assert [row["tile_x"] for row in answer("sql", mosaics)] == [3]  # OVERWRITE: the whole table


@pytest.mark.parametrize(
    "change",
    [
        ("FROM aster", "FROM aster TABLESAMPLE (10 PERCENT)"),
        ("FROM aster", "FROM aster VERSION AS OF 3"),
        ("FROM aster", "FROM aster, map"),
        ("(*,", "(* EXCEPT (b01),"),
        ("GROUP BY tile_x, tile_y", "GROUP BY tile_x, tile_y WITH ROLLUP"),
        ("GROUP BY tile_x, tile_y", "GROUP BY tile_x, tile_y CLUSTER BY tile_x"),
        ("TABLE indices", "TABLE indices PARTITION (a = 1)"),
        ("'median'", "'best guess'"),
        ("mosaic =>", "mosaik =>"),
        ("tile_y, mineral", "tile_y; mineral"),
    ],
)
def test_a_statement_with_anything_else_is_refused(ask, answer, change):
    code, _, err = ask("sql", DESIGN.replace(*change))
    assert code == 2, err
    assert "indices" not in [row["table"] for row in answer("tables")]


def test_plain_sql(ask, answer):
    metadata = (
        "SELECT a.tile_x, count(*) AS n, sum(a.tile_y) AS s FROM aster a JOIN map m "
        "USING (tile_x, tile_y) WHERE m.status <> 'failed' GROUP BY 1 ORDER BY 1"
    )
    assert answer("sql", metadata) == [
        {"tile_x": 3, "n": 3, "s": 15},
        {"tile_x": 4, "n": 3, "s": 15},
    ]
    assert ask("sql", "SELECT tile_x FROM aster LIMIT 1") == (0, "tile_x\n     3\n", "")
    found = answer("sql", "SELECT tile_stats(b04) AS s, tile_value(b04, 0, 60) AS v FROM aster")
    assert len(found) == 6
    assert all(0 < row["s"]["min"] <= row["s"]["mean"] <= row["s"]["max"] < 255 for row in found)
    assert all(0 <= row["v"] < 255 for row in found)
    assert answer("sql", "SELECT tile_stats(NULL) AS s") == [{"s": None}]


def test_only_a_job_is_explained(ask):
    code, out, err = ask("sql", "SELECT 1", "--explain")
    assert (code, out) == (2, "")
    assert "starts none" in err


def test_sql_answers_are_strict_json(ask, answer):
    odd = (
        "SELECT {'x': 'nan'::DOUBLE} AS s, ['inf'::FLOAT, 1] AS l, timestamptz '2006-06-18' AS t, "
        "'abc'::BLOB AS b, NULL AS n, 2::HUGEINT AS h, 1.5::DECIMAL(4, 1) AS d, date '2006-06-18' y"
    )
    assert answer("sql", odd) == [
        {
            "s": {"x": None}, "l": [None, 1.0], "t": "2006-06-18T00:00:00+00:00",
            "b": "<3 bytes>", "n": None, "h": 2, "d": 1.5, "y": "2006-06-18",
        }
    ]  # fmt: skip
    row = answer("sql", "SELECT * FROM aster LIMIT 1")[0]
    assert row["b01"].endswith(" bytes>")
    assert len(row["view_zenith_deg"]) == 9
    code, out, _ = ask("sql", "SELECT * FROM aster")
    assert code == 0
    assert max(len(word) for word in out.split("  ")) < 80  # long lists are clipped for people


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELEC 1",
        "SELECT nothing FROM aster",
        "SELECT * FROM nowhere",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT 1; SELECT 2",
        "SELECT tile_value(b04, 999, 0) FROM aster",
        "SELECT tile_stats('abc'::BLOB)",
        "DROP TABLE aster",
        "DELETE FROM aster",
        "CREATE TABLE x AS SELECT 1",
        "COPY aster TO 'aster.csv'",
        "SET TimeZone = 'America/New_York'",
        "SHOW TABLES",
        "INSERT INTO aster VALUES (1)",
    ],
)
def test_other_sql_is_refused(ask, answer, tmp_path, statement):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ask("sql", statement)
    assert (code, out) == (2, "")
    assert err.startswith("geoquarry sql: ")
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("table", ["aster", "map"])
def test_download_and_upload(ask, answer, tmp_path, table, suffix):
    path = tmp_path / f"rows{suffix}"
    plan = answer("download", table, path, "--explain")
    assert (plan["replaces"], path.exists()) == (False, False)
    count = answer("download", table, path)["rows"]
    assert plan["rows"] == count
    code, out, err = ask("upload", path, "again")
    assert (code, out) == (0, "")
    assert f"{count} rows in again; 0 left out." in err
    assert answer("upload", path, "again") == {"rows": count, "skipped": 0, "failed": []}
    assert answer("sql", "SELECT count(*) AS n FROM again") == [{"n": count}]
    assert ask("upload", path, "empty" if table == "map" else "map")[0] == 2  # another kind


def test_download_of_no_row_is_an_empty_file(ask, tmp_path):
    code, _, err = ask("download", "aster", "a.csv", "--where", "cloud_fraction > 2")
    assert code == 0
    assert "0 rows" in err
    assert (tmp_path / "a.csv").read_text().count("\n") == 1


def test_upload_lists_what_it_leaves_out(ask, answer, tmp_path):
    ask("download", "aster", "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "b.csv").write_text("\n".join([*lines[:3], lines[3][:40]]) + "\n")
    code, _, err = ask("upload", "b.csv", "again")
    assert code == 3
    assert "left out: 'b.csv', line 4" in err
    ask("download", "aster", "pixels.csv", "--hex", "pixels")
    assert ask("upload", "pixels.csv", "pixels")[0] == 1
    assert "pixels" not in [row["table"] for row in answer("tables")]


def test_the_published_layout(ask, answer):
    assert ask("download", "aster", "gmi.csv", "--layout", "published")[0] == 0
    assert answer("upload", "gmi.csv", "again") == {"rows": 6, "skipped": 0, "failed": []}
    assert ask("run", "mosaic", "again", "again_map")[0] == 0


def test_export(ask, answer, tmp_path):
    plan = answer("export", "map", "maps", "--merge", "--explain")
    assert (plan["rows"], plan["files"]) == (2, 1)
    assert not (tmp_path / "maps").exists()
    code, out, err = ask("export", "map", "maps", "--bands", "b3n", "b02")
    assert code == 0
    assert out == "maps/map_x3_y5.tif\nmaps/map_x4_y5.tif\n"
    assert "2 files in maps; 0 tiles empty, 0 failed." in err
    found = answer("export", "map", "maps", "--merge", "--flags", "--format", "geotiff")
    assert found == {"files": ["maps/map.tif", "maps/map_flags.tif"], "empty": [], "failed": []}
    assert all((tmp_path / name).is_file() for name in found["files"])


def test_doctor(ask, answer, tmp_path, monkeypatch):
    code, out, _ = ask("doctor")
    found = {row["what"]: row["state"] for row in answer("doctor", code=code)}
    assert found["PROJ"] == found["engine local"] == "ok"
    assert code == (0 if found["lookup table aster_l1t"] == "ok" else 1)
    assert out.startswith("what ")
    monkeypatch.setenv(FOLDER_VARIABLE, "no such folder")  # 6S or not: jobs need the table
    assert ask("doctor")[0] == 1
    ask("doctor", "--warehouse", "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_doctor_looks_at_the_warehouse(ask, answer, tmp_path, monkeypatch):
    def found(*words, code=0):
        monkeypatch.setattr(doctor, "NEEDED", ())
        monkeypatch.setattr(doctor, "sensors", lambda: ())
        rows = {row["what"]: row for row in answer("doctor", *words, code=code)}
        return rows["warehouse"]["state"], rows["warehouse"]["about"]

    state, about = found()
    assert (state, about.endswith("is there, 5 tables")) == ("ok", True)
    assert found("--warehouse", "new") == ("ok", "new will be made by the first ingest")
    (tmp_path / "file").touch()
    assert "is a file" in found("--warehouse", "file", code=1)[1]
    missing = f"sqlite:///{tmp_path}/no/catalog.db"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert found("--warehouse", "s3://b/q", "--catalog", missing)[1].endswith("the first ingest")
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert found()[0] == "read-only"
    assert "may not write" in found("--warehouse", "new", code=1)[1]
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert found("--engine", "spark", code=1)[0] == "read-only"


def test_a_moved_warehouse(ask, answer, tmp_path):
    (tmp_path / "warehouse").rename(tmp_path / "moved")
    code, out, err = ask("describe", "map", "--warehouse", "moved")
    assert (code, out) == (1, "")
    assert "geoquarry relocate" in err
    assert answer("relocate", "--warehouse", "moved") == ALL
    assert answer("relocate", "--warehouse", "moved") == []
    assert answer("check", "map", "--warehouse", "moved") == []


def test_not_a_catalog(ask, tmp_path):
    (tmp_path / "warehouse/catalog.db").write_text("garbage " * 100)
    code, _, err = ask("tables")
    assert code == 1
    assert "catalog" in err


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("attempt to write a readonly database", "permissions of the catalog's file and folder"),
        ("read-only file system", "mounted read-only"),
    ],
)
def test_a_catalog_that_cannot_be_written(said, text):
    assert text in str(catalog_trouble(OperationalError("", {}, Exception(said))))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_warehouse_that_may_only_be_read(ask, tmp_path):
    folder = tmp_path / "warehouse"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert ask("sql", "SELECT count(*) FROM aster")[0] == 0
        assert ask("export", "map", "maps")[0] == 0
        assert ask("run", "mosaic", "aster", "new")[0] == 1
        assert ask("drop", "map")[0] == 1
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)


def test_a_reader_that_leaves_early_is_no_error_message(ask, pytestconfig):
    start = "import sys; from geoquarry.jobs.__main__ import main; sys.exit(main(sys.argv[1:]))"
    job = subprocess.Popen(
        [sys.executable, "-c", start, "describe", "aster"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=pytestconfig.invocation_params.dir,
    )
    job.stdout.close()
    assert job.stderr.read() == b""
    assert job.wait(timeout=60) == 1


def test_demo_from_simulation_to_pictures(ask, answer, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    air = {
        "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
        "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
        "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
    }  # given: what 6S says is the business of tests/engine/test_sixs.py
    found = sixs.Correction(**air, optics=[], runs=0)
    monkeypatch.setattr(sixs, "correction", lambda *_, **__: found)
    code, out, err = ask("demo", "here", "--size", 48, "--scenes", 2)
    assert code == 0, err
    assert "Not crosstalk-corrected." in out
    assert len(list((tmp_path / "here/pictures").glob("*.png"))) == 5
    assert len(list((tmp_path / "here/maps").glob("*.tif"))) == 3
    assert answer("simulate", "there", "--size", 48, "--scenes", 1)["grid"] == "res-30_tilesize-48"
    assert (tmp_path / "there/scenes.json").is_file()


def test_what_cannot_fit_is_refused_before_it_starts(ask, monkeypatch):
    """A machine with 64 MiB, as seen from the job."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**14}
    monkeypatch.setattr("geoquarry.jobs.run.os.sysconf", sizes.__getitem__)
    code, _, err = ask("run", "mosaic", "aster", "never")
    assert code == 2
    assert "64 MiB" in err
    assert "--workers" in err


def test_looking_makes_no_warehouse(ask, tmp_path):
    code, _, err = ask("tables", "--warehouse", tmp_path / "typo")
    assert code == 2
    assert "no warehouse" in err
    assert not (tmp_path / "typo").exists()
    catalog = f"sqlite:///{tmp_path}/no/catalog.db"
    code, _, err = ask("tables", "--warehouse", "s3://bucket/q", "--catalog", catalog)
    assert code == 2
    assert "no warehouse in 's3://bucket/q': there is no file" in err
    assert not (tmp_path / "no").exists()


def test_a_warehouse_is_made_by_its_first_table(ask, tmp_path):
    house = tmp_path / "new"
    engine = open_engine(str(house))
    assert engine.tables() == []
    assert not engine.exists("aster")
    with pytest.raises(UnknownName, match="Tables: none yet"):
        engine.schema("aster")
    assert list(house.iterdir()) == []
    assert ask("tables", "--warehouse", house)[0] == 2
    engine.create("aster", tiles_schema("aster_l1t", "res-30_tilesize-32"))
    assert ask("tables", "--warehouse", house)[0] == 0


def test_a_refused_job_leaves_no_target(ask, answer):
    assert ask("run", "mosaic", "aster", "nx", "--as-of", "7")[0] == 2
    assert ask("run", "mosaic", "aster", "nx", "--where", "acquired < 'yesterday'")[0] == 2
    assert "nx" not in [row["table"] for row in answer("tables")]
