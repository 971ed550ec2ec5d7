"""A warehouse in an object store: the same verbs against an S3 server on this host."""

import os
import pickle
import re
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from pyarrow import fs

from geoquarry.engine import driver as driver_module
from geoquarry.engine import files
from geoquarry.engine.catalog import cache_folder, shown, sqlite_url
from geoquarry.engine.datafile import RowWriter
from geoquarry.engine.index import read_index
from geoquarry.engine.local import open_engine
from geoquarry.engine.note import Note
from geoquarry.engine.relocate import relocate
from geoquarry.engine.warehouse import open_warehouse
from geoquarry.jobs.__main__ import main
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.job import Job

HERE = Path(__file__).parent
SECRET = "not-to-be-printed"
BUCKET = "quarry"


@pytest.fixture(scope="module")
def toy():
    """The toy sensor under a name that worker processes can import as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        import toy

        yield toy


@pytest.fixture(scope="module")
def address():
    """An S3 server, its bucket, and an environment that knows nothing else."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if re.match("AWS_|GEOQUARRY_", name)]:
            patch.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        store = fs.S3FileSystem(
            endpoint_override=f"http://{host}:{port}",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        store.create_dir(BUCKET)
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def place(address, tmp_path, request):
    """URI and catalog of a new warehouse."""
    prefix = re.sub("[^a-z]", "-", request.node.name)
    return f"s3://{BUCKET}/{prefix}/wh", f"sqlite:///{tmp_path}/cat/catalog.db"


@pytest.fixture
def engine(place, toy):
    engine = open_engine(place[0], catalog=place[1], workers=2)
    engine.create("aster", toy.TILES)
    with engine.appender("aster") as appender:
        for n in range(3):
            rows = [toy.row(f"G{n}", x, 0, value=n + 1) for x in range(3)]
            appender.add_granule(f"G{n}", rows)
    return engine


def keys(engine):
    """Names of all objects of a warehouse, also of those that are only folder markers."""
    prefix = engine.warehouse.location.removeprefix(f"s3://{BUCKET}/") + "/"
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys
    return sorted(key.removeprefix(prefix) for key in found if key.startswith(prefix))


def job(toy, **changes):
    return Job(**{
        "source": "aster", "target": "map", "method": "toy", "params": {}, "udf": "toy:fold",
        "columns": ("granule_id", "b01"), "schema": toy.RESULTS, "package_version": "1", **changes,
    })  # fmt: skip


def test_every_verb(engine, toy):
    assert engine.tables() == ["aster"]
    then = engine.history("aster")[-1]["snapshot_id"]
    first = engine.read("aster").read_all()
    assert toy.decode(first.to_pylist()[0]["b01"])[0, 0] == 1
    assert first.num_rows == 9
    assert engine.run(job(toy)).wait().counts["ok"] == 3
    assert engine.run(job(toy)).wait().counts["skipped"] == 3
    engine.append("aster", [toy.row("G0", 0, 0, value=7)])
    report = engine.run(job(toy, overwrite=True)).wait()
    assert report.counts["ok"] == 3
    assert toy.values(engine.read("map").read_all()) == {(0, 0): 12, (1, 0): 6, (2, 0): 6}
    assert engine.read("aster", as_of=then).read_all().equals(first)
    engine.run(job(toy, target="past", as_of=then)).wait()
    assert toy.values(engine.read("past").read_all())[0, 0] == 6
    count = "SELECT count(*) AS n FROM aster WHERE granule_id = 'G0'"
    assert engine.sql(count).read_all().to_pylist() == [{"n": 3}]
    whole = "SELECT octet_length(b01) AS n FROM aster ORDER BY ALL LIMIT 1"
    assert engine.sql(whole).read_all().to_pylist()[0]["n"] > 0
    assert engine.check("aster") == engine.check("map") == []

    before = keys(engine)
    rows = engine.read("map").read_all()
    assert engine.vacuum("map", timedelta(0), keep=1, dry_run=True).snapshots == 1
    assert keys(engine) == before
    report = engine.vacuum("map", timedelta(0), keep=1)
    assert report.snapshots == 1
    assert report.files >= 6  # three tiles and their indices, besides metadata
    assert len(keys(engine)) < len(before)
    assert engine.read("map").read_all().equals(rows)
    assert engine.check("map") == []

    for table in engine.tables():
        engine.drop(table)
    # Arrow leaves one empty marker where a folder became empty.
    assert set(keys(engine)) <= {"tables/"}


def test_where_things_lie(engine, toy, tmp_path):
    engine.run(job(toy)).wait()
    found = [key for key in keys(engine) if not key.endswith("/")]
    table, commit = "tables/(?P<table>aster|map)-[0-9a-f]{12}", "(?P<commit>[0-9a-f]{32})"
    kinds = [rf"{table}/{room}/{commit}/[^/]+\.parquet" for room in ("data", "index")]
    kinds.append(rf"{table}/metadata/[^/]+\.(avro|metadata\.json)")
    assert all(any(re.fullmatch(kind, key) for kind in kinds) for key in found), found
    assert sum(bool(re.fullmatch(kinds[0], key)) for key in found) == 6  # 3 granules, 3 tiles
    local = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert "cat/catalog.db" in local
    assert all(name.startswith("cat/") for name in local)
    assert engine.warehouse.cache_path("sixs.sqlite") == tmp_path / "cat/cache/sixs.sqlite"


def test_worker_processes_open_the_store_themselves(engine, place, toy):
    processes = open_engine(place[0], catalog=place[1], workers=2, executor="process")
    assert processes.run(job(toy)).wait(60).counts["ok"] == 3
    assert toy.values(engine.read("map").read_all()) == {(x, 0): 6 for x in range(3)}


def test_an_unfinished_run_is_resumed(engine, toy, monkeypatch):
    def killed(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver_module, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            engine.run(job(toy)).wait()
    assert engine.read("map").read_all().num_rows == 0
    assert engine.vacuum("map", timedelta(0), keep=1).kept_unfinished == 7  # parts and the note
    monkeypatch.setattr(Note, "is_live", lambda note: False)
    assert engine.run(job(toy, resume=True)).wait().counts["resumed"] == 3
    assert toy.values(engine.read("map").read_all()) == {(x, 0): 6 for x in range(3)}


APPEND = """
import sys
import toy
from geoquarry.engine.local import open_engine

uri, catalog, name = sys.argv[1:]
engine = open_engine(uri, catalog=catalog)
engine.ensure("both", toy.TILES)
print("ready", flush=True)
sys.stdin.readline()
for n in range(3):
    engine.append("both", [toy.row(f"{name}{n}", 0, 0), toy.row("SHARED", n, 0)])
"""


@pytest.mark.kill
def test_two_processes_append_at_once(place, toy):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(APPEND), *place, name],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("A", "B")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    engine = open_engine(place[0], catalog=place[1])
    found = engine.read("both", columns=["granule_id", "tile_x"]).read_all().to_pylist()
    rows = [("SHARED", n) for n in range(3)] + [(f"{w}{n}", 0) for w in "AB" for n in range(3)]
    assert sorted((row["granule_id"], row["tile_x"]) for row in found) == sorted(rows)
    assert len(engine.history("both")) == 6
    assert engine.check("both") == []
    roots = {key.split("/")[1] for key in keys(engine) if not key.endswith("/")}
    assert len(roots) == 1  # who lost the race to make the table left nothing


def test_a_lost_index_is_rebuilt_and_an_aborted_file_is_gone(engine, toy):
    table = engine.warehouse.table("aster")
    path = table.files()[0].file_path
    table.iceberg.io.delete(table.layout.index_path(path))
    assert read_index(table.layout, path).num_rows == 3
    before = keys(engine)
    writer = RowWriter(table.layout, table.layout.data_path("c" * 32, "x"))
    writer.abort()
    assert [k for k in keys(engine) if not k.endswith("/")] == [
        k for k in before if not k.endswith("/")
    ]


def test_keys_reach_workers_but_no_text(engine, place, address, monkeypatch):
    layout = pickle.loads(pickle.dumps(engine.warehouse.table("aster").layout))
    assert layout.io_properties == {
        "s3.endpoint": address,
        "s3.region": "us-east-1",  # else Amazon would be asked
        "s3.access-key-id": "somebody",
        "s3.secret-access-key": SECRET,
    }
    table = engine.warehouse.table("aster")
    for thing in (layout, layout.io, engine, engine.warehouse, engine.warehouse.catalog, table):
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)
    assert SECRET not in str(engine.describe("aster"))
    assert SECRET not in table.iceberg.metadata.model_dump_json()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"does not answer.*docs/warehouses\.md") as caught:
        open_warehouse(*place)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "catalog", "said"),
    [
        (f"s3://{BUCKET}/a", None, "needs a catalog URI.*--catalog"),
        (f"s3://{BUCKET}/a", f"ann:{SECRET}", "no URI such as postgresql"),
        (f"s3://{BUCKET}/a", f"nosuchdb://ann:{SECRET}@host/x", r"nosuchdb://ann:\*\*\*@host/x"),
        (f"s3://{BUCKET}/a", "sqlite://", "kept in a file"),
        ("s3://no-such-bucket/a", "sqlite:///{}/c.db", "no bucket 'no-such-bucket'"),
        ("s3://", "sqlite:///{}/c.db", "s3://BUCKET/PREFIX"),
        ("ftp://host/a", "sqlite:///{}/c.db", "s3://BUCKET/PREFIX"),
        ("{}/folder", "sqlite:///{}/c.db", "holds its own catalog"),
    ],
)
def test_what_cannot_be_opened_says_why(address, tmp_path, uri, catalog, said):
    with pytest.raises(UsageError, match=said) as caught:
        open_warehouse(uri.format(tmp_path), catalog and catalog.format(tmp_path))
    assert SECRET not in str(caught.value)


def test_one_catalog_one_warehouse(engine, place, tmp_path):
    with pytest.raises(UsageError, match=f"belongs to {place[0]}"):
        open_warehouse(f"s3://{BUCKET}/another", place[1])
    assert open_warehouse(str(tmp_path / "folder")).catalog  # made by who first needs it
    with pytest.raises(UsageError, match="belongs to a warehouse folder"):
        open_warehouse(f"s3://{BUCKET}/another", f"sqlite:///{tmp_path}/folder/catalog.db")
    with pytest.raises(UsageError, match="relocate mends folders"):
        relocate(engine.warehouse)


def test_two_catalogs_on_one_prefix_never_touch_each_others_files(engine, place, toy, tmp_path):
    other = open_engine(place[0], catalog=f"sqlite:///{tmp_path}/other.db")
    other.create("aster", toy.TILES)
    with pytest.raises(TableError, match="'aster' exists"):
        other.create("aster", toy.TILES)
    other.vacuum("aster", timedelta(0), keep=1)
    other.drop("aster")
    assert engine.check("aster") == []


def test_a_database_server_keeps_its_caches_with_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = sqlite_url("x").set(drivername="postgresql", host="h", username="u", password=SECRET)
    assert cache_folder(url) == tmp_path / "geoquarry"
    assert SECRET not in shown(url)


def test_looking_makes_no_catalog(place, tmp_path, capsys):
    elsewhere = tmp_path / "other.db"
    elsewhere.touch()
    words = ["tables", "--warehouse", place[0], "--catalog", f"sqlite:///{elsewhere}"]
    assert main(words) == 2
    assert "There is no warehouse in" in capsys.readouterr().err
    assert elsewhere.stat().st_size == 0


def test_options_of_other_stores(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://oss-cn-hangzhou.aliyuncs.com")
    assert files.storage_options("oss://b/p")["s3.endpoint"].startswith("https://oss-")
    assert files.storage_options("gs://b/p") == {}


def test_the_command_line_takes_a_catalog(engine, place, monkeypatch, capsys):
    assert main(["tables", "--warehouse", place[0]]) == 2
    assert "--catalog" in capsys.readouterr().err
    assert main(["tables", "--warehouse", place[0], "--catalog", place[1], "--json"]) == 0
    assert '"aster"' in capsys.readouterr().out
    monkeypatch.setenv("GEOQUARRY_CATALOG", place[1])
    assert main(["check", "aster", "--warehouse", place[0]]) == 0
