"""A spool into a table: one upload session, blocks in parallel, one commit, every row once."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from odps.tunnel import TableTunnel
from odps.tunnel.errors import TunnelError
from odps.tunnel.io.types import odps_schema_to_arrow_schema

from geoquarry.engine.maxcompute_connection import LONGEST_WAIT_S, Connection
from geoquarry.engine.maxcompute_errors import ATTEMPTS, SessionGone, is_gone, is_transient
from geoquarry.engine.maxcompute_spool import Spool
from geoquarry.engine.run import go_on
from geoquarry.schemas.errors import TableError

THREADS = 4
"""Blocks at a time; the service takes 10 MB/s of each."""
SESSIONS = 4
"""Upload sessions tried, when one expires."""


@dataclass(frozen=True)
class Uploaded:
    """What went up.

    Attributes
    ----------
    rows, nbytes, blocks : int
    """

    rows: int
    nbytes: int
    blocks: int


def upload(
    connection: Connection,
    physical: str,
    spool: Spool,
    check: Callable[[], None] = go_on,
    threads: int = THREADS,
) -> Uploaded:
    """Make a table hold the rows of a spool, and nothing else.

    Parameters
    ----------
    connection : Connection
    physical : str
        An unpartitioned table of our own, such as a staging table.
    spool : Spool
    check : callable
        Raises to give up.
    threads : int
        Blocks sent at a time.

    Raises
    ------
    TableError
        The service did not take the rows; nothing of them is visible, or all of them.
    """
    if not spool.rows:
        return Uploaded(0, 0, 0)
    for _ in range(SESSIONS):
        try:
            blocks = _through_one_session(connection, physical, spool, check, threads)
            return Uploaded(spool.rows, spool.nbytes, blocks)
        except SessionGone as gone:
            if count_rows(connection, physical) == spool.rows:
                return Uploaded(spool.rows, spool.nbytes, len(spool.blocks()))
            last = gone
    raise TableError(
        f"Table {physical!r}: the service closed {SESSIONS} upload sessions in a row: {last}"
    )


def _through_one_session(
    connection: Connection,
    physical: str,
    spool: Spool,
    check: Callable[[], None],
    threads: int,
) -> int:
    # Overwriting makes a second session harmless: the table holds the rows of the last one.
    session = connection.patiently(
        lambda: TableTunnel(connection.odps).create_upload_session(
            connection.odps.get_table(physical), overwrite=True
        ),
        f"upload to {physical!r}",
    )
    if session.max_field_size and spool.largest_cell > int(session.max_field_size):
        raise TableError(
            f"Table {physical!r}: a value of {spool.largest_cell / 2**20:.2f} MiB; the project "
            f"takes {int(session.max_field_size) / 2**20:g} MiB. Use a grid of smaller tiles."
        )
    blocks = dict(enumerate(spool.blocks(), start=1))

    def send(number: int) -> None:
        check()
        _send(connection, session, number, spool, blocks[number])

    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(send, number) for number in blocks]
        try:
            for done in waiting:
                done.result()
        except BaseException:
            for other in waiting:
                other.cancel()
            raise
    check()
    _commit(connection, session, physical, spool, blocks, send)
    return len(blocks)


def _send(connection: Connection, session: Any, number: int, spool: Spool, places: range) -> None:
    """One block, made again from the file as often as the line breaks."""
    schema = odps_schema_to_arrow_schema(session.schema)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # An open writer is a request of its own; leaving it by an error sends no end of it.
            writer = session.open_arrow_writer(number)
            for batch in spool.batches(places):
                _write(writer, as_sent(batch, schema))
            writer.close()
            return
        except Exception as error:
            if is_gone(error):
                raise SessionGone(connection.account.hide(str(error))) from None
            # A writer whose request has ended fails its own assertion rather than telling why.
            may_work = is_transient(error) or isinstance(error, AssertionError | TimeoutError)
            if attempt == ATTEMPTS or not may_work:
                raise connection.ours(error, f"block {number}") from None
        time.sleep(random.uniform(0.5, 1.0) * min(0.2 * 2**attempt, LONGEST_WAIT_S))


def as_sent(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the columns and types that the session asks for: timestamps in ns, no zone."""
    columns = [batch.column(field.name).cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _write(writer: Any, batch: pa.RecordBatch) -> None:
    """What ``writer.write(batch)`` does, which needs pandas to tell a batch from a data frame."""
    data = memoryview(batch.serialize())
    at = 0
    while at < len(data):
        size = writer._chunk_size - writer._cur_chunk_size
        writer._write_chunk(bytes(data[at : at + size]))
        at += size


def _commit(
    connection: Connection,
    session: Any,
    physical: str,
    spool: Spool,
    blocks: dict[int, range],
    send: Callable[[int], None],
) -> None:
    """Commit once; when the answer leaves it open whether that happened, the table says so."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            there = {int(block) for block in session.get_block_list() or ()}
            for lost in sorted(set(blocks) - there):
                send(lost)
            session.commit(sorted(blocks))
        except SessionGone:
            raise
        except Exception as error:
            if count_rows(connection, physical) == spool.rows:
                return  # it was done, only the answer was lost
            if is_gone(error):
                raise SessionGone(connection.account.hide(str(error))) from None
            lost_block = isinstance(error, TunnelError) and "Block" in str(error)
            if attempt == ATTEMPTS or not (is_transient(error) or lost_block):
                raise connection.ours(error, f"commit of an upload to {physical!r}") from None
            time.sleep(min(0.2 * 2**attempt, LONGEST_WAIT_S))
            continue
        found = count_rows(connection, physical)
        if found == spool.rows:
            return
        raise SessionGone(f"{spool.rows} rows were sent, the table holds {found}")


def count_rows(connection: Connection, physical: str) -> int:
    """Rows of an unpartitioned table, as a reader would see them now."""

    def ask() -> int:
        table = connection.odps.get_table(physical)
        return int(TableTunnel(connection.odps).create_download_session(table).count)

    return connection.patiently(ask, f"table {physical!r}")
