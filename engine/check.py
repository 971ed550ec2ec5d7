"""Verify a table: every file, key, figure and blob is what the table says it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile

from geoquarry.engine.batches import check_row, digest_of
from geoquarry.engine.files import UNREADABLE, list_files
from geoquarry.engine.index import fill, read_index
from geoquarry.engine.layout import Layout
from geoquarry.engine.table import Table
from geoquarry.schemas.blob import decode
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.tables import output_bands

TROUBLE = (*UNREADABLE, GeoquarryError)
"""What damage looks like to a reader."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a table.

    Attributes
    ----------
    where : str
        File, row group and column as far as known.
    message : str
    """

    where: str
    message: str


def check(table: Table) -> list[Problem]:
    """Read everything once; see `Engine.check`.

    Of the current state: sizes, row counts and key bounds of data files against the table's own
    figures; each row against its line in the index and its digest; each key once; each blob's
    header, length and checksum, and its dtype where one is declared. Of older states: their files
    are there in the right size.
    """
    table.refresh()
    problems: list[Problem] = []
    seen: dict[tuple[Any, ...], str] = {}
    try:
        current = table.files()
    except TROUBLE as error:
        current = []
        problems.append(Problem(f"snapshot {table.snapshot_id}", str(error)))
    for file in current:
        problems += _check_file(table, file, seen)
    problems += _check_older(table, {file.file_path for file in current})
    return problems


def _check_older(table: Table, known: set[str]) -> Iterator[Problem]:
    """Files that only older snapshots need: `--as-of` still asks for them."""
    sizes = {
        info.path: info.size
        for info in list_files(table.layout.io, f"{table.location}/data", recursive=True)
    }
    for snapshot in table.snapshots():
        if snapshot.snapshot_id == table.snapshot_id:
            continue
        where = f"snapshot {snapshot.snapshot_id}"
        try:
            files = table.files(snapshot.snapshot_id)
        except TROUBLE as error:
            yield Problem(where, str(error))
            continue
        for file in files:
            path = file.file_path
            if path in known:
                continue
            known.add(path)
            name = _name(table, path)
            if path not in sizes:
                yield Problem(f"{where}: {name}", "the file is missing")
            elif sizes[path] != file.file_size_in_bytes:
                said = f"{sizes[path]} bytes, the table says {file.file_size_in_bytes}"
                yield Problem(f"{where}: {name}", said)


def _name(table: Table, path: str) -> str:
    return path.removeprefix(f"{table.location}/")


def _check_file(
    table: Table, file: DataFile, seen: dict[tuple[Any, ...], str]
) -> Iterator[Problem]:
    """One data file of the current snapshot."""
    name, layout = _name(table, file.file_path), table.layout
    try:
        source = layout.io.new_input(file.file_path)
        with source.open() as stream:
            size = len(source)
            if size != file.file_size_in_bytes:
                yield Problem(name, f"{size} bytes, the table says {file.file_size_in_bytes}")
            parquet = pq.ParquetFile(stream)
            if parquet.metadata.num_rows != file.record_count:
                said = f"{parquet.metadata.num_rows} rows, the table says {file.record_count}"
                yield Problem(name, said)
            index = read_index(layout, file.file_path).to_pylist()
            if len(index) != parquet.num_row_groups:
                said = f"{parquet.num_row_groups} rows, its index has {len(index)}"
                yield Problem(name, said)
                return
            keys: list[tuple[Any, ...]] = []
            for group, line in enumerate(index):
                where = f"{name} row {group}"
                try:
                    batch = fill(parquet.read_row_group(group), layout, layout.schema.names)
                    row = batch.to_pylist()[0]
                    keys.append(tuple(row[column] for column in layout.key))
                    yield from _check_key(where, keys[-1], seen)
                    yield from _check_row(where, layout, row, line)
                    check_row(batch, layout)
                except TROUBLE as error:
                    yield Problem(where, str(error))
            if len(keys) == len(index):
                yield from _check_bounds(table, name, file, keys)
    except TROUBLE as error:
        yield Problem(name, str(error))


def _check_key(
    where: str, key: tuple[Any, ...], seen: dict[tuple[Any, ...], str]
) -> Iterator[Problem]:
    if key in seen:
        yield Problem(where, f"key {key} is also in {seen[key]}")
    seen.setdefault(key, where)


def _check_bounds(
    table: Table, name: str, file: DataFile, keys: list[tuple[Any, ...]]
) -> Iterator[Problem]:
    """Bounds of the keys decide which files a commit replaces, so they must be exact."""
    columns = table.layout.key
    for column, said, values in zip(
        columns, table.bounds(file, columns), zip(*keys, strict=True), strict=True
    ):
        found = min(values), max(values)
        if found != said:
            yield Problem(name, f"{column} runs from {found[0]!r} to {found[1]!r}, the table says "
                          f"{said[0]!r} to {said[1]!r}")  # fmt: skip
    table.unit_of(file)


def _check_row(
    where: str, layout: Layout, row: dict[str, Any], line: dict[str, Any]
) -> Iterator[Problem]:
    """One row against its line in the index, and its blobs against their own headers."""
    if digest_of(row) != line["row_digest"]:
        yield Problem(where, "the row differs from its digest in the index")
    other = [n for n in layout.schema.names if n not in layout.blobs and not _same(row[n], line[n])]
    if other:
        yield Problem(where, f"its line in the index has another {', '.join(other)}")
    declared = {band.name: band.dtype for band in output_bands(layout.schema)}
    for column in layout.blobs:
        if row[column] is None:
            if column in declared and row.get("status") in ("ok", "partial"):
                yield Problem(f"{where} column {column}", f"status {row['status']}, but no raster")
            continue
        try:
            dtype = decode(row[column]).dtype.name
        except GeoquarryError as error:
            yield Problem(f"{where} column {column}", str(error))
            continue
        if declared.get(column, dtype) != dtype:
            said = f"a raster of {dtype}, the table declares {declared[column]}"
            yield Problem(f"{where} column {column}", said)


def _same(one: Any, other: Any) -> bool:
    """Equal, also where both are NaN (in lists, too)."""
    return bool(one == other) or repr(one) == repr(other)
