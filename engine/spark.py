"""The Spark engine: tables as on the local engine, tiles on any number of hosts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa

from geoquarry.engine import local
from geoquarry.engine.driver import Driver, Execute
from geoquarry.engine.run import Run, go_on
from geoquarry.engine.spark_each import each
from geoquarry.engine.spark_session import Session, checked, is_local, ship, slots, start
from geoquarry.engine.spark_sql import in_sql
from geoquarry.engine.spark_statement import register, select, sql
from geoquarry.engine.spark_tasks import in_tasks
from geoquarry.engine.sql import ScalarFunction
from geoquarry.engine.warehouse import Warehouse, open_warehouse
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.job import Job

Item = TypeVar("Item")
Answer = TypeVar("Answer")
__all__ = ["PLANS", "Engine", "open_engine", "register", "ship", "sql", "start"]


PLANS: dict[str, Callable[[Session], Execute]] = {"direct": in_tasks, "sql": in_sql}
"""Ways to compute tiles on Spark: workers read the files themselves, or rows go through Spark."""


def open_engine(
    location: str, *, catalog: str | None = None, create: bool = True, **options: Any
) -> "Engine":
    """Open a warehouse with the Spark engine.

    Parameters
    ----------
    location : str
        URI such as ``s3://bucket/prefix``, or a folder that every worker sees under this path.
    catalog : str, optional
        For a URI: SQLAlchemy URL of the database that holds the catalog; default
        ``$GEOQUARRY_CATALOG``. Only the driver uses it.
    create : bool
        Make a folder that is missing; otherwise refuse it.
    **options
        ``master``, ``conf``, ``session``, ``plan``, ``workers`` and ``functions``, see `Engine`.
    """
    return Engine(open_warehouse(location, catalog, create=create), **options)


class Engine(local.Engine):
    """The verbs of every engine; jobs run on Spark, in one commit like everywhere.

    Spark starts with the first job, not before.

    Parameters
    ----------
    warehouse : Warehouse
    master, conf : optional
        Where Spark runs and with which settings, see `engine.spark_session.start`.
    session : SparkSession, optional
        Use this one as it is; it must be in UTC. Its workers must be able to import geoquarry,
        see `engine.spark_session.ship`.
    plan : {"direct", "sql"}
        Direct takes half to two thirds of the CPU time and a fifth of the memory of sql, which
        lets Spark read and group the rows.
    workers : int, optional
        Without a master: cores of this host to use.
    functions : mapping of str -> ScalarFunction, optional
        Scalar functions for `sql`.
    """

    name = "spark"

    def __init__(
        self,
        warehouse: Warehouse,
        *,
        master: str | None = None,
        conf: Mapping[str, str] | None = None,
        session: Session = None,
        plan: str = "direct",
        workers: int | None = None,
        functions: Mapping[str, ScalarFunction] | None = None,
    ) -> None:
        if plan not in PLANS:
            raise UsageError(f"No plan {plan!r}. Choose one of: {', '.join(sorted(PLANS))}.")
        if session is not None and (master or conf or workers):
            raise UsageError("A session has its master and settings: give either it or those.")
        if master is not None and workers is not None:
            raise UsageError(
                f"workers={workers} is for this host, but Spark runs on {master!r}: write "
                f"local[{workers}], or set spark.executor.cores and spark.executor.instances."
            )
        if session is not None:
            self.session = checked(session)
            master = session.sparkContext.master
        elif workers is not None:
            master = f"local[{workers}]"
        super().__init__(warehouse, workers=workers or slots(master), functions=functions)
        self.plan = plan
        self.on_this_host = master is None or is_local(master)
        self._master, self._conf = master, conf

    @cached_property
    def session(self) -> Session:
        """The Spark session; it starts when it is first asked for."""
        return start(self._master, self._conf)

    def sql(self, text: str) -> pa.RecordBatchReader:
        """Answer a SELECT in Spark's dialect; `functions` and the tile methods may be called in it.

        The answer is collected on the driver. An INSERT is a job: see jobs/statement.py.
        """
        return select(self.session, self.warehouse, text, self.functions)

    def run(self, job: Job) -> Run:
        """Start a job in the background; see `engine.local.Engine.run`.

        The Spark job is in the group ``geoquarry-<commit id>``; `Run.cancel` cancels that group.
        """
        driver = Driver(self.warehouse, job)
        execute = PLANS[self.plan](self.session)
        return Run(lambda run: driver.run(run, execute))

    def each(
        self,
        work: Callable[[Item], Answer],
        items: Sequence[Item],
        check: Callable[[], None] = go_on,
    ) -> Iterator[Answer]:
        """Do the same with many things, each a task; see `engine.local.Engine.each`."""
        return each(self.session, work, items, check)
