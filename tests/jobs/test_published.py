"""`adopt` and `publish` where there are only files, and published CSV files of results."""

import csv
import sys

import pytest
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine.local import open_engine
from geoquarry.jobs import __main__ as command
from geoquarry.jobs.adopt import adopt
from geoquarry.jobs.publish import publish
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.tables import tiles_schema


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """`aster` and `maps` in a folder."""
    folder = tmp_path_factory.mktemp("published") / "house"
    engine = open_engine(str(folder), workers=1)
    engine.create("aster", tiles_schema(SENSOR.name, GRID))
    engine.append("aster", made_up_rows(tiles=((3, 5),), granules=2))
    argv = ["run", "mineral_indices", "aster", "maps", "--warehouse", str(folder)]
    assert command.main(argv) == 0
    return folder


@pytest.mark.parametrize("job", [adopt, publish])
def test_the_local_engine_says_what_to_use_instead(house, job):
    with pytest.raises(UsageError, match=r"`upload FILE.csv TABLE` reads one.*--engine maxcompute"):
        job(open_engine(str(house)), "maps", "theirs")


def test_results_as_a_published_csv(house, tmp_path):
    path = tmp_path / "fg.csv"
    argv = ["download", "maps", str(path), "--layout", "published", "--warehouse", str(house)]
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    for options, name in (([], "gossan"), (["--original-spelling", "--scale", "1e-4"], "gosson")):
        assert command.main([*argv, *options]) == 0
        with open(path, newline="") as file:
            (row,) = csv.DictReader(file)
        assert (len(row), row["tile_index_x"], row["code"]) == (28, "3", "ok")
        assert len(row[name]) == 64 * 64 * 4


def test_a_spelling_needs_the_layout(house, tmp_path, capsys):
    argv = ["download", "maps", str(tmp_path / "a.csv"), "--warehouse", str(house)]
    assert command.main([*argv, "--original-spelling"]) == 2
    assert "are for --layout published" in capsys.readouterr().err
