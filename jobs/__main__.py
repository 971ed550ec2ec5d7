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
    adopt,
    demo,
    doctor,
    download,
    export,
    housekeeping,
    ingest,
    job,
    lut_build,
    lut_check,
    publish,
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
    "adopt": (adopt.add_arguments, adopt.main, "a published table to rows of ours"),
    "publish": (publish.add_arguments, publish.main, "a table of ours in the published layout"),
    "download": (download.add_arguments, download.main, "rows to CSV or Parquet"),
    "export": (export.add_arguments, export.main, "rows to GeoTIFF or COG"),
    "lut build": (lut_build.add_arguments, lut_build.main, "make a lookup table with 6S"),
    "lut check": (lut_check.add_arguments, lut_check.main, "compare the lookup table with 6S"),
    "jobs": (job.add_list_arguments, job.list_jobs, "what was done, and how it ended"),
    "job show": (job.add_show_arguments, job.show, "one job, and what failed in it"),
    "job retry": (job.add_id_argument, job.retry, "do again what failed"),
    "job cancel": (job.add_id_argument, job.cancel, "make a job stop"),
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


ANEW = ("demo", "simulate")
"""Commands that begin from the beginning."""
GROUPS = {"job": "one job of the ledger", "lut": "the lookup table of the atmosphere"}
"""First words of commands of two words."""
OPTIONS = {
    "local": ("workers", "executor"),
    "spark": ("workers", "master", "conf", "plan"),
    "maxcompute": (
        *("workers", "plan", "project", "endpoint", "tunnel_endpoint", "access_id", "secret_file"),
        *("odps_schema", "quota", "image", "prefix"),
    ),
}
"""Engine -> its options on the command line, and of its `open_engine`."""
PLANS = {"spark": ("direct", "sql"), "maxcompute": ("auto", "collect", "udtf", "udaf")}
"""Engine -> its ways to compute a tile."""
NOT_ON = {
    ("maxcompute", "relocate"): "its tables lie in a project, not in a folder that can be moved",
    ("maxcompute", "lut build"): "6S cannot run there: build the table with --engine local",
}
"""Commands that an engine has no use for, and why."""
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
        "--engine",
        choices=sorted({*load.REQUIRES, *load.ALIASES}),
        default="local",
        help="where it runs",
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
        choices=[name for names in PLANS.values() for name in names],
        help="spark: workers read the files themselves (direct, default), or rows go through Spark "
        "(sql); maxcompute: rows of a tile collected (collect), streamed (udtf) or merged (udaf), "
        "or chosen by their size (auto, default)",
    )
    _add_maxcompute(common)
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


def _add_maxcompute(common: argparse.ArgumentParser) -> None:
    """Options of `engine.maxcompute.Engine`; a secret is never one of them."""
    group = common.add_argument_group("maxcompute")
    for name, default in (("project", "PROJECT_NAME"), ("endpoint", "ENDPOINT")):
        group.add_argument(f"--{name}", help=f"of the service (default $ODPS_{default})")
    group.add_argument("--tunnel-endpoint", help="of the tunnel (default: the service names it)")
    group.add_argument("--access-id", metavar="ID", help="who asks (default $ODPS_ACCESS_ID, ...)")
    group.add_argument(
        "--secret-file",
        metavar="FILE",
        help="the secret of --access-id stands in its first line, a security token, if there is "
        "one, in its second (default $ODPS_ACCESS_KEY, ...)",
    )
    group.add_argument("--odps-schema", metavar="SCHEMA", help="of a project that has schemas")
    group.add_argument("--quota", help="that jobs run in")
    group.add_argument("--image", help="of the workers (default: the one that has what is needed)")
    group.add_argument("--prefix", help="before all names of ours in the project")


def engine_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about its engine.

    Raises
    ------
    UsageError
        An option or a command of another engine, or a setting without a value.
    """
    why = NOT_ON.get((args.engine, args.command))
    if why is not None:
        raise UsageError(f"Engine {args.engine} has no {args.command!r}: {why}.")
    given = {name: getattr(args, name) for names in OPTIONS.values() for name in names}
    for name, value in given.items():
        if value is not None and name not in OPTIONS[args.engine]:
            engines = ", ".join(engine for engine, names in OPTIONS.items() if name in names)
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is an option of --engine {engines}, not {args.engine}.")
    if args.plan is not None and args.plan not in PLANS[args.engine]:
        choices = ", ".join(PLANS[args.engine])
        raise UsageError(f"--plan {args.plan}: --engine {args.engine} has {choices}.")
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
        args.engine = load.ALIASES.get(args.engine, args.engine)
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
        _tell(args, error)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        go_on = "" if args.command in ANEW else " to go on"
        say(f"geoquarry {args.command}: stopped; run it again{go_on}.")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except OSError as error:  # no permission, disk full, a file where a folder should be
        _tell(args, error)
        return FAILED


def _tell(args: argparse.Namespace, error: Exception) -> None:
    """What went wrong; where as well, if that was asked for."""
    if args.verbose:
        itself = "".join(traceback.format_exception_only(error))  # said below
        say(traceback.format_exc().removesuffix(itself).rstrip())
    say(f"geoquarry {args.command}: {error}")


if __name__ == "__main__":
    raise SystemExit(main())
