"""Small verbs: `tables`, `describe`, `history`, `drop`, `vacuum`, `check`, `relocate`."""

import argparse
import re
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from geoquarry.engine.local import Engine
from geoquarry.engine.relocate import relocate as rewrite_paths
from geoquarry.jobs.console import DONE, SOME_FAILED, answer, say, table_text
from geoquarry.jobs.two_phase import companions
from geoquarry.schemas.errors import TableError, UnknownName, UsageError
from geoquarry.schemas.tables import facts


def add_table_argument(parser: argparse.ArgumentParser) -> None:
    """The one table a verb is about."""
    parser.add_argument("table", help="name of the table")


def add_vacuum_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry vacuum`."""
    parser.add_argument("table", nargs="*", help="tables (default: all)")
    parser.add_argument(
        "--older-than",
        type=_age,
        default=timedelta(days=7),
        metavar="AGE",
        help="younger snapshots and files stay (7d, 12h, 30m; default 7d)",
    )
    parser.add_argument(
        "--keep", type=int, default=10, metavar="N", help="snapshots to keep anyway (default 10)"
    )
    parser.add_argument(
        "--jobs-older-than",
        type=_age,
        default=timedelta(days=90),
        metavar="AGE",
        help="jobs that ended longer ago are forgotten, when no table is named (default 90d)",
    )
    parser.add_argument("--explain", action="store_true", help="say what would go, and stop")


def _age(text: str) -> timedelta:
    """Read ``7d``, ``12h``, ``30m`` or ``0s``.

    >>> _age("12h")
    datetime.timedelta(seconds=43200)
    """
    found = re.fullmatch(r"(\d+)([dhms])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: write 7d, 12h, 30m or 0s")
    unit = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}[found[2]]
    try:
        return timedelta(**{unit: int(found[1])})
    except (OverflowError, ValueError):
        raise argparse.ArgumentTypeError(f"{text[:20]!r}...: longer than any table lives") from None


def tables(args: argparse.Namespace, engine: Engine) -> int:
    """List the tables of the warehouse."""
    rows = []
    for name in engine.tables():
        try:
            about = engine.describe(name)
        except UsageError as error:  # somebody else's, in a project that is shared
            say(f"{name}: {error}")
            about = {"facts": {}, "rows": None, "files": None, "nbytes": None}
        facts, size = about["facts"], about["nbytes"]
        rows.append(
            {
                "table": name,
                "kind": facts.get("kind"),
                "method": facts.get("method"),
                "grid": facts.get("grid"),
                "rows": about["rows"],
                "files": about["files"],
                "mib": None if size is None else round(size / 2**20, 1),
            }
        )
    answer(rows if args.json else table_text(rows), as_json=args.json)
    return DONE


def describe(args: argparse.Namespace, engine: Engine) -> int:
    """Columns and facts of one table."""
    about = engine.describe(args.table)
    if args.json:
        answer(about, as_json=True)
        return DONE
    columns: list[dict[str, Any]] = about.pop("columns")
    bands = about["facts"].pop("bands", None)
    answer({**about.pop("facts"), **about}, as_json=False)
    answer(table_text(columns), as_json=False)
    if bands:
        answer(table_text(bands), as_json=False)
    return DONE


def history(args: argparse.Namespace, engine: Engine) -> int:
    """Snapshots of one table, oldest first."""
    rows = engine.history(args.table)
    for row in rows:
        # An ingest makes several commits, each with an id of its own; the ledger knows this one.
        row["job_commit_id"] = row["properties"].get("ingest-id") or row["commit_id"]
    names = ("snapshot_id", "committed", "kind", "added_rows", "removed_rows", "rows")
    short = [
        {**{name: row.get(name) for name in names}, "commit_id": row["job_commit_id"]}
        for row in rows
    ]
    answer(rows if args.json else table_text(short), as_json=args.json)
    return DONE


def drop(args: argparse.Namespace, engine: Engine) -> int:
    """Delete one table, its files and the small tables that belong to it included."""
    if not engine.exists(args.table):
        raise UnknownName(
            f"No table {args.table!r}. Tables: {', '.join(engine.tables()) or 'none'}."
        )
    own = []
    if facts(engine.schema(args.table)).get("kind") == "results":
        # A name alone proves nothing: somebody's own table may be called like that.
        own = [
            name
            for kind, name in asdict(companions(args.table)).items()
            if engine.exists(name) and facts(engine.schema(name)).get("kind") == kind
        ]
    for name in (*own, args.table):
        engine.drop(name)
    say(f"{args.table} is gone{' with ' + ', '.join(own) if own else ''}.")
    if args.json:
        answer({"dropped": args.table, "with": own}, as_json=True)
    return DONE


def vacuum(args: argparse.Namespace, engine: Engine) -> int:
    """Expire old snapshots and delete files that none of the others needs."""
    if args.keep < 1:
        raise UsageError(f"--keep {args.keep}: at least 1 is needed, the present state.")
    reports = []
    for name in args.table or engine.tables():
        try:
            found = engine.vacuum(
                name, older_than=args.older_than, keep=args.keep, dry_run=args.explain
            )
        except UsageError as error:
            if args.table:
                raise
            say(f"{name}: {error}")  # somebody else's, in a project that is shared
            continue
        reports.append({"table": name, **asdict(found)})
    if not args.table:
        ledger = engine.warehouse.ledger
        try:
            gone = ledger.prune(args.jobs_older_than, dry_run=args.explain)
            say(f"{gone} jobs {'would be' if args.explain else 'are'} forgotten.")
        except TableError as error:  # tables do not need it
            say(str(error))
    answer(reports if args.json else table_text(reports), as_json=args.json)
    return DONE


def check(args: argparse.Namespace, engine: Engine) -> int:
    """Verify keys, files and blobs of one table."""
    problems = [asdict(problem) for problem in engine.check(args.table)]
    if args.json:
        answer(problems, as_json=True)
    elif problems:
        answer(table_text(problems), as_json=False)
    else:
        say(f"{args.table}: every key, file and blob is in order.")
    return SOME_FAILED if problems else DONE


def relocate(args: argparse.Namespace, engine: Engine) -> int:
    """Point the tables of a moved or copied warehouse to where their files are now."""
    moved = rewrite_paths(engine.warehouse)
    say(f"{len(moved)} tables point to {engine.warehouse.location} now.")
    if args.json:
        answer(moved, as_json=True)
    return DONE
