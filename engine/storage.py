"""When storage says no: what could not be written, where, and what helps."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DatabaseError

from geoquarry.schemas.errors import GeoquarryError, StorageError, TableError

AGAIN = "then run the same command again; nothing is half done."
ADVICE = {
    errno.ENOSPC: f"Free some space (`geoquarry vacuum` may help), {AGAIN}",
    errno.EDQUOT: f"Your quota is used up: free some space, {AGAIN}",
    errno.EFBIG: f"Files may not grow that large here: raise the limit, {AGAIN}",
    errno.EROFS: "It is mounted read-only: reading works; to write, mount it for writing.",
    errno.EACCES: "This account may not write there: change the permissions or the place.",
    errno.EPERM: "This account may not write there: change the permissions or the place.",
    errno.EIO: f"The disk or its network fails: mend it, {AGAIN}",
}
"""errno -> what to do about it."""
READONLY = -1
"""A database says no more than that: it may be the permissions as well as the disk."""
_MAYBE = (
    "This account may not write there, or it is mounted read-only: look at the permissions of the "
    "catalog's file and folder, then at the mount; reading works."
)
_DATABASE = {
    r"is full": errno.ENOSPC,
    r"read-only file system": errno.EROFS,
    r"readonly|read-only|read only": READONLY,
    r"unable to open": errno.EACCES,
    r"disk i/o": errno.EIO,
}
_BUSY = re.compile("locked|already exists|busy|unique", re.IGNORECASE)


@contextmanager
def writing(where: str | os.PathLike[str]) -> Iterator[None]:
    """Say of errors of the disk below: what, where, what to do.

    Raises
    ------
    StorageError
        In place of an OSError that is the storage's own; others, such as a missing file, pass.

    Examples
    --------
    >>> with writing("a.txt"):
    ...     raise OSError(errno.ENOSPC, "full")
    Traceback (most recent call last):
    ...
    geoquarry.schemas.errors.StorageError: Cannot write a.txt: No space left on device. Free ...
    """
    try:
        yield
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        said = f"{os.strerror(error.errno)}. {ADVICE[error.errno]}"
        raise StorageError(f"Cannot write {os.fspath(where)}: {said}") from error


def is_busy(error: DatabaseError) -> bool:
    """Whether another process is just using the catalog, so that waiting helps."""
    return _BUSY.search(str(error.orig)) is not None


def catalog_trouble(error: DatabaseError) -> GeoquarryError:
    """What the catalog's database said, for people."""
    said = str(error.orig)
    for pattern, number in _DATABASE.items():
        if re.search(pattern, said, re.IGNORECASE):
            return StorageError(f"Cannot write the catalog: {said}. {ADVICE.get(number, _MAYBE)}")
    return TableError(f"The catalog does not answer: {said}")
