"""`sql`: any SQL; an INSERT with a tile method starts a job."""

import argparse
import re
from typing import Any

import pyarrow as pa

from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, answer, table_text
from geoquarry.jobs.run import finish, job_of, plan_of
from geoquarry.jobs.statement import SHAPE, read_statement
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job
from geoquarry.udfs import methods

WIDEST = 60
"""Characters of a cell that a person sees."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry sql`."""
    parser.add_argument("statement", help="one SQL statement")
    parser.add_argument("--explain", action="store_true", help="say what a job would do, and stop")


def statement_job(engine: Engine, text: str) -> Job | None:
    """The job that a statement starts; None: whatever else it may be, the engine answers.

    Raises
    ------
    UsageError
        An INSERT that is no job.
    """
    trigger = read_statement(text, {*methods.METHODS, *methods.ALIASES})
    return None if trigger is None else job_of(engine, trigger)


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry sql`."""
    _as_written(engine, args.plan)
    job = statement_job(engine, args.statement)
    if job is None:
        if args.explain:
            raise UsageError("--explain says what a job would do; this statement starts none.")
        # Batch by batch: pixels are named by their size, not collected.
        found = _answered(engine, args.statement)
        rows = [_printable(row) for batch in found for row in batch.to_pylist()]
        shown = rows if args.json else table_text([_clipped(row) for row in rows])
        answer(shown, as_json=args.json)
        return DONE
    if args.explain:
        answer(plan_of(engine, job), as_json=args.json)
        return DONE
    plan_of(engine, job)
    return finish(engine, job, as_json=args.json)


def _answered(engine: Engine, text: str) -> pa.RecordBatchReader:
    """What the engine answers; who calls a method in a plain SELECT hears how maps are made."""
    try:
        return engine.sql(text)
    except UsageError as error:
        names = "|".join(sorted({*methods.METHODS, *methods.ALIASES}))
        called = re.search(rf"\b({names})\s*\(", text, re.IGNORECASE)
        if called is None:
            raise
        raise UsageError(
            f"{error} ({called[1]} makes maps, which go into a table. Form: {SHAPE}.)"
        ) from error


def _as_written(engine: Any, plan: str | None) -> None:
    """Who speaks SQL to Spark gets the plan that calls the method in SQL, unless told otherwise."""
    if engine.name == "spark" and plan is None:
        engine.plan = "sql"


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    """Blobs are named by their size: a terminal is no place for pixels."""
    return {
        name: f"<{len(value)} bytes>" if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def _clipped(row: dict[str, Any]) -> dict[str, Any]:
    """Long lists and JSON fit into a terminal; `--json` has them whole."""
    return {
        name: f"{value!s:.{WIDEST}}..." if len(str(value)) > WIDEST else value
        for name, value in row.items()
    }
