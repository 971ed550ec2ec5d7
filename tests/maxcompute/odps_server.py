"""A MaxCompute project on this machine, for tests: what the unmodified PyODPS client talks to.

What it stands for
------------------
The wire protocol of the REST interface and of the tunnel as PyODPS 0.13 speaks it (the client's
own source is the reference), signatures included; the documented limits (cell, record, columns,
block numbers, text of a statement, partitions held, read and written, comment, names, buffer of a
UDAF); the codes of errors; the rules for Python functions: modules are loaded without any
third-party package, code runs in a process of its own that sees the uploaded resources and, by the
chosen image, NumPy and SciPy, and nothing else of this machine's packages; what a function returns
is checked against its signature.
Where the service promises nothing, the server is unkind on purpose: rows and ``collect_list`` come
in random order, a struct that is taken apart may be computed once per field, the number of rows of
a partitioned table is not told, times of change have whole seconds, names come page by page.

What it does not stand for
--------------------------
Speed, scheduling, quotas, prices, permissions beyond the signature, storage formats, the optimizer
and the type checker of the real compiler. Statements are read by sqlglot-maxcompute and run by
DuckDB, so a statement that runs here may be refused there (its functions are checked against a list
of the service's); TIMESTAMP has microseconds in statements. Delta tables, views, MERGE, the record
(not Arrow) tunnel, stream and upsert sessions are not there. Nothing here was compared with the
live service.
"""

import collections
import shutil
import tempfile
import threading

from odps_catalog import Catalog
from odps_errors import OdpsError, missing
from odps_faults import Faults
from odps_http import Handler, Listener
from odps_instances import Instances
from odps_rest import Rest
from odps_signature import check
from odps_sql import Executor
from odps_tunnel import Tunnel


class OdpsServer:
    """The server.

    Attributes that a test may change at any time: ``delay_s`` (an instance runs at least so long),
    ``answer_within_s`` (how long the answer to a new instance waits for its end),
    ``initiating_polls``, ``rows_per_batch``, ``page_size``, ``max_field_size``, ``max_record``,
    ``sessions_per_window`` (of a table in five minutes), ``evaluate``, ``reducers``, ``partials``
    (over how many workers a UDTF and a UDAF are spread), ``timezone`` (the project's), ``python``
    (the interpreter of functions; else that of GEOQUARRY_ODPS_PYTHON, else this one).

    Examples
    --------
    >>> with OdpsServer() as server:  # doctest: +SKIP
    ...     ODPS(server.access_id, server.secret, server.project, server.endpoint,
    ...          tunnel_endpoint=server.tunnel_endpoint)
    """

    def __init__(self, *, project="loopback", seed=0):
        self.project = project
        self.access_id, self.secret = "LTAI-loopback-id", "loopback-secret-7QxT2"
        self.sts = ("STS.loopback-id", "loopback-sts-secret-9KfW", "loopback-sts-token-3Hq")
        self.max_field_size, self.max_record = 8 << 20, 200 << 20
        self.delay_s, self.answer_within_s = 0.0, 0.2
        self.initiating_polls, self.rows_per_batch, self.page_size = 1, 16, 50
        self.evaluate, self.reducers, self.partials = "per_field", 2, 3
        self.timezone, self.python = "Asia/Shanghai", None
        self.sessions_per_window = {"upload": 500, "download": 200}
        self.requests = collections.deque(maxlen=100_000)
        self.batch_bytes, self.batch_rows = [], []
        self.folder = tempfile.mkdtemp(prefix="loopback_maxcompute_")
        self.faults = Faults()
        self.catalog = Catalog(self.folder, seed)
        self.executor = Executor(self)
        self.instances = Instances(self, self.executor.execute)
        self.rest, self.tunnel = Rest(self), Tunnel(self)
        bound = type("Bound", (Handler,), {"odps": self})
        self._http = Listener(("127.0.0.1", 0), bound)
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True)

    @property
    def evaluate(self):
        """How often a struct that is taken apart is computed: ``"per_field"`` or ``"once"``."""
        return self._evaluate

    @evaluate.setter
    def evaluate(self, value):
        if value not in ("per_field", "once"):
            raise ValueError(f"evaluate is 'per_field' or 'once', not {value!r}")
        self._evaluate = value

    @property
    def port(self):
        """Port of the server."""
        return self._http.server_address[1]

    @property
    def tunnel_endpoint(self):
        """Where the tunnel is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self):
        """Where the REST interface is."""
        return f"{self.tunnel_endpoint}/api"

    @property
    def accounts(self):
        """Access id -> secret, and the token that must come with it."""
        sts_id, sts_secret, token = self.sts
        return {self.access_id: (self.secret, None), sts_id: (sts_secret, token)}

    def start(self):
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self):
        """Answer no more, and leave nothing behind."""
        self.instances.clear()
        self._http.shutdown()
        self._http.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    def reset(self):
        """Forget everything that a test has made, and the log."""
        self.instances.clear()
        self.tunnel.clear()
        with self.catalog.lock:
            self.catalog.tables.clear()
            self.catalog.resources.clear()
            self.catalog.functions.clear()
        self.faults.clear()
        self.requests.clear()
        self.batch_bytes.clear()
        self.batch_rows.clear()

    def count(self, label):
        """Number of requests with a label, such as ``upload.create`` or ``instance.create``."""
        return sum(request.label == label for request in list(self.requests))

    def said(self, text):
        """Requests whose target, headers or body hold a text: for secrets that must not travel."""
        return [
            request
            for request in list(self.requests)
            if text in request.target
            or any(text in value for value in request.headers.values())
            or text.encode() in request.body
        ]

    def note_batches(self, batches):
        """Remember how large uploaded batches were."""
        self.batch_bytes += [batch.nbytes for batch in batches]
        self.batch_rows += [batch.num_rows for batch in batches]

    def answer(self, request):
        """Status, body and headers for a request."""
        path, in_api = request.path, request.path.startswith("/api/")
        target = request.target[len("/api") :] if in_api else request.target
        check(request.method, target, request.headers, self.accounts)
        parts = [part for part in path.split("/") if part][1 if in_api else 0 :]
        if parts[:1] == ["tenants"] or len(parts) < 2 or parts[0] != "projects":
            raise missing("object", path)
        if parts[1] != self.project:
            raise missing("project", parts[1])
        rest, schema = parts[2:], request.query.get("curr_schema", "default")
        if len(rest) > 2 and rest[0] == "schemas":
            schema, rest = rest[1], rest[2:]
        if in_api or rest[:1] == ["tunnel"]:
            return self.rest.answer(request, rest, schema)
        if rest[:1] == ["instances"] and len(rest) == 2:
            if "downloads" in request.query:
                return self.tunnel.instance_download(request, self._finished(rest[1]))
            return self.tunnel.download(request)
        if rest[:1] == ["tables"] and len(rest) == 2:
            return self.tunnel.answer(request, schema, rest[1])
        raise missing("object", path)

    def _finished(self, name):
        instance = self.instances.all.get(name)
        if instance is None:
            raise missing("object", f"instance {name}")
        if not instance.done.is_set():
            raise OdpsError("InstanceNotTerminate", "The instance does not terminate")
        return instance
