"""The direct plan of the Spark engine: a tile is a task, its answer reaches the driver at once.

Pixels never enter the JVM: a task carries a tile's key and where its rows lie, the Python worker
reads, computes and writes as on every engine, and what comes back is a few hundred bytes.

Answers come through an accumulator (`engine.spark_follow`), because Spark has no other way to hear
of a task before the last one has ended and to keep all cores busy: ``toLocalIterator`` runs one
task after the other, ``runJob`` in chunks waits for the slowest of each, the status tracker only
counts. Spark takes what a task put into an accumulator exactly once, whatever was tried again or
run twice by speculation, and before the job ends.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from geoquarry.engine.plan import TileTask
from geoquarry.engine.run import Run
from geoquarry.engine.spark_follow import followed
from geoquarry.engine.spark_session import Session
from geoquarry.engine.tile import Part, TileWork
from geoquarry.schemas.errors import GeoquarryError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST_TASKS = 2000
"""More items than this share tasks, down to `TASKS_PER_CORE`: a task costs Spark some 25 ms of CPU
time, a lost one is done again as a whole, and the last ones to end leave cores idle."""
TASKS_PER_CORE = 8


def in_tasks(session: Session) -> Callable[[TileWork, list[TileTask], Run], Iterator[Part]]:
    """The way `engine.driver.Driver` has its tiles computed by Spark."""

    def execute(work: TileWork, tasks: list[TileTask], run: Run) -> Iterator[Part]:
        job = work.job
        return stream(
            session,
            work,
            tasks,
            check=run.check,
            group=job_group(work.commit_id),
            about=f"geoquarry {job.method}: {job.source} to {job.target}",
        )

    return execute


def job_group(commit_id: str) -> str:
    """Spark's job group of a run: what its UI shows, and what is cancelled."""
    return f"geoquarry-{commit_id}"


def stream(
    session: Session,
    work: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    check: Callable[[], None],
    group: str,
    about: str,
) -> Iterator[Answer]:
    """Answers of a piece of work to many items, each as soon as its task has ended.

    Parameters
    ----------
    session : SparkSession
    work : callable
        Pickled; what it is made of must be importable on the workers.
    items : sequence
        Pickled, one task each (or a few, if there are thousands).
    check : callable
        Asked a few times a second; what it raises cancels the job.
    group, about : str
        Name and description of the Spark job.

    Yields
    ------
    answer : Answer
        Exactly one per item, in any order.

    Raises
    ------
    GeoquarryError
        A task failed in all its attempts.
    """
    if not items:
        return
    context = session.sparkContext
    most = max(MOST_TASKS, TASKS_PER_CORE * context.defaultParallelism)

    def launch(deliver: Any) -> None:
        numbered = context.parallelize(list(enumerate(items)), min(len(items), most))
        numbered.foreachPartition(Tasks(work, deliver))

    seen: set[int] = set()
    try:
        for number, answer in followed(session, launch, check=check, group=group, about=about):
            if number not in seen:
                seen.add(number)
                yield answer
    except GeoquarryError:  # of `check`: cancelled
        raise
    except Exception as error:
        raise explained(error) from error
    lost = len(items) - len(seen)
    if lost:
        raise GeoquarryError(
            f"Spark says that all is done, but {lost} of {len(items)} answers did not arrive; "
            "nothing under way was committed. Run it again."
        )


@dataclass(frozen=True)
class Tasks:
    """What a Python worker does with its part of the items."""

    work: Callable[[Any], Any]
    deliver: Any

    def __call__(self, items: Iterable[tuple[int, Any]]) -> None:
        """Answer each item; Spark takes the answers along when the task ends well."""
        for number, item in items:
            self.deliver.add([(number, self.work(item))])


def explained(error: Exception) -> GeoquarryError:
    """What Spark says in hundreds of lines of Java, as one that helps.

    Parameters
    ----------
    error : Exception
        Of a job, with the traceback of the worker in its text.
    """
    text = str(error)
    if "No module named 'geoquarry" in text:
        return GeoquarryError(
            "Spark's Python workers cannot import geoquarry; nothing under way was committed. "
            "Install it there, or ship it: geoquarry.engine.spark.ship(session)."
        )
    if "Python worker exited unexpectedly" in text or "ExecutorLostFailure" in text:
        return GeoquarryError(
            "Spark's workers died again and again; nothing under way was committed. Is there "
            "enough memory? Try fewer cores per executor, or more of spark.executor.memoryOverhead."
        )
    # Of the last traceback the first line that is not indented says what it was.
    _, traceback, last = text.rpartition("Traceback (most recent call last):\n")
    lines = last.splitlines() if traceback else re.findall(r"SparkException: (.*)", text)
    reason = next((line.strip() for line in lines if line and not line[0].isspace()), text[:200])
    return GeoquarryError(f"Spark gave up: {reason}. Nothing under way was committed.")
