"""The catalogue of spectral indices: one CSV row per index, checked when it is read."""

from dataclasses import dataclass
from functools import cache

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import UnknownName
from geoquarry.schemas.formula import Program, bands_of, denominators, parse
from geoquarry.schemas.sensor import sensor


@dataclass(frozen=True)
class Index:
    """One index of the catalogue.

    Attributes
    ----------
    name, title, meaning, reference : str
        Column name, label, what a high value says, and where the index was published.
    formula : str
        As in the catalogue; ``program`` is the same, parsed.
    bands, denominators : tuple of str
        Bands it reads, and those it divides by.
    scale : float
        Stored int16 = value / scale.
    valid_min, valid_max : float
        Values outside are kept and flagged as out of range.
    mask : tuple of str
        Flags under which the index means nothing: nodata there.
    """

    name: str
    title: str
    formula: str
    program: Program
    bands: tuple[str, ...]
    denominators: tuple[str, ...]
    meaning: str
    scale: float
    valid_min: float
    valid_max: float
    mask: tuple[str, ...]
    reference: str


@cache
def indices(sensor_name: str) -> tuple[Index, ...]:
    """All indices that the catalogue has for a sensor, in catalogue order.

    Raises
    ------
    FormulaError
        A formula does not parse with the sensor's bands.
    UnknownName
        The catalogue has nothing for this sensor.

    Examples
    --------
    >>> [i.formula for i in indices("aster_l1t") if i.name == "ndvi"]
    ['(b3n - b02) / (b3n + b02)']
    """
    names = sensor(sensor_name).names
    found = []
    for row in read_rows("indices"):
        if row["sensor"] != sensor_name:
            continue
        program = parse(row["formula"], names)
        found.append(
            Index(
                name=row["name"],
                title=row["title"],
                formula=row["formula"],
                program=program,
                bands=tuple(bands_of(program)),
                denominators=tuple(denominators(program)),
                meaning=row["meaning"],
                scale=float(row["scale"]),
                valid_min=float(row["valid_min"]),
                valid_max=float(row["valid_max"]),
                mask=tuple(row["mask"].split()),
                reference=row["reference"],
            )
        )
    if not found:
        raise UnknownName(f"The index catalogue (indices.csv) has no rows for {sensor_name!r}.")
    return tuple(found)
