"""Pictures of docs/mosaics.md: before and after each step, from simulated scenes.

python benchmarks/mosaics.py --pictures docs/pictures
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mosaic_world import NAMES, UNCLEAR, World, search, world
from numpy.typing import NDArray

from geoquarry.engine.atomic import replacing
from geoquarry.jobs.pictures import GREY, Stretch, false_colour, stretch_of
from geoquarry.schemas import blob, flags
from geoquarry.udfs.methods import MOSAICS

Picture = NDArray[np.float32]
"""float32, shape (y, x, 3), 0 to 1."""

SIZE, SEED = 384, 207
SCENES: dict[str, Any] = {"scenes": 5, "shift": 0.45, "calibration": 0.06, "aod_error": 0.3}
"""Gains are off by twice as much as in the tables, so that it can be seen."""
COVER = 0.2
ALONE = {"harmonise": "none", "balance": "none", "masks": "granule"}
COLOURS = {
    flags.CLOUD: (1.0, 0.85, 0.1),
    flags.SHADOW: (0.2, 0.3, 1.0),
    flags.SNOW: (0.3, 1.0, 1.0),
    flags.WATER: (0.0, 0.5, 0.6),
}
PANEL_INCHES, DPI = 3.0, 85
RED, OFF_BY = 1, 0.1
OFF_NOTE = f"red reflectance: blue {OFF_BY:.0%} too dark, white right, red {OFF_BY:.0%} too bright"


def draw_all(out: Path) -> list[Path]:
    """Draw everything; the files."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="geoquarry-pictures-") as folder:
        cloudy = world(Path(folder) / "cloudy", size=SIZE, seed=SEED, cloud=COVER, **SCENES)
        clear = world(Path(folder) / "clear", size=SIZE, seed=SEED, cloud=0.0, **SCENES)
        drawn = [draw(cloudy, out) for draw in (mask, temporal, mosaics)]
        # Without clouds, what is left to be seen is what granules disagree on.
        return drawn + [draw(clear, out) for draw in (harmonise, balance)]


def mask(here: World, out: Path) -> Path:
    """One granule, what the mask says of it, and what was simulated."""
    place, name = _cloudiest(here)
    alone = here.result(mosaic="min", where=f"granule_id = '{name}'", **ALONE)
    picture = false_colour(_rgb(alone), _stretch(here))
    bits = dict(here.observed())[name]
    true = np.where(here.truth["cloud"][place], flags.CLOUD, 0)
    true |= np.where(here.truth["shadow"][place], flags.SHADOW, 0)
    return _panels(
        out / "mosaic_mask.png",
        [
            (picture, "One granule: bands 3N, 2, 1"),
            (_tinted(picture, bits), "The mask: cloud, shadow, snow, water"),
            (_tinted(picture, true), "What was simulated: cloud, shadow"),
        ],
    )


def temporal(here: World, out: Path) -> Path:
    """How many clear views there are, before and after granules settle it together."""
    panels = []
    for masks, title in (
        ("granule", "Clear views, masks of single granules"),
        ("temporal", "Clear views, after the temporal test"),
    ):
        params = {**ALONE, "masks": masks}
        target = here.run("tiles", {"mosaic": "median", **params})
        row = here.engine.read(target, tiles=[here.tile]).read_all().to_pylist()[0]
        views = blob.decode(row["count"]).astype(np.float32)
        views[(blob.decode(row["flags"]) & UNCLEAR) != 0] = 0
        panels.append((_scale(views / SCENES["scenes"]), title))
    cloud = here.truth["cloud"] | here.truth["shadow"]
    seen = np.stack([(bits & flags.NOT_OBSERVED) == 0 for bits in _in_order(here)])
    true = (seen & ~cloud).sum(axis=0).astype(np.float32)
    panels.append((_scale(true / SCENES["scenes"]), "Clear views that were simulated"))
    note = "dark: none, bright: all five granules"
    return _panels(out / "mosaic_temporal.png", panels, note)


def harmonise(here: World, out: Path) -> Path:
    """A mosaic of patches, of granules as they come and as they agree."""
    panels = []
    for way, title in (("none", "as granules come"), ("linear", "harmonised")):
        found = here.result(mosaic="best", harmonise=way, balance="none")
        if not panels:
            panels.append((false_colour(_rgb(found), _stretch(here)), f"Best, {title}"))
        ratio = (search(found["provenance"], "seam") or {}).get("ratio")
        said = f"; seams {ratio:.2f}" if ratio else ""
        panels.append((_off(here, found), f"Against the truth, {title}{said}"))
    return _panels(out / "mosaic_harmonise.png", panels, f"no clouds; {OFF_NOTE}")


def mosaics(here: World, out: Path) -> Path:
    """All mosaics of the same granules."""
    panels = []
    for name in MOSAICS:
        found = here.result(mosaic=name, harmonise="linear", balance="none")
        panels.append((false_colour(_rgb(found), _stretch(here)), name))
    return _panels(out / "mosaic_kinds.png", panels, columns=3)


def balance(here: World, out: Path) -> Path:
    """The reference, and how far a mosaic is off before and after."""
    row = here.engine.read("tiles", tiles=[here.tile]).read_all().to_pylist()[0]
    layers = np.stack([blob.decode(row[f"ref_{place}"]) for place in (2, 1, 4)])
    reference = np.where(layers == -32768, np.nan, layers * 1e-4)
    panels = [(false_colour(reference, _stretch(here)), "The reference: NIR, red, green")]
    for way, title in (("none", "not balanced"), ("tasseled_cap", "tasseled cap")):
        found = here.result(mosaic="median", harmonise="linear", balance=way)
        panels.append((_off(here, found), f"Median against the truth, {title}"))
    return _panels(out / "mosaic_balance.png", panels, f"no clouds; {OFF_NOTE}")


def _rgb(found: dict[str, Any]) -> NDArray[np.float32]:
    return np.stack([found[NAMES[band]] for band in (2, 1, 0)])


def _true(here: World) -> NDArray[np.float32]:
    return np.asarray(here.truth["reflectance"][[2, 1, 0]], np.float32)


def _stretch(here: World) -> Stretch:
    """One for all pictures, so that colours can be compared."""
    return stretch_of(_true(here))


def _cloudiest(here: World) -> tuple[int, str]:
    """The granule with most cloud in the tile: its place among the scenes, and its id."""
    scenes = here.made["scenes"]
    place = max(range(len(scenes)), key=lambda i: float(scenes[i]["cloud_fraction_of_tile"]))
    return place, scenes[place]["granule_id"]


def _in_order(here: World) -> Iterator[NDArray[np.uint16]]:
    """Flags of the granules in the order of the truth."""
    flags_of = dict(here.observed())
    for scene in here.made["scenes"]:
        yield flags_of[scene["granule_id"]]


def _tinted(picture: Picture, bits: NDArray[Any]) -> Picture:
    out = picture.copy()
    for bit, colour in COLOURS.items():
        out[(bits & bit) != 0] = 0.35 * out[(bits & bit) != 0] + 0.65 * np.array(colour)
    out[(bits & flags.NOT_OBSERVED) != 0] = GREY
    return out


def _off(here: World, found: dict[str, Any]) -> Picture:
    """Red reflectance over the truth's: blue = too dark, white = right, red = too bright."""
    from matplotlib import colormaps

    ratio = found[NAMES[RED]] / here.truth["reflectance"][RED]
    shade = colormaps["RdBu_r"](np.clip(0.5 + 0.5 * (ratio - 1) / OFF_BY, 0, 1))[..., :3]
    return np.where(np.isfinite(ratio)[..., None], shade, GREY).astype(np.float32)


def _scale(share: NDArray[np.float32]) -> Picture:
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](share)[..., :3], np.float32)


def _panels(
    path: Path, panels: Sequence[tuple[Picture, str]], note: str = "", columns: int = 3
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // columns)
    size = (columns * PANEL_INCHES, rows * (PANEL_INCHES + 0.3) + 0.2 * bool(note))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (picture, title) in zip(figure.subplots(rows, columns).flat, panels, strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    if note:
        figure.supxlabel(note, fontsize=7, color="0.35")
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
    return path
