"""The server's side of a function: resources laid out, a process started, answers brought back."""

import contextlib
import functools
import hashlib
import io
import marshal
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile

from odps_errors import OdpsError, semantic
from odps_types import names_in, parse_types

HERE = os.path.dirname(os.path.abspath(__file__))
TAKES = {"bigint", "string", "double", "boolean", "float", "binary", "array", "map", "struct", "*"}
"""Types in a signature; TIMESTAMP is not among those of the service. DATETIME and DECIMAL are, but
not here."""
IMAGES = {"common": ["numpy"], "scipy": ["numpy", "scipy"]}
"""Packages of the built-in images that a test can use, as the page "Built-in images" lists them."""


def python_of(server):
    """The interpreter that runs functions."""
    return server.python or os.environ.get("GEOQUARRY_ODPS_PYTHON") or sys.executable


@functools.cache
def packages_of(python):
    """Where an interpreter keeps its packages."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


KNOWN = {}
"""Signatures by what the modules hold."""


class Signature:
    """What a function takes and gives."""

    def __init__(self, text, kind):
        takes, arrow, gives = (text or "").partition("->")
        if not arrow:
            raise semantic(f"a function without @annotate, or with a wrong one: {text!r}")
        self.kind = kind
        self.takes = parse_types(takes)
        self.gives = parse_types(gives)
        self.any = [tree["type"] for tree in self.takes] == ["*"]
        for tree in self.takes + self.gives:
            if wrong := names_in(tree) - TAKES:
                raise semantic(f"{', '.join(sorted(wrong)).upper()} in the signature {text!r}")
        if kind != "table" and len(self.gives) != 1:
            raise semantic(f"a function gives one value: {text!r}")


class Worker:
    """A process for one function of one statement."""

    def __init__(self, server, function, hints, *, pure=False):
        self.server, self.function = server, function
        self.folder = tempfile.mkdtemp(dir=server.folder)
        resources = [server.catalog.resources.get(r.rpartition("/")[2]) for r in function.resources]
        if None in resources:
            raise semantic(f"a resource of function {function.name} does not exist")
        for each in resources:
            if not (pure and each.kind == "archive"):
                lay_out(each, self.folder)
        module, _, name = function.class_type.rpartition(".")
        self.timeout_s = float(hints.get("odps.function.timeout", 1800))
        python = python_of(server)
        self.log = open(os.path.join(self.folder, "stderr.log"), "w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-I", "-S", "-B", os.path.join(HERE, "odps_udf_host.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1"},
        )
        self._send(
            {
                "module": module,
                "class": name,
                "stub": os.path.join(HERE, "stub_odps"),
                "packages": packages_of(python),
                "image": [] if pure else IMAGES.get(hints.get("odps.session.image"), []),
                "max_field": server.max_field_size,
            }
        )

    def ask(self, name, *arguments):
        """The answer of the function's process."""
        timer = threading.Timer(self.timeout_s, self.process.kill)
        timer.start()
        try:
            self._send([name, arguments])
            head = self.process.stdout.read(8)
            if len(head) < 8:
                raise BrokenPipeError
            word, answer = marshal.loads(self.process.stdout.read(struct.unpack("!Q", head)[0]))
        except (BrokenPipeError, OSError, ValueError):
            raise OdpsError(
                "ODPS-0123144", f"Fuxi job failed - worker is gone: {self._tail()}"
            ) from None
        finally:
            timer.cancel()
        if word == "memory":
            raise OdpsError("ODPS-0123049", f"buffer overflow - {answer}")
        if word == "error":
            raise OdpsError("ODPS-0123055", f"User script exception - {answer}")
        return answer

    def _send(self, message):
        data = marshal.dumps(message)
        self.process.stdin.write(struct.pack("!Q", len(data)))
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def _tail(self):
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    def close(self):
        """End the process and remove its folder."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def lay_out(resource, folder):
    """Put a resource where a function finds it: an archive unpacked below ``work/``."""
    if resource.kind != "archive":
        with open(os.path.join(folder, os.path.basename(resource.name)), "wb") as file:
            file.write(resource.content)
        return
    below = os.path.join(folder, "work", resource.name)
    os.makedirs(below)
    data = io.BytesIO(resource.content)
    if zipfile.is_zipfile(data):
        zipfile.ZipFile(data).extractall(below)
    else:
        data.seek(0)
        with tarfile.open(fileobj=data) as archive:
            archive.extractall(below, filter="data")


def signature_of(server, function):
    """The signature, read where the service reads it: without any package, without archives."""
    contents = [server.catalog.resources.get(r.rpartition("/")[2]) for r in function.resources]
    if None in contents:
        raise semantic(f"a resource of function {function.name} does not exist")
    digest = hashlib.sha256(function.class_type.encode())
    for each in contents:
        digest.update(each.name.encode() + (b"" if each.kind == "archive" else each.content))
    key = digest.hexdigest()
    if key not in KNOWN:
        worker = Worker(server, function, {}, pure=True)
        try:
            KNOWN[key] = Signature(*worker.ask("open"))
        except OdpsError as error:
            if error.code != "ODPS-0123055":
                raise
            raise semantic(
                f"function {function.name} cannot be loaded where no third-party package is: "
                + error.message
            ) from None
        finally:
            worker.close()
    return KNOWN[key]
