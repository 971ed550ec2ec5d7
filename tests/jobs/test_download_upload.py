"""What goes out comes back, and files of others are recognised."""

import csv
from argparse import Namespace

import pytest
import rasterio

from geoquarry.engine.aster_l1t_gmi import COLUMNS
from geoquarry.engine.local import open_engine
from geoquarry.jobs import download as download_job
from geoquarry.jobs import upload as upload_job
from geoquarry.jobs.download import download
from geoquarry.jobs.export import export
from geoquarry.jobs.published import Layout
from geoquarry.jobs.upload import upload
from geoquarry.schemas import blob
from geoquarry.schemas.errors import InputError, UsageError
from geoquarry.schemas.tables import facts


def reference_of(row):
    return set(blob.decode(row["ref_7"]).flat)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["tiles", "results"])
def test_a_table_goes_out_and_comes_back(engine, content, request, tmp_path, suffix, kind):
    table = request.getfixturevalue(kind)
    path = tmp_path / f"a{suffix}"
    count = download(engine, table, path)
    assert count == len(content(engine, table))
    report = upload(engine, path, "again")
    assert (report.rows, report.failed, report.exit_code) == (count, [], 0)
    assert content(engine, "again") == content(engine, table)
    assert facts(engine.schema("again")) == facts(engine.schema(table))
    assert engine.history("again")[-1]["kind"] == "upload"
    assert upload(engine, path, "again").rows == count  # by key: nothing twice
    assert content(engine, "again") == content(engine, table)


def test_a_csv_of_tiles_needs_no_facts_beside_it(engine, tiles, results, tmp_path):
    download(engine, tiles, tmp_path / "a.csv")
    (tmp_path / "a.csv-metadata.json").unlink()
    assert upload(engine, tmp_path / "a.csv", "again").rows == 2
    download(engine, results, tmp_path / "b.csv")
    (tmp_path / "b.csv-metadata.json").unlink()
    with pytest.raises(UsageError, match="does not say what kind of table"):
        upload(engine, tmp_path / "b.csv", "other")
    assert upload(engine, tmp_path / "b.csv", results).rows == 4


def test_a_csv_carries_hex(engine, content, tiles, tmp_path):
    args = Namespace(
        table=tiles, file=tmp_path / "a.csv", where="", as_of=None, hex="pixels", layout="own",
        explain=False, json=True, original_spelling=False, scale=None,
    )  # fmt: skip
    assert download_job.main(args, engine) == 0
    with open(tmp_path / "a.csv", newline="") as file:
        line = next(csv.DictReader(file))
    row = next(iter(content(engine, tiles).values()))
    assert bytes.fromhex(line["b01"]) == blob.decode(row["b01"]).tobytes()
    assert line["acquired"] == "2006-06-18T17:48:58.250000Z"


def test_the_published_layout_goes_both_ways(engine, content, tiles, tmp_path):
    path = tmp_path / "gmi.csv"
    assert download(engine, tiles, path, layout="published") == 2
    header, *_ = path.read_text().splitlines()
    assert header == ",".join(COLUMNS)
    path.write_text(path.read_text().split("\n", 1)[1])  # published files have no header
    assert upload(engine, path, "again").rows == 2
    for before, after in zip(
        content(engine, tiles).items(), content(engine, "again").items(), strict=True
    ):
        assert before[0] == after[0]
        for name in ("row0", "col0", "b01", "b3n", "b09", "xa", "xb", "xc", "gain_code"):
            assert before[1][name] == after[1][name], name
        for name in ("radiance_scale", "radiance_offset"):
            assert before[1][name] == after[1][name]
        reference = blob.decode(after[1]["ref_7"])
        assert (reference.shape, set(reference.flat)) == ((256, 256), reference_of(before[1]))


def test_bad_rows_are_listed_and_the_others_go_in(engine, tiles, tmp_path, capsys):
    path = tmp_path / "a.csv"
    download(engine, tiles, path)
    first, *lines = path.read_text().split("\nres-30_tilesize-32,")
    path.write_text("\nres-30_tilesize-32,".join([first, lines[0].replace("3,5", "x,5"), *lines]))
    args = Namespace(
        file=path, table="again", sensor="aster_l1t", allow_late_swir=False, json=False
    )
    assert upload_job.main(args, engine) == 3
    said = capsys.readouterr().err
    assert "line 2, column 'tile_x': 'x' is not int32" in said
    assert "2 rows in again; 1 left out." in said
    path.write_text("\nres-30_tilesize-32,".join([first, lines[0].replace("3,5", "x,5")]))
    assert upload_job.main(args, engine) == 1


def test_rows_of_another_table_are_refused(engine, tiles, results, tmp_path):
    download(engine, tiles, tmp_path / "a.csv")
    download(engine, tiles, tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(UsageError, match="holds kind 'tiles', the table 'results'"):
            upload(engine, tmp_path / name, results)
    text = (tmp_path / "a.csv").read_text().replace("\nres-30_tilesize-32", "\nres-30_tilesize-64")
    (tmp_path / "a.csv").write_text(text)
    report = upload(engine, tmp_path / "a.csv", tiles)
    assert report.rows == 0
    assert "is of grid 'res-30_tilesize-64'" in report.failed[0]


def test_polite_refusals(engine, tiles, results, tmp_path):
    with pytest.raises(UsageError, match=r"must end in .csv or .parquet"):
        download(engine, tiles, tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match="there is no such file"):
        upload(engine, tmp_path / "a.csv", tiles)
    with pytest.raises(UsageError, match="the published layout is a CSV"):
        download(engine, tiles, tmp_path / "a.parquet", layout="published")
    with pytest.raises(UsageError, match="has 23 rasters; this table lacks ferric_iron"):
        download(engine, results, tmp_path / "a.csv", layout="published")
    with pytest.raises(UsageError, match="for results, not for tiles"):
        download(engine, tiles, tmp_path / "a.csv", layout="published", published=Layout(True))
    with pytest.raises(UsageError, match="are for --layout published"):
        download(engine, tiles, tmp_path / "a.csv", published=Layout(scale=1e-4))
    with pytest.raises(UsageError, match="No hex style 'base64'"):
        download(engine, tiles, tmp_path / "a.csv", hexadecimal="base64")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["tiles", "results"])
def test_to_another_warehouse_and_its_maps(engine, content, request, tmp_path, suffix, kind):
    """File to warehouse to file: the same rows, the same maps, and uploading twice is once."""
    table = request.getfixturevalue(kind)
    path = tmp_path / f"a{suffix}"
    count = download(engine, table, path)
    local = open_engine(str(tmp_path / "warehouse"))
    for _ in range(2):
        assert upload(local, path, "again").rows == count
        assert local.describe("again")["rows"] == count
    assert content(local, "again") == content(engine, table)
    maps = {}
    for place, (source, name) in enumerate([(engine, table), (local, "again")]):
        for file in export(source, name, tmp_path / str(place), on_empty=id, on_failed=id):
            with rasterio.open(file) as raster:
                maps.setdefault(file.name.split("_", 1)[1], []).append(raster.read().tobytes())
    assert all(one == other for one, other in maps.values())
    assert download(local, "again", path, where="tile_x = 4") == (0 if kind == "tiles" else 2)


@pytest.mark.parametrize(
    ("text", "said"), [("", "is empty"), ("grid,sensor,granule_id\n", "no rows")]
)
def test_a_file_of_nothing_is_called_that(engine, tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        upload(engine, path, "new")
    assert not engine.exists("new")
