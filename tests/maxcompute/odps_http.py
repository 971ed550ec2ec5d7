"""HTTP around the server: requests as the log keeps them, bodies in chunks, broken connections."""

import re
import socket
import struct
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from odps_errors import OdpsError

KEPT_BODY = 1 << 16
"""Bytes of a body that stay in the log."""


class Request:
    """One request, as the log keeps it."""

    def __init__(self, method, target, headers):
        self.method, self.target, self.headers = method, target, headers
        parts = urlsplit(target)
        self.path = unquote(parts.path)  # PyODPS writes registration%2Ffunctions
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = b""
        self.label, self.status, self.body_bytes = "", 0, 0
        self.began, self.seconds = time.time(), 0.0

    @property
    def line(self):
        """Label and first line: what a fault is matched with."""
        return f"{self.label} {self.method} {self.target}"

    def __repr__(self):
        return f"<{self.line} -> {self.status}, {self.body_bytes} bytes>"


class Listener(ThreadingHTTPServer):
    """Takes many connections at once."""

    daemon_threads = True
    request_queue_size = 128


def guess_label(request):
    """Label of a request before it was looked at closely, for faults that strike first."""
    q, path = request.query, request.path
    if re.search(r"/tables/[^/]+$", path) and not path.startswith("/api/"):
        if "uploads" in q:
            return "upload.create"
        if "uploadid" in q:
            return {"PUT": "upload.block", "POST": "upload.commit"}.get(
                request.method, "upload.reload"
            )
        if "downloads" in q:
            return "download.create"
        return "download.data" if "data" in q else "download.reload"
    if path.endswith("/instances") and request.method == "POST":
        return "instance.create"
    if re.search(r"/instances/[^/]+$", path):
        if "downloads" in q:
            return "instance.download"
        if "data" in q:
            return "download.data"
        for word in ("taskstatus", "result"):
            if word in q:
                return f"instance.{word}"
        return "instance.stop" if request.method == "PUT" else "instance.status"
    for word in ("resource", "function", "table", "partition"):
        if f"/{word}s" in path:
            verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(
                request.method, "get"
            )
            return f"{word}.{verb}"
    return ""


class Handler(BaseHTTPRequestHandler):
    """HTTP around :meth:`OdpsServer.answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    odps = None

    def log_message(self, *_):
        """Write nothing to the terminal."""

    def _serve(self):
        request = Request(self.command, self.path, dict(self.headers.items()))
        request.label = guess_label(request)
        self.odps.requests.append(request)
        faults = self.odps.faults
        try:
            if faults.take("reset", request.line):
                self.rfile.read1(64)
                return self._reset()
            request.body = self._body()
            request.body_bytes = len(request.body)
            if fault := faults.take("5xx", request.line):
                status = fault.details.get("status", 503)
                raise OdpsError("InternalServerError", "Service internal error (planted)", status)
            if faults.take("quota", request.line):
                raise OdpsError("FlowExceeded", "Your flow quota is exceeded", 429)
            answer = self.odps.answer(request)
            if faults.take("reply_lost", request.line):
                return self._reset()
            if fault := faults.take("done_5xx", request.line):
                status = fault.details.get("status", 500)
                raise OdpsError("InternalServerError", "Service internal error (planted)", status)
            self._send(request, *answer)
        except OdpsError as error:
            self._send(request, error.status, error.xml())
        except (ConnectionError, TimeoutError):
            self._reset()
        except Exception:  # a mistake of the server itself: the client gets it to read
            error = OdpsError("InternalServerError", traceback.format_exc(), 500)
            self._send(request, error.status, error.xml())
        finally:
            request.body = request.body[:KEPT_BODY]
            request.seconds = time.time() - request.began

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, request, status, body, headers=None):
        request.status = status
        self.send_response(status)
        self.send_header("x-odps-request-id", f"{id(request):032X}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if isinstance(body, (str, bytes)):
            data = body.encode() if isinstance(body, str) else body
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in body:
                if piece:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _reset(self):
        self.close_connection = True
        try:
            self.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        except OSError:
            pass
