"""The catalog of a warehouse: a SQL database that knows where each table's newest state is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import URL, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError

from geoquarry.engine.failpoint import failpoint, is_armed
from geoquarry.engine.files import FILE_IO, is_uri
from geoquarry.schemas.errors import UsageError

NAMESPACE = "geoquarry"
VARIABLE = "GEOQUARRY_CATALOG"
BUSY_S = 60
"""How long SQLite waits for another process before it gives up, seconds."""


def sqlite_url(path: str) -> URL:
    """The catalog in a file."""
    return URL.create("sqlite", database=path, query={"timeout": str(BUSY_S)})


def catalog_url(location: str, given: str | None) -> URL:
    """The catalog of a warehouse that is a URI.

    Parameters
    ----------
    location : str
        The warehouse, for messages.
    given : str or None
        A SQLAlchemy URL; None: what ``$GEOQUARRY_CATALOG`` says.

    Raises
    ------
    UsageError
        None given, unreadable, or a SQLite database that is no file.
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
    path.parent.mkdir(parents=True, exist_ok=True)
    patience = {"timeout": str(BUSY_S)}
    return url.set(database=str(path), query={**patience, **url.query})


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


def open_catalog(url: URL, location: str, options: Mapping[str, str]) -> SqlCatalog:
    """Open the catalog; its tables are made if missing.

    Raises
    ------
    UsageError
        No driver for such a database, or it is the catalog of another warehouse.
    """
    properties = {
        "uri": url.render_as_string(hide_password=False),
        "warehouse": location,
        "py-io-impl": FILE_IO,
        "pool_pre_ping": str(url.get_backend_name() != "sqlite").lower(),
        **options,
    }
    try:
        catalog = SqlCatalog(NAMESPACE, **properties)
    except ImportError as error:
        raise UsageError(
            f"Catalog {shown(url)} needs the Python package {error.name}: pip install {error.name}"
        ) from error
    except ArgumentError as error:
        raise UsageError(f"Catalog {shown(url)}: {error}.") from error
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
