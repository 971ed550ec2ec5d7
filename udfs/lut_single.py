"""Light that aerosol scatters once: the part of the path reflectance that has sharp features.

6S adds everything that was scattered more often, and how the layers lie; a table holds only that
rest, which is smooth in the angles. So nothing here has to be exact: it is taken off at the nodes
and put on again at the state.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
SCALE_HEIGHT_M = 8000.0
"""Of the air above the ground, well enough for this purpose."""


def scattering_angle_deg(
    sun_zenith_deg: ArrayLike, view_zenith_deg: ArrayLike, relative_azimuth_deg: ArrayLike
) -> Floats:
    """Angle by which light from the sun turns on its way to the sensor.

    Parameters
    ----------
    sun_zenith_deg, view_zenith_deg, relative_azimuth_deg : float64, broadcast
        Azimuth between sun and sensor: 0 = the sensor stands where the sun stands.

    Returns
    -------
    angle : float64
        180 = straight back.

    Examples
    --------
    >>> scattering_angle_deg([30.0, 30.0], [30.0, 20.0], [0.0, 180.0]).round(3)
    array([180., 130.])
    """
    sun, view, turn = (
        np.deg2rad(angle) for angle in (sun_zenith_deg, view_zenith_deg, relative_azimuth_deg)
    )
    cosine = -np.cos(sun) * np.cos(view) - np.sin(sun) * np.sin(view) * np.cos(turn)
    return np.asarray(np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0))))


def single_scattering(
    *,
    phase: ArrayLike,
    aerosol_albedo: ArrayLike,
    aerosol_depth: ArrayLike,
    molecular_depth: ArrayLike,
    sun_zenith_deg: ArrayLike,
    view_zenith_deg: ArrayLike,
    elevation_m: ArrayLike,
) -> Floats:
    """Reflectance of aerosol by single scattering, aerosol and molecules mixed evenly.

    ``albedo * depth * phase / (4 (cos(sun) + cos(view)) * total) * (1 - exp(-airmass * total))``:
    the equation of transfer for one homogeneous layer over black ground.

    Parameters
    ----------
    phase : float64
        Phase function at the scattering angle, mean over the sphere 1.
    aerosol_albedo, aerosol_depth, molecular_depth : float64
        Single scattering albedo; vertical optical depths, of molecules at sea level.
    sun_zenith_deg, view_zenith_deg, elevation_m : float64

    Returns
    -------
    reflectance : float64, broadcast of the arguments

    Examples
    --------
    >>> thick = single_scattering(phase=1, aerosol_albedo=1, aerosol_depth=99, molecular_depth=0,
    ...                           sun_zenith_deg=0, view_zenith_deg=0, elevation_m=0)
    >>> float(thick)
    0.125
    """
    sun, view = np.cos(np.deg2rad(sun_zenith_deg)), np.cos(np.deg2rad(view_zenith_deg))
    depth = np.asarray(aerosol_depth, np.float64)
    air = np.asarray(molecular_depth) * np.exp(-np.asarray(elevation_m) / SCALE_HEIGHT_M)
    total = depth + air
    lit = -np.expm1(-total * (1 / sun + 1 / view)) / total
    return np.asarray(
        np.asarray(aerosol_albedo) * depth * np.asarray(phase) * lit / (4 * (sun + view))
    )


def scattered_once(
    turns_deg: ArrayLike,
    phase: ArrayLike,
    single: ArrayLike,
    *,
    sun_zenith_deg: ArrayLike,
    view_zenith_deg: ArrayLike,
    relative_azimuth_deg: ArrayLike,
    aod550: ArrayLike,
    elevation_m: ArrayLike,
) -> Floats:
    """`single_scattering` of some bands, from a table of how their aerosol scatters.

    Parameters
    ----------
    turns_deg : float64, shape (turn,)
        Scattering angles, rising.
    phase : float64, shape (band, turn)
        Phase function at them; linear in between.
    single : float64, shape (band, 3)
        Single scattering albedo, optical depth per unit of depth at 550 nm, and optical depth of
        molecules at sea level.
    sun_zenith_deg, view_zenith_deg, relative_azimuth_deg, aod550, elevation_m : float64
        Shape (state,) or (1,).

    Returns
    -------
    reflectance : float64, shape (band, state)

    Examples
    --------
    >>> scattered_once([0, 180], [[1, 1]], [[1, 99, 0]], sun_zenith_deg=[0], view_zenith_deg=[0],
    ...                relative_azimuth_deg=[0], aod550=[1], elevation_m=[0])
    array([[0.125]])
    """
    angle = scattering_angle_deg(sun_zenith_deg, view_zenith_deg, relative_azimuth_deg)
    turns = np.asarray(turns_deg, np.float64)
    albedo, per_aod, molecules = np.asarray(single, np.float64).T[:, :, None]
    return single_scattering(
        phase=np.stack([np.interp(angle, turns, band) for band in np.asarray(phase, np.float64)]),
        aerosol_albedo=albedo,
        aerosol_depth=per_aod * np.asarray(aod550),
        molecular_depth=molecules,
        sun_zenith_deg=sun_zenith_deg,
        view_zenith_deg=view_zenith_deg,
        elevation_m=elevation_m,
    )
