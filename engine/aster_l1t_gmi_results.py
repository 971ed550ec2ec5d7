"""Rows of a `results` table in the published result layouts: mosaic, colours, mineral indices.

Layouts, one row per tile (source: GMI_ComputeEngine_ODPS/method.py, commit 1f86d7d, of
github.com/datahub-zjlab/Global_Mineral_Indices_Computing_Engine)::

    0-1   tile_index_x tile_index_y   BIGINT
    2     meta                        JSON text that Script 5 gives to `rasterio.open`: a profile
    3     code                        text; what it holds is not published: here our status
    4-12  vnir_swath_imagedata1..3 swir_swath_imagedata4..9      of `merge` and `color_transfer`
    4-26  ferric_iron ... calcite ndwi ndvi, 23 indices          of `mineral_indices`
    last  cloud_mask

All rasters are hex of bare int16, little-endian, by rows, the whole tile (Script 5, commit 423bf65;
it reads 1024 x 1024), and 0 is "no value". What else the values mean is not published: the UDF is
not part of that repository. Here they are our stored values with the scale of each band, which
``meta`` names, unless another scale is asked for; a true 0 becomes 1, the smallest step.
cloud_mask is 1 where only cloudy observations were found.

Three columns of the published table are misspelt (`ORIGINAL_SPELLING`), while the names in Script 5
(`functional_group_names`, aster_core/functional_group.py, commit 0f12d40, of
github.com/datahub-zjlab/AsterL1T_SWIR-VNIR_pipeline) are not.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoquarry.engine.aster_l1t_gmi_meta import DN_COLUMNS
from geoquarry.engine.exchange import Row
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import REFLECTANCE_SCALE, OutputBand, facts, output_bands

KEY = ("tile_index_x", "tile_index_y")
INTEGERS = frozenset(KEY)
"""Columns of whole numbers (BIGINT in a published table); all others are text."""
CLOUD_MASK = "cloud_mask"
LEADING = (*KEY, "meta", "code")
ORIGINAL_SPELLING = {"gossan": "gosson", "ferric_oxides": "ferric_oxdes", "dolomite": "dolomit"}
"""Our column -> the published one."""
LARGEST = 32767
"""Of int16; its smallest value is left out, so that every value has its negative."""


def result_columns(schema: pa.Schema, *, original_spelling: bool = False) -> list[str]:
    """Columns of the published layout of a results table, in order.

    Parameters
    ----------
    schema : pa.Schema
        Of the results table.
    original_spelling : bool
        ``gosson``, ``ferric_oxdes``, ``dolomit`` as in the published tables.

    Raises
    ------
    UsageError
        The table lacks rasters of the layout.
    """
    wanted = _published_bands(schema)
    spelled = ORIGINAL_SPELLING if original_spelling else {}
    return [*LEADING, *(spelled.get(name, name) for name in wanted.values()), CLOUD_MASK]


def write_results(
    rows: Iterable[Row],
    schema: pa.Schema,
    *,
    original_spelling: bool = False,
    scale: float | None = None,
    amiss: Counter[str] | None = None,
) -> Iterator[list[str]]:
    """Rows of a results table as records of the published layout, its header first.

    Parameters
    ----------
    rows : iterable of dict
        Held one at a time.
    schema : pa.Schema
        Of the results table.
    original_spelling : bool
        See `result_columns`.
    scale : float, optional
        Physical = published x scale, for all rasters; default: each band's own, which needs no
        new rounding. Values that do not fit become the largest int16.
    amiss : Counter, optional
        Counts what a reader of the file cannot see: tiles without rasters, which are left out,
        and tiles with values that did not fit.

    Raises
    ------
    UsageError
        The table lacks rasters of the layout; a scale that is not positive.
    """
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise UsageError(f"A scale of {scale:g}: it must be positive.")
    notes = Counter[str]() if amiss is None else amiss
    yield result_columns(schema, original_spelling=original_spelling)
    frame = grid(facts(schema)["grid"])
    bands = {band.name: band for band in output_bands(schema)}
    wanted = {name: bands[name] for name in _published_bands(schema)}
    scales = {name: scale or _scale(band, facts(schema)) for name, band in wanted.items()}
    for row in rows:
        if row["flags"] is None or any(row[name] is None for name in wanted):
            notes[f"Tile without rasters (status {row['status']}), left out,"] += 1
            continue
        layers = [_layer(row[n], wanted[n], scales[n], notes) for n in wanted]
        cloud = (blob.decode(row["flags"]) & flags.CLOUD) != 0
        meta = {
            "driver": "GTiff",
            "dtype": "int16",
            "nodata": 0,
            "width": frame.tile_size,
            "height": frame.tile_size,
            "count": len(layers) + 1,
            "crs": frame.crs,
            "transform": list(frame.transform(row["tile_x"], row["tile_y"])),
            "geoquarry": {
                "method": row["method"],
                "granules": row["granules"],
                "message": row["message"],
                "scales": scales,
            },
        }
        yield [
            str(row["tile_x"]),
            str(row["tile_y"]),
            json.dumps(meta),
            row["status"],
            *map(_hex, layers),
            _hex(cloud),
        ]


def _published_bands(schema: pa.Schema) -> dict[str, str]:
    """Our column of each raster -> the published one without misspellings, in its order."""
    about = facts(schema)
    if about.get("method") == "mineral_indices":
        wanted = {index.name: index.name for index in indices(about["sensor"])}
    else:
        published = (name.lower() for name in DN_COLUMNS)
        wanted = dict(zip(sensor(about["sensor"]).names, published, strict=True))
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise UsageError(
            f"The published layout of {about.get('method')} has {len(wanted)} rasters; this table "
            f"lacks {', '.join(missing)}. Run the job for all of them, or download our own columns."
        )
    return wanted


def _scale(band: OutputBand, about: dict[str, Any]) -> float:
    """The scale a band has, or would have as int16."""
    if band.dtype == "int16":
        return band.scale
    usual = {index.name: index.scale for index in indices(about["sensor"])}
    return usual.get(band.name, REFLECTANCE_SCALE)


def _layer(stored: bytes, band: OutputBand, scale: float, notes: Counter[str]) -> NDArray[np.int16]:
    values = blob.decode(stored)
    valid = np.isfinite(values) if band.dtype == "float32" else values != band.nodata
    if band.dtype == "int16" and (band.scale, band.offset) == (scale, 0.0):
        counts = values.astype(np.float64)
    else:
        counts = np.rint((values * np.float64(band.scale) + band.offset) / scale)
    if (valid & (np.abs(counts) > LARGEST)).any():
        notes[f"{band.name} x {scale:g} does not fit int16 and was cut off"] += 1
    layer: NDArray[np.int16]
    layer = np.where(valid, np.clip(counts, -LARGEST, LARGEST), 0).astype(np.int16)
    layer[valid & (layer == 0)] = 1  # 0 is no value in this layout
    return layer


def _hex(layer: NDArray[Any]) -> str:
    return layer.astype("<i2").tobytes().hex()
