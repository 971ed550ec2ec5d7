"""MODIS ancillary files: which orbit, which pixels, what is fill, where a pixel lies."""

import math
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
from pyhdf.SD import SD, SDC
from rasterio.transform import Affine

from geoquarry.engine import modis
from geoquarry.engine.frame import pixel_coordinates, project_bounds
from geoquarry.engine.sinusoidal import RADIUS_M, SINUSOIDAL, grid_of
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import grid

SIZE = 120
PIXEL = 926.625433056
LEFT, TOP = -PIXEL * 60, PIXEL * 60  # around (0, 0), where longitude and latitude are alike
DEGREE = math.degrees(PIXEL / RADIUS_M)
NOON = datetime(2006, 6, 18, 10, 30, tzinfo=UTC)
FILL = -28672


def structure(names, *, left=LEFT, top=TOP, size=SIZE, pixel=PIXEL, projection="GCTP_SNSOID"):
    fields = "".join(
        f'OBJECT=DataField_{n}\n DataFieldName="{name}"\nEND_OBJECT=DataField_{n}\n'
        for n, name in enumerate(names, start=1)
    )
    right, bottom = left + size * pixel, top - size * pixel
    return (
        "GROUP=GridStructure\nGROUP=GRID_1\n"
        f"XDim={size}\nYDim={size}\nUpperLeftPointMtrs=({left:.6f},{top:.6f})\n"
        f"LowerRightMtrs=({right:.6f},{bottom:.6f})\nProjection={projection}\n"
        f"GROUP=DataField\n{fields}END_GROUP=DataField\nEND_GROUP=GRID_1\n"
        "END_GROUP=GridStructure\nEND\n"
    ).ljust(32000, "\0")


def tile(tmp_path, layers, *, stamps=None, quality=None, vapour=None, name="a.hdf", **where):
    """An MCD19A2 look-alike; each layer is a number or an array of stored values."""

    def cube(values, dtype):
        full = [np.broadcast_to(np.asarray(v), (SIZE, SIZE)) for v in values]
        return np.stack(full).astype(dtype)

    path = tmp_path / name
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    sets = {"Optical_Depth_055": (cube(layers, np.int16), 5000)}
    if vapour is not None:
        sets["Column_WV"] = (cube(vapour, np.int16), 30000)
    file.attr("StructMetadata.0").set(SDC.CHAR8, structure([*sets, "AOD_QA"], **where))
    if stamps:
        file.attr("Orbit_time_stamp").set(SDC.CHAR8, stamps)
    for key, (values, high) in sets.items():
        data = file.create(key, SDC.INT16, values.shape)
        data.attr("_FillValue").set(SDC.INT16, FILL)
        data.attr("scale_factor").set(SDC.FLOAT64, 0.001)
        data.attr("add_offset").set(SDC.FLOAT64, 0.0)
        data.attr("valid_range").set(SDC.INT16, [-100, high])
        data[:] = values
        data.endaccess()
    if quality is not None:
        data = file.create("AOD_QA", SDC.UINT16, (len(layers), SIZE, SIZE))
        data[:] = cube(quality, np.uint16)
        data.endaccess()
    file.end()
    return path


class Found(NamedTuple):
    aod550: float
    water: float
    source: str


def ask(paths, place=(0.0, 0.0)):
    """What stands at one place (longitude, latitude)."""
    field = modis.read_aerosol(
        paths, longitude_deg=place[0], latitude_deg=place[1], acquired=NOON, dem=0.0
    )
    aod, _, water = field.at(*place)
    return Found(float(aod), float(water), field.source)


def test_the_terra_orbit_nearest_in_time_is_taken(tmp_path):
    stamps = "20061690850T  20061691015T  20061691029A  20061691330A   "
    found = ask(tile(tmp_path, [100, 200, 300, 400], stamps=stamps))
    assert found.aod550 == pytest.approx(0.2)
    assert "Terra 2006-06-18T10:15Z" in found.source


def test_aqua_serves_when_terra_saw_nothing(tmp_path):
    stamps = "20061691015T 20061691330A 20061691200A"
    found = ask(tile(tmp_path, [FILL, 300, 250], stamps=stamps))
    assert found.aod550 == pytest.approx(0.25)
    assert "Aqua 2006-06-18T12:00Z" in found.source
    assert "Terra" not in found.source


def test_only_best_quality_counts(tmp_path):
    middle = SIZE // 2
    layer = np.full((SIZE, SIZE), 100)
    layer[:, middle:] = 900
    quality = np.zeros((SIZE, SIZE), int)
    quality[:, middle:] = 0b0101 << 8
    quality[:, :middle] = 0b1111_0000_1111_1111  # other bits do not matter
    found = ask(tile(tmp_path, [layer], stamps="20061691015T", quality=[quality]))
    assert found.aod550 == pytest.approx(0.1)
    assert "best quality" in found.source


def test_small_negatives_are_zero_and_invalid_values_are_left_out(tmp_path):
    layer = np.full((SIZE, SIZE), -50)
    layer[:, 60:] = 100
    layer[:60, :] = np.where(layer[:60] == -50, -101, 5001)  # both out of range
    found = ask(tile(tmp_path, [layer], stamps="20061691015T"))
    assert found.aod550 == pytest.approx(0.05)  # half 0, half 0.1


def test_empty_places_look_50_km_around_then_at_other_orbits(tmp_path):
    near, far = np.full((SIZE, SIZE), FILL), np.full((SIZE, SIZE), FILL)
    near[60, 60 + 40] = 333  # 37 km east
    found = ask(tile(tmp_path, [near, 500], stamps="20061691015T 20061691330A"))
    assert found.aod550 == pytest.approx(0.333)
    far[60, 60 + 58] = 333  # 54 km
    found = ask(tile(tmp_path, [far, 500], stamps="20061691015T 20061691330A"))
    assert found.aod550 == pytest.approx(0.5)
    found = ask(tile(tmp_path, [far], stamps="20061691015T"))
    assert math.isnan(found.aod550)
    assert "no retrieval within 50 km" in found.source


def test_without_orbit_times_all_orbits_are_averaged(tmp_path):
    found = ask(tile(tmp_path, [100, 200, FILL], name="MCD19A2.A2006169.h17v08.hdf"))
    assert found.aod550 == pytest.approx(0.15)
    assert "no Orbit_time_stamp" in found.source
    assert "no AOD_QA" in found.source


def test_the_nearest_day_wins_without_orbit_times(tmp_path):
    paths = [
        tile(tmp_path, [100], name="MCD19A2.A2006160.h17v08.hdf"),
        tile(tmp_path, [200], name="MCD19A2.A2006169.h17v08.hdf"),
    ]
    assert ask(paths).aod550 == pytest.approx(0.2)


def test_two_tiles_make_one_field(tmp_path):
    west = tile(tmp_path, [100], stamps="20061691015T", left=LEFT - 60 * PIXEL, name="w.hdf")
    east = tile(tmp_path, [300], stamps="20061691020T", left=LEFT + 60 * PIXEL, name="e.hdf")
    found = ask([west, east])
    assert found.aod550 == pytest.approx(0.2)
    assert "w.hdf, e.hdf" in found.source
    assert ask(west, (-9 * DEGREE, 0)).aod550 == pytest.approx(0.1)
    off = tile(tmp_path, [300], stamps="20061691020T", left=LEFT + 60.4 * PIXEL, name="off.hdf")
    with pytest.raises(
        InputError, match=r"off\.hdf: its pixels do not lie on the lattice of w\.hdf"
    ):
        ask([west, off])


def test_water_vapour_of_the_same_orbit(tmp_path):
    path = tile(tmp_path, [100, 100], stamps="20061691015T 20061691330A", vapour=[1500, 2500])
    assert ask(path).water == pytest.approx(1.5)
    path = tile(tmp_path, [100], stamps="20061691015T", vapour=[FILL])
    assert math.isnan(ask(path).water)
    assert "water" not in ask(path).source


def test_pixels_lie_where_the_projection_puts_them(tmp_path):
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    far_north = PIXEL * 4800  # near 40 degrees: longitudes shrink by the cosine
    path = tile(tmp_path, [columns * 10 + rows], stamps="20061691015T", top=far_north)
    row, column = 33, 81
    latitude = math.degrees((far_north - (row + 0.5) * PIXEL) / RADIUS_M)
    longitude = math.degrees((LEFT + (column + 0.5) * PIXEL) / RADIUS_M)
    longitude /= math.cos(math.radians(latitude))
    assert ask(path, (longitude, latitude)).aod550 == pytest.approx((column * 10 + row) / 1000)


def test_shared_aerosol_files(s96):
    squares = grid("res-30_tilesize-96")
    for key, name, expected in [
        ((2780, 5614), "MCD19A2.A2006169.h08v05.061.2022278214439.hdf", 0.18171),
        ((4289, 7924), "MCD19A2.A2004170.h11v11.061.2022278214439.hdf", 0.10733),
    ]:
        west, south, east, north = project_bounds(squares.bounds(*key), squares.crs, "EPSG:4326")
        found = ask(s96 / name, ((west + east) / 2, (south + north) / 2))
        # The reference read one pixel to the side and resampled by nearest (note 1).
        assert found.aod550 == pytest.approx(expected, rel=0.05)


def test_wrong_files_are_named(tmp_path, shared):
    with pytest.raises(InputError, match=r"MOD09A1.*no dataset Optical_Depth_055"):
        ask(next((shared / "data/modis").glob("MOD09A1*")))
    with pytest.raises(InputError, match="projection 'GCTP_GEO'"):
        ask(tile(tmp_path, [1], stamps="20061691015T", projection="GCTP_GEO"))
    cut = tile(tmp_path, [1], name="cut.hdf")
    cut.write_bytes(cut.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"cut\.hdf: truncated"):
        ask(cut)
    with pytest.raises(InputError, match="No MCD19A2 file"):
        ask([])


def test_reference_from_real_mod09a1(shared):
    path = next((shared / "data/modis").glob("MOD09A1*"))
    bands = modis.read_reference(path)
    assert len(bands) == 7
    file = SD(str(path))
    state = file.select("sur_refl_state_500m")[:]
    clear = np.isin(state & 3, (0, 3)) & (state & 4 == 0)
    assert 0 < clear.mean() < 1
    for n, band in enumerate(bands, start=1):
        stored = file.select(f"sur_refl_b{n:02d}")[:]
        kept = clear & (stored != FILL) & (stored >= -100)
        np.testing.assert_array_equal(band.data, np.where(kept, stored, -32768))
    # The subset is part of the tile's lattice: whole pixels from the tile's corner.
    a, _, c, _, _, f = bands[0].transform
    assert c / a == pytest.approx(round(c / a), abs=1e-3)
    assert (5559752.598333 - f) / a == pytest.approx(round((5559752.598333 - f) / a), abs=1e-3)
    attributes = file.attributes()
    assert grid_of(attributes, "sur_refl_b07", "x") == (bands[0].transform, 73, 66)


def test_reference_on_a_frame_is_bilinear_at_the_right_place(shared):
    path = next((shared / "data/modis").glob("MOD09A1*"))
    source = modis.read_reference(path)[1]
    frame = ("EPSG:3857", (60.0, 0.0, 1_098_736.0, 0.0, -60.0, 5_785_089.0), (200, 200))
    on = modis.reference_on(path, *frame)[1]
    rows, columns = pixel_coordinates(*frame, SINUSOIDAL, source.transform)
    values = np.where(source.data == -32768, np.nan, source.data.astype(float))
    r0, c0 = np.floor(rows).astype(int), np.floor(columns).astype(int)
    u, v = rows - r0, columns - c0
    expected = (
        values[r0, c0] * (1 - u) * (1 - v)
        + values[r0 + 1, c0] * u * (1 - v)
        + values[r0, c0 + 1] * (1 - u) * v
        + values[r0 + 1, c0 + 1] * u * v
    )
    sound = np.isfinite(expected)
    assert sound.mean() > 0.5
    # GDAL's warper may be 0.125 source pixels off its exact place; here it stays within 1 count.
    assert np.abs(on - expected)[sound].max() <= 1.0
    assert on[sound].min() > -100


def reference_tiff(path, values, **options):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=options.pop("crs", "EPSG:3857"),
        transform=Affine(500, 0, 0, 0, -500, 0),
        **options,
    ) as file:
        file.write(values)
    return path


def test_reference_tiff_fill(tmp_path):
    values = np.full((7, 3, 3), 1000, np.int16)
    values[:, 0, 0] = 0  # padding
    values[3, 0, 1] = 0  # dark in one band
    values[2, 1, 1] = FILL
    values[4, 2, 2] = 16001
    values[5, 2, 1] = -100
    bands = modis.read_reference(reference_tiff(tmp_path / "r.tif", values))
    stored = np.stack([band.data for band in bands])
    assert (stored[:, 0, 0] == -32768).all()
    assert stored[3, 0, 1] == 0
    assert stored[2, 1, 1] == stored[4, 2, 2] == -32768
    assert stored[5, 2, 1] == -100
    assert (stored == -32768).sum() == 9
    assert stored.dtype == np.int16
    # A frame over and beyond the file: valid inside, fill outside, never an average with fill.
    on = modis.reference_on(
        tmp_path / "r.tif", "EPSG:3857", (100.0, 0.0, -500.0, 0.0, -100.0, 500.0), (25, 25)
    )
    assert set(np.unique(on[0])) == {-32768, 1000}
    away = modis.reference_on(
        tmp_path / "r.tif", "EPSG:3857", (100.0, 0.0, 1e6, 0.0, -100.0, 500.0), (5, 4)
    )
    assert [band.shape for band in away] == [(5, 4)] * 7
    assert all((band == -32768).all() for band in away)


def test_reference_tiff_with_scale_tags(tmp_path):
    path = reference_tiff(tmp_path / "r.tif", np.full((7, 2, 2), 0.25, np.float32))
    with pytest.raises(InputError, match="float32 without scale"):
        modis.read_reference(path)
    scaled = np.full((7, 2, 2), 250, np.int16)
    with rasterio.open(reference_tiff(tmp_path / "s.tif", scaled), "r+") as file:
        file.scales = [0.001] * 7
    assert modis.read_reference(tmp_path / "s.tif")[6].data.tolist() == [[2500, 2500]] * 2
    six = reference_tiff(tmp_path / "six.tif", scaled[:6])
    with pytest.raises(InputError, match=r"six\.tif: 6 bands"):
        modis.read_reference(six)


def test_shared_reference_tiffs(s96):
    squares = grid("res-30_tilesize-96")
    for key, name in [((2780, 5614), "x-2780_y-5614"), ((4289, 7924), "x-4289_y-7924")]:
        path = next(s96.glob(f"modis*{name}*"))
        bands = modis.reference_on(path, squares.crs, squares.transform(*key), squares.shape)
        stored = np.stack(bands)
        assert stored.shape == (7, 96, 96)
        assert (stored != -32768).all()
        truth = np.load(s96 / ("truth_north.npz" if key[0] == 2780 else "truth_south.npz"))
        reflectance = truth["reflectance"]
        # Red and NIR of the truth: the tile's means agree within the reference's coarse pixels.
        for band, place in [(0, 1), (1, 2)]:
            assert stored[band].mean() / 1e4 == pytest.approx(reflectance[place].mean(), rel=0.15)
