"""The first phase of a job: what a tile says about its granules and its reference, as sums.

The sums of many tiles are added up before anything is solved, so neighbouring tiles agree and
any of them can be computed again alone. Where nobody adds (one tile, or an engine without
phases) the same sums of the one tile are solved by themselves.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.blob import decode, encode
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.balance_sums import NodeSums, TileNodes
from geoquarry.udfs.counts import Counts, read_counts
from geoquarry.udfs.observation import ground_pixel_m
from geoquarry.udfs.overlap import SUMS, PairSums
from geoquarry.udfs.overviews import Overviews, tile_cells
from geoquarry.udfs.row_values import RowIssue, row_issue, sorted_issues
from geoquarry.udfs.tile_job import TileJob
from geoquarry.udfs.tile_reference import TileReference


class FirstPhase:
    """Sums of one tile.

    Parameters
    ----------
    job : TileJob
        With the parameters ``harmonise``, ``balance``, ``atmosphere`` and ``outside``.
    """

    def __init__(self, job: TileJob) -> None:
        frame = grid(job.grid)
        self._pairs = wants_pairs(job.params)
        self._nodes = wants_nodes(job.params)
        self._cells = tile_cells(frame)
        self._overviews = Overviews(
            sensor(job.sensor),
            frame.shape,
            job.params["atmosphere"],
            job.params["outside"],
            frame.resolution_m,
        )

    def add(self, row: Mapping[str, Any], counts: Counts) -> None:
        """Take one granule.

        Raises
        ------
        RowIssue
            Its atmosphere cannot be taken off.
        """
        self._overviews.add(row, counts)

    @property
    def granule_ids(self) -> tuple[str, ...]:
        """Granules taken, sorted."""
        return self._overviews.granule_ids

    def pairs(self) -> PairSums | None:
        """For harmonising; None if that is not wanted."""
        return self._overviews.pair_sums() if self._pairs else None

    def nodes(self, reference: NDArray[np.int16] | None) -> TileNodes | None:
        """For the balance; None if that is not wanted."""
        return self._overviews.node_sums(reference, self._cells) if self._nodes else None


def wants_pairs(params: Mapping[str, Any]) -> bool:
    """Whether granules are compared with each other."""
    return bool(params.get("harmonise", "none") != "none")


def wants_nodes(params: Mapping[str, Any]) -> bool:
    """Whether granules are compared with the reference."""
    return bool(params.get("balance", "none") != "none")


class Stream:
    """Sums of one tile, row by row: `update`, then `result`, `close` in any case.

    Parameters
    ----------
    job : TileJob
    """

    def __init__(self, job: TileJob) -> None:
        self._job = job
        self._sensor, self._shape = sensor(job.sensor), grid(job.grid).shape
        self._pixel_m = ground_pixel_m(job.grid, job.tile_x, job.tile_y)
        self._phase, self._reference = FirstPhase(job), TileReference()
        self._issues: list[dict[str, str]] = []

    def update(self, row: Mapping[str, Any]) -> None:
        """Take one source row; one that cannot be used is listed under ``issues``."""
        try:
            self._phase.add(row, read_counts(row, self._sensor, self._shape, self._pixel_m))
        except RowIssue as issue:
            self._issues.append(row_issue(row, issue))
            return
        if wants_nodes(self._job.params):
            self._reference.update(row)

    def result(self) -> dict[str, Any]:
        """The sums, as `compute` answers them."""
        names, issues = self._phase.granule_ids, self._issues
        answer: dict[str, Any] = {
            "granules": list(names),
            "issues": sorted_issues(issues),
            "status": ("partial" if issues else "ok") if names else "failed" if issues else "empty",
            "message": f"{len(issues)} of the rows could not be used" if issues else "",
            "provenance": {"params": dict(self._job.params)},
        }
        if names:
            answer |= packed(self._phase.pairs(), self._phase.nodes(self._reference.raster))
        return answer

    def close(self) -> None:
        """Nothing lies outside memory."""


def compute(rows: Iterable[Mapping[str, Any]], job: TileJob) -> dict[str, Any]:
    """Sums of one tile: the UDF of the first phase.

    Parameters
    ----------
    rows : iterable of mapping
        Source rows of one tile in any order.
    job : TileJob

    Returns
    -------
    result : dict
        ``status, message, granules, issues`` and the columns of `schemas.harmony_tables`.
    """
    stream = Stream(job)
    for row in rows:
        stream.update(row)
    return stream.result()


def packed(pairs: PairSums | None, nodes: TileNodes | None) -> dict[str, Any]:
    """Sums as columns: rasters without rows where nothing was wanted or found."""
    bands = 0 if pairs is None else pairs.sums.shape[1]
    out: dict[str, Any] = {
        "pairs": np.zeros((0, 2), np.int32) if pairs is None else pairs.pairs,
        "pair_sums": np.zeros((0, 0), np.int64),
        "node_area": np.zeros((0, 0), np.int64),
        "node_sums": np.zeros((0, 0), np.int64),
    }
    if pairs is not None:
        out["pair_sums"] = pairs.sums.reshape(len(pairs.pairs), bands * len(SUMS))
    if nodes is not None:
        out["node_area"] = nodes.area
        if nodes.sums:
            stack = np.concatenate([nodes.sums[name].stack() for name in sorted(nodes.sums)])
            out["node_sums"] = stack.reshape(len(stack), -1)
    said = None if nodes is None else nodes.skipped
    return {**{name: encode(raster) for name, raster in out.items()}, "node_skipped": said}


def unpacked_pairs(row: Mapping[str, Any], bands: int) -> PairSums:
    """Sums per pair of a stored row."""
    sums = decode(row["pair_sums"]).reshape(-1, bands, len(SUMS))
    return PairSums(tuple(row["granules"]), decode(row["pairs"]), sums)


def unpacked_nodes(row: Mapping[str, Any], bands: int) -> TileNodes | None:
    """Sums per node of a stored row; None if the first phase did not look at a reference."""
    area, sums, names = decode(row["node_area"]), decode(row["node_sums"]), row["granules"]
    if not area.size:
        return None
    if not sums.size:
        return TileNodes(area, row["node_skipped"])
    stacks = sums.reshape(len(names), -1, *area.shape)
    of = (NodeSums.from_stack(stack, bands) for stack in stacks)
    return TileNodes(area, row["node_skipped"], dict(zip(names, of, strict=True)))
