"""Keep what 6S said: a state that was run once is never run again."""

import os
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path


class Cache:
    """Results of 6S in an SQLite file that several processes may share.

    A cache that cannot be read or written costs time, not the job: it warns and is left out.

    Parameters
    ----------
    path : path-like
        The file; made when missing, may be deleted at any time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Values of those keys that are there."""
        try:
            with closing(self._open()) as db:
                marks = ",".join("?" * len(keys))
                query = f"SELECT key, value FROM sixs WHERE key IN ({marks})"  # nosec B608  # marks
                return dict(db.execute(query, list(keys)).fetchall())
        except sqlite3.Error as error:
            self._warn(error)
            return {}

    def put(self, values: Mapping[str, str]) -> None:
        """Store values; one that is there already stays."""
        try:
            with closing(self._open()) as db, db:
                db.executemany("INSERT OR IGNORE INTO sixs VALUES (?, ?)", list(values.items()))
        except sqlite3.Error as error:
            self._warn(error)

    def _open(self) -> sqlite3.Connection:
        # The default rollback journal, not WAL: it works on network folders too, and a handful
        # of rows per second is far from its limits. A busy file is waited for.
        db = sqlite3.connect(self.path, timeout=60)
        db.execute("CREATE TABLE IF NOT EXISTS sixs (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        return db

    def _warn(self, error: sqlite3.Error) -> None:
        warnings.warn(
            f"6S cache {str(self.path)!r} is left out ({error}). Delete it if it is damaged.",
            stacklevel=3,
        )
