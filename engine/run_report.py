"""What a run says of its tiles: before it starts, of each in the ledger, and in its report.

The same for every engine.
"""

import time
from collections.abc import Iterable, Sequence

from geoquarry.engine.ledger import ROWS_LEFT_OUT, Record, Unit
from geoquarry.engine.plan import TileTask
from geoquarry.engine.run import BadRow, FailedTile, RunPlan, RunReport
from geoquarry.engine.tile import Finished


def run_plan(todo: Sequence[TileTask], ready: Sequence[TileTask]) -> RunPlan:
    """What a run of these tasks would do."""
    return RunPlan(
        tiles=len(todo),
        rows=sum(len(task.rows) for task in todo),
        granules=len({ref.granule_id for task in todo for ref in task.rows}),
        skipped=len(ready),
        nbytes=sum(ref.nbytes for task in todo for ref in task.rows),
        largest_tile_rows=max((len(task.rows) for task in todo), default=0),
    )


def report(
    record: Record, finished: Iterable[Finished], *, skipped: int, since: float
) -> RunReport:
    """How a run ended that has committed; ``since`` is of the monotonic clock."""
    tiles = sorted(finished, key=lambda tile: (tile.tile_y, tile.tile_x))
    counts = dict.fromkeys(("ok", "partial", "empty", "failed"), 0)
    for tile in tiles:
        counts[tile.status] += 1
    counts["skipped"] = skipped
    counts["resumed"] = sum(tile.resumed for tile in tiles)
    return RunReport(
        job_id=record.job_id,
        commit_id=record.commit_id,
        snapshot_id=record.snapshot_id,
        tiles=len(tiles) + skipped,
        counts=counts,
        failed=[
            FailedTile(tile.tile_x, tile.tile_y, tile.message)
            for tile in tiles
            if tile.status == "failed"
        ],
        issues=[
            BadRow(tile.tile_x, tile.tile_y, **issue)
            for tile in tiles
            if tile.status != "failed"
            for issue in tile.issues
        ],
        seconds=time.monotonic() - since,
    )


def tell(record: Record, part: Finished) -> None:
    """Write a finished tile down in the ledger."""
    unit = Unit(tile=(part.tile_x, part.tile_y))
    if part.status == "failed":
        name, _, text = part.message.partition(": ")
        raised = name.isidentifier()  # else the UDF says itself why there is no tile
        record.finish(
            unit,
            "failed",
            text if raised else part.message,
            error_class=name if raised else "TileFailed",
            seconds=part.seconds,
        )
        return
    state = "empty" if part.status == "empty" else "done"
    reason = "" if part.status == "ok" else part.message
    if part.issues:
        first = part.issues[0]
        reason = f"rows left out: {len(part.issues)}, {first['granule_id']}: {first['error']}"
    elif part.resumed:
        reason = "computed before the job was cut off"
    record.finish(
        unit,
        state,
        reason,
        error_class=ROWS_LEFT_OUT if part.issues else "",
        seconds=part.seconds,
        tried=not part.resumed,
    )
