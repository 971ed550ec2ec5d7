"""Seconds and memory of one tile by mosaic and number of granules, part of `mosaics.py`.

Run as a program it does one job, so that peak memory is its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from cases import SOURCE, Clock, peak_mb
from chain import SINGLE, case, show
from mosaic_world import METHOD, WAYS

from geoquarry.engine.local import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases

REFERENCE = {
    ("min", 5): "2.57 s, 1252 MB (merge_min)",
    ("median", 5): "10.1 s, 3005 MB (merge_custom)",
    ("best", 5): "15.7 s, 3005 MB (merge_region)",
}
"""Whole compute of one 1024 x 1024 x 9 tile of 5 granules by the public reference, with colours and
indices; notes on it, section 2: another day, such a machine, so without ratios."""


def speed(args: argparse.Namespace) -> None:
    """Seconds and peak memory of one tile of 1024 px, through the local engine, one worker."""
    print("## One tile of 1024 x 1024 x 9, both phases, plan to commit, one worker, best turn\n")
    rows = [["granules", "mosaic", "wall s", "CPU s", "peak MB", "the reference"]]
    for count in args.granules:
        with tempfile.TemporaryDirectory(prefix="geoquarry-mosaics-") as folder:
            case("prepare", folder=folder, tiles=1, granules=count, size=1024)
            for mosaic in args.mosaics:
                params = {"mosaic": mosaic, **WAYS["both"]}
                asked = json.dumps({"folder": folder, "params": params})
                turns = [_apart(asked) for _ in range(1 if count > 50 else args.repeat)]
                best = {name: min(turn[name] for turn in turns) for name in turns[0]}
                line = [f"{best['wall']:.2f}", f"{best['cpu']:.2f}", f"{best['peak_mb']:.0f}"]
                rows.append([str(count), mosaic, *line, REFERENCE.get((mosaic, count), "")])
    show(rows)


def _apart(asked: str) -> dict[str, float]:
    """One job in a process of its own."""
    command = [sys.executable, __file__, asked]
    done = subprocess.run(
        command, env={**os.environ, **SINGLE}, stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def one(folder: str, params: dict[str, Any]) -> dict[str, float]:
    """Both phases of one job, with one worker."""
    engine = open_engine(folder, workers=1)
    job = job_of(engine, Trigger(METHOD, SOURCE, "out", params=params, overwrite=True))
    clock = Clock()
    with clock.lap():
        report = run_phases(engine, job)
    assert report.counts["ok"] == report.tiles, report
    answer = clock.answer() | {"peak_mb": peak_mb()}
    for name in engine.tables():
        if name != SOURCE:
            engine.drop(name)
    return answer


if __name__ == "__main__":
    print(json.dumps(one(**json.loads(sys.argv[1]))))
