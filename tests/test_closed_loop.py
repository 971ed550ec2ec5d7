"""What the simulator put in comes out again: counts, warp and geometry, at three latitudes."""

import numpy as np
import pytest
from yardstick import best_shift

from geoquarry.engine.frame import pixel_coordinates
from geoquarry.engine.readers import reader
from geoquarry.jobs.cut import cut, to_lattice
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob, flags
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.warp import bilinear_float

NAMES = sensor("aster_l1t").names
AIR = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}
"""Coefficients of an ordinary summer day; with them the loop needs no 6S."""


@pytest.fixture(scope="module", params=[0.02, 32.78, -60.3], ids=["equator", "32 N", "60 S"])
def world(request, tmp_path_factory):
    """One cloud-free, noise-free scene with the truth on its own pixels."""
    folder = tmp_path_factory.mktemp("loop")
    made = simulate(
        folder,
        size=96,
        scenes=1,
        seed=3,
        latitude_deg=request.param,
        cloud=0,
        noise_dn=0,
        keep_lattice_truth=True,
        atmosphere=AIR,
    )
    scene = made["scenes"][0]
    granule = reader("aster_l1t").read(folder / scene["file"])
    with np.load(folder / "lattice" / f"{granule.granule_id}.npz", allow_pickle=False) as arrays:
        lattice = dict(arrays)
    with np.load(folder / made["truth"], allow_pickle=False) as arrays:
        truth = dict(arrays)
    frame = grid(made["grid"])
    row = cut(granule, to_lattice(granule), frame, made["tile_x"], made["tile_y"])
    return made, granule, lattice, truth, frame, row


def recovered(dn, granule):
    """Surface reflectance of counts (band, y, x), NaN where not observed."""
    radiance = dn_to_radiance(dn, granule.radiance_scale, granule.radiance_offset)
    return remove_atmosphere(radiance, **AIR)


def rounding_error(place, granule):
    """RMS that rounding to whole counts alone leaves in reflectance."""
    return granule.radiance_scale[place] * AIR["xa"][place] / np.sqrt(12)


def test_without_warping_only_the_rounding_is_left(world):
    """(a) RMSE per band at most 1.2 x the DN quantisation error."""
    _, granule, lattice, *_ = world
    for place, name in enumerate(NAMES):
        dn = granule.bands[name].data
        radiance = dn_to_radiance(
            dn[None], [granule.radiance_scale[place]], [granule.radiance_offset[place]]
        )
        got = remove_atmosphere(radiance, *([AIR[c][place]] for c in ("xa", "xb", "xc")))[0]
        use = (dn > 0) & (dn < 255) & np.isfinite(lattice[name])
        assert use.mean() > 0.3
        error = (got - lattice[name])[use].astype(float)
        assert np.sqrt((error**2).mean()) < 1.2 * rounding_error(place, granule), name
        assert abs(error.mean()) < 0.1 * rounding_error(place, granule), name


def test_warped_against_the_truth_through_the_same_kernel(world):
    """(b) Two roundings (file and tile) of which the warp averages the first: below 1.45 x one."""
    made, granule, lattice, _, frame, row = world
    transform = frame.transform(made["tile_x"], made["tile_y"])
    swir = granule.bands[NAMES[3]]
    rows, cols = pixel_coordinates(frame.crs, transform, frame.shape, swir.crs, swir.transform)
    window = blob.decode(row["flags"])
    place_in_tile = np.s_[
        row["row0"] : row["row0"] + window.shape[0], row["col0"] : row["col0"] + window.shape[1]
    ]
    valid = (window & (flags.NOT_OBSERVED | flags.SATURATED)) == 0
    assert valid.mean() > 0.5
    got = recovered(np.stack([blob.decode(row[name]) for name in NAMES]), granule)
    for place, name in enumerate(NAMES):
        true = lattice[name].astype(float)
        if granule.bands[name].transform[0] != swir.transform[0]:
            true = smoothed(true, swir.data.shape)
        true = bilinear_float(true, rows[place_in_tile], cols[place_in_tile])
        error = (got[place] - true)[valid & np.isfinite(true)].astype(float)
        assert np.sqrt((error**2).mean()) < 1.45 * rounding_error(place, granule), name


def smoothed(fine, shape):
    """1-2-1 on each axis about every second pixel: the test's own two lines of it."""
    padded = np.pad(fine, 1, constant_values=np.nan)
    line = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    both = (line[:, :-2] + 2 * line[:, 1:-1] + line[:, 2:]) / 4
    out = np.full(shape, np.nan)
    part = both[::2, ::2][: shape[0], : shape[1]]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def test_registration(world):
    """Under 0.2 px for every band, under 0.1 px between VNIR and SWIR."""
    *_, truth, frame, row = world
    window = blob.decode(row["flags"])
    place = np.s_[
        row["row0"] : row["row0"] + window.shape[0], row["col0"] : row["col0"] + window.shape[1]
    ]
    shifts = []
    for number, name in enumerate(NAMES):
        dn = np.zeros(frame.shape)
        dn[place] = blob.decode(row[name])
        shift = best_shift(dn, truth["reflectance"][number], (dn > 0) & (dn < 255))
        assert np.hypot(*shift) < 0.2, (name, shift)
        shifts.append(shift)
    between = np.mean(shifts[:3], axis=0) - np.mean(shifts[3:], axis=0)
    assert np.hypot(*between) < 0.1
