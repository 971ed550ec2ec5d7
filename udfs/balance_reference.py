"""The reference of a tile on the lattice of the overviews: exact means, and nodata in none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import read_rows
from geoquarry.udfs.balance_colour import reference_bands

NODATA = -32768
LOW, HIGH = -100, 16000
"""Counts outside are no reflectance: valid_range of surface reflectance in MYD09A1 files (v6)."""
COUNTS = 1e4
"""Counts per unit reflectance, in overviews and in the reference."""


@dataclass(frozen=True)
class Reference:
    """The reference of one tile on the lattice of the overviews.

    Attributes
    ----------
    counts : int32, shape (group, y, x)
        Reflectance x 1e4 that each group of bands answers to.
    valid : bool, shape (y, x)
        True = all groups are known here.
    skipped : str
        Why there is nothing to compare with; then nothing is valid.
    """

    counts: NDArray[np.int32]
    valid: NDArray[np.bool_]
    skipped: str = ""


def prepare_reference(
    reference: NDArray[np.int16] | None, shape: tuple[int, int], sensor_name: str
) -> Reference:
    """Bring the reference of a tile to the lattice of the overviews, once per tile.

    Exact means over each pixel where the reference is finer, bilinear where it is coarser. What
    is nodata or out of range in any band that the sensor needs enters nothing; a pixel is valid
    where at least half of what it rests on is.

    Parameters
    ----------
    reference : int16, shape (reference band, ry, rx), or None
        Surface reflectance x 1e4 over the tile, any size; -32768 = nodata.
    shape : (int, int)
        Of the overviews.
    sensor_name : str
        Whose table of matched bands to use.
    """
    table = reference_bands(sensor_name)
    if table is None or reference is None:
        groups = 0 if table is None else len(table.groups)
        why = f"no coefficients for {sensor_name}" if table is None else "no reference data"
        return Reference(np.zeros((groups, *shape), np.int32), np.zeros(shape, bool), why)
    counts = reference[list(table.reference)].astype(np.int64)
    valid = _known(counts)
    weight = np.concatenate([counts * valid, valid[None].astype(np.int64)])
    for axis in (1, 2):
        weight = _resampled(weight, axis, shape[axis - 1])
    total, known = weight[:-1], weight[-1]
    whole = _resampled(_resampled(np.ones((1, *valid.shape), np.int64), 1, shape[0]), 2, shape[1])
    enough = 2 * known >= whole[0]
    share = np.maximum(known, 1)
    means = (2 * total + share) // (2 * share)  # rounded
    return Reference((means * enough).astype(np.int32), enough)


def _resampled(values: NDArray[np.int64], axis: int, size: int) -> NDArray[np.int64]:
    """Weighted sums along one axis, for ``size`` pixels; weights are whole numbers."""
    had = values.shape[axis]
    if had == size:
        return values
    lines = np.moveaxis(values, axis, 0)
    if had > size:
        # Differences of the running sum, at edges that may lie within a pixel: units of 1 / size.
        zero = np.zeros_like(lines[:1])
        running = np.concatenate([zero, np.cumsum(lines, axis=0)])
        place, part = np.divmod(np.arange(size + 1, dtype=np.int64) * had, size)
        within = np.concatenate([lines, zero])[place]
        sums = np.diff(running[place] * size + within * part[:, None, None], axis=0)
    else:
        # Centre of the new pixel among the centres of the old ones, in units of 1 / (2 size).
        centre = (2 * np.arange(size, dtype=np.int64) + 1) * had - size
        place, part = np.divmod(centre, 2 * size)
        first, second = np.clip(place, 0, had - 1), np.clip(place + 1, 0, had - 1)
        part = part[:, None, None]
        sums = lines[first] * (2 * size - part) + lines[second] * part
    return np.moveaxis(sums, 0, axis)


def _known(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels known in all bands: (band, y, x) -> (y, x)."""
    known = (counts != NODATA) & (counts >= LOW) & (counts <= HIGH)
    return np.asarray(known.all(axis=0))


def components(reference: NDArray[np.int16]) -> dict[str, float]:
    """Tasseled-cap components of the reference itself: reported, and never used to correct.

    Another transform than the sensor's own, of other bands: grey of 0.3 has a greenness of -0.12
    here and of +0.19 with the coefficients for ASTER, so one cannot stand for the other.

    Parameters
    ----------
    reference : int16, shape (reference band, y, x)
        Surface reflectance x 1e4; -32768 = nodata.

    Returns
    -------
    components : dict
        Mean brightness, greenness and wetness over pixels known in all bands; empty without any.

    Examples
    --------
    >>> components(np.full((7, 2, 2), 3000, np.int16))
    {'brightness': 0.7511, 'greenness': -0.1168, 'wetness': -0.1635}
    """
    rows = read_rows("reference_tasseled_cap")
    counts = reference[[int(row["reference"]) - 1 for row in rows]].astype(np.int64)
    known = _known(counts)
    if not known.any():
        return {}
    means = (counts * known).sum(axis=(1, 2)) / (known.sum() * COUNTS)
    return {
        name: round(
            sum(float(row[name]) * m for row, m in zip(rows, means.tolist(), strict=True)), 4
        )
        for name in ("brightness", "greenness", "wetness")
    }
