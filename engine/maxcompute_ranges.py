"""Rows of a download session by ranges: what breaks is read again from the row where it broke."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import requests
from odps.config import option_context
from odps.tunnel.io.types import odps_schema_to_arrow_schema

from geoquarry.engine.maxcompute_errors import ATTEMPTS, SessionGone, is_gone, is_transient


@contextmanager
def utc() -> Iterator[None]:
    """Timestamps of the tunnel are UTC in this block, whatever the time zone of this host is.

    Settings of PyODPS belong to a thread's context; those of whoever calls us stay as they are.
    """
    with option_context({"local_timezone": False}):
        yield


class Ranges:
    """A download session of a table, a partition or an answer.

    Parameters
    ----------
    session : download session of PyODPS
    ours : callable (error, what) -> GeoquarryError
        Says an error in our words.
    what : str
        For error texts.
    """

    def __init__(
        self, session: Any, ours: Callable[[Exception, str], Exception], what: str
    ) -> None:
        self.session = session
        self.ours = ours
        self.what = what

    @property
    def count(self) -> int:
        """Rows of the session."""
        return int(self.session.count)

    @property
    def schema(self) -> pa.Schema:
        """Columns as they come."""
        return odps_schema_to_arrow_schema(self.session.schema)

    def batches(
        self, columns: Sequence[str] | None = None, start: int = 0, count: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows by their place, each once, whatever happens to the line.

        Parameters
        ----------
        columns : sequence of str, optional
            Default: all.
        start, count : int
            Default: all rows.

        Raises
        ------
        SessionGone
            The places mean nothing any more.
        GeoquarryError
            The service does not answer, or refuses.
        """
        count = self.count - start if count is None else count
        done = failures = 0
        while done < count:
            try:
                reader = self.session.open_arrow_reader(
                    start + done, count - done, **({"columns": list(columns)} if columns else {})
                )
                while True:
                    with utc():
                        batch = reader.read_next_batch()
                    if batch is None:
                        break
                    yield batch
                    done += batch.num_rows
                    failures = 0
                # A line that is cut exactly between two batches looks like the end of the rows.
                if done != count:
                    raise requests.ConnectionError(f"{done} of {count} rows came")
            except Exception as error:
                failures += 1
                if is_gone(error):
                    raise SessionGone(str(self.ours(error, self.what))) from None
                broken = is_transient(error) or isinstance(error, OSError | pa.ArrowException)
                if failures == ATTEMPTS or not broken or done > count:
                    raise self.ours(error, self.what) from None
                time.sleep(0.1 * 2**failures)

    def table(
        self, columns: Sequence[str] | None = None, start: int = 0, count: int | None = None
    ) -> pa.Table:
        """The same at once."""
        found = list(self.batches(columns, start, count))
        if not found:
            schema = self.schema
            return schema.empty_table().select(list(columns or schema.names))
        return pa.Table.from_batches(found)
