"""How rows and calls are dealt to workers: parts of a query written in another way."""

from odps_errors import semantic
from sqlglot import exp


def split_fields(select, calls_in):
    """Compute a struct once for every mention of it, as an optimizer may."""
    sources = [select.args.get("from_"), *(select.args.get("joins") or [])]
    for source in sources:
        below = source.this if source is not None else None
        if not isinstance(below, exp.Subquery) or not isinstance(below.this, exp.Select):
            continue
        inner, alias = below.this, below.alias.lower()
        calls = calls_in(inner)
        for made in list(inner.expressions):
            if made.unalias() not in calls:
                continue
            name = made.alias_or_name.lower()
            for number, (column, place) in enumerate(_mentions(select, name, alias)[1:]):
                copy = f"{name}__{number}"
                inner.append("expressions", exp.alias_(made.unalias().copy(), copy))
                column.set(place, exp.to_identifier(copy))


def _mentions(select, name, alias):
    """Columns that are a struct, or a field of it, and which part of them names it."""
    found = []
    for column in select.find_all(exp.Column):
        if column.find_ancestor(exp.Select) is not select:
            continue
        if column.name.lower() == name and column.table.lower() in ("", alias):
            found.append((column, "this"))
        elif column.table.lower() == name and column.db.lower() in ("", alias):
            found.append((column, "table"))
    return found


def packed(call):
    """All arguments of an aggregate's group as a list of structs."""
    fields = [
        exp.PropertyEQ(this=exp.to_identifier(f"a{i}"), expression=argument.copy())
        for i, argument in enumerate(call.expressions)
    ]
    shuffled = exp.Order(
        this=exp.Struct(expressions=fields),
        expressions=[exp.Ordered(this=exp.func("random"))],
    )
    return exp.ArrayAgg(this=shuffled)


def dealt(select, reducers):
    """Deal the rows below a UDTF to workers: [number of the worker, sort keys], or []."""
    source = select.args["from_"].this
    if not isinstance(source, exp.Subquery) or not isinstance(source.this, exp.Select):
        return []
    below = source.this
    distribute, sort = below.args.get("distribute"), below.args.get("sort")
    if below.args.get("cluster"):
        raise semantic("this server knows DISTRIBUTE BY and SORT BY, not CLUSTER BY")
    if not distribute:
        return []
    below.set("distribute", None)
    below.set("sort", None)
    keys = [_bare(each.this) for each in distribute.expressions]
    worker = exp.Mod(this=exp.func("hash", *keys), expression=exp.Literal.number(reducers))
    order = []
    for each in sort.expressions if sort else []:
        each = each.copy()
        each.set("this", _bare(each.this))
        order.append(each)
    return [worker, *order]


def _bare(node):
    return exp.column(node.name)  # keys are columns of the subquery


def buckets(rows, dealt, reducers):
    if not rows.num_rows:
        return [rows]
    if not dealt:
        size = -(-rows.num_rows // reducers)
        return [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
    numbers = rows.column("__b").to_pylist()
    starts = [i for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1]]
    ends = [*starts[1:], rows.num_rows]
    return [rows.slice(a, b - a) for a, b in zip(starts, ends, strict=True)]
