"""Every value survives the way through text."""

import math
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoquarry.engine.cells import from_text, to_text

LIST = pa.list_(pa.float64())
ISSUES = pa.list_(pa.struct([("granule_id", pa.string()), ("error", pa.string())]))
TIME = pa.timestamp("us", tz="UTC")


@given(st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.text('"'))
def test_null_the_empty_string_and_quotes_stay_different(value):
    assert from_text(to_text(value, pa.string()), pa.string()) == value


@given(st.none() | st.floats() | st.integers(-(2**53), 2**53).map(float))
def test_floats_come_back_exactly(value):
    back = from_text(to_text(value, pa.float64()), pa.float64())
    assert back == value or (math.isnan(back) and math.isnan(value))


@given(st.none() | st.lists(st.none() | st.floats(allow_nan=False)))
def test_lists_come_back_exactly(value):
    assert from_text(to_text(value, LIST), LIST) == value


@given(st.binary(), st.datetimes(), st.booleans(), st.integers(-(2**31), 2**31 - 1))
def test_the_other_types_too(raw, moment, flag, number):
    moment = moment.replace(tzinfo=UTC)
    for value, type_ in [
        (raw or None, pa.binary()),
        (moment, TIME),
        (flag, pa.bool_()),
        (number, pa.int32()),
        ([{"granule_id": "A", "error": 'said "no",\nthen ü'}, None], ISSUES),
        ([float(np.float32(0.1))], pa.list_(pa.float32())),
    ]:
        assert from_text(to_text(value, type_), type_) == value


def test_times_mean_utc():
    east = timezone(timedelta(hours=2))
    assert to_text(datetime(2006, 6, 18, 19, tzinfo=east), TIME) == "2006-06-18T17:00:00Z"
    assert from_text("2006-06-18 17:00:00", TIME) == datetime(2006, 6, 18, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("1.5", pa.int32()),
        ("3000000000", pa.int32()),
        ("east", pa.float64()),
        ("0g", pa.binary()),
        ("abc", pa.binary()),
        ("[1, 2", LIST),
        ('["a"]', LIST),
        ("7", LIST),
        ("[" * 100_000, LIST),
        ("yesterday", TIME),
        ("maybe", pa.bool_()),
    ],
)
def test_wrong_text_is_refused(text, type_):
    with pytest.raises(ValueError, match="is not"):
        from_text(text, type_)
