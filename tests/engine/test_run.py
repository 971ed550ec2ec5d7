"""A job in the background and who waits for it."""

import subprocess
import sys
import threading

import pytest

from geoquarry.engine.run import Run, RunReport

INTERRUPTED = """
import os, signal, threading, time
from geoquarry.engine.run import Run

signal.signal(signal.SIGINT, signal.default_int_handler)

def work(run):
    while not run.cancelled:
        time.sleep(0.01)
    time.sleep(0.5)
    print("tidied up", flush=True)
    run.check()

run = Run(work)
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    run.wait()
except KeyboardInterrupt:
    print(run.status)
"""


def test_ctrl_c_waits_until_the_job_has_tidied_up():
    """In Python 3.11 a join() that was broken off takes the thread for ended."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert done.stdout.split("\n") == ["tidied up", "cancelled", ""], done.stderr


def test_who_does_not_wait_long_enough_is_told():
    go = threading.Event()

    def work(run):
        go.wait(60)
        return RunReport("j", "c", None, 0, {})

    run = Run(work)
    with pytest.raises(TimeoutError, match="still runs"):
        run.wait(0.05)
    go.set()
    assert run.wait(60).job_id == "j"
