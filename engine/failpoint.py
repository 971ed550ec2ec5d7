"""Fail points: named places where a test can kill the process, or make the disk refuse.

``GEOQUARRY_FAILPOINT=NAME[:NTH[+]][:HOW]`` arms one of `POINTS` for a process: when it is passed
for the NTH time (default 1; with ``+`` from then on), the process is killed as by ``kill -9``, or,
if HOW is the name of an errno such as ``ENOSPC``, the operating system seems to answer so. Without
the variable nothing is ever counted or checked.
"""

import errno
import os
import re
import signal
import threading
from dataclasses import dataclass, field

from geoquarry.schemas.errors import UsageError

VARIABLE = "GEOQUARRY_FAILPOINT"
POINTS = {
    "file.create": "any file of a table is about to be created, data and metadata alike",
    "file.delete": "any file of a table is about to be deleted",
    "file.finish": "a complete file of a table is about to get its name",
    "datafile.row": "a row is in a data file that is not finished",
    "datafile.index": "a data file has its index, but not yet its name",
    "datafile.done": "a data file is complete; no table knows it",
    "granule.discard": "a data file that will not be committed is gone, its index is not",
    "note.half": "the note of a writer has been begun",
    "append.noted": "a writer has left its note and written nothing",
    "append.landed": "rows are committed; the writer's note is still there",
    "commit.planned": "a commit knows its files and has written nothing",
    "commit.manifests": "manifests of a commit are written, the table's metadata is not",
    "commit.catalog": "all files of a commit are written, the catalog does not know",
    "commit.landed": "the catalog knows a commit; nobody has been told",
    "index.cache": "the cached index of a table is complete under another name",
    "run.planned": "a job knows its tiles and has computed none",
    "run.tile": "one more tile of a job is computed",
    "run.computed": "all tiles of a job are computed, none is committed",
    "run.landed": "a job is committed; its note is still there",
    "ingest.scene": "one more scene is with the appender",
    "vacuum.expired": "old snapshots are forgotten, their files are there",
    "export.begun": "a raster for people has been begun",
    "export.file": "one more raster is complete under its name",
    "atomic.written": "a file for people is complete under another name",
}
"""Name -> where a process stands there."""
_SPEC = re.compile(r"(?P<name>[a-z.]+)(:(?P<nth>[1-9][0-9]*)(?P<on>\+)?)?(:(?P<how>kill|E[A-Z]+))?")


@dataclass
class Armed:
    """One armed fail point.

    Attributes
    ----------
    name : str
    nth : int
        Which pass of it is the one.
    lasting : bool
        All later passes as well.
    errno : int or None
        What the operating system seems to answer; None: the process is killed.
    """

    name: str
    nth: int = 1
    lasting: bool = False
    errno: int | None = None
    _passed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reached(self) -> None:
        """Count one pass; at the right one do what was asked for."""
        with self._lock:
            self._passed += 1
            number = self._passed
        if number < self.nth or (number > self.nth and not self.lasting):
            return
        if self.errno is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise OSError(self.errno, f"{os.strerror(self.errno)} (fail point {self.name})")


def read(text: str) -> Armed | None:
    """What the variable says; None when it is empty.

    Raises
    ------
    UsageError
        No such point or errno: a test that arms nothing would prove nothing.

    Examples
    --------
    >>> read("file.create:3+:ENOSPC").nth
    3
    """
    if not text:
        return None
    found = _SPEC.fullmatch(text)
    how = (found and found["how"]) or "kill"
    if found is None or found["name"] not in POINTS or (how != "kill" and not hasattr(errno, how)):
        raise UsageError(
            f"{VARIABLE}={text!r}: write NAME[:NTH[+]][:kill|ERRNO]; names: {', '.join(POINTS)}."
        )
    return Armed(
        found["name"],
        int(found["nth"] or 1),
        bool(found["on"]),
        None if how == "kill" else getattr(errno, how),
    )


_armed = read(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Pass a fail point; nothing happens unless this one is armed."""
    if _armed is not None and _armed.name == name:
        _armed.reached()


def is_armed(name: str) -> bool:
    """Whether a fail point is armed, for those that need more than one line."""
    return _armed is not None and _armed.name == name
