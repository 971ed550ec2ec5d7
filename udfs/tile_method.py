"""One tile through the chain: rows in, one result row out, whatever the order of the rows."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas import flags as f
from geoquarry.schemas.blob import encode
from geoquarry.schemas.grid import grid
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.agreement import Agreement
from geoquarry.udfs.balance_reference import components
from geoquarry.udfs.blocks import row_blocks
from geoquarry.udfs.counts import once, read_counts
from geoquarry.udfs.indices import compute_indices, quantise
from geoquarry.udfs.merge import Merging, merge
from geoquarry.udfs.merit import Merit
from geoquarry.udfs.mosaic import MosaicResult
from geoquarry.udfs.observation import Observation, ground_pixel_m
from geoquarry.udfs.ratio_watch import RatioWatch
from geoquarry.udfs.row_values import RowIssue, row_issue, sorted_issues
from geoquarry.udfs.seam import seam
from geoquarry.udfs.tile_atmosphere import TileAtmosphere
from geoquarry.udfs.tile_job import TileJob
from geoquarry.udfs.tile_quality import add_ground_flags, plain_nan, quality_figures
from geoquarry.udfs.tile_reference import TileReference

REFLECTANCE_SCALE = 1e-4
HELD_BYTES = 80 * 1024 * 1024
"""Counts and flags kept in memory; more goes to files."""
SOURCE = "source"
"""Name of the raster that says which granule a pixel comes from."""
NODATA_SOURCE = -32768


class TileMethod:
    """`update` with every row of a tile, then `result` once; `close` in any case.

    A row that cannot be used is listed under ``issues``, and the others go on. Memory for
    1024 x 1024 x 9: 12 MB per granule held (at most 80 MB, the others wait in files), 1.2 MB per
    granule where the tile compares them itself, one block of rows of all granules (48 MB, and what
    the mosaic makes of them), and the results.

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
        self._agreement = Agreement(job)
        self._reference = TileReference()
        self._held: list[Observation] = []
        self._merits: dict[str, Merit] | None = {} if needs_merit(self._params) else None
        self._issues: list[dict[str, str]] = []
        self._not_corrected = False
        self._masked_here = 0
        self._air_notes: Counter[str] = Counter()
        self._air_sources: Counter[str] = Counter()

    def update(self, row: Mapping[str, Any]) -> None:
        """Take one source row.

        Raises
        ------
        InputError
            Its granule is there already.
        """
        once(str(row["granule_id"]), [held.granule_id for held in self._held])
        try:
            counts = read_counts(row, self._sensor, self._shape, self._pixel_m)
            held = Observation(row, counts, self._atmosphere)
            if self._merits is not None:
                self._merits[held.granule_id] = Merit(
                    row, held.flags, held.row0, held.col0, self._shape, pixel_m=self._pixel_m
                )
            self._agreement.update(row, counts)
        except RowIssue as issue:
            self._issues.append(row_issue(row, issue))
            return
        self._masked_here += counts.masked_here
        self._air_notes.update(held.notes)
        self._air_sources[json.dumps(held.source)] += 1
        self._not_corrected |= _meta(row).get("crosstalk_corrected") is False
        if self._balance != "none":
            self._reference.update(row)
        self._held.append(held)
        if sum(one.nbytes for one in self._held) > HELD_BYTES:
            held.spill(Path(self._job.spill_dir) / f"granule-{len(self._held)}")

    @property
    def _balance(self) -> str:
        return str(self._params.get("balance", "none"))

    def _merge(self, watch: RatioWatch) -> MosaicResult:
        gains = self._agreement.gains()
        for held in self._held:
            if held.granule_id in gains:
                held.harmonise(*gains[held.granule_id])
        how = Merging(
            self._sensor, self._params["mosaic"], temporal=self._params["masks"] == "temporal"
        )
        merged = merge(
            self._held,
            self._shape,
            how,
            merits=self._merits,
            watch=watch if gains else None,
        )
        self._held.clear()
        return merged

    def result(self) -> dict[str, Any]:
        """The result row, without what the engine adds."""
        names = self._band_names()
        used = sorted(held.granule_id for held in self._held)
        row: dict[str, Any] = {
            "granules": used,
            "provenance": {"params": dict(self._params)},
            "flags": None,
            "count": None,
            **dict.fromkeys(names),
        }
        if not used:
            row["issues"] = sorted_issues(self._issues)
            row["status"] = "failed" if self._issues else "empty"
            row["message"] = "no granule covers this tile"
            if self._issues:
                first = "{granule_id}, {column}: {error}".format(**row["issues"][0])
                row["message"] = f"none of the granules can be used, see issues; the first: {first}"
            return row
        row["provenance"]["correction"] = [
            {**json.loads(source), "granules": count}
            for source, count in sorted(self._air_sources.items())
        ]
        ratios = RatioWatch(self._sensor.name)
        merged = self._merge(ratios)
        observed = (merged.flags & np.uint16(f.NOT_OBSERVED)) == 0
        figures = quality_figures(merged)
        figures["seam"] = seam(merged.reflectance, merged.label, observed)
        harmony = self._agreement.figures()
        if harmony:
            figures["harmony"] = {**harmony, "ratios": ratios.result()}
        balance, skipped = self._apply_balance(merged, observed)
        flags = merged.flags
        if skipped:
            flags |= np.where(observed, np.uint16(f.NOT_BALANCED), np.uint16(0))
        add_ground_flags(merged.reflectance, flags, self._sensor)
        row["provenance"] |= figures | balance
        row |= self._encode(merged.reflectance, flags)
        if self._params["source"]:
            row[SOURCE] = encode(stored_source(merged))
        row["flags"] = encode(flags)
        row["count"] = encode(merged.count)
        issues = sorted_issues(self._issues + self._reference.issues)
        row["issues"] = issues
        row["status"] = "partial" if issues else ("ok" if observed.any() else "empty")
        row["message"] = "; ".join(self._sentences(issues, skipped, bool(observed.any())))
        return row

    def _apply_balance(
        self, merged: MosaicResult, observed: NDArray[np.bool_]
    ) -> tuple[dict[str, Any], str]:
        """Balance in place; provenance, and why it was skipped if it was wanted."""
        if self._balance == "none":
            return {}, ""
        found = self._agreement.balance(self._reference.raster)
        watch = RatioWatch(self._sensor.name)
        before, clear = (watch.sample(x, 0, 0).copy() for x in (merged.reflectance, observed))
        found.apply(merged.reflectance)
        watch.add(before, watch.sample(merged.reflectance, 0, 0), clear)
        figures = {**found.figures, "ratios": watch.result()}
        if found.skipped:
            figures = {**found.figures, "skipped": found.skipped}
        if self._reference.raster is not None:
            figures["reference_tasseled_cap"] = components(self._reference.raster)
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
        names = self._sensor.names
        if self._job.method == "mineral_indices":
            names = list(self._params["indices"])
        return [*names, SOURCE] if self._params["source"] else names

    def _sentences(self, issues: list[dict[str, str]], skipped: str, observed: bool) -> list[str]:
        said = []
        if not observed:
            said.append("no usable pixel in this tile")
        if issues:
            said.append(f"{len(issues)} of the rows could not be used in full, see issues")
        if self._not_corrected:
            said.append("not crosstalk-corrected")
        if self._agreement.alone and self._params["scope"] == "job":
            said.append("harmonised within this tile alone")
        if self._agreement.without_gain:
            said.append(f"{self._agreement.without_gain} of the rows have no gain, not harmonised")
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


def needs_merit(params: Mapping[str, Any]) -> bool:
    """Whether the mosaic chooses by merit."""
    return bool(params["mosaic"] == "best")


def stored_source(merged: MosaicResult) -> NDArray[np.int16]:
    """Places in the sorted list of granules; nodata where nothing was observed."""
    assert merged.source is not None
    return np.where(merged.source < 0, np.int16(NODATA_SOURCE), merged.source).astype(np.int16)


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        meta = json.loads(row.get("meta") or "{}")
    except ValueError:  # free text: nothing we could act on
        return {}
    return meta if isinstance(meta, dict) else {}
