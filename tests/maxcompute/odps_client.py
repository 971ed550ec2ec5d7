"""What tests of the server itself share: rows, tables of them, functions, quick retries."""

import datetime as dt

import pyarrow as pa
import pytest
from odps import options

MODULE = """
from odps.udf import BaseUDAF, BaseUDTF, annotate


@annotate("string,array<struct<a:bigint,b:binary>>->struct<n:bigint,text:string,calls:bigint>")
class Collected(object):
    def __init__(self):
        self.calls = 0

    def evaluate(self, what, rows):
        import numpy as np

        self.calls += 1
        order = ",".join(str(row.a) for row in rows)
        return int(np.sum([row.a for row in rows])), what + order, self.calls


@annotate("string,bigint->string,bigint,string")
class Streamed(BaseUDTF):
    def __init__(self):
        self.key, self.seen = None, []

    def process(self, key, a):
        if key != self.key:
            self.flush()
        self.key = key
        self.seen.append(a)

    def flush(self):
        if self.key is not None:
            self.forward(self.key, len(self.seen), ",".join(str(a) for a in self.seen))
        self.seen = []

    def close(self):
        self.flush()


@annotate("bigint,bigint->bigint")
class Summed(BaseUDAF):
    def new_buffer(self):
        return [0, []]

    def iterate(self, buffer, a, size):
        buffer[0] += a
        buffer[1].append(b"x" * size)

    def merge(self, buffer, other):
        buffer[0] += other[0]
        buffer[1] += other[1]

    def terminate(self, buffer):
        return buffer[0]


@annotate("bigint->{gives}")
class Wrong(object):
    def evaluate(self, a):
        {body}
"""
HINTS = {
    "odps.sql.python.version": "cp311",
    "odps.session.image": "common",
    "odps.sql.type.system.odps2": "true",
    "odps.sql.timezone": "UTC",
}


@pytest.fixture
def client_settings(monkeypatch):
    """Quick retries, and no local zone."""
    before = options.local_timezone, options.retry_delay
    options.local_timezone, options.retry_delay = False, 0.01
    monkeypatch.setattr("odps.tunnel.retry.ExponentialWaitRetryPolicy.get_retry_wait_time", quick)
    monkeypatch.setattr(
        "odps.tunnel.retry.InfiniteExponentialWaitRetryPolicy.get_retry_wait_time", quick
    )
    yield
    options.local_timezone, options.retry_delay = before


def quick(self, attempt):
    """Wait of the client's own retries, shortened."""
    return 0.01


COLUMNS = "a bigint, b binary, g string, t timestamp, l array<bigint>"


def rows(count=20, start=0):
    """Made-up rows for COLUMNS."""
    numbers = range(start, start + count)
    return pa.table(
        {
            "a": list(numbers),
            "b": [bytes([n % 256, 255]) for n in numbers],
            "g": [f"g{n % 3}" for n in numbers],
            "t": pa.array([dt.datetime(2003, 1, 1, 18) + dt.timedelta(days=n) for n in numbers]),
            "l": [[n, n + 1] for n in numbers],
        }
    )


def created(odps, name="t", columns=COLUMNS, partitions=None, **options):
    schema = (columns, partitions) if partitions else columns
    return odps.create_table(name, schema, hints=HINTS, **options)


def filled(odps, name="t", table=None):
    made = created(odps, name)
    with made.open_writer(arrow=True) as writer:
        writer.write(table or rows())
    return made


def read(table, **options):
    with table.open_reader(arrow=True, **options) as reader:
        return reader.read_all()


def asked(odps, text, **hints):
    instance = odps.execute_sql(text, hints={**HINTS, **hints})
    with instance.open_reader(tunnel=True, arrow=True) as reader:
        return reader.read_all().to_pylist()


def with_functions(odps, gives="bigint", body="return a", text=MODULE):
    for name in list(odps.list_functions()):
        name.drop()
    for resource in list(odps.list_resources()):
        resource.drop()
    odps.create_resource(
        "m.py", "py", file_obj=text.replace("{gives}", gives).replace("{body}", body)
    )
    for name in ("Collected", "Streamed", "Summed", "Wrong"):
        odps.create_function(f"f_{name.lower()}", class_type=f"m.{name}", resources=["m.py"])
