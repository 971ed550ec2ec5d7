"""A warehouse: one folder that holds a catalog, the tables and the caches; or a URI."""

import difflib
import errno
import os
import re
import time
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError, ValidationError
from sqlalchemy.exc import DatabaseError

from geoquarry.engine.catalog import (
    NAMESPACE,
    cache_folder,
    catalog_url,
    no_warehouse,
    open_catalog,
    sqlite_url,
)
from geoquarry.engine.files import (
    SharedFileIO,
    check_reachable,
    delete_folder,
    is_uri,
    storage_options,
)
from geoquarry.engine.layout import iceberg_schema, table_properties
from geoquarry.engine.ledger import Ledger
from geoquarry.engine.ledger_tables import LEDGER_FILE, ledger_url
from geoquarry.engine.storage import ADVICE, catalog_trouble, is_busy, writing
from geoquarry.engine.table import Table
from geoquarry.schemas.errors import StorageError, TableError, UnknownName, UsageError

CATALOG_FILE = "catalog.db"
SHOWN_TABLES = 8
"""Tables that an error names; of more only those with a like name."""
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


def no_table(name: str, names: Sequence[str], where: str = "") -> str:
    """What to say of a table that is not there; of many only those with a like name.

    >>> no_table("astre", ["aster", "map"])
    "No table 'astre'. Tables: aster, map."
    >>> no_table("astre", ["aster", *(f"map_{n}" for n in range(20))])
    "No table 'astre'. Did you mean aster? `geoquarry tables` lists all 21."
    """
    found = f"No table {name!r}{where}."
    if len(names) <= SHOWN_TABLES:
        return f"{found} Tables: {', '.join(names) or 'none yet'}."
    near = difflib.get_close_matches(name, names, n=3)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{found} {guess}`geoquarry tables` lists all {len(names)}."


def open_warehouse(
    location: str, catalog: str | None = None, *, create: bool = True
) -> "Warehouse":
    """Open a warehouse.

    Parameters
    ----------
    location : str
        Path of a folder on this host, or a URI such as ``s3://bucket/prefix``.
    catalog : str, optional
        For a URI: SQLAlchemy URL of the catalog's database; default ``$GEOQUARRY_CATALOG``.
    create : bool
        Make a warehouse that is missing: the folder at once, the catalog in it with the first
        table; otherwise refuse it.

    Raises
    ------
    UsageError
        No warehouse is there (with ``create=False``); a URI without a catalog or a store that does
        not answer; a file; a catalog for a folder.
    """
    if not (create or is_uri(location) or os.path.isfile(location) or _is_begun(location)):
        raise no_warehouse(location)
    return Warehouse(location, catalog, create=create)


def _is_begun(folder: str) -> bool:
    """Whether a folder has a catalog, or at least jobs, none of which may have made a table."""
    return any(os.path.exists(os.path.join(folder, name)) for name in (CATALOG_FILE, LEDGER_FILE))


class Warehouse:
    """Tables and caches of one folder or URI, for any number of processes.

    Parameters
    ----------
    location : str
        A folder is stored as its real path, so that a link to it is the same warehouse.
    catalog, create
        See `open_warehouse`.

    Attributes
    ----------
    location : str
    ledger : Ledger
        What jobs did: a file in the folder, or tables in the catalog's database.
    """

    def __init__(self, location: str, catalog: str | None = None, *, create: bool = True) -> None:
        if is_uri(location):
            url = catalog_url(location, catalog, create=create)
            options = storage_options(location)
            self.location = location.rstrip("/")
            check_reachable(SharedFileIO(options), self.location)
            self.ledger = Ledger(url, own_file=False)
            self._cache = cache_folder(url)
            # At once: whose catalog it is must be known before anything is written.
            self.catalog = patiently(
                lambda: open_catalog(url, self.location, options, create=create)
            )
        else:
            self.location = made_folder(location, catalog)
            self.ledger = Ledger(ledger_url(self.location), own_file=True)
            self._cache = cache_folder(sqlite_url(self._catalog_file))
            if os.path.exists(self._catalog_file):
                _ = self.catalog  # what is no catalog is refused now
            elif not os.access(self.location, os.W_OK):
                raise StorageError(f"Cannot write {self.location}: {ADVICE[errno.EACCES]}")

    @cached_property
    def catalog(self) -> SqlCatalog:
        """The catalog; that of a folder is made when it is first needed."""
        return patiently(lambda: open_catalog(sqlite_url(self._catalog_file), self.location, {}))

    @property
    def _catalog_file(self) -> str:
        return os.path.join(self.location, CATALOG_FILE)

    @property
    def _is_new(self) -> bool:
        """Whether nothing was ever stored, so that looking need not make a catalog."""
        return "catalog" not in vars(self) and not os.path.exists(self._catalog_file)

    def cache_path(self, name: str) -> Path:
        """Path of a cache file, e.g. ``sixs.sqlite``; its folder exists, the file may not.

        Always on a local disk; everything there can be deleted at any time.
        """
        path = self._cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table_names(self) -> list[str]:
        """Names of the tables, sorted."""
        if self._is_new:
            return []
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
        location = f"{self.location}/tables/{name}"
        if is_uri(location):
            # Nothing stops another catalog from using this prefix: files must never mix.
            location += f"-{uuid.uuid4().hex[:12]}"
        try:
            with writing(location):
                made = patiently(
                    lambda: self.catalog.create_table(
                        (NAMESPACE, name),
                        schema=iceberg_schema(schema),
                        location=location,
                        properties=table_properties(schema),
                    )
                )
        except TableAlreadyExistsError as error:
            if is_uri(location):
                delete_folder(SharedFileIO(self.catalog.properties), location)
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
            if self._is_new:
                raise NoSuchTableError
            found = patiently(lambda: self.catalog.load_table((NAMESPACE, name)))
        except NoSuchTableError as error:
            where = f" in warehouse {self.location}"
            raise UnknownName(no_table(name, self.table_names(), where)) from error
        except FileNotFoundError as error:
            raise self._moved(name, str(error)) from error
        except (ValidationError, ValueError) as error:
            raise TableError(
                f"Table {name!r}: its metadata is damaged: {' '.join(str(error).split())[:200]}. "
                "Restore the newest file of its folder metadata from a copy."
            ) from error
        if not found.metadata_location.startswith(self.location + "/"):
            raise self._moved(name, found.metadata_location)
        return Table(name, found, self)

    def drop_table(self, name: str) -> None:
        """Take a table out of the catalog and delete its files."""
        table = self.table(name)
        patiently(lambda: self.catalog.drop_table((NAMESPACE, name)))
        delete_folder(table.layout.io, table.location)

    def _moved(self, name: str, detail: str) -> TableError:
        mend = (
            "Were objects moved or deleted? A warehouse URI stays where it was made."
            if is_uri(self.location)
            else "Was the warehouse folder moved or copied? Move it back, or let "
            "`geoquarry relocate` rewrite the paths."
        )
        return TableError(
            f"Table {name!r}: the catalog of {self.location} points to files elsewhere ({detail}). "
            + mend
        )


def made_folder(location: str, catalog: str | None) -> str:
    """The real path of a warehouse folder, made if missing."""
    if catalog is not None:
        raise UsageError(
            f"Warehouse {location!r} is a folder, which holds its own catalog; give a catalog URI "
            "with a warehouse URI only."
        )
    folder = os.path.realpath(location)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(f"Warehouse {location!r} is a file; give a folder.")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the warehouse folder {location!r}: {error}") from error
    return folder


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
            if not is_busy(error) or attempt == attempts - 1:
                raise catalog_trouble(error) from error
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")
