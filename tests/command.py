"""The real command line in a process of its own: armed with fail points, killed, or left alone."""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from geoquarry.engine.failpoint import VARIABLE

LONGEST_S = 240
KILLED = -9


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    said: str

    @property
    def answer(self):
        """What `--json` answered."""
        return json.loads(self.out)


def start(*words, failpoint="", cwd=None, **environment):
    """Begin `geoquarry WORDS`; the caller looks after it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    env.pop(VARIABLE, None)
    if failpoint:
        env[VARIABLE] = failpoint
    return subprocess.Popen(
        [sys.executable, "-m", "geoquarry", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=cwd,
    )


def wait(process):
    """Wait for a command that was begun."""
    out, said = process.communicate(timeout=LONGEST_S)
    return Ended(process.returncode, out, said)


def geoquarry(*words, **options):
    """Run `geoquarry WORDS` to its end."""
    return wait(start(*words, **options))


def killed_after(seconds, *words):
    """SIGKILL `geoquarry WORDS` after so many seconds, unless it was quicker."""
    process = start(*words)
    try:
        return Ended(process.wait(seconds), "", "")
    except subprocess.TimeoutExpired:
        process.kill()
    finally:
        process.communicate()
    return Ended(process.returncode, "", "")


def kill_once(words, points, moments: random.Random, length_s, *, at_random=False):
    """Kill a command at a named point, or at a random moment of its life.

    Returns
    -------
    how : str
        For the record.
    """
    if at_random:
        # The interpreter starts for about half of a short command's life: be there more often.
        seconds = length_s * moments.uniform(0.4, 1.05)
        ended = killed_after(seconds, *words)
        return f"after {seconds:.2f} of {length_s:.2f} s" + ("" if ended.code else ": too late")
    point = moments.choice(points)
    ended = geoquarry(*words, failpoint=point)
    assert ended.code == KILLED, (point, ended)
    return point


def timed(*words):
    """An undisturbed run and how long it took."""
    began = time.monotonic()
    ended = geoquarry(*words)
    assert ended.code == 0, ended
    return time.monotonic() - began


def files_below(folder):
    """All files below a folder, hidden and unfinished ones included."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())
