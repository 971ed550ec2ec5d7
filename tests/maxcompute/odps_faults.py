"""Faults that a test plants in the server, each a number of times.

``kind`` is one of :data:`KINDS`; ``match`` is a regular expression searched in the label and the
first line of a request (``"upload.block PUT /projects/..."``), or in the text of a statement.
"""

import re
import threading
from dataclasses import dataclass, field

KINDS = {
    # of any request
    "5xx": "answered with a status of 500 or more, and nothing was done (status=503)",
    "quota": "answered with 429 FlowExceeded, and nothing was done",
    "reset": "the connection is reset while the body is still on its way, nothing was done",
    "reply_lost": "it was done, but the connection is reset instead of an answer",
    "done_5xx": "it was done, but answered with a status of 500 or more (status=500)",
    # of a download
    "truncated": "the answer ends in the middle and the connection is closed",
    "short": "the answer ends well formed, but with fewer rows than asked for",
    "crc": "a checksum is wrong",
    # of tunnel sessions
    "expired_upload": "the upload session is expired",
    "expired_download": "the download session is expired",
    "block_lost": "a block that arrived is not there any more at the commit",
    # of statements
    "task_failed": "the task fails before it does anything (message=...)",
    "task_failed_done": "the task did its work and is reported as failed (message=...)",
    "task_slow": "the task takes longer (seconds=...)",
    "task_cancelled": "somebody with the right to do so stops the task",
    "conflict": "an INSERT meets another writer at its last step",
}


@dataclass
class Fault:
    """One planted fault."""

    kind: str
    times: int
    match: str
    details: dict = field(default_factory=dict)
    hits: list = field(default_factory=list)


class Faults:
    """The faults of a server."""

    def __init__(self):
        self._faults = []
        self._lock = threading.Lock()

    def add(self, kind, times=1, match="", **details):
        """Plant a fault and return it (``hits``: where it struck); ``times=None`` means always."""
        if kind not in KINDS:
            raise KeyError(f"no fault {kind!r}: {', '.join(KINDS)}")
        fault = Fault(kind, times if times is not None else 10**9, match, details)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, kind, text):
        """The planted fault of a kind that strikes here, or None."""
        with self._lock:
            for fault in self._faults:
                if fault.kind == kind and fault.times > 0 and re.search(fault.match, text, re.S):
                    fault.times -= 1
                    fault.hits.append(text[:500])
                    return fault
        return None

    def clear(self):
        """Forget every fault."""
        with self._lock:
            self._faults.clear()
