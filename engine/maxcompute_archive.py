"""The archive that brings a UDF to MaxCompute: the modules it imports, and nothing else.

Workers have Python, NumPy and SciPy, no network and no package of ours. The archive holds the UDF's
module, whatever of the same packages it imports when it is loaded, `engine.maxcompute_worker`, and
the files that these modules say they read. It is the same to the bit wherever it is made from the
same sources, and its name says what is in it, so a project that holds it need not get it again.
"""

import ast
import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from geoquarry.schemas.errors import UsageError

PREFIX = "geoquarry_"
"""How the names of all resources and functions of ours begin."""
WORKER = "geoquarry.engine.maxcompute_worker"
PROVIDED = ("numpy", "scipy")
"""Packages that MaxCompute has in its images."""
STAYS = "geoquarry.engine"
"""What needs this room, `WORKER` aside, runs programs or reads files of this host."""
DATA = "carried_files"
"""A module that reads files has a function of this name: path in the archive -> bytes."""
FOLDER = "packages"
HASH_CHARACTERS = 12


@dataclass(frozen=True)
class Archive:
    """What travels.

    Attributes
    ----------
    files : dict of str -> bytes
        By path, below `FOLDER`.
    needs : tuple of str
        Which of `PROVIDED` its modules import.
    """

    files: Mapping[str, bytes]
    needs: tuple[str, ...] = field(default=())

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents, not over how they are packed."""
        found = hashlib.sha256()
        for path, data in sorted(self.files.items()):
            found.update(f"{path}:{len(data)}:".encode())
            found.update(data)
        return found.hexdigest()

    @property
    def name(self) -> str:
        """Of the resource, before a project's own prefix."""
        return f"{PREFIX}{self.digest[:HASH_CHARACTERS]}.tar.gz"

    @cached_property
    def data(self) -> bytes:
        """The archive itself, without times, owners or anything else of this host."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
            for path, data in sorted(self.files.items()):
                about = tarfile.TarInfo(f"{FOLDER}/{path}")
                about.size, about.mode = len(data), 0o644
                out.addfile(about, io.BytesIO(data))
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
            stream.write(tar.getvalue())
        return packed.getvalue()


def archive_of(udf: str) -> Archive:
    """Everything that a UDF needs on a worker.

    Parameters
    ----------
    udf : str
        ``package.module:function``.

    Raises
    ------
    UsageError
        It needs what no worker has.

    Examples
    --------
    >>> found = archive_of("geoquarry.udfs.stats:tile_stats")
    >>> sorted(path for path in found.files if "udfs" in path)
    ['geoquarry/udfs/__init__.py', 'geoquarry/udfs/stats.py']
    """
    own = udf.partition(":")[0].partition(".")[0]
    sources: dict[str, bytes] = {}
    needs: set[str] = set()
    waiting = [udf.partition(":")[0], WORKER]
    specs: dict[str, ModuleSpec] = {}
    while waiting:
        name = waiting.pop()
        if name in specs:
            continue
        spec = _spec(name)
        if name.startswith(f"{STAYS}.") and not name.startswith(WORKER):
            raise UsageError(
                f"UDF {udf!r} needs {name}, which works with programs and files of this host; "
                "MaxCompute has neither. Run it on the engine local or spark."
            )
        specs[name] = spec
        path = Path(spec.origin or "")
        source = path.read_bytes()
        sources[_place(name, path)] = source
        waiting += _parents(name)
        for wanted in _imports(ast.parse(source), name):
            package = wanted.partition(".")[0]
            if package in PROVIDED:
                needs.add(package)
            elif package not in sys.stdlib_module_names:
                if package not in ("geoquarry", own):
                    raise UsageError(
                        f"UDF {udf!r}: {name} imports {package}, which MaxCompute's workers do not "
                        f"have. They have {' and '.join(PROVIDED)}; import others inside functions."
                    )
                waiting.append(wanted)
    import_module(udf.partition(":")[0])  # what its modules say of themselves is asked below
    files = {**sources, **_data(specs)}
    return Archive(dict(sorted(files.items())), tuple(sorted(needs)))


def _spec(name: str) -> ModuleSpec:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"No module {name!r} ({error}), which a UDF imports.") from error
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise UsageError(f"Module {name!r} is no Python source file, so it cannot travel.")
    return spec


def _place(name: str, path: Path) -> str:
    folder = name.replace(".", "/")
    return f"{folder}/__init__.py" if path.name == "__init__.py" else f"{folder}.py"


def _parents(name: str) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _imports(tree: ast.Module, name: str) -> Iterator[str]:
    """Modules that are imported when this one is loaded."""
    for node in _at_once(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise UsageError(f"{name}: write imports in full, so that they mean the same.")
            yield node.module
            for alias in node.names:
                if node.module.startswith("geoquarry") and _is_module(node.module, alias.name):
                    yield f"{node.module}.{alias.name}"


def _is_module(package: str, name: str) -> bool:
    spec = _spec(package)
    return spec.submodule_search_locations is not None and bool(find_spec(f"{package}.{name}"))


def _at_once(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is loaded; functions and type checks do not."""
    for node in body:
        if isinstance(node, ast.If):
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                yield from _at_once([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _at_once([*node.body, *node.orelse, *node.finalbody])
        else:
            yield node


def _data(modules: Iterable[str]) -> dict[str, bytes]:
    """Files that modules read, as they say themselves."""
    found: dict[str, bytes] = {}
    for name in modules:
        files: Any = getattr(sys.modules.get(name), DATA, None)
        if files is not None:
            found.update(files())
    return found
