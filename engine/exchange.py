"""Rows of a table in files for other programs: CSV with hex rasters, and Parquet."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from geoquarry.engine.atomic import replacing
from geoquarry.engine.cells import from_text, to_text
from geoquarry.schemas.blob import MAX_BYTES, decode, header
from geoquarry.schemas.errors import BlobError, InputError, UsageError
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import facts, output_bands

Row = dict[str, Any]
OnError = Callable[[InputError], None]
"""Called with each bad row; the other rows go on. Without one, the first bad row raises."""

FIELD_LIMIT = 2 * (MAX_BYTES + 64)
"""Longest CSV field: the hex of the largest blob. It fits a C long of 32 bits."""
HEX_STYLES = ("blob", "pixels")
"""What the hex of a raster holds: our self-describing blob, or bare pixels as published."""


def write_csv(
    path: str | os.PathLike[str],
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    *,
    hexadecimal: str = "blob",
) -> int:
    """Write rows to a CSV file with a header, and the table's facts beside it.

    Parameters
    ----------
    path : path
        Appears only when it is complete. ``<path>-metadata.json`` holds the facts (kind, sensor,
        grid, bands) that columns of text cannot carry.
    batches : iterable of pa.RecordBatch
        Of ``schema``; held one at a time.
    schema : pa.Schema
    hexadecimal : {"blob", "pixels"}
        Hex of the self-describing blob (``read_csv`` gives back the same bytes), or hex of the
        decoded pixels, little-endian and in C order, as in the published layout (no shape, no
        dtype: for other programs, not for ``upload``).

    Returns
    -------
    count : int
        Rows written.
    """
    if hexadecimal not in HEX_STYLES:
        raise UsageError(f"No hex style {hexadecimal!r}. Choose one of: {', '.join(HEX_STYLES)}.")
    count = 0
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(schema.names)
        for row in rows_of(batches):
            if hexadecimal == "pixels":
                row = {field.name: _pixels(row[field.name], field.type) for field in schema}
            writer.writerow([to_text(row[field.name], field.type) for field in schema])
            count += 1
    text = json.dumps(facts(schema), indent=1) + "\n"
    with replacing(facts_path(path)) as part:
        part.write_text(text, encoding="utf-8")
    return count


def read_csv(
    path: str | os.PathLike[str], schema: pa.Schema, *, on_error: OnError | None = None
) -> Iterator[Row]:
    """Read the rows of a CSV file with a header, one at a time.

    Parameters
    ----------
    path : path
        As written by ``write_csv``; columns in any order, nullable ones may be missing.
    schema : pa.Schema
    on_error : callable, optional
        Receives an InputError for each row that cannot be used, naming line and column.

    Raises
    ------
    InputError
        Not UTF-8 text, no header, unknown or missing columns; a bad row without ``on_error``.
    """
    lines = csv_lines(path)
    _, names = next(lines, (0, []))
    _check_columns(path, names, schema)
    rasters = _rasters(schema)
    for line, fields in lines:
        try:
            yield _row_of(f"{os.fspath(path)!r}, line {line}", names, fields, schema, rasters)
        except InputError as error:
            if on_error is None:
                raise
            on_error(error)


def csv_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV file, each with the number of its first line; blank lines are left out.

    The limit on a field is process-wide in Python's csv: it is only ever raised here.

    Raises
    ------
    InputError
        The file is not readable as CSV text.
    """
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source)
            for fields in reader:
                first, line = line + 1, reader.line_num
                if fields:
                    yield first, fields
    except OSError as error:
        raise InputError(f"Cannot read {os.fspath(path)!r}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{os.fspath(path)!r} is not CSV text after line {line}: {error}. "
            "Write it again as UTF-8 CSV."
        ) from error


def write_parquet(
    path: str | os.PathLike[str], batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> int:
    """Write rows to a Parquet file, one row group per row: a reader never holds more than one.

    Returns
    -------
    count : int
        Rows written.
    """
    plain = [field.name for field in schema if not pa.types.is_binary(field.type)]
    count = 0
    # Blobs are compressed already; statistics of pixels would only swell the footer.
    options = {"compression": "none", "use_dictionary": False, "write_statistics": plain}
    with replacing(path) as part, pq.ParquetWriter(part, schema, **options) as writer:
        for batch in batches:
            whole = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            for place in range(whole.num_rows):
                writer.write_table(whole.slice(place, 1))
                count += 1
    return count


def read_parquet(
    path: str | os.PathLike[str], schema: pa.Schema, *, on_error: OnError | None = None
) -> Iterator[Row]:
    """Read the rows of a Parquet file, one at a time; nullable columns may be missing.

    Raises
    ------
    InputError
        Not Parquet, unknown or missing columns or types; a bad row without ``on_error``.
    """
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names, schema)
        part = pa.schema([schema.field(name) for name in names])
        rasters = _rasters(schema)
        count = 0
        try:
            for batch in file.iter_batches(batch_size=1):
                count += 1
                where = f"{os.fspath(path)!r}, row {count}"
                try:
                    found = _cast(batch, part, where).to_pylist()[0]
                    row = {name: found.get(name) for name in schema.names}
                    yield _checked(row, schema, where, rasters)
                except InputError as error:
                    if on_error is None:
                        raise
                    on_error(error)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(
                f"{os.fspath(path)!r} cannot be read after row {count}: {error}"
            ) from error


def _cast(row: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """One row in the table's types; the column that does not fit is named."""
    arrays = []
    for column, field in zip(row.columns, schema, strict=True):
        try:
            arrays.append(column.cast(field.type))
        except pa.ArrowException as error:
            raise InputError(
                f"{where}, column {field.name!r}: {field.type} expected, "
                f"{column.type} found ({error})."
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def open_parquet(path: str | os.PathLike[str]) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises
    ------
    InputError
        There is none, or it is not Parquet.
    """
    try:
        file = pq.ParquetFile(path)
        file.schema_arrow.names  # noqa: B018  a damaged name shows only now
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {os.fspath(path)!r} as Parquet: {error}") from error
    return file


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """Rows of record batches as dicts, without turning a whole batch into Python objects."""
    for batch in batches:
        for place in range(batch.num_rows):
            yield {name: batch.column(name)[place].as_py() for name in batch.schema.names}


def facts_path(path: str | os.PathLike[str]) -> Path:
    """Where the facts of a CSV file stand: beside it, as ``<name>.csv-metadata.json``."""
    return Path(f"{os.fspath(path)}-metadata.json")


def read_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Facts beside a CSV file; empty when there are none.

    Raises
    ------
    InputError
        The file beside it is not JSON.
    """
    beside = facts_path(path)
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{os.fspath(beside)!r} is not JSON: {error}.") from error
    return found if isinstance(found, dict) else {}


def _check_columns(path: str | os.PathLike[str], names: list[str], schema: pa.Schema) -> None:
    unknown = [name for name in names if name not in schema.names]
    needed = [field.name for field in schema if not field.nullable and field.name not in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or unknown or needed or twice:
        raise InputError(
            f"The columns of {os.fspath(path)!r} do not fit the table: unknown {_listed(unknown)}; "
            f"missing {_listed(needed)}; twice {_listed(twice)}. The first line must name columns "
            "as `describe` lists them."
        )
    rasters = list(_rasters(schema))
    if facts(schema).get("kind") == "tiles" and not set(rasters) & set(names):
        raise InputError(
            f"{os.fspath(path)!r} has none of the columns {_listed(rasters)}: rows without a "
            "raster are of no use. Download the table again with them."
        )


def _rasters(schema: pa.Schema) -> dict[str, str | None]:
    """Columns that make a row worth having, each with its dtype where one is declared."""
    about = facts(schema)
    if about.get("kind") == "tiles":
        return dict.fromkeys(sensor(about["sensor"]).names)
    return {band.name: band.dtype for band in output_bands(schema)}


def _row_of(
    where: str,
    names: list[str],
    fields: list[str],
    schema: pa.Schema,
    rasters: dict[str, str | None],
) -> Row:
    if len(fields) != len(names):
        raise InputError(f"{where}: {len(fields)} fields, the header has {len(names)}.")
    text = dict(zip(names, fields, strict=True))
    row: Row = {}
    for field in schema:
        try:
            row[field.name] = from_text(text.get(field.name, ""), field.type)
        except ValueError as error:
            raise InputError(f"{where}, column {field.name!r}: {error}.") from error
    return _checked(row, schema, where, rasters)


def _checked(row: Row, schema: pa.Schema, where: str, rasters: dict[str, str | None]) -> Row:
    """The row, if `check` would find nothing wrong with its rasters: all are decoded."""
    for field in schema:
        value = row[field.name]
        if value is None and not field.nullable:
            raise InputError(f"{where}, column {field.name!r}: empty, but it is a key.")
        if value is not None and pa.types.is_binary(field.type):
            _check_raster(value, rasters.get(field.name), f"{where}, column {field.name!r}")
    lacking = [name for name in rasters if row[name] is None]
    # A result may be empty or failed; of tiles a job says itself what band it misses.
    needed = row["status"] in ("ok", "partial") if "status" in row else len(lacking) == len(rasters)
    if lacking and needed:
        raise InputError(f"{where}: no raster in {_listed(lacking)}.")
    return row


def _check_raster(value: bytes, dtype: str | None, where: str) -> None:
    try:
        header(value)
    except BlobError as error:
        raise InputError(
            f"{where}: {error} Hex of bare pixels carries no shape: download the table again with "
            "--hex blob."
        ) from error
    try:
        found = decode(value).dtype.name
    except BlobError as error:
        raise InputError(f"{where}: {error} Download the table again.") from error
    if dtype not in (None, found):
        raise InputError(f"{where}: a raster of {found}, the table declares {dtype}.")


def _pixels(value: Any, type_: pa.DataType) -> Any:
    if value is None or not pa.types.is_binary(type_):
        return value
    pixels = decode(value)
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
