"""Geometry of ASTER on Terra: map frame, sun distance, direction to the sensor."""

import math

FALSE_NORTHING_M = 10_000_000.0
METRES_PER_DEGREE = 110_574.0
"""Length of one degree of latitude at the equator on WGS84."""
ORBIT_HEIGHT_KM = 705.0
EARTH_RADIUS_KM = 6371.0
INCLINATION_DEG = 98.2
PERIOD_MIN = 98.88
"""Height, inclination, period of Terra: ASTER Users Handbook v2 (2002), table of the orbit."""
SIDEREAL_DAY_MIN = 1436.07


def view_zenith_deg(pointing_deg: float) -> float:
    """Zenith angle of the sensor seen from the ground: sin(vza) = (1 + h/R) sin(pointing).

    The Earth's curvature makes it larger than the angle from nadir (law of sines in the triangle
    Earth's centre, target, satellite).

    Examples
    --------
    >>> round(view_zenith_deg(-8.583), 3)
    9.542
    """
    sine = (1 + ORBIT_HEIGHT_KM / EARTH_RADIUS_KM) * math.sin(math.radians(abs(pointing_deg)))
    return math.degrees(math.asin(sine))


def flight_azimuth_deg(latitude_deg: float, *, descending: bool = True) -> float:
    """Direction the sub-satellite point moves over the turning Earth, clockwise from north.

    From the orbit's inclination and period, not from SCENEORIENTATIONANGLE, whose sign differs
    between products.

    Examples
    --------
    >>> round(flight_azimuth_deg(0.0), 1), round(flight_azimuth_deg(0.0, descending=False), 1)
    (192.1, 347.9)
    """
    latitude = math.radians(latitude_deg)
    inclination = math.radians(INCLINATION_DEG)
    # Components of the ground speed in units of the orbital speed on the sphere.
    east_inertial = math.cos(inclination) / max(math.cos(latitude), 1e-9)
    east_inertial = max(-1.0, east_inertial)  # the turning point of the orbit
    north = math.sqrt(1 - east_inertial**2) * (-1 if descending else 1)
    east = east_inertial - PERIOD_MIN / SIDEREAL_DAY_MIN * math.cos(latitude)
    return math.degrees(math.atan2(east, north)) % 360.0


def view_azimuth_deg(pointing_deg: float, flight_deg: float) -> float:
    """Azimuth of the sensor seen from the ground, clockwise from north.

    A positive pointing angle looks to the left of the flight (east on a descending pass), so the
    sensor then stands to the right, at flight + 90 degrees. No document that we found states the
    sign; three real granules do (2000-03-04, 0.0 degrees; 2000-05-03, +5.7; 2000-09-03, -8.6).
    Only so do all three give one local time at the descending node, 10:44 to 10:45 (the opposite
    sign: 10:44, 10:51, 10:36), and only so do all three lie on a path of the reference system that
    Terra keeps, within 0.11 of the paths' distance (0.10, 0.19, 0.37). That system, WRS-2, has 233
    paths, of which path 1 crosses the equator at 64.60 degrees west (MISR's page "What is a MISR
    path?", NASA Langley).

    Examples
    --------
    >>> view_azimuth_deg(5.7, 190.0), view_azimuth_deg(-5.7, 190.0)
    (280.0, 100.0)
    """
    return (flight_deg + (90.0 if pointing_deg >= 0 else -90.0)) % 360.0


def utm_crs(zone: int, upper_northing_m: float, north_bound_deg: float) -> tuple[str, float]:
    """The frame of a granule and what to add to its northings.

    L1T counts northings from the equator, negative in the south, and its zone number carries no
    sign; other products add the false northing of 10,000 km, or write southern zones negative.
    So the size of the northing, held against the latitude, says how it is counted:

    - with false northing already: southern frame, as it is;
    - counted from the equator, the whole granule south of it: southern frame, false northing added;
    - counted from the equator otherwise: northern frame, also where a straddling granule's lower
      rows are negative.

    Parameters
    ----------
    zone : int
        UTM zone, its sign ignored.
    upper_northing_m : float
        Northing of the upper corners as in the file.
    north_bound_deg : float
        Northernmost latitude.

    Returns
    -------
    crs : str
    shift_m : float
        Add to northings.

    Examples
    --------
    >>> utm_crs(59, -8_560_000.0, -77.2), utm_crs(-19, 7_319_440.0, -24.2)
    (('EPSG:32759', 10000000.0), ('EPSG:32719', 0.0))
    >>> utm_crs(56, 54_300.0, 0.49)
    ('EPSG:32656', 0.0)
    """
    expected = north_bound_deg * METRES_PER_DEGREE
    if upper_northing_m - expected > FALSE_NORTHING_M / 2:
        return f"EPSG:{32700 + abs(zone)}", 0.0
    if north_bound_deg < 0:
        return f"EPSG:{32700 + abs(zone)}", FALSE_NORTHING_M
    return f"EPSG:{32600 + abs(zone)}", 0.0
