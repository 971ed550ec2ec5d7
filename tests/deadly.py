"""Work that kills its own process, or never ends; importable, since it travels to workers."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geoquarry.engine.run import go_on
from geoquarry.engine.tile import Part


@dataclass(frozen=True)
class Deadly:
    """Kills its process at tile 2, the first ``lives`` times."""

    folder: str
    lives: int
    check: Callable[[], None] = go_on

    def __call__(self, task):
        if task.tile_x == 2:
            deaths = list(Path(self.folder).iterdir())
            if len(deaths) < self.lives:
                Path(self.folder, str(len(deaths))).touch()
                os._exit(9)
        return Part(task.tile_x, task.tile_y, "ok", "", None)


@dataclass(frozen=True)
class Endless:
    """A tile of many rows: touches a file when it begins, and ends only when it is told to."""

    folder: str
    check: Callable[[], None] = go_on

    def __call__(self, task):
        Path(self.folder, str(task.tile_x)).touch()
        for _ in range(600):
            time.sleep(0.1)
            self.check()
        return Part(task.tile_x, task.tile_y, "ok", "", None)
