"""Spectral indices from reflectance: run a parsed formula, mask it, store it as int16."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.flags import bit
from geoquarry.schemas.formula import Program
from geoquarry.schemas.index import Index
from geoquarry.udfs.blocks import row_blocks

ACTIONS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
DARKEST_DENOMINATOR = np.float32(0.005)
"""A smaller reflectance in a denominator gives nodata: there the ratio is noise (DESIGN, 2)."""
NODATA = -32768
LARGEST = 32767
"""Largest stored magnitude; -32768 is kept for nodata, so the range is symmetric."""


def evaluate(program: Program, reflectance: Mapping[str, NDArray[np.float32]]) -> Any:
    """Run a parsed formula; nothing is ever evaluated as Python.

    Parameters
    ----------
    program : nested tuple
        From `schemas.formula.parse`: ``(symbol, left, right)``, a band name, or a number.
    reflectance : mapping of str -> float32, shape (y, x)
        Band name -> unitless surface reflectance, NaN = not observed.

    Returns
    -------
    value : float32, shape (y, x)
        NaN wherever a band it reads is NaN. No guard against small denominators, see
        `compute_index`.

    Raises
    ------
    UsageError
        The formula reads a band that is not there.

    Examples
    --------
    >>> evaluate(("/", ("+", "a", "b"), "b"), {"a": np.float32([[1]]), "b": np.float32([[2]])})
    array([[1.5]], dtype=float32)
    """
    if isinstance(program, tuple):
        symbol, left, right = program
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return ACTIONS[symbol](evaluate(left, reflectance), evaluate(right, reflectance))
    if isinstance(program, str):
        if program not in reflectance:
            raise UsageError(
                f"The formula reads band {program!r}; there are {', '.join(reflectance)}."
            )
        return reflectance[program]
    return np.float32(program)


def compute_index(
    index: Index, reflectance: Mapping[str, NDArray[np.float32]], flags: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """One index of the catalogue, with its guards.

    Parameters
    ----------
    index : Index
        From the catalogue.
    reflectance : mapping of str -> float32, shape (y, x)
        Band name -> unitless surface reflectance, NaN = not observed.
    flags : uint16, shape (y, x)
        Bits of `schemas.flags`.

    Returns
    -------
    value : float32, shape (y, x)
        Unitless. NaN where a band is NaN, where a band of a denominator is under 0.005, and
        where the index's masking rule (``index.mask``) meets a flag.

    Examples
    --------
    >>> from geoquarry.schemas.index import indices
    >>> ndvi = next(i for i in indices("aster_l1t") if i.name == "ndvi")
    >>> bands = {"b02": np.float32([[0.25, 0.25]]), "b3n": np.float32([[0.75, 0.75]])}
    >>> compute_index(ndvi, bands, np.array([[0, bit("cloud")]], np.uint16))
    array([[0.5, nan]], dtype=float32)
    """
    value = np.empty(flags.shape, np.float32)
    for rows in row_blocks(*flags.shape):
        part = {name: reflectance[name][rows] for name in index.bands if name in reflectance}
        value[rows] = _guarded(index, part, _Guards(part, flags[rows]))
    return value


def compute_indices(
    catalogue: Sequence[Index],
    reflectance: Mapping[str, NDArray[np.float32]],
    flags: NDArray[np.uint16],
    dtype: str = "int16",
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Many indices in one pass over the pixels.

    Parameters
    ----------
    catalogue : sequence of Index
        Which indices.
    reflectance : mapping of str -> float32, shape (y, x)
        Band name -> surface reflectance, NaN = not observed.
    flags : uint16, shape (y, x)
        Bits of `schemas.flags`.
    dtype : {"int16", "float32"}
        int16 = value / scale as in `quantise`; float32 = the value, NaN = nodata.

    Returns
    -------
    stored : dict of str -> int16 or float32, shape (y, x)
        By index name.
    out_of_range : bool, shape (y, x)
        True where any index left its valid range; the value is kept.
    """
    stored: dict[str, NDArray[Any]] = {
        index.name: np.empty(flags.shape, np.dtype(dtype)) for index in catalogue
    }
    out_of_range = np.zeros(flags.shape, bool)
    needed = sorted({name for index in catalogue for name in index.bands})
    for rows in row_blocks(*flags.shape):
        part = {name: reflectance[name][rows] for name in needed if name in reflectance}
        guards = _Guards(part, flags[rows])
        outside = out_of_range[rows]
        for index in catalogue:
            value = _guarded(index, part, guards)
            outside |= value < np.float32(index.valid_min)  # NaN compares False
            outside |= value > np.float32(index.valid_max)
            if dtype == "int16":  # every valid range fits int16, so what saturates is outside
                stored[index.name][rows] = _fit(_counts(value, index.scale))
            else:
                stored[index.name][rows] = value
    return stored, out_of_range


def quantise(
    values: NDArray[np.float32], scale: float
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Store physical values as int16: value = stored x scale.

    Rounds half to even, as NumPy does. Saturates at +-32767 and never wraps; NaN becomes -32768.

    Parameters
    ----------
    values : float32, any shape
        Physical values, NaN = nodata.
    scale : float
        Size of one count.

    Returns
    -------
    stored : int16, same shape
        -32768 = nodata.
    saturated : bool, same shape
        True where the value did not fit.

    Examples
    --------
    >>> quantise(np.float32([0.25, np.nan, 99, -99]), 0.001)
    (array([   250, -32768,  32767, -32767], dtype=int16), array([False, False,  True,  True]))
    """
    counts = _counts(values, scale)
    saturated = np.abs(counts) > np.float32(LARGEST)
    return _fit(counts), saturated


def dequantise(stored: NDArray[np.int16], scale: float) -> NDArray[np.float32]:
    """Physical values of stored int16; nodata becomes NaN.

    >>> dequantise(np.array([250, -32768], np.int16), 0.001)
    array([0.25,  nan], dtype=float32)
    """
    values = stored.astype(np.float32) * np.float32(scale)
    values[stored == NODATA] = np.nan
    return values


def _counts(values: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        counts = np.asarray(values * np.float32(1 / scale))
    return np.rint(counts, out=counts)


def _fit(counts: NDArray[np.float32]) -> NDArray[np.int16]:
    """Whole numbers to int16 in place: saturated, NaN to nodata."""
    # Limits as rows, not as scalars: NumPy's minimum is four times faster with an array.
    row = counts.shape[-1:]
    np.minimum(counts, np.full(row, LARGEST, np.float32), out=counts)
    np.maximum(counts, np.full(row, -LARGEST, np.float32), out=counts)
    # fmax prefers the number to a NaN: this is where NaN turns into nodata, and nowhere else.
    np.fmax(counts, np.full(row, NODATA, np.float32), out=counts)
    return counts.astype(np.int16)


class _Guards:
    """What may not be computed in one block, worked out once and shared by all indices.

    Each guard is an array of 0 and NaN to be added: several times faster than a masked write.
    """

    def __init__(
        self, reflectance: Mapping[str, NDArray[np.float32]], flags: NDArray[np.uint16]
    ) -> None:
        self._reflectance = reflectance
        self._flags = flags
        self._known: dict[Any, NDArray[np.float32] | None] = {}

    def dark(self, band: str) -> NDArray[np.float32] | None:
        """NaN where the band is too dark to divide by; None where it nowhere is."""
        if band not in self._known:
            self._known[band] = _penalty(self._reflectance[band] < DARKEST_DENOMINATOR)
        return self._known[band]

    def hidden(self, mask: tuple[str, ...]) -> NDArray[np.float32] | None:
        """NaN where one of the flags is set; None where none is."""
        if mask not in self._known:
            bits = np.uint16(sum(bit(name) for name in set(mask)))
            self._known[mask] = _penalty((self._flags & bits) != 0)
        return self._known[mask]


def _penalty(bad: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    if not bad.any():
        return None
    return np.where(bad, np.float32(np.nan), np.float32(0))


def _guarded(
    index: Index, reflectance: Mapping[str, NDArray[np.float32]], guards: _Guards
) -> NDArray[np.float32]:
    value: NDArray[np.float32] = evaluate(index.program, reflectance)
    if not isinstance(index.program, tuple):  # a bare band or number: not ours to change
        value = np.array(value, np.float32)
    refused = [guards.hidden(index.mask), *(guards.dark(name) for name in index.denominators)]
    for penalty in refused:
        if penalty is not None:
            value += penalty
    return value
