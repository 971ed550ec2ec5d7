"""What a reader returns: one granule of one sensor, before any grid."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

Transform = tuple[float, float, float, float, float, float]
"""Affine (a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f, at pixel corners."""


@dataclass(frozen=True)
class Raster:
    """One georeferenced raster.

    Attributes
    ----------
    data : array, shape (y, x)
        Pixel values as stored.
    transform : Transform
        Corner of pixel (0, 0) and pixel size, in units of ``crs``.
    crs : str
        Anything PROJ reads, e.g. ``EPSG:32612``.
    """

    data: NDArray[Any]
    transform: Transform
    crs: str


@dataclass(frozen=True)
class Granule:
    """One acquisition as it came from the file: DN per band plus what physics needs.

    Lists follow the sensor's band order; a band that was not acquired is absent from ``bands``.

    Attributes
    ----------
    sensor : str
        Name of the sensor, e.g. ``aster_l1t``.
    granule_id : str
        Identity of the product (file name without extension).
    observation_id : str
        Identity of the acquisition, shared by all productions of it: the beginning of their
        ``granule_id``, which goes on with the production, so that newer ones sort last.
    produced : str
        Production stamp, sortable as text; a larger one is newer.
    acquired : datetime
        Time of acquisition, UTC.
    bands : dict of str -> Raster
        DN (uint8, 0 = not observed, 255 = saturated) by band name, in the granule's own frame.
    sun_zenith_deg, sun_azimuth_deg : float
        Direction to the sun at the scene centre; azimuth clockwise from north.
    earth_sun_distance_au : float
        Distance on the day of acquisition.
    view_zenith_deg, view_azimuth_deg : list of float, shape (band,)
        Direction to the sensor as seen from the ground.
    gain_code : list of str, shape (band,)
        Gain setting by name, e.g. ``HGH``.
    radiance_scale, radiance_offset : list of float, shape (band,)
        Radiance [W m-2 sr-1 um-1] = scale x DN + offset.
    unreliable_bands : frozenset of str
        Bands whose DN exist but must not be used (e.g. a failed detector), by name.
    latitude_deg, longitude_deg : float
        Scene centre.
    meta : dict
        JSON-safe extracts of the product's metadata.
    """

    sensor: str
    granule_id: str
    observation_id: str
    produced: str
    acquired: datetime
    bands: dict[str, Raster]
    sun_zenith_deg: float
    sun_azimuth_deg: float
    earth_sun_distance_au: float
    view_zenith_deg: list[float]
    view_azimuth_deg: list[float]
    gain_code: list[str]
    radiance_scale: list[float]
    radiance_offset: list[float]
    latitude_deg: float
    longitude_deg: float
    unreliable_bands: frozenset[str] = frozenset()
    meta: dict[str, Any] = field(default_factory=dict)
