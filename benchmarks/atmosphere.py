"""Speed of the 6S table against 6S, and pictures of its error; the figures of docs/atmosphere.md.

python benchmarks/atmosphere.py                              # speed
python benchmarks/atmosphere.py --plots DIR A.csv [B.csv]    # tables and pictures of its error,
                                                             # from `geoquarry lut check --csv`
python benchmarks/atmosphere.py --formula 6                  # 6S's formula against its integral
python benchmarks/atmosphere.py --tile                       # what following the ground costs
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from chain import SINGLE, show, versions
from made_up import ground_of, row_of, smooth
from numpy.typing import NDArray

from geoquarry.engine import sixs
from geoquarry.engine.tile import TileJob
from geoquarry.jobs.lut_check import TARGETS, spread
from geoquarry.jobs.lut_compare import CORE, GROUNDS, RATIOS, apparent_reflectance, direct, draw
from geoquarry.schemas import blob
from geoquarry.schemas.lut_grid import RANGES
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs import methods
from geoquarry.udfs.lut import lut

STATES = 10_000
TURNS = 7
DIRECT_STATES = 3
ASTER = sensor("aster_l1t")
AXES = {"sun_zenith_deg": "sun zenith [degrees]", "aod550": "aerosol optical depth at 550 nm"}
NODES = {"sun_zenith_deg": 16, "aod550": 16}
"""Bins of the 99 % line."""
COLOURS = {"core": "#1b6ca8", "rest": "#c8963e"}


def table_seconds() -> list[float]:
    """Nine bands in 10,000 states, once per turn; run with one thread."""
    table = lut(ASTER.name, "Continental")
    states = draw(table.ranges, STATES, seed=1)
    seconds = []
    for _ in range(TURNS):
        start = time.perf_counter()
        table.correction(
            **states,
            earth_sun_distance_au=1.0,
            irradiance_w_m2_um=np.array(ASTER.irradiance_w_m2_um),
        )
        seconds.append(time.perf_counter() - start)
    return seconds


def speed() -> None:
    """The table on one core, and 6S on one core, extrapolated."""
    done = subprocess.run(
        [sys.executable, __file__, "--table-seconds"],
        env={**os.environ, **SINGLE},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = json.loads(done.stdout.splitlines()[-1])
    print(f"## 9 bands x {STATES} random states, one core\n")
    rows = [["how", "s", "note"]]
    rows.append(["table", f"{min(seconds):.3f}", f"best of {TURNS}; {max(seconds):.3f} at worst"])
    if (missing := sixs.available()) is None:
        states = draw(RANGES, DIRECT_STATES, seed=1)
        start = time.perf_counter()
        direct(ASTER, states, aerosol_model="Continental", workers=1)
        each = (time.perf_counter() - start) / DIRECT_STATES
        note = f"{each:.1f} s per state, mean of {DIRECT_STATES}; extrapolated"
        rows.append(["6S", f"{each * STATES:.0f}", note])
        rows.append(["6S / table", f"{each * STATES / min(seconds):.0f}", ""])
    else:
        rows.append(["6S", "-", f"not measured: {missing}"])
    show(rows)


def tile(size: int = 1024, granules: int = 4) -> None:
    """The kernel over one tile: coefficients given, one state per tile, one per pixel."""
    ground = ground_of(3, 5, size)
    grid = f"res-30_tilesize-{size}"
    rows = [row_of(ground, grid, 3, 5, granule) for granule in range(granules)]
    bare = [{**row, **dict.fromkeys(("xa", "xb", "xc"))} for row in rows]
    relief = smooth(np.random.default_rng(5), (size, size), 64)
    relief = (relief - relief.min()) / np.ptp(relief)
    lattice = smooth(np.random.default_rng(6), (17, 17), 4) * 0.1 + 1
    lines = [["method", "given", "per tile", "per pixel, 500 m", "per pixel, 2000 m"]]
    for method, params in (("mosaic", {}), ("mineral_indices", {"balance": "none"})):
        seconds = []
        for source, high_m, mode in (
            (rows, 0, "per_pixel"),
            (bare, 0, "per_tile"),
            (bare, 500, "per_pixel"),
            (bare, 2000, "per_pixel"),
        ):
            fields = {
                "elevation": blob.encode((800 + relief * high_m).astype(np.int16)),
                "aod550_field": (0.1 * lattice).ravel().tolist(),
                "water_vapour_field": lattice.ravel().tolist(),
            }
            name, full = methods.normalise(method, {**params, "atmosphere": mode}, ASTER.name)
            job = TileJob(name, full, ASTER.name, grid, 3, 5, "")
            turns = []
            for _ in range(3):
                start = time.process_time()
                methods.compute([{**row, **fields} for row in source], job)
                turns.append(time.process_time() - start)
            seconds.append(min(turns))
        lines.append([method, *(f"{s:.2f} ({s / seconds[0]:.2f})" for s in seconds)])
    print(f"## CPU seconds per tile of {size} px, {granules} granules (ratio to given)\n")
    show(lines)


def formula(count: int) -> None:
    """What `lut check` takes for the truth, against 6S integrating over each band.

    The error in reflectance when 6S's own numbers, put into its formula, undo 6S's own integral.
    """
    print("## 6S's formula against its band integral, largest error in 1e-5 reflectance\n")
    lines = [["region", "ground", *ASTER.names]]
    states = draw(RANGES, 2 * count, seed=1)
    for region, first in (("core", 0), ("rest", count)):
        some = {name: values[first : first + count] for name, values in states.items()}
        known = direct(ASTER, some, aerosol_model="Continental")
        worst = np.zeros((len(GROUNDS), len(ASTER.names)))
        for place, optics in enumerate(known):
            if isinstance(optics, str):
                print(f"left out: {optics[:200]}")
                continue
            state = {name: float(values[place]) for name, values in some.items()}
            for row, ground in enumerate(GROUNDS):
                error = integrated(state, ground) - apparent_reflectance([optics], ground)[:, 0]
                slope = apparent_reflectance([optics], ground + 1e-4)[:, 0]
                slope = (slope - apparent_reflectance([optics], ground)[:, 0]) / 1e-4
                worst[row] = np.maximum(worst[row], np.abs(error / slope))
        for ground, row in zip(GROUNDS, worst * 1e5, strict=True):
            lines.append([region, f"{ground:g}", *(f"{value:.1f}" for value in row)])
    show(lines)


def integrated(state: dict[str, float], ground: float) -> NDArray[np.float64]:
    """Apparent reflectance over a ground as 6S integrates it, shape (band,)."""
    state = dict(state)
    view, apart = state.pop("view_zenith_deg"), state.pop("relative_azimuth_deg")
    radiance = sixs.forward(
        ASTER,
        ground,
        earth_sun_distance_au=1.0,
        sun_azimuth_deg=0.0,
        view_zenith_deg=[view] * len(ASTER.names),
        view_azimuth_deg=[apart] * len(ASTER.names),
        **state,
    )
    sun = np.cos(np.deg2rad(state["sun_zenith_deg"])) / np.pi
    return np.array(radiance) / (sun * np.array(ASTER.irradiance_w_m2_um))


def read(paths: list[Path]) -> dict[str, NDArray[Any]]:
    """Columns of the files `lut check --csv` wrote, joined."""
    rows = [row for path in paths for row in csv.DictReader(path.open(encoding="utf-8"))]
    words = ("region", "band")
    return {
        name: np.array([row[name] if name in words else float(row[name]) for row in rows])
        for name in rows[0]
    }


def tables(table: dict[str, NDArray[Any]]) -> None:
    """Percentiles of the errors by region and ground, band and ratio, as Markdown."""
    error = {ground: table[f"error_at_{ground:g}"] for ground in GROUNDS}
    names = [ASTER.names[place] for roles in RATIOS for place in map(ASTER.role, roles)]
    print("## Error in 1e-5 reflectance, all bands; then 99 % and largest of each band\n")
    lines = [["region", "ground", *(key for key in spread(error[GROUNDS[0]]))]]
    bands, ratios = [["region", *ASTER.names]], [["region", "ratio", *lines[0][2:]]]
    for region in COLOURS:
        here = table["region"] == region
        for ground in GROUNDS:
            found = spread(error[ground][here])
            lines.append([region, f"{ground:g}", *(f"{1e5 * v:.1f}" for v in found.values())])
        cells = []
        for name in ASTER.names:
            mine = here & (table["band"] == name)
            found = spread(np.stack([error[ground][mine] for ground in GROUNDS]))
            cells.append(f"{1e5 * found['p99']:.0f}, {1e5 * found['max']:.0f}")
        bands.append([region, *cells])
        for over, under in zip(names[::2], names[1::2], strict=True):
            top, low = (here & (table["band"] == name) for name in (over, under))
            off = [
                100 * ((ground + error[ground][top]) / (ground + error[ground][low]) - 1)
                for ground in GROUNDS
            ]
            found = spread(np.stack(off))
            ratios.append([region, f"{over}/{under}", *(f"{v:.3f}" for v in found.values())])
    show(lines)
    show(bands)
    print("## Error of ratios in percent, all grounds\n")
    show(ratios)


def plots(folder: Path, paths: list[Path]) -> None:
    """Error against sun zenith and AOD: every band and state, and the line that 99 % stay under."""
    from matplotlib import pyplot as plt

    table = read(paths)
    print(f"{len(table['band']) // len(ASTER.names)} states\n")
    tables(table)
    folder.mkdir(parents=True, exist_ok=True)
    for name, label in AXES.items():
        figure, panels = plt.subplots(1, len(GROUNDS), figsize=(11, 3.6), sharey=True)
        for panel, ground in zip(panels, GROUNDS, strict=True):
            error = np.abs(table[f"error_at_{ground:g}"])
            for region, colour in COLOURS.items():
                here = table["region"] == region
                x, y = table[name][here], np.maximum(error[here], 1e-7)
                panel.scatter(x, y, s=2, color=colour, alpha=0.25, linewidths=0)
                panel.plot(*upper_line(x, y, name), color=colour, label=f"{region}: 99 % under")
            for target in TARGETS:
                if target.of == "reflectance" and target.share < 1:
                    colour = COLOURS[target.region]
                    panel.axhline(target.limit, color=colour, linestyle=":", linewidth=1)
            panel.axvline(CORE[name], color="0.6", linewidth=0.8)
            panel.set_yscale("log")
            panel.set_ylim(1e-6, 1e-2)
            panel.set_xlim(*RANGES[name])
            panel.set_title(f"ground of {ground:g}", fontsize=10)
            panel.set_xlabel(label)
        panels[0].set_ylabel("error in reflectance")
        panels[0].legend(loc="upper left", fontsize=8, frameon=False)
        figure.tight_layout()
        path = folder / f"lut_error_{name.split('_')[0]}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


def upper_line(
    x: NDArray[np.float64], y: NDArray[np.float64], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """99th percentile of y in bins of x, at the bins' middles."""
    edges = np.linspace(*RANGES[name], NODES[name] + 1)
    place = np.clip(np.digitize(x, edges) - 1, 0, NODES[name] - 1)
    full = [i for i in range(NODES[name]) if (place == i).sum() >= 100]
    middle = (edges[:-1] + edges[1:]) / 2
    return middle[full], np.array([np.percentile(y[place == i], 99) for i in full])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The figures of docs/atmosphere.md.")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the errors of CSV files")
    parser.add_argument("csv", nargs="*", type=Path, help="as `geoquarry lut check --csv` writes")
    parser.add_argument("--formula", type=int, metavar="N", help="states per region")
    parser.add_argument("--tile", action="store_true", help="one tile, per tile and per pixel")
    parser.add_argument("--table-seconds", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plots is not None and not args.csv:
        parser.error("--plots needs the CSV files of `geoquarry lut check --csv FILE`")
    if args.table_seconds:
        print(json.dumps(table_seconds()))
        return
    if args.plots is not None:
        plots(args.plots, args.csv)
        return
    print(f"# The 6S table on {versions()}\n")
    if args.tile:
        tile()
    elif args.formula:
        formula(args.formula)
    else:
        speed()


if __name__ == "__main__":
    main()
