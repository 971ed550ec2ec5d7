"""One way to compute one job, in a process of its own that says when it begins and ends.

`engines.py` starts it and samples the whole process tree: each ``lap`` line on stdout waits for a
line on stdin, so that the figures belong to the run and not to what lies around it.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cases import IMPORTED, SOURCE, kernel, loop

from geoquarry.engine.local import Engine, open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger


def tell(word: str, **more: Any) -> None:
    """One line to the parent."""
    print(json.dumps({"say": word, **more}), flush=True)


@contextmanager
def lap() -> Iterator[None]:
    """What the parent measures."""
    tell("begin")
    sys.stdin.readline()
    began = time.perf_counter()
    yield
    tell("end", wall=time.perf_counter() - began)
    sys.stdin.readline()


def engine(kind: str, folder: str, workers: int, driver_memory: str) -> Engine:
    """An engine that is ready: for Spark with a session and one trivial job behind it."""
    if kind == "local":
        return open_engine(folder, workers=workers)
    from geoquarry.engine.spark import open_engine as open_spark

    plan = kind.removeprefix("spark ")
    conf = {"spark.driver.memory": driver_memory}
    found = open_spark(folder, master=f"local[{workers}]", conf=conf, plan=plan)
    assert found.session.sparkContext.parallelize(range(workers), workers).count() == workers
    return found


def main() -> None:
    kind, options = sys.argv[1], json.loads(sys.argv[2])
    folder, method, params = options["folder"], options["method"], options["params"]
    if kind in ("kernel", "loop"):
        for _ in range(options["repeat"]):
            tell("alone", **{"kernel": kernel, "loop": loop}[kind](folder, method, params))
        return
    began = time.perf_counter()
    ready = engine(kind, folder, options["workers"], options["driver_memory"])
    tell("ready", start_s=IMPORTED + time.perf_counter() - began)
    trigger = Trigger(method, SOURCE, f"out_{method}", params=params, overwrite=True)
    for _ in range(options["repeat"]):
        job = job_of(ready, trigger)
        with lap():
            report = ready.run(job).wait()
        assert report.counts["ok"] == report.tiles, report
    ready.drop(job.target)


if __name__ == "__main__":
    main()
