"""A Spark job followed from outside: its answers as they come, and a way to cancel it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

from geoquarry.engine.spark_session import Session

ASK_S = 0.2
"""How often a waiting driver asks whether somebody cancelled."""


def followed(
    session: Session,
    launch: Callable[[Any], Any],
    *,
    check: Callable[[], None],
    group: str,
    about: str,
) -> Iterator[Any]:
    """Run a Spark action in a thread of its own, and hand on what its tasks deliver.

    Parameters
    ----------
    session : SparkSession
    launch : callable
        Starts the action and waits for it. It is given ``deliver``: workers call
        ``deliver.add([answer, ...])``, and Spark brings the answers of a task along when it ends
        well, once, whatever was retried or run twice.
    check : callable
        Asked a few times a second; what it raises cancels the job.
    group, about : str
        Name and description of the job group.

    Yields
    ------
    answer
        In any order.

    Raises
    ------
    Exception
        What Spark raised, as it is.
    """
    from pyspark import InheritableThread

    context = session.sparkContext
    arrived: Queue[list[Any] | None] = Queue()
    deliver = context.accumulator([], Delivery(arrived))
    failures: list[Exception] = []

    def drive() -> None:
        # Spark blocks; and a thread pinned to one of the JVM's has a job group of its own.
        try:
            context.setJobGroup(group, about)
            launch(deliver)
        except Exception as error:
            failures.append(error)
        finally:
            arrived.put(None)

    thread = InheritableThread(target=drive, name="spark job", daemon=True)
    thread.start()
    try:
        while True:
            check()
            try:
                answers = arrived.get(timeout=ASK_S)
            except Empty:
                continue
            if answers is None:
                break
            yield from answers
    finally:
        while thread.is_alive():  # again and again: it may be about to submit the job
            with suppress(Exception):
                context.cancelJobGroup(group)
            thread.join(ASK_S)
    if failures:
        raise failures[0]


class Delivery:
    """What an accumulator does with answers: gather them on a worker, hand them out on the driver.

    Parameters
    ----------
    arrived : Queue, optional
        On the driver.
    """

    def __init__(self, arrived: "Queue[Any] | None" = None) -> None:
        self.arrived = arrived

    def __reduce__(self) -> tuple[type["Delivery"], tuple[()]]:
        """The queue stays on the driver."""
        return Delivery, ()

    def zero(self, value: list[Any]) -> list[Any]:
        """Nothing yet."""
        return []

    def addInPlace(self, value: list[Any], more: list[Any]) -> list[Any]:  # noqa: N802  Spark's name
        """Take more answers, in the words of Spark."""
        if self.arrived is None:
            return value + more
        self.arrived.put(more)
        return value
