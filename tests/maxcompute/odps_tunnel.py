"""Tunnel: upload sessions whose rows nobody sees before the commit, and download sessions."""

import collections
import itertools
import json
import re
import threading
import time
import zlib

import pyarrow as pa
from odps_catalog import check_rows
from odps_errors import OdpsError, missing
from odps_framing import Framer, batches_of, unframed, wire_batch
from odps_sessions import Download, Upload, json_columns, partition_values

MAX_BLOCK_ID = 20_000
SESSION_S = 24 * 3600
WINDOW_S = 300
"""Sessions of a table are counted over so long."""
EXPIRED = OdpsError("StatusConflict", "The upload|download session is expired", 400)


class Tunnel:
    """The tunnel's half of the server."""

    def __init__(self, server):
        self.server = server
        self.uploads, self.downloads, self.begun = {}, {}, {}
        self.lock = threading.Lock()
        self._count = itertools.count(1)

    def answer(self, request, schema, name):
        """Answer a request about a table."""
        q = request.query
        if "uploads" in q:
            return self._create_upload(request, self.server.catalog.table(name, schema))
        if "downloads" in q:
            return self._create_download(request, self.server.catalog.table(name, schema))
        if "uploadid" in q:
            upload = self._session(self.uploads, q["uploadid"], "upload", request)
            if request.method == "PUT":
                return self._block(request, upload)
            if request.method == "POST":
                return self._commit(request, upload)
            request.label = "upload.reload"
            return self._upload_json(upload)
        if "downloadid" in q:
            return self.download(request)
        raise OdpsError("InvalidArgument", f"no such request: {request.target}")

    def clear(self):
        """Forget all sessions."""
        with self.lock:
            for each in (self.uploads, self.downloads, self.begun):
                each.clear()

    def _session(self, sessions, session_id, kind, request):
        session = sessions.get(session_id)
        if session is None:
            raise OdpsError(f"NoSuch{kind.capitalize()}", f"no {kind} session {session_id}", 404)
        if self.server.faults.take(f"expired_{kind}", request.line):
            session.created = 0.0
        if time.time() - session.created > SESSION_S:
            raise EXPIRED
        if session.table is not None and not self.server.catalog.holds(session.table):
            raise missing("table", session.table.name)
        return session

    def _not_too_often(self, kind, table):
        """Count the sessions of a table; more than the service allows are put off."""
        with self.lock:
            began = self.begun.setdefault((kind, table.table_id), collections.deque())
            while began and time.time() - began[0] > WINDOW_S:
                began.popleft()
            if len(began) >= self.server.sessions_per_window[kind]:
                raise OdpsError("FlowExceeded", "Your flow quota is exceeded", 429)
            began.append(time.time())

    def _create_upload(self, request, table):
        request.label = "upload.create"
        self._not_too_often("upload", table)
        spec = request.query.get("partition")
        values = partition_values(table, spec)
        if values not in table.parts:
            if request.query.get("create_partition") not in ("true", ""):
                table.part(values)
            self.server.catalog.write(table, {values: []}, overwrite=False)
        upload = Upload(self._new_id(), table, values, request.query.get("overwrite") == "true")
        self.uploads[upload.session_id] = upload
        return self._upload_json(upload)

    def _new_id(self):
        return f"{int(time.time())}{next(self._count):08d}loopback"

    def _upload_json(self, upload):
        with self.lock:
            blocks = sorted(upload.blocks)
        if blocks and self.server.faults.take("block_lost", f"upload.reload {upload.table.name}"):
            with self.lock:
                upload.blocks.pop(blocks.pop(), None)
        return 200, json.dumps(
            {
                "UploadID": upload.session_id,
                "Status": upload.status,
                "MaxFieldSize": self.server.max_field_size,
                "Schema": {
                    "columns": json_columns(upload.table.columns),
                    "partitionKeys": json_columns(upload.table.keys),
                },
                "UploadedBlockList": [{"BlockID": block} for block in blocks],
            }
        )

    def _block(self, request, upload):
        request.label = "upload.block"
        if upload.status != "normal":
            raise OdpsError("StatusConflict", "You cannot complete the specified operation", 400)
        text = request.query.get("blockid", "")
        if not text.isdigit() or int(text) >= MAX_BLOCK_ID:
            raise OdpsError("InvalidBlockID", f"The specified block id is not valid: {text}")
        if "arrow" not in request.query:
            raise OdpsError("MethodNotAllowed", "this server takes Arrow data only", 405)
        body = request.body
        encoding = request.headers.get("Content-Encoding")
        if encoding == "deflate":
            body = zlib.decompress(body)
        elif encoding == "zstd":
            body = pa.CompressedInputStream(pa.py_buffer(body), "zstd").read()
        elif encoding not in (None, "", "identity"):
            raise OdpsError("InvalidArgument", f"unknown encoding {encoding}")
        schema = upload.table.schema
        batches = batches_of(unframed(body), schema)
        self.server.note_batches(batches)
        rows = pa.Table.from_batches(batches, schema)
        check_rows(rows, upload.table.columns, self.server.max_field_size, self.server.max_record)
        rows = self.server.catalog.keep(rows)
        with self.lock:
            upload.blocks[int(text)] = rows  # the same id again replaces what it held
        return 200, b""

    def _commit(self, request, upload):
        request.label = "upload.commit"
        with self.lock:
            if upload.status == "closed":
                raise OdpsError(
                    "StatusConflict",
                    "You cannot complete the specified operation under the"
                    " current upload or download status: it was committed",
                    400,
                )
            upload.status = "closed"
            pieces = [upload.blocks[block] for block in sorted(upload.blocks)]
        try:
            self.server.catalog.write(
                upload.table,
                {upload.values: pieces},
                overwrite=upload.overwrite,
                create_parts=False,
            )
        except OdpsError:
            upload.status = "normal"
            raise
        return self._upload_json(upload)

    def _create_download(self, request, table):
        request.label = "download.create"
        self._not_too_often("download", table)
        values = partition_values(table, request.query.get("partition"))
        part = table.part(values)
        polls = self.server.initiating_polls if "asyncmode" in request.query else 0
        pieces = list(part.pieces)
        return self._add(
            Download(self._new_id(), table.columns, pieces, table, values, part, polls=polls)
        )

    def instance_download(self, request, instance):
        """A download session over the answer of an instance."""
        request.label = "instance.download"
        if instance.result is None:
            raise OdpsError("InstanceTypeNotSupported", "the instance has no result to download")
        return self._add(
            Download(
                self._new_id(), instance.result_columns, [instance.result], instants_as_struct=True
            )
        )

    def _add(self, session):
        self.downloads[session.session_id] = session
        return self._download_json(session)

    def _download_json(self, session):
        status = "initiating" if session.polls > 0 else "normal"
        session.polls -= 1
        return 200, json.dumps(
            {
                "DownloadID": session.session_id,
                "Status": status,
                "RecordCount": session.rows,
                "Schema": {"columns": json_columns(session.columns), "partitionKeys": []},
            }
        )

    def download(self, request):
        """Answer about a download session: its state, or rows of it."""
        request.label = "download.data" if "data" in request.query else "download.reload"
        session = self._session(self.downloads, request.query["downloadid"], "download", request)
        if "data" not in request.query:
            return self._download_json(session)
        self._check_unmodified(session)
        if "arrow" not in request.query:
            raise OdpsError("MethodNotAllowed", "this server gives Arrow data only", 405)
        numbers = re.fullmatch(r"\((\d+),(\d+)\)", request.query.get("rowrange", ""))
        start, count = map(int, numbers.groups()) if numbers else (0, 0)
        if count < 1 or start + count > session.rows:
            raise OdpsError(
                "InvalidRowRange",
                f"The specified row range is not valid: {start}, {count} of {session.rows}",
            )
        named = request.query.get("columns")
        wanted = [name.strip().lower() for name in named.split(",")] if named else None
        known = [column.name for column in session.columns]
        if wanted is not None and (unknown := [name for name in wanted if name not in known]):
            raise OdpsError("InvalidColumnSpec", f"The specified columns is not valid: {unknown}")
        order = [name for name in known if wanted is None or name in wanted]
        return 200, self._stream(request, session, order, start, count)

    def _check_unmodified(self, session):
        if session.part is None:
            return
        if session.table.parts.get(session.values) is not session.part:
            raise OdpsError(
                "TableModified",
                "The specified table has been modified since the download initiated."
                " Try initiate another download",
                400,
            )

    def _stream(self, request, session, names, start, count):
        faults, line = self.server.faults, request.line
        framer = Framer(wrong_crc=faults.take("crc", line) is not None)
        truncated = faults.take("truncated", line)
        if faults.take("short", line):
            count //= 2
        sent = 0
        for piece in session.pieces:
            if start >= piece.num_rows:
                start -= piece.num_rows
                continue
            rows = piece.select(names).slice(start, count)
            start, count = 0, count - rows.num_rows
            for batch in rows.to_batches(max_chunksize=self.server.rows_per_batch):
                data = wire_batch(batch, session.instants_as_struct).serialize()
                out = framer.add(data)
                if truncated and sent + len(out) > truncated.details.get("after", 4):
                    yield out[: len(out) // 2]
                    raise ConnectionAbortedError
                sent += len(out)
                yield out
            if count <= 0:
                break
        if truncated:
            yield framer.end()[:-2]
            raise ConnectionAbortedError
        yield framer.end()
