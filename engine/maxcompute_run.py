"""A job on MaxCompute on its way: what every run tells, and its instance."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from geoquarry.engine.run import Run, RunReport


class MaxComputeRun(Run):
    """A run whose tiles are computed by an instance of the service.

    Attributes
    ----------
    instance_id : str
        Of the statement that computes tiles; empty before it is sent.
    logview : str
        Address of its page at the service, good for a week; empty if the service gives none.
    """

    def __init__(self, work: Callable[["MaxComputeRun"], RunReport]) -> None:
        self.instance_id = ""
        self.logview = ""
        self._told = 0
        super().__init__(lambda _: work(self))

    # For the driver:

    def sent(self, instance: Any) -> None:
        """The statement is on its way."""
        self.instance_id = str(instance.id)
        with suppress(Exception):  # whatever keeps the service from it, the job goes on
            self.logview = str(instance.get_logview_address())

    def follow(self, instance: Any, tiles: int) -> None:
        """Ask how far the instance is: tiles are counted as the share of its workers that ended.

        Parameters
        ----------
        instance : odps.models.Instance
        tiles : int
            That it computes.
        """
        with suppress(Exception):
            stages = instance.get_task_progress().stages
            share = sum(_share(stage) for stage in stages) / max(len(stages), 1)
            self.reached(int(tiles * share))

    def reached(self, tiles: int) -> None:
        """So many tiles of the statement are done; never fewer than before."""
        more = tiles - self._told
        if more > 0:
            self._told = tiles
            self.advance(more)


def _share(stage: Any) -> float:
    total = stage.total_workers or 0
    ended = (stage.terminated_workers or 0) / total if total else 0.0
    return max(ended, (stage.finished_percentage or 0) / 100)
