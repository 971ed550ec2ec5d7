"""Measure the chain on this machine and print ratios as Markdown tables; nothing is a timed test.

python benchmarks/chain.py                   # 4 tiles x 4 granules of 1024 px, under 4 minutes
python benchmarks/chain.py --tiles 16        # the engine's fixed costs weigh less
python benchmarks/chain.py --granules 5      # as many granules as the reference was timed with
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = Path(__file__).with_name("cases.py")
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "mosaic(min)": ("mosaic", {"mosaic": "min"}),
    "mosaic(median)": ("mosaic", {"mosaic": "median"}),
    "mineral_indices(min, tasseled_cap)": (
        "mineral_indices",
        {"mosaic": "min", "balance": "tasseled_cap"},
    ),
    "mineral_indices(median, tasseled_cap)": (
        "mineral_indices",
        {"mosaic": "median", "balance": "tasseled_cap"},
    ),
}
REFERENCE = {
    "whole compute of 5 granules, merge_min": "2.57 s, 1252 MB",
    "whole compute of 5 granules, merge_custom (median-like)": "10.1 s, 3005 MB",
    "whole compute of 5 granules, merge_region": "15.7 s, 3005 MB",
    "ingest of one tile of a 60 km granule": "0.37 s",
    "6S, 9 bands, one granule": "2.43 s",
}
"""One 1024 x 1024 x 9 tile, one process; measured before, on another day, so no ratio is given."""
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def case(name: str, **options: Any) -> dict[str, Any]:
    """Run one case in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(CASES), name, json.dumps(options)],
        env={**os.environ, **SINGLE},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def show(rows: list[list[str]]) -> None:
    """A Markdown table; the first row is its head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for place, row in enumerate(rows):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")
        if place == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def versions() -> str:
    """Python, platform and the packages that decide the figures."""
    names = ("numpy", "scipy", "pyarrow", "duckdb", "pyiceberg")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{dt.date.today()}, {os.cpu_count()} cores ({platform.machine()}), {load}, "
        f"Python {platform.python_version()}, {found}"
    )


def measure(folder: str, method: str, params: dict[str, str], repeat: int) -> dict[str, Any]:
    """Best of some turns per way; the ways take turns so that a busy minute hits all of them."""
    ways = {
        "bare kernel, 1 thread": ("kernel", {}),
        "plain loop, 1 thread": ("loop", {}),
        "local engine, 1 worker": ("engine", {"workers": 1}),
        "local engine, 2 workers": ("engine", {"workers": 2}),
    }
    best: dict[str, Any] = {}
    for _ in range(repeat):
        for way, (name, more) in ways.items():
            found = case(name, folder=folder, method=method, params=params, **more)
            old = best.setdefault(way, found)
            best[way] = {key: min(value, old[key]) for key, value in found.items()}
    return best


def compute(folder: str, args: argparse.Namespace) -> None:
    """Kernel, plain loop and engine, per method."""
    made = case(
        "prepare",
        folder=folder,
        tiles=args.tiles,
        granules=args.granules,
        size=args.size,
    )
    raw = made["raw_mb"]
    print(
        f"## Compute: {args.tiles} tiles x {args.granules} granules x {args.size} px x 9 bands "
        f"({raw:.0f} MB raw, {made['stored_mb']:.0f} MB stored), best of {args.repeat}\n"
    )
    head = ["method", "way", "wall s", "s / tile", "MB/s raw", "CPU s", "peak MB"]
    rows = [[*head, "wall / kernel", "CPU / kernel"]]
    start = []
    for label, (method, params) in METHODS.items():
        found = measure(folder, method, params, args.repeat)
        bare = found["bare kernel, 1 thread"]
        for way, one in found.items():
            rows.append([label if one is bare else "", way])
            rows[-1] += [f"{one['wall']:.2f}", f"{one['wall'] / args.tiles:.2f}"]
            rows[-1] += [f"{raw / one['wall']:.0f}", f"{one['cpu']:.2f}", f"{one['peak_mb']:.0f}"]
            rows[-1] += [f"{one['wall'] / bare['wall']:.2f}", f"{one['cpu'] / bare['cpu']:.2f}"]
            start += [one["start_s"]] if "start_s" in one else []
    show(rows)
    print(
        f"Engine start-up (imports, opening the warehouse), not counted above: "
        f"{min(start):.2f}-{max(start):.2f} s.\n"
    )


def ingest() -> None:
    """One granule of full size, and one correction."""
    print("## Ingest: one granule, VNIR 4980 x 4200, SWIR 2490 x 2100, webmercator-30m-1024\n")
    found, sixs = case("ingest"), case("sixs")
    rows = [["step", "wall s", "note"]]
    rows.append(["common lattice and masks", f"{found['lattice_s']:.2f}", "once per granule"])
    per_tile = found["wall"] / max(found["rows"], 1)
    note = f"{found['rows']} rows, {per_tile:.2f} s each; covers {found['covered']:.1f} tiles"
    rows.append(["warp, cut and encode", f"{found['wall']:.2f}", note])
    both = found["wall"] + found["lattice_s"]
    peak = f"{both / max(found['rows'], 1):.2f} s per row; peak {found['peak_mb']:.0f} MB"
    rows.append(["together, without 6S", f"{both:.2f}", peak])
    if "missing" in sixs:
        rows.append(["6S, 9 bands", "-", f"not measured: {sixs['missing']}"])
    else:
        note = f"per granule and tile, {sixs['runs']} runs, {sixs['cpu']:.1f} CPU s; then cached"
        rows.append(["6S, 9 bands", f"{sixs['wall']:.2f}", note])
    show(rows)


def storage(folder: str) -> None:
    """Planning and commits of a large table."""
    found = case("storage", folder=folder)
    print(f"## Storage: {found['rows']} rows in {found['files']} files\n")
    rows = [["step", "wall s"]]
    rows.append([f"commit {found['files']} new files", f"{found['commit_s']:.2f}"])
    rows.append(["first plan (nothing cached)", f"{found['plan_first_s']:.2f}"])
    rows.append(["plan: acquired and cloud_fraction", f"{found['plan_s']:.2f}"])
    rows.append([f"swap {found['files']} files for others", f"{found['swap_s']:.2f}"])
    show(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Ratios of one run on one machine.")
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--granules", type=int, default=4)
    parser.add_argument("--size", type=int, default=1024, help="pixels per side of a tile")
    parser.add_argument("--repeat", type=int, default=2, help="turns per way; the best counts")
    parser.add_argument("--only", choices=["compute", "ingest", "storage"])
    args = parser.parse_args()
    started = time.monotonic()
    print(f"# geoquarry on {versions()}\n")
    with tempfile.TemporaryDirectory(prefix="geoquarry-bench-") as folder:
        if args.only in (None, "compute"):
            compute(f"{folder}/compute", args)
        if args.only in (None, "ingest"):
            ingest()
        if args.only in (None, "storage"):
            storage(f"{folder}/storage")
    print("## Reference implementation, measured elsewhere (no ratio)\n")
    show([["what", "figure"], *([name, value] for name, value in REFERENCE.items())])
    print(f"{time.monotonic() - started:.0f} s in all.")


if __name__ == "__main__":
    main()
