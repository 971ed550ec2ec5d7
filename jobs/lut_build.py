"""`lut build`: run 6S on a grid of states, and make a lookup table of what it said."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoquarry.engine import sixs
from geoquarry.engine.atomic import replacing
from geoquarry.engine.local import Engine
from geoquarry.engine.sixs_batch import OUTPUTS
from geoquarry.jobs.console import DONE, FAILED, answer, say
from geoquarry.jobs.lut_assemble import assemble
from geoquarry.jobs.run import watch
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job
from geoquarry.schemas.lut_grid import LutGrid, LutState, lut_grid
from geoquarry.schemas.lut_tables import METHOD, optics_schema, state_rows, states_schema
from geoquarry.schemas.sensor import sensor, sensors
from geoquarry.udfs.lut_file import FOLDER_VARIABLE, file_name, pack

UDF = "geoquarry.engine.sixs_batch:compute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry lut build`."""
    parser.add_argument("--sensor", choices=sensors(), default=sensors()[0])
    parser.add_argument(
        "--aerosol-model", choices=sixs.AEROSOL_MODELS, default="Continental", help="of 6S"
    )
    parser.add_argument(
        "--detail",
        choices=["full", "coarse"],
        default="full",
        help="coarse: for trials, every second sun of the path reflectance",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default ./lut_SENSOR_MODEL.npz")
    parser.add_argument("--explain", action="store_true", help="say what would be run, and stop")


def table_names(sensor_name: str, aerosol_model: str, detail: str) -> tuple[str, str]:
    """Tables of the states and of the answers.

    >>> table_names("aster_l1t", "Continental", "full")
    ('lut_aster_l1t_full_states', 'lut_aster_l1t_full_continental')
    """
    return (
        f"lut_{sensor_name}_{detail}_states",
        f"lut_{sensor_name}_{detail}_{aerosol_model.lower()}",
    )


def job_of(engine: Engine, grid: LutGrid, aerosol_model: str) -> Job:
    """Write the grid of states as a table, and describe the job that runs 6S over it.

    The table of states is made again only when the grid has changed; answers to states that have
    not changed stay.
    """
    program = sixs.version()  # without 6S no table is begun
    states, answers = table_names(grid.sensor, aerosol_model, grid.detail)
    rows = list(state_rows(grid))
    engine.ensure(states, states_schema(grid.sensor, grid.detail))
    held = {row["tile_x"]: row for row in engine.read(states).read_all().to_pylist()}
    if any(held.pop(row["tile_x"], None) != row for row in rows) or held:
        engine.drop(states)
        engine.create(states, states_schema(grid.sensor, grid.detail))
        engine.append(states, rows)
    return Job(
        source=states,
        target=answers,
        method=METHOD,
        params={
            "aerosol_model": aerosol_model,
            "sixs": program,
            "outputs": list(OUTPUTS),  # answers that lack one are asked for again
        },
        udf=UDF,
        columns=("band", "states"),
        schema=optics_schema(grid.sensor, grid.detail),
        resume=True,  # a build that was cut off goes on where it stopped
    )


def found_in(
    engine: Engine, answers: str, batches: int
) -> tuple[dict[tuple[str, LutState], Mapping[str, float]], int]:
    """What 6S said, from the first batches of the table of answers, and how many gaps it has.

    An earlier, larger grid may have left more behind, perhaps of another 6S.
    """
    found: dict[tuple[str, LutState], Mapping[str, float]] = {}
    gaps = 0
    wanted = ["tile_x", "status", "provenance", "band", "states", "optics"]
    for batch in engine.read(answers, wanted):
        for row in batch.to_pylist():
            if row["status"] == "ok" and row["tile_x"] < batches:
                gaps += json.loads(row["provenance"]).get("bridged", 0)
                for state, optics in zip(row["states"], row["optics"], strict=True):
                    found[row["band"], LutState(**state)] = optics
    return found, gaps


def provenance_of(grid: LutGrid, program: str) -> dict[str, Any]:
    """Where a table comes from."""
    return {
        "sixs": program,
        "geoquarry": package_version(),
        "built": datetime.now(UTC).strftime("%Y-%m-%d"),
        "grid": grid.detail,
        "runs": len(grid.runs()),
    }


def main(args: argparse.Namespace, engine: Engine) -> int:
    """Run `geoquarry lut build`."""
    name = file_name(args.sensor, args.aerosol_model)
    out = args.out or Path(name)
    if args.aerosol_model == "NoAerosols":
        raise UsageError("A table without aerosol has no optical depth to look up; choose another.")
    grid = lut_grid(sensor(args.sensor), args.detail)
    if args.explain:
        answer(_explained(engine, grid, args.aerosol_model, out), as_json=args.json)
        return DONE
    job = job_of(engine, grid, args.aerosol_model)
    plan = engine.explain(job)
    say(f"{plan.tiles} batches of 6S runs to go, {plan.skipped} done, into {job.target}.")
    report = watch(engine.run(job), what="batches")
    if report.failed:
        for batch in report.failed[:5]:
            say(f"batch {batch.tile_x}: {batch.message}")
        say(f"{len(report.failed)} batches failed: no table was written. Run it again to retry.")
        return FAILED
    found, gaps = found_in(engine, job.target, plan.tiles + plan.skipped)
    arrays, about = assemble(
        grid,
        found,
        aerosol_model=args.aerosol_model,
        provenance={**provenance_of(grid, str(job.params["sixs"])), "bridged": gaps},
    )
    if gaps:
        say(f"{gaps} nodes where 6S has no answer were bridged from their neighbours.")
    data = pack(arrays, about)
    with replacing(out) as part:
        part.write_bytes(data)
    say(f"{out}: {len(data) / 1e6:.2f} MB. Put its folder into {FOLDER_VARIABLE} to use it.")
    if args.json:
        answer({**asdict(report), "out": str(out), "nbytes": len(data)}, as_json=True)
    return DONE


def _explained(
    engine: Engine, grid: LutGrid, aerosol_model: str, out: Path
) -> dict[str, str | int]:
    """What is to be run; nothing is written."""
    states, answers = table_names(grid.sensor, aerosol_model, grid.detail)
    done = engine.describe(answers)["rows"] if engine.exists(answers) else 0
    return {
        "states": states,
        "answers": answers,
        "out": str(out),
        "runs": len(grid.runs()),
        "batches": len(list(state_rows(grid))),
        "batches_done": done,
    }
