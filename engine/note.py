"""Notes that a writer leaves while its files are not committed yet: who, when, which commit.

They let `run --resume` find unfinished parts and keep `vacuum` from files of a living process.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.files import begin, finish, is_uri, list_files, unfinished
from geoquarry.engine.layout import Layout
from geoquarry.engine.lease import Process, this_process
from geoquarry.engine.storage import writing

FOREIGN_LEASE_S = 24 * 3600
"""A note of another host counts as alive for this long; there is no process to ask."""
ATTEMPTS = 10


@dataclass(frozen=True)
class Note:
    """One unfinished commit.

    Attributes
    ----------
    path : str
    group : str
        The job id, or ``append``.
    commit_id : str
    process : Process
    written_s : float
        Seconds since the epoch.
    """

    path: str
    group: str
    commit_id: str
    process: Process
    written_s: float

    def is_live(self) -> bool:
        """Whether the process that wrote it may still be at work."""
        return self.process.is_live(self.written_s, FOREIGN_LEASE_S)


def write_note(layout: Layout, group: str, commit_id: str) -> Note:
    """Note down a commit that begins; written again it changes hands."""
    path = f"{layout.location}/parts/{group}/{commit_id}.json"
    note = Note(path, group, commit_id, this_process(), time.time())
    said = {"commit_id": commit_id, **asdict(note.process), "written": note.written_s}
    for attempt in range(ATTEMPTS):
        open_path = unfinished(path)
        try:
            with writing(path):
                with begin(layout.io, open_path) as stream:
                    failpoint("note.half")
                    stream.write(json.dumps(said).encode())
                finish(open_path, path)  # half a note would protect nobody's files
            break
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1:
                raise  # else: a vacuum that spares nothing has just taken the half one away
    return note


def forget_note(layout: Layout, note: Note) -> None:
    """The commit has landed; the last note of a group takes the folder with it."""
    layout.io.delete(note.path)
    folder = os.path.dirname(note.path)
    # An object store has no folders, only names that begin alike.
    if not is_uri(folder):
        with suppress(OSError):  # another process has its note there
            os.rmdir(folder)


def notes(layout: Layout, group: str | None = None) -> list[Note]:
    """Unfinished commits of one group, or of the table; the newest first."""
    below = f"/{group}" if group else ""
    found = []
    for info in list_files(layout.io, f"{layout.location}/parts{below}", recursive=True):
        if not info.path.endswith(".json"):
            continue  # not finished
        try:
            with layout.io.new_input(info.path).open() as stream:
                said = json.loads(stream.read())
            found.append(
                Note(
                    info.path,
                    os.path.basename(os.path.dirname(info.path)),
                    str(said["commit_id"]),
                    Process(str(said["host"]), int(said["pid"]), str(said.get("born", ""))),
                    float(said["written"]),
                )
            )
        except (OSError, ValueError, KeyError):
            continue  # just forgotten
    return sorted(found, key=lambda note: note.written_s, reverse=True)
