"""The whole chain on scenes that others made: ingest, run, export, and compare with the truth."""

import json

import numpy as np
import pytest
import rasterio

from geoquarry.engine.local import open_engine
from geoquarry.jobs.export import export
from geoquarry.jobs.functions import scalar_functions
from geoquarry.jobs.ingest import ingest
from geoquarry.jobs.maps import physical
from geoquarry.jobs.run import job_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import blob, flags
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import LATTICE, output_bands

GRID = "res-30_tilesize-96"
NAMES = sensor("aster_l1t").names
METHODS = ("mosaic", "color_balancing", "mineral_indices")
UNCLEAR = flags.CLOUD | flags.SHADOW | flags.SATURATED | flags.NOT_OBSERVED


@pytest.fixture(scope="module")
def sites(s96):
    return json.loads((s96 / "scenes.json").read_text())["sites"]


@pytest.fixture(scope="module")
def engine(s96, sites, tmp_path_factory):
    """A warehouse with the six granules of both sites, each on its site's tile."""
    engine = open_engine(
        str(tmp_path_factory.mktemp("chain") / "warehouse"), functions=scalar_functions()
    )
    for site in sites:
        report = ingest(
            engine,
            [s96 / item["file"] for item in site["granules"]],
            "aster",
            aod=[s96 / site["aod"]],
            dem=[s96 / name for name in site["dem"]],
            reference=s96 / site["modis"],
            grid_name=GRID,
            tiles=[tuple(site["tile_index"])],
        )
        assert not report.failed
        assert report.rows == 3
    for method in METHODS:
        report = run_phases(engine, job_of(engine, Trigger(method, "aster", method)))
        assert report.counts["ok"] == 2, report
    return engine


def test_rows_hold_the_state_of_light_and_air(engine):
    rows = engine.read("aster").read_all().to_pylist()
    assert len(rows) == 6
    for row in rows:
        assert 20 < row["sun_zenith_deg"] < 55
        assert 0.05 < row["aod550"] < 0.3
        assert 1600 < row["elevation_m"] < 1900
        assert 0.3 < row["water_vapour_g_cm2"] < 3
        assert row["atmosphere_source"]
        assert row["xa"] is row["xb"] is row["xc"] is None  # the state is all that is kept
        assert len(row["aod550_field"]) == len(row["water_vapour_field"]) == LATTICE**2
        assert blob.decode(row["elevation"]).shape == (96, 96)
        assert blob.decode(row["ref_1"]).shape == (24, 24)
        assert row["mask_version"]
        assert json.loads(row["meta"])


def test_recovered_reflectance_against_the_truth(engine, golden, s96, sites):
    """Median of three granules: nearer to the truth than the reference's darkest-pixel mosaic.

    With 6S coefficients, ours and the reference's alike, bands 1, 8 and 9 come out 10 to 30 % too
    bright, most likely because the makers used another atmosphere (their recipe is not known).
    The ratio is therefore held for the other bands only. A check by strangers, no closed loop.
    Not harmonised: that would spread the other air of one granule over all.
    """
    as_seen = Trigger("mosaic", "aster", "as_seen", params={"harmonise": "none"})
    run_phases(engine, job_of(engine, as_seen))
    for site in sites:
        truth = np.load(s96 / f"truth_{site['site']}.npz")["reflectance"]
        theirs = np.load(golden / f"mini_s96_{site['site']}.npz")["out_merge_min"].astype(float)
        theirs[theirs == 0] = np.nan
        got = physical(engine, "as_seen", tuple(site["tile_index"]))
        clear = (got["flags"] & UNCLEAR) == 0
        assert clear.mean() > 0.9
        for place, name in enumerate(NAMES):
            error = np.nanmedian(np.abs(got[name] - truth[place])[clear])
            reference = np.nanmedian(np.abs(theirs[place] - truth[place]))
            assert error < 1.05 * reference, (site["site"], name)
            if name in NAMES[1:7]:
                ratio = np.nanmedian((got[name] / truth[place])[clear])
                assert ratio == pytest.approx(1, abs=0.08), (site["site"], name)


def test_every_geotiff_lies_where_its_tile_lies(engine, sites, tmp_path):
    frame = grid(GRID)
    for method in METHODS:
        paths = export(engine, method, tmp_path)
        assert len(paths) == 2
        bands = output_bands(engine.schema(method))
        for path, site in zip(
            sorted(paths), sorted(sites, key=lambda s: s["tile_index"]), strict=True
        ):
            x, y = site["tile_index"]
            assert method in path.name
            assert str(x) in path.name
            assert str(y) in path.name
            with rasterio.open(path) as image:
                assert tuple(image.bounds) == frame.bounds(x, y) == tuple(site["tile_bounds"])
                assert image.crs.to_epsg() == 3857
                assert image.count == len(bands)
                assert image.nodata == -32768
                assert image.scales == pytest.approx([band.scale for band in bands])
                assert all(image.descriptions)
                values = image.read(1, masked=True) * image.scales[0]
            stored = physical(engine, method, (x, y))[bands[0].name]
            np.testing.assert_allclose(values.filled(np.nan), stored, rtol=1e-5, atol=1e-7)


def test_sql_counts_and_looks_into_tiles(engine):
    found = engine.sql("SELECT count(*) AS n, min(acquired) AS first FROM aster").read_all()
    assert found["n"].to_pylist() == [6]
    stats = engine.sql(
        "SELECT granule_id, tile_stats(b04) AS s, tile_value(b04, 20, 20) AS v FROM aster "
        "ORDER BY granule_id LIMIT 1"
    ).read_all().to_pylist()[0]  # fmt: skip
    row = (
        engine.read("aster", where=f"granule_id = '{stats['granule_id']}'")
        .read_all()
        .to_pylist()[0]
    )
    dn = blob.decode(row["b04"])
    assert stats["s"]["max"] == dn.max()
    assert stats["v"] == dn[20, 20]


def test_results_do_not_depend_on_threads_or_order(engine, sites, tmp_path):
    """Local with one and two threads, rows shuffled: the same digest."""
    digests = {
        method: parity_digest(engine.read(method).read_all().to_pylist()) for method in METHODS
    }
    rows = engine.read("aster").read_all().to_pylist()
    other = open_engine(str(tmp_path / "other"), workers=1)
    other.create("aster", engine.schema("aster"))
    for row in reversed(rows):
        with other.appender("aster") as appender:
            appender.add_granule(row["granule_id"], [row])
    for method in METHODS:
        run_phases(other, job_of(other, Trigger(method, "aster", method)))
        again = parity_digest(other.read(method).read_all().to_pylist())
        assert again == digests[method], method


def test_ingesting_again_changes_nothing_downstream(engine, s96, sites):
    """Same scenes, same ancillary data: rows are replaced, results are up to date."""
    site = sites[0]
    before = parity_digest(engine.read("aster").read_all().to_pylist())
    ingest(
        engine,
        [s96 / site["granules"][0]["file"]],
        "aster",
        aod=[s96 / site["aod"]],
        dem=[s96 / name for name in site["dem"]],
        reference=s96 / site["modis"],
        tiles=[tuple(site["tile_index"])],
    )
    assert parity_digest(engine.read("aster").read_all().to_pylist()) == before
    report = run_phases(engine, job_of(engine, Trigger("mosaic", "aster", "mosaic")))
    assert report.counts.get("skipped") == 2
    assert len(engine.history("aster")) >= 3


def test_bad_scenes_are_listed_and_the_others_go_on(engine, s96, sites, tmp_path):
    site = sites[0]
    good = s96 / site["granules"][0]["file"]
    cut_short = tmp_path / "AST_L1T_00306182006174999_20150516014601_17781.hdf"
    cut_short.write_bytes(good.read_bytes()[:200_000])
    text = tmp_path / "notes.hdf"
    text.write_text("not a scene")
    report = ingest(
        engine,
        [cut_short, text, tmp_path / "missing.hdf", good],
        "aster",
        aod=0.1,
        dem=1700,
        tiles=[tuple(site["tile_index"])],
    )
    assert report.exit_code == 3
    assert len(report.granules) == 1
    assert [item["scene"] for item in report.failed] == [
        str(cut_short), str(text), str(tmp_path / "missing.hdf")
    ]  # fmt: skip
    for item in report.failed:
        assert item["scene"].rsplit("/", 1)[1] in item["reason"]
