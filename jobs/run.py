"""`run`: one tile method over a table of tiles into a table of results."""

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from geoquarry.engine.ledger import Unit
from geoquarry.engine.local import Engine
from geoquarry.engine.run import Run, RunReport
from geoquarry.engine.warehouse import check_name, no_table
from geoquarry.jobs.console import (
    DONE,
    FAILED,
    SOME_FAILED,
    add_tiles_argument,
    answer,
    progress_bar,
    say,
)
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import LAST_PHASE, first_job, run_phases, standing
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import GeoquarryError, UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.index import indices
from geoquarry.schemas.job import Job
from geoquarry.schemas.sensor import sensors
from geoquarry.schemas.tables import facts, results_schema
from geoquarry.udfs import methods
from geoquarry.udfs.tile_memory import memory_bytes

BASE_BYTES = 100 * 2**20
"""The interpreter with its libraries, before the first tile."""
PARAMETERS = (
    *("mosaic", "harmonise", "balance", "masks", "scope"),
    *("indices", "dtype", "atmosphere", "outside"),
)
"""Parameters of a method that have an argument of their own name."""
UDF = "geoquarry.udfs.methods:compute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry run`."""
    names = sorted({*methods.METHODS, *methods.ALIASES})
    parser.add_argument("method", choices=names, metavar="METHOD", help=", ".join(names))
    parser.add_argument("source", help="tiles table")
    parser.add_argument("target", help="results table (made when new)")
    parser.add_argument("--where", default="", metavar="SQL", help="condition on source columns")
    add_tiles_argument(parser, "--tiles", "only these tiles")
    parser.add_argument("--mosaic", choices=sorted(methods.MOSAICS), help="how granules combine")
    parser.add_argument(
        "--balance", choices=sorted(methods.BALANCES), help="match to the reference"
    )
    parser.add_argument(
        "--harmonise",
        choices=methods.CHOICES["harmonise"],
        help="make granules agree where they overlap (default linear)",
    )
    parser.add_argument(
        "--masks",
        choices=methods.CHOICES["masks"],
        help="temporal: three granules and more settle what is a cloud; granule: as stored",
    )
    parser.add_argument(
        "--scope",
        choices=methods.CHOICES["scope"],
        help="compare granules over all tiles of the job (default), or in each tile alone",
    )
    parser.add_argument(
        "--with-source",
        action="store_const",
        const=True,
        help="also write which granule each pixel comes from (with --dtype float32 export that "
        "band apart: export --bands source)",
    )
    parser.add_argument(
        "--per-tile",
        action="store_const",
        const="per_tile",
        dest="atmosphere",
        help="one state of the atmosphere per scene and tile, for comparison",
    )
    parser.add_argument(
        "--outside",
        choices=methods.CHOICES["outside"],
        help="states that the lookup table does not cover: clamp and flag (default), or leave out",
    )
    known = sorted({i.name for name in sensors() for i in indices(name)})
    parser.add_argument("--indices", nargs="+", choices=known, metavar="INDEX", help="only these")
    parser.add_argument("--dtype", choices=["int16", "float32"], help="how rasters are stored")
    parser.add_argument("--as-of", type=int, metavar="SNAPSHOT", help="the source as it was then")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--overwrite", action="store_true", help="replace the whole target")
    how.add_argument(
        "--incremental",
        action="store_true",
        help="compute only tiles whose rows, parameters or neighbours' gains changed (default)",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reuse tiles of a run that was cut off (default)",
    )
    parser.add_argument("--explain", action="store_true", help="say what would be done, and stop")


def job_of(
    engine: Engine,
    trigger: Trigger,
    *,
    tiles: Sequence[tuple[int, int]] | None = None,
    as_of: int | None = None,
    resume: bool = True,
    retries: str = "",
) -> Job:
    """Check a request and turn it into a job; nothing runs yet.

    Parameters
    ----------
    engine : Engine
    trigger : Trigger
        Method, source, target, condition and parameters.
    tiles : sequence of (tile_x, tile_y), optional
        Only these.
    as_of : int, optional
        Snapshot of the source to read.
    resume : bool
        Reuse finished parts of the same job that was cut off.
    retries : str
        Commit id of the job of which this one tries again what failed.

    Raises
    ------
    UsageError
        Unknown names, or a source that is not a tiles table.
    """
    # Before names are made from it that nobody has given.
    check_name(trigger.target)
    if not engine.exists(trigger.source):
        raise UsageError(no_table(trigger.source, engine.tables()))
    held = engine.schema(trigger.source)
    source = facts(held)
    if source.get("kind") != "tiles":
        raise UsageError(f"{trigger.source!r} holds {source.get('kind')}; a job reads tiles.")
    method, params = methods.normalise(trigger.method, trigger.params, source["sensor"])
    bands = methods.output_bands(method, params, source["sensor"])
    schema = results_schema(source["sensor"], source["grid"], method, bands)
    return Job(
        source=trigger.source,
        target=trigger.target,
        method=method,
        params=params,
        udf=UDF,
        columns=tuple(
            name
            for name in methods.columns(method, params, source["sensor"])
            if name in held.names or name not in methods.OPTIONAL_COLUMNS
        ),
        schema=schema,
        where=trigger.where,
        overwrite=trigger.overwrite,
        package_version=package_version(),
        revision=methods.revision(source["sensor"]),
        tiles=None if tiles is None else tuple(tiles),
        as_of=as_of,
        resume=resume,
        request={
            "command": "run",
            "trigger": asdict(trigger),
            "tiles": None if tiles is None else [list(tile) for tile in tiles],
            "as_of": as_of,
            "retries": retries,
        },
    )


def again(
    engine: Engine,
    request: Mapping[str, Any],
    failed: Sequence[Unit],
    *,
    retries: str,
    as_json: bool,
) -> int:
    """Run again what failed in an earlier job."""
    job = job_again(engine, request, failed, retries)
    plan_of(engine, job)
    return finish(engine, job, as_json=as_json)


def job_again(
    engine: Engine, request: Mapping[str, Any], failed: Sequence[Unit], retries: str
) -> Job:
    """The job that tries again what failed, from what the ledger says was asked for.

    Gains and the balance field of a job in two phases depend on all of its tiles: what failed may
    change them, so that its neighbours are due as well. Such a job is asked for as it was; tiles
    that are up to date are skipped anyway.

    Parameters
    ----------
    engine : Engine
    request : mapping
        `Job.request` of the job.
    failed : sequence of Unit
        Empty: the whole job, because it was cut off.
    retries : str
        Its commit id.
    """
    asked = Trigger(**request["trigger"])
    tiles = None if request["tiles"] is None else [(int(x), int(y)) for x, y in request["tiles"]]
    whole = job_of(engine, asked, tiles=tiles, as_of=request["as_of"], retries=retries)
    if not failed:
        return whole
    # What was overwritten then is there now; only tiles that failed are missing.
    asked = replace(asked, overwrite=False)
    if first_job(whole) is None:
        tiles = [unit.tile for unit in failed if unit.tile is not None]
    return job_of(engine, asked, tiles=tiles, as_of=request["as_of"], retries=retries)


def plan_of(engine: Engine, job: Job) -> dict[str, Any]:
    """What a job will read and need; refuses one that cannot fit into this machine.

    Raises
    ------
    UsageError
        The tiles computed at a time need more memory than there is.
    """
    found = asdict(engine.explain(standing(engine, job)))
    first = first_job(job)
    if first is not None:
        found["first_phase_tiles"] = engine.explain(first).tiles
    about = facts(job.schema)
    shape = grid(about["grid"]).shape
    tile = memory_bytes(job.method, job.params, about["sensor"], shape, found["largest_tile_rows"])
    need = BASE_BYTES + tile * min(engine.workers, max(found["tiles"], 1))
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if engine.on_this_host and need > have:
        raise UsageError(
            f"{engine.workers} tiles of {shape[0]} x {shape[1]} px at a time need about "
            f"{need >> 20} MiB, this machine has {have >> 20} MiB. Use fewer --workers or a grid "
            "of smaller tiles."
        )
    return {**found, "memory_mib": need >> 20}


def finish(engine: Engine, job: Job, *, as_json: bool) -> int:
    """Run a job in all its phases with a progress bar, report it, and give the exit code."""
    report, target = run_phases(engine, job, _told), job.target
    counts = ", ".join(f"{n} {status}" for status, n in sorted(report.counts.items()) if n)
    for tile in report.failed:
        say(f"tile {tile.tile_x},{tile.tile_y}: {tile.message}")
    for bad in report.issues:
        place = f"{bad.granule_id}, {bad.column}" if bad.column else bad.granule_id
        say(f"tile {bad.tile_x},{bad.tile_y} without {place}: {bad.error}")
    if counts:
        say(f"{target}: {counts} in {report.seconds:.1f} s.")
    else:
        which = f" {job.where}" if job.where else ""
        say(f"{target}: no row of the source matches{which}, so no tiles.")
    if as_json:
        answer(asdict(report), as_json=True)
    if report.tiles and len(report.failed) == report.tiles:
        return FAILED
    return SOME_FAILED if report.failed or report.issues else DONE


def watch(run: Run, what: str = "tiles") -> RunReport:
    """Wait for a run with a progress bar."""
    with progress_bar(what) as bar:
        try:
            while True:
                try:
                    return run.wait(timeout=0.2)
                except TimeoutError:
                    done, bar.total = run.progress
                    bar.update(done - bar.n)
        except KeyboardInterrupt:  # wherever in the loop: the job must have tidied up
            run.cancel()
            with suppress(GeoquarryError):
                run.wait()
            raise


def _told(run: Run, what: str) -> RunReport:
    """Wait for one phase; tiles that fail before the last one are named at once."""
    report = watch(run, what)
    if what != LAST_PHASE:
        for tile in report.failed:
            say(f"{what}, tile {tile.tile_x},{tile.tile_y}: {tile.message}")
    return report


def _tell_missing(engine: Engine, job: Job) -> None:
    """Tiles that are asked for by name should be there; if none is, it was a slip."""
    if job.tiles is None:
        return
    found = engine.read(job.source, ["tile_x", "tile_y"], as_of=job.as_of, tiles=job.tiles)
    there = {(row["tile_x"], row["tile_y"]) for row in found.read_all().to_pylist()}
    missing = ", ".join(f"{x},{y}" for x, y in dict.fromkeys(job.tiles) if (x, y) not in there)
    if not there:
        query = f"SELECT DISTINCT tile_x, tile_y FROM {job.source}"  # nosec B608  # shown, not run
        raise UsageError(
            f"{job.source!r} has no row in tile {missing}. It has those of "
            f'`geoquarry sql "{query}"`.'
        )
    if missing:
        say(f"{job.source} has no row in tile {missing}; the others go on.")


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry run`."""
    given = {name: getattr(args, name) for name in PARAMETERS} | {"source": args.with_source}
    params = {name: value for name, value in given.items() if value is not None}
    trigger = Trigger(args.method, args.source, args.target, args.where, params, args.overwrite)
    tiles = tuple(args.tiles) if args.tiles else None
    job = job_of(engine, trigger, tiles=tiles, as_of=args.as_of, resume=args.resume)
    _tell_missing(engine, job)
    if args.explain:
        answer(plan_of(engine, job), as_json=args.json)
        return DONE
    plan_of(engine, job)
    return finish(engine, job, as_json=args.json)
