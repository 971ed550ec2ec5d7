"""Masks of single granules: false alarms and recall by surface, on invented scenes (docs/masks.md).

python benchmarks/masks.py                  # every surface, tuned seeds and held-out seeds, 15 min
python benchmarks/masks.py --no-swir        # as granules since April 2008 have it
python benchmarks/masks.py --surfaces snow playa --seeds 3 --size 256
python benchmarks/masks.py --seconds        # one granule of full size
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from chain import show
from made_up import full_granule
from mask_scenes import ASTER, COVER, PIXEL_M, Scene, scene
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.jobs.cut import to_lattice
from geoquarry.schemas import flags
from geoquarry.udfs.morphology import dilate

TUNED_ON, HELD_OUT = (*range(1, 7), *range(101, 113)), tuple(range(201, 211))
"""Seeds that thresholds were chosen on, and seeds that nothing was chosen on."""
COVERS = (0.0, 0.2, 0.5)
THICK = 0.15
"""Excess of recovered green over the truth that makes a cloud thick."""


def scores(one: Scene, bits: NDArray[np.uint16]) -> dict[str, NDArray[np.int64]]:
    """Hits and pixels asked about: name -> (found, of)."""
    observed = (bits & flags.NOT_OBSERVED) == 0
    cloud, shadow = ((bits & bit) != 0 for bit in (flags.CLOUD, flags.SHADOW))
    thick = observed & (one.excess > THICK) & (one.opacity > 0)
    clear = observed & (one.opacity == 0)
    touched = dilate(one.opacity > 0, 150 / PIXEL_M)
    # A shadow whose cloud lies outside the granule cannot be found.
    down, right = (one.cloud_height_m * s / PIXEL_M for s in one.shadow_shift)
    source = ndimage.shift(observed.astype(np.uint8), (down, right), order=0) > 0
    dark = observed & source & (one.shadow > 0.5) & (one.opacity < 0.1)
    left = observed & ~cloud & ~((bits & flags.SATURATED) != 0)
    asked = {
        "false alarm": (cloud, clear & ~touched),
        "false alarm on cover": (cloud, clear & ~touched & one.on_cover),
        "recall": (cloud, thick),
        "recall of opaque": (cloud, observed & (one.opacity > 0.5)),
        "clear ground lost": (cloud, clear),
        "thin cloud left": (one.opacity > 0.05, left),
        "shadow missed": (~shadow & ~cloud, dark),
        "false shadow": (shadow, clear & (one.shadow == 0) & ~dilate(one.shadow > 0, 5)),
    }
    return {
        name: np.array([(hit & among).sum(), among.sum()]) for name, (hit, among) in asked.items()
    }


def measure(
    surfaces: Mapping[str, Any], seeds: Sequence[int], size: int, **options: Any
) -> Iterator[tuple[str, float, dict[str, NDArray[np.int64]]]]:
    """Sums over seeds, by surface and cloud cover."""
    for surface in surfaces:
        for cloud in COVERS:
            total: dict[str, NDArray[np.int64]] = {}
            for seed in seeds:
                one = scene(surface, seed, cloud, size)
                for name, counted in scores(one, one.flags(**options)).items():
                    total[name] = total.get(name, np.zeros(2, np.int64)) + counted
            yield surface, cloud, total


def percent(pair: NDArray[np.int64]) -> str:
    """Share, or nothing where nothing was asked."""
    return f"{100 * pair[0] / pair[1]:.1f}" if pair[1] > 200 else ""


def table(surfaces: Mapping[str, Any], seeds: Sequence[int], size: int, **options: Any) -> None:
    """Percentages, as Markdown."""
    lines = []
    for surface, cloud, total in measure(surfaces, seeds, size, **options):
        lines.append([surface, f"{cloud:.0%}", *(percent(pair) for pair in total.values())])
        names = list(total)
    show([["surface", "cloud", *names], *lines])


def seconds() -> None:
    """A granule of full size: lattice and masks."""
    granule = full_granule()
    start = time.process_time()
    to_lattice(granule)
    print(f"common lattice and masks: {time.process_time() - start:.2f} CPU s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--surfaces", nargs="+", choices=COVER, default=list(COVER))
    parser.add_argument("--seeds", type=int, default=0, help="only so many of each group")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", action="store_true")
    parser.add_argument("--no-swir", action="store_true", help="masks must do without the SWIR")
    parser.add_argument("--buffer", type=float, metavar="M", help="another buffer around clouds")
    args = parser.parse_args()
    options: dict[str, Any] = {}
    if args.no_swir:
        options["unreliable"] = [b.role for b in ASTER.bands if b.role.startswith("swir")]
    if args.buffer is not None:
        options["cloud_buffer_m"] = args.buffer
    if args.seconds:
        return seconds()
    for title, seeds in (("tuned on", TUNED_ON), ("held out", HELD_OUT)):
        print(f"## {title}: seeds {seeds[0]} to {seeds[-1]}, percent\n")
        table(args.surfaces, seeds[: args.seeds or None], args.size, **options)


if __name__ == "__main__":
    main()
