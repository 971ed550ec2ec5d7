"""`jobs`, `job show`, `job retry`, `job cancel`: what the ledger knows, and what to do about it."""

import argparse
import json
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from geoquarry.engine.ledger import ROWS_LEFT_OUT, Unit
from geoquarry.engine.ledger_reader import PROCESS_DIED
from geoquarry.engine.local import Engine
from geoquarry.jobs import export, ingest, run, upload
from geoquarry.jobs.console import DONE, answer, say, table_text
from geoquarry.jobs.two_phase import companions
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.redact import HIDDEN

AGAIN: dict[str, Callable[..., int]] = {
    "ingest": ingest.again,
    "run": run.again,
    "export": export.again,
    "upload": upload.again,
}
"""Command of a request -> what starts it again."""
SHORT = 12
"""Signs of an id that a person sees."""
WIDEST = 80
WIDTH = 100
"""Of lines that are wrapped."""
PATIENCE_S = 10.0
"""How long `job cancel` waits to see the job stop."""


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry jobs`."""
    parser.add_argument("--limit", type=int, default=20, help="newest jobs to list (default 20)")


def add_id_argument(parser: argparse.ArgumentParser) -> None:
    """The one job a verb is about."""
    parser.add_argument("id", metavar="ID", help="job id or commit id, or how it begins")


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry job show`."""
    add_id_argument(parser)
    parser.add_argument("--units", action="store_true", help="all units, not only what failed")


def list_jobs(args: argparse.Namespace, engine: Engine) -> int:
    """List the newest jobs and how they ended."""
    if args.limit < 1:
        raise UsageError(f"--limit {args.limit}: at least 1 is needed.")
    ledger = engine.warehouse.ledger
    rows = [described(row) for row in ledger.jobs(args.limit)]
    if args.json:
        answer(rows, as_json=True)
        return DONE
    for row in rows:
        if not row["reason"] and row["units"]["failed"]:
            row["reason"] = ledger.units(row["commit_id"], ("failed",))[0]["reason"]
    answer(table_text([_line(row) for row in rows]), as_json=False)
    return DONE


def show(args: argparse.Namespace, engine: Engine) -> int:
    """One job, and those of its units that are not done, or all of them."""
    ledger = engine.warehouse.ledger
    found = ledger.find(args.id)
    states = () if args.units else ("failed", "running", "pending")
    units = [dict(unit) for unit in ledger.units(found["commit_id"], states)]
    if not args.units:
        units += _with_rows_left_out(engine, found)
    for unit in units:
        del unit["commit_id"]
    if args.json:
        answer({**described(found), "shown": units}, as_json=True)
        return DONE
    whole = described(found)
    counts, request = whole.pop("units"), whole.pop("request")
    answer({name: value for name, value in whole.items() if value not in ("", None)}, as_json=False)
    answer({"units": _counts(counts) or "none", "request": json.dumps(request)}, as_json=False)
    if units:
        answer(_with_reasons(units), as_json=False)
    return DONE


def retry(args: argparse.Namespace, engine: Engine) -> int:
    """Start a job again for what failed in it; all of it, if it was cut off."""
    ledger = engine.warehouse.ledger
    found = ledger.last_try(ledger.find(args.id)["commit_id"])
    what = f"{found['kind']} {found['commit_id'][:SHORT]}"
    if found["status"] == "running":
        raise UsageError(f"{what} is still at work. `job cancel` makes it stop.")
    request = json.loads(found["request"]) if found["request"] else None
    if request is None or request.get("command") not in AGAIN:
        raise UsageError(f"{what} was not started by a command: start it again where it came from.")
    failed = [*ledger.units(found["commit_id"], ("failed",)), *_with_rows_left_out(engine, found)]
    units = [_unit(row) for row in failed] if found["status"] == "partial" else []
    if found["status"] == "done" or (found["status"] == "partial" and not units):
        say(f"Nothing is left to do: {what} is done.")
        if args.json:
            answer({"retried": 0}, as_json=True)
        return DONE
    if HIDDEN in (found["request"] or ""):
        # Another path or condition than was asked for would be worse than none.
        raise UsageError(
            f"{what}: what it was asked for looked like a password in places, and the ledger does "
            f"not keep those (`job show` has {HIDDEN} there): give the same command again."
        )
    say(f"{what}: {f'{len(units)} failed' if units else 'all of it'} once more.")
    again = AGAIN[request["command"]]
    return again(engine, request, units, retries=found["commit_id"], as_json=args.json)


def cancel(args: argparse.Namespace, engine: Engine) -> int:
    """Ask a job to stop, and wait a little to see it do so."""
    ledger = engine.warehouse.ledger
    found = ledger.find(args.id)
    if found["status"] != "running":
        raise UsageError(_not_running(engine, found))
    ledger.cancel(found["commit_id"])
    until = time.monotonic() + PATIENCE_S
    while found["status"] == "running" and time.monotonic() < until:
        time.sleep(0.2)
        found = ledger.find(found["commit_id"])
    what = f"{found['kind']} {found['commit_id'][:SHORT]}"
    if found["status"] == "running":
        say(f"{what} was asked to stop and will, when what it is busy with has ended.")
    elif found["status"] == "cancelled":
        say(f"{what} has stopped. The same command, or `job retry`, goes on where it stood.")
    else:
        say(f"{what} had come to its end already: {found['status']}.")
    if args.json:
        answer(described(found), as_json=True)
    return DONE


def described(row: Mapping[str, Any]) -> dict[str, Any]:
    """A job for people and programs: without what tells processes apart."""
    inside = ("born", "heard", "cancel")
    request = json.loads(row["request"]) if row["request"] else None
    return {**{name: row[name] for name in row if name not in inside}, "request": request}


def _with_reasons(units: Sequence[Mapping[str, Any]]) -> str:
    """A table of units; below each the whole reason, since here people come to learn why."""
    names = ("unit", "state", "attempts", "seconds", "error_class")
    shown = [{name: _short(unit[name]) for name in names} for unit in units]
    head, *lines = table_text(shown).splitlines()
    said = [head]
    for line, unit in zip(lines, units, strict=True):
        said += [
            line,
            *textwrap.wrap(unit["reason"], WIDTH, initial_indent="    ", subsequent_indent="    "),
        ]
    return "\n".join(said)


def _not_running(engine: Engine, found: Mapping[str, Any]) -> str:
    """Why a job cannot be stopped, and what may have been meant."""
    said = f"Job {found['commit_id']} does not run: it is {found['status']}."
    # While a run is in its first phase, the newest job of its id is an older run.
    own = {found["target"], *asdict(companions(found["target"])).values()}
    for row in engine.warehouse.ledger.jobs():
        if row["status"] == "running" and row["target"] in own:
            said += f" {row['kind']} {row['commit_id'][:SHORT]} into {row['target']!r} does:"
            said += f" `geoquarry job cancel {row['commit_id'][:SHORT]}`."
    if engine.name == "maxcompute" and found["error_class"] == PROCESS_DIED:
        said += " What it left at work in the project `geoquarry vacuum` stops."
    return said


def _with_rows_left_out(engine: Engine, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    units = engine.warehouse.ledger.units(found["commit_id"], ("done",))
    return [unit for unit in units if unit["error_class"] == ROWS_LEFT_OUT]


def _unit(row: Mapping[str, Any]) -> Unit:
    tile = None if row["tile_x"] is None else (row["tile_x"], row["tile_y"])
    return Unit(row["item"], tile)


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "job": row["job_id"][:SHORT],
        "commit": row["commit_id"][:SHORT],
        "started": _minute(row["started"]),
        "kind": row["kind"],
        "method": row["method"],
        "target": _short(row["target"]),
        "status": row["status"],
        "seconds": row["seconds"],
        "units": _counts(row["units"]),
        "reason": _short(row["reason"]),
    }


def _minute(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M}"


def _counts(units: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in units.items() if number)


def _short(value: Any) -> Any:
    """Long texts fit into a terminal; `--json` has them whole."""
    text = " ".join(value.split()) if isinstance(value, str) else value
    return f"{text[:WIDEST]}..." if isinstance(text, str) and len(text) > WIDEST else text
