"""Where the sun stands."""

import math
from datetime import UTC, datetime


def sun_position(when: datetime, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
    """Direction to the sun, without refraction.

    Low-precision formulas of the Astronomical Almanac as given by Michalsky 1988 (Solar Energy
    40, 227, doi 10.1016/0038-092X(88)90045-X): 0.01 degree from 1950 to 2050.

    Parameters
    ----------
    when : datetime
        With a time zone.
    latitude_deg, longitude_deg : float
        North and east positive.

    Returns
    -------
    sun_zenith_deg, sun_azimuth_deg : float
        Azimuth clockwise from north, 0 to below 360.

    Examples
    --------
    At the June solstice the noon sun stands over the tropic, 23.4 degrees north:

    >>> zenith, _ = sun_position(datetime(2006, 6, 21, 12, 2, tzinfo=UTC), 23.44, 0.0)
    >>> round(zenith, 1)
    0.0
    """
    epoch = datetime(2000, 1, 1, 12, tzinfo=UTC)
    days = (when - epoch).total_seconds() / 86400.0
    mean_longitude = (280.460 + 0.9856474 * days) % 360.0
    anomaly = math.radians((357.528 + 0.9856003 * days) % 360.0)
    longitude = math.radians(
        mean_longitude + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly)
    )
    obliquity = math.radians(23.439 - 0.0000004 * days)
    ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    declination = math.asin(math.sin(obliquity) * math.sin(longitude))
    utc = when.astimezone(UTC)
    hours = utc.hour + utc.minute / 60 + (utc.second + utc.microsecond / 1e6) / 3600
    sidereal = math.radians((6.697375 + 0.0657098242 * days + hours) * 15.0 + longitude_deg)
    hour_angle = sidereal - ascension
    latitude = math.radians(latitude_deg)
    east = -math.cos(declination) * math.sin(hour_angle)
    north = math.sin(declination) * math.cos(latitude) - math.cos(declination) * math.cos(
        hour_angle
    ) * math.sin(latitude)
    up = math.sin(declination) * math.sin(latitude) + math.cos(declination) * math.cos(
        hour_angle
    ) * math.cos(latitude)
    zenith = math.degrees(math.atan2(math.hypot(east, north), up))
    return zenith, math.degrees(math.atan2(east, north)) % 360.0
