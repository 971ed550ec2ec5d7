"""Files of a table: pixels, place, scale, tags; and what is left out is said."""

from argparse import Namespace

import numpy as np
import pytest
import rasterio

from geoquarry.jobs import export as job
from geoquarry.jobs.export import export
from geoquarry.schemas import blob, flags
from geoquarry.schemas.errors import TableError, UsageError
from geoquarry.schemas.grid import grid

GRID = grid("res-30_tilesize-32")


def quiet(_):
    """Tells nobody."""


@pytest.mark.parametrize("format", ["cog", "geotiff"])
def test_one_file_per_tile(engine, results, stored, tmp_path, format):
    left_out = {"empty": [], "failed": []}
    paths = export(
        engine,
        results,
        tmp_path,
        format=format,
        on_empty=left_out["empty"].append,
        on_failed=left_out["failed"].append,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps_x3_y5.tif", "maps_x4_y5.tif"]
    assert [len(left_out["empty"]), len(left_out["failed"])] == [1, 1]
    assert "Tile 3,6 left out: failed" in left_out["failed"][0]
    for path, tile in zip(paths, [(3, 5), (4, 5)], strict=True):
        with rasterio.open(path) as file:
            assert tuple(file.bounds) == GRID.bounds(*tile)
            assert file.crs.to_epsg() == 3857
            assert (file.nodata, file.dtypes) == (-32768, ("int16", "int16"))
            assert file.scales == (1e-4, 1e-3)
            assert file.descriptions == ("red: red reflectance", "ratio: a ratio")
            tags = file.tags()
            layout = file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
            assert (layout == "COG") == (format == "cog")
            np.testing.assert_array_equal(file.read(1), stored(tile[0])["red"])
            np.testing.assert_array_equal(file.read(2), stored(tile[0])["ratio"])
            assert file.read(1, masked=True).mask.sum() == 1
        assert tags["GRANULES"] == "A,B"
        assert tags["METHOD"] == "mineral_indices"
        assert "not crosstalk-corrected" in tags["MESSAGE"]
        assert (tags["TILE_X"], tags["TILE_Y"]) == tuple(map(str, tile))


def test_bands_in_the_order_named(engine, results, stored, tmp_path):
    (path,) = export(
        engine, results, tmp_path, bands=["ratio", "red"], tiles=[(3, 5)], on_empty=quiet
    )
    with rasterio.open(path) as file:
        assert file.descriptions == ("ratio: a ratio", "red: red reflectance")
        np.testing.assert_array_equal(file.read(2), stored(3)["red"])


@pytest.mark.parametrize("format", ["cog", "geotiff"])
def test_a_mosaic_has_nodata_where_tiles_are_missing(
    engine, content, results, stored, tmp_path, format
):
    row = content(engine, "maps")[("res-30_tilesize-32", 4, 5)]
    row |= {"tile_x": 3, "tile_y": 6}  # the failed tile comes right; now (4, 6) is missing
    engine.append("maps", [row])
    (path, bits) = export(
        engine, results, tmp_path, format=format, merge=True, with_flags=True, on_empty=quiet
    )
    left, _, _, top = GRID.bounds(3, 5)
    _, bottom, right, _ = GRID.bounds(4, 6)
    with rasterio.open(path) as file:
        assert tuple(file.bounds) == (left, bottom, right, top)
        red = file.read(1)
        assert file.tags()["TILES"] == "3"
        assert file.nodata == -32768
    expected = np.full((64, 64), -32768, np.int16)
    expected[:32, :32], expected[:32, 32:] = stored(3)["red"], stored(4)["red"]
    expected[32:, :32] = stored(4)["red"]
    np.testing.assert_array_equal(red, expected)
    with rasterio.open(bits) as file:
        assert file.dtypes == ("uint16", "uint16")
        assert file.nodata == flags.NOT_OBSERVED  # a tile that is not there is not "clear"
        places = ((0, 0), (0, 40), (40, 40))
        assert [int(file.read(1)[i, j]) for i, j in places] == [4, 5, flags.NOT_OBSERVED]
        assert int(file.read(2)[40, 40]) == flags.NOT_OBSERVED
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.tif", "maps_flags.tif"]


def test_tiles_give_dn_on_the_whole_tile_with_radiance_as_scale(engine, content, tiles, tmp_path):
    paths = export(engine, tiles, tmp_path, with_flags=True)
    assert [p.name for p in paths][2:] == [
        "aster_x3_y5_weird_.._id-0e7cb1d4.tif",
        "aster_x3_y5_weird_.._id-0e7cb1d4_flags.tif",
    ]
    assert all(p.parent == tmp_path for p in paths)
    row = next(iter(content(engine, "aster").values()))
    with rasterio.open(paths[0]) as file:
        assert tuple(file.bounds) == GRID.bounds(3, 5)
        assert (file.count, file.nodata, file.dtypes[0]) == (9, 0, "uint8")
        assert file.scales[2] == row["radiance_scale"][2]
        assert file.offsets[2] == row["radiance_offset"][2]
        assert file.tags()["META"] == row["meta"]
        dn = file.read(3)
    np.testing.assert_array_equal(dn[4:24, 8:32], blob.decode(row["b3n"]))
    dn[4:24, 8:32] = 0
    assert not dn.any()
    with rasterio.open(paths[1]) as file:
        assert file.read(1)[0, 0] == 1 << 15  # outside the window: not observed
        assert file.read(1)[4, 8] == 0


def test_a_damaged_raster_is_listed_and_the_others_go_on(
    engine, content, results, tmp_path, capsys
):
    damaged = content(engine, "maps")[("res-30_tilesize-32", 3, 5)]
    damaged["red"] = damaged["red"][:40]
    engine.append("maps", [damaged])
    args = Namespace(
        table=results,
        dir=tmp_path,
        format="geotiff",
        bands=None,
        merge=False,
        flags=False,
        tiles=None,
        as_of=None,
        explain=False,
        json=False,
    )
    assert job.main(args, engine) == 3
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "maps_x4_y5.tif")
    assert "Tile 3,5 left out: Tile blob is damaged" in said.err
    args.tiles = [(3, 5)]
    assert job.main(args, engine) == 1
    args.tiles, args.merge = None, True
    assert job.main(args, engine) == 3
    with rasterio.open(tmp_path / "maps.tif") as file:
        assert (file.read(1)[:, :32] == -32768).all()


def test_explain_writes_nothing(engine, results, tmp_path, capsys):
    args = Namespace(
        table=results, dir=tmp_path / "out", bands=None, merge=True, flags=True,
        tiles=None, as_of=None, explain=True, json=False,
    )  # fmt: skip
    assert job.main(args, engine) == 0
    assert "files: 2" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_polite_refusals(engine, results, tiles, tmp_path):
    with pytest.raises(UsageError, match=r"no band 'green'.*red, ratio"):
        export(engine, results, tmp_path, bands=["green"])
    with pytest.raises(UsageError, match="several granules per tile"):
        export(engine, tiles, tmp_path, merge=True)
    with pytest.raises(UsageError, match="No format 'png'"):
        export(engine, results, tmp_path, format="png")
    with pytest.raises(TableError, match="has no rows there"):
        export(engine, results, tmp_path, tiles=[(0, 0)])
    assert not list(tmp_path.iterdir())
