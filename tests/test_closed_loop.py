"""What the simulator put in comes out again: counts, warp and geometry, at three latitudes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from loop import AIR, NAMES, recovered, rounding_error, smoothed
from yardstick import best_shift

from geoquarry.engine.frame import pixel_coordinates
from geoquarry.engine.readers import reader
from geoquarry.jobs.cut import cut, to_lattice
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob, flags
from geoquarry.schemas.grid import grid
from geoquarry.udfs.atmosphere import remove_atmosphere
from geoquarry.udfs.radiometry import dn_to_radiance
from geoquarry.udfs.warp import bilinear_float


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


def test_the_benchmark_of_this_page_needs_no_pytest():
    """Whoever installs `.[demo]` can print the figures of docs/accuracy.md."""
    folder = Path(__file__).parents[1] / "benchmarks"
    code = (
        "import sys; sys.modules['pytest'] = None; sys.argv = ['accuracy.py', '--help']; "
        f"sys.path.insert(0, {str(folder)!r}); import accuracy; accuracy.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--demo" in done.stdout
