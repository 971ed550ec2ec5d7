"""A Spark session that suits us: the right Java and Python, UTC, retries also on one host."""

import atexit
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from geoquarry.engine.spark_java import find_java
from geoquarry.schemas.errors import GeoquarryError, UsageError

Session = Any
"""A ``pyspark.sql.SparkSession``; this module can be imported without pyspark."""
ATTEMPTS = 4
"""How often a task is tried on a local master, which would else fail a job at once."""
MASTERS = "local|yarn|spark://|k8s://"
"""How masters begin: spark-submit refuses all others, in pages of Java."""
ZONE = "spark.sql.session.timeZone"
UTC = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00")
PACKAGE = "geoquarry"
EVERYWHERE = {ZONE: "UTC", "spark.app.name": PACKAGE, "spark.ui.showConsoleProgress": "false"}
"""Settings of a session that we start, unless something else was asked for, whatever
spark-defaults.conf says: progress is ours to show, and rows are in UTC."""
ON_ONE_HOST = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
}
"""Settings on a local master unless something else is set: nobody else listens, and failed tiles
are in the report."""


def start(master: str | None = None, conf: Mapping[str, str] | None = None) -> Session:
    """A Spark session: the one that runs in this process, or a new one.

    Parameters
    ----------
    master : str, optional
        Default ``$SPARK_MASTER``, else what spark-defaults.conf or spark-submit say, else all
        cores of this host. ``local[2]`` becomes ``local[2,4]``: 4 attempts for every task.
    conf : mapping of str -> str, optional
        Spark settings; they win over ours and over spark-defaults.conf.

    Returns
    -------
    session : SparkSession
        Stopped when this process ends, if it is new. On a cluster the workers get this very
        geoquarry from the driver (see `ship`); its dependencies must be installed there.

    Raises
    ------
    UsageError
        Spark runs already in this process with other settings, or not in UTC.
    GeoquarryError
        No Java, or Spark does not start, for example because its master does not answer.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    master = master or os.environ.get("SPARK_MASTER")
    asked = dict(conf or {}) | ({"spark.master": with_retries(master)} if master else {})
    running = SparkContext._active_spark_context
    if running is not None:
        have = dict(running.getConf().getAll())
        for name, value in asked.items():
            if have.get(name) != value:
                raise UsageError(
                    f"Spark runs already in this process with {name}={have.get(name)!r}, not "
                    f"{value!r}. Stop it first, or open the engine with session=..."
                )
        return checked(SparkSession.builder.getOrCreate())
    with _environment(asked), _explained(asked.get("spark.master")):
        if not re.match(MASTERS, asked.get("spark.master", "local")):
            raise ValueError("Spark knows local, yarn, spark:// and k8s:// only.")
        first = list((EVERYWHERE | asked).items())
        # Starts Java; only that knows what spark-defaults.conf and spark-submit say.
        SparkContext._ensure_initialized(conf=SparkConf().setAll(first))
        settings = SparkConf().setAll(first)
        found = settings.get("spark.master", "local[*]")
        settings.set("spark.master", with_retries(found))
        local = is_local(found)
        if local:
            for name, value in ON_ONE_HOST.items():
                settings.setIfMissing(name, value)
            # Workers are children of Java, not of this process: they import from where it does.
            paths = [os.path.abspath(path) for path in sys.path]
            settings.setIfMissing("spark.executorEnv.PYTHONPATH", os.pathsep.join(paths))
        with _ctrl_c_as_before():
            context = SparkContext(conf=settings)
        try:
            session = checked(SparkSession(context))
        except Exception:
            context.stop()  # else the next one would be refused as a second one
            raise
    atexit.register(session.stop)
    if not local:
        ship(session)
    return session


def checked(session: Session) -> Session:
    """A session as it was given, if we can work with it.

    Raises
    ------
    UsageError
        It is not in UTC, or it is a Spark Connect session, which has no tasks of its own.
    """
    zone = session.conf.get(ZONE)
    if zone not in UTC:
        raise UsageError(
            f"The Spark session is in time zone {zone!r}; times of rows are UTC. Set {ZONE}=UTC."
        )
    if not hasattr(session, "_jsparkSession"):
        raise UsageError(
            "This is a Spark Connect session, which cannot run tasks of our own. Give a session of "
            "a driver in this process (spark-submit, or --master)."
        )
    return session


def ship(session: Session) -> None:
    """Send the geoquarry of this process to the workers of a cluster, ahead of any they have.

    Only our own code and tables: Python >= 3.11 and the dependencies (numpy, scipy, pyarrow,
    pyiceberg, ...) must be there. UDFs of your own go the same way: ``sparkContext.addPyFile``, or
    ``--conf spark.submit.pyFiles=mine.zip``. (A wheel must be renamed to .zip: Spark does not put
    .whl files on the path.)
    """
    folder = tempfile.mkdtemp(prefix="geoquarry-ship-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # executors that come later want it
    path = str(Path(folder, f"{PACKAGE}.zip"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in _files(files(PACKAGE), PACKAGE):
            archive.writestr(name, file.read_bytes())
    session.sparkContext.addPyFile(path)


def is_local(master: str) -> bool:
    """Whether a master means threads of this host.

    >>> is_local("local[*]"), is_local("spark://host:7077"), is_local("local-cluster[2,1,1024]")
    (True, False, False)
    """
    return master == "local" or master.startswith("local[")


def with_retries(master: str) -> str:
    """A local master that gives each task several attempts, like a cluster does.

    >>> with_retries("local[2]"), with_retries("local[*,2]"), with_retries("yarn")
    ('local[2,4]', 'local[*,2]', 'yarn')
    >>> with_retries("local")
    'local[1,4]'
    """
    if master == "local":
        return f"local[1,{ATTEMPTS}]"
    return re.sub(r"^local\[([^,\]]+)\]$", rf"local[\1,{ATTEMPTS}]", master)


def slots(master: str | None) -> int:
    """Tiles that are computed at a time on one host; of a cluster's hosts nothing is known here.

    >>> slots("local[3,4]"), slots("yarn")
    (3, 1)
    """
    cores = os.cpu_count() or 1
    if master is not None and not is_local(master):
        return 1
    found = re.search(r"\[(\d+)", master or "")
    return int(found[1]) if found else 1 if master == "local" else cores


@contextmanager
def _environment(asked: Mapping[str, str]) -> Iterator[None]:
    """Java and Python for Spark while it starts."""
    python = asked.get("spark.pyspark.python", sys.executable)
    changed = {"PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", python)}
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # else spark-submit has started Java already
        changed["JAVA_HOME"] = find_java().home
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _explained(master: str | None) -> Iterator[None]:
    """What Spark says in pages of Java when it does not start, as one line that helps."""
    try:
        yield
    except GeoquarryError:
        raise
    except Exception as error:
        where = f"master {master!r}" if master else "the master of its own settings"
        raise GeoquarryError(
            f"Spark does not start on {where}: {_said(str(error))} Check that the address is right "
            "(local[N], spark://host:port, yarn, k8s://https://host:port) and that something "
            "answers there; what Java itself said, if anything, stands above."
        ) from error


def _said(text: str) -> str:
    """The one line of an error of Java's that says what it was.

    >>> _said("An error occurred while calling None.x.\\n: java.lang.Error: Not so.\\n  at y")
    'Not so.'
    """
    if "stopped SparkContext" in text:  # when its client gave up
        return "it gave up waiting for the master."
    found = re.search(r"^: (?:[\w.$]+: )?(.+)$", text, re.MULTILINE)
    line = found[1] if found else text.strip().partition("\n")[0]
    return line if line.endswith(".") else f"{line}."


@contextmanager
def _ctrl_c_as_before() -> Iterator[None]:
    """Take back pyspark's answer to Ctrl-C, which makes a job fail before `Run` can cancel it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere it sets none
            signal.signal(signal.SIGINT, before)


def _files(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        if child.name == "__pycache__":
            continue
        if child.is_dir():
            yield from _files(child, f"{name}/{child.name}")
        else:
            yield f"{name}/{child.name}", child
