"""Schemas in MaxCompute's words: DDL, comments that remember, limits, accounts. No service."""

import pyarrow as pa
import pytest

from geoquarry.engine import maxcompute_limits as limits
from geoquarry.engine.maxcompute_account import Account, account_of, set_variables
from geoquarry.engine.maxcompute_ddl import (
    Described,
    arrow_type,
    create_table,
    literal,
    odps_type,
    schema_of,
    stored_schema,
    zone_of,
)
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.harmony_tables import field_schema, gains_schema, sums_schema
from geoquarry.schemas.redact import redacted
from geoquarry.schemas.tables import OutputBand, facts, results_schema, tiles_schema, with_facts
from geoquarry.udfs import methods

GRID = "res-30_tilesize-64"


def all_schemas():
    yield tiles_schema("aster_l1t", GRID)
    yield sums_schema("aster_l1t", GRID)
    yield gains_schema("aster_l1t", GRID)
    yield field_schema("aster_l1t", GRID)
    for method in sorted(methods.METHODS):
        for dtype in ("int16", "float32"):
            name, params = methods.normalise(method, {"dtype": dtype}, "aster_l1t")
            bands = methods.output_bands(name, params, "aster_l1t")
            yield results_schema("aster_l1t", GRID, name, bands)


def as_served(statement):
    """Columns and comment as a service would tell them back."""
    import sqlglot

    tree = sqlglot.parse_one(statement, dialect="hive")
    columns, comment = [], ""
    for column in tree.this.expressions:
        said = [c.kind.this.this for c in column.constraints if "Comment" in type(c.kind).__name__]
        columns.append(Described(column.name, column.kind.sql("hive"), said[0] if said else ""))
    for prop in tree.args["properties"].expressions:
        if type(prop).__name__ == "SchemaCommentProperty":
            comment = prop.this.this
    return columns, comment


@pytest.mark.parametrize("schema", list(all_schemas()), ids=lambda s: facts(s).get("method") or "t")
def test_a_schema_comes_back_exactly_as_it_was_given(schema):
    statement = create_table("aster", schema)
    columns, comment = as_served(statement.partition("\nPARTITIONED")[0])
    assert [c.name for c in columns] == stored_schema(schema).names
    found = schema_of(columns, comment)
    assert str(facts(found)) == str(facts(schema))  # as text: NaN is not NaN
    assert found.remove_metadata().equals(schema.remove_metadata(), check_metadata=True)
    assert ("PARTITIONED BY (`zone` STRING" in statement) == ("tile_x" in schema.names)


def test_what_cannot_be_held_is_refused():
    with pytest.raises(TableError, match="'x': tables cannot hold uint8"):
        create_table("t", pa.schema([("x", pa.uint8())]))
    with pytest.raises(TableError, match="zone is a column of its own"):
        create_table("t", pa.schema([("zone", pa.string())]))
    with pytest.raises(TableError, match="1203 columns"):
        create_table("t", pa.schema([(f"c{i}", pa.string()) for i in range(1200)]))
    long = pa.field("x", pa.string(), metadata={"about": "y" * 1025})
    with pytest.raises(TableError, match="'x': 1025 bytes"):
        create_table("t", pa.schema([long]))
    with pytest.raises(TableError, match="no capital letters"):
        create_table("t", pa.schema([("a", pa.string()), ("A", pa.string())]))
    band = OutputBand("gone", "")
    stray = with_facts(pa.schema([("a", pa.string())]), {"bands": [vars(band)]})
    with pytest.raises(TableError, match="bands must be columns"):
        create_table("t", stray)


def test_a_foreign_table_has_plain_types():
    found = schema_of([Described("a", "INT"), Described("b", "STRING", "text")], "somebody's")
    assert found.field("a").type == pa.int32()
    assert found.field("b").metadata == {b"about": b"text"}
    assert facts(found) == {}
    for text in ("MAP<STRING,STRING>", "ARRAY<", "STRUCT<a>", "", "BIGINT BIGINT"):
        with pytest.raises(UsageError, match="not read here"):
            arrow_type(text)
    assert arrow_type("varchar(10)") == pa.string()


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.float32()), pa.struct([("a b", pa.int64())]), pa.date32()]
)
def test_types_there_and_back(type_):
    assert arrow_type(odps_type(type_)) == type_


def test_staging_keeps_the_zone_as_a_column():
    statement = create_table("t", tiles_schema("aster_l1t", GRID), zones=False, lifecycle_days=1)
    assert "PARTITIONED" not in statement
    assert statement.endswith("LIFECYCLE 1")
    assert "  `zone` STRING" in statement


def test_zones_and_literals():
    assert zone_of(0, 15) == "x0000_y0000"
    assert zone_of(16, 1303) == "x0001_y0081"
    assert literal("a'b\\c\nd") == r"'a\'b\\c\nd'"


def one_row(**values):
    return pa.RecordBatch.from_pylist([{"tile_x": 3, "granule_id": "g", **values}])


def test_a_cell_or_a_row_too_large_is_named_before_anything_is_sent():
    cell = b"x" * (8 * 2**20)
    assert limits.check_row(one_row(b01=cell), "aster", ("tile_x",)) == len(cell)
    with pytest.raises(TableError, match=r"tile_x=3, granule_id='g', column 'b01': 8.00 MiB"):
        limits.check_row(one_row(b01=cell + b"x"), "aster", ("tile_x", "granule_id"))
    limits.check_row(one_row(b01=cell + b"x"), "aster", ("tile_x",), cell_bytes=2**24)
    whole = {f"b{i}": b"x" * 7_900_000 for i in range(26)}
    with pytest.raises(TableError, match="205 MB; MaxCompute takes 200 MB per row"):
        limits.check_row(one_row(**whole), "aster", ("tile_x",))
    with pytest.raises(UsageError, match="limit of 2 MiB"):
        limits.check_sql("x" * (2 * 2**20 + 1))


PLACE = {"ODPS_PROJECT_NAME": "p", "ODPS_ENDPOINT": "http://h/api/"}
ALIBABA = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "ali",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "alisecret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "alitoken",
}
PLAIN = {"ODPS_ACCESS_ID": "me", "ODPS_ACCESS_KEY": "s3cret"}


def test_accounts_from_the_environment():
    found = account_of(environ={**PLACE, **ALIBABA})
    assert (found.access_id, found.secret_access_key) == ("ali", "alisecret")
    assert (found.security_token, found.endpoint) == ("alitoken", "http://h/api")
    both = account_of(environ={**PLACE, **ALIBABA, **PLAIN})
    assert (both.access_id, both.security_token) == ("me", "")
    chosen = account_of(access_id="ali", environ={**PLACE, **ALIBABA, **PLAIN})
    assert chosen.secret_access_key == "alisecret"
    given = account_of(
        project="q", endpoint="https://x", access_id="i", secret_access_key="k", environ=PLACE
    )
    assert (given.project, given.endpoint, given.access_id) == ("q", "https://x", "i")
    assert set_variables({**PLACE, **PLAIN}) == [*PLACE, *PLAIN]


STS = {
    "ODPS_STS_ACCESS_KEY_ID": "STS.1",
    "ODPS_STS_ACCESS_KEY_SECRET": "stssecret",
    "ODPS_STS_TOKEN": "ststoken",
}


@pytest.mark.parametrize(
    ("environ", "options", "token"),
    [
        (STS, {"access_id": "STS.1", "secret_access_key": "k"}, "ststoken"),  # id and secret given
        (STS | ALIBABA, {"access_id": "ali", "secret_access_key": "k"}, "alitoken"),
        (STS, {"access_id": "you", "secret_access_key": "k"}, ""),  # somebody else's
        (STS | PLAIN, {}, ""),
        (STS, {"access_id": "you", "secret_access_key": "k", "security_token": "t"}, "t"),
        (STS, {"security_token": "t"}, "t"),
        ({**STS, "ODPS_ACCESS_ID": "STS.1", "ODPS_ACCESS_KEY": "k"}, {}, "ststoken"),
    ],
)
def test_a_token_goes_with_the_id_that_it_was_given_for(environ, options, token):
    assert account_of(environ={**PLACE, **environ}, **options).security_token == token


def test_a_secret_file_may_hold_the_token(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s3cret\nt0ken\n")
    found = account_of(access_id="STS.2", secret_file=str(path), environ={**PLACE, **STS})
    assert (found.secret_access_key, found.security_token) == ("s3cret", "t0ken")
    path.write_text("s3cret\n")
    with pytest.raises(UsageError, match="token is missing") as error:
        account_of(access_id="STS.2", secret_file=str(path), environ={**PLACE, **STS})
    assert "ststoken" not in str(error.value)


@pytest.mark.parametrize(
    ("environ", "options", "said"),
    [
        ({}, {}, "no project"),
        ({"ODPS_PROJECT_NAME": "p"}, {}, "no endpoint"),
        ({**PLACE, "ODPS_ENDPOINT": "h/api"}, {}, "is no URL"),
        (PLACE, {}, "no credentials"),
        ({**PLACE, "ODPS_ACCESS_ID": "me"}, {}, r"\$ODPS_ACCESS_KEY is not"),
        ({**PLACE, **PLAIN}, {"access_id": "you"}, "no secret for access id 'you'"),
        ({**PLACE, **PLAIN}, {"secret_file": "/nowhere"}, "cannot read the secret file"),
    ],
)
def test_what_is_missing_is_named(environ, options, said):
    with pytest.raises(UsageError, match=said) as error:
        account_of(environ=environ, **options)
    assert redacted(str(error.value)) == str(error.value)  # all of it is shown


def test_a_secret_is_never_shown(tmp_path):
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    found = account_of(access_id="me", secret_file=str(path), environ=PLACE)
    assert found.secret_access_key == "s3cret"
    assert "s3cret" not in repr(found) + str(found) + found.hide("wrong: s3cret")
    assert "t0ken" not in repr(Account("p", "h", "i", "s", security_token="t0ken"))
