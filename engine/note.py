"""Notes that a writer leaves while its files are not committed yet: who, when, which commit.

They let `run --resume` find unfinished parts and keep `vacuum` from files of a living process.
"""

import json
import os
import socket
import time
from dataclasses import dataclass

from geoquarry.engine.files import delete_folder, is_uri, list_files
from geoquarry.engine.layout import Layout

FOREIGN_LEASE_S = 24 * 3600
"""A note of another host counts as alive for this long; there is no process to ask."""


@dataclass(frozen=True)
class Note:
    """One unfinished commit.

    Attributes
    ----------
    path : str
    group : str
        The job id, or ``append``.
    commit_id, host : str
    pid : int
    written_s : float
        Seconds since the epoch.
    """

    path: str
    group: str
    commit_id: str
    host: str
    pid: int
    written_s: float

    def is_live(self) -> bool:
        """Whether the process that wrote it may still be at work."""
        if self.host != socket.gethostname():
            return time.time() - self.written_s < FOREIGN_LEASE_S
        if self.pid == os.getpid():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def write_note(layout: Layout, group: str, commit_id: str) -> Note:
    """Note down a commit that begins; written again it changes hands."""
    path = f"{layout.location}/parts/{group}/{commit_id}.json"
    note = Note(path, group, commit_id, socket.gethostname(), os.getpid(), time.time())
    said = {"commit_id": commit_id, "host": note.host, "pid": note.pid, "written": note.written_s}
    with layout.io.new_output(path).create(overwrite=True) as stream:
        stream.write(json.dumps(said).encode())
    return note


def forget_note(layout: Layout, note: Note) -> None:
    """The commit has landed; the last note of a group takes the folder with it."""
    layout.io.delete(note.path)
    folder = os.path.dirname(note.path)
    # An object store has no folders, only names that begin alike.
    if not is_uri(folder) and not list_files(layout.io, folder):
        try:
            delete_folder(layout.io, folder)
        except OSError:
            return  # another process has just put its note there


def notes(layout: Layout, group: str | None = None) -> list[Note]:
    """Unfinished commits of one group, or of the table; the newest first."""
    below = f"/{group}" if group else ""
    found = []
    for info in list_files(layout.io, f"{layout.location}/parts{below}", recursive=True):
        try:
            with layout.io.new_input(info.path).open() as stream:
                said = json.loads(stream.read())
            found.append(
                Note(
                    info.path,
                    os.path.basename(os.path.dirname(info.path)),
                    str(said["commit_id"]),
                    str(said["host"]),
                    int(said["pid"]),
                    float(said["written"]),
                )
            )
        except (OSError, ValueError, KeyError):
            continue  # half written by a process that was killed, or just forgotten
    return sorted(found, key=lambda note: note.written_s, reverse=True)
