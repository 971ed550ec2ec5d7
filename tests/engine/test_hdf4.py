"""HDF4 files: windows come back whole, damage is named."""

from pathlib import Path

import numpy as np
import pytest
from pyhdf.SD import SD, SDC

from geoquarry.engine.hdf4 import Hdf4
from geoquarry.schemas.errors import InputError


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two datasets and a global attribute."""
    path = tmp_path / "small.hdf"
    file = SD(str(path), SDC.WRITE | SDC.CREATE)
    file.attr("title").set(SDC.CHAR8, "hello")
    cube = file.create("cube", SDC.INT16, (2, 3, 4))
    cube.attr("_FillValue").set(SDC.INT16, -5)
    cube[:] = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    cube.endaccess()
    line = file.create("line", SDC.UINT8, (5,))
    line[:] = np.arange(5, dtype=np.uint8)
    line.endaccess()
    file.end()
    return path


def test_windows_keep_every_axis(small):
    with Hdf4(small) as file:
        assert file.shapes() == {"cube": (2, 3, 4), "line": (5,)}
        np.testing.assert_array_equal(
            file.read("cube", (slice(1, 2), slice(0, 3))), np.arange(12, 24).reshape(1, 3, 4)
        )
        assert file.read("cube", (slice(0, 2), slice(2, 3), slice(3, 4))).shape == (2, 1, 1)
        assert file.read("cube", (slice(2, 2),)).shape == (0, 3, 4)
        assert file.read("line").tolist() == [0, 1, 2, 3, 4]
        assert file.attributes()["title"] == "hello"
        assert file.dataset_attributes("cube")["_FillValue"] == -5


def test_unknown_dataset_lists_the_known(small):
    with Hdf4(small) as file, pytest.raises(InputError, match=r"no dataset 'cub'.*cube, line"):
        file.read("cub")


def test_what_is_not_hdf4_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.hdf: no such file"):
        Hdf4(tmp_path / "none.hdf")
    other = tmp_path / "page.hdf"
    other.write_text("<html>login</html>")
    with pytest.raises(InputError, match=r"page\.hdf: not an HDF4 file"):
        Hdf4(other)
    other.write_bytes(b"")
    with pytest.raises(InputError, match="not an HDF4 file"):
        Hdf4(other)


@pytest.mark.parametrize("kept", [4, 9, 100, 0.3, 0.9, -2])
def test_a_cut_file_is_named_at_any_length(small, kept):
    whole = small.read_bytes()
    size = round(kept * len(whole)) if isinstance(kept, float) else kept
    small.write_bytes(whole[:size])
    with pytest.raises(InputError, match=r"small\.hdf: truncated"):
        Hdf4(small)


def test_the_lock_is_free_after_an_error(small):
    with pytest.raises(RuntimeError), Hdf4(small):
        raise RuntimeError
    with Hdf4(small) as file:
        assert file.read("line").size == 5


def test_real_files_pass(shared):
    for path in [*shared.glob("data/modis/*.hdf"), *shared.glob("scenes/s96/*.hdf")]:
        with Hdf4(path) as file:
            assert file.shapes()
