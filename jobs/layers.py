"""What a table's rasters are as bands of a GeoTIFF: dtype, nodata, scale, tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoquarry.engine.datafile import safe_name
from geoquarry.engine.geotiff import BandTag
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import InputError, TableError, UsageError
from geoquarry.schemas.grid import Grid
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import NODATA_INT16, facts, output_bands

RESULT_COLUMNS = (
    "grid",
    "tile_x",
    "tile_y",
    "method",
    "status",
    "message",
    "granules",
    "input_digest",
    "provenance",
)
TILE_COLUMNS = (
    "grid",
    "tile_x",
    "tile_y",
    "granule_id",
    "acquired",
    "meta",
    "row0",
    "col0",
    "gain_code",
    "radiance_scale",
    "radiance_offset",
)
MANY = 100
"""Granules named in a file's tags at most; a mosaic may have thousands."""


@dataclass(frozen=True)
class Layer:
    """One band of a file.

    Attributes
    ----------
    column : str
        BINARY column it comes from.
    dtype : str or None
        None: as stored in the row.
    nodata : float or None
        None: none, or what fits the dtype of a `tiles` row.
    fill : float
        For pixels outside a row's window.
    tag : BandTag
        Description, scale, offset, unit.
    place : int
        Position in the per-band lists of a `tiles` row; -1: not in them.
    """

    column: str
    dtype: str | None
    nodata: float | None
    fill: float
    tag: BandTag
    place: int = -1


def band_layers(table: str, schema: pa.Schema, bands: Sequence[str] | None) -> list[Layer]:
    """Layers of a table's bands: all, or those named, in the order named.

    Raises
    ------
    UsageError
        A band the table does not have.
    TableError
        Neither `tiles` nor `results`; bands of several dtypes or nodata values, of which a
        GeoTIFF has one.
    """
    about = facts(schema)
    if about.get("kind") == "results":
        layers = [
            Layer(
                b.name,
                b.dtype,
                b.nodata,
                b.nodata,
                BandTag(f"{b.name}: {b.description}", b.scale, b.offset, b.unit),
            )
            for b in output_bands(schema)
        ]
    elif about.get("kind") == "tiles":
        layers = [
            Layer(b.name, None, None, 0, BandTag(f"{b.name} DN", unit="W m-2 sr-1 um-1"), place)
            for place, b in enumerate(sensor(about["sensor"]).bands)
        ]
    else:
        raise TableError(f"{table!r} is neither a tiles nor a results table: nothing to export.")
    by_name = {layer.column: layer for layer in layers}
    unknown = [name for name in bands or () if name not in by_name]
    if unknown:
        raise UsageError(
            f"{table!r} has no band {', '.join(map(repr, unknown))}. "
            f"Choose from: {', '.join(by_name)}."
        )
    layers = [by_name[name] for name in bands] if bands else layers
    kinds = sorted({f"{layer.dtype} with nodata {layer.nodata}" for layer in layers})
    if len(kinds) > 1:
        raise TableError(
            f"One GeoTIFF has one dtype and nodata; the bands of {table!r} have "
            f"{', '.join(kinds)}. Choose some with --bands."
        )
    return layers


def flag_layers(schema: pa.Schema) -> list[Layer]:
    """Layers of the second file: flags, and for results the count of observations."""
    bits = ", ".join(f"{bit}={name}" for bit, name in flags.NAMES.items())
    # Where a mosaic has no tile nothing was observed; no real count reaches that value.
    gone = float(flags.NOT_OBSERVED)
    layers = [Layer("flags", "uint16", gone, flags.NOT_OBSERVED, BandTag(f"flags: {bits}"))]
    if "count" in schema.names:
        layers.append(Layer("count", "uint16", gone, 0, BandTag("observations used (255 or more)")))
    return layers


def pixels(row: dict[str, Any], layers: Sequence[Layer], frame: Grid) -> list[NDArray[Any]]:
    """Rasters of a row on the full tile, one per layer, all of one dtype.

    Raises
    ------
    BlobError, InputError
        A damaged raster, one that does not fit the tile, or none at all.
    """
    decoded = {x.column: blob.decode(row[x.column]) for x in layers if row[x.column] is not None}
    if not decoded:
        raise InputError(f"{title(row)} has no raster in {', '.join(x.column for x in layers)}.")
    usual = np.result_type(*(a.dtype for a in decoded.values()))
    row0, col0 = row.get("row0") or 0, row.get("col0") or 0
    found = []
    for layer in layers:
        fill = layer.fill if layer.place < 0 else nodata_of(layer, usual)
        full = np.full(frame.shape, fill, layer.dtype or usual)
        if layer.column in decoded:
            raster = decoded[layer.column]
            place = full[row0 : row0 + raster.shape[0], col0 : col0 + raster.shape[1]]
            # A result covers its tile; only rows of granules are windows.
            if place.shape != raster.shape or ("row0" not in row and raster.shape != frame.shape):
                raise InputError(
                    f"{title(row)}, {layer.column!r}: {raster.shape[0]} x {raster.shape[1]} pixels "
                    f"at row {row0}, column {col0} do not fit a tile of {frame.tile_size}."
                )
            place[...] = raster
        found.append(full)
    return found


def nodata_of(layer: Layer, dtype: np.dtype[Any]) -> float | None:
    """Stored value that means "no value": announced, or by dtype for DN (0) and radiance."""
    if layer.place < 0:
        return layer.nodata
    return 0 if dtype == np.uint8 else NODATA_INT16


def band_tags(row: dict[str, Any], layers: Sequence[Layer]) -> list[BandTag]:
    """Tags of a row's bands; scale and offset of DN are the row's own and give radiance."""
    tags = []
    for layer in layers:
        tag, place = layer.tag, layer.place
        if place >= 0 and row["radiance_scale"] is not None:
            gain = (row["gain_code"] or {place: "?"})[place]
            tag = BandTag(
                f"{tag.description}, gain {gain}",
                row["radiance_scale"][place],
                row["radiance_offset"][place],
                tag.unit,
            )
        tags.append(tag)
    return tags


def file_tags(table: str, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Metadata of a file made of these rows (a mosaic gives what its rows have in common)."""
    tags = {"TABLE": table, "SENSOR": str(about.get("sensor", "")), "GRID": str(about["grid"])}
    tags["KIND"] = about["kind"]
    if len(rows) == 1:
        (row,) = rows
        tags |= {"TILE_X": str(row["tile_x"]), "TILE_Y": str(row["tile_y"])}
        names = ("granule_id", "acquired", "meta", "status", "input_digest", "provenance")
        tags |= {name.upper(): str(row[name]) for name in names if row.get(name) is not None}
    else:
        tags["TILES"] = str(len(rows))
    if about["kind"] == "results":
        granules = sorted({name for row in rows for name in row["granules"] or ()})
        shown = granules if len(granules) <= MANY else [*granules[:MANY], "..."]
        messages = sorted({row["message"] for row in rows if row["message"]})
        tags |= {
            "METHOD": str(about.get("method", "")),
            "GRANULES": ",".join(shown),
            "GRANULE_COUNT": str(len(granules)),
            "MESSAGE": " | ".join(messages[:MANY]),
        }
    return tags


def title(row: dict[str, Any]) -> str:
    """A row as a person would name it."""
    granule = f" of {row['granule_id']}" if "granule_id" in row else ""
    return f"Tile {row['tile_x']},{row['tile_y']}{granule}"


def file_stem(table: str, row: dict[str, Any]) -> str:
    """File name of a row; no name from a table can leave the folder.

    >>> file_stem("maps", {"tile_x": 260, "tile_y": 526})
    'maps_x260_y526'
    """
    parts = [table, f"x{row['tile_x']}", f"y{row['tile_y']}"]
    return "_".join([*parts, safe_name(row["granule_id"])] if "granule_id" in row else parts)
