"""The rooms of the house, and which doors are open."""

import ast
from pathlib import Path

import pytest

DOORS = {
    "schemas": set(),
    "udfs": {"schemas"},
    "engine": {"schemas"},
    "jobs": {"schemas", "udfs", "engine"},
}
ROOT = Path(__file__).parents[1]
ALLOWED = {"schemas": {"numpy", "pyarrow"}, "udfs": {"numpy", "scipy"}}
"""Third-party packages of the rooms that travel to workers."""


def imports(room, *, top_only=False):
    """(file, dotted name) of everything that the files of a room import."""
    for path in sorted((ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body if top_only else ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: write geoquarry.{room}... in full"
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("room", DOORS)
def test_a_room_imports_only_through_its_doors(room):
    for path, name in imports(room):
        assert name.split(".")[0] not in DOORS, f"{path}: write geoquarry.{name}"
        if name.startswith("geoquarry."):
            assert name.split(".")[1] in DOORS[room] | {room}, f"{path} imports {name}"


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_that_travel_need_little(room):
    import sys

    for path, name in imports(room):
        package = name.split(".")[0]
        known = package in sys.stdlib_module_names or package == "geoquarry"
        assert known or package in ALLOWED[room], f"{path} imports {name}"


def test_udfs_load_without_pyarrow():
    """A MaxCompute worker has NumPy and SciPy, and perhaps nothing else."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "for name in ('pyarrow', 'rasterio', 'duckdb', 'pyiceberg', 'pyhdf'):\n"
        "    sys.modules[name] = None\n"
        "import geoquarry.udfs.methods, geoquarry.udfs.masks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_only_the_sensor_files_know_the_sensor():
    """Band names of one sensor stay in its own files; everything else reads the band table."""
    own = {"aster_l1t", "landscape", "sensor_model", "reference_cloud", "spectra"}
    for room in DOORS:
        for path in (ROOT / room).rglob("*.py"):
            if any(path.stem.startswith(name) for name in own):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            documented = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if id(node) in documented:
                        continue
                    assert node.value.lower() not in {"b3n", "3n", "b01", "b09"}, (
                        f"{path}: {node.value!r}"
                    )
