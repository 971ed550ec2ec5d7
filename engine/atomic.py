"""Files that appear under their name only when they are complete."""

import contextlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from geoquarry.engine.failpoint import failpoint
from geoquarry.engine.lease import Process, this_process
from geoquarry.engine.storage import writing
from geoquarry.schemas.errors import UsageError

_PART = re.compile(r"\.part\+(?P<host>[^+]+)\+(?P<pid>\d+)\+(?P<born>[^+]*)\+.*", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address begins, also one that went through a Path, which takes one of its slashes."""
FOREIGN_LEASE_S = 24 * 3600
"""A file of another host that nobody wrote to for this long belongs to nobody."""


def local_path(place: str | os.PathLike[str]) -> Path:
    """A file or folder of this host, which is all that files can be written to.

    Raises
    ------
    UsageError
        An address such as ``s3://bucket/a.csv``: as a path it would be a folder called ``s3:``.

    Examples
    --------
    >>> str(local_path("out/a.csv"))
    'out/a.csv'
    """
    text = os.fspath(place)
    if _ADDRESS.match(text):
        raise UsageError(
            f"{text} is an address, and files are written to this host only (a warehouse may be "
            "s3://..., see --warehouse). Give a path here and copy the result there."
        )
    return Path(text)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it at the end; after an error nothing is left.

    What a killed process left in the folder goes when the next one begins to write there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/new/a.txt") as part:
    ...         _ = part.write_text("whole")
    ...     Path(f"{folder}/new/a.txt").read_text()
    'whole'
    """
    target = local_path(path)
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file.")
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent.resolve())
    me = this_process()
    part = target.with_name(f".part+{me.host}+{me.pid}+{me.born}+{target.name}")
    try:
        with writing(target):
            yield part
            failpoint("atomic.written")
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@cache
def _sweep(folder: Path) -> None:
    """Delete unfinished files of processes that are no more; once per folder and process."""
    for left in folder.glob(".part+*"):
        found = _PART.fullmatch(left.name)
        with contextlib.suppress(OSError):  # gone, or not ours to delete
            writer = found and Process(found["host"], int(found["pid"]), found["born"])
            if writer and not writer.is_live(left.stat().st_mtime, FOREIGN_LEASE_S):
                left.unlink()
