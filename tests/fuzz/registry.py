"""What is fuzzed: one harness per parser of outside bytes or text, shared by all drivers."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 4096
"""Bytes of a case unless a target says otherwise."""


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes
    ----------
    name : str
    run : callable
        Takes the bytes of a case. May raise GeoquarryError; anything else is a finding. Asserts
        what must hold of an answer.
    seeds : tuple of bytes
        Cases that get past the first checks.
    tokens : tuple of bytes
        Words of the format, for mutations.
    share : int
        Cases of a soak, of a thousand over all targets.
    longest : int
        Bytes.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()
    share: int = 50
    longest: int = LONGEST

    def corpus(self) -> list[Path]:
        """Cases kept from earlier runs, findings among them."""
        folder = CORPUS / self.name
        return sorted(path for path in folder.glob("*") if path.is_file())

    def known(self) -> list[bytes]:
        """Seeds and kept cases."""
        return [*self.seeds, *(path.read_bytes() for path in self.corpus())]


def words(text: str) -> tuple[bytes, ...]:
    """Tokens from a text with blanks between them."""
    return tuple(word.encode() for word in text.split())


_folder: list[Path] = []


def scratch(name: str, data: bytes) -> Path:
    """A file of this process that holds a case, for parsers that want a path."""
    if not _folder:
        memory = Path("/dev/shm")
        place = str(memory) if memory.is_dir() else None
        _folder.append(Path(tempfile.mkdtemp(prefix="geoquarry-fuzz-", dir=place)))
        atexit.register(shutil.rmtree, _folder[0], ignore_errors=True)
    path = _folder[0] / name
    path.write_bytes(data)
    return path
