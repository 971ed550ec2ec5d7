"""Our tables as Spark sees them: its own Parquet reader over the files of one snapshot, no jar."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from geoquarry.engine.files import is_uri
from geoquarry.engine.layout import Layout
from geoquarry.engine.spark_session import Session
from geoquarry.engine.table import Table


def table_frame(
    session: Session, layout: Layout, files: Iterable[str], columns: Sequence[str] | None = None
) -> Any:
    """Rows of data files as a DataFrame; nothing is read yet.

    Parameters
    ----------
    session : SparkSession
    layout : Layout
    files : iterable of str
        Full paths.
    columns : sequence of str, optional
        Default: all. A column that an old file lacks is null.

    Returns
    -------
    frame : pyspark.sql.DataFrame
    """
    wanted = [layout.schema.field(name) for name in columns or layout.schema.names]
    schema = spark_schema(pa.schema(wanted))
    paths = [spark_path(path) for path in files]
    if not paths:
        return session.createDataFrame([], schema)
    # Spark would take a folder named x=5 above the files for a column x of the table.
    reader = session.read.schema(schema).option("recursiveFileLookup", "true")
    return reader.parquet(*paths)


def view(session: Session, table: Table) -> Any:
    """Make a table a temporary view of its name, as it is now.

    Parameters
    ----------
    session : SparkSession
    table : Table
        A later commit is seen by views made later.
    """
    frame = table_frame(session, table.layout, (file.file_path for file in table.files()))
    frame.createOrReplaceTempView(table.name)
    return frame


def spark_schema(schema: pa.Schema) -> Any:
    """The Spark twin of an Arrow schema, every column nullable as Spark wants it of files."""
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import StructField, StructType

    fields = from_arrow_schema(schema.remove_metadata()).fields
    return StructType([StructField(field.name, field.dataType) for field in fields])


def spark_path(path: str) -> str:
    """A path as Spark takes it to the letter: no pattern, and a local one on no other filesystem.

    >>> spark_path("/data/a [1]/x.parquet")
    'file:/data/a \\\\[1\\\\]/x.parquet'
    """
    literal = re.sub(r"([\\{}\[\]*?])", r"\\\1", path)
    return literal if is_uri(path) else f"file:{literal}"
