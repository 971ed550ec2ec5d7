"""Mosaics against the truth, their seams, seconds and memory (docs/mosaics.md).

python benchmarks/mosaics.py                     # all parts, about 15 minutes
python benchmarks/mosaics.py --only truth --seeds 201 --size 256
python benchmarks/mosaics.py --only speed --granules 5 50
python benchmarks/mosaics.py --only edges        # do neighbouring tiles agree?
python benchmarks/mosaics.py --pictures docs/pictures

Scenes are simulated: gains off by 3 % (one standard deviation; each band 1 % by itself), aerosol
files off by 30 %, footprints that end inside the tile, every scene under as much cloud. Their air
is that of the lookup table, which also corrects them: docs/atmosphere.md says how good it is.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from chain import show, versions
from mosaic_speed import speed
from mosaic_world import (
    NAMES,
    SENSOR,
    UNCLEAR,
    WAYS,
    World,
    clear_sets,
    could_be_clear,
    search,
    stack,
    world,
)
from numpy.typing import NDArray

from geoquarry.jobs.maps import physical
from geoquarry.udfs.methods import MOSAICS
from geoquarry.udfs.ratio_watch import watched_ratios
from geoquarry.udfs.seam import seam

SEEDS = (201, 202, 203)
"""Nothing was tuned on them."""
COVERS = (0.0, 0.2, 0.6)
ERRORS: dict[str, Any] = {"calibration": 0.03, "aod_error": 0.3, "shift": 0.4}
WRONG = 0.05
"""Mean absolute error of the bands beyond which a pixel shows something else: a missed shadow."""
MASKS = ("granule", "temporal")


def figures(
    found: dict[str, Any], true: NDArray[np.float32], label: NDArray[np.int32]
) -> dict[str, float]:
    """What one mosaic is worth."""
    got = stack(found)
    seen = np.isfinite(got).all(axis=0)
    clear = seen & ((found["flags"] & UNCLEAR) == 0)
    error = np.where(seen, got - true, np.nan).astype(float)

    def rmse(use: NDArray[np.bool_]) -> float:
        return float(np.mean([np.sqrt(np.mean(band[use] ** 2)) for band in error]))

    answer = {
        "seen": float(seen.mean()),
        "clear": float(clear.mean()),
        "rmse": rmse(seen),
        "rmse_clear": rmse(clear) if clear.any() else np.nan,
        "typical": float(np.median(np.abs(error[:, clear]))) if clear.any() else np.nan,
        "wrong": float((np.abs(error[:, clear]).mean(axis=0) > WRONG).mean()),
        "bias": float(np.mean(error[:, seen])),
        "seam": seam(got, label, clear)["ratio"] or np.nan,
        "own_seam": (search(found["provenance"], "seam") or {}).get("ratio") or np.nan,
    }
    for name, top, bottom in watched_ratios(SENSOR):
        use = clear & (got[bottom] > 0.005) & (true[bottom] > 0.005)
        ratio = (got[top][use] / got[bottom][use]) / (true[top][use] / true[bottom][use])
        answer[name] = float(np.median(np.abs(ratio - 1))) if use.any() else np.nan
    return answer


def mean(values: list[float]) -> float:
    """Mean of what is a number; NaN if nothing is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else np.nan


def truth(args: argparse.Namespace) -> None:
    """RMSE, seams and ratios per mosaic, cover and way."""
    sums: dict[tuple[float, str, str], list[dict[str, float]]] = {}
    plain: dict[str, dict[float, list[float]]] = {"seam": {}, "clear": {}}
    masked: dict[tuple[float, str], list[dict[str, float]]] = {}
    for cover in args.covers:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory(prefix="geoquarry-mosaics-") as folder:
                here = world(
                    Path(folder),
                    size=args.size,
                    scenes=args.scenes,
                    seed=seed,
                    cloud=cover,
                    **ERRORS,
                )
                true, label = here.truth["reflectance"], clear_sets(here)
                ratio = seam(true, label, np.ones(label.shape, bool))["ratio"] or np.nan
                plain["seam"].setdefault(cover, []).append(ratio)
                plain["clear"].setdefault(cover, []).append(could_be_clear(here))
                for masks in MASKS:
                    found = here.result(masks=masks, **WAYS["harmonised"])
                    masked.setdefault((cover, masks), []).append(figures(found, true, label))
                for mosaic in args.mosaics:
                    for way, params in WAYS.items():
                        found = here.result(mosaic=mosaic, **params)
                        sums.setdefault((cover, mosaic, way), []).append(
                            figures(found, true, label)
                        )
    means = {
        key: {name: mean([found[name] for found in all_]) for name in all_[0]}
        for key, all_ in sums.items()
    }
    seeds = ", ".join(map(str, args.seeds))
    print(f"## Against the truth: {args.scenes} scenes of {args.size} px, means of seeds {seeds}\n")
    for title, name, scale, form in (
        ("RMSE of all pixels, 1e-4, mean of the bands", "rmse", 1e4, "{:.0f}"),
        ("RMSE of pixels called clear, 1e-4", "rmse_clear", 1e4, "{:.0f}"),
        ("Median absolute error of pixels called clear, 1e-4", "typical", 1e4, "{:.0f}"),
        (f"Pixels called clear and off by more than {WRONG:g}, %", "wrong", 100, "{:.2f}"),
        ("Bias of all pixels, 1e-4", "bias", 1e4, "{:+.0f}"),
        ("Pixels called clear, %", "clear", 100, "{:.1f}"),
        ("Step / texture where the set of clear granules changes", "seam", 1, "{:.2f}"),
        ("Step / texture where the mosaic's own source changes", "own_seam", 1, "{:.2f}"),
        ("Median error of the ratio 5/6, %", "5/6", 100, "{:.2f}"),
        ("Median error of the ratio 9/8, %", "9/8", 100, "{:.2f}"),
        ("Median error of the ratio 4/6, %", "4/6", 100, "{:.2f}"),
    ):
        print(f"### {title}\n")
        rows = [["cloud", "mosaic", *WAYS]]
        for cover in args.covers:
            for mosaic in args.mosaics:
                first = f"{100 * cover:.0f} %" if mosaic == args.mosaics[0] else ""
                values = [form.format(scale * means[cover, mosaic, way][name]) for way in WAYS]
                rows.append([first, mosaic, *values])
            if name in plain:
                best = form.format(scale * mean(plain[name][cover]))
                rows.append(["", "(truth)", best, "", "", ""])
        show(rows)
    print("### What the temporal test changes: medians, harmonised\n")
    rows = [["cloud", "masks", "called clear, %", "clear, but wrong, %", "RMSE of clear, 1e-4"]]
    for (cover, masks), all_ in masked.items():
        clear, wrong, rmse = (mean([f[n] for f in all_]) for n in ("clear", "wrong", "rmse_clear"))
        line = [f"{100 * clear:.1f}", f"{100 * wrong:.2f}", f"{1e4 * rmse:.0f}"]
        rows.append([f"{100 * cover:.0f} %", masks, *line])
    show(rows)


def edges(args: argparse.Namespace) -> None:
    """Four tiles of one job, put together: is their common edge to be seen?"""
    print("## Neighbouring tiles: step / texture across the inner edges of 2 x 2 tiles\n")
    rows = [["seed", "mosaic", "granules change", "edges, as they are", "edges, both", "truth"]]
    for seed in args.seeds:
        with tempfile.TemporaryDirectory(prefix="geoquarry-mosaics-") as folder:
            here = world(
                Path(folder), size=args.size, scenes=args.scenes, seed=seed, cloud=0.2, **ERRORS
            )
            half = args.size // 2
            quarter = np.kron([[0, 1], [2, 3]], np.ones((half, half))).astype(np.int32)
            sets, every = clear_sets(here), np.ones(quarter.shape, bool)
            for mosaic in args.mosaics:
                line = []
                for way in ("as they are", "both"):
                    image = _four(here, half, mosaic=mosaic, **WAYS[way])
                    seen = np.isfinite(image).all(axis=0)
                    line.append(f"{seam(image, quarter, seen)['ratio'] or np.nan:.3f}")
                ratio = seam(here.truth["reflectance"], quarter, every)["ratio"]
                change = seam(image, sets, seen)["ratio"] or np.nan
                rows.append([str(seed), mosaic, f"{change:.2f}", *line, f"{ratio:.3f}"])
    show(rows)


def _four(here: World, half: int, **params: Any) -> NDArray[np.float32]:
    target = here.run("quarters", params)
    image = np.full((len(NAMES), 2 * half, 2 * half), np.nan, np.float32)
    for place in range(4):
        down, right = divmod(place, 2)
        tile = 2 * here.tile[0] + right, 2 * here.tile[1] + down
        found = physical(here.engine, target, tile)
        window = np.s_[:, half * down : half * (down + 1), half * right : half * (right + 1)]
        image[window] = stack(found)
    return image


PARTS = {"truth": truth, "edges": edges, "speed": speed}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The figures of docs/mosaics.md.")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--mosaics", nargs="+", default=sorted(MOSAICS), choices=sorted(MOSAICS))
    parser.add_argument("--covers", nargs="+", type=float, default=COVERS, metavar="SHARE")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--size", type=int, default=512, help="pixels per side of the tile")
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--granules", nargs="+", type=int, default=[5, 50, 200], help="for speed")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw, and measure nothing")
    args = parser.parse_args()
    if args.pictures is not None:
        from mosaic_pictures import draw_all

        for path in draw_all(args.pictures):
            print(path)
        return
    print(f"# geoquarry on {versions()}\n")
    for name, part in PARTS.items():
        if args.only in (None, name):
            part(args)


if __name__ == "__main__":
    main()
