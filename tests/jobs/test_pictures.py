"""Pictures: right size, not blank, grey where there is no value, the same bytes each time."""

import sys

import numpy as np
import pytest

from geoquarry.jobs.demo import demo
from geoquarry.jobs.pictures import (
    GREY,
    draw_false_colour,
    draw_index,
    draw_pair,
    false_colour,
    stretch_of,
)
from geoquarry.schemas.errors import UsageError

image = pytest.importorskip("matplotlib.image", reason="pictures need the extra [demo]")


def scene(size=64):
    """Three bands of gradients with a square hole in the middle."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    bands = np.stack([x, y, 1 - x])
    bands[:, size // 4 : size // 2, size // 4 : size // 2] = np.nan
    return bands


def colours(path):
    """Distinct colours of a PNG, and its shape."""
    picture = image.imread(path)
    return len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)), picture.shape


def share(path, rgb):
    picture = image.imread(path)[..., :3]
    return float((np.abs(picture - np.array(rgb)).max(axis=-1) < 0.01).mean())


def test_a_stretch_by_percentiles_ignores_what_is_missing():
    bands = np.full((3, 10, 10), np.nan)
    bands[0].flat[:] = np.arange(100)
    bands[1, 0, :2] = 5, 5
    low, high = stretch_of(bands)[0]
    assert (low, high) == pytest.approx((1.98, 97.02))
    assert stretch_of(bands)[1:] == [(5, 6), (0, 1)]
    picture = false_colour(bands)
    assert picture.shape == (10, 10, 3)
    assert (picture == np.array(GREY, np.float32)).all()  # no pixel has all three


def test_false_colour_maps_limits_to_black_and_full():
    bands = np.array([[[0.0, 1.0, 2.0, 3.0]]] * 3)
    np.testing.assert_array_equal(false_colour(bands, [(1, 2)] * 3)[0, :, 0], [0, 0, 1, 1])
    with pytest.raises(UsageError, match="three bands"):
        false_colour(bands[:2])


def test_pictures_are_drawn(tmp_path):
    bands = scene()
    draw_false_colour(tmp_path / "a.png", *bands, title="False colour", pixel_m=30)
    count, shape = colours(tmp_path / "a.png")
    assert count > 500
    assert min(shape[:2]) > 400
    # The hole is a sixteenth of the map, and the map most of the picture.
    assert 0.03 < share(tmp_path / "a.png", GREY) < 0.0625


def test_a_pair_is_twice_as_wide(tmp_path):
    bands = scene()
    draw_pair(tmp_path / "new" / "b.png", (200 * bands, "before"), (bands, "after"))
    count, shape = colours(tmp_path / "new" / "b.png")
    assert count > 500
    assert shape[1] > 1.5 * shape[0]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["b.png"]


def test_an_index_map_has_its_own_colours_and_limits(tmp_path):
    values = scene()[0]
    for name, limits in {"free": {}, "low": {"vmin": 5, "vmax": 9}}.items():
        path = tmp_path / f"{name}.png"
        draw_index(
            path, values, title="An index", legend="(x + y) / z\nmeaning", unit="1", **limits
        )
        assert colours(path)[0] > 100
        assert share(path, GREY) > 0.03
    purple = (0.267, 0.005, 0.329)
    assert share(tmp_path / "low.png", purple) > 0.3 > share(tmp_path / "free.png", purple)


def test_a_map_without_values_says_so(tmp_path):
    draw_index(tmp_path / "a.png", np.full((8, 8), np.nan), title="Nothing", legend="x")
    assert share(tmp_path / "a.png", GREY) > 0.3


def test_equal_maps_give_equal_files(tmp_path):
    for name in "ab":
        draw_index(tmp_path / f"{name}.png", scene()[1], title="t", legend="x")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_window_and_no_state_is_left(tmp_path):
    """Nothing may ask for a display or keep figures alive."""
    before = "matplotlib.pyplot" in sys.modules
    draw_index(tmp_path / "a.png", scene()[0], title="t", legend="x")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_maps_are_of_one_size_whatever_their_legends(tmp_path):
    """The frame of a map, by the rows and columns of its pixels in the picture."""
    places = set()
    for number, legend in enumerate(("x", "x\n" + "a long meaning " * 16)):
        path = tmp_path / f"{number}.png"
        draw_index(path, np.full((64, 64), np.nan), title="t", legend=legend)
        grey = np.abs(image.imread(path)[..., :3] - np.array(GREY)).max(axis=-1) < 0.01
        rows = np.flatnonzero(grey.sum(axis=1) > 200)
        places.add((rows[0], rows[-1]))
        assert rows[0] < 60
    assert len(places) == 1


def test_without_matplotlib_a_demo_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install '.\[demo\]'"):
        demo(tmp_path / "demo", size=32, scenes=1)
    assert not (tmp_path / "demo").exists()
