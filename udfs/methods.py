"""The tile methods: how far a job goes, from rows to a mosaic, its colours, and its indices."""

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.index import Index, indices
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.balance import BALANCES
from geoquarry.udfs.first_phase import wants_nodes, wants_pairs
from geoquarry.udfs.lut_file import FOLDER_VARIABLE, file_name, find, unpack
from geoquarry.udfs.merit import COLUMNS as MERIT_COLUMNS
from geoquarry.udfs.mosaic import MOSAICS
from geoquarry.udfs.observation import COLUMNS
from geoquarry.udfs.tile_atmosphere import FIELDS, MODES, OUTSIDE
from geoquarry.udfs.tile_job import TileJob
from geoquarry.udfs.tile_method import (
    NODATA_SOURCE,
    SOURCE,
    TileMethod,
    needs_merit,
)
from geoquarry.udfs.tile_reference import COLUMNS as REFERENCE_COLUMNS

if TYPE_CHECKING:
    from geoquarry.schemas.tables import OutputBand

__all__ = [
    "ALIASES",
    "BALANCES",
    "CHOICES",
    "METHODS",
    "MOSAICS",
    "Stream",
    "TileMethod",
    "columns",
    "compute",
    "normalise",
    "output_bands",
    "revision",
]

COMMON = {
    "mosaic": "median",
    "harmonise": "linear",
    "masks": "temporal",
    "scope": "job",
    "source": False,
    "dtype": "int16",
    "atmosphere": MODES[0],
    "outside": OUTSIDE[0],
}
METHODS: dict[str, dict[str, Any]] = {
    "mosaic": COMMON,
    "color_balancing": {**COMMON, "balance": "tasseled_cap"},
    "mineral_indices": {**COMMON, "balance": "tasseled_cap", "indices": "all"},
}
"""Method -> its parameters with their defaults."""
ALIASES = {"merge": "mosaic", "color_transfer": "color_balancing"}
"""The names of the published scripts."""
DTYPES = ("int16", "float32")
CHOICES = {
    "mosaic": tuple(MOSAICS),
    "harmonise": ("linear", "none"),
    "balance": tuple(BALANCES),
    "masks": ("temporal", "granule"),
    "scope": ("job", "tile"),
    "source": (False, True),
    "dtype": DTYPES,
    "atmosphere": MODES,
    "outside": OUTSIDE,
}
"""What parameters of one word may be."""
OPTIONAL_COLUMNS = ("clear_distance", "granule_cloud_fraction")
"""Source columns that an older table may lack."""


def normalise(
    method: str, params: Mapping[str, Any], sensor_name: str
) -> tuple[str, dict[str, Any]]:
    """Check a request and complete it: equal requests become equal jobs.

    Parameters
    ----------
    method : str
        A name of `METHODS` or one of the `ALIASES`.
    params : mapping
        ``mosaic``, ``harmonise`` (linear, none), ``balance``, ``masks`` (temporal: granules
        settle together what is a cloud; granule: as stored), ``scope`` (job: granules are
        compared over all tiles; tile: in each tile alone), ``dtype``, ``atmosphere`` (per_pixel,
        per_tile), ``outside`` (clamp, error): one word each; ``source``: true or false;
        ``indices``: a list of names, or one string with commas, or "all". None = not given.
    sensor_name : str

    Returns
    -------
    method, params : str, dict
        Without aliases and complete; indices in catalogue order.

    Raises
    ------
    UsageError
        An unknown method, parameter or choice.

    Examples
    --------
    >>> name, params = normalise("merge", {"mosaic": "MIN"}, "aster_l1t")
    >>> name, params["mosaic"], params["scope"]
    ('mosaic', 'min', 'job')
    """
    name = ALIASES.get(method.lower(), method.lower())
    if name not in METHODS:
        raise UsageError(
            f"No method {method!r}. Choose one of: {', '.join(sorted({*METHODS, *ALIASES}))}."
        )
    complete = dict(METHODS[name])
    for key, value in params.items():
        if key not in complete:
            raise UsageError(
                f"{name} has no parameter {key!r}. Choose from: {', '.join(complete)}."
            )
        if value is not None:
            complete[key] = value
    for key, choices in CHOICES.items():
        if key in complete:
            complete[key] = _choice(name, key, complete[key], choices)
    if "indices" in complete:
        complete["indices"] = _index_names(complete["indices"], sensor_name)
    if complete["source"] and not MOSAICS[complete["mosaic"]].has_source:
        able = ", ".join(n for n, mosaic in MOSAICS.items() if mosaic.has_source)
        raise UsageError(
            f"{name}: a {complete['mosaic']} pixel has no single source. Choose one of the "
            f"mosaics {able}, or leave `source` out."
        )
    return name, complete


def _choice(method: str, key: str, value: Any, choices: tuple[Any, ...]) -> Any:
    chosen = value.lower() if isinstance(value, str) else value
    # type: 1 == True, but a number is no answer to a question.
    if not any(chosen == choice and type(chosen) is type(choice) for choice in choices):
        said = ", ".join(sorted(str(choice).lower() for choice in choices))
        raise UsageError(f"{method}: {key} is {value!r}. Choose one of: {said}.")
    return chosen


def _index_names(value: Any, sensor_name: str) -> list[str]:
    known = [index.name for index in indices(sensor_name)]
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not value:
        raise UsageError(f"indices is {value!r}; give names, separated by commas, or 'all'.")
    wanted = {str(name).lower() for name in value}
    if wanted == {"all"}:
        return known
    unknown = sorted(wanted - set(known))
    if unknown:
        raise UsageError(
            f"No index {', '.join(map(repr, unknown))} for {sensor_name}. "
            f"Choose from: {', '.join(known)}."
        )
    return [name for name in known if name in wanted]


def output_bands(
    method: str, params: Mapping[str, Any], sensor_name: str
) -> "tuple[OutputBand, ...]":
    """Rasters that a normalised request writes, in order.

    Returns
    -------
    bands : tuple of OutputBand
        Reflectance: int16, scale 1e-4. Indices: int16 with the catalogue's scale. With dtype
        float32: scale 1, NaN = nodata.

    Examples
    --------
    >>> [b.name for b in output_bands("mosaic", {"dtype": "int16"}, "aster_l1t")][:3]
    ['b01', 'b02', 'b3n']
    """
    # Only here: a worker that computes needs no pyarrow for it.
    from geoquarry.schemas.tables import REFLECTANCE_SCALE, OutputBand

    if method == "mineral_indices":
        chosen = _chosen(params["indices"], sensor_name)
        named = [(i.name, f"{i.title}: {i.formula}", i.scale) for i in chosen]
    else:
        named = [
            (
                band.name,
                f"surface reflectance, band {band.number}, "
                f"{band.wavelength_um[0]:g}-{band.wavelength_um[1]:g} um",
                REFLECTANCE_SCALE,
            )
            for band in sensor(sensor_name).bands
        ]
    if params["dtype"] == "float32":
        nan = float("nan")
        bands = [
            OutputBand(name, about, dtype="float32", scale=1.0, nodata=nan)
            for name, about, _ in named
        ]
    else:
        bands = [OutputBand(name, about, scale=scale) for name, about, scale in named]
    if params.get("source"):
        about = "granule the pixel comes from: its place in the column granules, from 0"
        bands.append(OutputBand(SOURCE, about, scale=1.0, nodata=NODATA_SOURCE))
    return tuple(bands)


def _chosen(names: Iterable[str], sensor_name: str) -> tuple[Index, ...]:
    wanted = set(names)
    return tuple(index for index in indices(sensor_name) if index.name in wanted)


def columns(method: str, params: Mapping[str, Any], sensor_name: str) -> tuple[str, ...]:
    """Source columns a normalised request reads.

    >>> "ref_1" in columns("mosaic", {"mosaic": "min"}, "aster_l1t")
    False
    """
    names = (*COLUMNS, *sensor(sensor_name).names)
    if params.get("atmosphere") == "per_pixel":
        names += FIELDS
    if wants_nodes(params):
        names += REFERENCE_COLUMNS
    if needs_merit(params):
        names += tuple(name for name in MERIT_COLUMNS if name not in names)
    return names


def first_phase(method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Parameters of the first phase that a normalised request needs, or None.

    >>> first_phase(*normalise("mosaic", {"harmonise": "none"}, "aster_l1t")) is None
    True
    """
    if params["scope"] != "job" or not (wants_pairs(params) or wants_nodes(params)):
        return None
    # Whether there is a balance matters, not which: the same sums serve all.
    return {
        "harmonise": params["harmonise"],
        "balance": "nodes" if wants_nodes(params) else "none",
        "atmosphere": params["atmosphere"],
        "outside": params["outside"],
    }


def revision(sensor_name: str) -> str:
    """What else decides a result besides rows and parameters: the lookup tables of the sensor.

    A better table changes it, so tiles that were made with the old one are computed again.

    Returns
    -------
    revision : str
        Names and digests of all tables that rows of this sensor may need; empty without any.

    Raises
    ------
    InputError
        A table is damaged.
    """
    pattern = file_name(sensor_name, "*")
    prefix, suffix = pattern.split("*")
    folder = os.environ.get(FOLDER_VARIABLE)
    own = os.listdir(folder) if folder and os.path.isdir(folder) else []
    names = {*own, *(entry.name for entry in files("geoquarry.udfs").iterdir())}
    found = sorted(name for name in names if fnmatch(name, pattern))
    models = [name.removeprefix(prefix).removesuffix(suffix) for name in found]
    digests = [unpack(*find(sensor_name, model))[1]["digest"] for model in models]
    return ", ".join(" ".join(pair) for pair in zip(models, digests, strict=True))


def compute(rows: Iterable[Mapping[str, Any]], job: TileJob) -> dict[str, Any]:
    """Compute one tile: the UDF that every engine carries.

    Parameters
    ----------
    rows : iterable of mapping
        Source rows of one tile in any order, with the columns of `columns`; BINARY values as
        bytes-like. A row is let go before the next one is asked for.
    job : TileJob
        ``method, params, sensor, grid, tile_x, tile_y, spill_dir``, as `schemas.job.Job` says.

    Returns
    -------
    result : dict
        ``status, message, granules, issues, provenance`` (a dict)``, flags, count`` and the bands
        as tile blobs (None in a failed tile). The same bits for any order of the rows.
    """
    stream = Stream(job)
    try:
        for row in rows:
            stream.update(row)
        return stream.result()
    finally:
        stream.close()


Stream = TileMethod
"""`compute` for an engine that brings rows one by one: `update`, then `result`, `close` always."""
