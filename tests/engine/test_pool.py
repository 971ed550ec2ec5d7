"""Pools: a worker that dies is replaced, and its tile computed again."""

import pytest
from deadly import Deadly

from geoquarry.engine.plan import TileTask
from geoquarry.engine.pool import in_processes
from geoquarry.engine.run import Run, RunReport
from geoquarry.schemas.errors import GeoquarryError

TASKS = [TileTask(x, 0, ()) for x in range(4)]


def work_through(folder, lives):
    found = []

    def work(run):
        found.extend(
            part.tile_x for part in in_processes(1, Deadly(str(folder), lives), TASKS, run.check)
        )
        return RunReport("j", "c", None, len(found), {})

    Run(work).wait(60)
    return found


def test_a_worker_that_dies_once_costs_nothing(tmp_path):
    assert sorted(work_through(tmp_path, lives=1)) == [0, 1, 2, 3]


def test_a_worker_that_always_dies_ends_the_job_with_a_reason(tmp_path):
    with pytest.raises(GeoquarryError, match="died 3 times"):
        work_through(tmp_path, lives=99)
