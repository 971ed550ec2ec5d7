"""Single values of a table as CSV text and back, without loss."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa


def to_text(value: Any, type_: pa.DataType) -> str:
    """One cell as CSV text, so that ``from_text`` gives back the same value.

    An empty cell is null; the empty string is written as two quotes. Lists and structs are JSON,
    timestamps ISO 8601 in UTC, binary lower-case hex.

    Examples
    --------
    >>> to_text([1.5, None], pa.list_(pa.float64())), to_text(b"\\x00\\xff", pa.binary())
    ('[1.5, null]', '00ff')
    """
    if value is None:
        return ""
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return bytes(value).hex()
    if pa.types.is_nested(type_):
        return json.dumps(value, ensure_ascii=False)
    if pa.types.is_timestamp(type_):
        moment: datetime = value
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if pa.types.is_boolean(type_):
        return "true" if value else "false"
    if pa.types.is_floating(type_):
        return repr(float(value))
    text = str(value)
    # A cell of nothing but quotes gets two more, so that "" and null stay different.
    return '""' + text if not text.strip('"') else text


def from_text(text: str, type_: pa.DataType) -> Any:
    """The value of one CSV cell.

    Raises
    ------
    ValueError
        The text is not of that type; the message says what was expected.

    Examples
    --------
    >>> from_text("2006-06-18T17:48:58Z", pa.timestamp("us", tz="UTC"))
    datetime.datetime(2006, 6, 18, 17, 48, 58, tzinfo=datetime.timezone.utc)
    >>> from_text("", pa.string()) is None, from_text('""', pa.string())
    (True, '')
    """
    if text == "":
        return None
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        try:
            value: Any = bytes.fromhex(text)
        except ValueError as error:
            raise ValueError(f"{_short(text)} is not hex: {error}") from None
        if not value:  # would be written as an empty cell, which is null
            raise ValueError(f"{_short(text)} is not hex: nothing but blanks")
        return value
    try:
        value = _parsed(text, type_)
        pa.scalar(value, type=type_)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{_short(text)} is not {type_}: {error}") from None
    return value


def _parsed(text: str, type_: pa.DataType) -> Any:
    if pa.types.is_nested(type_):
        return json.loads(text)
    if pa.types.is_timestamp(type_):
        moment = datetime.fromisoformat(text)
        # A time without a zone means UTC, everywhere.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    if pa.types.is_boolean(type_):
        return {"true": True, "false": False}.get(text, text)
    if pa.types.is_integer(type_):
        return int(text)
    if pa.types.is_floating(type_):
        return float(text)
    return text[2:] if len(text) > 1 and not text.strip('"') else text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
