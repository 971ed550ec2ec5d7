"""A real Spark cluster on this host, a master and two workers of one core, and how to kill them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from geoquarry.engine.spark_java import find_java

PATIENCE_S = 90


@contextmanager
def standalone(folder):
    """Start master and workers with the scripts of the pip wheel; stop them whatever happens.

    Yields
    ------
    master : str
        Its URL.
    """
    home = Path(find_spec("pyspark").origin).parent
    port, web = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    env |= {
        "JAVA_HOME": find_java().home,
        "SPARK_HOME": str(home),
        "SPARK_DAEMON_MEMORY": "256m",
    }
    started = []

    def start(name, host, *words):
        command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{words[0]}"]
        with Path(folder, f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--host", host, *words[1:]],
                env={**env, "SPARK_LOCAL_IP": host},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started.append(process)

    try:
        start("master", "127.0.0.1", "master.Master", "--port", str(port), "--webui-port", str(web))
        for number in range(2):
            words = ["--cores", "1", "--memory", "700m", "--webui-port", "0"]
            work = str(Path(folder, f"work{number}"))
            host = f"127.0.0.{number + 1}"  # two hosts, or Spark would not run a tile twice
            start(f"worker{number}", host, "worker.Worker", *words, "--work-dir", work, master)
        wait_for(lambda: alive_workers(web) == 2, "two workers")
        yield master
    finally:
        for process in started[::-1]:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def alive_workers(web):
    """How many workers the master knows, from its page."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{web}/json/", timeout=5) as page:
            return page.read().decode().count('"state" : "ALIVE"')
    except (urllib.error.URLError, OSError):
        return 0


def wait_for(condition, what, patience_s=PATIENCE_S):
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"no {what} within {patience_s} s")


def executor_of(process):
    """The executor's JVM above a Python worker."""
    while process > 1:
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{process}/cmdline").read_text()
        if "CoarseGrainedExecutorBackend" in command:
            return process
        process = int(stat[1])
    raise ProcessLookupError("no executor above it")


def kill(process):
    os.kill(process, signal.SIGKILL)


DRIVER = """
import json, sys
from dataclasses import asdict, replace
from geoquarry.engine.spark import open_engine
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger

warehouse, master, conf, target, trouble = json.loads(sys.argv[1])
engine = open_engine(warehouse, master=master, conf=conf)
made = job_of(engine, Trigger("mosaic", "tiles", target, params={"mosaic": "min", "scope": "tile"}))
made = replace(made, udf="trouble:compute", params={**made.params, "trouble": trouble})
report = engine.run(made).wait()
print(json.dumps(asdict(report)))
engine.session.stop()
"""


def driver(words, folder, paths):
    """A driver program of its own, since a process has one Spark session."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    env |= {"PYTHONPATH": os.pathsep.join(paths), "SPARK_LOCAL_IP": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, words],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
