"""Which process is at work, and whether it still lives: one answer for notes and for the ledger."""

import os
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ENDED = ("Z", "X")
"""States of a process that has ended and is still listed, because nobody asked how it ended."""


@dataclass(frozen=True)
class Process:
    """One process of one host, told from a later one that got the same number.

    Attributes
    ----------
    host : str
    pid : int
    born : str
        The host's boot, the space its process numbers belong to, and when the process was started;
        empty where the operating system does not tell.
    """

    host: str
    pid: int
    born: str = ""

    def is_live(self, heard_s: float, lease_s: float) -> bool:
        """Whether it may still be at work.

        Of this host it is known; of another one it is believed for a while after it was heard of.

        Parameters
        ----------
        heard_s : float
            When it was last heard of, seconds since the epoch.
        lease_s : float
            How long another host is believed, seconds.

        Examples
        --------
        >>> this_process().is_live(0.0, lease_s=60.0)
        True
        >>> Process("another host", 1).is_live(0.0, lease_s=60.0)
        False
        """
        here = this_process()
        if self.host != here.host or not self._beside(here):
            return time.time() - heard_s < lease_s
        if self.pid == here.pid:
            return self.born in ("", here.born)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is there and somebody else's
        return self.born in ("", _born(self.pid))

    def _beside(self, here: "Process") -> bool:
        """Whether its number means here what it meant there: same boot, same space of numbers."""
        space, own = (born.rpartition("-")[0] for born in (self.born, here.born))
        return not (space and own) or space == own


@cache
def _of(pid: int) -> Process:
    return Process(socket.gethostname(), pid, _born(pid))


def this_process() -> Process:
    """The process that asks (a forked one is another)."""
    return _of(os.getpid())


def _born(pid: int) -> str:
    """Boot, space of process numbers and start (in clock ticks) of a process of this host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        space = os.stat("/proc/self/ns/pid").st_ino
        # The name of the program, in brackets, may hold anything; fields 3 and 22 come behind it.
        said = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        state, *rest = said.rpartition(")")[2].split()
        ticks = rest[18]
    except (OSError, ValueError, IndexError):
        return ""
    if state in ENDED:
        return f"{boot}-{space}-ended"
    return f"{boot}-{space}-{ticks}"
