"""Pools: a worker that dies is replaced, and its tile computed again."""

import os
import signal
import subprocess
import sys
import time

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


INTERRUPTED = """
import sys
from deadly import Endless
from geoquarry.engine.plan import TileTask
from geoquarry.engine.pool import in_processes
from geoquarry.engine.run import Run

def main():
    tasks = [TileTask(x, 0, ()) for x in range(20)]
    run = Run(lambda run: list(in_processes(2, Endless(sys.argv[1]), tasks, run.check)))
    print("began", flush=True)
    try:
        run.wait()
    except KeyboardInterrupt:
        print(run.status)

if __name__ == "__main__":
    main()
"""


@pytest.mark.kill
@pytest.mark.parametrize("working", [False, True], ids=["workers start", "workers work"])
def test_ctrl_c_in_a_terminal_ends_driver_and_workers_at_once(tmp_path, working):
    """A terminal sends it to all of them."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    marks = tmp_path / "marks"
    marks.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(marks)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "began\n"
        end = time.monotonic() + 60
        while working and len(list(marks.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (out, err) == ("cancelled\n", "")
