"""`doctor`: is everything here that a job needs, and how to mend what is not."""

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from geoquarry.engine import sixs
from geoquarry.engine.catalog import NoWarehouse
from geoquarry.engine.files import is_uri
from geoquarry.engine.load import ALIASES, REQUIRES
from geoquarry.engine.maxcompute_account import account_of, set_variables
from geoquarry.engine.spark_java import find_java
from geoquarry.engine.warehouse import CATALOG_FILE, open_warehouse
from geoquarry.jobs.console import DONE, FAILED, answer, table_text
from geoquarry.jobs.version import package_version
from geoquarry.schemas.errors import GeoquarryError
from geoquarry.schemas.sensor import sensors
from geoquarry.udfs.lut import lut

NEEDED = ("numpy", "scipy", "pyarrow", "duckdb", "sqlglot", "pyiceberg", "pyhdf", "rasterio")
OPTIONAL = {"matplotlib": "pictures: pip install '.[demo]' in a clone"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`doctor` takes no arguments of its own."""


def examine(warehouse: str, catalog: str | None = None) -> list[dict[str, str]]:
    """What is here, what is missing, how to mend it.

    Returns
    -------
    findings : list of dict
        ``what, state`` (ok, missing, or read-only of a warehouse) and ``about``.
    """
    found = [{"what": "geoquarry", "state": "ok", "about": package_version()}]
    python = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    found.append({"what": "python", "state": "ok" if good else "missing", "about": python})
    for name in NEEDED:
        try:
            found.append({"what": name, "state": "ok", "about": version(name)})
        except PackageNotFoundError:
            found.append({"what": name, "state": "missing", "about": "pip install . in a clone"})
    for name, mend in OPTIONAL.items():
        here = find_spec(name) is not None
        found.append(
            {
                "what": name,
                "state": "ok" if here else "missing",
                "about": version(name) if here else mend,
            }
        )
    found += [_sixs(), *map(_table, sensors()), _proj(), _warehouse(warehouse, catalog)]
    found.append({"what": "engine local", "state": "ok", "about": "needs no Java"})
    found.append(_spark())
    found.append(_maxcompute())
    return found


def _table_name(sensor_name: str) -> str:
    return f"lookup table {sensor_name}"


def _table(sensor_name: str) -> dict[str, str]:
    what = _table_name(sensor_name)
    try:
        found = lut(sensor_name, "Continental")
    except GeoquarryError as error:
        return {"what": what, "state": "missing", "about": str(error)}
    about = f"{found.aerosol_model}, {found.provenance.get('sixs')}, digest {found.digest[:12]}"
    return {"what": what, "state": "ok", "about": about}


def _sixs() -> dict[str, str]:
    try:
        return {"what": "6S", "state": "ok", "about": sixs.version()}
    except Exception as error:  # a doctor reports whatever it meets
        return {"what": "6S", "state": "missing", "about": str(error)}


def _spark() -> dict[str, str]:
    what = "engine spark"
    package, _ = REQUIRES["spark"]
    if find_spec(package) is None:
        return {"what": what, "state": "missing", "about": "pip install '.[spark]' in a clone"}
    try:
        java = find_java()
    except GeoquarryError as error:
        return {"what": what, "state": "missing", "about": str(error)}
    about = f"pyspark {version(package)}, Java {java.version} of {java.origin} ({java.home})"
    return {"what": what, "state": "ok", "about": about}


def _maxcompute() -> dict[str, str]:
    """Whether the client is there, which variables are set, and whether the project answers."""
    what = "engine maxcompute"
    package, _ = REQUIRES["maxcompute"]
    if find_spec(package) is None:
        return {"what": what, "state": "missing", "about": "pip install '.[odps]' in a clone"}
    about = f"pyodps {version('pyodps')}"
    names = set_variables()
    if not names:
        mend = "no project: set $ODPS_PROJECT_NAME, $ODPS_ENDPOINT and credentials to use one"
        return {"what": what, "state": "ok", "about": f"{about}, {mend}"}
    about += f", set: {', '.join(names)}"
    try:
        account = account_of()
        from geoquarry.engine.maxcompute_connection import Connection

        Connection(account).reach()
    except GeoquarryError as error:
        return {"what": what, "state": "missing", "about": f"{about}; {error}"}
    return {"what": what, "state": "ok", "about": f"{about}; {account.project!r} answers"}


def _proj() -> dict[str, str]:
    from rasterio.warp import transform

    x, y = transform("EPSG:4326", "EPSG:32612", [-111.0], [0.0])
    near = abs(x[0] - 500_000) < 1e-3 and abs(y[0]) < 1e-3
    about = "UTM zone 12 is where it should be" if near else f"EPSG:32612 gives {x[0]}, {y[0]}"
    return {"what": "PROJ", "state": "ok" if near else "missing", "about": about}


def _warehouse(location: str, catalog: str | None) -> dict[str, str]:
    """Whether it is there, and whether this account may write it; nothing is made."""
    state, about = _warehouse_state(location, catalog)
    return {"what": "warehouse", "state": state, "about": f"{location} {about}"}


def _warehouse_state(location: str, catalog: str | None) -> tuple[str, str]:
    try:
        tables = len(open_warehouse(location, catalog, create=False).table_names())
    except NoWarehouse:
        return _room_for(location)
    except Exception as error:  # a doctor reports whatever it meets
        return "missing", f"cannot be opened: {error}"
    about = f"is there, {tables} tables"
    if not is_uri(location):
        path = Path(location)
        for each in (path, path / CATALOG_FILE):
            if not os.access(each, os.W_OK):
                return "read-only", f"{about}; this account may not write {each}"
    return "ok", about


def _room_for(location: str) -> tuple[str, str]:
    """Whether a warehouse can be made there."""
    if not is_uri(location):
        path = Path(location).absolute()
        nearest = next(each for each in (path, *path.parents) if each.exists())
        if not os.access(nearest, os.W_OK):
            return "missing", f"cannot be made: this account may not write {nearest}"
    return "ok", "will be made by the first ingest"


def main(args: argparse.Namespace) -> int:
    """Run `geoquarry doctor`."""
    findings = examine(args.warehouse, args.catalog)
    answer(findings if args.json else table_text(findings), as_json=args.json)
    tables = (_table_name(name) for name in sensors())
    needed = {"python", "PROJ", "warehouse", *tables, *NEEDED}  # 6S is an extra: jobs use its table
    needed.add(f"engine {ALIASES.get(args.engine, args.engine)}")  # asked for, or the default
    bad = [f for f in findings if f["state"] == "missing" and f["what"] in needed]
    return FAILED if bad else DONE
