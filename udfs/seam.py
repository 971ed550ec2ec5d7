"""Visible seams between the granules of a finished map: a figure of its quality.

Differences are taken in whole counts of 1e-4 and added as integers, so every machine says the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTS_PER_UNIT = np.float32(1e4)
"""One count is 1e-4 of reflectance, the step of stored results."""
MOST_PAIRS = 65_536
"""More borders per direction than this are thinned evenly: a mean needs no more."""


def seam(
    reflectance: NDArray[np.float32],
    label: NDArray[np.int32],
    valid: NDArray[np.bool_],
) -> dict[str, Any]:
    """How much the map jumps where its source changes, against the texture right beside.

    A border is a pair of neighbouring pixels (side by side, or one above the other) with
    different labels. Along the line of the pair, the two pairs next to it are its texture, as far
    as each lies inside one label; borders without any are left out. A band's NaN takes the pair
    out for that band.

    Parameters
    ----------
    reflectance : float32, shape (band, y, x)
        Unitless; NaN = not observed.
    label : int32, shape (y, x)
        Equal where the same granule, or the same set of granules, made the pixel.
    valid : bool, shape (y, x)
        Pixels that count.

    Returns
    -------
    figures : dict
        JSON-safe. ``borders``: pairs of valid pixels with different labels; ``pairs``: those that
        were compared, at most 65,536 per direction; ``step`` and ``texture``: mean absolute
        difference of reflectance over all bands; ``ratio``: step / texture, 1 = no seam can be
        seen; ``bands``: the same per band. None where there is nothing to compare.

    Examples
    --------
    >>> ground = np.array([[[0.25, 0.26, 0.27, 0.32, 0.33, 0.34]]], dtype="float32")
    >>> who = np.array([[0, 0, 0, 1, 1, 1]], dtype="int32")
    >>> found = seam(ground, who, np.ones((1, 6), bool))
    >>> found["pairs"], found["step"], found["texture"], found["ratio"]
    (1, 0.05, 0.01, 5.0)
    """
    bands = len(reflectance)
    steps, step_pairs = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    textures, texture_pairs = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    borders = pairs = 0
    for down in (0, 1):
        many, found = _borders(label, valid, down)
        borders += many
        pairs += found.at.size
        for band in range(bands):
            flat = reflectance[band].reshape(-1)
            # The four pixels on the line of the pair: outer, inner | inner, outer.
            line = [_counts(flat.take(found.at + k * found.stride, mode="clip")) for k in _LINE]
            across = _difference(line[1], line[2])
            sides = [
                np.where(found.before, _difference(line[0], line[1]), -1),
                np.where(found.after, _difference(line[2], line[3]), -1),
            ]
            seen = (across >= 0) & ((sides[0] >= 0) | (sides[1] >= 0))
            steps[band] += across[seen].sum(dtype=np.int64)
            step_pairs[band] += np.count_nonzero(seen)
            for side in sides:
                use = seen & (side >= 0)
                textures[band] += side[use].sum(dtype=np.int64)
                texture_pairs[band] += np.count_nonzero(use)
    per_band = [
        _figures(*(int(total[band]) for total in (steps, step_pairs, textures, texture_pairs)))
        for band in range(bands)
    ]
    whole = _figures(*(int(t.sum()) for t in (steps, step_pairs, textures, texture_pairs)))
    return {"borders": borders, **whole, "pairs": pairs, "bands": per_band}


_LINE = (-1, 0, 1, 2)


@dataclass(frozen=True)
class _Borders:
    """Pairs to compare in one direction.

    Attributes
    ----------
    at : int64, shape (n,)
        Flat place of the pair's first pixel; the second is `stride` further.
    before, after : bool, shape (n,)
        The pair right before, and right behind, lies inside one label.
    """

    at: NDArray[np.int64]
    stride: int
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]


def _borders(label: NDArray[np.int32], valid: NDArray[np.bool_], down: int) -> tuple[int, _Borders]:
    """All borders of one direction counted, and those with texture beside them."""
    height, width = label.shape
    stride = width if down else 1
    first = (slice(None, -1), slice(None)) if down else (slice(None), slice(None, -1))
    second = (slice(1, None), slice(None)) if down else (slice(None), slice(1, None))
    border = label[first] != label[second]
    border &= valid[first]
    border &= valid[second]
    row, column = np.nonzero(border)
    at = row * width + column
    place, last = (row, height - 1) if down else (column, width - 1)
    whose, good = label.reshape(-1), valid.reshape(-1)

    def same(near: int, far: int, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        a, b = at + near * stride, np.where(inside, at + far * stride, at)
        same_label: NDArray[np.bool_] = inside & good[b] & (whose[a] == whose[b])
        return same_label

    before, after = same(0, -1, place > 0), same(1, 2, place + 1 < last)
    kept = np.flatnonzero(before | after)
    kept = kept[:: max(1, -(-kept.size // MOST_PAIRS))]
    return at.size, _Borders(at[kept], stride, before[kept], after[kept])


_NOTHING = np.int32(-(2**30))


def _counts(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Whole counts; not a number becomes a mark far below."""
    finite = np.isfinite(values)
    safe = np.clip(np.where(finite, values, np.float32(0)), np.float32(-100), np.float32(100))
    return np.where(finite, np.rint(safe * COUNTS_PER_UNIT).astype(np.int32), _NOTHING)


def _difference(a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.int32]:
    """Absolute difference, -1 where either is missing."""
    return np.where((a == _NOTHING) | (b == _NOTHING), np.int32(-1), np.abs(a - b))


def _figures(step: int, step_pairs: int, texture: int, texture_pairs: int) -> dict[str, Any]:
    mean_step = step / step_pairs / float(COUNTS_PER_UNIT) if step_pairs else None
    mean_texture = texture / texture_pairs / float(COUNTS_PER_UNIT) if texture_pairs else None
    ratio = mean_step / mean_texture if mean_step is not None and mean_texture else None
    return {
        "pairs": step_pairs,
        "step": None if mean_step is None else round(mean_step, 6),
        "texture": None if mean_texture is None else round(mean_texture, 6),
        "ratio": None if ratio is None else round(ratio, 4),
    }
