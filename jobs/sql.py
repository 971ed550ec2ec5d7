"""`sql`: any SQL; an INSERT with a tile method starts a job."""

import argparse
from typing import Any

from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, answer, table_text
from geoquarry.jobs.run import finish, job_of, plan_of
from geoquarry.jobs.statement import read_statement
from geoquarry.schemas.errors import UsageError
from geoquarry.udfs import methods

WIDEST = 60
"""Characters of a cell that a person sees."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry sql`."""
    parser.add_argument("statement", help="one SQL statement")
    parser.add_argument("--explain", action="store_true", help="say what a job would do, and stop")


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry sql`."""
    trigger = read_statement(args.statement, {*methods.METHODS, *methods.ALIASES})
    if trigger is None:
        if args.explain:
            raise UsageError("--explain says what a job would do; this statement starts none.")
        # Batch by batch: pixels are named by their size, not collected.
        found = engine.sql(args.statement)
        rows = [_printable(row) for batch in found for row in batch.to_pylist()]
        shown = rows if args.json else table_text([_clipped(row) for row in rows])
        answer(shown, as_json=args.json)
        return DONE
    job = job_of(engine, trigger)
    if args.explain:
        answer(plan_of(engine, job), as_json=args.json)
        return DONE
    plan_of(engine, job)
    return finish(engine, job, as_json=args.json)


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
