"""Doors that stay shut: what no file may call, what no name may reach, what no message may tell.

docs/security.md says whom we trust with what; this file holds us to it.
"""

import ast
import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from geoquarry.engine.catalog import catalog_url, open_catalog
from geoquarry.engine.datafile import safe_name
from geoquarry.engine.local import open_engine
from geoquarry.engine.where import condition
from geoquarry.jobs.layers import file_stem
from geoquarry.schemas.blob import encode
from geoquarry.schemas.errors import GeoquarryError, InputError, UsageError
from geoquarry.schemas.redact import redacted
from geoquarry.schemas.tables import tiles_schema

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "udfs", "engine", "jobs")
GRID = "res-30_tilesize-4"
EVALUATORS = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
PACKAGES = {
    "pickle": "data are never pickled",
    "marshal": "data are never marshalled",
    "shelve": "it pickles",
    "dill": "it pickles",
    "cloudpickle": "it pickles",
    "joblib": "it pickles",
    "yaml": "its loader makes objects",
    "xml": "entities may expand without end",
    "lxml": "entities may expand without end",
    "telnetlib": "no such network",
    "ftplib": "no such network",
    "commands": "a shell",
    "pty": "a shell",
}
CALLS = {
    "os.system": "a shell",
    "os.popen": "a shell",
    "os.umask": "the user's umask is respected",
    "os.tempnam": "a name that somebody else may take",
    "tempfile.mktemp": "a name that somebody else may take",
    "subprocess.getoutput": "a shell",
    "subprocess.getstatusoutput": "a shell",
    "shutil.unpack_archive": "members may leave the folder",
    "ast.literal_eval": "see LITERALS",
    "random.seed": "global state",
}
METHODS = {"extractall": "members may leave the folder", "read_pickle": "it unpickles"}
LITERALS = {"engine/aster_l1t_gmi_meta.py"}
"""Read Python literals (the published layout once held ``str(dict)``), after a limit on length."""


def files():
    """Every module of the rooms and its tree."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def dotted(node):
    """``os.path.join`` of a call, or the last name alone."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(tree):
    """(line, what) of everything a module must not do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.split(".")[0] in PACKAGES:
                    yield node.lineno, f"import {name}"
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if called in EVALUATORS or called in CALLS:
            yield node.lineno, called
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            yield node.lineno, node.func.attr
        if "shell" in given and not _is(given["shell"], False):
            yield node.lineno, "shell="
        if called in ("np.load", "numpy.load") and not _is(given.get("allow_pickle"), False):
            yield node.lineno, "np.load without allow_pickle=False"
        if called == "np.save" and not _is(given.get("allow_pickle"), False):
            yield node.lineno, "np.save without allow_pickle=False"


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def test_no_module_opens_a_forbidden_door():
    found = [
        f"{path}:{line}: {what}"
        for path, tree in files()
        for line, what in offences(tree)
        if not (what == "ast.literal_eval" and path in LITERALS)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import os\nos.system('ls')",
        "from pickle import loads",
        "import xml.etree.ElementTree",
        "subprocess.run('ls', shell=True)",
        "subprocess.run(words, shell=wanted)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(folder)",
        "__import__(name)",
    ],
)
def test_the_test_sees_them(text):
    assert list(offences(ast.parse(text)))


def test_modes_are_given_to_nobody_else():
    """Where a mode is set at all, others get nothing."""
    for path, tree in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func).rsplit(".", 1)[-1] in (
                "chmod",
                "mkdir",
                "makedirs",
                "open",
            ):
                modes = [word.value for word in node.keywords if word.arg == "mode"]
                modes += node.args[-1:] if dotted(node.func).endswith("chmod") else []
                for mode in modes:
                    if isinstance(mode, ast.Constant) and isinstance(mode.value, int):
                        assert not mode.value & 0o077, f"{path}:{node.lineno}: {mode.value:o}"


NAMES = [
    *("", ".", "..", "../other", "/etc/passwd", "a/b", "a\\b", "a b", "a;b", "a'b", 'a"b', "a`b"),
    *("a\0b", "a\n", "a.b", "1a", "-a", "a-b", "Ä", "a" * 65, "$(id)", "%s", "a,b", "*", "tiles()"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_name_is_letters_digits_underscores(name, tmp_path):
    engine = open_engine(str(tmp_path / "house"))
    for verb in (engine.create, engine.ensure):
        with pytest.raises(UsageError):
            verb(name, tiles_schema("aster_l1t", GRID))
    for verb in (engine.drop, engine.describe, engine.schema, engine.read, engine.history):
        with pytest.raises(GeoquarryError):
            verb(name)
    assert engine.tables() == []


GRANULES = [
    *(
        "../../../escaped",
        "/etc/escaped",
        "..",
        ".",
        "a/../../b",
        "~root",
        "con",
        "a\\..\\b",
        "-rf",
    ),
    *(
        "$(touch x)",
        "a\nb",
        "ümlaut",
        "x" * 3000,
        "a'; DROP TABLE t; --",
        "%2e%2e%2f",
        " ",
        "a*?[]",
    ),
    "..%00/x\x01",
]


def test_no_granule_leaves_the_warehouse(tmp_path):
    house = tmp_path / "deep" / "er" / "house"
    engine = open_engine(str(house))
    engine.create("aster", tiles_schema("aster_l1t", GRID))
    key = {"grid": GRID, "tile_x": 1, "tile_y": 1, "sensor": "aster_l1t"}
    pixels = encode([[1, 2], [3, 4]], dtype="uint8")
    engine.append("aster", [{**key, "granule_id": name, "b01": pixels} for name in GRANULES])
    found = engine.read("aster", ["granule_id"]).read_all()["granule_id"].to_pylist()
    assert sorted(found) == sorted(GRANULES)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and house not in path.parents]
    assert outside == []
    for name in GRANULES:
        quoted = name.replace("'", "''")
        rows = engine.read("aster", ["granule_id"], where=f"granule_id = '{quoted}'").read_all()
        assert rows["granule_id"].to_pylist() == [name]


@pytest.mark.parametrize("name", [*GRANULES, "a\0b", "\ud800"])
def test_file_names_from_tables_stay_in_their_folder(name, tmp_path):
    for stem in (
        safe_name(name),
        file_stem("maps", {"tile_x": 1, "tile_y": 2, "granule_id": name}),
    ):
        path = tmp_path / f"{stem}.tif"
        assert path.resolve().parent == tmp_path.resolve()
        assert len(path.name.encode()) <= 255
        assert path.name.isascii()
        path.touch()


SCHEMA = pa.schema([("tile_x", pa.int32()), ("granule_id", pa.string()), ("b01", pa.binary())])


@pytest.mark.parametrize(
    "text",
    [
        "1=1; DROP TABLE aster",
        "1=1) OR (1=1",
        "1=1 UNION SELECT * FROM x",
        "granule_id IN (SELECT granule_id FROM x)",
        "EXISTS (SELECT 1)",
        "granule_id = getenv('HOME')",
        "granule_id IN (SELECT content FROM read_text('/etc/passwd'))",
        "read_text('/etc/passwd') IS NOT NULL",
        "granule_id = current_setting('home_directory')",
        "tile_x = nextval('s')",
        "b01 IS NULL",
        "length(b01) > 3",
        "other.tile_x = 1",
        "tile_x = $1",
        "tile_x = ?",
        "1=1 GROUP BY tile_x",
        "1=1 LIMIT 1",
        "tile_x = (FROM x)",
        "tile_x = @variable",
        "list_transform([1], x -> x)[1] = 1",
    ],
)
def test_a_condition_reaches_nothing_but_its_columns(text):
    with pytest.raises(UsageError):
        condition(text, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        'SELECT * FROM "{file}"',
        "SELECT * FROM read_csv_auto('{file}')",
        "SELECT getenv('GEOQUARRY_TEST_SECRET')",
        "COPY (SELECT 1) TO '{file}.out'",
        "ATTACH '{file}' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELECT * FROM duckdb_settings()",
        "WITH x AS (SELECT * FROM read_text('{file}')) SELECT * FROM x",
        "SELECT (SELECT content FROM read_text('{file}'))",
        "SELECT * FROM glob('/*')",
        "EXPORT DATABASE '{file}.d'",
        "CALL pragma_version()",
    ],
)
def test_sql_reads_the_warehouse_and_nothing_else(text, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOQUARRY_TEST_SECRET", "hush")
    secret = tmp_path / "secret.csv"
    secret.write_text("hush\nhush\n")
    engine = open_engine(str(tmp_path / "house"))
    with pytest.raises(GeoquarryError) as told:
        engine.sql(text.replace("{file}", str(secret))).read_all()
    assert "hush" not in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house", "secret.csv"]


LEAKS = [
    "postgresql://ann:hush@host/quarry",
    "mysql+pymysql://ann:hu%2Fsh@host:3306/quarry?password=hush",
    "s3.secret-access-key=hush",
    "AWS_SECRET_ACCESS_KEY=hush",
    "{'aws_session_token': 'hush', 'region': 'x'}",
    '{"secret_access_key": "hush"}',
    "Authorization: Bearer hush",
    "ODPS_ACCESS_KEY: hush",
    "password = hush",
    "access_id='hush', access_key='hush'",
    "https://host/x?Signature=hush&Expires=1",
]


@pytest.mark.parametrize("text", LEAKS)
def test_secrets_are_taken_out_of_a_text(text):
    assert "hush" not in redacted(f"It does not answer ({text}).")


@pytest.mark.parametrize("text", LEAKS)
def test_secrets_are_taken_out_of_what_is_told(text, capsys):
    from geoquarry.jobs.console import say

    say(f"cannot reach {text}")
    assert "hush" not in capsys.readouterr().err


def test_a_secret_of_this_process_is_known_without_its_name(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("ODPS_STS_ACCESS_KEY_SECRET", "an-odps-secret-of-ours")
    text = redacted("signed with wJalrXUtnFEMI/K7MDENG and an-odps-secret-of-ours, refused")
    assert text == "signed with ***" + " and ***, refused"


def test_words_that_are_no_secrets_stay():
    text = "granule AST_L1T_003 of token ring, key tile_x=3, s3://bucket/a@b, secretly 3 < 4"
    assert redacted(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "nodialect://ann:hush@host/x",
        "postgresql+nodriver://ann:hush@127.0.0.1:1/x?a=hush",
        "no url: hush",
        "sqlite://hush:hush@host/:memory:",
    ],
)
def test_a_wrong_catalog_tells_no_password(url):
    with pytest.raises(UsageError) as told:
        open_catalog(catalog_url("s3://bucket/x", url), "s3://bucket/x", {})
    assert "hush" not in str(told.value)


PERMISSIONS = """
import os, sys
os.umask(0o{umask})
from geoquarry.engine.local import open_engine
from geoquarry.engine.exchange import write_csv, write_parquet
from geoquarry.schemas.tables import tiles_schema
engine = open_engine(sys.argv[1] + "/house")
schema = tiles_schema("aster_l1t", "{grid}")
engine.create("aster", schema)
engine.append("aster", [dict(grid="{grid}", tile_x=1, tile_y=1, granule_id="g")])
engine.read("aster", where="tile_x = 1").read_all()
write_csv(sys.argv[1] + "/a.csv", engine.read("aster"), schema)
write_parquet(sys.argv[1] + "/a.parquet", engine.read("aster"), schema)
"""


@pytest.mark.parametrize(
    "umask", ["027", *(pytest.param(one, marks=pytest.mark.kill) for one in ("077", "000"))]
)  # one in the fast suite: each starts a process that ingests and exports
def test_files_have_the_modes_that_the_user_wants(umask, tmp_path):
    code = PERMISSIONS.format(umask=umask, grid=GRID)
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    forbidden = int(umask, 8) | 0o7000
    found = list(tmp_path.rglob("*"))
    assert len(found) > 5
    for path in found:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert not mode & forbidden, f"{path}: {mode:o}"
        if path.is_file():
            assert not mode & 0o111, f"{path} is executable: {mode:o}"


def test_6s_gets_no_secrets(monkeypatch, tmp_path):
    from geoquarry.engine import sixs_program

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("GEOQUARRY_CATALOG", "postgresql://ann:hush@host/x")
    assert "hush" not in str(sixs_program._environment(None, str(tmp_path)))
    library = tmp_path / "lib.so"
    library.touch()
    folder = tmp_path / "run"
    folder.mkdir()
    given = sixs_program._environment(library, str(folder))
    assert "hush" not in str(given)
    assert str(folder) in given["LD_LIBRARY_PATH"]


def test_layouts_and_accounts_show_no_keys(tmp_path):
    engine = open_engine(str(tmp_path))
    engine.create("aster", tiles_schema("aster_l1t", GRID))
    layout = engine.warehouse.table("aster").layout
    object.__setattr__(layout, "io_properties", {"s3.secret-access-key": "hush"})
    assert "hush" not in repr(layout)


def test_a_symbolic_link_is_the_warehouse_it_points_to(tmp_path):
    """A link is followed once, when the warehouse is opened; names cannot add another."""
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")
    engine = open_engine(str(tmp_path / "link"))
    assert engine.warehouse.location == str((tmp_path / "real").resolve())


def test_facts_of_a_csv_name_no_path(tmp_path):
    from geoquarry.jobs.upload import upload

    path = tmp_path / "a.csv"
    path.write_text("grid,tile_x,tile_y,granule_id\n../../etc,1,2,g\n")
    (tmp_path / "a.csv-metadata.json").write_text(
        '{"kind": "tiles", "sensor": "../../etc/passwd", "grid": "../../x"}'
    )
    engine = open_engine(str(tmp_path / "house"))
    with contextlib.suppress(InputError), pytest.raises(GeoquarryError):
        upload(engine, path, "aster")
    assert engine.tables() == []
