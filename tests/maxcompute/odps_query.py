"""Queries: rewritten from MaxCompute's SQL for DuckDB, and run over the catalog's rows."""

import contextlib

import duckdb
import pyarrow as pa
from odps_errors import OdpsError, Stopped, semantic
from odps_functions import Functions
from odps_types import from_arrow, to_arrow
from sqlglot import exp
from sqlglot.errors import ErrorLevel

MAX_PARTITIONS_READ = 10_000
MACROS = (
    # an instant is written in the session's zone, without saying which
    "CREATE MACRO odps_text(x) AS CASE WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE'"
    " THEN regexp_replace(CAST(x AS VARCHAR), '[+-][0-9:]+$', '') ELSE CAST(x AS VARCHAR) END",
    "CREATE MACRO lengthb(x) AS octet_length(encode(x))",
)


class Query:
    """One query of a statement."""

    def __init__(self, executor, instance, hints):
        self.executor, self.instance, self.hints = executor, instance, hints
        self.server = executor.server
        self.functions = Functions(self)
        self.con = duckdb.connect(config={"threads": 1})
        self.held = 0
        instance.on_stop.append(self._interrupt)

    def _interrupt(self):
        with contextlib.suppress(duckdb.Error):
            self.con.interrupt()
        self.functions.close()

    def run(self, tree):
        """Rows of a query, in random order unless it asks for one."""
        try:
            seed = self.server.catalog.random.random()
            zone = self.hints.get("odps.sql.timezone") or self.server.timezone
            for text in [f"SELECT setseed({seed})", f"SET TimeZone='{zone}'", *MACROS]:
                self.con.execute(text).fetchall()
            tree = tree.copy()
            names = _column_names(tree)
            self._tables(tree)
            _adapt(tree)
            tree = self.functions.prepare(tree)
            rows = self.fetch(tree)
            if names and len(names) == rows.num_columns:
                rows = rows.rename_columns(names)
            if not tree.args.get("order"):
                rows = self.server.catalog.shuffled(rows)
            return rows
        except duckdb.InterruptException:
            raise Stopped from None
        except duckdb.Error as error:
            self.instance.check()
            raise _translated(error) from None
        finally:
            self.instance.on_stop.remove(self._interrupt)
            self.functions.close()
            self.con.close()

    def fetch(self, tree):
        """Rows of a rewritten tree."""
        self.instance.check()
        text = tree.sql("duckdb", unsupported_level=ErrorLevel.IGNORE)
        return from_duck(self.con.sql(text).to_arrow_table())

    def hold(self, rows):
        """Make rows a table of DuckDB; its name."""
        self.held += 1
        name = f"held_{self.held}"
        self.con.register(name, to_duck(rows))
        return name

    def _tables(self, tree):
        """Put the catalog's rows where the query names tables."""
        own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        for node in list(tree.find_all(exp.Table)):
            if len(node.parts) == 1 and node.name.lower() in own:
                continue
            table = self.executor.table_of(node, self.hints)
            chosen = self._pruned(node, table)
            alias = node.alias or node.name
            name = self.hold(rows_of(table, chosen))
            self.instance.scanned[table.name] = sorted(chosen)
            node.replace(exp.alias_(exp.to_table(name), alias, table=True))

    def _pruned(self, node, table):
        """Partitions that a query reads; none by name is a full scan, which must be allowed."""
        if not table.keys:
            return list(table.parts)
        select = node.find_ancestor(exp.Select)
        keys = [key.name for key in table.keys]
        own = (node.alias or node.name).lower()
        conditions = [select.args["where"].this] if select.args.get("where") else []
        conditions += [j.args["on"] for j in select.args.get("joins") or [] if j.args.get("on")]
        mine = [
            column
            for condition in conditions
            for column in condition.find_all(exp.Column)
            if column.name.lower() in keys and column.table.lower() in ("", own)
        ]
        allowed = str(self.hints.get("odps.sql.allow.fullscan", "")).lower() == "true"
        if not mine and not allowed:
            raise semantic(
                "physical plan generation failed: java.lang.RuntimeException:"
                f" Table({self.server.project},{table.name}) is full scan with all partitions,"
                " please specify partition predicates"
            )
        chosen = list(table.parts)
        for condition in conditions[:1] if select.args.get("where") else []:
            for each in condition.flatten() if isinstance(condition, exp.And) else [condition]:
                chosen = _narrowed(chosen, each, keys, own)
        if len(chosen) > MAX_PARTITIONS_READ:
            raise semantic(
                f"physical plan generation failed: {len(chosen)} partitions of {table.name} are"
                f" scanned, more than the maximum of {MAX_PARTITIONS_READ}"
            )
        return chosen


def _narrowed(chosen, node, keys, own):
    node = node.unnest()
    if isinstance(node, exp.EQ):
        column, literals = node.this, [node.expression]
    elif isinstance(node, exp.In) and not node.args.get("query"):
        column, literals = node.this, node.expressions
    else:
        return chosen
    if not isinstance(column, exp.Column) or column.table.lower() not in ("", own):
        return chosen
    if column.name.lower() not in keys or not all(isinstance(x, exp.Literal) for x in literals):
        return chosen
    place, values = keys.index(column.name.lower()), {each.this for each in literals}
    return [each for each in chosen if each[place] in values]


def rows_of(table, chosen):
    """Rows of some partitions of a table, with the partition columns."""
    schema = table.schema
    for key in table.keys:
        schema = schema.append(pa.field(key.name, pa.string()))
    pieces = []
    for values in chosen:
        for piece in table.parts[values].pieces:
            arrays = [*piece.columns, *(pa.repeat(pa.scalar(v), piece.num_rows) for v in values)]
            pieces.append(pa.table(arrays, schema=schema))
    return pa.concat_tables(pieces) if pieces else schema.empty_table()


def _zoned(kind, to):
    """An Arrow type with instants as DuckDB (``to="duck"``) or the tunnel has them."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if to == "duck" else pa.timestamp("ns")
    if pa.types.is_list(kind):
        return pa.list_(_zoned(kind.value_type, to))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _zoned(field.type, to)) for field in kind])
    return kind


def to_duck(rows):
    """Rows whose instants know that they are UTC."""
    schema = pa.schema([(f.name, _zoned(f.type, "duck")) for f in rows.schema])
    return rows if schema == rows.schema else rows.cast(schema, safe=False)


def from_duck(rows):
    """Rows in the types of the service."""
    fields = []
    for each in rows.schema:
        if pa.types.is_null(each.type):
            fields.append((each.name, each.type))
        else:
            fields.append((each.name, to_arrow(from_arrow(each.type))))
    schema = pa.schema(fields)
    return rows if schema == rows.schema else rows.cast(schema, safe=False)


def _adapt(tree):
    """What sqlglot does not know about the two dialects."""
    for node in list(tree.find_all(exp.TryCast)):
        node.replace(exp.Cast(this=node.this, to=node.to))
    for node in tree.find_all(exp.DataType):
        if node.this == exp.DataType.Type.TIMESTAMP:
            node.set("this", exp.DataType.Type.TIMESTAMPTZ)
    for node in list(tree.find_all(exp.Cast)):
        if node.to.this in (exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR):
            node.replace(exp.func("odps_text", node.this))
    for node in list(tree.find_all(exp.ArrayAgg)):
        node.set("nulls_excluded", None)
        value = node.this
        if isinstance(value, exp.Distinct):
            value = value.expressions[0]
        else:
            shuffled = exp.Ordered(this=exp.func("random"))
            node.set("this", exp.Order(this=value.copy(), expressions=[shuffled]))
        present = exp.Is(this=value.copy(), expression=exp.Null()).not_()
        node.replace(exp.Filter(this=node.copy(), expression=exp.Where(this=present)))
    for node in tree.find_all(exp.Group):
        if any(isinstance(each, exp.Literal) for each in node.expressions):
            raise semantic("GROUP BY a position needs odps.sql.groupby.position.alias=true")


def _column_names(tree):
    select = tree
    while isinstance(select, exp.SetOperation):
        select = select.this
    names, place = [], 0
    for each in select.expressions:
        if each.is_star:
            return []
        if isinstance(each, exp.Aliases):
            names += [alias.name for alias in each.expressions]
            continue
        name = each.alias_or_name
        if not name:
            name, place = f"_c{place}", place + 1
        names.append(name)
    return names


def _translated(error):
    text = str(error).splitlines()[0]
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
        return semantic(text)
    if isinstance(error, duckdb.ConversionException):
        return OdpsError("ODPS-0121095", f"Invalid arguments - {text}")
    if isinstance(error, duckdb.OutOfMemoryException):
        return OdpsError("ODPS-0123049", f"buffer overflow - {text}")
    return OdpsError("ODPS-0010000", f"System internal error - {text}")
