"""The two tables, declared once as Arrow schemas: `tiles` (what we know) and `results` (maps)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from geoquarry.schemas.answer import STATUS as STATUS
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor

FACTS = b"geoquarry"
"""Key of the schema metadata that holds a table's facts (kind, sensor, grid, bands) as JSON."""
TILE_KEY = ("grid", "tile_x", "tile_y", "granule_id")
RESULT_KEY = ("grid", "tile_x", "tile_y")
LATTICE = 17
"""Points per side of the lattices of aerosol and water vapour, the tile's edges included."""
ON_LATTICE = f"{LATTICE} x {LATTICE} points from the tile's NW to its SE corner, by rows"
REFERENCE_BANDS = ("red", "nir", "blue", "green", "1240 nm", "1640 nm", "2130 nm")
"""What ref_1 ... ref_7 hold: the order of MODIS bands 1-7."""
REFLECTANCE_SCALE = 1e-4
NODATA_INT16 = -32768

TIMESTAMP = pa.timestamp("us", tz="UTC")
PER_BAND = pa.list_(pa.float64())
ISSUE = pa.struct([("granule_id", pa.string()), ("column", pa.string()), ("error", pa.string())])


@dataclass(frozen=True)
class OutputBand:
    """One raster column of a result: physical = stored x scale + offset.

    Attributes
    ----------
    name, description, unit : str
    dtype : str
        ``int16``, ``uint8``, ``uint16`` or ``float32``.
    scale, offset : float
    nodata : float
        Stored value that means "no value"; NaN for float32.
    """

    name: str
    description: str
    dtype: str = "int16"
    scale: float = REFLECTANCE_SCALE
    offset: float = 0.0
    nodata: float = NODATA_INT16
    unit: str = "1"


def column(name: str, type_: pa.DataType, about: str, *, key: bool = False) -> pa.Field:
    """One documented column: the text reaches every engine as the column comment."""
    return pa.field(name, type_, nullable=not key, metadata={"about": about})


def described_columns(schema: pa.Schema) -> list[dict[str, Any]]:
    """What each column of a table is, as plain dictionaries: ``name, type, about, key``.

    >>> described_columns(pa.schema([column("tile_x", pa.int32(), "tile column", key=True)]))
    [{'name': 'tile_x', 'type': 'int32', 'about': 'tile column', 'key': True}]
    """
    return [
        {
            "name": field.name,
            "type": str(field.type),
            "about": (field.metadata or {}).get(b"about", b"").decode(),
            "key": not field.nullable,
        }
        for field in schema
    ]


def tiles_schema(sensor_name: str, grid_name: str) -> pa.Schema:
    """Schema of a `tiles` table: one row per grid tile x granule.

    Parameters
    ----------
    sensor_name, grid_name : str
        The one sensor and the one grid of the table.

    Returns
    -------
    schema : pa.Schema
        One BINARY column per band of the sensor; facts in its metadata.

    Examples
    --------
    >>> tiles_schema("aster_l1t", "res-30_tilesize-96").field("b3n").type
    DataType(binary)
    """
    bands = sensor(sensor_name).bands
    fields = [
        column("grid", pa.string(), "grid name", key=True),
        column("tile_x", pa.int32(), "tile column, from the west", key=True),
        column("tile_y", pa.int32(), "tile row, from the north", key=True),
        column(
            "granule_id", pa.string(), "product identity: file name without extension", key=True
        ),
        column("sensor", pa.string(), "sensor name"),
        column("acquired", TIMESTAMP, "time of acquisition, UTC"),
        column("row0", pa.int32(), "first row of the stored window in the tile"),
        column("col0", pa.int32(), "first column of the stored window in the tile"),
        column("valid_fraction", pa.float64(), "usable pixels / pixels of the tile"),
        column("cloud_fraction", pa.float64(), "cloudy pixels / usable pixels"),
        column("meta", pa.string(), "extracts of the product's metadata, JSON"),
        column("ingest_id", pa.string(), "which ingest wrote this row"),
        column("sun_zenith_deg", pa.float64(), "angle between the sun and the vertical"),
        column("sun_azimuth_deg", pa.float64(), "direction to the sun, clockwise from north"),
        column("earth_sun_distance_au", pa.float64(), "distance to the sun"),
        column("view_zenith_deg", PER_BAND, "angle between the sensor and the vertical, per band"),
        column("view_azimuth_deg", PER_BAND, "direction to the sensor, per band"),
        column("gain_code", pa.list_(pa.string()), "gain setting, per band"),
        column("radiance_scale", PER_BAND, "radiance = scale x DN + offset, W m-2 sr-1 um-1"),
        column("radiance_offset", PER_BAND, "radiance = scale x DN + offset, W m-2 sr-1 um-1"),
        column("aod550", pa.float64(), "aerosol optical depth at 550 nm, mean over the window"),
        column(
            "aod550_uncertainty",
            pa.float64(),
            "uncertainty of aod550 as the product states it, mean over the window",
        ),
        column("elevation_m", pa.float64(), "mean elevation of the usable pixels, metres"),
        column(
            "water_vapour_g_cm2", pa.float64(), "water vapour column above a surface at elevation_m"
        ),
        column("ozone_cm_atm", pa.float64(), "ozone column above a surface at elevation_m"),
        column("aerosol_model", pa.string(), "aerosol model of 6S"),
        column("atmosphere_source", pa.string(), "where the state came from, and any fallback"),
        column("elevation", pa.binary(), "int16 metres, full tile, nodata -32768"),
        column(
            "aod550_field",
            pa.list_(pa.float32()),
            f"aerosol optical depth at 550 nm, {ON_LATTICE}",
        ),
        column(
            "water_vapour_field",
            pa.list_(pa.float32()),
            f"water vapour column above a surface at elevation_m, {ON_LATTICE}",
        ),
        column("xa", PER_BAND, "given coefficient: y = xa L - xb"),
        column("xb", PER_BAND, "given coefficient: y = xa L - xb"),
        column("xc", PER_BAND, "given coefficient: reflectance = y / (1 + xc y)"),
        column("flags", pa.binary(), "uint16 bits of the stored window, see schemas/flags.py"),
        column("mask_version", pa.string(), "version of the masks in flags"),
        column(
            "granule_cloud_fraction",
            pa.float64(),
            "cloudy pixels / usable pixels of the whole granule",
        ),
        column(
            "clear_distance",
            pa.binary(),
            "uint8 x 50 m to cloud, shadow or the granule's edge, per 8 x 8 px of the full tile",
        ),
    ]
    for band in bands:
        low, high = band.wavelength_um
        about = f"DN of band {band.number}, {low:g}-{high:g} um, 0 = not observed, 255 = saturated"
        fields.append(column(band.name, pa.binary(), about))
    for place, name in enumerate(REFERENCE_BANDS, start=1):
        about = f"reference surface reflectance, {name}, int16 x 1e-4, nodata -32768"
        fields.append(column(f"ref_{place}", pa.binary(), about))
    return with_facts(
        pa.schema(fields), {"kind": "tiles", "sensor": sensor_name, "grid": grid_name}
    )


def key_columns() -> list[pa.Field]:
    """The key of whatever has one row per tile."""
    return [
        column("grid", pa.string(), "grid name", key=True),
        column("tile_x", pa.int32(), "tile column, from the west", key=True),
        column("tile_y", pa.int32(), "tile row, from the north", key=True),
    ]


def answer_columns() -> list[pa.Field]:
    """What every job says of a tile, besides its rasters."""
    return [
        *key_columns(),
        column("method", pa.string(), "what was computed"),
        column("status", pa.string(), "ok, partial, empty or failed"),
        column("message", pa.string(), "what a reader should know about this tile"),
        column("granules", pa.list_(pa.string()), "granules used, sorted"),
        column("issues", pa.list_(ISSUE), "granules left out, with the reason"),
        column("input_digest", pa.string(), "digest of the rows and parameters behind this tile"),
        column("provenance", pa.string(), "parameters, package version, quality figures, JSON"),
    ]


def results_schema(
    sensor_name: str, grid_name: str, method: str, bands: Sequence[OutputBand]
) -> pa.Schema:
    """Schema of a `results` table: one row per tile, one method per table.

    Parameters
    ----------
    sensor_name, grid_name, method : str
    bands : sequence of OutputBand
        Rasters of the method, in order.

    Returns
    -------
    schema : pa.Schema
        Scale, offset, nodata and description of each band stand in the facts.

    Raises
    ------
    InputError
        A band without a name of letters and digits, named like another column, or whose facts
        have other types.
    """
    fields = [
        *answer_columns(),
        column("flags", pa.binary(), "uint16 bits, see schemas/flags.py"),
        column(
            "count", pa.binary(), "uint8, observations used per pixel (255 = that many or more)"
        ),
    ]
    _check_bands(bands, [field.name for field in fields])
    facts = {"kind": "results", "sensor": sensor_name, "grid": grid_name, "method": method}
    fields += [column(band.name, pa.binary(), band.description) for band in bands]
    return with_facts(pa.schema(fields), {**facts, "bands": [asdict(band) for band in bands]})


def _check_bands(bands: Sequence[OutputBand], taken: Sequence[str]) -> None:
    """Bands may come from the facts of a file."""
    names = [*taken]
    for band in bands:
        texts = band.name, band.description, band.dtype, band.unit
        numbers = band.scale, band.offset, band.nodata
        if not all(isinstance(text, str) for text in texts) or not all(
            isinstance(number, int | float) for number in numbers
        ):
            raise InputError(
                f"The facts of band {band.name!r:.60} have other types than they need."
            )
        if not band.name.isidentifier() or band.name in names:
            raise InputError(
                f"A band cannot be called {band.name!r:.60}: use letters, digits and underscores, "
                "and no name of another column."
            )
        names.append(band.name)


def with_facts(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """The same schema carrying facts about its table."""
    return schema.with_metadata({FACTS: json.dumps(facts)})


def facts(schema: pa.Schema) -> dict[str, Any]:
    """Facts of a table: kind, sensor, grid; for results also method and bands.

    Raises
    ------
    InputError
        They come from a file and are no JSON object.

    Examples
    --------
    >>> facts(tiles_schema("aster_l1t", "res-30_tilesize-96"))["sensor"]
    'aster_l1t'
    """
    try:
        found = json.loads((schema.metadata or {}).get(FACTS, b"{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"The table's facts are not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InputError(f"The table's facts are no JSON object but {found!r:.60}.")
    return found


def same_facts(one: Any, other: Any) -> bool:
    """Whether two facts, or all of two tables, say the same.

    As text: the nodata of float32 bands is NaN, which is not equal to itself.

    >>> same_facts({"nodata": float("nan")}, {"nodata": float("nan")})
    True
    """
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def output_bands(schema: pa.Schema) -> list[OutputBand]:
    """Output bands of a results schema, in order."""
    return [OutputBand(**band) for band in facts(schema).get("bands", [])]
