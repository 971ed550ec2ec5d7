"""`sql`: any SQL; an INSERT with a tile method starts a job."""

import argparse
from dataclasses import asdict
from typing import Any

from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, answer, table_text
from geoquarry.jobs.run import finish, job_of
from geoquarry.jobs.statement import read_statement
from geoquarry.udfs import methods


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry sql`."""
    parser.add_argument("statement", help="one SQL statement")
    parser.add_argument("--explain", action="store_true", help="say what a job would do, and stop")


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry sql`."""
    trigger = read_statement(args.statement, {*methods.METHODS, *methods.ALIASES})
    if trigger is None:
        rows = [_printable(row) for row in engine.sql(args.statement).read_all().to_pylist()]
        answer(rows if args.json else table_text(rows), as_json=args.json)
        return DONE
    job = job_of(engine, trigger)
    if args.explain:
        answer(asdict(engine.explain(job)), as_json=args.json)
        return DONE
    return finish(engine.run(job), trigger.target, as_json=args.json)


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    """Blobs are named by their size: a terminal is no place for pixels."""
    return {
        name: f"<{len(value)} bytes>" if isinstance(value, bytes) else value
        for name, value in row.items()
    }
