"""The catalog of a warehouse: a SQL database that knows where each table's newest state is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import URL, inspect, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError

from geoquarry.engine.failpoint import failpoint, is_armed
from geoquarry.engine.files import FILE_IO, is_uri
from geoquarry.schemas.errors import UsageError

NAMESPACE = "geoquarry"
NAMESPACES = "iceberg_namespace_properties"
"""The table of a catalog that pyiceberg makes last."""
VARIABLE = "GEOQUARRY_CATALOG"
BUSY_S = 60
"""How long SQLite waits for another process before it gives up, seconds."""


def sqlite_url(path: str) -> URL:
    """The catalog in a file."""
    return URL.create("sqlite", database=path, query={"timeout": str(BUSY_S)})


def catalog_url(location: str, given: str | None, *, create: bool = True) -> URL:
    """The catalog of a warehouse that is a URI.

    Parameters
    ----------
    location : str
        The warehouse, for messages.
    given : str or None
        A SQLAlchemy URL; None: what ``$GEOQUARRY_CATALOG`` says.
    create : bool
        Make the folder of a SQLite database that is missing; otherwise refuse it.

    Raises
    ------
    UsageError
        None given, unreadable, or a SQLite database that is no file, or not there.
    """
    text = given or os.environ.get(VARIABLE)
    if not text:
        raise UsageError(
            f"Warehouse {location!r} is a URI: an object store has no room for the SQLite catalog, "
            "so it needs a catalog URI: a SQL database, shared by all hosts that write. Give it "
            f"with --catalog, ${VARIABLE} or open_engine(..., catalog=...), e.g. "
            "postgresql://user@host/name, or sqlite:////path/catalog.db on one host."
        )
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not a word of the text: it may hold a password.
        raise UsageError(
            f"The catalog of warehouse {location!r} is no URI such as postgresql://user@host/name "
            "or sqlite:////path/catalog.db."
        ) from None
    if url.get_backend_name() != "sqlite":
        return url
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise UsageError(
            f"The catalog of warehouse {location!r} must be kept in a file: write "
            "sqlite:////path/catalog.db."
        )
    path = Path(url.database).resolve()
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.exists():
        raise no_warehouse(location, f"there is no file {path}")
    patience = {"timeout": str(BUSY_S)}
    return url.set(database=str(path), query={**patience, **url.query})


class NoWarehouse(UsageError):
    """Nothing is there, or not yet."""


def no_warehouse(location: str, found: str = "") -> NoWarehouse:
    """What somebody is told who looks for a warehouse where none is."""
    return NoWarehouse(
        f"There is no warehouse in {location!r}{found and ': '}{found}. `ingest` and `upload` make "
        "one; to look at another, give --warehouse or $GEOQUARRY_WAREHOUSE"
        + (f", and its catalog with --catalog or ${VARIABLE}." if is_uri(location) else ".")
    )


def shown(url: URL) -> str:
    """A catalog URL for people: no password, and no query, which may hold one.

    >>> shown(make_url("postgresql://ann:secret@host/quarry?sslpassword=secret"))
    'postgresql://ann:***@host/quarry'
    """
    return url.set(query={}).render_as_string(hide_password=True)


def cache_folder(url: URL) -> Path:
    """Where caches lie, which need a local disk: beside a catalog file, else in the user's cache.

    They hold nothing that is specific to one warehouse's place: table ids and states of 6S.
    """
    if url.get_backend_name() == "sqlite":
        return Path(str(url.database)).parent / "cache"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "geoquarry")


def open_catalog(
    url: URL, location: str, options: Mapping[str, str], *, create: bool = True
) -> SqlCatalog:
    """Open the catalog; its tables are made if missing, with ``create=False`` it is refused.

    Raises
    ------
    UsageError
        No driver for such a database, no catalog in it (with ``create=False``), or it is
        the catalog of another warehouse.
    """
    properties = {
        "uri": url.render_as_string(hide_password=False),
        "warehouse": location,
        "py-io-impl": FILE_IO,
        "pool_pre_ping": str(url.get_backend_name() != "sqlite").lower(),
        **options,
    }
    if not create:
        properties["init_catalog_tables"] = "false"
    try:
        catalog = SqlCatalog(NAMESPACE, **properties)
    except ImportError as error:
        raise UsageError(
            f"Catalog {shown(url)} needs the Python package {error.name}: pip install {error.name}"
        ) from error
    except ArgumentError as error:
        raise UsageError(f"Catalog {shown(url)}: {error}.") from error
    if not (
        create
        or (inspect(catalog.engine).has_table(NAMESPACES) and catalog.namespace_exists(NAMESPACE))
    ):
        raise no_warehouse(location, f"nothing is in catalog {shown(url)}")
    if is_armed("commit.catalog"):  # between the last file of a commit and its line in the catalog
        listen(catalog.engine, "before_cursor_execute", _before_statement)
    if not is_uri(location):  # a folder may be moved
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog
    catalog.create_namespace_if_not_exists(NAMESPACE, {"location": location})
    owner = catalog.load_namespace_properties(NAMESPACE).get("location")
    if owner != location:
        raise UsageError(
            f"Catalog {shown(url)} belongs to {owner or 'a warehouse folder'}, not to {location}. "
            "Each warehouse needs a database of its own."
        )
    return catalog


def _before_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    if statement.startswith("UPDATE iceberg_tables"):
        failpoint("commit.catalog")
