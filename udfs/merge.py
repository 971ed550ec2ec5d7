"""Observations of one tile to a mosaic: block by block, so that memory does not grow with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.sensor import Sensor
from geoquarry.udfs.blocks import rows_per_block
from geoquarry.udfs.merit import Merit
from geoquarry.udfs.mosaic import MOSAICS, Mosaic, MosaicResult
from geoquarry.udfs.observation import Observation
from geoquarry.udfs.ratio_watch import RatioWatch
from geoquarry.udfs.temporal import settle

BLOCK_BYTES = 48 * 1024 * 1024
"""Reflectance of all granules that is at hand at a time: with many granules, fewer rows of each."""
ROLES = ("green", "red", "nir", "swir16")
"""Bands that the temporal test compares, as far as the sensor has them."""


@dataclass(frozen=True)
class Merging:
    """How observations become a mosaic.

    Attributes
    ----------
    sensor : Sensor
    mosaic : str
        A name of `MOSAICS`.
    temporal : bool
        Let the observations of a place settle what is a cloud there.
    """

    sensor: Sensor
    mosaic: str
    temporal: bool

    def new_mosaic(self, shape: tuple[int, int], granule_ids: Sequence[str]) -> Mosaic:
        """An empty mosaic of one block."""
        bands = self.sensor.bands
        green, red = (self.sensor.role(role) for role in ("green", "red"))
        return MOSAICS[self.mosaic](
            len(bands),
            shape,
            granule_ids,
            key_bands=(0, 1) if green is None or red is None else (green, red),
            optional=[i for i, band in enumerate(bands) if band.role.startswith("swir")],
        )


def merge(
    observations: Sequence[Observation],
    shape: tuple[int, int],
    how: Merging,
    *,
    merits: Mapping[str, Merit] | None = None,
    watch: RatioWatch | None = None,
) -> MosaicResult:
    """Make the mosaic of a tile.

    Parameters
    ----------
    observations : sequence of Observation
        In any order; the answer does not depend on it.
    shape : (int, int)
        Of the tile.
    how : Merging
    merits : mapping of granule id -> Merit, optional
        For mosaics that choose by merit.
    watch : RatioWatch, optional
        Sees every observation used, before and after harmonising.

    Returns
    -------
    mosaic : MosaicResult
        Of the whole tile.
    """
    seen = sorted(observations, key=lambda one: one.granule_id)
    names = [one.granule_id for one in seen]
    roles = {role: how.sensor.role(role) for role in ROLES}
    known = {role: band for role, band in roles.items() if band is not None}
    whole = _Whole(len(how.sensor.bands), shape)
    for rows in blocks_of(shape, len(how.sensor.bands), len(seen)):
        size = (rows.stop - rows.start, shape[1])
        parts: list[_Part] = []
        for one in seen:
            found = one.block(rows)
            if found is not None:
                values, flags, row0 = found
                across = slice(one.col0, one.col0 + flags.shape[1])
                window = slice(row0 - rows.start, row0 - rows.start + len(flags)), across
                parts.append(_Part(one, values, flags, window, row0))
        if how.temporal:
            settled = settle(
                [part.values for part in parts],
                [part.flags for part in parts],
                [part.window for part in parts],
                size,
                known,
            )
            for part, flags in zip(parts, settled, strict=True):
                part.flags = flags
        mosaic = how.new_mosaic(size, names)
        for part in parts:
            name = part.observation.granule_id
            down, across = part.window
            merit = None
            if merits is not None:
                merit = merits[name].block(slice(part.row0, part.row0 + len(part.flags)), across)
            if watch is not None:
                part.watch(watch)
            mosaic.update(name, part.values, part.flags, down.start, across.start, merit=merit)
        whole.take(rows, mosaic.result())
    return whole.result()


def blocks_of(shape: tuple[int, int], bands: int, granules: int) -> Iterator[slice]:
    """Row blocks for so many granules; how a tile is cut changes no bit of it.

    >>> [len(list(blocks_of((1024, 1024), 9, n))) for n in (5, 100, 200)]
    [64, 79, 171]
    """
    fit = BLOCK_BYTES // max(1, granules * bands * 4 * shape[1])
    step = max(1, min(fit, rows_per_block(shape[1])))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


@dataclass
class _Part:
    """What one granule saw of one block."""

    observation: Observation
    values: NDArray[np.float32]
    flags: NDArray[np.uint16]
    window: tuple[slice, slice]
    row0: int

    def watch(self, watch: RatioWatch) -> None:
        """Show the ratios of clear ground, before and after harmonising."""
        clear = (self.flags & np.uint16(f.CLOUD | f.SHADOW | f.NOT_OBSERVED)) == 0
        col0 = self.observation.col0
        after = watch.sample(self.values, self.row0, col0)
        use = watch.sample(clear, self.row0, col0)
        watch.add(self.observation.unharmonised(after), after, use)


class _Whole:
    """The blocks put together."""

    def __init__(self, bands: int, shape: tuple[int, int]) -> None:
        self._reflectance = np.empty((bands, *shape), np.float32)
        self._flags = np.empty(shape, np.uint16)
        self._count, self._tier = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        self._label = np.empty(shape, np.int32)
        self._source: NDArray[np.int16] | None = None
        self._shares: dict[str, int] = {}

    def take(self, rows: slice, part: MosaicResult) -> None:
        """One block."""
        self._reflectance[:, rows] = part.reflectance
        self._flags[rows], self._count[rows] = part.flags, part.count
        self._tier[rows], self._label[rows] = part.tier, part.label
        if part.source is not None:
            if self._source is None:
                self._source = np.empty(self._flags.shape, np.int16)
            self._source[rows] = part.source
        for name, pixels in part.shares.items():
            self._shares[name] = self._shares.get(name, 0) + pixels

    def result(self) -> MosaicResult:
        """The tile."""
        return MosaicResult(
            reflectance=self._reflectance,
            flags=self._flags,
            count=self._count,
            tier=self._tier,
            label=self._label,
            source=self._source,
            shares=self._shares,
        )
