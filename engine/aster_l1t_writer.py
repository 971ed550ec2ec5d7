"""Write an ASTER L1T granule (HDF4), as the reader `aster_l1t` and HDF-EOS tools expect it.

Layout: two swaths; corners of the map frame are centres of corner pixels, shared by the 15 m and
30 m bands; northings count from the equator also in the south (negative there), and the zone
number has no sign, as in the real product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoquarry.engine.frame import project_points
from geoquarry.engine.hdf4_writer import TYPES, Field, Structure, write
from geoquarry.engine.odl_writer import close, group, structure
from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.sensor import sensor

SENSOR = "aster_l1t"
TIE_POINTS = 11
"""Per axis, for the Latitude and Longitude of each swath."""
FRAME_STEP_M = 90
"""Corner coordinates are multiples of this, so that bands of all pixel sizes share them."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """What the metadata say besides the counts.

    Attributes
    ----------
    acquired, produced : datetime
        UTC.
    number : int
        Last part of the file name.
    zone : int
        UTM zone, 1 to 60.
    upper_left_m : (float, float)
        Easting and northing of the first pixel's centre, northing counted from the equator.
    gain_code : mapping of str -> str
        Band name -> ``HGH``, ``NOR``, ``LO1``, ``LO2``.
    sun_zenith_deg, sun_azimuth_deg : float
    pointing_deg : mapping of str -> float
        Swath -> angle from nadir, positive to the left of the flight.
    corners : 4 x (latitude, longitude)
        Of the rotated footprint: upper left, upper right, lower left, lower right.
    orientation_deg : float
        How far the footprint leans from north.
    cloud_percent : int
    """

    acquired: datetime
    produced: datetime
    number: int
    zone: int
    upper_left_m: Point
    gain_code: Mapping[str, str]
    sun_zenith_deg: float
    sun_azimuth_deg: float
    pointing_deg: Mapping[str, float]
    corners: tuple[Point, Point, Point, Point]
    orientation_deg: float = 0.0
    cloud_percent: int = 0

    @property
    def granule_id(self) -> str:
        """As LP DAAC names files: acquisition, production, number."""
        when, made = f"{self.acquired:%m%d%Y%H%M%S}", f"{self.produced:%Y%m%d%H%M%S}"
        return f"AST_L1T_003{when}_{made}_{self.number}"


def write_granule(folder: Path, scene: Scene, bands: Mapping[str, NDArray[np.uint8]]) -> Path:
    """Write one granule.

    Parameters
    ----------
    folder : Path
        Exists.
    scene : Scene
    bands : mapping of str -> uint8, shape (y, x)
        Counts of all nine bands on the common frame: n columns at 30 m are 2 n - 1 at 15 m.

    Returns
    -------
    path : Path
        ``<folder>/<granule id>.hdf``.

    Raises
    ------
    ValueError
        A band is missing or its shape does not fit the frame.
    """
    spans = {_span(name, bands) for name in sensor(SENSOR).names}
    if len(spans) != 1:
        raise ValueError(f"Bands of {scene.granule_id} span different frames [m]: {sorted(spans)}.")
    height_m, width_m = spans.pop()
    swaths, described = [], []
    for name in dict.fromkeys(band.swath for band in sensor(SENSOR).bands):
        fields, about = _swath(name, scene, bands)
        swaths.append(
            Structure(
                f"{name}_Swath",
                "SWATH",
                ("Geolocation Fields", "Data Fields", "Swath Attributes"),
                fields,
            )
        )
        described.append(about)
    texts = {
        "HDFEOSVersion": "HDFEOS_V2.17",
        "StructMetadata.0": structure(swaths=described),
        "productmetadata.0": _generic(scene),
        "productmetadata.1": _frame(scene, width_m, height_m),
        "productmetadata.v": _specific("V", "VNIR", scene, bands),
        "productmetadata.s": _specific("S", "SWIR", scene, bands),
        "coremetadata.0": _inventory(scene, bands),
    }
    return write(folder / f"{scene.granule_id}.hdf", swaths, texts)


def radiance_coefficients(gain_code: Mapping[str, str]) -> dict[str, Point]:
    """Scale and offset of ``radiance = scale * dn + offset`` by band; zero radiance is DN 1.

    >>> radiance_coefficients({"b01": "HGH"})
    {'b01': (0.676, -0.676)}
    """
    scales = {
        (row["band"], row["gain"]): float(row["ucc_w_m2_sr_um_per_dn"])
        for row in read_rows("aster_l1t_gains")
    }
    return {band: (scales[band, gain], -scales[band, gain]) for band, gain in gain_code.items()}


def _span(name: str, bands: Mapping[str, NDArray[np.uint8]]) -> Point:
    if name not in bands:
        raise ValueError(f"Band {name} is missing; a granule has all of {sensor(SENSOR).names}.")
    pixel_m = sensor(SENSOR).bands[sensor(SENSOR).position(name)].resolution_m
    rows, cols = bands[name].shape
    return (rows - 1) * pixel_m, (cols - 1) * pixel_m


def _swath(
    name: str, scene: Scene, bands: Mapping[str, NDArray[np.uint8]]
) -> tuple[list[Field], dict[str, Any]]:
    members = [band for band in sensor(SENSOR).bands if band.swath == name]
    rows, cols = bands[members[0].name].shape
    every = max(1, (rows - 1) // (TIE_POINTS - 1)), max(1, (cols - 1) // (TIE_POINTS - 1))
    geo, data = ("GeoTrack", "GeoXtrack"), ("ImageLine", "ImagePixel")
    left, top = scene.upper_left_m
    pixel_m = members[0].resolution_m
    x = left + pixel_m * every[1] * np.arange(TIE_POINTS)
    y = top - pixel_m * every[0] * np.arange(TIE_POINTS)
    longitude, latitude = project_points(x[None, :], y[:, None], _crs(scene), "EPSG:4326")
    fields = [
        Field("Latitude", latitude, geo, "Geolocation Fields"),
        Field("Longitude", longitude, geo, "Geolocation Fields"),
        *(Field(f"ImageData{band.number}", bands[band.name], data) for band in members),
    ]
    listed = [(f.name, TYPES[str(f.data.dtype)][1], f.dimensions) for f in fields]
    about = {
        "name": f"{name}_Swath",
        "dimensions": dict(zip((*geo, *data), (TIE_POINTS, TIE_POINTS, rows, cols), strict=True)),
        "maps": [(g, d, n) for g, d, n in zip(geo, data, every, strict=True)],
        "geo_fields": listed[:2],
        "fields": listed[2:],
    }
    return fields, about


def _crs(scene: Scene) -> str:
    # The northern frame also south of the equator: there its northings are negative.
    return f"EPSG:{32600 + scene.zone}"


def _generic(scene: Scene) -> str:
    when = f"{scene.acquired:%Y-%m-%dT%H:%M:%SZ}"
    pointing: list[tuple[str, str, Any]] = []
    for place, swath in enumerate(("VNIR", "SWIR", "TIR"), start=1):
        angle = scene.pointing_deg.get(swath, scene.pointing_deg["SWIR"])
        pointing += [
            ("SENSORNAME", str(place), swath),
            ("POINTINGANGLE", str(place), float(angle)),
            ("SETTINGTIMEOFPOINTING", str(place), when),
        ]
    codes = [(band.number.zfill(2), scene.gain_code[band.name]) for band in sensor(SENSOR).bands]
    codes.insert(3, ("3B", codes[2][1]))
    corners = zip(
        ("UPPERLEFT", "UPPERRIGHT", "LOWERLEFT", "LOWERRIGHT"), scene.corners, strict=True
    )
    return close(
        group(
            "ASTERGENERICMETADATA",
            [
                ("RECEIVINGCENTER", "", "SIMULATED"),
                ("PROCESSINGCENTER", "", "geoquarry simulate"),
                ("SENSORSHORTNAME", "", ("ASTER_VNIR", "ASTER_SWIR", "ASTER_TIR")),
            ],
        ),
        group("POINTINGANGLES", pointing),
        group("GAININFORMATION", [("GAIN", str(i), c) for i, c in enumerate(codes, start=1)]),
        group(
            "SCENEINFORMATION",
            [
                ("ORBITNUMBER", "", 10000 + scene.number),
                ("SCENECLOUDCOVERAGE", "", int(scene.cloud_percent)),
                (
                    "SOLARDIRECTION",
                    "",
                    _rounded((scene.sun_azimuth_deg, 90 - scene.sun_zenith_deg)),
                ),
                ("SCENEORIENTATIONANGLE", "", round(float(scene.orientation_deg), 2)),
                ("FLYINGDIRECTION", "", "DE"),
            ],
        ),
        group("SCENEFOURCORNERS", [(name, "", _rounded(point)) for name, point in corners]),
    )


def _frame(scene: Scene, width_m: float, height_m: float) -> str:
    left, top = (float(value) for value in scene.upper_left_m)
    right, bottom = left + width_m, top - height_m
    return close(
        group(
            "SCENEFOURCORNERSMETERS",
            [
                ("UPPERLEFTM", "", (top, left)),
                ("UPPERRIGHTM", "", (top, right)),
                ("LOWERLEFTM", "", (bottom, left)),
                ("LOWERRIGHTM", "", (bottom, right)),
            ],
        ),
        group(
            "PROJECTION",
            [
                ("MAPPROJECTIONNAME", "", "Universal Transverse Mercator"),
                ("UTMZONENUMBER", "", int(scene.zone)),
                ("RESMETHOD1", "", "CC"),
                ("PROCESSINGLEVELID", "", "1T"),
            ],
        ),
    )


def _specific(letter: str, swath: str, scene: Scene, bands: Mapping[str, NDArray[np.uint8]]) -> str:
    coefficients = radiance_coefficients(scene.gain_code)
    objects: list[tuple[str, str, Any]] = []
    for band in sensor(SENSOR).bands:
        if band.swath == swath:
            rows, cols = bands[band.name].shape
            scale, offset = coefficients[band.name]
            objects += [
                (f"IMAGEDATAINFORMATION{band.number}", "", (cols, rows, 1)),
                (f"INCL{band.number}", "", scale),
                (f"OFFSET{band.number}", "", offset),
            ]
    return close(group(f"PRODUCTSPECIFICMETADATA{letter}", objects))


def _inventory(scene: Scene, bands: Mapping[str, NDArray[np.uint8]]) -> str:
    latitudes, longitudes = zip(*scene.corners, strict=True)
    size = sum(band.nbytes for band in bands.values()) / 2**20
    return close(
        group(
            "INVENTORYMETADATA",
            [
                ("SHORTNAME", "", "AST_L1T"),
                ("VERSIONID", "", 3),
                ("LOCALGRANULEID", "", f"{scene.granule_id}.hdf"),
                ("SIZEMBECSDATAGRANULE", "", round(size, 3)),
                ("PRODUCTIONDATETIME", "", f"{scene.produced:%Y-%m-%dT%H:%M:%S.000Z}"),
                ("CALENDARDATE", "", f"{scene.acquired:%Y%m%d}"),
                ("TIMEOFDAY", "", f"{scene.acquired:%H%M%S}000000Z"),
                ("NORTHBOUNDINGCOORDINATE", "", round(max(latitudes), 6)),
                ("SOUTHBOUNDINGCOORDINATE", "", round(min(latitudes), 6)),
                ("EASTBOUNDINGCOORDINATE", "", round(max(longitudes), 6)),
                ("WESTBOUNDINGCOORDINATE", "", round(min(longitudes), 6)),
                ("PLATFORMSHORTNAME", "", "Terra"),
                ("INSTRUMENTSHORTNAME", "", "ASTER"),
            ],
        )
    )


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
