"""`ingest` from the command line: versions, masks anew, refusals, two processes at once."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import ClassVar

import numpy as np
import pytest

from geoquarry.engine import sixs
from geoquarry.engine.ancillary_writer import Overpass, sinusoidal_tile, write_mcd19a2
from geoquarry.engine.appender import Appender
from geoquarry.engine.local import open_engine
from geoquarry.jobs import ingest_scene
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob, flags
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import GeoquarryError

AIR = {
    "xa": [0.0023, 0.0026, 0.0036, 0.0162, 0.0434, 0.0467, 0.0524, 0.0665, 0.0866],
    "xb": [0.0434, 0.0229, 0.0125, 0.0022, 0.0008, 0.0008, 0.0008, 0.0007, 0.0007],
    "xc": [0.0957, 0.0637, 0.0418, 0.0098, 0.0058, 0.0056, 0.0054, 0.0054, 0.0053],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two scenes of one place, with everything that goes with them."""
    folder = tmp_path_factory.mktemp("scenes")
    return folder, simulate(folder, size=64, scenes=2, seed=5, atmosphere=AIR)


@pytest.fixture(autouse=True)
def no_6s(monkeypatch):
    """Given coefficients: what 6S says is the business of tests/engine/test_sixs.py."""
    found = sixs.Correction(**AIR, optics=[], runs=0)
    monkeypatch.setattr(ingest_scene.sixs, "correction", lambda *_, **__: found)


def command(made, warehouse, *scenes, **options):
    """Arguments of one ingest; an option of None is left out."""
    folder, about = made
    paths = [str(folder / name) if "/" not in name else name for name in scenes]
    given = {
        "--table": ["t"],
        "--aod": [str(folder / name) for name in about["aod"]],
        "--dem": [str(folder / name) for name in about["dem"]],
        "--grid": [about["grid"]],
        "--tile": [f"{about['tile_x']},{about['tile_y']}"],
        "--warehouse": [str(warehouse)],
        "--atmosphere": ["6s"],
        **options,
    }
    words = [w for name, value in given.items() if value is not None for w in (name, *value)]
    return ["ingest", *paths, *words]


def rows(warehouse):
    return open_engine(str(warehouse)).read("t").read_all().to_pylist()


def copied(made, name, folder, new_id):
    """The same scene under another product identity of the same length."""
    old_id = name.removesuffix(".hdf")
    assert len(old_id) == len(new_id)
    path = folder / f"{new_id}.hdf"
    path.write_bytes((made[0] / name).read_bytes().replace(old_id.encode(), new_id.encode()))
    return path


def scene_files(made):
    return [scene["file"] for scene in made[1]["scenes"]]


def test_a_newer_production_replaces_the_older(made, tmp_path):
    first, _ = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    house = tmp_path / "w"
    assert main(command(made, house, first)) == 0
    assert main(command(made, house, str(newer))) == 0
    assert [row["granule_id"] for row in rows(house)] == [newer.stem]
    assert main(command(made, house, first)) == 0  # older: skipped, said so
    assert [row["granule_id"] for row in rows(house)] == [newer.stem]
    assert main(command(made, house, first, **{"--keep-versions": []})) == 0
    assert len(rows(house)) == 2


def test_both_productions_in_one_call_leave_the_newer(made, tmp_path):
    first, _ = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    for order in ([first, str(newer)], [str(newer), first]):
        house = tmp_path / f"w{len(order[0])}"
        assert main(command(made, house, *order)) == 0
        assert [row["granule_id"] for row in rows(house)] == [newer.stem]


def test_with_tile_a_newer_production_replaces_the_older_there_only(made, tmp_path):
    first, _ = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    house = tmp_path / "w"
    assert main(command(made, house, first, **{"--tile": None})) == 0
    before = {(row["tile_x"], row["tile_y"]) for row in rows(house)}
    assert len(before) > 1
    assert main(command(made, house, str(newer))) == 0
    tile = made[1]["tile_x"], made[1]["tile_y"]
    after = {(row["tile_x"], row["tile_y"]): row["granule_id"] for row in rows(house)}
    assert set(after) == before
    assert [key for key, name in after.items() if name == newer.stem] == [tile]


def test_refreshing_one_version_keeps_the_other(made, tmp_path):
    first, _ = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    house = tmp_path / "w"
    keep = {"--keep-versions": []}
    assert main(command(made, house, first, str(newer), **keep)) == 0
    renew = {"--refresh-flags": [], "--aod": None, "--dem": None, "--grid": None}
    for scene in (first, str(newer)):
        assert main(command(made, house, scene, **renew)) == 0
        assert len(rows(house)) == 2


def test_refreshing_one_tile_leaves_the_others(made, tmp_path):
    first, _ = scene_files(made)
    house = tmp_path / "w"
    assert main(command(made, house, first, **{"--tile": None})) == 0
    before = len(rows(house))
    renew = {"--refresh-flags": [], "--aod": None, "--dem": None, "--grid": None}
    assert main(command(made, house, first, **renew)) == 0
    assert len(rows(house)) == before > 1


def test_no_aerosol_measured_is_flagged_on_every_pixel(made, tmp_path):
    first = made[1]["scenes"][0]
    when = datetime.fromisoformat(first["acquired"])
    empty = write_mcd19a2(tmp_path, sinusoidal_tile(32.78, -108.06), [Overpass(when, "T", None)])
    house = tmp_path / "w"
    assert main(command(made, house, first["file"], **{"--aod": [str(empty)]})) == 0
    (row,) = rows(house)
    assert (blob.decode(row["flags"]) & flags.ATMOSPHERE_CLAMPED != 0).all()
    assert (row["aod550"], row["aod550_uncertainty"]) == (pytest.approx(0.1), None)
    assert "default 0.1 in the tile, no retrieval within 50 km" in row["atmosphere_source"]
    assert "water vapour of the standard atmosphere" in row["atmosphere_source"]
    renew = {"--refresh-flags": [], "--aod": None, "--dem": None, "--grid": None}
    assert main(command(made, house, first["file"], **renew)) == 0
    (row,) = rows(house)  # new masks measure no aerosol either
    assert (blob.decode(row["flags"]) & flags.ATMOSPHERE_CLAMPED != 0).all()


def test_rows_hold_the_state_and_no_coefficients(made, tmp_path, monkeypatch):
    """The default needs no 6S; what the files say is in the row, and where it came from."""
    monkeypatch.setattr(ingest_scene.sixs, "correction", None)
    house = tmp_path / "w"
    first = made[1]["scenes"][0]
    options = {"--atmosphere": None, "--aerosol-model": ["Maritime"]}
    assert main(command(made, house, first["file"], **options)) == 0
    (row,) = rows(house)
    assert row["xa"] is row["xb"] is row["xc"] is None
    assert row["aerosol_model"] == "Maritime"
    assert row["aod550"] == pytest.approx(first["aod550"])
    assert row["aod550_uncertainty"] == pytest.approx(0.02)
    # 1 km pixels know the relief of the tile only roughly.
    assert row["water_vapour_g_cm2"] == pytest.approx(first["water_vapour_g_cm2"], rel=0.01)
    assert row["ozone_cm_atm"] == pytest.approx(first["ozone_cm_atm"], rel=1e-3)
    assert len(row["aod550_field"]) == len(row["water_vapour_field"]) == 17 * 17
    for text in ("Terra", "best quality; water vapour of the same", "ozone: zonal mean"):
        assert text in row["atmosphere_source"]


class OneAnswer:
    """Stands in for a lookup table: 9 bands, one state."""

    ranges: ClassVar = dict.fromkeys(
        ("sun_zenith_deg", "view_zenith_deg", "aod550", "elevation_m"), (0.0, 6000.0)
    ) | {"water_vapour_g_cm2": (0.0, 7.0), "ozone_cm_atm": (0.2, 0.5)}
    sensor, aerosol_model, digest = "aster_l1t", "Continental", "-"

    def inside(self, **state):
        ((name, value),) = state.items()
        return np.isfinite(value) & (name != "ozone_cm_atm")

    def correction(self, *, aod550, **_):
        return tuple(np.full((9, 1), np.ravel(aod550)[0] * factor) for factor in (1, 2, 3))


def test_rows_without_coefficients_go_into_the_published_layout(
    made, tmp_path, monkeypatch, capsys
):
    """It holds coefficients, so each row gets those of its own state."""
    monkeypatch.setattr("geoquarry.udfs.air_state.lut", lambda *_: OneAnswer())
    house, csv = tmp_path / "w", tmp_path / "gmi.csv"
    first = made[1]["scenes"][0]
    assert main(command(made, house, first["file"], **{"--atmosphere": ["lut"]})) == 0
    words = ["download", "t", str(csv), "--layout", "published", "--warehouse", str(house)]
    assert main(words) == 0
    assert "ozone_cm_atm outside 0.2 to 0.5, clamped in 1 of the rows" in capsys.readouterr().err
    other = tmp_path / "other"
    assert main(["upload", str(csv), "t", "--warehouse", str(other)]) == 0
    (back,) = rows(other)
    for factor, name in enumerate(("xa", "xb", "xc"), start=1):
        assert back[name] == pytest.approx([first["aod550"] * factor] * 9, rel=1e-5)


def test_one_number_for_the_aerosol_holds_everywhere_water_follows_latitude(made, tmp_path):
    house = tmp_path / "w"
    given = {"--aod": ["0.2"], "--dem": ["1500"]}
    assert main(command(made, house, scene_files(made)[0], **given)) == 0
    (row,) = rows(house)
    assert row["aod550"] == 0.2
    assert row["aod550_field"] is row["aod550_uncertainty"] is None
    water = np.reshape(row["water_vapour_field"], (17, 17))
    assert water.mean() == pytest.approx(row["water_vapour_g_cm2"], rel=0.01)
    assert (water == water[:, :1]).all()
    assert "aerosol given by hand; water vapour of the standard" in row["atmosphere_source"]


def test_states_beyond_the_table_are_told_not_refused(made, tmp_path, monkeypatch, capsys):
    class Table:
        ranges: ClassVar = {"aod550": (0.0, 0.5), "elevation_m": (0.0, 6000.0)}

        def inside(self, **state):
            ((name, values),) = state.items()
            low, high = self.ranges[name]
            return (np.asarray(values) >= low) & (np.asarray(values) <= high)

    monkeypatch.setattr("geoquarry.jobs.coefficients.lut", lambda *_: Table())
    given = {"--aod": ["0.7"], "--atmosphere": None}
    assert main(command(made, tmp_path / "w", scene_files(made)[0], **given)) == 0
    said = capsys.readouterr().err
    assert "aod550 0.7 is outside the lookup table (0 to 0.5)" in said
    assert "elevation_m" not in said


def test_a_reference_beside_the_scene_is_told(made, tmp_path, capsys):
    import rasterio

    elsewhere = tmp_path / "far.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 7, "dtype": "int16"}
    transform = rasterio.Affine(500, 0, 0, 0, -500, 0)
    with rasterio.open(elsewhere, "w", crs="EPSG:3857", transform=transform, **profile) as out:
        out.write(np.ones((7, 4, 4), np.int16))
    first = scene_files(made)[0]
    assert main(command(made, tmp_path / "w", first, **{"--reference": [str(elsewhere)]})) == 0
    assert "no reference there" in capsys.readouterr().err


def test_masks_anew_change_masks_only(made, tmp_path, monkeypatch):
    house = tmp_path / "w"
    names = scene_files(made)
    assert main(command(made, house, *names)) == 0
    before = rows(house)
    monkeypatch.setattr("geoquarry.jobs.cut.MASK_VERSION", "renewed")
    real = ingest_scene.rows_of

    def hazier(granule, lattice, *rest):
        lattice.flags[:] |= flags.CLOUD
        return real(granule, lattice, *rest)

    monkeypatch.setattr(ingest_scene, "rows_of", hazier)
    renew = {"--refresh-flags": [], "--aod": None, "--dem": None, "--grid": None}
    assert main(command(made, house, *names, **renew)) == 0
    after = rows(house)
    assert len(after) == len(before) == 2
    for old, new in zip(before, after, strict=True):
        assert new["mask_version"] == "renewed"
        assert new["cloud_fraction"] == 1
        bits = blob.decode(new["flags"])
        assert ((bits & (flags.CLOUD | flags.NOT_OBSERVED)) != 0).all()
        for name in ("aod550", "xa", "elevation", "granule_id", "ingest_id"):
            assert new[name] == old[name]


def test_again_is_the_same_table(made, tmp_path):
    house = tmp_path / "w"
    names = scene_files(made)
    assert main(command(made, house, *names)) == 0
    once = parity_digest(rows(house))
    assert main(command(made, house, *reversed(names))) == 0
    assert parity_digest(rows(house)) == once


def test_new_rows_as_csv_can_be_uploaded_elsewhere(made, tmp_path):
    house = tmp_path / "w"
    csv = tmp_path / "rows.csv"
    assert main(command(made, house, *scene_files(made), **{"--csv": [str(csv)]})) == 0
    other = tmp_path / "other"
    assert main(["upload", str(csv), "t", "--warehouse", str(other)]) == 0
    assert parity_digest(rows(other)) == parity_digest(rows(house))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"--aod": None}, "--aod and --dem"),
        ({"--aod": ["120"]}, "0.12"),
        ({"--aod": ["nowhere.hdf"]}, "no such file"),
        ({"--aod": ["0.1", "0.2"]}, "--aod 0.1 0.2: give one number, or files"),
        ({"--aod": ["."]}, "--aod . is a folder"),
        ({"--csv": ["s3://bucket/a.csv"]}, "is an address"),
        ({"--dem": ["99999"]}, "from -500 to 9000"),
        ({"--grid": ["res-31"]}, "res-<metres>_tilesize-<pixels>"),
        ({"--aerosol-model": ["NoAerosols"], "--atmosphere": None}, "or --atmosphere 6s"),
        ({"--reference": ["nowhere.tif"]}, "no such file"),
        ({"--table": ["../t"]}, "name"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_read(made, tmp_path, capsys, options, text):
    assert main(command(made, tmp_path / "w", scene_files(made)[0], **options)) in (1, 2)
    assert text in capsys.readouterr().err


def test_another_grid_is_refused(made, tmp_path, capsys):
    house = tmp_path / "w"
    first, second = scene_files(made)
    assert main(command(made, house, first)) == 0
    other = {"--grid": ["webmercator-30m-1024"]}
    assert main(command(made, house, second, **other)) == 2
    assert "another table" in capsys.readouterr().err


def test_a_dem_beside_the_scene_fails_the_scene_not_the_job(made, tmp_path, capsys):
    import rasterio

    elsewhere = tmp_path / "far.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "int16"}
    transform = rasterio.Affine(0.1, 0, 10, 0, -0.1, 50)
    with rasterio.open(elsewhere, "w", crs="EPSG:4326", transform=transform, **profile) as out:
        out.write(np.ones((1, 4, 4), np.int16))
    house = tmp_path / "w"
    first = scene_files(made)[0]
    assert main(command(made, house, first, **{"--dem": [str(elsewhere)]})) == 1
    assert "no elevation over tile" in capsys.readouterr().err
    assert open_engine(str(house)).tables() == []  # nothing made for nothing


def test_explain_writes_nothing(made, tmp_path, capsys):
    house = tmp_path / "w"
    names = scene_files(made)
    assert main([*command(made, house, *names, **{"--explain": [], "--json": []})]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["rows_at_most"] == 2
    assert open_engine(str(house)).tables() == []


@pytest.mark.kill
def test_two_processes_with_two_productions_leave_the_newer(made, tmp_path):
    first, _ = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    house = tmp_path / "w"
    together(made, house, [[first], [str(newer)]])
    assert {row["granule_id"] for row in rows(house)} == {newer.stem}


TWO = """
import json
import sys
from geoquarry.engine import sixs
from geoquarry.jobs import ingest_scene
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.ingest import ingest
air = json.loads(sys.argv[1])
found = sixs.Correction(**air, optics=[], runs=0)
ingest_scene.sixs.correction = lambda *a, **k: found
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.kill
def test_two_processes_at_once_lose_and_double_nothing(made, tmp_path):
    """Different granules of one day into one new table; their names differ in the last letters."""
    house = tmp_path / "w"
    first, _ = scene_files(made)
    names = []
    for n in range(8):
        new_id = f"{first[:19]}{n:06d}{first[25:-4]}"
        names.append(str(copied(made, first, tmp_path, new_id)))
    together(made, house, [names[::2], names[1::2]])
    found = [row["granule_id"] for row in rows(house)]
    assert len(found) == len(set(found)) == 8


def together(made, house, parts):
    """One process per list of scenes, all at once."""
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, json.dumps(AIR), *command(made, house, *part)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in parts
    ]
    for job in jobs:
        _, said = job.communicate(timeout=120)
        assert job.returncode == 0, said


def test_any_number_of_workers_makes_the_same_table(made, tmp_path):
    digests, reports = set(), []
    names = [made[0] / name for name in scene_files(made)]
    for workers in (1, 3):
        house = tmp_path / str(workers)
        engine = open_engine(str(house), workers=workers)
        scenes = [
            *names,
            *(copied(made, names[0].name, tmp_path, later(names[0], n)) for n in "ab"),
        ]
        reports.append(ingest(engine, scenes, "t", aod=0.1, dem=1200.0, grid_name=made[1]["grid"]))
        digests.add(parity_digest(rows(house)))
        assert len(engine.history("t")) == 1
    assert len(digests) == 1
    assert reports[0].granules == reports[1].granules == [scene.stem for scene in scenes]


def later(path, last):
    """The identity of another acquisition."""
    return f"{path.stem[:24]}{'ab'.index(last)}{path.stem[25:]}"


def test_a_scene_with_a_surprise_is_listed_and_the_others_go_on(made, tmp_path, monkeypatch):
    first, second = (made[0] / name for name in scene_files(made))
    real = ingest_scene.to_lattice

    def surprised(granule):
        if granule.granule_id == first.stem:
            raise ZeroDivisionError("what a scene")
        return real(granule)

    monkeypatch.setattr(ingest_scene, "to_lattice", surprised)
    engine = open_engine(str(tmp_path / "w"))
    grid_name = made[1]["grid"]
    report = ingest(engine, [first, second], "t", aod=0.1, dem=1200.0, grid_name=grid_name)
    assert report.failed == [
        {"scene": str(first), "reason": "ZeroDivisionError: what a scene"},
    ]
    assert report.granules == [second.stem]
    assert report.exit_code == 3


def test_what_would_fail_for_every_scene_ends_the_ingest(made, tmp_path, monkeypatch):
    def refused(*_):
        raise GeoquarryError("6S is not installed")

    monkeypatch.setattr(ingest_scene, "to_lattice", refused)
    engine = open_engine(str(tmp_path / "w"))
    with pytest.raises(GeoquarryError, match="not installed"):
        ingest(engine, [made[0] / scene_files(made)[0]], "t", aod=0.1, dem=1200.0)
    assert engine.tables() == []


def test_a_production_that_comes_too_late_leaves_no_file(made, tmp_path):
    first, other = scene_files(made)
    newer = copied(made, first, tmp_path, f"{first[:26]}20990101000000_10000")
    house = tmp_path / "w"
    # The table is there, and knows neither: both are cut before anybody sees that one is enough.
    assert main(command(made, house, other)) == 0
    assert main(command(made, house, str(newer), first, **{"--workers": ["1"]})) == 0
    assert {row["granule_id"] for row in rows(house)} == {newer.stem, other.removesuffix(".hdf")}
    for room in ("data", "index"):
        assert len(list((house / "tables" / "t" / room).rglob("*.parquet"))) == 2


def test_a_failing_commit_stops_the_workers(made, tmp_path, monkeypatch):
    """Nothing is read for a table that takes nothing."""
    first, second = (made[0] / name for name in scene_files(made))
    engine = open_engine(str(tmp_path / "w"), workers=1)
    read = []
    real = ingest_scene.SceneWork.cut
    monkeypatch.setattr(
        ingest_scene.SceneWork,
        "cut",
        lambda work, scene: (read.append(scene), real(work, scene))[1],
    )

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("geoquarry.engine.appender.commit", full)
    monkeypatch.setattr("geoquarry.engine.local.Engine.appender", impatient)
    with pytest.raises(OSError, match="disk full"):
        ingest(engine, [first, *[second] * 8], "t", aod=0.1, dem=1200.0, grid_name=made[1]["grid"])
    assert len(read) < 9


def impatient(engine, table, *, ingest_id):
    """An appender that commits each granule."""
    return Appender(engine.warehouse.table(table), ingest_id=ingest_id, granules=1, seconds=60.0)


def test_aerosol_of_another_year_is_told_once(made, tmp_path, capsys):
    first, second = scene_files(made)
    acquired = datetime.fromisoformat(made[1]["scenes"][0]["acquired"])
    seen = [Overpass(acquired + timedelta(days=400), "T", 0.2)]
    late = write_mcd19a2(tmp_path, sinusoidal_tile(32.78, -108.06), seen)
    options = {"--aod": [str(late)], "--atmosphere": None}
    assert main(command(made, tmp_path / "w", first, second, **options)) == 0
    said = capsys.readouterr().err
    assert said.count("aerosol of 2 scenes was measured more than 8 days") == 1
    assert "MCD19A2 files of their days" in said
    assert main(command(made, tmp_path / "near", first, second)) == 0
    assert "was measured" not in capsys.readouterr().err


def test_a_granule_given_twice_counts_once(made, tmp_path, capsys):
    first = scene_files(made)[0]
    (tmp_path / "copy").mkdir()
    again = copied(made, first, tmp_path / "copy", (made[0] / first).stem)
    house = tmp_path / "w"
    assert main(command(made, house, first, str(again))) == 0
    said = capsys.readouterr().err
    assert "the same granule as" in said
    assert "1 rows of 1 granules in t." in said
    assert len(rows(house)) == 1


def test_where_nothing_lies_is_told(made, tmp_path, capsys):
    house = tmp_path / "w"
    first, second = scene_files(made)
    assert main(command(made, house, first, **{"--tile": ["1,2"]})) == 0
    said = capsys.readouterr().err
    assert "Nothing lies there: no row was stored, there is no table t." in said
    assert main(command(made, house, first)) == 0
    capsys.readouterr()
    renew = {"--refresh-flags": [], "--aod": None, "--dem": None, "--grid": None}
    assert main(command(made, house, second, **renew)) == 0
    assert "Nothing lies there: 0 rows of 0 granules in t." in capsys.readouterr().err


def test_what_is_no_scene_is_called_what_it_is(made, tmp_path, capsys):
    aerosol = str(made[0] / made[1]["aod"][0])
    assert main(command(made, tmp_path / "w", aerosol)) == 1
    said = capsys.readouterr().err
    assert "this is not ASTER L1T" in said
    assert main(command(made, tmp_path / "w", str(made[0]))) == 2
    assert "is a folder: give its scenes, e.g." in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_told_without_numbers(made, tmp_path, monkeypatch, capsys):
    scene = str(made[0] / scene_files(made)[0])

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", scene)

    monkeypatch.setattr(ingest_scene, "reader", refused)
    assert main(command(made, tmp_path / "w", scene)) == 1
    said = capsys.readouterr().err
    assert f"{scene}: cannot be read (Permission denied)." in said
    assert "Errno" not in said
