"""What GDAL says when it cannot write, as one error for people instead of noise on their screen."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

# What GDAL says when a copy fails has no public name (rasterio 1.4 and 1.5).
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from geoquarry.engine.storage import ADVICE
from geoquarry.schemas.errors import StorageError


@contextmanager
def writing_with_gdal(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn GDAL's errors below into one of ours; what it says on the way is the reason.

    Raises
    ------
    StorageError
        Naming the file, the first thing that GDAL said, and what helps.

    Examples
    --------
    >>> with writing_with_gdal("a.tif"):
    ...     raise RasterioError("seek failed")
    Traceback (most recent call last):
    ...
    geoquarry.schemas.errors.StorageError: Cannot write a.tif: seek failed. Is there space ...
    """
    heard: list[str] = []
    log = logging.getLogger("rasterio._env")  # a rasterio.Env sends all that GDAL says there
    listener = _Listener(heard)
    spread, log.propagate = log.propagate, False
    log.addHandler(listener)
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        reason = (heard[0] if heard else str(error.__cause__ or error)).rstrip(".")
        raise StorageError(f"Cannot write {os.fspath(path)}: {reason}. {_mend(reason)}") from error
    finally:
        log.removeHandler(listener)
        log.propagate = spread


def _mend(reason: str) -> str:
    """What helps, as far as GDAL's words tell.

    >>> _mend("Attempt to create new tiff file 'a.tif' failed: a.tif: Permission denied")
    'This account may not write there: change the permissions or the place.'
    """
    for number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO):
        if os.strerror(number).lower() in reason.lower():
            return ADVICE[number]
    return (
        "Is there space on its disk? Make room and run the same command again; nothing is left "
        "under that name."
    )


class _Listener(logging.Handler):
    """Keeps errors instead of printing them."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())
