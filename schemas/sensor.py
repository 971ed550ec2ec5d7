"""A sensor is a name, an ordered band table (CSV) and facts about its bands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from geoquarry.schemas.csvfile import number_of, read_rows, text_of
from geoquarry.schemas.errors import InputError, UnknownName


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Attributes
    ----------
    name : str
        Column name in the tables, e.g. ``b3n``.
    role : str
        What the band sees, in words shared by sensors: ``blue green red nir swir16``; bands
        without a shared word keep one of their own.
    aliases : tuple of str
        The same band in other systems (HDF-EOS field, STAC asset, Earth Engine), lower case too.
    wavelength_um : tuple of float
        Lower and upper limit.
    resolution_m : float
        Pixel size in the product.
    swath : str
        Bands of one swath share a frame, a pointing and a footprint.
    irradiance_w_m2_um : float
        Band solar irradiance at 1 AU.
    """

    name: str
    number: str
    role: str
    aliases: tuple[str, ...]
    wavelength_um: tuple[float, float]
    resolution_m: float
    swath: str
    irradiance_w_m2_um: float


@dataclass(frozen=True)
class Sensor:
    """A sensor's name and its bands in table order."""

    name: str
    bands: tuple[Band, ...]

    @property
    def names(self) -> list[str]:
        """Column names of the bands, in order."""
        return [band.name for band in self.bands]

    @property
    def irradiance_w_m2_um(self) -> list[float]:
        """Band solar irradiance at 1 AU, in band order."""
        return [band.irradiance_w_m2_um for band in self.bands]

    def position(self, name: str) -> int:
        """Place of a band in the order, by its name or any alias.

        Raises
        ------
        UnknownName
            The sensor has no such band.

        Examples
        --------
        >>> sensor("aster_l1t").position("VNIR_Swath:ImageData3N")
        2
        """
        wanted = name.lower()
        for place, band in enumerate(self.bands):
            if wanted == band.name or wanted in (alias.lower() for alias in band.aliases):
                return place
        raise UnknownName(
            f"Sensor {self.name!r} has no band {name!r}. Choose one of: {', '.join(self.names)}."
        )

    def role(self, role: str) -> int | None:
        """Place of the band with this role, or None where the sensor lacks it.

        >>> sensor("aster_l1t").role("red"), sensor("aster_l1t").role("blue")
        (1, None)
        """
        for place, band in enumerate(self.bands):
            if band.role == role:
                return place
        return None

    def response(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Spectral response of a band.

        Returns
        -------
        wavelength_um, response : float64, shape (n,)
            On the 2.5 nm grid of 6S.
        """
        band = self.bands[self.position(name)]
        for row in read_rows(f"{self.name}_response"):
            if row["band"] == band.name:
                response = np.array([float(x) for x in row["response"].split()])
                start, step = float(row["wavelength_start_um"]), float(row["step_um"])
                return np.round(start + step * np.arange(response.size), 6), response
        raise UnknownName(f"{self.name}_response.csv has no row for band {band.name!r}.")


@cache
def sensor(name: str) -> Sensor:
    """Read a sensor's band table by name.

    Raises
    ------
    UnknownName
        No ``<name>_bands.csv`` ships with the package.

    Examples
    --------
    >>> sensor("aster_l1t").names
    ['b01', 'b02', 'b3n', 'b04', 'b05', 'b06', 'b07', 'b08', 'b09']
    """
    if name not in sensors():
        raise UnknownName(f"No sensor {name!r}. Choose one of: {', '.join(sensors())}.")
    return Sensor(name, read_bands(read_rows(f"{name}_bands"), f"{name}_bands.csv"))


def read_bands(rows: Iterable[Mapping[str, str]], where: str) -> tuple[Band, ...]:
    """Rows of a band table, checked.

    Raises
    ------
    InputError
        No row, a missing column, a number that is not finite or not above 0, a name twice.
    """
    found = [_band(row, f"{where}, row {place}") for place, row in enumerate(rows, start=1)]
    names = [band.name for band in found]
    if not found or len(set(names)) < len(names):
        raise InputError(f"{where}: a band table needs bands, each once; found {names!r:.200}.")
    return tuple(found)


def _band(row: Mapping[str, str], where: str) -> Band:
    name, number, role, swath = (
        text_of(row, column, where) for column in ("band", "number", "role", "swath")
    )
    low, high, resolution_m, irradiance = (
        number_of(row, column, where)
        for column in (
            *("wavelength_min_um", "wavelength_max_um"),
            *("resolution_m", "irradiance_w_m2_um"),
        )
    )
    if not name.isidentifier() or not 0 < low <= high or min(resolution_m, irradiance) <= 0:
        raise InputError(
            f"{where}: {name!r} needs a name of letters and digits, wavelengths in rising order, "
            "and a resolution and an irradiance over 0."
        )
    others = (text_of(row, column, where) for column in ("hdf_eos", "stac", "earth_engine"))
    return Band(
        name=name,
        number=number,
        role=role,
        aliases=(number, *others),
        wavelength_um=(low, high),
        resolution_m=resolution_m,
        swath=swath,
        irradiance_w_m2_um=irradiance,
    )


@cache
def sensors() -> tuple[str, ...]:
    """Names of the sensors whose band tables ship with the package."""
    names = (entry.name for entry in files("geoquarry.schemas").iterdir())
    return tuple(sorted(n.removesuffix("_bands.csv") for n in names if n.endswith("_bands.csv")))
