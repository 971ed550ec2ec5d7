"""Statements: definitions, inserts and queries, read by sqlglot-maxcompute."""

import time

import pyarrow as pa
import sqlglot
from odps_builtins import check_calls, check_hints, option_of, statements_in
from odps_catalog import MAX_COMMENT, Column, Part, Table, check_comment, check_rows
from odps_errors import OdpsError, missing, semantic
from odps_insert import assigned, by_partition, literal_spec, partition_clause
from odps_query import Query
from odps_types import SECOND_EDITION, from_arrow, names_in, parse_type, to_arrow
from sqlglot import exp


class Executor:
    """Runs the statements of an instance."""

    def __init__(self, server):
        self.server = server

    @property
    def catalog(self):
        """What the project holds."""
        return self.server.catalog

    def execute(self, instance):
        """Run everything in an instance's text."""
        hints = dict(instance.hints)
        run = 0
        for text in statements_in(instance.query):
            if option := option_of(text):
                hints[option[0]] = option[1]
                continue
            check_hints(hints)
            check_calls(text, self.catalog.functions)
            try:
                tree = sqlglot.parse_one(text, read="maxcompute")
            except sqlglot.errors.ParseError as error:
                raise OdpsError("ODPS-0130161", f"[1,1] Parse exception - {error}") from None
            self._statement(instance, tree, text, hints)
            run += 1
        if not run:
            raise OdpsError("ODPS-0130161", "[1,1] Parse exception - no statement")

    def _statement(self, instance, tree, text, hints):
        if isinstance(tree, exp.Create) and tree.kind == "TABLE":
            return self._create(instance, tree, hints)
        if isinstance(tree, exp.Drop) and tree.kind == "TABLE":
            schema, name = self._place(tree.args["tables"][0], hints)
            return self.catalog.drop(name, schema, if_exists=bool(tree.args.get("exists")))
        if isinstance(tree, exp.Alter) and tree.args.get("kind") == "TABLE":
            return self._alter(tree, hints)
        if isinstance(tree, exp.TruncateTable):
            return self._truncate(tree, hints)
        if isinstance(tree, exp.Insert):
            return self._insert(instance, tree, hints)
        if isinstance(tree, (exp.Select, exp.SetOperation)):
            rows = Query(self, instance, hints).run(tree)
            instance.result = rows
            instance.result_columns = [Column(f.name, from_arrow(f.type)) for f in rows.schema]
            return None
        raise OdpsError("ODPS-0130161", f"[1,1] Parse exception - not understood: {text[:80]}")

    def _place(self, node, hints):
        """(schema, name) of a table in a statement; a project must be this one."""
        table = node.find(exp.Table)
        parts = [part.name.lower() for part in table.parts]
        if len(parts) > 1 and parts[0] == self.server.project.lower():
            parts = parts[1:]
        if len(parts) > 2:
            raise missing("project", parts[0])
        usual = hints.get("odps.default.schema") or "default"
        return (parts[0] if len(parts) > 1 else usual), parts[-1]

    def table_of(self, node, hints):
        """The table that a statement names."""
        schema, name = self._place(node, hints)
        return self.catalog.table(name, schema, by_statement=True)

    def _create(self, instance, tree, hints):
        schema, name = self._place(tree.this, hints)
        properties = tree.args["properties"].expressions if tree.args.get("properties") else []
        table = Table(name, [], [])
        for each in properties:
            if isinstance(each, exp.SchemaCommentProperty):
                table.comment = each.this.this
            elif isinstance(each, exp.PartitionedByProperty):
                table.keys = [self._column(c, hints) for c in each.this.expressions]
            elif isinstance(each, exp.Property) and isinstance(each.this, exp.Var):
                table.lifecycle = int(each.args["value"].this)
            elif isinstance(each, exp.Property):
                table.properties[each.this.this] = each.args["value"].this
            else:
                raise semantic(f"not supported: {each.sql()}")
        if any(key.tree["type"] != "string" for key in table.keys):
            raise semantic("this server knows partition columns of type STRING only")
        if isinstance(tree.this, exp.Schema):
            table.columns = [self._column(c, hints) for c in tree.this.expressions]
        if not tree.expression:
            if not table.columns:
                raise OdpsError("ODPS-0130161", "[1,1] Parse exception - a table without columns")
            self.catalog.create(table, schema, if_not_exists=bool(tree.args.get("exists")))
            return
        if table.keys or table.columns:
            raise semantic("CREATE TABLE AS SELECT takes no columns and no partitions here")
        if (schema, name) in self.catalog.tables and tree.args.get("exists"):
            return
        rows = Query(self, instance, hints).run(tree.expression)
        table.columns = [Column(f.name.lower(), from_arrow(f.type)) for f in rows.schema]
        rows = rows.cast(table.schema)
        table.parts[()] = Part()
        self.catalog.create(table, schema)
        self.catalog.write(table, {(): [rows]}, overwrite=True)

    def _column(self, node, hints):
        if not isinstance(node, exp.ColumnDef):
            raise semantic(f"not supported: {node.sql()}")
        tree = parse_type(node.kind.sql("maxcompute"))
        second = str(hints.get("odps.sql.type.system.odps2", "")).lower() == "true"
        if not second and (needed := names_in(tree) & SECOND_EDITION):
            raise semantic(
                f"{', '.join(sorted(needed)).upper()} type is not enabled in current mode"
            )
        column = Column(node.name.lower(), tree)
        for constraint in node.args.get("constraints") or []:
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                column.comment = constraint.kind.this.this
            elif isinstance(constraint.kind, exp.NotNullColumnConstraint):
                column.nullable = bool(constraint.kind.args.get("allow_null"))
            else:
                raise semantic(f"not supported: {constraint.sql()}")
        return column

    def _alter(self, tree, hints):
        table = self.table_of(tree.this, hints)
        for action in tree.args["actions"]:
            if isinstance(action, exp.DropPartition):
                wanted = [literal_spec(each, table) for each in action.expressions]
                self.catalog.drop_parts(table, wanted, if_exists=bool(action.args.get("exists")))
            elif isinstance(action, exp.AddPartition):
                values = literal_spec(action.this, table)
                if values in table.parts:
                    if not action.args.get("exists"):
                        raise OdpsError(
                            "ODPS-0110061",
                            "Failed to run ddltask - AlreadyExistsException(message:Partition"
                            f" already exists, existed values:{list(values)})",
                        )
                    continue
                self.catalog.write(table, {values: []}, overwrite=False)
            elif isinstance(action, exp.AlterSet):
                for holder in action.expressions:
                    for each in holder.expressions:
                        _set(table, each)
            else:
                raise semantic(f"not supported: {action.sql()}")
        table.changed = time.time()

    def _truncate(self, tree, hints):
        table = self.table_of(tree.expressions[0], hints)
        clause = tree.args.get("partition")
        if bool(table.keys) != bool(clause):
            raise semantic("TRUNCATE names a partition of a partitioned table, and of no other")
        values = literal_spec(clause, table) if clause else ()
        table.part(values)
        self.catalog.write(table, {values: []}, overwrite=True)

    def _insert(self, instance, tree, hints):
        target = tree.this
        table = self.table_of(target, hints)
        fixed, dynamic = partition_clause(tree, table)
        named = (
            [c.name.lower() for c in target.expressions] if isinstance(target, exp.Schema) else None
        )
        query = tree.expression.copy()
        if tree.args.get("with_"):
            query.set("with_", tree.args["with_"].copy())
        rows = Query(self, instance, hints).run(query)
        keys = table.keys[len(fixed) :] if dynamic else []
        columns = table.columns + keys
        if named is not None:
            by_name = {column.name: column for column in columns}
            if unknown := [name for name in named if name not in by_name]:
                raise semantic(f"Invalid column reference {unknown}")
            given = [by_name[name] for name in named]
        else:
            given = columns
        if len(given) != rows.num_columns:
            raise semantic(
                "Cannot insert into target table because column number/types are different:"
                f" {len(given)} columns in {table.name}, {rows.num_columns} in the query"
            )
        arrays = {}
        for place, column in enumerate(given):
            arrays[column.name] = assigned(rows.column(place), column)
        for column in columns:
            if column.name not in arrays:
                arrays[column.name] = pa.nulls(rows.num_rows, to_arrow(column.tree))
        names = [column.name for column in columns]
        rows = pa.table([arrays[name] for name in names], names=names)
        try:
            check_rows(rows, table.columns, self.server.max_field_size, self.server.max_record)
        except OdpsError as error:
            raise OdpsError("ODPS-0121145", f"Data overflow - {error.message}") from None
        workers = int(hints.get("odps.stage.reducer.num") or 1)
        groups = by_partition(rows, [key.name for key in keys], fixed, workers)
        if not dynamic:
            groups = groups or {fixed: [rows.select([c.name for c in table.columns])]}
        if self.server.faults.take("conflict", instance.query):
            raise OdpsError(
                "ODPS-0110999",
                "Critical! Internal error happened in commit operation and rollback failed,"
                " possible breach of atomicity - Rename directory failed during DDLTask.",
            )
        instance.check()
        self.catalog.write(table, groups, overwrite=bool(tree.args.get("overwrite")))


def _set(table, node):
    if isinstance(node, exp.SchemaCommentProperty):
        check_comment(node.this.this)
        table.comment = node.this.this
    elif isinstance(node, exp.Property) and isinstance(node.this, exp.Var):
        table.lifecycle = int(node.args["value"].this)
    elif isinstance(node, exp.Property):
        if len(node.args["value"].this.encode()) > 4 * MAX_COMMENT:
            raise semantic("a table property is too long")
        table.properties[node.this.this] = node.args["value"].this
    else:
        raise semantic(f"not supported: {node.sql()}")
