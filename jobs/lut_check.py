"""`lut check`: the 6S table against 6S itself, at random states of light and air."""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from geoquarry.engine import sixs
from geoquarry.engine.atomic import replacing
from geoquarry.engine.local import Engine
from geoquarry.jobs.console import DONE, FAILED, SOME_FAILED, answer, say
from geoquarry.jobs.lut_compare import GROUNDS, Comparison, Numbers, compare
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.sensor import sensor, sensors
from geoquarry.udfs.lut import lut

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Target(NamedTuple):
    """At least this share of the errors of a region lies under a limit."""

    region: str
    of: str
    share: float
    limit: float


TARGETS = (
    Target("core", "reflectance", 0.99, 0.0005),
    Target("core", "reflectance", 1.0, 0.002),
    Target("core", "ratios_percent", 0.99, 0.2),
    Target("rest", "reflectance", 0.99, 0.003),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `geoquarry lut check`."""
    parser.add_argument("--n", type=int, default=500, help="random states (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random states")
    parser.add_argument("--sensor", choices=sensors(), default=sensors()[0])
    parser.add_argument("--aerosol-model", default="Continental", metavar="NAME")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every state's errors there")


def spread(errors: Numbers) -> dict[str, float]:
    """Percentiles and maximum of the absolute errors; an error that is no number is infinite.

    >>> spread(np.array([0.0, -3.0, 1.0, 2.0, 4.0]))["p50"]
    2.0
    """
    size = _sizes(errors)
    if not size.size:
        return {}
    at = np.percentile(size, PERCENTILES, method="higher")
    named = {f"p{p:g}": float(value) for p, value in zip(PERCENTILES, at, strict=True)}
    return named | {"max": float(size.max())}


def report(found: Comparison, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Errors by ground, band and ratio, in each region, and which targets are met.

    Parameters
    ----------
    found : Comparison
    names : list of str, shape (band,)
        What the bands are called.
    """
    tables: dict[str, list[dict[str, Any]]] = {"reflectance": [], "bands": [], "ratios_percent": []}
    targets: list[dict[str, Any]] = []
    for region, here in (("core", found.core), ("rest", ~found.core)):
        error, ratio = found.error[..., here], found.ratio_error_percent[..., here]
        for place, ground in enumerate(GROUNDS):
            tables["reflectance"].append({"region": region, "at": ground} | spread(error[place]))
        for place, name in enumerate(names):
            tables["bands"].append({"region": region, "band": name} | spread(error[:, place]))
        for place, name in enumerate(found.pairs):
            line = {"region": region, "ratio": name}
            tables["ratios_percent"].append(line | spread(ratio[:, place]))
        of = {"reflectance": error, "ratios_percent": ratio if found.pairs else None}
        for target in TARGETS:
            sample = of[target.of]
            if target.region == region and sample is not None:
                under = float(np.mean(_sizes(sample) < target.limit)) if sample.size else 0.0
                line = target._asdict() | {"reached": under, "met": under >= target.share}
                targets.append(line)
    return {**tables, "targets": targets}


def write_csv(path: Path, found: Comparison, names: Sequence[str]) -> None:
    """One line per state and band, with the signed error over each ground."""
    head = ["place", "region", *found.states, "band", *(f"error_at_{g:g}" for g in GROUNDS)]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for place, core in enumerate(found.core):
            state = [f"{values[place]:g}" for values in found.states.values()]
            for band, name in enumerate(names):
                errors = [f"{error:.8g}" for error in found.error[:, band, place]]
                writer.writerow([place, "core" if core else "rest", *state, name, *errors])


def main(args: argparse.Namespace, engine: Engine | None) -> int:
    """Run `geoquarry lut check`; 0 when every target is met."""
    if args.n < 2:
        raise UsageError(f"--n {args.n}: at least 2 states are needed, one for each region.")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: give 0 or more.")
    table = lut(args.sensor, args.aerosol_model)
    program = sixs.version()
    cache = sixs.Cache(engine.warehouse.cache_path("sixs.sqlite")) if engine else None
    workers = args.workers or (engine.workers if engine else 2)
    found = compare(table, n=args.n, seed=args.seed, cache=cache, workers=workers)
    names = sensor(table.sensor).names
    if args.csv is not None:
        write_csv(args.csv, found, names)
    for why in found.failed:
        say(f"lut check: one state is left out: {why}")
    tables = report(found, names)
    about = {
        "table": f"{table.sensor} {table.aerosol_model}",
        "digest": table.digest,
        "provenance": table.provenance,
        "compared with": program,
        "seed": args.seed,
        "states": {"core": int(found.core.sum()), "rest": int((~found.core).sum())},
        "without answer": len(found.failed),
    }
    answer(about | (tables if args.json else _rounded(tables)), as_json=args.json)
    if not all(line["met"] for line in tables["targets"]):
        return FAILED
    return SOME_FAILED if found.failed else DONE


def _sizes(errors: Numbers) -> Numbers:
    return np.where(np.isfinite(errors), np.abs(errors), np.inf).ravel()


def _rounded(tables: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """For people: no digits beyond what 6S prints."""
    return {
        name: [
            {key: round(value, 6) if type(value) is float else value for key, value in line.items()}
            for line in lines
        ]
        for name, lines in tables.items()
    }
