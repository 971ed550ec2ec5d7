"""The arguments of a function in Spark SQL, as its worker sees them; needs no Spark."""

import pyarrow as pa
import pytest
from rows import GRID, SENSOR, made_up_row

from geoquarry.engine.spark_functions import MethodCall, method_fields
from geoquarry.engine.spark_udf import Group, struct_of
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import tiles_schema

BINARY = pa.binary()


def batch(rows, literal='{"a": 1}', binary=BINARY):
    """What Spark hands over: a struct array and the literal beside every row."""
    type_ = pa.struct([("tile_x", pa.int32()), ("b01", binary)])
    text = pa.large_string() if binary == pa.large_binary() else pa.string()
    return pa.array(rows, type_), pa.array([literal] * len(rows), text)


ROWS = [{"tile_x": place, "b01": bytes([place])} for place in range(5)]


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()], ids=str)
def test_rows_come_one_by_one_whatever_the_batches_and_offsets(binary):
    batches = [batch(ROWS[:3], binary=binary), batch(ROWS[3:], binary=binary)]
    group = Group("f", iter(batches))
    assert group.params == {"a": 1}
    assert group.columns == {"tile_x", "b01"}
    found = [{**row, "b01": bytes(row["b01"])} for row in group]
    assert found == ROWS
    assert group.first == {}


def test_a_group_holds_one_batch_at_a_time():
    def batches():
        for place, row in enumerate(ROWS):
            assert place - len(seen) <= 1
            yield batch([row])

    seen: list[int] = []
    for row in Group("f", batches()):
        seen.append(row["tile_x"])
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "arguments",
    [
        batch(ROWS)[0],  # f(struct(*)), and so f(struct(*), name => value)
        (batch(ROWS)[1], batch(ROWS)[1]),  # f(a, b)
        (*batch(ROWS), batch(ROWS)[1]),
        (batch(ROWS)[0], pa.array([1] * 5)),
    ],
    ids=["no literal", "no struct", "three", "a number"],
)
def test_another_call_is_refused(arguments):
    with pytest.raises(UsageError, match=r"f\(struct\(\*\), '<parameters as JSON>'\)"):
        Group("f", iter([arguments]))


@pytest.mark.parametrize(
    ("literal", "said"),
    [("median", "is not JSON"), ("[1]", "no JSON object"), (None, "is not JSON"), ("", "not JSON")],
)
def test_parameters_must_be_a_json_object(literal, said):
    with pytest.raises(UsageError, match=said):
        Group("f", iter([batch(ROWS, literal)]))


def test_parameters_must_agree_within_a_group():
    group = Group("f", iter([batch(ROWS[:1], '{"a": 1}'), batch(ROWS[1:], '{"a": 2}')]))
    with pytest.raises(UsageError, match="differ"):
        list(group)


def test_columns_that_come_twice_are_refused():
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["b01", "b01"])
    with pytest.raises(UsageError, match="twice in the struct: b01"):
        Group("f", iter([(twice, pa.array(["{}"]))]))


def test_a_struct_has_the_declared_fields_and_no_others():
    gives = pa.schema([("status", pa.string()), ("count", pa.binary())])
    assert struct_of({"status": "ok", "more": 1}, gives).as_py() == {"status": "ok", "count": None}


def called(rows, literal="{}", columns=None):
    """``mosaic(struct(*), literal)`` of these rows."""
    table = pa.Table.from_pylist(rows, tiles_schema(SENSOR.name, GRID))
    if columns is not None:
        table = table.select(columns)
    arguments = [
        (one.to_struct_array(), pa.array([literal] * one.num_rows)) for one in table.to_batches()
    ]
    answer = MethodCall("mosaic", method_fields("mosaic"))
    return answer(Group("mosaic", iter(arguments))).as_py()


def test_a_call_answers_every_field_of_its_struct():
    found = called([made_up_row(3, 5, g) for g in range(2)], '{"mosaic": "mean"}')
    assert list(found) == method_fields("mosaic").names
    assert found["status"] == "ok"
    assert found["granules"] == ["granule_000", "granule_001"]
    assert '"mosaic": "mean"' in found["provenance"]
    assert '"scope": "tile"' in found["provenance"]
    assert found["source"] is None


@pytest.mark.parametrize(
    ("columns", "literal", "said"),
    [
        (None, '{"colour": 1}', "no parameter 'colour'"),
        (None, '{"scope": "job"}', "one call sees one tile"),
        (["tile_x", "tile_y", "granule_id"], "{}", "no grid, sensor"),
        (
            ["grid", "sensor", "tile_x", "tile_y", "b01"],
            "{}",
            "the struct has no aerosol_model, .*b02",
        ),
    ],
)
def test_a_wrong_call_of_a_method_is_refused(columns, literal, said):
    with pytest.raises(UsageError, match=said):
        called([made_up_row(3, 5, 0)], literal, columns)


def test_rows_of_several_tiles_in_a_group_are_refused():
    with pytest.raises(UsageError, match="GROUP BY tile_x, tile_y"):
        called([made_up_row(3, 5, 0), made_up_row(4, 5, 0)])


def test_a_tile_that_raises_is_a_failed_answer(monkeypatch):
    def broken(rows, job):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("geoquarry.udfs.methods.compute", broken)
    found = called([made_up_row(3, 5, 0)])
    assert (found["status"], found["message"]) == ("failed", "RuntimeError: out of luck")
