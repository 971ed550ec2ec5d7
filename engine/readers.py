"""Readers by sensor: modules with ``read(path, **options) -> Granule`` and a ``PATTERN``."""

from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from types import ModuleType

from geoquarry.schemas.errors import UnknownName

READERS = {"aster_l1t": "geoquarry.engine.aster_l1t"}
"""Sensor -> module. A new sensor is a line here, a module beside it and a band table."""


def reader(sensor_name: str) -> ModuleType:
    """The reader of a sensor, imported on demand.

    Raises
    ------
    UnknownName
        No reader for that sensor.

    Examples
    --------
    >>> reader("aster_l1t").PATTERN
    'AST_L1T_*.hdf'
    """
    if sensor_name not in READERS:
        raise UnknownName(
            f"No reader for sensor {sensor_name!r}. Choose one of: {', '.join(sorted(READERS))}."
        )
    return import_module(READERS[sensor_name])


def sniff(path: str | Path) -> str | None:
    """The sensor whose file pattern a name fits, or None.

    >>> sniff("in/AST_L1T_00306182006174858_20150516014601_17781.hdf"), sniff("dem.tif")
    ('aster_l1t', None)
    """
    for name in READERS:
        if fnmatch(Path(path).name, reader(name).PATTERN):
            return name
    return None
