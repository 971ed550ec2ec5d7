"""ASTER L1T (HDF4): DN of the nine VNIR and SWIR bands, and what physics needs to know of them.

Frame: the four map corners are centres of corner pixels, shared by 15, 30 and 90 m bands (checked
on the shapes of a real granule), so a pixel is |upper left - lower right| / (n - 1) wide and the
raster's corner lies half a pixel outside. `SCENEFOURCORNERS` differs: that footprint is rotated.
"""

import math
import re
from datetime import UTC, datetime
from pathlib import Path

from geoquarry.engine import odl
from geoquarry.engine.aster_l1t_geometry import (
    flight_azimuth_deg,
    utm_crs,
    view_azimuth_deg,
    view_zenith_deg,
)
from geoquarry.engine.frame import project_points
from geoquarry.engine.hdf4 import Hdf4
from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Granule, Raster, Transform
from geoquarry.schemas.sensor import Band, sensor
from geoquarry.schemas.sun_distance import earth_sun_distance_au

SENSOR = "aster_l1t"
PATTERN = "AST_L1T_*.hdf"
"""File names this reader is meant for."""

FAMILIES = ("coremetadata", "productmetadata.[0-9vVsS]")
"""Attributes read: inventory, scene, VNIR and SWIR; those of TIR are left out for speed."""
DATASET = "ImageData"
"""A band's number follows."""
ID = re.compile(r"AST_L1T_003(\d{14})_(\d{14})")
"""LP DAAC names: acquisition MMDDYYYYhhmmss, production YYYYMMDDhhmmss."""
GAIN_ALIASES = {"LOW": "LO1", "HIGH": "HGH", "NORMAL": "NOR", "LOW1": "LO1", "LOW2": "LO2"}
"""`LOW` is met in real metadata; the others are the handbook's long names."""
SWIR_FAILED_FROM = datetime(2008, 4, 1, tzinfo=UTC)
"""SWIR saturates and stripes in data "acquired after April 2008" (ASTER SWIR User Advisory)."""


def read(path: str | Path, *, allow_late_swir: bool = False) -> Granule:
    """Read one granule.

    Parameters
    ----------
    path : str or Path
        An ``AST_L1T_*.hdf`` file.
    allow_late_swir : bool
        Do not mark bands 4-9 of acquisitions from 2008-04-01 on as unreliable.

    Returns
    -------
    granule : Granule
        All nine bands, uint8 DN, each swath in its own frame (EPSG:326zz or 327zz).

    Raises
    ------
    InputError
        No such file, not HDF4, truncated; VNIR or SWIR off, a band missing; a metadata key
        missing or out of range. The message names the file and the reason.
    """
    path = Path(path)
    with Hdf4(path) as file:
        attributes, shapes = file.attributes(), set(file.shapes())
        own = *(name.startswith(DATASET) for name in shapes), *map(_is_own, attributes)
        if not any(own):
            raise InputError(
                f"{path}: this is not ASTER L1T, no dataset {DATASET}... is in it. Give "
                f"{PATTERN} here; aerosol and reference have options of their own."
            )
        metadata = odl.read(attributes, FAMILIES, str(path))
        gains = _gains(metadata)
        _refuse_missing_bands(metadata.where, gains, shapes)
        crs = _crs(metadata)
        bands = {}
        for band in sensor(SENSOR).bands:
            dn = file.read(_dataset(band))
            _refuse_wrong_shape(metadata, band, dn.shape)
            if dn.dtype != "uint8":
                raise InputError(f"{path}: {_dataset(band)} is {dn.dtype}, expected uint8 DN.")
            bands[band.name] = Raster(dn, _transform(metadata, band, dn.shape), crs)
    return _granule(path, metadata, gains, bands, allow_late_swir=allow_late_swir)


def _granule(
    path: Path,
    metadata: odl.Metadata,
    gains: dict[str, str],
    bands: dict[str, Raster],
    *,
    allow_late_swir: bool,
) -> Granule:
    facts = sensor(SENSOR).bands
    acquired = _acquired(metadata)
    granule_id, observation_id, produced = _identity(path, metadata, acquired)
    latitude, longitude = _centre(metadata, bands[facts[0].name])
    azimuth, elevation = metadata.numbers("SOLARDIRECTION", 2)
    if not 0 < elevation <= 90:
        raise InputError(
            f"{path}: SOLARDIRECTION puts the sun at {elevation} degrees elevation: a night scene."
        )
    pointing = _pointing(metadata)
    flying = str(metadata.value("FLYINGDIRECTION", "DE")).upper()
    heading = flight_azimuth_deg(latitude, descending=not flying.startswith("AS"))
    codes = [gains[band.number] for band in facts]
    radiometry = [_radiance(metadata, band, code) for band, code in zip(facts, codes, strict=True)]
    late = acquired >= SWIR_FAILED_FROM and not allow_late_swir
    corners = {k: metadata.value(k) for k in ("UPPERLEFTM", "LOWERRIGHTM")}
    return Granule(
        sensor=SENSOR,
        granule_id=granule_id,
        observation_id=observation_id,
        produced=produced,
        acquired=acquired,
        bands=bands,
        sun_zenith_deg=90.0 - elevation,
        sun_azimuth_deg=azimuth % 360.0,
        earth_sun_distance_au=earth_sun_distance_au(acquired.timetuple().tm_yday),
        view_zenith_deg=[view_zenith_deg(pointing[band.swath]) for band in facts],
        view_azimuth_deg=[view_azimuth_deg(pointing[band.swath], heading) for band in facts],
        gain_code=codes,
        radiance_scale=[scale for scale, _, _ in radiometry],
        radiance_offset=[offset for _, offset, _ in radiometry],
        latitude_deg=latitude,
        longitude_deg=longitude,
        unreliable_bands=frozenset(b.name for b in facts if late and b.swath == "SWIR"),
        meta={
            "granule_id": granule_id,
            "observation_id": observation_id,
            "produced": produced,
            "file": path.name,
            "crs": bands[facts[0].name].crs,
            "corners_m": corners,
            "utm_zone": metadata.value("UTMZONENUMBER", metadata.value("UTMZONECODE1", None)),
            "gains": gains,
            "radiance_source": {
                band.name: source for band, (_, _, source) in zip(facts, radiometry, strict=True)
            },
            "pointing_angle_deg": pointing,
            "flying_direction": flying,
            "scene_orientation_deg": metadata.value("SCENEORIENTATIONANGLE", None),
            "resampling": metadata.value("RESMETHOD1", None),
            "cloud_coverage_percent": metadata.value("SCENECLOUDCOVERAGE", None),
            "orbit": metadata.value("ORBITNUMBER", None),
            "crosstalk_corrected": False,
        },
    )


def _frame(metadata: odl.Metadata) -> tuple[str, float]:
    projection = str(metadata.value("MAPPROJECTIONNAME", "UTM"))
    if not projection.upper().startswith(("UTM", "UNIVERSAL")):
        raise InputError(f"{metadata.where}: map projection {projection!r}; only UTM is read.")
    key = "UTMZONENUMBER" if "UTMZONENUMBER" in metadata else "UTMZONECODE1"
    zone = metadata.number(key if key in metadata else "UTMZONENUMBER")
    if zone != int(zone) or not 1 <= abs(zone) <= 60:
        raise InputError(f"{metadata.where}: {key} is {zone:g}, expected 1 to 60.")
    upper = metadata.numbers("UPPERLEFTM", 2)[0]
    return utm_crs(int(zone), upper, metadata.number("NORTHBOUNDINGCOORDINATE"))


def _crs(metadata: odl.Metadata) -> str:
    return _frame(metadata)[0]


def _transform(metadata: odl.Metadata, band: Band, shape: tuple[int, ...]) -> Transform:
    shift = _frame(metadata)[1]
    top, left = metadata.numbers("UPPERLEFTM", 2)
    bottom, right = metadata.numbers("LOWERRIGHTM", 2)
    for span, size, axis in ((right - left, shape[1], "columns"), (top - bottom, shape[0], "rows")):
        if size < 2 or abs(span - (size - 1) * band.resolution_m) > band.resolution_m / 2:
            raise InputError(
                f"{metadata.where}: {_dataset(band)} has {size} {axis}, but its corners are "
                f"{span:g} m apart; {band.resolution_m:g} m pixels need (n - 1) x pixel size."
            )
    width = (right - left) / (shape[1] - 1)
    height = (top - bottom) / (shape[0] - 1)
    return (width, 0.0, left - width / 2, 0.0, -height, top + shift + height / 2)


def _centre(metadata: odl.Metadata, raster: Raster) -> tuple[float, float]:
    """Latitude and longitude of the middle; refuses a frame that contradicts the latitudes."""
    (rows, columns), (a, _, c, _, e, f) = raster.data.shape, raster.transform
    x, y = [c + a * columns / 2] * 2, [f + e * rows / 2, f]
    longitude, latitude = project_points(x, y, raster.crs, "EPSG:4326")
    north = metadata.number("NORTHBOUNDINGCOORDINATE")
    if not abs(float(latitude[1]) - north) < 1.0:
        raise InputError(
            f"{metadata.where}: corners in {raster.crs} reach latitude {float(latitude[1]):.2f}, "
            f"NORTHBOUNDINGCOORDINATE says {north:.2f}: wrong zone or hemisphere."
        )
    return float(latitude[0]), float(longitude[0])


def _gains(metadata: odl.Metadata) -> dict[str, str]:
    """Band number (``1``, ``3N``) -> gain by its short name."""
    if "GAIN" not in metadata:
        raise InputError(f"{metadata.where}: metadata key GAIN is missing.")
    gains = {}
    for pair in metadata.values("GAIN").values():
        if isinstance(pair, list) and len(pair) == 2:
            number, code = (str(part).strip().upper() for part in pair)
            gains[number.lstrip("0")] = GAIN_ALIASES.get(code, code)
    return gains


def _is_own(attribute: str) -> bool:
    return attribute.lower().startswith("productmetadata.")


def _dataset(band: Band) -> str:
    return f"{DATASET}{band.number}"


def _refuse_missing_bands(where: str, gains: dict[str, str], datasets: set[str]) -> None:
    bands = sensor(SENSOR).bands
    off = {band.number for band in bands if gains.get(band.number) == "OFF"}
    absent = {band.number for band in bands if _dataset(band) not in datasets}
    for swath in ("VNIR", "SWIR"):
        members = {band.number for band in bands if band.swath == swath}
        if members <= off | absent:
            raise InputError(f"{where}: {swath} is off in this granule; nine bands are needed.")
    if off | absent:
        listed = ", ".join(sorted(off | absent))
        raise InputError(f"{where}: band {listed} is off or missing; nine bands are needed.")
    if unknown := [band.number for band in bands if band.number not in gains]:
        raise InputError(f"{where}: metadata key GAIN is missing for band {', '.join(unknown)}.")


def _refuse_wrong_shape(metadata: odl.Metadata, band: Band, shape: tuple[int, ...]) -> None:
    key = f"IMAGEDATAINFORMATION{band.number}"
    if key in metadata:
        pixels, lines, _ = metadata.numbers(key, 3)
        if shape != (int(lines), int(pixels)):
            raise InputError(
                f"{metadata.where}: {_dataset(band)} is {shape}, "
                f"{key} says {(int(lines), int(pixels))} (lines, pixels)."
            )


def _radiance(metadata: odl.Metadata, band: Band, gain: str) -> tuple[float, float, str]:
    """Scale and offset of L = scale x DN + offset, and where they come from.

    The file's INCLn and OFFSETn are the coefficients in force; without them the gain table
    serves. Zero radiance is DN 1, hence offset = -scale.
    """
    scale = _optional(metadata, f"INCL{band.number}")
    offset = _optional(metadata, f"OFFSET{band.number}")
    if scale is not None and scale > 0:
        return scale, -scale if offset is None else offset, f"INCL{band.number}"
    known = [row["gain"] for row in read_rows("aster_l1t_gains") if row["band"] == band.name]
    for row in read_rows("aster_l1t_gains"):
        if (row["band"], row["gain"]) == (band.name, gain):
            scale = float(row["ucc_w_m2_sr_um_per_dn"])
            return scale, -scale, f"gain table {gain}"
    raise InputError(
        f"{metadata.where}: gain {gain!r} of band {band.number} is unknown and the file has no "
        f"INCL{band.number}. Known gains: {', '.join(known)}."
    )


def _optional(metadata: odl.Metadata, name: str) -> float | None:
    """A number, or None where the product says ``N/A`` or nothing."""
    try:
        value = float(metadata.value(name, math.nan))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _pointing(metadata: odl.Metadata) -> dict[str, float]:
    """Swath -> angle from nadir [deg]; objects of one class belong together."""
    angles, names = metadata.values("POINTINGANGLE"), metadata.values("SENSORNAME")
    usual = {"1": "VNIR", "2": "SWIR", "3": "TIR"}
    found: dict[str, float] = {}
    for class_, angle in angles.items():
        swath = str(names.get(class_, usual.get(class_, class_))).upper()
        try:
            found[swath] = float(angle)
        except (TypeError, ValueError):
            continue  # a telescope that was off reads N/A
    for swath in ("VNIR", "SWIR"):
        if swath not in found:
            raise InputError(
                f"{metadata.where}: metadata key POINTINGANGLE is missing for {swath}."
            )
        if not abs(found[swath]) <= 30:  # VNIR reaches 24 degrees, SWIR 8.55 (handbook)
            raise InputError(
                f"{metadata.where}: POINTINGANGLE of {swath} is {found[swath]} degrees."
            )
    return found


def _acquired(metadata: odl.Metadata) -> datetime:
    date = re.sub(r"\D", "", str(metadata.value("CALENDARDATE")))
    time = re.sub(r"\D", "", str(metadata.value("TIMEOFDAY")))
    try:
        return datetime.strptime(date + time[:12].ljust(12, "0"), "%Y%m%d%H%M%S%f").replace(
            tzinfo=UTC
        )
    except ValueError:
        raise InputError(
            f"{metadata.where}: CALENDARDATE {date!r} with TIMEOFDAY {time!r} is no time."
        ) from None


def _identity(path: Path, metadata: odl.Metadata, acquired: datetime) -> tuple[str, str, str]:
    """Granule, observation, and production stamp (YYYYMMDDhhmmss)."""
    granule_id = str(metadata.value("LOCALGRANULEID", "") or path.stem).strip()
    granule_id = re.sub(r"\.hdf$", "", granule_id, flags=re.IGNORECASE)
    stated = metadata.value("PRODUCTIONDATETIME", "")
    produced = re.sub(r"\D", "", str(stated))[:14].ljust(14, "0")
    found = ID.search(granule_id) or ID.search(path.stem)
    if found:
        return granule_id, f"AST_L1T_003{found[1]}", found[2]
    return granule_id, f"AST_L1T_003{acquired:%m%d%Y%H%M%S}", produced
