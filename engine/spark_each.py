"""Any piece of work on Spark: the verb `each` of an engine, one task per item."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from geoquarry.engine.run import go_on
from geoquarry.engine.spark_session import Session
from geoquarry.engine.spark_tasks import job_group, stream

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def each(
    session: Session,
    work: Callable[[Item], Answer],
    items: Sequence[Item],
    check: Callable[[], None] = go_on,
) -> Iterator[Answer]:
    """Do the same with many things on the workers of a session; see `engine.local.Engine.each`.

    A task that loses its worker is tried again, and may run twice: ``work`` must not mind. Each
    item is answered once all the same.

    Parameters
    ----------
    session : SparkSession
    work : callable
        Pickled; what it is made of must be importable on the workers.
    items : sequence
    check : callable
        Asked a few times a second whether to go on; what it raises ends everything.

    Yields
    ------
    answer : Any
        As soon as its task has ended, so not in the order of the items.

    Raises
    ------
    GeoquarryError
        A task failed in all its attempts.
    """
    return stream(
        session,
        work,
        items,
        check=check,
        group=job_group(uuid.uuid4().hex),
        about=f"geoquarry {type(work).__name__}: {len(items)} items",
    )
