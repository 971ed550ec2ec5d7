"""GeoTIFF and COG: what is written is read back, and an error leaves nothing."""

import numpy as np
import pytest
import rasterio

from geoquarry.engine.geotiff import BandTag, Mosaic, write_geotiff
from geoquarry.schemas.errors import TableError
from geoquarry.schemas.grid import grid

GRID = grid("webmercator-30m-1024")
PLACE = {"transform": GRID.transform(260, 526), "crs": GRID.crs}


def bands(size, dtype):
    values = np.random.default_rng(3).integers(0, 200, (2, size, size)).astype(dtype)
    return list(values)


@pytest.mark.parametrize("cog", [True, False])
@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -32768), ("uint8", 0), ("float32", np.nan)]
)
def test_what_is_written_is_read_back(tmp_path, cog, dtype, nodata):
    rasters = bands(96, dtype)
    path = write_geotiff(
        tmp_path / "new" / "a.tif",
        rasters,
        **PLACE,
        descriptions=["one", "zwei"],
        scales=[1e-4, 0.5],
        offsets=[0.0, -0.5],
        units=["1", "W m-2 sr-1 um-1"],
        nodata=nodata,
        tags={"MESSAGE": "not crosstalk-corrected"},
        cog=cog,
    )
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), np.stack(rasters))
        assert file.descriptions == ("one", "zwei")
        assert (file.scales, file.offsets) == ((1e-4, 0.5), (0.0, -0.5))
        assert file.units == ("1", "W m-2 sr-1 um-1")
        np.testing.assert_equal(file.nodata, nodata)
        assert file.crs.to_epsg() == 3857
        assert tuple(file.transform)[:6] == GRID.transform(260, 526)
        assert file.tags()["MESSAGE"] == "not crosstalk-corrected"
        assert file.compression.name.lower() == "deflate"
    assert [p.name for p in path.parent.iterdir()] == ["a.tif"]


def test_a_cog_has_overviews_that_skip_nodata(tmp_path):
    raster = np.full((1024, 1024), 100, np.int16)
    raster[::2] = -32768
    path = write_geotiff(
        tmp_path / "a.tif",
        [raster],
        **PLACE,
        descriptions=["x"],
        nodata=-32768,
        overviews="average",
    )
    with rasterio.open(path) as file:
        assert tuple(file.bounds) == GRID.bounds(260, 526)
        assert file.overviews(1) == [2]
        assert (file.read(1, out_shape=(512, 512)) == 100).all()


@pytest.mark.parametrize("cog", [True, False])
@pytest.mark.parametrize("size", [96, 100])
def test_a_mosaic_is_written_in_parts(tmp_path, cog, size):
    part = bands(size, "int16")
    with Mosaic(
        tmp_path / "m.tif",
        height=2 * size,
        width=3 * size,
        dtype="int16",
        bands=[BandTag("a", 1e-4), BandTag("b")],
        nodata=-1,
        cog=cog,
        part_size=size,
        **PLACE,
    ) as out:
        out.add(0, size, part)
        out.add(size, 2 * size, part[::-1])
        out.tags["TILES"] = "2"
    with rasterio.open(tmp_path / "m.tif") as file:
        whole = file.read()
        assert file.tags()["TILES"] == "2"
        assert file.scales == (1e-4, 1.0)
    expected = np.full((2, 2 * size, 3 * size), -1, np.int16)
    expected[:, :size, size : 2 * size] = part
    expected[:, size:, 2 * size :] = part[::-1]
    np.testing.assert_array_equal(whole, expected)


def test_a_large_sparse_mosaic_costs_little(tmp_path):
    """A quarter of a billion pixels with one tile in them: the file holds one tile."""
    with Mosaic(
        tmp_path / "m.tif", height=16384, width=16384, dtype="int16", bands=[BandTag("a")],
        nodata=-1, cog=False, part_size=1024, **PLACE,
    ) as out:  # fmt: skip
        out.add(1024, 15360, [np.ones((1024, 1024), np.int16)])
    assert (tmp_path / "m.tif").stat().st_size < 200_000


@pytest.mark.parametrize("cog", [True, False])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, cog):
    path = write_geotiff(tmp_path / "a.tif", bands(32, "uint8"), **PLACE, descriptions="ab")
    before = path.read_bytes()
    with (
        pytest.raises(KeyError),
        Mosaic(
            path, height=32, width=32, dtype="uint8", bands=[BandTag("a")], cog=cog, **PLACE
        ) as out,
    ):
        out.add(0, 0, {}["no such band"])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_bands_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"one dtype and shape; got int16 \(32, 32\), uint8"):
        write_geotiff(
            tmp_path / "a.tif",
            [bands(32, "int16")[0], bands(32, "uint8")[0]],
            **PLACE,
            descriptions="ab",
        )
    with pytest.raises(TableError, match="2 bands need 2 descriptions"):
        write_geotiff(tmp_path / "a.tif", bands(32, "int16"), **PLACE, descriptions="a")
    with (
        pytest.raises(TableError, match="at row 0, column 8"),
        Mosaic(
            tmp_path / "a.tif", height=32, width=32, dtype="int16", bands=[BandTag("")] * 2, **PLACE
        ) as out,
    ):
        out.add(0, 8, bands(32, "int16"))
    assert not list(tmp_path.iterdir())
