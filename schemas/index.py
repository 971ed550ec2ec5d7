"""The catalogue of spectral indices: one CSV row per index, checked when it is read."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from geoquarry.schemas.csvfile import number_of, read_rows, text_of
from geoquarry.schemas.errors import InputError, UnknownName
from geoquarry.schemas.flags import NAMES
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
    return read_catalogue(read_rows("indices"), sensor_name, sensor(sensor_name).names)


def read_catalogue(
    rows: Iterable[Mapping[str, str]], sensor_name: str, bands: Collection[str]
) -> tuple[Index, ...]:
    """Rows of a catalogue that are meant for a sensor, checked.

    Parameters
    ----------
    rows : iterable of mapping
        Columns as in indices.csv.
    sensor_name : str
    bands : collection of str
        Names that formulas may use.

    Raises
    ------
    FormulaError
        A formula does not parse with these bands.
    InputError
        A column is missing, a number is not finite, a name is given twice, a flag is unknown.
    UnknownName
        No row is meant for this sensor.
    """
    found: dict[str, Index] = {}
    for place, row in enumerate(rows, start=1):
        where = f"The index catalogue, row {place}"
        if text_of(row, "sensor", where) != sensor_name:
            continue
        index = _index(row, bands, where)
        if index.name in found:
            raise InputError(f"{where}: {index.name!r} stands there twice.")
        found[index.name] = index
    if not found:
        raise UnknownName(f"The index catalogue (indices.csv) has no rows for {sensor_name!r}.")
    return tuple(found.values())


def _index(row: Mapping[str, str], bands: Collection[str], where: str) -> Index:
    texts = {
        name: text_of(row, name, where)
        for name in ("name", "title", "formula", "meaning", "mask", "reference")
    }
    scale, low, high = (number_of(row, name, where) for name in ("scale", "valid_min", "valid_max"))
    if not texts["name"].isidentifier() or scale <= 0 or low > high:
        raise InputError(
            f"{where}: {texts['name']!r} needs a name of letters and digits, a scale over 0, and "
            f"valid_min <= valid_max; found {scale:g}, {low:g}, {high:g}."
        )
    mask = tuple(texts.pop("mask").split())
    unknown = sorted(set(mask) - set(NAMES.values()))
    if unknown:
        raise InputError(
            f"{where}: no flag {unknown[0]!r}. Choose of: {', '.join(NAMES.values())}."
        )
    program = parse(texts["formula"], bands)
    return Index(
        **texts,
        program=program,
        bands=tuple(bands_of(program)),
        denominators=tuple(denominators(program)),
        scale=scale,
        valid_min=low,
        valid_max=high,
        mask=mask,
    )
