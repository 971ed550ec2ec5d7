"""One tile through the chain: rows in, one result row out, whatever the order of the rows."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.blob import encode
from geoquarry.schemas.grid import grid
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.balance import fit
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.indices import compute_indices, quantise
from geoquarry.udfs.mosaic import MOSAICS, Mosaic, MosaicResult
from geoquarry.udfs.observation import Observation, decode_reference, ground_pixel_m
from geoquarry.udfs.row_values import RowIssue
from geoquarry.udfs.tile_atmosphere import TileAtmosphere
from geoquarry.udfs.tile_quality import add_ground_flags, plain_nan, quality_figures

REFERENCE_COLUMNS = tuple(f"ref_{place}" for place in range(1, 8))
REFLECTANCE_SCALE = 1e-4
HELD_GRANULES = 8
"""Granules that wait for each other, so that a block of rows meets several while in cache."""
HELD_BYTES = 192 * 1024 * 1024
"""Counts and flags kept in memory by mosaics that need all granules; more goes to files."""


class TileJob(Protocol):
    """What a UDF is told about its tile."""

    @property
    def method(self) -> str:
        """A name of `methods.METHODS`."""

    @property
    def params(self) -> dict[str, Any]:
        """Normalised parameters."""

    @property
    def sensor(self) -> str:
        """Name of the sensor."""

    @property
    def grid(self) -> str:
        """Name of the grid."""

    @property
    def tile_x(self) -> int:
        """Column of the tile."""

    @property
    def tile_y(self) -> int:
        """Row of the tile."""

    @property
    def spill_dir(self) -> str:
        """Folder for what does not fit into memory."""


class TileMethod:
    """`update` with every row of a tile, then `result` once; `close` in any case.

    A row that cannot be used is listed under ``issues``, and the others go on. Memory for
    1024 x 1024 x 9: 12 MB per granule held (at most 8, or 192 MB where a mosaic needs all), the
    mosaic's own state, and the results.

    Parameters
    ----------
    job : TileJob
    """

    def __init__(self, job: TileJob) -> None:
        self._job = job
        self._params = job.params
        self._sensor: Sensor = sensor(job.sensor)
        self._shape = grid(job.grid).shape
        self._atmosphere = TileAtmosphere(
            self._sensor, self._shape, self._params["atmosphere"], self._params["outside"]
        )
        self._pixel_m = ground_pixel_m(job.grid, job.tile_x, job.tile_y)
        self._held: list[Observation] = []
        self._mosaic: Mosaic | None = None
        self._used: list[str] = []
        self._issues: list[dict[str, str]] = []
        self._reference_issues: list[dict[str, str]] = []
        self._reference: tuple[str, NDArray[np.int16]] | None = None
        self._not_corrected = False
        self._masked_here = 0
        self._air_notes: Counter[str] = Counter()
        self._air_sources: Counter[str] = Counter()

    def update(self, row: Mapping[str, Any]) -> None:
        """Take one source row."""
        try:
            held = Observation(row, self._atmosphere, self._pixel_m)
        except RowIssue as issue:
            self._issues.append(_issue(row, issue))
            return
        self._used.append(held.granule_id)
        self._masked_here += held.masked_here
        self._air_notes.update(held.notes)
        self._air_sources[json.dumps(held.source)] += 1
        self._not_corrected |= _meta(row).get("crosstalk_corrected") is False
        if self._balance != "none":
            self._keep_reference(row)
        self._held.append(held)
        if not self._needs_all:
            if len(self._held) > HELD_GRANULES:
                self._flush()
        elif sum(one.nbytes for one in self._held) > HELD_BYTES:
            held.spill(Path(self._job.spill_dir) / f"granule-{len(self._held)}")

    @property
    def _balance(self) -> str:
        return str(self._params.get("balance", "none"))

    @property
    def _needs_all(self) -> bool:
        return MOSAICS[self._params["mosaic"]].needs_all

    def _keep_reference(self, row: Mapping[str, Any]) -> None:
        """The reference of the smallest granule id that has one, so that order cannot matter."""
        name = str(row["granule_id"])
        if self._reference is not None and self._reference[0] <= name:
            return
        try:
            found = decode_reference(row, REFERENCE_COLUMNS)
        except RowIssue as issue:
            self._reference_issues.append(_issue(row, issue))
            return
        if found is not None:
            self._reference = name, found

    def _new_mosaic(self, shape: tuple[int, int]) -> Mosaic:
        bands = self._sensor.bands
        green, red = (self._sensor.role(role) for role in ("green", "red"))
        return MOSAICS[self._params["mosaic"]](
            len(bands),
            shape,
            key_bands=(0, 1) if green is None or red is None else (green, red),
            optional=[i for i, band in enumerate(bands) if band.role.startswith("swir")],
            spill_dir=self._job.spill_dir,
        )

    def _flush(self) -> None:
        """Give the held granules to the mosaic, block by block."""
        if self._mosaic is None:
            self._mosaic = self._new_mosaic(self._shape)
        for rows in row_blocks(*self._shape):
            self._feed(self._mosaic, rows, 0)
        self._held.clear()

    def _feed(self, mosaic: Mosaic, rows: slice, origin: int) -> None:
        for held in self._held:
            found = held.block(rows)
            if found is not None:
                reflectance, flags, row0 = found
                mosaic.update(held.granule_id, reflectance, flags, row0 - origin, held.col0)

    def _merge(self) -> MosaicResult:
        if self._mosaic is not None:
            self._flush()
            return self._mosaic.result()
        # Everything is still at hand: one block of rows at a time, the mosaic stays in cache.
        bands, (height, width) = len(self._sensor.bands), self._shape
        whole = MosaicResult(
            np.empty((bands, height, width), np.float32),
            np.empty((height, width), np.uint16),
            np.empty((height, width), np.uint8),
            np.empty((height, width), np.uint8),
        )
        for rows in row_blocks(height, width):
            mosaic = self._new_mosaic((rows.stop - rows.start, width))
            self._feed(mosaic, rows, rows.start)
            part = mosaic.result()
            whole.reflectance[:, rows] = part.reflectance
            whole.flags[rows], whole.count[rows] = part.flags, part.count
            whole.tier[rows] = part.tier
            for name, pixels in part.shares.items():
                whole.shares[name] = whole.shares.get(name, 0) + pixels
        self._held.clear()
        return whole

    def result(self) -> dict[str, Any]:
        """The result row, without what the engine adds."""
        names = self._band_names()
        row: dict[str, Any] = {
            "granules": sorted(self._used),
            "provenance": {"params": dict(self._params)},
            "flags": None,
            "count": None,
            **dict.fromkeys(names),
        }
        if not self._used:
            row["issues"] = _sorted(self._issues)
            row["status"] = "failed" if self._issues else "empty"
            row["message"] = "no granule covers this tile"
            if self._issues:
                first = row["issues"][0]["error"]
                row["message"] = f"none of the granules can be used, see issues; the first: {first}"
            return row
        row["provenance"]["correction"] = [
            {**json.loads(source), "granules": count}
            for source, count in sorted(self._air_sources.items())
        ]
        merged = self._merge()
        observed = (merged.flags & np.uint16(f.NOT_OBSERVED)) == 0
        balance, skipped = self._apply_balance(merged)
        flags = merged.flags
        if skipped:
            flags |= np.where(observed, np.uint16(f.NOT_BALANCED), np.uint16(0))
        add_ground_flags(merged.reflectance, flags, self._sensor)
        row["provenance"] |= quality_figures(merged) | balance
        row |= self._encode(merged.reflectance, flags)
        row["flags"] = encode(flags)
        row["count"] = encode(merged.count)
        issues = _sorted(self._issues + self._relevant_reference_issues())
        row["issues"] = issues
        row["status"] = "partial" if issues else ("ok" if observed.any() else "empty")
        row["message"] = "; ".join(self._sentences(issues, skipped, bool(observed.any())))
        return row

    def _apply_balance(self, merged: MosaicResult) -> tuple[dict[str, Any], str]:
        """Balance in place; provenance, and why it was skipped if it was wanted."""
        if self._balance == "none":
            return {}, ""
        found = fit(
            merged.reflectance,
            merged.flags,
            None if self._reference is None else self._reference[1],
            method=self._balance,
            sensor_name=self._sensor.name,
            pixel_m=self._pixel_m,
        )
        found.apply(merged.reflectance)
        figures = found.figures | ({"skipped": found.skipped} if found.skipped else {})
        return {"balance": figures}, found.skipped

    def _encode(
        self, reflectance: NDArray[np.float32], flags: NDArray[np.uint16]
    ) -> dict[str, bytes]:
        dtype = self._params["dtype"]
        names = self._sensor.names
        if self._job.method == "mineral_indices":
            wanted = set(self._params["indices"])
            chosen = [i for i in indices(self._sensor.name) if i.name in wanted]
            bands = dict(zip(names, reflectance, strict=True))
            stored, outside = compute_indices(chosen, bands, flags, dtype)
            flags |= np.where(outside, np.uint16(f.INDEX_OUT_OF_RANGE), np.uint16(0))
            return {name: encode(plain_nan(stored.pop(name))) for name in list(stored)}
        if dtype == "float32":
            return {name: encode(plain_nan(reflectance[i])) for i, name in enumerate(names)}
        out = {}
        counts = np.empty(self._shape, np.int16)
        for place, name in enumerate(names):
            for rows in row_blocks(*self._shape):
                counts[rows], full = quantise(reflectance[place, rows], REFLECTANCE_SCALE)
                flags[rows] |= np.where(full, np.uint16(f.INDEX_OUT_OF_RANGE), np.uint16(0))
            out[name] = encode(counts)
        return out

    def _band_names(self) -> list[str]:
        if self._job.method == "mineral_indices":
            return list(self._params["indices"])
        return self._sensor.names

    def _relevant_reference_issues(self) -> list[dict[str, str]]:
        """Those met on the way to the reference taken: the same in any order of the rows."""
        chosen = self._reference
        return [
            issue
            for issue in self._reference_issues
            if chosen is None or issue["granule_id"] < chosen[0]
        ]

    def _sentences(self, issues: list[dict[str, str]], skipped: str, observed: bool) -> list[str]:
        said = []
        if not observed:
            said.append("no usable pixel in this tile")
        if issues:
            said.append(f"{len(issues)} of the rows could not be used in full, see issues")
        if self._not_corrected:
            said.append("not crosstalk-corrected")
        if skipped:
            said.append(f"balancing skipped: {skipped}")
        if self._masked_here:
            said.append(f"flags missing in {self._masked_here} rows: per-tile mask")
        for note, count in sorted(self._air_notes.items()):
            said.append(f"{note} in {count} of the rows")
        return said

    def close(self) -> None:
        """Let go of memory and files; safe to call twice."""
        self._held.clear()
        if self._mosaic is not None:
            self._mosaic.close()
            self._mosaic = None


def _issue(row: Mapping[str, Any], issue: RowIssue) -> dict[str, str]:
    return {
        "granule_id": str(row["granule_id"]),
        "column": issue.column,
        "error": str(issue),
    }


def _sorted(issues: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(issues, key=lambda issue: (issue["granule_id"], issue["column"], issue["error"]))


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        meta = json.loads(row.get("meta") or "{}")
    except ValueError:  # free text: nothing we could act on
        return {}
    return meta if isinstance(meta, dict) else {}
