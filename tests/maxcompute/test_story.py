"""The whole story on the command line: scenes to rows here, up, computed there, down, maps.

``-s`` prints what is behind it as a table.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoquarry.engine.local import open_engine
from geoquarry.jobs import __main__ as command
from geoquarry.schemas.digest import parity_digest

pytestmark = [pytest.mark.maxcompute]

GRID = "res-30_tilesize-96"
METHODS = ("mosaic", "color_balancing", "mineral_indices")


def real_scenes(folder):
    """`ingest` arguments of the shared scenes, site by site."""
    for site in json.loads((folder / "scenes.json").read_text())["sites"]:
        yield [
            *(str(folder / item["file"]) for item in site["granules"]),
            *("--aod", str(folder / site["aod"]), "--reference", str(folder / site["modis"])),
            *("--dem", *(str(folder / name) for name in site["dem"])),
            *("--tile", ",".join(map(str, site["tile_index"]))),
        ]


def simulated_scenes(folder):
    """The same of simulated ones, for checkouts without ../shared."""
    done("simulate", str(folder), "--size", "96", "--scenes", "3", "--seed", "3")
    yield [
        *map(str, sorted(folder.glob("AST_L1T_*.hdf"))),
        *("--aod", *map(str, sorted(folder.glob("MCD19A2*.hdf")))),
        *("--dem", *map(str, sorted(folder.glob("*_dem.tif")))),
        *("--reference", *map(str, folder.glob("*reference*.tif"))),
    ]


def done(*argv):
    """Run one command, which must succeed; the seconds it took."""
    began = time.monotonic()
    assert command.main(list(argv)) == 0, argv
    return time.monotonic() - began


@pytest.fixture
def here(tmp_path):
    """Options of commands on the local engine."""
    return ["--warehouse", str(tmp_path / "local")]


@pytest.fixture
def there(server, tmp_path, monkeypatch):
    """Options of commands on the loopback project; the secret comes from the environment."""
    monkeypatch.setenv("ODPS_ACCESS_ID", server.access_id)
    monkeypatch.setenv("ODPS_ACCESS_KEY", server.secret)
    monkeypatch.setenv("ODPS_ENDPOINT", server.endpoint)
    monkeypatch.setenv("ODPS_TUNNEL_ENDPOINT", server.tunnel_endpoint)
    monkeypatch.setenv("ODPS_PROJECT_NAME", server.project)
    return ["--engine", "maxcompute", "--warehouse", str(tmp_path / "scratch")]


@pytest.fixture
def rows(here, shared_or_simulated, tmp_path):
    """Scenes cut to rows on the local engine, and written to a file of each kind."""
    for scenes in shared_or_simulated:
        done("ingest", *scenes, "--table", "aster", "--grid", GRID, *here)
    files = [tmp_path / "rows.csv", tmp_path / "rows.parquet"]
    for file in files:
        done("download", "aster", str(file), *here)
    return files


@pytest.fixture
def shared_or_simulated(tmp_path):
    folder = Path(__file__).resolve().parents[3] / "shared" / "scenes" / "s96"
    return list(real_scenes(folder) if folder.is_dir() else simulated_scenes(tmp_path / "scenes"))


def digest(location, table):
    return parity_digest(open_engine(location).read(table).read_all().to_pylist())


def test_upload_run_download_export(server, here, there, rows, tmp_path, capsys):
    told, csv, parquet = [], *rows
    seconds = done("upload", str(csv), "aster", *there)
    told.append(("upload rows.csv", seconds, f"{csv.stat().st_size / 1e6:.1f} MB"))
    done("upload", str(parquet), "aster", *there)  # the same rows again, as another kind of file
    for method in METHODS:
        done("run", method, "aster", method, *here)
        took = done("run", method, "aster", method, *there)
        capsys.readouterr()
        again = done("run", method, "aster", method, "--json", *there)
        report = json.loads(capsys.readouterr().out)
        assert (report["tiles"], report["counts"]["skipped"]) == (2, 2), report
        file = tmp_path / f"{method}.parquet"
        came = done("download", method, str(file), *there)
        back = str(tmp_path / "back")
        done("upload", str(file), method, "--warehouse", back)
        ours = digest(here[1], method)
        assert digest(back, method) == ours, method
        told += [
            (f"run {method}", took, f"digest {ours[:16]}, equal to local"),
            (f"run {method} again", again, "nothing due"),
            (f"download {method}", came, f"{file.stat().st_size / 1e6:.2f} MB"),
        ]
        maps = [tmp_path / where / method for where in ("here", "there")]
        done("export", method, str(maps[0]), *here)
        seconds = done("export", method, str(maps[1]), *there)
        files = [sorted(path.name for path in folder.glob("*.tif")) for folder in maps]
        assert files[0] == files[1] != []
        for name in files[0]:
            with rasterio.open(maps[0] / name) as a, rasterio.open(maps[1] / name) as b:
                assert np.array_equal(a.read(), b.read(), equal_nan=True)
                assert a.bounds == b.bounds
        told.append((f"export {method}", seconds, f"{len(files[0])} COG, pixels equal"))
    sent = "".join(f"{request.target}{request.headers}" for request in server.requests)
    assert server.secret not in sent
    assert server.secret not in "".join(capsys.readouterr())
    told.append(("requests in all", 0.0, str(len(server.requests))))
    with capsys.disabled():
        print()
        for what, seconds, result in told:
            print(f"  {what:<28}{seconds:7.1f} s   {result}")


def test_published_tables_in_between(there, here, rows, tmp_path):
    """Rows of ours as a published table, taken over again, computed, published as results."""
    done("upload", str(rows[0]), "aster", *there)
    done("publish", "aster", "aster_26", *there)
    done("adopt", "aster_26", "adopted", *there)
    done("run", "mineral_indices", "adopted", "minerals", *there)
    done("publish", "minerals", "demo_fg", "--original-spelling", *there)
    # the same on files
    done("download", "aster", str(tmp_path / "26.csv"), "--layout", "published", *here)
    done("upload", str(tmp_path / "26.csv"), "adopted", *here)
    done("run", "mineral_indices", "adopted", "minerals", *here)
    done("download", "minerals", str(tmp_path / "minerals.parquet"), *there)
    back = str(tmp_path / "back")
    done("upload", str(tmp_path / "minerals.parquet"), "minerals", "--warehouse", back)
    assert digest(back, "minerals") == digest(here[1], "minerals")
