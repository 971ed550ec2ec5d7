"""The stand-in for MaxCompute, through the unmodified PyODPS client: tables, rows, accounts."""

import threading

import pyarrow as pa
import pytest

pytest.importorskip("odps", reason="needs pyodps: pip install '.[odps]'")
pytest.importorskip("sqlglot_maxcompute", reason="needs sqlglot-maxcompute")
from odps import ODPS, errors
from odps.accounts import StsAccount
from odps.tunnel import TableTunnel
from odps.tunnel.errors import TunnelError
from odps_client import HINTS, asked, client_settings, created, filled, read, rows  # noqa: F401

pytestmark = [pytest.mark.maxcompute, pytest.mark.usefixtures("client_settings")]


def test_a_table_is_created_described_and_dropped(odps):
    columns = "a bigint not null comment 'it is \\'so\\'; yes', s struct<`k`:string,v:double>"
    table = created(
        odps, columns=columns, partitions="zone string", comment='{"kind": "tiles"}', lifecycle=3
    )
    assert odps.exist_table("t")
    assert not odps.exist_table("none")
    assert (table.comment, table.lifecycle) == ('{"kind": "tiles"}', 3)
    assert [c.name for c in table.table_schema.partitions] == ["zone"]
    assert str(table.table_schema["s"].type).lower() == "struct<`k`:string,`v`:double>"
    assert not table.table_schema["a"].nullable
    odps.execute_sql("ALTER TABLE t SET COMMENT 'another'")
    table.reload()
    assert table.comment == "another"
    with pytest.raises(errors.ODPSError, match="already exists"):
        created(odps, columns="a bigint")
    created(odps, columns="a bigint", if_not_exists=True)
    table.drop()
    assert not odps.exist_table("t")
    with pytest.raises(errors.NoSuchTable):
        odps.execute_sql("DROP TABLE t")
    odps.execute_sql("DROP TABLE IF EXISTS t")


def test_names_come_page_by_page(odps, server):
    server.page_size = 2
    for number in range(5):
        created(odps, f"n{number}", "a bigint")
    assert [t.name for t in odps.list_tables()] == [f"n{n}" for n in range(5)]
    assert [t.name for t in odps.list_tables(prefix="n3")] == ["n3"]
    assert server.count("table.list") == 4


def test_only_one_of_many_creates_a_table(odps):
    done = []

    def attempt():
        try:
            odps.execute_sql("CREATE TABLE lock (a BIGINT) LIFECYCLE 1")
            done.append("made")
        except errors.ODPSError as error:
            done.append("refused" if "already exists" in str(error) else str(error))

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["made"] + 5 * ["refused"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE TABLE t (b BINARY)", "not enabled in current mode"),
        ("CREATE TABLE t (a BIGINT, A STRING)", "not unique"),
        (f"CREATE TABLE t (a BIGINT) COMMENT '{'x' * 1025}'", "exceeds 1024"),
        (f"CREATE TABLE t ({', '.join(f'c{n} BIGINT' for n in range(1201))})", "exceeds the limit"),
        ("CREATE TABLE t (a NOTHING)", "0130161"),
        ("CREATE TABLE _t (a BIGINT)", "invalid name"),
        ("SELEC 1", "0130161"),
        ("SELECT * FROM nowhere", "0130131"),
        ("SELECT list_transform(1)", "cannot be resolved"),
        ("SELECT nothing(1)", "cannot be resolved"),
        ("SELECT " + " + ".join(["1"] * 600_000), "more than 2097152"),
        ("", "0130161"),
    ],
)
def test_what_the_service_refuses_is_refused(odps, text, message):
    with pytest.raises(errors.ODPSError, match=message):
        odps.execute_sql(text, hints={"odps.sql.type.system.odps2": "false"})


@pytest.mark.parametrize(
    ("hint", "value"),
    [("odps.stage.reducer.mem", 100_000), ("odps.sql.executionengine.batch.rowcount", 0)],
)
def test_hints_have_ranges(odps, hint, value):
    with pytest.raises(errors.ODPSError, match="is not in"):
        odps.execute_sql("SELECT 1", hints={hint: value})


def test_rows_come_back_as_they_went_up(odps, server):
    table = filled(odps)
    with table.open_reader(arrow=True) as reader:
        assert reader.count == 20
        found = reader.read_all()
    assert found["a"].to_pylist() != list(range(20)), "the order of rows is nobody's business"
    expected = rows()
    assert found.sort_by("a").to_pylist() == expected.cast(found.schema).to_pylist()
    part = read(table, columns=["g", "a"])
    assert part.column_names == ["g", "a"]
    assert server.batch_rows == [20]


def test_nothing_is_visible_before_the_commit(odps):
    table = created(odps)
    session = TableTunnel(odps).create_upload_session(table)
    for block in (3, 1):
        with session.open_arrow_writer(block) as writer:
            writer.write(rows(5, start=block))
    assert len(asked(odps, "SELECT * FROM t")) == 0
    session.commit([1, 3])
    assert sorted(r["a"] for r in asked(odps, "SELECT a FROM t")) == [1, 2, 3, 3, 4, 4, 5, 5, 6, 7]
    with pytest.raises(errors.ODPSError, match="StatusConflict"):
        session.commit([1, 3])


def test_the_same_block_again_replaces_it_and_overwrite_replaces_the_table(odps):
    table = filled(odps)
    session = TableTunnel(odps).create_upload_session(table, overwrite=True)
    for start in (0, 100):
        with session.open_arrow_writer(7) as writer:
            writer.write(rows(2, start=start))
    session.commit([7])
    assert sorted(r["a"] for r in asked(odps, "SELECT a FROM t")) == [100, 101]


def test_a_commit_with_a_wrong_list_of_blocks_is_refused(odps, server):
    table = created(odps)
    session = TableTunnel(odps).create_upload_session(table)
    for block in (1, 2):
        with session.open_arrow_writer(block) as writer:
            writer.write(rows(2))
    with pytest.raises(TunnelError, match="Blocks not match"):
        session.commit([1, 2, 3])
    server.faults.add("block_lost", match="upload.reload")
    with pytest.raises(TunnelError, match="Blocks not match"):
        session.commit([1, 2])


def test_the_loss_of_the_only_block_is_not_noticed_by_the_client(odps, server):
    """PyODPS keeps its old list when the new one is empty: whoever uploads has to count."""
    table = created(odps)
    session = TableTunnel(odps).create_upload_session(table)
    with session.open_arrow_writer(1) as writer:
        writer.write(rows(2))
    session.reload()
    server.faults.add("block_lost", match="upload.reload")
    session.commit([1])
    assert asked(odps, "SELECT a FROM t") == []


def test_partitions_have_rows_of_their_own(odps):
    table = created(odps, partitions="zone string")
    with pytest.raises(errors.ODPSError, match="partitionspec"):
        TableTunnel(odps).create_upload_session(table)
    with pytest.raises(errors.NoSuchPartition):
        TableTunnel(odps).create_upload_session(table, partition_spec="zone=x1")
    for zone in ("x1", "x2"):
        with table.open_writer(partition=f"zone={zone}", create_partition=True, arrow=True) as out:
            out.write(rows(3))
    assert [p.name for p in table.partitions] == ["zone='x1'", "zone='x2'"]
    assert table.get_partition("zone='x1'").record_num == 3
    assert table.exist_partition("zone='x2'")
    assert not table.exist_partition("zone='x3'")
    assert read(table, partition="zone=x1").num_rows == 3
    odps.execute_sql("ALTER TABLE t DROP IF EXISTS PARTITION (zone='x1'), PARTITION (zone='no')")
    assert [p.name for p in table.partitions] == ["zone='x2'"]
    with pytest.raises(errors.ODPSError, match="full scan"):
        asked(odps, "SELECT a FROM t")
    assert len(asked(odps, "SELECT a FROM t", **{"odps.sql.allow.fullscan": "true"})) == 3


def test_a_download_of_a_table_that_changes_is_refused(odps):
    table = filled(odps)
    session = TableTunnel(odps).create_download_session(table)
    odps.execute_sql("INSERT OVERWRITE TABLE t SELECT * FROM t WHERE a < 3", hints=HINTS)
    with pytest.raises(errors.ODPSError, match="has been modified"):
        session.open_arrow_reader(0, 3).read()


@pytest.mark.parametrize(("start", "count"), [(0, 21), (20, 1)])
def test_a_row_range_outside_of_the_table_is_refused(odps, start, count):
    session = TableTunnel(odps).create_download_session(filled(odps))
    with pytest.raises(errors.ODPSError, match="row range"):
        session.open_arrow_reader(start, count).read()


@pytest.mark.parametrize(
    ("block", "table", "message"),
    [
        (20_000, rows(1), "block id"),
        (1, rows(1).set_column(1, "b", pa.array([b"x" * ((8 << 20) + 1)])), "maximum of a field"),
    ],
)
def test_limits_of_an_upload(odps, block, table, message):
    session = TableTunnel(odps).create_upload_session(created(odps))
    with pytest.raises(errors.ODPSError, match=message), session.open_arrow_writer(block) as writer:
        writer.write(table)


def test_limits_that_a_project_may_raise_or_a_record_breaks(odps, server):
    server.max_field_size, server.max_record = 16 << 20, 17 << 20
    large = rows(1).set_column(1, "b", pa.array([b"x" * ((8 << 20) + 1)]))
    table = filled(odps, table=large)
    assert read(table)["b"][0].as_py() == large["b"][0].as_py()
    created(odps, "wide", "b1 binary, b2 binary")
    session = TableTunnel(odps).create_upload_session("wide")
    assert session.max_field_size == 16 << 20
    with pytest.raises(errors.ODPSError, match="a record has"), session.open_arrow_writer(1) as out:
        out.write(pa.table({"b1": [b"x" * (9 << 20)], "b2": [b"x" * (9 << 20)]}))


def test_null_in_a_column_that_is_not_null(odps):
    created(odps, "strict", "a bigint not null")
    session = TableTunnel(odps).create_upload_session("strict")
    with pytest.raises(errors.ODPSError, match="NOT NULL"), session.open_arrow_writer(1) as writer:
        writer.write(pa.table({"a": pa.array([None], pa.int64())}))


def test_sessions_of_a_table_are_counted(odps, server):
    table = filled(odps)
    server.sessions_per_window = {"upload": 500, "download": 2}
    for _ in range(2):
        TableTunnel(odps).create_download_session(table)
    url = f"{server.tunnel_endpoint}/projects/{server.project}/tables/t"
    client = TableTunnel(odps).tunnel_rest  # without the endless patience of a session
    with pytest.raises(errors.ODPSError, match="quota"):
        client.post(url, {}, params={"downloads": ""})


def test_a_table_that_is_dropped_and_made_again_is_another(odps):
    upload = TableTunnel(odps).create_upload_session(filled(odps))
    download = TableTunnel(odps).create_download_session("t")
    odps.delete_table("t")
    created(odps)
    with pytest.raises(errors.ODPSError, match="does not exist"):
        upload.commit([])
    with pytest.raises(errors.ODPSError, match="does not exist"):
        download.open_arrow_reader(0, 1).read()


def test_a_project_with_schemas(server, odps):
    filled(odps, table=rows(1))
    client = ODPS(server.access_id, server.secret, server.project, server.endpoint, schema="other")
    assert not client.exist_table("t")
    filled(client, table=rows(3))  # the tunnel's address comes from the project
    assert len(asked(client, "SELECT a FROM t")) == 3
    assert len(asked(odps, "SELECT a FROM t")) == 1
    assert len(asked(odps, "SELECT a FROM other.t")) == 3


def test_compressed_uploads(odps):
    from odps.tunnel import CompressOption

    table = created(odps)
    for number, algorithm in enumerate(("zlib", "zstd")):
        option = CompressOption(CompressOption.CompressAlgorithm(algorithm.upper()), -1, 0)
        session = TableTunnel(odps).create_upload_session(table, compress_option=option)
        with session.open_arrow_writer(1, compress=True) as writer:
            writer.write(rows(3, start=100 * number))
        session.commit([1])
    assert read(table).num_rows == 6


def test_signatures_are_verified(server):
    def client(secret):
        return ODPS(server.access_id, secret, server.project, server.endpoint)

    assert not client(server.secret).exist_table("t")
    with pytest.raises(errors.ODPSError, match="signature"):
        client("wrong").exist_table("t")
    with pytest.raises(errors.ODPSError, match="accessKeyId not found"):
        ODPS("nobody", "wrong", server.project, server.endpoint).exist_table("t")
    with pytest.raises(errors.NoSuchProject):
        ODPS(server.access_id, server.secret, "another", server.endpoint).get_table("t").reload()
    assert server.said(server.secret) == []


def test_a_temporary_account_needs_its_token(server):
    access_id, secret, token = server.sts
    for given, works in ((token, True), ("old", False)):
        account = StsAccount(access_id, secret, given)
        client = ODPS(account=account, project=server.project, endpoint=server.endpoint)
        if works:
            assert not client.exist_table("t")
        else:
            with pytest.raises(errors.ODPSError, match="STS"):
                client.exist_table("t")
