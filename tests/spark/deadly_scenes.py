"""Ingest work that kills its own process: importable, because it travels to worker processes."""

import os
from pathlib import Path

from geoquarry.jobs.ingest_scene import SceneDone, SceneWork


def trap(scene: Path) -> Path:
    """The file beside a scene that makes its next attempt deadly."""
    return scene.with_suffix(".deadly")


class DeadlyWork(SceneWork):
    """Dies when the file of a scene is written and nobody knows of it yet, once per trap."""

    def __call__(self, scene: Path) -> SceneDone:
        done = super().__call__(scene)
        if trap(scene).exists():
            trap(scene).unlink()
            os._exit(9)
        return done
