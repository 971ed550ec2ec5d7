"""SQL in a Spark session: jobs through the design's statement, and our tables for any query."""

import os
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlglot import exp

from geoquarry.engine.spark_functions import register_methods, register_scalars
from geoquarry.engine.spark_session import Session, checked
from geoquarry.engine.spark_tables import view
from geoquarry.engine.spark_tasks import explained
from geoquarry.engine.sql import BATCH_ROWS, ScalarFunction, parse_select, short, table_names
from geoquarry.engine.sql import select as in_duckdb
from geoquarry.engine.sql_ledger import only_ledger
from geoquarry.engine.tile import find_udf
from geoquarry.engine.warehouse import Warehouse, open_warehouse
from geoquarry.schemas.errors import UsageError

WAREHOUSE = "spark.geoquarry.warehouse"
"""Setting of a session that says which warehouse its SQL means."""
VARIABLE = "GEOQUARRY_WAREHOUSE"
OUTSIDE = ("java_method", "reflect", "try_reflect")
"""Functions of Spark that call anything there is in Java."""


def register(
    session: Session, warehouse: str | None = None, *, catalog: str | None = None
) -> list[str]:
    """Make a session of anybody's know our tables, tile methods and scalar tile functions.

    Afterwards plain ``spark.sql`` answers, without a jar::

        SELECT tile_x, tile_y, r.* FROM (
            SELECT tile_x, tile_y, mosaic(struct(*), '{"mosaic": "min"}') AS r
            FROM aster GROUP BY tile_x, tile_y)

    Parameters
    ----------
    session : SparkSession
        In UTC. Its workers must be able to import geoquarry, see `ship`.
    warehouse : str, optional
        Folder or URI; default ``$GEOQUARRY_WAREHOUSE``, or the setting `WAREHOUSE`.
    catalog : str, optional
        For a URI: its catalog's database, default ``$GEOQUARRY_CATALOG``.

    Returns
    -------
    tables : list of str
        Now temporary views. A view shows a table as it is now: call this again, or use `sql`, to
        see later commits.

    Raises
    ------
    UsageError
        A session that is not in UTC, or no such warehouse.
    """
    checked(session)
    opened = _warehouse(session, warehouse, catalog)
    session.conf.set(WAREHOUSE, opened.location)
    register_methods(session)
    register_scalars(session, _scalar_functions())
    for name in opened.table_names():
        view(session, opened.table(name))
    return opened.table_names()


def sql(
    session: Session, text: str, warehouse: str | None = None, *, catalog: str | None = None
) -> Any:
    """Run one SQL statement in a session.

    An ``INSERT ... SELECT tile_x, tile_y, method(*, name => value) ...`` is a job: it runs in all
    its phases on the SQL plan, which calls ``method(struct(*), '<parameters as JSON>')``, and is
    committed to the target table once. Anything else is answered by Spark.

    Parameters
    ----------
    session : SparkSession
        In UTC.
    text : str
    warehouse, catalog : str, optional
        As in `register`.

    Returns
    -------
    answer : RunReport or pyspark.sql.DataFrame
        What a job did; else the rows, computed when they are asked for. Views of our tables that
        the text names are of this moment.

    Raises
    ------
    UsageError
        An INSERT that is no job, or what `register` refuses.
    """
    from geoquarry.engine.spark import Engine

    checked(session)
    opened = _warehouse(session, warehouse, catalog)
    functions = _scalar_functions()
    engine = Engine(opened, session=session, plan="sql", functions=functions)
    # Jobs know how a statement becomes a job; an engine finds them by name, as it does UDFs.
    job = _named("geoquarry.jobs.sql:statement_job")(engine, text)
    if job is not None:
        return _named("geoquarry.jobs.two_phase:run_phases")(engine, job)
    words = {word.lower() for word in re.findall(r"\w+", text)}
    for name in opened.table_names():
        if name.lower() in words:
            view(session, opened.table(name))
    register_methods(session)
    register_scalars(session, functions)
    return session.sql(text)


def select(
    session: Session, warehouse: Warehouse, text: str, functions: Mapping[str, ScalarFunction]
) -> pa.RecordBatchReader:
    """Answer one SELECT on tables of the warehouse; see `Engine.sql`.

    The text is in Spark's dialect. The answer is collected on the driver. The ledger is not in
    Spark: a SELECT on it is answered here.
    """
    tree = parsed(text)
    if only_ledger(tree, table_names(tree)):
        return in_duckdb(warehouse, text, {})
    for name in table_names(tree):
        view(session, warehouse.table(name))
    register_methods(session)
    register_scalars(session, functions)
    from pyspark.errors import AnalysisException

    try:
        return session.sql(text).toArrow().to_reader(BATCH_ROWS)
    except AnalysisException as error:
        raise UsageError(f"SQL {short(text)!r}: {str(error).splitlines()[0]}") from error
    except Exception as error:
        raise explained(error) from error


def parsed(text: str) -> exp.Expression:
    """The tree of one SELECT statement in Spark's dialect.

    Raises
    ------
    UsageError
        What `engine.sql.parse_select` refuses, or a way out of SQL.

    Examples
    --------
    >>> parsed("SELECT reflect('java.lang.System', 'exit', 1)")
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: ...reflect is not for queries.
    """
    tree = parse_select(text, "spark")
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() in OUTSIDE:
            raise UsageError(f"{short(text)!r}: {call.name} is not for queries.")
    return tree


def _warehouse(session: Session, location: str | None, catalog: str | None) -> Warehouse:
    found = location or session.conf.get(WAREHOUSE, None) or os.environ.get(VARIABLE)
    if not found:
        raise UsageError(
            f"Which warehouse? Give its folder or URI, or set ${VARIABLE} or {WAREHOUSE}."
        )
    return open_warehouse(found, catalog, create=False)


def _scalar_functions() -> dict[str, ScalarFunction]:
    found: dict[str, ScalarFunction] = _named("geoquarry.jobs.functions:scalar_functions")()
    return found


def _named(name: str) -> Any:
    return find_udf(name)
