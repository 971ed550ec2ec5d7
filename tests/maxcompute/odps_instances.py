"""Instances: a statement handed in, run in a thread, asked about, stopped."""

import csv
import io
import itertools
import json
import re
import threading
import time
import traceback
from email.utils import formatdate
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from odps_errors import OdpsError, Stopped, missing

MAX_SQL_BYTES = 2 << 20
_UNPRINTABLE = re.compile("\x1b\\[[0-9;]*m|[\x00-\x08\x0b\x0c\x0e-\x1f]")
BLOCKING_S = 5.0
"""How long a question that may wait is held back while the instance runs."""


class Instance:
    """One statement and what became of it."""

    def __init__(self, name, task, hints, query, source):
        self.name, self.task, self.hints, self.query = name, task, hints, query
        self.source = source
        self.status, self.error = "Running", ""
        self.started, self.ended = time.time(), None
        self.result, self.result_columns, self.text = None, None, ""
        self.stop = threading.Event()
        self.done = threading.Event()
        self.on_stop = []
        self.rows_done, self.rows_all = 0, 0
        self.batches = []
        """Rows of every batch that a UDF got."""
        self.scanned = {}
        """Table -> partitions that the statement read."""

    def check(self):
        """Raise when somebody stopped the instance."""
        if self.stop.is_set():
            raise Stopped

    def cancel(self):
        """Stop the instance and wait until it is over."""
        self.stop.set()
        for each in list(self.on_stop):
            each()
        self.done.wait(10)


class Instances:
    """The instances of a project."""

    def __init__(self, server, execute):
        self.server, self.execute = server, execute
        self.all, self.by_guid = {}, {}
        self.lock = threading.Lock()
        self._count = itertools.count(1)

    def create(self, request):
        """Take in a job; the answer names the instance."""
        request.label = "instance.create"
        root = ElementTree.fromstring(request.body)
        job = root.find("Job")
        tasks = list(job.find("Tasks"))
        if len(tasks) != 1 or tasks[0].tag != "SQL":
            raise OdpsError("InvalidArgument", "this server runs one SQL task per instance")
        guid = job.findtext("Guid")
        properties = {
            each.findtext("Name"): each.findtext("Value") for each in tasks[0].iter("Property")
        }
        query = tasks[0].findtext("Query")
        if len(query.encode()) > MAX_SQL_BYTES:
            raise OdpsError("ODPS-0130161", f"Parse exception - more than {MAX_SQL_BYTES} bytes")
        with self.lock:
            if guid and guid in self.by_guid:  # the same request again is the same instance
                return self._created(self.by_guid[guid])
            name = time.strftime("%Y%m%d%H%M%S") + f"{next(self._count):06d}loop"
            source = ElementTree.tostring(job, encoding="unicode")
            hints = json.loads(properties.get("settings") or "{}")
            instance = Instance(name, tasks[0].findtext("Name"), hints, query, source)
            self.all[name] = instance
            if guid:
                self.by_guid[guid] = name
        threading.Thread(target=self._run, args=[instance], daemon=True).start()
        instance.done.wait(self.server.answer_within_s)  # what is quick is done when it is asked
        return self._created(name)

    def _created(self, name):
        location = f"{self.server.endpoint}/projects/{self.server.project}/instances/{name}"
        return 201, b"", {"Location": location}

    def _run(self, instance):
        faults, query = self.server.faults, instance.query
        status = "Failed"
        try:
            if fault := faults.take("task_slow", query):
                instance.stop.wait(fault.details.get("seconds", 1.0))
                instance.check()
            if self.server.delay_s:
                instance.stop.wait(self.server.delay_s)
                instance.check()
            if faults.take("task_cancelled", query):
                instance.stop.set()
                instance.check()
            if fault := faults.take("task_failed", query):
                raise OdpsError(*_failure(fault))
            self.execute(instance)
            if fault := faults.take("task_failed_done", query):
                raise OdpsError(*_failure(fault))
            status = "Success"
        except Stopped:
            status = "Cancelled"
        except OdpsError as error:
            instance.error = error.text()
        except Exception:
            instance.error = "ODPS-0010000:System internal error - " + traceback.format_exc()
        if status != "Success":
            instance.result = None
        if instance.stop.is_set() and status == "Failed":
            status, instance.error = "Cancelled", ""
        instance.status, instance.ended = status, time.time()
        instance.done.set()

    def answer(self, request, name):
        """Answer a question about an instance."""
        if name not in self.all:
            raise missing("object", f"instance {name}")
        instance, q = self.all[name], request.query
        if request.method == "PUT":
            return self._stop(request, instance)
        if "taskstatus" in q:
            request.label = "instance.taskstatus"
            return 200, _tasks(instance, f"<Status>{_word(instance)}</Status>")
        if "result" in q:
            request.label = "instance.result"
            return 200, _tasks(instance, f"<Status>{_word(instance)}</Status>" + _result(instance))
        if "instanceprogress" in q:
            request.label = "instance.progress"
            return 200, _progress(instance)
        if "instancesummary" in q:
            cost = {"Cost": {"CPU": 100, "Memory": 1024, "Input": len(instance.scanned)}}
            return 200, json.dumps({"Instance": {"JsonSummary": json.dumps(cost), "Summary": ""}})
        if "instancedetail" in q or "detail" in q:
            return 200, json.dumps({"Instance": {"batches": instance.batches}})
        if "source" in q:
            return 200, instance.source
        request.label = "instance.status"
        if "instancestatus" in q:
            instance.done.wait(BLOCKING_S)
        ended = instance.done.is_set()
        headers = {
            "x-odps-owner": "ALIYUN$loopback",
            "x-odps-start-time": formatdate(instance.started, usegmt=True),
            "x-odps-end-time": formatdate(instance.ended, usegmt=True) if ended else "",
        }
        word = "Terminated" if ended else "Running"
        return 200, f"<Instance><Status>{word}</Status></Instance>", headers

    def _stop(self, request, instance):
        request.label = "instance.stop"
        if instance.done.is_set():
            raise OdpsError("InvalidStateSetting", "you cannot set terminated instance", 409)
        instance.cancel()
        return 200, b""

    def clear(self):
        """Stop and forget all instances."""
        with self.lock:
            instances = list(self.all.values())
            self.all.clear()
            self.by_guid.clear()
        for instance in instances:
            if not instance.done.is_set():
                instance.cancel()

    def listing(self):
        """All instances."""
        rows = "".join(
            f"<Instance><Name>{each.name}</Name><Owner>ALIYUN$loopback</Owner>"
            f"<Status>{'Terminated' if each.done.is_set() else 'Running'}</Status></Instance>"
            for each in self.all.values()
        )
        return 200, f"<Instances><Marker/><MaxItems>1000</MaxItems>{rows}</Instances>"


def _failure(fault):
    text = fault.details.get("message", "ODPS-0010000:System internal error - fuxi job failed")
    code, _, message = text.partition(":")
    return code, message


def _word(instance):
    return instance.status if instance.done.is_set() else "Running"


def _tasks(instance, inside):
    start = formatdate(instance.started, usegmt=True)
    end = formatdate(instance.ended, usegmt=True) if instance.ended else ""
    return (
        f'<Instance><Tasks><Task Type="SQL"><Name>{escape(instance.task)}</Name>'
        f"<StartTime>{start}</StartTime><EndTime>{end}</EndTime>{inside}</Task></Tasks></Instance>"
    )


def _result(instance):
    if instance.error:
        return f'<Result Format="text">{escape(_UNPRINTABLE.sub("", instance.error))}</Result>'
    if instance.result is None:
        return f'<Result Format="text">{escape(instance.text)}</Result>'
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(instance.result.schema.names)
    for row in instance.result.slice(0, 10_000).to_pylist():
        writer.writerow(["\\N" if value is None else value for value in row.values()])
    return f'<Result Format="csv">{escape(out.getvalue())}</Result>'


def _progress(instance):
    ended = instance.done.is_set()
    share = 100 * instance.rows_done // instance.rows_all if instance.rows_all else 0
    return (
        '<Progress><Stage ID="M1_job_0"><Status>RUNNING</Status><BackupWorkers>0</BackupWorkers>'
        f"<TotalWorkers>1</TotalWorkers><RunningWorkers>{0 if ended else 1}</RunningWorkers>"
        f"<TerminatedWorkers>{1 if ended else 0}</TerminatedWorkers>"
        f"<InputRecords>{instance.rows_all}</InputRecords>"
        f"<OutputRecords>{instance.rows_done}</OutputRecords>"
        f"<FinishedPercentage>{100 if ended else share}</FinishedPercentage></Stage></Progress>"
    )
