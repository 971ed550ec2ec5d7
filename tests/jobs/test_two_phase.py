"""Two phases of a job: sums, what is solved from them, and tiles that can be made alone again."""

import json

import numpy as np
import pytest
import rasterio
from rows import GRID, SENSOR, made_up_row, mixed_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs.__main__ import main
from geoquarry.jobs.export import export
from geoquarry.jobs.run import job_of, plan_of
from geoquarry.jobs.statement import Trigger
from geoquarry.jobs.two_phase import run_phases
from geoquarry.schemas import blob
from geoquarry.schemas.digest import parity_digest
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import results_schema, tiles_schema
from geoquarry.udfs import methods
from geoquarry.udfs.overviews import Overviews

TILES = ((3, 5), (4, 5), (4, 6))


@pytest.fixture
def engine(tmp_path):
    """Three tiles, two of which touch along an edge and two at a corner."""
    engine = open_engine(str(tmp_path / "warehouse"), workers=1)
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", mixed_rows(TILES))
    return engine


def run(engine, method="color_balancing", target="maps", tiles=None, **params):
    trigger = Trigger(method, "tiles", target, params=params)
    return run_phases(engine, job_of(engine, trigger, tiles=tiles))


def digest(engine, table="maps"):
    return parity_digest(engine.read(table).read_all().to_pylist())


def by_tile(engine, table, column):
    rows = engine.read(table, ["tile_x", "tile_y", column]).read_all().to_pylist()
    return {(row["tile_x"], row["tile_y"]): row[column] for row in rows}


def test_tables_of_the_first_phase_are_kept_and_a_second_run_does_nothing(engine):
    assert run(engine).counts["ok"] == 3
    assert {"maps", "maps_sums", "maps_gains", "maps_field"} < set(engine.tables())
    gains = engine.read("maps_gains").read_all().to_pylist()
    assert [row["granule_id"] for row in gains] == [f"granule_{i:03d}" for i in range(4)]
    assert any(abs(row["harmony_gain"][0] - 1) > 0.02 for row in gains)  # rows differ by up to 10 %
    before = {name: engine.describe(name)["snapshot_id"] for name in engine.tables()}
    explained = plan_of(engine, job_of(engine, Trigger("color_balancing", "tiles", "maps")))
    assert (explained["tiles"], explained["first_phase_tiles"]) == (0, 0)
    assert run(engine).counts["skipped"] == 3
    assert before == {name: engine.describe(name)["snapshot_id"] for name in engine.tables()}


def test_one_by_one_from_the_stored_tables_is_the_same_map(engine):
    run(engine)
    whole = digest(engine)
    engine.drop("maps")
    for tile in TILES:
        assert run(engine, tiles=(tile,)).counts["ok"] == 1
    assert digest(engine) == whole


def test_granules_agree_better_than_they_came(engine):
    """The made-up granules differ by up to 10 %, and the same gain must undo it in all tiles."""
    run(engine, "mosaic", "agreed", mosaic="min", dtype="float32")
    run(engine, "mosaic", "as_they_came", mosaic="min", dtype="float32", harmonise="none")
    step = {}
    for table in ("agreed", "as_they_came"):
        rows = engine.read(table, ["provenance"]).read_all().to_pylist()
        figures = [json.loads(row["provenance"])["seam"] for row in rows]
        step[table] = np.mean([f["step"] for f in figures])
    assert step["agreed"] < step["as_they_came"]


def test_scope_tile_keeps_no_tables_and_gives_other_gains(engine):
    run(engine, target="alone", scope="tile")
    assert "alone_gains" not in engine.tables()
    run(engine)
    alone, together = (by_tile(engine, t, "b01") for t in ("alone", "maps"))
    assert alone != together


def test_a_changed_granule_is_summed_up_again_and_nothing_else(engine):
    run(engine)
    row = made_up_row(4, 6, 1, seed=9)
    engine.append("tiles", [row])
    job = job_of(engine, Trigger("color_balancing", "tiles", "maps"))
    assert plan_of(engine, job)["first_phase_tiles"] == 1
    assert run_phases(engine, job).counts["ok"] >= 1
    fresh = digest(engine)
    for name in ("maps", "maps_sums", "maps_gains", "maps_field"):
        engine.drop(name)
    run(engine)
    assert digest(engine) == fresh


def test_nodes_on_a_common_edge_are_shared(engine):
    run(engine)
    field = by_tile(engine, "maps_field", "balance_nodes")
    left, right = (np.float32(field[tile]).reshape(5, 4, 4) for tile in ((3, 5), (4, 5)))
    np.testing.assert_array_equal(left[:, :, 1:], right[:, :, :3])
    assert np.ptp(left) > 1e-3


def test_a_bad_row_is_listed_in_both_phases_and_the_others_go_on(engine):
    row = made_up_row(4, 6, 1)
    row["b02"] = blob.encode(np.zeros((3, 3), np.uint8))
    engine.append("tiles", [row])
    report = run(engine)
    assert (report.counts["ok"], report.counts["partial"]) == (2, 1)
    assert by_tile(engine, "maps_sums", "status")[4, 6] == "partial"
    issues = by_tile(engine, "maps_sums", "issues")[4, 6]
    assert [issue["column"] for issue in issues] == ["b02"]


def test_tables_of_others_are_not_written_over(engine):
    engine.create("maps_gains", tiles_schema(SENSOR.name, GRID))
    with pytest.raises(UsageError, match="maps_gains"):
        run(engine)


def test_drop_takes_what_belongs_to_a_map_and_no_tiles(engine, tmp_path, capsys):
    run(engine)
    warehouse = ["--warehouse", str(tmp_path / "warehouse")]
    assert main(["drop", "maps", *warehouse]) == 0
    assert engine.tables() == ["tiles"]
    assert "maps_sums" in capsys.readouterr().err


def test_drop_leaves_what_only_has_the_name(engine, tmp_path):
    """Somebody's tiles called `maps_gains`, beside a map that was made without a first phase."""
    engine.create("maps_gains", tiles_schema(SENSOR.name, GRID))
    run(engine, "mosaic", scope="tile")
    assert main(["drop", "maps", "--warehouse", str(tmp_path / "warehouse")]) == 0
    assert engine.tables() == ["maps_gains", "tiles"]


def test_a_tile_that_fails_in_the_first_phase_only_says_so(engine, monkeypatch):
    pair_sums, calls = Overviews.pair_sums, []

    def once(self):
        calls.append(1)
        if len(calls) == len(TILES):
            raise MemoryError("no room")
        return pair_sums(self)

    own = [made_up_row(4, 6, 9)]
    engine.append("tiles", own)
    monkeypatch.setattr(Overviews, "pair_sums", once)
    assert run(engine, "mosaic").counts["ok"] == 3
    assert by_tile(engine, "maps_sums", "status")[4, 6] == "failed"
    said = by_tile(engine, "maps", "message")
    assert "1 of the rows have no gain, not harmonised" in said[4, 6]
    assert "no gain" not in said[3, 5]
    monkeypatch.undo()
    run(engine, "mosaic")
    assert "no gain" not in by_tile(engine, "maps", "message")[4, 6]


def test_a_source_is_not_merged_over_tiles(engine, tmp_path):
    run(engine, "mosaic", mosaic="min", source=True)
    with pytest.raises(UsageError, match="each tile's own list"):
        export(engine, "maps", tmp_path / "files", merge=True)
    assert len(export(engine, "maps", tmp_path / "files", merge=True, bands=["b01"])) == 1
    assert len(export(engine, "maps", tmp_path / "files", bands=["source"])) == 3


def test_overviews_of_a_source_hold_granules_and_no_means(engine, tmp_path):
    name = "res-30_tilesize-1024"
    request = methods.normalise("mosaic", {"mosaic": "min", "source": True}, SENSOR.name)
    bands = methods.output_bands(*request, SENSOR.name)
    engine.create("large", results_schema(SENSOR.name, name, "mosaic", bands))
    row = dict.fromkeys(engine.schema("large").names)
    row |= {"grid": name, "tile_x": 1, "tile_y": 1, "method": "mosaic", "status": "ok"}
    row |= {"granules": ["a", "b", "c"], "issues": [], "provenance": "{}"}
    columns = np.arange(1024) // 3 % 2 * 2
    row["source"] = blob.encode(np.broadcast_to(columns, (1024, 1024)).astype(np.int16))
    engine.append("large", [row])
    (path,) = export(engine, "large", tmp_path / "files", bands=["source"])
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) == {0, 2}


def test_no_row_is_no_error(engine):
    trigger = Trigger("color_balancing", "tiles", "maps", where="aod550 > 9")
    assert run_phases(engine, job_of(engine, trigger)).tiles == 0


def test_sql_names_the_new_parameters(engine, tmp_path):
    statement = (
        "INSERT INTO chosen SELECT tile_x, tile_y, mosaic(*, mosaic => 'medoid', source => true, "
        "harmonise => 'none', masks => 'granule', scope => NULL) FROM tiles GROUP BY tile_x, tile_y"
    )
    assert main(["sql", statement, "--warehouse", str(tmp_path / "warehouse")]) == 0
    row = engine.read("chosen", tiles=[(3, 5)]).read_all().to_pylist()[0]
    source = blob.decode(row["source"])
    assert set(np.unique(source)) <= {-32768, 0, 1, 2, 3}
    assert len(np.unique(source)) > 2
    with pytest.raises(UsageError, match="no single source"):
        job_of(engine, Trigger("mosaic", "tiles", "no", params={"source": True}))
