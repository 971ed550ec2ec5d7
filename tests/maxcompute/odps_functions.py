"""Functions of the user in a query: their calls are taken out and computed in worker processes.

The part of a query below a call is run first; its rows go to the function in batches; a table with
the answers takes the place of that part. A call elsewhere than in the list of a SELECT (in WHERE,
inside an aggregate) becomes a function of DuckDB that asks the same process.
"""

import inspect

import pyarrow as pa
from odps_dealing import buckets, dealt, packed, split_fields
from odps_errors import OdpsError, semantic
from odps_types import from_arrow, render
from odps_values import arrow_of, duck_type, rows_on_wire, wire
from odps_worker import Worker, signature_of
from sqlglot import exp

BATCH_ROWS = 1024


class Functions:
    """The user's functions in one query."""

    def __init__(self, query):
        self.query, self.server = query, query.server
        self.workers, self.signatures, self.inline = {}, {}, set()

    def close(self):
        """End all processes."""
        while self.workers:
            self.workers.popitem()[1].close()

    def prepare(self, tree):
        """The tree without calls of functions."""
        for call in self._calls(tree):
            self._signature(call)
        if not self.signatures:
            return tree
        if str(self.query.hints.get("odps.sql.python.version")) != "cp311":
            raise semantic("a function for Python 3.11 needs odps.sql.python.version=cp311")
        if self.server.evaluate == "per_field":
            for select in list(tree.find_all(exp.Select)):
                split_fields(select, self._structs)
        for select in reversed(list(tree.find_all(exp.Select))):
            calls = [
                call for call in self._calls(select) if call.find_ancestor(exp.Select) is select
            ]
            if calls:
                name = self._computed(select, calls)
                if name is None:
                    continue
                new = exp.select("*").from_(exp.to_table(name))
                if select is tree:
                    tree = new
                else:
                    select.replace(new)
        return tree

    def _calls(self, tree):
        known = self.server.catalog.functions
        return [node for node in tree.find_all(exp.Anonymous) if node.name.lower() in known]

    def _structs(self, select):
        """Calls in a SELECT that give one value."""
        return [call for call in self._calls(select) if self._signature(call).kind != "table"]

    def _signature(self, call):
        name = call.name.lower()
        if name not in self.signatures:
            function = self.server.catalog.functions[name]
            self.signatures[name] = signature_of(self.server, function)
        signature = self.signatures[name]
        if not signature.any and len(call.expressions) != len(signature.takes):
            raise OdpsError(
                "ODPS-0130221",
                f"Invalid number of arguments - function {name} needs {len(signature.takes)}"
                f" parameters, actually have {len(call.expressions)}",
            )
        return signature

    def _worker(self, name):
        if name not in self.workers:
            self.query.instance.check()
            function = self.server.catalog.functions[name]
            worker = self.workers[name] = Worker(self.server, function, self.query.hints)
            signature = self.signatures[name]
            worker.ask("open")
            worker.ask("prepare", None if signature.any else signature.takes, signature.gives)
        return self.workers[name]

    def _computed(self, select, calls):
        """Name of a table with the answer of a SELECT that calls functions, or None for inline."""
        kinds = {self._signature(call).kind for call in calls}
        if "table" in kinds:
            if len(select.expressions) != 1 or len(calls) != 1:
                raise semantic("a UDTF must be the only expression of its SELECT")
            return self._table_function(select, calls[0])
        outside = [call for call in calls if not self._in_list(select, call)]
        if outside:
            for call in calls:
                self._define(call.name.lower())
            return None
        return self._lifted(select, calls)

    def _in_list(self, select, call):
        node = call
        while node.parent is not select:
            node = node.parent
            if isinstance(node, (exp.AggFunc, exp.Window, exp.Filter)):
                return False
        return node.arg_key == "expressions"

    def _context(self, select, inner):
        """A part of a query with the WITH clauses of what is around it."""
        node = select.parent
        while node is not None:
            if node.args.get("with_") and select.find_ancestor(exp.CTE) is None:
                inner.set("with_", node.args["with_"].copy())
                break
            node = node.parent
        return inner

    def _lifted(self, select, calls):
        lifted, unique, uses = [], {}, {}

        def lift(node):
            name = f"__a{len(lifted)}"
            lifted.append(exp.alias_(node.copy(), name))
            return exp.column(name)

        def asked(call):
            key = call.sql()
            if key not in unique:
                name = call.name.lower()
                columns = (
                    [lift(packed(call))]
                    if self.signatures[name].kind == "aggregate"
                    else [lift(argument) for argument in call.expressions]
                )
                unique[key] = (name, [column.name for column in columns])
                uses[key] = 0
            number = 0
            if self.server.evaluate == "per_field":
                number, uses[key] = uses[key], uses[key] + 1
            else:
                uses[key] = 1
            return exp.column(f"__u{list(unique).index(key)}_{number}")

        def walk(node):
            if node in calls and isinstance(node, exp.Anonymous):
                return asked(node)
            if not any(call in calls for call in node.find_all(exp.Anonymous)):
                needs = node.find(exp.Column, exp.AggFunc, exp.Star)
                return lift(node) if needs else node.copy()
            node = node.copy()
            for key, value in list(node.args.items()):
                if isinstance(value, list):
                    node.set(key, [walk(v) if isinstance(v, exp.Expression) else v for v in value])
                elif isinstance(value, exp.Expression):
                    node.set(key, walk(value))
            return node

        said = []
        for each in select.expressions:
            if each.is_star:
                raise semantic("this server knows no * beside a function of the user")
            value = walk(each.unalias())
            said.append(
                exp.alias_(value, each.alias_or_name, quoted=True) if each.alias_or_name else value
            )
        inner = select.copy()
        inner.set("expressions", lifted)
        rows = self.query.fetch(self._context(select, inner))
        table = self._ask_all(rows, unique, uses)
        held = self.query.hold(table)
        return self.query.hold(self.query.fetch(exp.select(*said).from_(exp.to_table(held))))

    def _ask_all(self, rows, unique, uses):
        size = int(self.query.hints.get("odps.sql.executionengine.batch.rowcount", BATCH_ROWS))
        answers = {}
        for key, (name, columns) in unique.items():
            if self.signatures[name].kind == "scalar":
                self._check_arguments(name, [rows.schema.field(c).type for c in columns])
            answers[key] = [[] for _ in range(uses[key])]
        instance = self.query.instance
        instance.rows_all += rows.num_rows
        for start in range(0, rows.num_rows, size):
            batch = rows.slice(start, size)
            instance.check()
            instance.batches.append(batch.num_rows)
            for key, (name, columns) in unique.items():
                got = self._ask(name, [batch.column(c) for c in columns], uses[key])
                for into, these in zip(answers[key], got, strict=True):
                    into.extend(got[0] if these is None else these)
            instance.rows_done += batch.num_rows
        table = rows
        for number, (key, (name, _)) in enumerate(unique.items()):
            tree = self.signatures[name].gives[0]
            for place, values in enumerate(answers[key]):
                table = table.append_column(f"__u{number}_{place}", arrow_of(values, tree))
        return table

    def _ask(self, name, columns, times):
        worker, signature = self._worker(name), self.signatures[name]
        if signature.kind == "scalar":
            return worker.ask("scalar", rows_on_wire(columns), times)
        random = self.server.catalog.random
        groups = []
        for group in columns[0]:
            rows = [wire(row) for row in group.as_py()]
            parts = [[] for _ in range(min(self.server.partials, max(1, len(rows))))]
            for row in rows:
                parts[random.integers(len(parts))].append(row)
            groups.append(parts)
        return [worker.ask("aggregate", groups) for _ in range(times)]

    def _check_arguments(self, name, types):
        signature = self.signatures[name]
        if signature.any:
            return
        for place, (kind, wanted) in enumerate(zip(types, signature.takes, strict=True)):
            if pa.types.is_null(kind):
                continue
            found = from_arrow(kind)
            widened = (found["type"], wanted["type"]) in {("int", "bigint"), ("float", "double")}
            if found != wanted and not widened:
                raise OdpsError(
                    "ODPS-0130121",
                    f"[1,1] Invalid argument type - invalid type {render(found).upper()} of"
                    f" argument {place + 1} for function {name}, expect {render(wanted).upper()}",
                )

    def _table_function(self, select, call):
        made = select.expressions[0]
        if isinstance(made, exp.Aliases):
            names = [alias.name for alias in made.expressions]
        else:
            names = [made.alias] if made.alias else []
        signature = self._signature(call)
        if len(names) != len(signature.gives):
            raise semantic(f"the UDTF gives {len(signature.gives)} columns, {len(names)} are named")
        inner = select.copy()
        lifted = [exp.alias_(a.copy(), f"__a{i}") for i, a in enumerate(call.expressions)]
        order = dealt(inner, self.server.reducers)
        lifted.append(exp.alias_(order[0] if order else exp.Literal.number(0), "__b"))
        inner.set("expressions", lifted)
        last = exp.Ordered(this=exp.func("random"))
        first = [exp.Ordered(this=exp.column("__b"))] if order else []
        inner.set("order", exp.Order(expressions=[*first, *order[1:], last]))
        rows = self.query.fetch(self._context(select, inner))
        columns = [f"__a{i}" for i in range(len(call.expressions))]
        name = call.name.lower()
        self._check_arguments(name, [rows.schema.field(c).type for c in columns])
        given = []
        for bucket in buckets(rows, bool(order), self.server.reducers):
            given += self._stream(name, bucket.select(columns))
        arrays = [
            arrow_of([row[i] for row in given], tree) for i, tree in enumerate(signature.gives)
        ]
        return self.query.hold(pa.table(arrays, names=names))

    def _stream(self, name, rows):
        size = int(self.query.hints.get("odps.sql.executionengine.batch.rowcount", BATCH_ROWS))
        worker, instance, given = self._worker(name), self.query.instance, []
        instance.rows_all += rows.num_rows
        starts = range(0, max(rows.num_rows, 1), size)
        for start in starts:
            instance.check()
            batch = rows.slice(start, size)
            instance.batches.append(batch.num_rows)
            sent = rows_on_wire(batch.columns)
            given += worker.ask("table", sent, start == 0, start == starts[-1])
            instance.rows_done += batch.num_rows
        return given

    def _define(self, name):
        """Make a function one of DuckDB's, for calls inside of other expressions."""
        if name in self.inline:
            return
        self.inline.add(name)
        signature = self.signatures[name]
        if signature.kind != "scalar" or signature.any:
            raise semantic(f"this server knows function {name} in the list of a SELECT only")

        def call(*columns):
            arrays = [pa.chunked_array([c]) if isinstance(c, pa.Array) else c for c in columns]
            values = self._worker(name).ask("scalar", rows_on_wire(arrays), 1)[0]
            return arrow_of(values, signature.gives[0])

        kind = inspect.Parameter.POSITIONAL_ONLY  # DuckDB counts the parameters
        call.__signature__ = inspect.Signature(
            [inspect.Parameter(f"a{i}", kind) for i in range(len(signature.takes))]
        )
        self.query.con.create_function(
            name,
            call,
            [duck_type(tree) for tree in signature.takes],
            duck_type(signature.gives[0]),
            type="arrow",
            null_handling="special",
            side_effects=True,
        )
