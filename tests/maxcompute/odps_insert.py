"""From the rows of a query to those of a table: types, and the partitions that they go to."""

import zlib
from collections import Counter

import pyarrow as pa
from odps_errors import OdpsError, semantic
from odps_types import from_arrow, to_arrow
from sqlglot import exp

MAX_DYNAMIC_PARTITIONS, MAX_OF_WORKER = 10_000, 512
WIDER = {
    "tinyint": {"smallint", "int", "bigint", "float", "double"},
    "smallint": {"int", "bigint", "float", "double"},
    "int": {"bigint", "double"},
    "bigint": {"double"},
    "float": {"double"},
    "datetime": {"timestamp"},
}
"""What a value becomes by itself when it is inserted; everything else needs a CAST."""


def assigned(array, column):
    """A column of an answer as a column of a table; only what widens by itself is converted."""
    found, wanted = from_arrow(array.type), column.tree
    target = to_arrow(wanted)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    if not _fits(found, wanted):
        raise semantic(
            "Cannot insert into target table because column number/types are different:"
            f" {column.name} is {wanted}, the query gives {found}"
        )
    return array if array.type == target else array.cast(target, safe=False)


def _fits(found, wanted):
    if found["type"] != wanted["type"]:
        return wanted["type"] in WIDER.get(found["type"], ())
    if found["type"] == "struct":
        return [n for n, _ in found["fields"]] == [n for n, _ in wanted["fields"]] and all(
            _fits(a, b) for (_, a), (_, b) in zip(found["fields"], wanted["fields"], strict=True)
        )
    return all(_fits(found[k], wanted[k]) for k in ("of", "key", "value") if k in found)


def literal_spec(node, table):
    pairs = {}
    for each in node.expressions:
        if not isinstance(each, exp.EQ) or not isinstance(each.expression, exp.Literal):
            raise semantic(f"not a partition: {node.sql()}")
        pairs[each.this.name.lower()] = each.expression.this
    if list(pairs) != [key.name for key in table.keys]:
        raise semantic(f"not a partition of {table.name}: {node.sql()}")
    return tuple(pairs.values())


def partition_clause(tree, table):
    """(values that are given, whether others come with the rows) of an INSERT."""
    clause = tree.this.find(exp.Partition)
    if not clause:
        if table.keys:
            raise semantic(f"{table.name} is partitioned: INSERT needs PARTITION (...)")
        return (), False
    fixed, dynamic = [], False
    names = []
    for each in clause.expressions:
        if isinstance(each, exp.EQ):
            if dynamic:
                raise semantic("a fixed partition column cannot follow a dynamic one")
            fixed.append(each.expression.this)
            names.append(each.this.name.lower())
        else:
            dynamic = True
            names.append(each.name.lower())
    if names != [key.name for key in table.keys]:
        raise semantic(f"partition columns of {table.name} are not {names}")
    return tuple(fixed), dynamic


def by_partition(rows, keys, fixed, workers=1):
    """Rows by the partition that they go to; each worker writes those that chance gives it."""
    if not keys:
        return {}
    index = {}
    for place, values in enumerate(
        zip(*(rows.column(key).to_pylist() for key in keys), strict=True)
    ):
        if any(value in (None, "") for value in values):
            raise OdpsError("ODPS-0123031", f"Partition exception - invalid value in {values}")
        index.setdefault(fixed + values, []).append(place)
    if len(index) > MAX_DYNAMIC_PARTITIONS:
        raise OdpsError(
            "ODPS-0123031",
            "Partition exception - a single instance cannot output data to more than"
            f" {MAX_DYNAMIC_PARTITIONS} partitions",
        )
    shares = Counter(zlib.crc32(repr(values).encode()) % workers for values in index)
    if max(shares.values(), default=0) > MAX_OF_WORKER:
        raise OdpsError(
            "ODPS-0123031",
            f"Partition exception - a worker outputs data to more than {MAX_OF_WORKER} partitions",
        )
    data = rows.drop_columns(keys)
    return {values: [data.take(pa.array(places))] for values, places in index.items()}
