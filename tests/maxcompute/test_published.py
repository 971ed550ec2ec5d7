"""Published tables in a project: taken over row by row, and written for those who read them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine import maxcompute_upload
from geoquarry.engine.aster_l1t_gmi_columns import INTEGERS, TABLE_COLUMNS
from geoquarry.engine.aster_l1t_gmi_results import write_results
from geoquarry.engine.aster_l1t_gmi_writer import write_gmi
from geoquarry.engine.local import open_engine
from geoquarry.jobs import __main__ as command
from geoquarry.jobs.adopt import adopt
from geoquarry.jobs.download import download
from geoquarry.jobs.publish import publish
from geoquarry.jobs.published import Layout
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.jobs.upload import upload
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.tables import tiles_schema

pytestmark = [pytest.mark.maxcompute]

ROWS = made_up_rows(tiles=((3, 5), (4, 5)), granules=3)
NOT_PUBLISHED = ("ingest_id",)


def records():
    """The rows as Script 1 would have written them, and Script 2 stored them."""
    _, *found = write_gmi(ROWS)
    return [dict(zip(TABLE_COLUMNS, fields, strict=True)) for fields in found]


def store(odps, name, rows, *, extra=()):
    """A table of the published source layout, made by the plain client."""
    names = [*TABLE_COLUMNS, *extra]
    columns = ", ".join(f"{n} {'bigint' if n in INTEGERS else 'string'}" for n in names)
    odps.execute_sql(f"CREATE TABLE {name} ({columns})")
    arrays = {
        n: pa.array([int(r[n]) if n in INTEGERS else r.get(n, "") for r in rows]) for n in names
    }
    with odps.get_table(name).open_writer(arrow=True) as writer:
        writer.write(pa.RecordBatch.from_pydict(arrays))


@pytest.fixture
def local(tmp_path):
    return open_engine(str(tmp_path / "local"), workers=1)


def content(engine, table):
    """Digest of what a table holds."""
    rows = engine.read(table).read_all().to_pylist()
    return parity_digest({k: v for k, v in r.items() if k not in NOT_PUBLISHED} for r in rows)


@pytest.fixture
def csv(tmp_path):
    """The same rows as a file, and what `upload` makes of it on the local engine."""
    path = tmp_path / "rows.csv"
    lines = [",".join(TABLE_COLUMNS)]
    lines += [
        ",".join('"' + r[n].replace('"', '""') + '"' for n in TABLE_COLUMNS) for r in records()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_published_table_is_taken_over(odps, maxcompute_engine, local, csv):
    store(odps, "theirs", records(), extra=["note"])  # columns of their own do not matter
    engine = maxcompute_engine()
    report = adopt(engine, "theirs", "aster")
    assert (report.rows, report.there, report.repeated, report.failed) == (6, 0, 0, [])
    upload(local, csv, "aster")
    assert content(engine, "aster") == content(local, "aster")
    assert adopt(engine, "theirs", "aster").there == 6  # again: nothing to do
    assert adopt(engine, f"{engine.connection.account.project}.theirs", "aster").there == 6


def test_what_is_computed_of_it_equals_the_local_engine(odps, maxcompute_engine, local, csv):
    store(odps, "theirs", records())
    engine = maxcompute_engine()
    adopt(engine, "theirs", "aster")
    upload(local, csv, "aster")
    found = set()
    for each in (engine, local):
        run_phases(each, job_of(each, Trigger("mosaic", "aster", "maps")))
        found.add(content(each, "maps"))
    assert len(found) == 1


def test_an_adoption_that_was_cut_off_goes_on(odps, maxcompute_engine, monkeypatch):
    store(odps, "theirs", records())
    engine = maxcompute_engine()
    real, calls = engine.append, []

    def cut(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(engine, "append", cut)
    with pytest.raises(KeyboardInterrupt):
        adopt(engine, "theirs", "aster", rows_per_commit=2)
    assert engine.describe("aster")["rows"] == 2
    report = adopt(engine, "theirs", "aster", rows_per_commit=2)
    assert (report.rows, report.there) == (4, 2)
    assert engine.describe("aster")["rows"] == 6


def test_rows_that_cannot_be_used_are_listed(odps, maxcompute_engine):
    rows = records()
    rows[1] |= {"atmoshpheric_correction_paras": "{}"}
    rows[2] |= {"vnir_swath_imagedata1": "zz"}
    store(odps, "theirs", [*rows, rows[0]])
    engine = maxcompute_engine()
    report = adopt(engine, "theirs", "aster")
    assert (report.rows, report.repeated, report.exit_code) == (4, 1, 3)
    said = "\n".join(sorted(report.failed))
    assert "column 'VNIR_Swath_ImageData1': not hex" in said
    assert "no number a" in said
    assert "'theirs', row " in said


def test_sessions_that_expire_are_begun_anew(server, odps, maxcompute_engine):
    store(odps, "theirs", records())
    engine = maxcompute_engine()
    adopt(engine, "theirs", "aster", rows_per_commit=2)
    engine.drop("aster")
    fault = server.faults.add("expired_download", match=r"theirs.*vnir_swath_imagedata1")
    report = adopt(engine, "theirs", "aster", rows_per_commit=2)
    assert fault.hits
    assert (report.rows, report.there, engine.describe("aster")["rows"]) == (6, 0, 6)
    server.faults.add("expired_download", times=None, match=r"theirs.*vnir_swath_imagedata1")
    with pytest.raises(TableError, match="'theirs' cannot be read"):
        adopt(engine, "theirs", "aster", overwrite=True)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """`aster` and `maps` (23 indices of two tiles), made on the local engine."""
    engine = open_engine(str(tmp_path_factory.mktemp("computed") / "house"), workers=1)
    engine.create("aster", tiles_schema(SENSOR.name, GRID))
    engine.append("aster", ROWS)
    run_phases(engine, job_of(engine, Trigger("mineral_indices", "aster", "maps")))
    return engine


@pytest.fixture
def results(maxcompute_engine, computed):
    """The same tables in the project."""
    engine = maxcompute_engine()
    for table in ("aster", "maps"):
        engine.create(table, computed.schema(table))
        engine.append(table, computed.read(table))
    return engine


def fetched(odps, name):
    """A table as the plain client reads it, by tile."""
    with odps.get_table(name).open_reader(arrow=True) as reader:
        rows = reader.read_all().to_pylist()
    return sorted(rows, key=lambda row: (row["tile_index_y"], row["tile_index_x"]))


def test_results_are_published_with_their_misspellings(odps, results, tmp_path):
    assert publish(results, "maps", "demo_fg", layout=Layout(original_spelling=True)) == 2
    rows = fetched(odps, "demo_fg")
    assert [(r["tile_index_x"], r["tile_index_y"], r["code"]) for r in rows] == [
        (3, 5, "ok"), (4, 5, "ok"),
    ]  # fmt: skip
    assert {"gosson", "ferric_oxdes", "dolomit", "ndvi", "cloud_mask"} <= {*rows[0]}
    types = {c.name: str(c.type).lower() for c in odps.get_table("demo_fg").table_schema.columns}
    assert {types[n] for n in ("tile_index_x", "tile_index_y")} == {"bigint"}
    assert {types[n] for n in types if not n.startswith("tile")} == {"string"}
    schema = results.schema("maps")
    ours = results.read("maps").read_all().to_pylist()
    header, *expected = write_results(ours, schema, original_spelling=True)
    assert [[str(r[n]) for n in header] for r in rows] == expected
    # the CSV of `download` holds the same
    download(results, "maps", tmp_path / "a.csv", layout="published",
             published=Layout(original_spelling=True))  # fmt: skip
    assert (tmp_path / "a.csv").read_text().count(rows[0]["gosson"]) == 1


def test_publishing_replaces_the_whole_table(odps, results):
    publish(results, "maps", "demo_fg")
    publish(results, "maps", "demo_fg", where="tile_x = 4", layout=Layout(scale=1e-4))
    (row,) = fetched(odps, "demo_fg")
    assert row["tile_index_x"] == 4
    assert set(json.loads(row["meta"])["geoquarry"]["scales"].values()) == {1e-4}
    assert np.frombuffer(bytes.fromhex(row["clay"]), np.int16).size == 64 * 64


@pytest.mark.parametrize("kind", ["expired_upload", "5xx", "reply_lost", "done_5xx"])
def test_as_many_rows_as_before_are_no_sign_that_they_are_the_new_ones(
    kind, server, odps, results, monkeypatch
):
    monkeypatch.setattr(maxcompute_upload.time, "sleep", lambda seconds: None)
    publish(results, "maps", "demo_fg")
    fault = server.faults.add(kind, match="upload.commit")
    publish(results, "maps", f"{server.project}.demo_fg", layout=Layout(scale=1e-4))
    assert fault.hits
    for row in fetched(odps, "demo_fg"):
        assert set(json.loads(row["meta"])["geoquarry"]["scales"].values()) == {1e-4}
    assert not [table.name for table in odps.list_tables() if "__" in table.name]


@pytest.mark.parametrize("name", ["a;drop", "a b", "x__new_0123456789ab", "", "a..b"])
def test_names_that_cannot_be_are_refused(name, results):
    with pytest.raises(UsageError, match="cannot be a published table"):
        publish(results, "maps", name)
    with pytest.raises(UsageError, match="cannot be a published table"):
        adopt(results, name, "another")


def test_other_tables_are_never_replaced(odps, results):
    with pytest.raises(UsageError, match="is a table of geoquarry's own"):
        publish(results, "maps", "aster")
    odps.execute_sql("CREATE TABLE somebodys (a bigint)")
    with pytest.raises(UsageError, match="other columns"):
        publish(results, "maps", "somebodys")
    publish(results, "maps", "demo_fg")
    with pytest.raises(UsageError, match=r"other columns \(dolomit, dolomite"):
        publish(results, "maps", "demo_fg", layout=Layout(original_spelling=True))
    with pytest.raises(UsageError, match="No row"):
        publish(results, "maps", "demo_fg", where="tile_x = 99")
    assert len(fetched(odps, "demo_fg")) == 2


def test_tiles_are_published_and_come_back(odps, results):
    assert publish(results, "aster", "source_26") == 6
    with odps.get_table("source_26").open_reader(arrow=True) as reader:
        assert reader.read_all().column_names == list(TABLE_COLUMNS)
    assert adopt(results, "source_26", "again").rows == 6
    before, after = (
        {(r["tile_x"], r["granule_id"]): r for r in results.read(t).read_all().to_pylist()}
        for t in ("aster", "again")
    )
    for key, row in before.items():
        assert after[key]["xa"] == row["xa"]
        assert after[key]["acquired"] == row["acquired"]


def test_a_partitioned_table_is_refused(odps, maxcompute_engine):
    odps.execute_sql("CREATE TABLE parted (a bigint) PARTITIONED BY (dt string)")
    with pytest.raises(UsageError, match="partitioned by dt"):
        adopt(maxcompute_engine(), "parted", "aster")
    odps.execute_sql("CREATE TABLE odd (granule_id string)")
    with pytest.raises(UsageError, match="not the published 26-column layout"):
        adopt(maxcompute_engine(), "odd", "aster")


def test_on_the_command_line(server, odps, tmp_path, monkeypatch, capsys):
    store(odps, "theirs", records())
    monkeypatch.setenv("ODPS_ACCESS_ID", server.access_id)
    monkeypatch.setenv("ODPS_ACCESS_KEY", server.secret)
    place = ["--engine", "maxcompute", "--project", server.project, "--endpoint", server.endpoint]
    place += ["--tunnel-endpoint", server.tunnel_endpoint, "--warehouse", str(tmp_path / "house")]
    assert command.main(["adopt", "theirs", "aster", "--explain", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6
    assert command.main(["adopt", "theirs", "aster", *place]) == 0
    assert "6 rows of theirs in aster; 0 were there" in capsys.readouterr().err
    assert command.main(["publish", "aster", "source_26", "--explain", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6
    assert command.main(["publish", "aster", "source_26", *place]) == 0
    assert "6 rows of aster in source_26" in capsys.readouterr().err
    assert server.secret not in "".join(request.target for request in server.requests)
