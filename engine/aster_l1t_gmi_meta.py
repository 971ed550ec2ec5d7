"""The two JSON columns of the published GMI layout: product attributes and 6S coefficients."""

import ast
import json
import math
from datetime import UTC, datetime
from typing import Any

from geoquarry.engine import aster_l1t, odl
from geoquarry.engine.aster_l1t_geometry import (
    flight_azimuth_deg,
    view_azimuth_deg,
    view_zenith_deg,
)
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import EARTH_RADIUS_M, Grid
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.sun_distance import earth_sun_distance_au

Row = dict[str, Any]
BANDS = sensor(aster_l1t.SENSOR).bands
DN_COLUMNS = tuple(band.aliases[1].replace(":", "_").removesuffix("N") for band in BANDS)
"""Names of the band columns; the coefficients are keyed by them too, with a colon."""
AOD_SCALE = 0.001
TEXT_LIMIT = 256 * 1024
"""Longest text given to the reader of Python literals, which is slow and greedy."""


def mapping(cells: dict[str, str], name: str, where: str) -> dict[str, Any]:
    """The object in a cell: JSON, or what ``str(dict)`` printed in an earlier version.

    Raises
    ------
    InputError
        It is neither.

    Examples
    --------
    >>> mapping({"meta": "{'GAIN.1': '01, HGH'}"}, "meta", "line 1")
    {'GAIN.1': '01, HGH'}
    """
    text = cells[name]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text) if len(text) < TEXT_LIMIT else None
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found = None
    if not isinstance(found, dict):
        raise InputError(f"{where}, column {name!r}: {text[:40]!r} is no JSON object.")
    return found


def coefficients(cells: dict[str, str], column: str, where: str) -> Row:
    """Columns ``xa, xb, xc`` and what else a row says of its atmosphere.

    Aerosol (``aod``, MCD19A2 integers: 120 = 0.12) and elevation (``dem``, metres) are no part of
    the layout, but kept when the row has them.

    Raises
    ------
    InputError
        A coefficient is missing or not finite, or the aerosol was given in another unit.
    """
    where_paras = f"{where}, column {column!r}"
    paras = {str(k).replace(":", "_"): v for k, v in mapping(cells, column, where).items()}
    found: dict[str, list[float]] = {"xa": [], "xb": [], "xc": []}
    for band, name in zip(BANDS, DN_COLUMNS, strict=True):
        given: Any = paras.get(name, paras.get(f"{name}N"))
        for key, values in found.items():
            try:
                values.append(float(given[key[1]]))
            except (TypeError, KeyError, ValueError, OverflowError):
                raise InputError(
                    f"{where_paras}: no number {key[1]} for {band.aliases[1]}."
                ) from None
        if not all(math.isfinite(v[-1]) for v in found.values()) or found["xa"][-1] <= 0:
            raise InputError(
                f"{where_paras}: a, b, c of {band.aliases[1]} are "
                f"{', '.join(str(v[-1]) for v in found.values())}: the aerosol was unknown when "
                "the row was made. Ingest the granule again with an aerosol value."
            )
    aod, dem = (_extra(cells, paras, name, where) for name in ("aod", "dem"))
    if aod is not None and 0 < aod < 1:
        raise InputError(
            f"{where}: aod {aod:g} is an optical depth, but its coefficients were made as if it "
            f"were an MCD19A2 integer (x {AOD_SCALE}): nearly no aerosol. Make the row again."
        )
    source = "coefficients a, b, c of the published row"
    return {
        **found,
        "aod550": None if aod is None else round(aod * AOD_SCALE, 9),
        "elevation_m": dem,
        "aerosol_model": "Continental",
        "atmosphere_source": source,
    }


def _extra(cells: dict[str, str], paras: dict[str, Any], name: str, where: str) -> float | None:
    given = cells.get(name) or paras.get(name)
    try:
        value = None if given is None else float(given)
    except (TypeError, ValueError, OverflowError):
        text = str(given)[:40]
        raise InputError(f"{where}, column {name!r}: {text!r} is not a number.") from None
    return value if value is not None and math.isfinite(value) else None


def geometry(meta: dict[str, Any], row: Row, frame: Grid, where: str) -> Row:
    """Time, sun, view and radiometry, from the file's own attributes as GDAL flattens them.

    Raises
    ------
    InputError
        An attribute is missing or out of range.
    """
    metadata = _metadata(meta, where)
    acquired = _acquired(metadata, row["granule_id"])
    azimuth, elevation = metadata.numbers("SOLARDIRECTION", 2)
    if not 0 < elevation <= 90:
        raise InputError(f"{where}: SOLARDIRECTION: the sun stands at {elevation} degrees.")
    gains = aster_l1t._gains(metadata)
    codes = [gains.get(band.number, "missing") for band in BANDS]
    radiance = [aster_l1t._radiance(metadata, *pair) for pair in zip(BANDS, codes, strict=True)]
    _, bottom, _, top = frame.bounds(row["tile_x"], row["tile_y"])
    latitude = math.degrees(math.atan(math.sinh((bottom + top) / 2 / EARTH_RADIUS_M)))
    flying = str(metadata.value("FLYINGDIRECTION", "DE")).upper()
    heading = flight_azimuth_deg(latitude, descending=not flying.startswith("AS"))
    pointing = aster_l1t._pointing(metadata) if "POINTINGANGLE" in metadata else None
    return {
        "acquired": acquired,
        "sun_zenith_deg": 90.0 - elevation,
        "sun_azimuth_deg": azimuth % 360.0,
        "earth_sun_distance_au": earth_sun_distance_au(acquired.timetuple().tm_yday),
        "view_zenith_deg": pointing and [view_zenith_deg(pointing[b.swath]) for b in BANDS],
        "view_azimuth_deg": pointing
        and [view_azimuth_deg(pointing[b.swath], heading) for b in BANDS],
        "gain_code": codes,
        "radiance_scale": [scale for scale, _, _ in radiance],
        "radiance_offset": [offset for _, offset, _ in radiance],
        "meta": json.dumps({**meta, "layout": "published GMI CSV", "crosstalk_corrected": False}),
    }


def _metadata(meta: dict[str, Any], where: str) -> odl.Metadata:
    """``GAIN.1: "01, HGH"`` -> name GAIN, class 1, value [01, HGH]."""
    items: dict[str, list[tuple[str, Any]]] = {}
    for key, value in meta.items():
        name, _, class_ = str(key).partition(".")
        parts = [part.strip() for part in str(value).split(",")]
        items.setdefault(name.upper(), []).append((class_, parts if len(parts) > 1 else parts[0]))
    return odl.Metadata(where, items)


def _acquired(metadata: odl.Metadata, granule_id: str) -> datetime:
    """CALENDARDATE and TIMEOFDAY; else the time of pointing; else the stamp in the name."""
    if "CALENDARDATE" in metadata and "TIMEOFDAY" in metadata:
        return aster_l1t._acquired(metadata)
    found = aster_l1t.ID.search(granule_id)
    texts = [(str(metadata.value("SETTINGTIMEOFPOINTING", "")), "%Y-%m-%dT%H:%M:%S")]
    texts += [(found[1], "%m%d%Y%H%M%S")] if found else []
    for text, pattern in texts:
        try:
            return datetime.strptime(text.rstrip("Zz"), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise InputError(
        f"{metadata.where}: neither CALENDARDATE with TIMEOFDAY, nor SETTINGTIMEOFPOINTING.1, nor "
        f"a time in the name {granule_id!r}: when was it acquired?"
    )


def attributes(row: Row) -> dict[str, Any]:
    """The attributes the published programs read, rebuilt from a row of a `tiles` table."""
    when: datetime = row["acquired"].astimezone(UTC)
    meta = json.loads(row["meta"] or "{}")
    pointing = meta.get("pointing_angle_deg", {})
    published = meta if "GAIN.1" in meta else {}  # an uploaded row gives back what it came with
    gains = {
        f"GAIN.{place}": f"{band.number.zfill(2)}, {code}"
        for place, (band, code) in enumerate(zip(BANDS, row["gain_code"], strict=True), start=1)
    }
    radiance = zip(BANDS, row["radiance_scale"], row["radiance_offset"], strict=True)
    rebuilt = {
        "CALENDARDATE": f"{when:%Y%m%d}",
        "TIMEOFDAY": f"{when:%H%M%S%f}Z",
        "SETTINGTIMEOFPOINTING.1": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "SOLARDIRECTION": f"{row['sun_azimuth_deg']}, {90.0 - row['sun_zenith_deg']}",
        "POINTINGANGLE.1": str(pointing.get("VNIR", 0.0)),
        "POINTINGANGLE.2": str(pointing.get("SWIR", 0.0)),
        **gains,
        **{
            f"{key}{band.number}": str(value)
            for band, scale, offset in radiance
            for key, value in (("INCL", scale), ("OFFSET", offset))
        },
    }
    return {**rebuilt, **published}
