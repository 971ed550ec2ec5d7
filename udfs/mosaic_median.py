"""The `median` mosaic: keeps every observation, in memory or in files."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.udfs.blocks import rows_per_block
from geoquarry.udfs.mosaic_base import (
    NO_TIER,
    QUALITY,
    SURFACE_BITS,
    TIER_OF_FLAGS,
    UNRELIABLE_TIERS,
    Mosaic,
    MosaicResult,
    clamp_count,
    finish_flags,
)
from geoquarry.udfs.ranking import median_of


@dataclass
class _Piece:
    """One block of one granule: in memory, or at a place in the strip's file."""

    known: int
    window: tuple[slice, slice]
    values: NDArray[np.float32] | None
    flags: NDArray[np.uint16] | None
    offset: int = 0


class MedianMosaic(Mosaic):
    """Median of the observations of the best tier, band by band.

    With an even number of observations, the mean of the middle two. Observations are kept as
    float32 up to ``memory_limit`` bytes, then written to one file per block of rows; the answer is
    made block by block. Memory: the limit (256 MB), one tile of results (9 bands of 1024 x 1024:
    38 MB) and one block of all granules (0.6 MB each).
    """

    needs_all = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._strips: dict[int, list[_Piece]] = {}
        self._kept = 0
        self._folder: Path | None = None

    def _add(
        self,
        known: int,
        window: tuple[slice, slice],
        values: NDArray[np.float32],
        flags: NDArray[np.uint16],
        tier: NDArray[np.uint8],
    ) -> None:
        lost = np.where(tier == NO_TIER, np.uint16(f.NOT_OBSERVED), np.uint16(0))
        piece = _Piece(known, window, values, flags | lost)
        strip = window[0].start // rows_per_block(self.shape[1])
        size = values.nbytes + flags.nbytes
        if self._kept + size > self.memory_limit:
            self._spill(strip, piece)
        else:
            self._kept += size
        self._strips.setdefault(strip, []).append(piece)

    def _spill(self, strip: int, piece: _Piece) -> None:
        assert piece.values is not None
        assert piece.flags is not None
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="median-", dir=self.spill_dir))
        with open(self._folder / f"{strip}", "ab") as file:
            piece.offset = file.tell()
            file.write(np.ascontiguousarray(piece.values).data)
            file.write(np.ascontiguousarray(piece.flags).data)
        piece.values = piece.flags = None

    def _load(self, strip: int, piece: _Piece) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        if piece.values is not None and piece.flags is not None:
            return piece.values, piece.flags
        assert self._folder is not None
        rows, cols = piece.window
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        pixels = shape[0] * shape[1]
        # Read, not mapped: mapped pages would count as this process's memory.
        with open(self._folder / f"{strip}", "rb") as file:
            file.seek(piece.offset)
            values = np.fromfile(file, np.float32, self.band_count * pixels)
            flags = np.fromfile(file, np.uint16, pixels)
        return values.reshape(self.band_count, *shape), flags.reshape(shape)

    def result(self) -> MosaicResult:
        """The mosaic of everything added."""
        reflectance = np.full((self.band_count, *self.shape), np.nan, np.float32)
        flags = np.zeros(self.shape, np.uint16)
        tier = np.full(self.shape, NO_TIER, np.uint8)
        count = np.zeros(self.shape, np.uint16)
        pixels = np.zeros(len(self.granule_ids), np.int64)
        step = rows_per_block(self.shape[1])
        for strip in sorted(self._strips):
            pieces = self._strips.pop(strip)
            rows = slice(strip * step, min((strip + 1) * step, self.shape[0]))
            block = _Block(rows, pieces, [self._load(strip, piece) for piece in pieces], self)
            tier[rows], count[rows], flags[rows] = block.tier, block.count, block.flags()
            for piece, used in zip(pieces, block.used, strict=True):
                pixels[piece.known] += np.count_nonzero(used)
            for band in range(self.band_count):
                reflectance[band, rows] = block.median(band)
        self.close()
        return MosaicResult(
            reflectance=reflectance,
            flags=finish_flags(flags, count, tier),
            count=clamp_count(count),
            tier=tier,
            shares={name: int(pixels[i]) for i, name in enumerate(self.granule_ids)},
        )

    def close(self) -> None:
        """Delete the temporary folder; safe to call twice."""
        self._strips.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class _Block:
    """Observations of one block of rows, all granules."""

    def __init__(
        self,
        rows: slice,
        pieces: list[_Piece],
        loaded: list[tuple[NDArray[np.float32], NDArray[np.uint16]]],
        mosaic: MedianMosaic,
    ) -> None:
        self.shape = (rows.stop - rows.start, mosaic.shape[1])
        self.places = [
            (slice(p.window[0].start - rows.start, p.window[0].stop - rows.start), p.window[1])
            for p in pieces
        ]
        self.values = [values for values, _ in loaded]
        self._flags = [flags for _, flags in loaded]
        tiers = [TIER_OF_FLAGS.take(flags) for flags in self._flags]
        self.tier = np.full(self.shape, NO_TIER, np.uint8)
        for place, tier in zip(self.places, tiers, strict=True):
            np.minimum(self.tier[place], tier, out=self.tier[place])
        self.used = [
            (tier == self.tier[place]) & (tier != NO_TIER)
            for place, tier in zip(self.places, tiers, strict=True)
        ]
        self.count = np.zeros(self.shape, np.uint16)
        for place, used in zip(self.places, self.used, strict=True):
            self.count[place] += used
        self.reliable = ~np.isin(self.tier, UNRELIABLE_TIERS)
        self.optional = mosaic.optional

    def flags(self) -> NDArray[np.uint16]:
        """Any for quality, majority for what the ground is."""
        out = np.zeros(self.shape, np.uint16)
        surface = np.zeros((len(SURFACE_BITS), *self.shape), np.uint16)
        for place, used, flags in zip(self.places, self.used, self._flags, strict=True):
            seen = np.where(used, flags, np.uint16(0))
            out[place] |= seen & QUALITY
            for i, bit in enumerate(SURFACE_BITS):
                surface[i, *place] += (seen & np.uint16(bit)) != 0
        for i, bit in enumerate(SURFACE_BITS):
            most = 2 * surface[i].astype(np.uint32) > self.count
            out |= np.where(most, np.uint16(bit), np.uint16(0))
        return out

    def median(self, band: int) -> NDArray[np.float32]:
        """Of the observations used, NaN where there are none."""
        infinite = np.float32(np.inf)
        planes = []
        for place, used, values in zip(self.places, self.used, self.values, strict=True):
            plane = values[band]
            if not used.all() or used.shape != self.shape:
                plane = np.full(self.shape, infinite)
                plane[place] = np.where(used, values[band], infinite)
            planes.append(plane)
        if band in self.optional and not self.reliable.all():
            # NaN there in every observation of the tier: it must not reach the comparisons.
            planes = [np.where(self.reliable, plane, infinite) for plane in planes]
            count = np.where(self.reliable, self.count, np.uint16(0))
        else:
            count = self.count
        return median_of(planes, count)
