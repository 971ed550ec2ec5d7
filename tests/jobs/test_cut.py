"""Granules to rows: nothing moves, nothing is invented, and only touched tiles get a row."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage
from yardstick import best_shift

from geoquarry.engine.frame import pixel_coordinates, project_points
from geoquarry.engine.readers import reader
from geoquarry.jobs.cut import Lattice, cut, rows_of, tiles_of, to_lattice
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.granule import Raster
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor

GRID = grid("res-30_tilesize-96")
NAMES = sensor("aster_l1t").names


def full(row, name, fill=0):
    """One band of a row on the whole tile."""
    window = blob.decode(row[name])
    out = np.full(GRID.shape, fill, window.dtype)
    out[
        row["row0"] : row["row0"] + window.shape[0], row["col0"] : row["col0"] + window.shape[1]
    ] = window
    return out


@pytest.fixture(scope="module")
def scenes(s96):
    """(site, truth, granule) of the six shared scenes."""
    found = []
    for site in json.loads((s96 / "scenes.json").read_text())["sites"]:
        truth = np.load(s96 / f"truth_{site['site']}.npz")
        for item in site["granules"]:
            found.append((site, truth, reader("aster_l1t").read(s96 / item["file"])))
    return found


def test_registration_against_the_truth(scenes):
    """Under 0.2 px for every band, under 0.1 px between VNIR and SWIR, both hemispheres."""
    for site, truth, granule in scenes:
        row = cut(granule, to_lattice(granule), GRID, *site["tile_index"])
        shifts = {}
        for place, name in enumerate(NAMES):
            dn = full(row, name)
            good = (dn > 0) & (dn < 255)
            shifts[name] = best_shift(dn, truth["reflectance"][place], good, truth["elevation"])
            assert np.hypot(*shifts[name]) < 0.2, (granule.granule_id, name, shifts[name])
        vnir = np.mean([shifts[name] for name in NAMES[:3]], axis=0)
        swir = np.mean([shifts[name] for name in NAMES[3:]], axis=0)
        assert np.hypot(*(vnir - swir)) < 0.1, (granule.granule_id, vnir, swir)


def test_the_yardstick_sees_a_shift(scenes):
    """A granule moved by half a pixel on the ground must fail the test above."""
    site, truth, granule = scenes[0]
    moved = {}
    for name, band in granule.bands.items():
        a, b, c, d, e, f = band.transform
        moved[name] = Raster(band.data, (a, b, c + 15.0, d, e, f - 15.0), band.crs)
    row = cut(
        granule, to_lattice(dataclasses.replace(granule, bands=moved)), GRID, *site["tile_index"]
    )
    dn = full(row, "b05")
    shift = best_shift(dn, truth["reflectance"][4], (dn > 0) & (dn < 255), truth["elevation"])
    # 15 m on the ground at latitude 32.8 = 17.8 m on the map = 0.59 px.
    assert shift == pytest.approx([0.59, 0.59], abs=0.1)


def test_a_pixel_counts_for_all_bands_or_for_none(scenes):
    for _, _, granule in scenes:
        for row in rows_of(granule, to_lattice(granule), GRID):
            valid = (blob.decode(row["flags"]) & flags.NOT_OBSERVED) == 0
            assert valid.any()
            for name in NAMES:
                np.testing.assert_array_equal(blob.decode(row[name]) != 0, valid)
            assert row["valid_fraction"] == valid.sum() / 96**2


def test_rows_know_the_sky_of_the_whole_granule(scenes):
    """Distance and cloud fraction are those of the granule, not of the part that a tile has."""
    for _, _, granule in scenes:
        lattice = to_lattice(granule)
        bits = lattice.flags
        usable = (bits & flags.NOT_OBSERVED) == 0
        cloudy = (usable & ((bits & flags.CLOUD) != 0)).sum() / usable.sum()
        troubled = (bits & (flags.NOT_OBSERVED | flags.CLOUD | flags.SHADOW)) != 0
        far = ndimage.distance_transform_edt(~np.pad(troubled, 1, constant_values=True)) * 30
        for row in rows_of(granule, lattice, GRID):
            assert row["granule_cloud_fraction"] == cloudy
            transform = GRID.transform(row["tile_x"], row["tile_y"])
            a, b, c, d, e, f = transform
            centres = (8 * a, b, c, d, 8 * e, f)  # regions of 8 x 8 pixels
            at = pixel_coordinates(
                GRID.crs, centres, (12, 12), lattice.crs, lattice.transform, step=1
            )
            r, k = (np.rint(place).astype(int) for place in at)
            inside = (r >= 0) & (r < bits.shape[0]) & (k >= 0) & (k < bits.shape[1])
            expected = np.where(inside, far[1:-1, 1:-1][r * inside, k * inside], 0)
            found = blob.decode(row["clear_distance"]) * 50.0
            assert found.shape == (12, 12)
            assert np.abs(found - expected).max() <= 30 * np.hypot(6, 6) + 50
            assert (found[~inside] == 0).all()


def test_one_place_is_as_far_from_a_cloud_in_every_tile(scenes):
    _, _, granule = scenes[1]
    lattice = to_lattice(granule)
    big, compared = grid("res-30_tilesize-192"), 0
    for small in rows_of(granule, lattice, GRID):
        key = small["tile_x"] // 2, small["tile_y"] // 2
        if GRID.bounds(2 * key[0], 2 * key[1])[:1] != big.bounds(*key)[:1]:
            continue
        large = cut(granule, lattice, big, *key)
        row, col = 12 * (small["tile_y"] % 2), 12 * (small["tile_x"] % 2)
        theirs = blob.decode(large["clear_distance"])[row : row + 12, col : col + 12]
        # A rounding of coordinates may take the cell next door.
        assert (blob.decode(small["clear_distance"]) != theirs).mean() < 0.02
        compared += 1
    assert compared >= 2


def test_only_tiles_with_usable_pixels_get_a_row(scenes):
    _, _, granule = scenes[0]
    lattice = to_lattice(granule)
    candidates = set(tiles_of(lattice, GRID))
    rows = {(row["tile_x"], row["tile_y"]) for row in rows_of(granule, lattice, GRID)}
    assert rows < candidates  # a rotated footprint leaves corners of its box empty
    for tile in candidates - rows:
        assert cut(granule, lattice, GRID, *tile) is None


def test_seams_between_tiles_are_seamless(scenes):
    """Cut as one tile of 192 px or as four of 96 px: the same pixels."""
    _, _, granule = scenes[0]
    lattice = to_lattice(granule)
    big = grid("res-30_tilesize-192")
    span = big.resolution_m * big.tile_size
    compared = 0
    for small in rows_of(granule, lattice, GRID):
        left, _, _, top = GRID.bounds(small["tile_x"], small["tile_y"])
        key = (
            int((left + big.half_width_m) // span),
            int((big.half_width_m - top) // span),
        )
        large = cut(granule, lattice, big, *key)
        col = int((left + big.half_width_m) % span // 30)
        row = int((big.half_width_m - top) % span // 30)
        whole = np.zeros(big.shape, np.uint8)
        window = blob.decode(large["b04"])
        whole[
            large["row0"] : large["row0"] + window.shape[0],
            large["col0"] : large["col0"] + window.shape[1],
        ] = window
        ours, theirs = full(small, "b04").astype(int), whole[row : row + 96, col : col + 96]
        # Coordinates are interpolated from another lattice of exact points: a rounding here and
        # there, never more than one count.
        assert np.abs(ours - theirs)[(ours > 0) & (theirs > 0)].max() <= 1
        assert ((ours > 0) != (theirs > 0)).mean() < 0.002
        compared += 1
    assert compared >= 4


def test_lattices_that_do_not_share_centres_are_refused(scenes):
    _, _, granule = scenes[0]
    band = granule.bands["b01"]
    a, b, c, d, e, f = band.transform
    bands = {**granule.bands, "b01": Raster(band.data, (a, b, c + 7.5, d, e, f), band.crs)}
    with pytest.raises(InputError, match=r"b01.*share centres"):
        to_lattice(dataclasses.replace(granule, bands=bands))


def test_a_failed_detector_leaves_the_other_bands_usable(scenes):
    """Dead lines of a band that must not be used anyway cost the others nothing."""
    site, _, granule = scenes[0]
    whole = cut(granule, to_lattice(granule), GRID, *site["tile_index"])
    bands = dict(granule.bands)
    dead = bands["b05"].data.copy()
    dead[40:60] = 0
    bands["b05"] = Raster(dead, bands["b05"].transform, bands["b05"].crs)
    broken = dataclasses.replace(granule, bands=bands, unreliable_bands=frozenset(NAMES[3:]))
    row = cut(broken, to_lattice(broken), GRID, *site["tile_index"])
    bits = blob.decode(row["flags"])
    observed = (bits & flags.NOT_OBSERVED) == 0
    assert ((bits[observed] & flags.SWIR_UNRELIABLE) != 0).all()
    assert row["valid_fraction"] >= whole["valid_fraction"]
    np.testing.assert_array_equal(blob.decode(row["b02"]) != 0, observed)


@pytest.mark.parametrize("latitude_deg", [-17.0, 0.0, 65.0])
def test_a_granule_across_180_degrees_has_few_tiles(latitude_deg):
    """Both sides of the seam, and nothing in between."""
    south = latitude_deg < 0
    crs = "EPSG:32760" if south else "EPSG:32660"
    x, y = project_points([179.99], [latitude_deg], "EPSG:4326", crs)
    frame = (30.0, 0.0, float(x[0]), 0.0, -30.0, float(y[0]))
    lattice = Lattice([], np.zeros((200, 200), np.uint16), frame, crs)
    big = grid("webmercator-30m-1024")
    tiles = tiles_of(lattice, big)
    assert {x for x, _ in tiles} == {0, big.tile_count - 1}
    assert len(tiles) <= 6
