"""The ledger in SQL: ``geoquarry.jobs`` and ``geoquarry.units``, answered on this host."""

from collections.abc import Collection

import duckdb
from sqlglot import exp

from geoquarry.engine.ledger import Ledger
from geoquarry.engine.ledger_tables import TABLES
from geoquarry.schemas.errors import UsageError

SCHEMA = "geoquarry"


def is_ledger(table: exp.Table) -> bool:
    """Whether a name in a statement is one of the two.

    >>> is_ledger(exp.to_table("geoquarry.jobs")), is_ledger(exp.to_table("jobs"))
    (True, False)
    """
    return table.db.lower() == SCHEMA and not table.catalog and table.name.lower() in TABLES


def refuse_unknown(table: exp.Table) -> None:
    """Refuse a name in our schema that is neither of the two.

    >>> refuse_unknown(exp.to_table("geoquarry.foo"))
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: No 'geoquarry.foo': there are geoquarry.jobs and ...
    """
    if table.db.lower() == SCHEMA and not is_ledger(table):
        names = " and ".join(f"{SCHEMA}.{name}" for name in TABLES)
        raise UsageError(
            f"No {table.sql(dialect='duckdb')!r}: there are {names}. Tables of the warehouse have "
            "names without dots."
        )


def ledger_names(tree: exp.Expression) -> list[str]:
    """Which of the two a statement reads."""
    found = {table.name.lower() for table in tree.find_all(exp.Table) if is_ledger(table)}
    return sorted(found)


def only_ledger(tree: exp.Expression, tables: Collection[str]) -> bool:
    """Whether a statement reads the ledger, for engines that answer the others elsewhere.

    Raises
    ------
    UsageError
        It reads tables besides.
    """
    if not ledger_names(tree):
        return False
    if tables:
        raise UsageError(
            f"The ledger is read on this host, {', '.join(sorted(tables))} elsewhere: ask with "
            "--engine local, or one after the other."
        )
    return True


def register_ledger(connection: duckdb.DuckDBPyConnection, ledger: Ledger, name: str) -> None:
    """Make one of the two known to a connection."""
    hidden = f"{SCHEMA} {name}"  # no table of a warehouse can be called like that
    connection.register(hidden, ledger.table(name))
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{SCHEMA}"')
    view = f'CREATE VIEW "{SCHEMA}"."{name}" AS SELECT * FROM "{hidden}"'  # nosec B608  # one of two
    connection.execute(view)
