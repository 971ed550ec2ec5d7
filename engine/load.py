"""Find an engine by name; nothing is imported before somebody asks for it."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from geoquarry.schemas.errors import UnknownName, UsageError

REQUIRES = {
    "local": ("duckdb", "geoquarry"),
    "spark": ("pyspark", ".[spark]"),
    "maxcompute": ("odps", ".[odps]"),
}
"""Engine name -> the package it needs, and what to install to get it. A new engine is one line here
and one module beside it."""
ALIASES = {"odps": "maxcompute"}
"""Other names of engines."""


def load(name: str) -> ModuleType:
    """Import one engine; the others stay untouched.

    Parameters
    ----------
    name : str
        A key of ``REQUIRES`` or of ``ALIASES``.

    Returns
    -------
    engine : module
        It has ``open_engine(location, **options) -> Engine``.

    Raises
    ------
    UnknownName
        No such engine.
    UsageError
        The package it needs is not installed.

    Examples
    --------
    >>> load("sparc")
    Traceback (most recent call last):
    geoquarry.schemas.errors.UnknownName: No engine 'sparc'. Choose one of: ...
    """
    name = ALIASES.get(name, name)
    if name not in REQUIRES:
        choices = ", ".join(sorted(REQUIRES))
        raise UnknownName(f"No engine {name!r}. Choose one of: {choices}.")
    package, install = REQUIRES[name]
    if find_spec(package) is None:
        raise UsageError(f"Engine {name!r} needs {package}: pip install '{install}'")
    return import_module(f"geoquarry.engine.{name}")
