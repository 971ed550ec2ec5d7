"""The archive that travels to MaxCompute: what is in it, the same everywhere, nothing else."""

import io
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import pytest

from geoquarry.engine.maxcompute_archive import WORKER, Archive, archive_of
from geoquarry.schemas.errors import UsageError

METHODS = "geoquarry.udfs.methods:compute"


@pytest.fixture(scope="module")
def archive():
    return archive_of(METHODS)


def unpacked(archive, folder):
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "packages"


def test_it_is_the_same_to_the_bit_whenever_it_is_made(archive):
    again = archive_of(METHODS)
    assert (again.name, again.data) == (archive.name, archive.data)
    changed = Archive({**archive.files, "geoquarry/__init__.py": b"# another\n"})
    assert changed.name != archive.name
    assert archive.name.startswith("geoquarry_")
    assert archive.name.endswith(".tar.gz")


def test_nothing_of_this_host_is_in_it(archive):
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        for member in tar.getmembers():
            assert member.isfile()
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
            assert member.name.startswith("packages/geoquarry/")
    assert archive.data[4:8] == bytes(4)  # gzip's own time


def test_it_holds_what_the_udf_needs_and_nothing_else(archive):
    files = set(archive.files)
    assert "geoquarry/udfs/tile_method.py" in files
    assert "geoquarry/udfs/lut_aster_l1t_continental.npz" in files
    assert "geoquarry/schemas/aster_l1t_bands.csv" in files
    assert f"{WORKER.replace('.', '/')}.py" in files
    for absent in ("udfs/landscape.py", "udfs/sensor_model.py", "schemas/tables.py"):
        assert f"geoquarry/{absent}" not in files
    engine = {path for path in files if path.startswith("geoquarry/engine/")}
    own = WORKER.replace(".", "/")
    assert engine == {"geoquarry/engine/__init__.py", f"{own}.py", f"{own}_values.py"}
    assert not [path for path in files if path.startswith("geoquarry/jobs")]
    assert archive.needs == ("numpy", "scipy")
    assert len(archive.data) < 400_000


def test_a_worker_can_load_it_and_only_it(archive, tmp_path):
    """With NumPy and SciPy and nothing else, from the archive alone."""
    folder = unpacked(archive, tmp_path)
    code = """
        import sys
        for name in ("pyarrow", "duckdb", "pyiceberg", "rasterio", "sqlglot", "odps"):
            sys.modules[name] = None
        sys.path.insert(0, sys.argv[1])
        import geoquarry
        assert geoquarry.__file__.startswith(sys.argv[1])
        from geoquarry.engine.maxcompute_worker import Worker
        import geoquarry.udfs.methods as methods
        from geoquarry.schemas.sensor import sensor
        from geoquarry.schemas import blob
        assert len(sensor("aster_l1t").bands) == 9
        assert methods.revision("aster_l1t")
        assert blob.header(blob.encode([[1, 2]], dtype="uint8")).codec == "zlib"
        loaded = {m.__file__ for n, m in sys.modules.items() if n.startswith("geoquarry")}
        assert all(path.startswith(sys.argv[1]) for path in loaded), loaded
    """
    subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(code), str(folder)], check=True, timeout=60
    )


def test_all_of_it_is_python_3_11(archive):
    import ast

    for path, data in archive.files.items():
        if path.endswith(".py"):
            ast.parse(data, path, feature_version=(3, 11))


def test_tables_of_the_users_own_folder_travel_too(tmp_path, monkeypatch, archive):
    own = tmp_path / "lut_aster_l1t_continental.npz"
    own.write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("not this")
    monkeypatch.setenv("GEOQUARRY_LUT_DIR", str(tmp_path))
    found = archive_of(METHODS)
    assert found.files["geoquarry/udfs/lut_aster_l1t_continental.npz"] == b"mine"
    assert found.name != archive.name
    assert not [path for path in found.files if "notes" in path]


def test_what_works_with_this_host_does_not_travel():
    with pytest.raises(UsageError, match=r"engine local or spark"):
        archive_of("geoquarry.engine.sixs_batch:compute")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import pandas\n", "imports pandas, which MaxCompute's workers do not have"),
        ("from .other import x\n", "write imports in full"),
        ("try:\n    import duckdb\nexcept ImportError:\n    pass\n", "imports duckdb"),
    ],
)
def test_a_udf_of_ones_own_is_checked(tmp_path, monkeypatch, text, said):
    Path(tmp_path, "own_udf.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_udf", raising=False)
    with pytest.raises(UsageError, match=said):
        archive_of("own_udf:compute")


def test_a_udf_of_ones_own_travels(tmp_path, monkeypatch):
    Path(tmp_path, "my_udf.py").write_text(
        "from typing import TYPE_CHECKING\nimport numpy as np\n"
        "from geoquarry.schemas.blob import decode\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "def compute(rows, job):\n    import pandas\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = archive_of("my_udf:compute")
    assert "my_udf.py" in found.files
    assert "geoquarry/schemas/blob.py" in found.files
    assert found.needs == ("numpy",)


def test_no_such_module():
    with pytest.raises(UsageError, match="nowhere"):
        archive_of("nowhere.at_all:compute")
