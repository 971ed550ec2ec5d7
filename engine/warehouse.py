"""A warehouse: one folder that holds a catalog, the tables and the caches."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError

from geoquarry.engine.layout import iceberg_schema, table_properties
from geoquarry.engine.table import Table
from geoquarry.schemas.errors import TableError, UnknownName, UsageError

NAMESPACE = "geoquarry"
CATALOG_FILE = "catalog.db"
BUSY_S = 60
"""How long SQLite waits for another process before it gives up, seconds."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
Answer = TypeVar("Answer")


def check_name(name: str) -> str:
    """A table name as it came in, if it is one.

    Raises
    ------
    UsageError
        Anything but a letter or underscore and then up to 63 letters, digits, underscores.

    Examples
    --------
    >>> check_name("aster_2007")
    'aster_2007'
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no table name: use up to 64 letters (A-Z), digits and underscores, "
            "beginning with a letter or an underscore."
        )
    return name


def open_warehouse(location: str) -> "Warehouse":
    """Open a warehouse folder; it is made if missing.

    Parameters
    ----------
    location : str
        Path of a folder on this host.

    Raises
    ------
    UsageError
        A URI (object stores need a catalog server, which is not supported yet), or a file.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", location):
        raise UsageError(
            f"Warehouse {location!r} is a URI: an object store has no room for the SQLite catalog, "
            "so it needs a catalog URI (a SQL database shared by all hosts), and this version "
            "opens folders only. Give a path."
        )
    return Warehouse(location)


class Warehouse:
    """Tables and caches of one folder, for any number of processes on one host.

    Parameters
    ----------
    location : str
        The folder. Stored as its real path, so that a link to it is the same warehouse.
    """

    def __init__(self, location: str) -> None:
        self.location = os.path.realpath(location)
        if os.path.exists(self.location) and not os.path.isdir(self.location):
            raise UsageError(f"Warehouse {location!r} is a file; give a folder.")
        try:
            os.makedirs(self.location, exist_ok=True)
        except OSError as error:
            raise UsageError(f"Cannot make the warehouse folder {location!r}: {error}") from error
        self.catalog = patiently(self._open_catalog)

    def cache_path(self, name: str) -> Path:
        """Path of a cache file, e.g. ``sixs.sqlite``; its folder exists, the file may not.

        Everything below ``cache/`` can be deleted at any time.
        """
        path = Path(self.location, "cache", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table_names(self) -> list[str]:
        """Names of the tables, sorted."""
        return sorted(name for _, name in patiently(lambda: self.catalog.list_tables(NAMESPACE)))

    def exists(self, name: str) -> bool:
        """Whether there is a table of that name."""
        check_name(name)
        return name in self.table_names()

    def create_table(self, name: str, schema: pa.Schema) -> Table:
        """Make an empty table that remembers its schema, column comments and facts.

        Raises
        ------
        TableError
            A table of that name exists, or a column has a type that tables cannot hold.
        """
        check_name(name)
        location = os.path.join(self.location, "tables", name)
        try:
            made = patiently(
                lambda: self.catalog.create_table(
                    (NAMESPACE, name),
                    schema=iceberg_schema(schema),
                    location=location,
                    properties=table_properties(schema),
                )
            )
        except TableAlreadyExistsError as error:
            raise TableError(
                f"Table {name!r} exists already. Drop it first, or choose another name."
            ) from error
        return Table(name, made, self)

    def ensure_table(self, name: str, schema: pa.Schema) -> Table:
        """The table of that name, made if missing; its schema may be another if it existed."""
        if not self.exists(name):
            try:
                return self.create_table(name, schema)
            except TableError:
                if not self.exists(name):  # not another process that was quicker
                    raise
        return self.table(name)

    def table(self, name: str) -> Table:
        """Open a table at its newest state.

        Raises
        ------
        UnknownName
            No such table.
        TableError
            Its files lie elsewhere: the warehouse folder was moved or copied.
        """
        check_name(name)
        try:
            found = patiently(lambda: self.catalog.load_table((NAMESPACE, name)))
        except NoSuchTableError as error:
            names = ", ".join(self.table_names()) or "none yet"
            raise UnknownName(
                f"No table {name!r} in warehouse {self.location}. Tables: {names}."
            ) from error
        except FileNotFoundError as error:
            raise self._moved(name, str(error)) from error
        if not found.metadata_location.startswith(self.location + os.sep):
            raise self._moved(name, found.metadata_location)
        return Table(name, found, self)

    def drop_table(self, name: str) -> None:
        """Take a table out of the catalog and delete its files."""
        table = self.table(name)
        patiently(lambda: self.catalog.drop_table((NAMESPACE, name)))
        table.filesystem.delete_dir(table.location)

    def _moved(self, name: str, detail: str) -> TableError:
        return TableError(
            f"Table {name!r}: the catalog of {self.location} points to files elsewhere ({detail}). "
            "Was the warehouse folder moved or copied? Move it back, or let "
            "`geoquarry relocate` rewrite the paths."
        )

    def _open_catalog(self) -> SqlCatalog:
        path = os.path.join(self.location, CATALOG_FILE)
        uri = URL.create("sqlite", database=path, query={"timeout": str(BUSY_S)})
        catalog = SqlCatalog(
            NAMESPACE,
            **{
                "uri": uri.render_as_string(),
                "warehouse": self.location,
                "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
            },
        )
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog


def patiently(ask: Callable[[], Answer], attempts: int = 6) -> Answer:
    """Ask the catalog; when another process is just making or writing it, ask again."""
    for attempt in range(attempts):
        try:
            return ask()
        except FileNotFoundError:
            # Old metadata files are deleted: a slow reader may need to look the newest up again.
            if attempt >= 2:
                raise
        except DatabaseError as error:
            busy = re.search("locked|already exists|busy|UNIQUE", str(error.orig))
            if not busy or attempt == attempts - 1:
                raise TableError(f"The catalog does not answer: {error.orig}") from error
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")
