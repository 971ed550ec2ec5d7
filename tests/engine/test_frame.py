"""Places between frames: exact to a hundredth pixel, and boxes that hold their points."""

import numpy as np
import pytest

from geoquarry.engine.frame import outline, pixel_coordinates, project_bounds, project_points
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import grid

FRAME = ("EPSG:32612", (30.0, 0.0, 500_000.0, 0.0, -30.0, 3_600_000.0), (20, 30))


@pytest.mark.parametrize(
    ("latitude", "zone"), [(0.0, "EPSG:32612"), (32.0, "EPSG:32612"), (60.0, "EPSG:32612")]
)
@pytest.mark.parametrize("size", [1024, 97])
def test_interpolated_places_are_exact_to_a_hundredth_pixel(latitude, zone, size):
    squares = grid(f"res-30_tilesize-{size}")
    # A tile off the central meridian, where the frames are turned against each other.
    (x,), (y,) = project_points([-108.5], [latitude], "EPSG:4326", squares.crs)
    key = next(squares.tiles(x, y, x + 1, y + 1))
    frame = (squares.crs, squares.transform(*key), squares.shape)
    left, _, _, top = project_bounds(squares.bounds(*key), squares.crs, zone)
    granule = (15.0, 0.0, left, 0.0, -15.0, top)
    rows, columns = pixel_coordinates(*frame, zone, granule)
    assert rows.shape == columns.shape == squares.shape
    assert rows.dtype == np.float64
    a, _, c, _, e, f = frame[1]
    pick = np.unique(np.append(np.arange(0, size, 7), [8, 24, size - 9, size - 1]))
    r, k = np.meshgrid(pick, pick, indexing="ij")
    gx, gy = project_points(c + a * (k + 0.5), f + e * (r + 0.5), squares.crs, zone)
    assert np.abs((gx - left) / 15 - 0.5 - columns[r, k]).max() < 0.01
    assert np.abs((top - gy) / 15 - 0.5 - rows[r, k]).max() < 0.01


def test_row_zero_is_the_centre_of_the_first_row():
    rows, columns = pixel_coordinates(*FRAME, FRAME[0], FRAME[1])
    np.testing.assert_allclose(rows, np.arange(20)[:, None] + np.zeros(30), atol=1e-6)
    np.testing.assert_allclose(columns, np.arange(30) + np.zeros((20, 1)), atol=1e-6)
    rows, columns = pixel_coordinates(
        FRAME[0], FRAME[1], (1, 1), FRAME[0], (15.0, 0.0, 500_000.0, 0.0, -15.0, 3_600_000.0)
    )
    assert (rows.item(), columns.item()) == pytest.approx((0.5, 0.5), abs=1e-6)


def test_a_step_of_one_projects_each_pixel():
    frame = ("EPSG:3857", (30.0, 0.0, -12_031_095.0, 0.0, -30.0, 3_869_175.0), (40, 33))
    granule = (15.0, 0.0, 770_000.0, 0.0, -15.0, 3_640_000.0)
    exact = pixel_coordinates(*frame, "EPSG:32612", granule, step=1)
    quick = pixel_coordinates(*frame, "EPSG:32612", granule)
    np.testing.assert_allclose(exact, quick, atol=1e-3)


def test_equator_straddling_frame_projects_with_negative_northings():
    (_,), (y,) = project_points([400_000.0], [-60.0], "EPSG:32612", "EPSG:4326")
    assert y == pytest.approx(-0.00054, abs=1e-5)
    (_,), (south,) = project_points([400_000.0], [9_999_940.0], "EPSG:32712", "EPSG:4326")
    assert south == pytest.approx(y, abs=1e-9)


def test_boxes_hold_their_points():
    bounds = (450_000.0, 6_600_000.0, 560_000.0, 6_700_000.0)  # edges bow at 60 degrees
    box = project_bounds(bounds, "EPSG:32612", "EPSG:3857")
    x, y = outline((110_000.0, 0.0, bounds[0], 0.0, -100_000.0, bounds[3]), (1, 1), steps=50)
    px, py = project_points(x, y, "EPSG:32612", "EPSG:3857")
    assert box[0] <= px.min() + 5
    assert px.max() - 5 <= box[2]
    assert box[1] <= py.min() + 5
    assert py.max() - 5 <= box[3]
    with pytest.raises(InputError, match="not known to PROJ"):
        project_bounds(bounds, "EPSG:1", "EPSG:3857")
