"""The process that runs a Python function: started with ``python -I -S odps_udf_host.py``.

It reads messages (a length, then marshal) from its input and answers in the same form. It sees the
standard library, a stand-in for ``odps.udf``, the uploaded resources in its working folder, and the
packages of the chosen image; it may not write files, start programs or open connections.
"""

import collections
import importlib
import importlib.machinery
import marshal
import os
import struct
import sys
import traceback

BUFFER_BYTES = 2 << 20
INT64 = 1 << 63


class ImageFinder:
    """Finds the packages of the image, and no other that is installed here."""

    def __init__(self, folder, names):
        self.folder, self.names = folder, set(names)

    def find_spec(self, name, path=None, target=None):
        if path is None and name in self.names:
            return importlib.machinery.PathFinder.find_spec(name, [self.folder])
        return None


def forbid(event, args):
    """Refuse what a worker's sandbox does not allow."""
    if event == "open":
        _, mode, flags = args
        wanted = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if (mode and set(mode) & set("wax+")) or (not mode and flags and flags & wanted):
            raise PermissionError("a function may not write files")
    elif event.startswith(("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn")):
        raise PermissionError("a function may not start programs")
    elif event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        raise PermissionError("a function has no network")


def taker(tree):
    """Makes what a function gets of a value on the wire: structs are named tuples."""
    kind = tree["type"]
    if kind == "array":
        one = taker(tree["of"])
        return lambda value: None if value is None else [one(each) for each in value]
    if kind == "struct":
        names = [name for name, _ in tree["fields"]]
        named = collections.namedtuple("NamedTuple", names)
        below = [taker(field) for _, field in tree["fields"]]
        return lambda value: (
            None if value is None else named(*(f(v) for f, v in zip(below, value, strict=True)))
        )
    if kind == "map":
        key, item = taker(tree["key"]), taker(tree["value"])
        return lambda value: None if value is None else {key(k): item(v) for k, v in value}
    return lambda value: value


class Refused(TypeError):
    """A function gave what its signature does not say."""


def giver(tree, max_field):
    """Checks what a function gives and makes it fit for the wire."""
    kind = tree["type"]

    def wrong(value):
        return Refused(
            f"Python UDF returned {type(value).__name__} where {kind.upper()} is declared"
        )

    if kind == "array":
        one = giver(tree["of"], max_field)

        def check(value):
            if not isinstance(value, list):
                raise wrong(value)
            return [one(each) for each in value]

    elif kind == "struct":
        below = [giver(field, max_field) for _, field in tree["fields"]]

        def check(value):
            if not isinstance(value, tuple) or len(value) != len(below):
                raise wrong(value)
            return tuple(f(v) for f, v in zip(below, value, strict=True))

    elif kind == "map":
        key, item = giver(tree["key"], max_field), giver(tree["value"], max_field)

        def check(value):
            if not isinstance(value, dict):
                raise wrong(value)
            return [(key(k), item(v)) for k, v in value.items()]

    else:
        wanted = {
            "bigint": int,
            "double": float,
            "float": float,
            "string": str,
            "binary": bytes,
            "boolean": bool,
        }[kind]

        def check(value):
            if type(value) is not wanted:
                raise wrong(value)
            if wanted is int and not -INT64 <= value < INT64:
                raise Refused("a BIGINT is out of range")
            if wanted in (str, bytes):
                size = len(value.encode() if wanted is str else value)
                if size > max_field:
                    raise Refused(
                        f"a {kind.upper()} of {size} bytes is longer than the maximum, {max_field}"
                    )
            return value

    return lambda value: None if value is None else check(value)


class Host:
    """One class of one module."""

    def __init__(self, config):
        self.config = config
        self.module = importlib.import_module(config["module"])
        self.cls = getattr(self.module, config["class"])
        from odps import udf

        self.signature = udf.SIGNATURES.get(self.cls)
        self.kind = "scalar"
        if issubclass(self.cls, udf.BaseUDAF):
            self.kind = "aggregate"
        elif issubclass(self.cls, udf.BaseUDTF):
            self.kind = "table"
        self.instance = None

    def prepare(self, takes, gives):
        """Learn the types."""
        self.takes = None if takes is None else [taker(tree) for tree in takes]
        self.gives = [giver(tree, self.config["max_field"]) for tree in gives]

    def arguments(self, row):
        if self.takes is None:
            return row
        return [take(value) for take, value in zip(self.takes, row, strict=True)]

    def scalar(self, rows, times):
        """Answers to rows; again as often as the query asks, where None stands for "the same"."""
        self.instance = self.instance or self.cls()
        (give,) = self.gives
        answers = []
        for time in range(times):
            these = [give(self.instance.evaluate(*self.arguments(row))) for row in rows]
            answers.append(None if time and these == answers[0] else these)
        return answers

    def table(self, rows, first, last):
        """Rows given for rows."""
        if first:
            self.given = []
            self.instance = self.cls()
            self.instance._collect = self.collect
        for row in rows:
            self.instance.process(*self.arguments(row))
        if last:
            self.instance.close()
        given, self.given = self.given, []
        return given

    def collect(self, values):
        if len(values) != len(self.gives):
            raise Refused(f"forward() got {len(values)} values, {len(self.gives)} are declared")
        self.given.append(tuple(f(v) for f, v in zip(self.gives, values, strict=True)))

    def aggregate(self, groups):
        """Answers to groups, each of them spread over several buffers."""
        self.instance = self.instance or self.cls()
        (give,) = self.gives
        answers = []
        for parts in groups:
            buffers = []
            for part in parts:
                buffer = self.instance.new_buffer()
                for row in part:
                    self.instance.iterate(buffer, *self.arguments(row))
                buffers.append(carried(buffer))
            whole = self.instance.new_buffer()
            for buffer in buffers:
                self.instance.merge(whole, buffer)
                whole = carried(whole)
            answers.append(give(self.instance.terminate(whole)))
        return answers


def carried(buffer):
    """A buffer after its way to another worker."""
    try:
        data = marshal.dumps(buffer)
    except ValueError as error:
        raise Refused(f"the buffer cannot be marshalled: {error}") from None
    if len(data) > BUFFER_BYTES:
        raise Refused(
            f"the buffer has {len(data)} bytes after marshalling, more than {BUFFER_BYTES}"
        )
    return marshal.loads(data)


def main():
    """Answer until the input ends."""
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is its log

    def read():
        head = source.read(8)
        return marshal.loads(source.read(struct.unpack("!Q", head)[0])) if len(head) == 8 else None

    def write(message):
        data = marshal.dumps(message)
        out.write(struct.pack("!Q", len(data)) + data)
        out.flush()

    config = read()
    sys.path[:0] = [os.getcwd(), config["stub"]]
    sys.meta_path.append(ImageFinder(config["packages"], config["image"]))
    sys.dont_write_bytecode = True
    sys.addaudithook(forbid)
    host = None
    while (message := read()) is not None:
        name, arguments = message
        try:
            if name == "open":
                host = Host(config)
                write(["ok", [host.signature, host.kind]])
            else:
                write(["ok", getattr(host, name)(*arguments)])
        except MemoryError:
            write(["memory", traceback.format_exc()])
        except BaseException:
            write(["error", traceback.format_exc()])


if __name__ == "__main__":
    main()
