"""HDF4 files: opened with a clear refusal, read by window, always closed.

The HDF4 library keeps global state and is not safe for threads, so one lock serves the process
for as long as a file is open: read what is needed, close, then compute.
"""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pyhdf.error import HDF4Error
from pyhdf.SD import SD, SDC

from geoquarry.schemas.errors import InputError

MAGIC = b"\x0e\x03\x13\x01"
"""First bytes of every HDF4 file (HDF4 Specification and Developer's Guide, section 2.2)."""
EMPTY_TAG = 1
"""Tag of an unused data descriptor (DFTAG_NULL, same guide)."""
LOCK = threading.RLock()


def refuse_damaged(path: Path) -> None:
    """Check that a file is HDF4 and holds every byte its own directory announces.

    The library itself answers a cut file with "HDF Internal error", or with garbage when the cut
    fell behind its directory. The directory is a chain of blocks of (tag, ref, offset, length).

    Raises
    ------
    InputError
        The file is missing, is not HDF4, or is shorter than its directory says.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    size = path.stat().st_size
    with path.open("rb") as stream:
        if (found := stream.read(4)) != MAGIC:
            raise InputError(
                f"{path}: not an HDF4 file (it starts with {found!r} instead of {MAGIC!r}). "
                "Was the download complete, or is it HDF5?"
            )
        block, seen, listed = 4, set[int](), 0
        while block:
            stream.seek(max(block, 0))
            head = stream.read(6)
            entries, following = struct.unpack(">hi", head) if len(head) == 6 else (0, 0)
            directory = stream.read(12 * max(entries, 0))
            needed = [
                offset + length
                for tag, _, offset, length in struct.iter_unpack(
                    ">HHii", directory[: len(directory) // 12 * 12]
                )
                if tag != EMPTY_TAG and offset >= 0 and length >= 0
            ]
            listed += len(directory)  # blocks that overlap would be read again and again
            cut = len(head) < 6 or entries <= 0 or len(directory) < 12 * entries or listed > size
            if cut or block < 0 or max(needed, default=0) > size or following in seen:
                raise InputError(
                    f"{path}: truncated or damaged HDF4 file ({size} bytes are fewer than its own "
                    "directory lists). Fetch it again."
                )
            seen.add(block)
            block = following


class Hdf4:
    """An open HDF4 file; use it in a ``with`` statement.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        Missing, not HDF4, truncated, or refused by the library.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        refuse_damaged(self.path)
        self._sd: Any = None

    def __enter__(self) -> "Hdf4":
        LOCK.acquire()
        try:
            with self._explained("cannot be opened"):
                self._sd = SD(str(self.path), SDC.READ)
        except BaseException:
            LOCK.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            self._sd.end()
        except HDF4Error:
            pass  # nothing was written: a failing close loses nothing
        finally:
            LOCK.release()

    def attributes(self) -> dict[str, Any]:
        """Global attributes by name; text keeps its NUL padding."""
        with self._explained("has unreadable attributes"):
            found: dict[str, Any] = self._sd.attributes()
        return found

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each scientific dataset, by name."""
        with self._explained("has an unreadable list of datasets"):
            listed = self._sd.datasets()
        return {name: _as_tuple(entry[1]) for name, entry in listed.items()}

    def dataset_attributes(self, name: str) -> dict[str, Any]:
        """Attributes of one dataset (scale, fill, valid range)."""
        with self._selected(name) as dataset:
            found: dict[str, Any] = dataset.attributes()
        return found

    def read(self, name: str, window: tuple[slice, ...] = ()) -> NDArray[Any]:
        """Read one dataset, or a window of it.

        Parameters
        ----------
        name : str
            Where two swaths share a name (``Latitude``), the first is read.
        window : tuple of slice
            One slice without step per leading axis; missing axes are read whole.

        Returns
        -------
        data : array
            In the dataset's own dtype; every axis is kept.

        Raises
        ------
        InputError
            No such dataset, or its bytes cannot be read.
        """
        with self._selected(name) as dataset:
            shape = _as_tuple(dataset.info()[2])
            whole = window + (slice(None),) * (len(shape) - len(window))
            spans = [part.indices(size) for part, size in zip(whole, shape, strict=True)]
            count = [max(stop - start, 0) for start, stop, _ in spans]
            # Called even for an empty window's sake of dtype: one pixel costs nothing.
            data = np.asarray(
                dataset.get(
                    start=[
                        min(start, n - 1) for (start, _, _), n in zip(spans, shape, strict=True)
                    ],
                    count=[max(n, 1) for n in count],
                )
            )
        return data.reshape(count) if 0 not in count else np.empty(count, data.dtype)

    @contextmanager
    def _selected(self, name: str) -> Iterator[Any]:
        shapes = self.shapes()
        if name not in shapes:
            raise InputError(
                f"{self.path}: no dataset {name!r}. It has: {', '.join(shapes) or 'none'}."
            )
        with self._explained(f"has an unreadable dataset {name!r}"):
            dataset = self._sd.select(name)
            try:
                yield dataset
            finally:
                dataset.endaccess()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (HDF4Error, ValueError, MemoryError) as error:
            self._refuse(what, error)

    def _refuse(self, what: str, error: Exception) -> NoReturn:
        raise InputError(
            f"{self.path}: HDF4 file {what} ({error}). It may be damaged; fetch it again."
        ) from error


def _as_tuple(shape: Any) -> tuple[int, ...]:
    # One-dimensional datasets report a bare int.
    return tuple(int(n) for n in shape) if isinstance(shape, list | tuple) else (int(shape),)
