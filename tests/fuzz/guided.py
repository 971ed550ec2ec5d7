"""Coverage-guided search over one target: `python -m fuzz.guided TARGET [libFuzzer options]`.

Needs atheris, a tool for development. The address space of this process is limited, so that what
the parsers' C code allocates is bounded, too; a hang ends the run by libFuzzer's own clock.
"""

import importlib
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOM_BYTES = 512 * 2**20
"""Address space beyond what the seeds needed. A case that wants more gets a MemoryError, which is
a finding."""
HANG_S = 20
"""Wall time after which libFuzzer gives up on a case that does not come back at all. (Cases that
come back late are found by processor time, see `guard`.)"""


def main(argv: Sequence[str]) -> None:
    """Search until the options say stop; a finding ends the process with its traceback."""
    name, *options = argv
    atheris = importlib.import_module("atheris")
    instrument(atheris, name)
    targets, guard = (importlib.import_module(f"fuzz.{module}") for module in ("targets", "guard"))
    target = targets.TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="geoquarry-fuzz-") as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for place, data in enumerate(target.known()):
            seeds.joinpath(str(place)).write_bytes(data)
            guard.checked(target, data)  # lazy imports count as start-up, not as a slow case
        own = [option for option in options if not option.startswith("-")]
        flags = [option for option in options if option.startswith("-")]
        flags += [f"-max_len={target.longest}", f"-timeout={HANG_S}", "-rss_limit_mb=4096"]
        if target.tokens:
            words = Path(folder, "words")
            words.write_text("".join(f'"{escaped(token)}"\n' for token in target.tokens))
            flags.append(f"-dict={words}")
        limit_room()
        run: Callable[[bytes], object] = lambda data: guard.checked(target, data)  # noqa: E731
        atheris.Setup(["fuzz", *flags, *own, str(seeds)], run)
        atheris.Fuzz()


def instrument(atheris: object, name: str) -> None:
    """Import the parsers with counters on their branches: ours, and those we trust to parse."""
    include = [
        "geoquarry.schemas",
        "geoquarry.engine",
        "geoquarry.udfs",
        "geoquarry.jobs",
        "zipfile",
    ]
    if name in ("where", "statement", "select"):
        include.append("sqlglot")
    with atheris.instrument_imports(include=include):  # type: ignore[attr-defined]
        importlib.import_module("fuzz.targets")


def limit_room() -> None:
    """From here on this process may grow by `ROOM_BYTES`, threads' stacks included."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def escaped(token: bytes) -> str:
    r"""A token as libFuzzer's dictionaries spell it.

    >>> escaped(b'a"\n')
    'a\\x22\\x0a'
    """
    plain = set(range(32, 127)) - set(b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main(sys.argv[1:])
