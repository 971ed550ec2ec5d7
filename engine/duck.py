"""A DuckDB connection that can reach nothing but what it is given."""

import tempfile

import duckdb


def connect(*, lock: bool = True) -> duckdb.DuckDBPyConnection:
    """An in-memory connection in UTC, without files, network, extensions or Python variables.

    Parameters
    ----------
    lock : bool
        Refuse later settings; pass False to register functions first, then call `lock_settings`.

    Examples
    --------
    >>> with connect() as con:
    ...     con.sql("SELECT timestamptz '2008-04-01' = '2008-04-01 00:00+00'").fetchall()
    [(True,)]
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": tempfile.gettempdir(),
        },
    )
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    if lock:
        lock_settings(connection)
    return connection


def lock_settings(connection: duckdb.DuckDBPyConnection) -> None:
    """No statement can change a setting any more."""
    connection.execute("SET lock_configuration = true").fetchall()
