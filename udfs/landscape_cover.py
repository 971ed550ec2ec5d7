"""What covers an invented landscape: rocks, alteration, soil, plants, salt, snow, water."""

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows
from geoquarry.udfs.landscape_relief import Field, fractal, step

MIXTURES: dict[str, dict[str, float]] = {
    "alluvium": {"brown_soil": 0.6, "pale_silt": 0.2, "quartz": 0.12, "montmorillonite": 0.08},
    "volcanic": {"andesite": 0.78, "desert_varnish": 0.12, "brown_soil": 0.1},
    "limestone": {"calcite": 0.42, "desert_varnish": 0.33, "brown_soil": 0.25},
    "dolomite": {"dolomite": 0.45, "desert_varnish": 0.35, "brown_soil": 0.2},
    "sandstone": {"quartz": 0.42, "brown_soil": 0.33, "hematite": 0.15, "desert_varnish": 0.1},
    "granite": {"granite": 0.85, "brown_soil": 0.15},
    "basalt": {"basalt": 0.88, "desert_varnish": 0.12},
    "propylitic": {"andesite": 0.42, "chlorite": 0.26, "epidote": 0.2, "calcite": 0.12},
    "phyllic": {
        "muscovite": 0.36,
        "quartz": 0.22,
        "illite": 0.18,
        "andesite": 0.18,
        "jarosite": 0.06,
    },
    "argillic": {
        "kaolinite": 0.36,
        "montmorillonite": 0.12,
        "quartz": 0.2,
        "brown_soil": 0.24,
        "goethite": 0.08,
    },
    "advanced_argillic": {
        "alunite": 0.36,
        "quartz": 0.26,
        "dickite": 0.12,
        "pyrophyllite": 0.1,
        "desert_varnish": 0.16,
    },
    "iron_cap": {"goethite": 0.4, "hematite": 0.2, "jarosite": 0.2, "desert_varnish": 0.2},
    "soil": {"brown_soil": 0.85, "pale_silt": 0.15},
    "dry_vegetation": {"dry_vegetation": 0.75, "brown_soil": 0.25},
    "green_vegetation": {"green_vegetation": 0.9, "brown_soil": 0.1},
    "mud": {"pale_silt": 0.6, "montmorillonite": 0.3, "salt_crust": 0.1},
    "salt": {"salt_crust": 0.85, "pale_silt": 0.15},
    "gypsum": {"gypsum": 0.78, "pale_silt": 0.22},
    "water": {"water": 1.0},
    "snow": {"snow": 0.95, "desert_varnish": 0.05},
    "sand": {"quartz": 0.85, "brown_soil": 0.15},
}
"""Surface class -> shares of the members of ``spectra.csv``; shares are ours and add up to 1.
Mixing is linear by area: grains of different minerals side by side (checkerboard)."""

SURFACES: dict[str, dict[str, float]] = {
    "playa": {"mud": 0.6, "salt": 0.4},
    "salt": {"salt": 0.9, "mud": 0.1},
    "gypsum": {"gypsum": 0.95, "mud": 0.05},
    "dunes": {"sand": 0.95, "soil": 0.05},
    "snow": {"snow": 1.0},
    "forest": {"green_vegetation": 1.0},
    "lava": {"basalt": 0.9, "soil": 0.1},
}
"""Covers that a whole landscape can be made of, to see how methods fare there: shares of classes
that add up to 1."""
SURFACE_SHARE = np.float32(0.95)

TEXTURE: Mapping[str, float] = {"water": 0.03, "snow": 0.03, "salt": 0.06, "mud": 0.05}
"""Relative brightness change by grain, shade and moisture, one standard deviation."""
USUAL_TEXTURE = 0.09

STRIP = 64
"""Rows mixed at once."""


@cache
def endmembers(bands: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Reflectance of every member of ``spectra.csv`` in the given bands.

    >>> endmembers(("b02", "b3n"))["green_vegetation"]
    (0.048, 0.44)
    """
    return {row["member"]: tuple(float(row[b]) for b in bands) for row in read_rows("spectra")}


def class_spectra(bands: tuple[str, ...]) -> NDArray[np.float32]:
    """Reflectance of every class.

    Returns
    -------
    reflectance : float32, shape (class, band)
        In the order of ``MIXTURES``.
    """
    members = endmembers(bands)
    rows = [
        [sum(share * members[m][band] for m, share in mix.items()) for band in range(len(bands))]
        for mix in MIXTURES.values()
    ]
    return np.array(rows, np.float32)


def dry_change(bands: tuple[str, ...]) -> tuple[float, ...]:
    """What the reflectance of green plants changes by when they are dry, per band.

    >>> tuple(round(change, 3) for change in dry_change(("b02", "b3n")))
    (0.141, -0.126)
    """
    members = endmembers(bands)
    pairs = zip(members["dry_vegetation"], members["green_vegetation"], strict=True)
    return tuple(MIXTURES["green_vegetation"]["green_vegetation"] * (a - b) for a, b in pairs)


HOSTS = ("volcanic", "limestone", "sandstone", "dolomite", "volcanic", "sandstone")


def _bedrock(f: Mapping[str, Field]) -> dict[str, Field]:
    """Shares of the rocks; together 1."""
    phase = np.mod(f["layer"] + np.float32(0.05) * f["patch"], np.float32(len(HOSTS)))
    shares: dict[str, Field] = {}
    for place, host in enumerate(HOSTS):
        inside = step(phase, place - 0.04, place + 0.04) * (
            1 - step(phase, place + 0.96, place + 1.04)
        )
        if place == 0:  # the sequence starts again
            inside = inside + step(phase, len(HOSTS) - 0.04, len(HOSTS) + 0.04)
        shares[host] = shares.get(host, np.float32(0)) + inside
    total = sum(shares.values())
    for host in shares:
        shares[host] = shares[host] / total
    near = f["near"]
    over(shares, "granite", np.float32(0.95) * f["stock"])
    over(
        shares, "propylitic", np.float32(0.85) * step(near, 1.75, 1.05) * step(f["grain"], -2.5, 0)
    )
    over(shares, "phyllic", np.float32(0.92) * step(near, 1.05, 0.85))
    over(shares, "argillic", np.float32(0.9) * step(near, 0.70, 0.52))
    over(shares, "advanced_argillic", np.float32(0.9) * step(near, 0.40, 0.26))
    over(shares, "iron_cap", np.float32(0.85) * step(near, 1.0, 0.8) * step(f["patch"], 0.75, 1.5))
    over(shares, "basalt", f["flow"])
    return shares


def over(shares: dict[str, Field], name: str, cover: Field) -> None:
    """Lay a class over all others: their shares shrink, the sum stays 1.

    >>> shares = {"soil": np.float32(1.0)}
    >>> over(shares, "snow", np.float32(0.25))
    >>> {name: float(share) for name, share in shares.items()}
    {'soil': 0.75, 'snow': 0.25}
    """
    for other in shares:
        shares[other] = shares[other] * (1 - cover)
    shares[name] = shares.get(name, np.float32(0)) + cover


def _shares(f: Mapping[str, Field]) -> dict[str, Field]:
    """Shares of all classes, from the rock upwards."""
    shares = _bedrock(f)
    gentle = step(f["slope"], 0.45, 0.08)
    plain, wet = f["plain"], f["drainage"]
    veil = 1 - np.float32(0.65) * step(f["near"], 1.3, 0.7)  # altered rock is bare: acid soils
    over(shares, "soil", np.clip(0.08 + 0.4 * gentle + 0.08 * f["grain"], 0, 0.75) * veil)
    over(shares, "alluvium", np.maximum(0.95 * plain * (1 - f["flow"]), 0.6 * step(wet, 0.6, 0.85)))
    open_plain = plain * (1 - f["flow"])
    pavement = step(f["warp"] + 0.3 * f["other"], 0.2, 1.8)  # dark pebbles on old surfaces
    over(shares, "volcanic", np.float32(0.45) * open_plain * pavement)
    over(shares, "soil", np.float32(0.5) * open_plain * step(f["patch"], 0.0, 2.0))
    washes = step(wet + np.float32(0.03) * f["patch"], 0.33, 0.5)
    over(shares, "mud", np.float32(0.45) * open_plain * washes)
    cool = step(f["height"] + np.float32(0.9) * f["shady"] + 0.05 * f["other"], 0.3, 1.1)
    grass = 0.08 + 0.28 * step(f["other"], -0.5, 1.5) * (1 - 0.5 * plain) + 0.2 * cool
    over(shares, "dry_vegetation", np.clip(grass * veil, 0, 0.6))
    river = step(wet + np.float32(0.04) * f["patch"], 0.48, 0.8)
    trees = np.maximum(0.75 * cool * step(f["other"], -1.2, 1.0) * veil, 0.8 * river)
    reeds = f["shore"] * step(f["patch"], -0.3, 1.0)
    trees = np.maximum(trees, reeds) + 0.06 * f["grain"] * step(trees, 0.05, 0.4)
    barren = (1 - f["playa"]) * (1 - f["dunes"])
    over(shares, "green_vegetation", np.clip(trees, 0, 0.92) * barren)
    over(shares, "mud", 0.9 * f["playa"])
    over(shares, "salt", 0.9 * f["salt"] * step(f["patch"], -1.5, 0.5))
    over(shares, "gypsum", f["dunes"] * (0.45 + 0.5 * f["crest"]))
    over(shares, "snow", 0.95 * step(f["snowy"] + f["patch"] * 0.5 + f["shady"], 0.0, 0.8))
    over(shares, "water", f["lake"])
    shares["sand"] = np.zeros_like(f["lake"])
    return shares


def _lay(shares: dict[str, Field], surface: str, f: Mapping[str, Field]) -> None:
    """Lay one surface over nearly all; hills of other ground rise through it."""
    where = SURFACE_SHARE * step(f["patch"], -1.7, -1.0) * (1 - f["lake"])
    parts = SURFACES[surface]
    # Drifts: where a surface has two parts, they take turns.
    main, *others = parts
    drift = step(f["other"], -1.5, 1.5)
    over(shares, main, where)
    for other in others:
        over(shares, other, where * drift * np.float32(min(2 * parts[other], 1)))


Mixed = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]


def mix(
    shape: tuple[int, int],
    fields: Mapping[str, Field],
    bands: tuple[str, ...],
    rng: np.random.Generator,
    surface: str | None = None,
) -> Mixed:
    """Lay the covers and mix their spectra, strip by strip.

    Parameters
    ----------
    shape : (int, int)
    fields : mapping of str -> float32, shape (y, x)
        Places, slopes and noises that decide who covers what; see `landscape`.
    bands : tuple of str
        Columns of ``spectra.csv``.
    rng : numpy.random.Generator
        Of the texture.
    surface : str, optional
        Name in `SURFACES` of what nearly all is covered with.

    Returns
    -------
    reflectance : float32, shape (band, y, x)
    abundance_percent : uint8, shape (class, y, x)
    classes : uint8, shape (y, x)
    """
    spectra = class_spectra(bands)
    reflectance = np.empty((len(bands), *shape), np.float32)
    percent = np.empty((len(MIXTURES), *shape), np.uint8)
    texture = fractal(shape, rng, slope=0.9, longest_px=64)
    swing = np.array([TEXTURE.get(name, USUAL_TEXTURE) for name in MIXTURES], np.float32)
    for rows in _strips(shape[0]):
        here = {name: field[rows] for name, field in fields.items()}
        found = _shares(here)
        if surface is not None:
            _lay(found, surface, here)
        size = texture[rows].shape
        shares = np.stack([np.broadcast_to(found[name], size) for name in MIXTURES])
        percent[:, rows] = np.rint(shares * 100)
        amplitude = _weighted(shares, swing)
        shade = np.exp(amplitude * np.clip(texture[rows], -3, 3)).astype(np.float32)
        for band in range(len(bands)):
            mixed = _weighted(shares, spectra[:, band]) * shade
            reflectance[band, rows] = np.clip(mixed, 0.001, 0.97)
    return reflectance, percent, percent.argmax(axis=0).astype(np.uint8)


def _weighted(shares: NDArray[np.float32], weights: NDArray[np.float32]) -> Field:
    """Sum of shares times weights, one class after the other (no BLAS: same bits everywhere)."""
    total: Field = shares[0] * weights[0]
    for share, weight in zip(shares[1:], weights[1:], strict=True):
        total = total + share * weight
    return total


def _strips(rows: int) -> Iterator[slice]:
    for start in range(0, rows, STRIP):
        yield slice(start, min(start + STRIP, rows))
