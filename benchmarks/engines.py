"""Measure the same job on each engine, from plan to commit, and print one Markdown table.

python benchmarks/engines.py                        # 16 tiles x 4 granules of 1024 px
python benchmarks/engines.py --tiles 4 --size 256   # a look in two minutes
python benchmarks/engines.py --method 'mosaic(min)' --workers 4

CPU and memory are those of the whole process tree (Java and Python workers included), sampled from
/proc from outside. "Start" is what a process pays before its first tile (imports, the warehouse;
for Spark also the session and a trivial job), "first" its first run, "again" the best run after it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chain import METHODS, SINGLE, case, show, versions
from process_tree import Peak, cpu_s

CASE = Path(__file__).with_name("engine_cases.py")
WAYS: dict[str, tuple[str, int | None]] = {
    "bare kernel, 1 thread": ("kernel", None),
    "plain loop, 1 thread": ("loop", None),
    "local, 1 worker": ("local", 1),
    "local": ("local", 0),
    "Spark direct": ("spark direct", 0),
    "Spark SQL": ("spark sql", 0),
}
"""Name -> case and workers; 0 means as many as asked for, None that it has none."""
Lap = dict[str, float]


def measure(kind: str, options: dict[str, Any], log: str) -> tuple[Lap, list[Lap]]:
    """Start-up of one way, and its runs, watched from outside."""
    with open(log, "w") as errors:
        child = subprocess.Popen(
            [sys.executable, str(CASE), kind, json.dumps(options)],
            env={**os.environ, **SINGLE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    start, laps = {}, []
    cpu, peak = 0.0, Peak(child.pid)
    for line in child.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # Spark may greet on stdout
        match said["say"]:
            case "ready":
                start = {"wall": said["start_s"], "cpu": cpu_s(child.pid)}
            case "alone":  # one process, which knows its own time and memory best
                laps.append({"wall": said["wall"], "cpu": said["cpu"], "mb": said["peak_mb"]})
                continue
            case "begin":
                cpu, peak = cpu_s(child.pid), Peak(child.pid)
                peak.start()
            case "end":
                cpu = cpu_s(child.pid) - cpu
                laps.append({"wall": said["wall"], "cpu": cpu, "mb": peak.stop()})
        if said["say"] in ("begin", "end"):
            child.stdin.write("go\n")
            child.stdin.flush()
    if child.wait() != 0 or not laps:
        last = Path(log).read_text(errors="replace").splitlines()[-20:]
        raise SystemExit(f"{kind} failed:\n" + "\n".join(last))
    return start, laps


def best(laps: list[Lap]) -> Lap:
    """Least wall and least CPU time of the runs after the first, memory of the greediest."""
    again = laps[1:] or laps
    least = {name: min(lap[name] for lap in again) for name in ("wall", "cpu")}
    return {**least, "mb": max(lap["mb"] for lap in laps)}


def compare(folder: str, label: str, args: argparse.Namespace, raw_mb: float) -> None:
    """All ways through one method."""
    method, params = METHODS[label]
    found: dict[str, tuple[Lap, list[Lap]]] = {}
    for name, (kind, workers) in WAYS.items():
        if args.without and kind in args.without:
            continue
        options = {
            "folder": folder,
            "method": method,
            "params": params,
            "workers": workers or args.workers,
            "driver_memory": args.driver_memory,
            "repeat": args.repeat,
        }
        shown = f"{name}, {args.workers} workers" if workers == 0 else name
        found[shown] = measure(kind, options, f"{folder}/{kind.replace(' ', '-')}.log")
    local = best(found[f"local, {args.workers} workers"][1])
    rows = [["way", "wall s: start", "first", "again", "MB/s raw", "CPU s: start", "first"]]
    rows[0] += ["again", "peak MB", "wall / local", "CPU / local"]
    for name, (start, laps) in found.items():
        one = best(laps)
        rows.append([name, f"{start['wall']:.1f}" if start else "-", f"{laps[0]['wall']:.2f}"])
        rows[-1] += [f"{one['wall']:.2f}", f"{raw_mb / one['wall']:.0f}"]
        rows[-1] += [f"{start['cpu']:.1f}" if start else "-", f"{laps[0]['cpu']:.1f}"]
        rows[-1] += [f"{one['cpu']:.1f}", f"{one['mb']:.0f}"]
        rows[-1] += [f"{one['wall'] / local['wall']:.2f}", f"{one['cpu'] / local['cpu']:.2f}"]
    print(f"## {label}\n")
    show(rows)
    spark = {kind: f"Spark {kind}, {args.workers} workers" for kind in ("direct", "SQL")}
    if all(name in found for name in spark.values()):
        direct, sql = (best(found[name][1]) for name in spark.values())
        whole = [
            start["cpu"] + laps[0]["cpu"] for start, laps in map(found.__getitem__, spark.values())
        ]
        print(
            f"Spark direct takes {direct['wall'] / local['wall']:.2f} x the wall time of local "
            f"(goal 1.6). Spark SQL takes {sql['cpu'] / direct['cpu']:.1f} x the CPU of Spark "
            f"direct (goal 3), {whole[1] / whole[0]:.1f} x with start and first run.\n"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Engines side by side, one run on one machine.")
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--granules", type=int, default=4)
    parser.add_argument("--size", type=int, default=1024, help="pixels per side of a tile")
    parser.add_argument("--repeat", type=int, default=3, help="runs per way, in one process")
    parser.add_argument("--workers", type=int, default=2, help="threads, or cores of local Spark")
    parser.add_argument("--driver-memory", default="2g", help="heap of the JVM of local Spark")
    parser.add_argument(
        "--method", nargs="+", choices=METHODS, default=["mineral_indices(median, tasseled_cap)"]
    )
    kinds = [kind for kind, _ in WAYS.values()]
    parser.add_argument("--without", nargs="+", choices=kinds, help="ways to leave out")
    args = parser.parse_args()
    began = time.monotonic()
    print(f"# Engines: geoquarry on {versions()}, pyspark {version('pyspark')}\n")
    with tempfile.TemporaryDirectory(prefix="geoquarry-bench-") as folder:
        made = case(
            "prepare", folder=folder, tiles=args.tiles, granules=args.granules, size=args.size
        )
        print(
            f"{args.tiles} tiles x {args.granules} granules x {args.size} px x 9 bands: "
            f"{made['raw_mb']:.0f} MB raw, {made['stored_mb']:.0f} MB stored; {args.repeat} runs "
            "per way.\n"
        )
        for label in args.method:
            compare(folder, label, args, made["raw_mb"])
    print(f"{time.monotonic() - began:.0f} s in all.")


if __name__ == "__main__":
    main()
