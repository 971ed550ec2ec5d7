"""CPU time and memory of a process and all its descendants, from /proc (Linux)."""

import os
import threading
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def _stat(pid: int) -> tuple[int, float] | None:
    """Parent, and CPU seconds with those of children that have ended; None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return int(fields[1]), sum(map(int, fields[11:15])) / TICKS


def tree(root: int) -> dict[int, float]:
    """CPU seconds of each living process below (and with) a root."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            found[int(entry.name)] = stat
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in found.items():
        children.setdefault(parent, []).append(pid)
    members, waiting = {}, [root]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            members[pid] = found[pid][1]
            waiting += children.get(pid, [])
    return members


def cpu_s(root: int) -> float:
    """CPU seconds of a tree so far; what ended is counted by the parent that waited for it."""
    return sum(tree(root).values())


def pss_mb(root: int) -> float:
    """Memory of a tree: a page that several processes share counts once."""
    total = 0
    for pid in tree(root):
        try:
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


class Peak(threading.Thread):
    """Watches the memory of a tree until it is stopped."""

    def __init__(self, root: int, every_s: float = 0.2) -> None:
        super().__init__(daemon=True)
        self.root, self.every_s = root, every_s
        self.mb = 0.0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(self.every_s):
            self.mb = max(self.mb, pss_mb(self.root))

    def stop(self) -> float:
        self._stop_asked.set()
        self.join()
        return self.mb
