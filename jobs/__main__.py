"""The command line: one subcommand per job."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from geoquarry.engine import load
from geoquarry.engine.pool import EXECUTORS
from geoquarry.jobs import (
    demo,
    doctor,
    download,
    export,
    housekeeping,
    ingest,
    lut_build,
    lut_check,
    run,
    simulate,
    sql,
    upload,
)
from geoquarry.jobs.console import FAILED, WRONG_USAGE, say
from geoquarry.jobs.functions import scalar_functions
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import GeoquarryError, UsageError

Add = Callable[[argparse.ArgumentParser], None]

WITH_ENGINE = {
    "ingest": (ingest.add_arguments, ingest.main, "scenes to rows"),
    "upload": (upload.add_arguments, upload.main, "CSV or Parquet rows to a table"),
    "run": (run.add_arguments, run.main, "a tile method over a table"),
    "sql": (sql.add_arguments, sql.main, "any SQL; an INSERT with a tile method starts a job"),
    "download": (download.add_arguments, download.main, "rows to CSV or Parquet"),
    "export": (export.add_arguments, export.main, "rows to GeoTIFF or COG"),
    "lut build": (lut_build.add_arguments, lut_build.main, "make a lookup table with 6S"),
    "lut check": (lut_check.add_arguments, lut_check.main, "compare the lookup table with 6S"),
    "tables": (None, housekeeping.tables, "list the tables"),
    "describe": (housekeeping.add_table_argument, housekeeping.describe, "columns of a table"),
    "history": (housekeeping.add_table_argument, housekeeping.history, "snapshots of a table"),
    "drop": (housekeeping.add_table_argument, housekeeping.drop, "delete a table"),
    "vacuum": (housekeeping.add_vacuum_arguments, housekeeping.vacuum, "delete what nobody needs"),
    "relocate": (None, housekeeping.relocate, "mend the paths of a warehouse that was moved"),
    "check": (housekeeping.add_table_argument, housekeeping.check, "verify a table"),
}
"""Command -> its arguments, its job, one line of help. These open a warehouse."""
WITHOUT_ENGINE = {
    "demo": (demo.add_arguments, demo.main, "simulate, ingest, run, export, draw"),
    "simulate": (simulate.add_arguments, simulate.main, "write simulated scenes"),
    "doctor": (doctor.add_arguments, doctor.main, "is everything here?"),
}


GROUPS = {"lut": "the lookup table of the atmosphere"}
"""First words of commands of two words."""
OPTIONS = {"local": ("workers", "executor"), "spark": ("workers", "master", "conf", "plan")}
"""Engine -> its options on the command line, and of its `open_engine`."""
MAKES_A_WAREHOUSE = ("ingest", "lut build", "lut check", "upload")
"""All other commands need one that is there."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, built from the tables above."""
    talk = argparse.ArgumentParser(add_help=False)
    talk.add_argument("--json", action="store_true", help="answer in JSON on stdout")
    talk.add_argument("-v", "--verbose", action="store_true", help="show where errors come from")
    common = argparse.ArgumentParser(add_help=False, parents=[talk])
    common.add_argument(
        "--warehouse",
        default=os.environ.get("GEOQUARRY_WAREHOUSE", "warehouse"),
        help="folder or URI of the tables (default ./warehouse or $GEOQUARRY_WAREHOUSE)",
    )
    common.add_argument(
        "--catalog",
        metavar="URI",
        help="database of a URI warehouse, as SQLAlchemy writes it (default $GEOQUARRY_CATALOG)",
    )
    common.add_argument(
        "--engine", choices=sorted(load.REQUIRES), default="local", help="where it runs"
    )
    common.add_argument("--workers", type=int, help="tiles at a time (default: all cores)")
    common.add_argument(
        "--executor", choices=sorted(EXECUTORS), help="local: what computes tiles (default thread)"
    )
    common.add_argument(
        "--master",
        metavar="URL",
        help="spark: where it runs (default $SPARK_MASTER, spark-defaults.conf, or all cores here)",
    )
    common.add_argument(
        "--conf", action="append", metavar="KEY=VALUE", help="spark: a setting; may be repeated"
    )
    common.add_argument(
        "--plan",
        choices=["direct", "sql"],
        help="spark: workers read the files themselves (default), or rows go through Spark",
    )
    parser = argparse.ArgumentParser(
        prog="geoquarry",
        description="Satellite scenes to mineral maps.",
        epilog="`geoquarry COMMAND --help` tells more. Answers go to stdout, messages to stderr. "
        "Exit code: 0 all done, 1 failed, 2 wrong usage, 3 some rows failed (they are listed).",
    )
    parser.add_argument("--version", action="version", version=package_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    groups = {}
    for name, (add, _, about) in sorted({**WITH_ENGINE, **WITHOUT_ENGINE}.items()):
        # A simulation has no tables, and the demo keeps its own.
        parents = [talk if name in ("demo", "simulate") else common]
        first, _, second = name.partition(" ")
        if second and first not in groups:
            group = commands.add_parser(first, help=GROUPS[first], description=GROUPS[first])
            groups[first] = group.add_subparsers(required=True, metavar="WHAT")
        place = groups[first] if second else commands
        sub = place.add_parser(second or first, help=about, description=about, parents=parents)
        sub.set_defaults(command=name)
        if add is not None:
            add(sub)
    return parser


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about its engine.

    Raises
    ------
    UsageError
        An option of another engine, or a setting without a value.
    """
    given = {name: getattr(args, name) for names in OPTIONS.values() for name in names}
    for name, value in given.items():
        if value is not None and name not in OPTIONS[args.engine]:
            engines = ", ".join(engine for engine, names in OPTIONS.items() if name in names)
            raise UsageError(f"--{name} is an option of --engine {engines}, not {args.engine}.")
    if args.conf is not None:
        pairs = [setting.partition("=") for setting in args.conf]
        wrong = [key for key, equals, _ in pairs if not (key and equals)]
        if wrong:
            raise UsageError(f"--conf {wrong[0]}: write it as KEY=VALUE.")
        given["conf"] = {key: value for key, _, value in pairs}
    return {name: value for name, value in given.items() if value is not None}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code says how it went (see jobs/console.py)."""
    args = build_parser().parse_args(argv)
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # its errors come as exceptions
    try:
        if args.command in WITHOUT_ENGINE:
            return WITHOUT_ENGINE[args.command][1](args)
        options = engine_options(args)  # what is wrong in any case, before anything is loaded
        engine = load.load(args.engine).open_engine(
            args.warehouse,
            catalog=args.catalog,
            create=args.command in MAKES_A_WAREHOUSE,
            functions=scalar_functions(),
            **options,
        )
        return WITH_ENGINE[args.command][1](args, engine)
    except GeoquarryError as error:
        if args.verbose:
            traceback.print_exc()
        say(f"geoquarry {args.command}: {error}")
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        say(f"geoquarry {args.command}: stopped; run it again to go on.")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as error:  # no permission, disk full, a file where a folder should be
        if args.verbose:
            traceback.print_exc()
        say(f"geoquarry {args.command}: {error}")
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
