"""One case under watch: what it raises, how long it takes, how much it allocates."""

import time
import tracemalloc
from collections.abc import Callable

from fuzz.registry import Target

from geoquarry.schemas.errors import GeoquarryError

SLOW_S = 1.0
"""Processor time of one case; wall time would blame a busy machine."""
GREEDY_BYTES = 64 * 2**20
"""Peak of one case in Python's and NumPy's allocators. Arrow and other C code is bounded by the
address space of the guided driver, see `guided`."""


class Finding(AssertionError):
    """A case that breaks a promise."""


class TooSlow(Finding):
    """Over `SLOW_S`."""


class TooGreedy(Finding):
    """Over `GREEDY_BYTES`."""


def checked(target: Target, data: bytes) -> bool:
    """Run one case; whether it was accepted (not refused with an error of ours).

    Raises
    ------
    Finding
        Too slow. Whatever else the parser lets out comes as it is.
    """
    began = time.thread_time()
    try:
        target.run(data)
        accepted = True
    except GeoquarryError as error:
        accepted = False
        if not str(error).strip():
            raise Finding(f"{target.name}: an error without words: {error!r}") from error
    took = time.thread_time() - began
    if took > SLOW_S:
        raise TooSlow(f"{target.name}: {took:.2f} s for {len(data)} bytes: {data[:80]!r}")
    return accepted


def weighed(target: Target, data: bytes) -> bool:
    """The same under `tracemalloc`, which slows it down several times.

    The clock is therefore read in a second run, and only of a case that looked slow.
    """
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        try:
            accepted = checked(target, data)
        except TooSlow:
            accepted = None
        peak = tracemalloc.get_traced_memory()[1] - base
    finally:
        tracemalloc.stop()
    if peak > GREEDY_BYTES:
        raise TooGreedy(f"{target.name}: {peak / 2**20:.0f} MiB for {data[:80]!r}")
    return checked(target, data) if accepted is None else accepted


def shrunk(fails: Callable[[bytes], bool], data: bytes, rounds: int = 400) -> bytes:
    """A shorter case that fails as well: ever smaller pieces are left out.

    >>> shrunk(lambda case: b"!" in case, b"what a finding! is it?")
    b'!'
    """
    size = len(data) // 2
    while size and rounds:
        at = 0
        while at < len(data) and rounds:
            rounds -= 1
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
