"""Sessions of the tunnel, and how it speaks of columns and partitions."""

import re
import time
from dataclasses import dataclass, field

from odps_errors import OdpsError
from odps_types import render


@dataclass
class Upload:
    """One upload session."""

    session_id: str
    table: object
    values: tuple
    overwrite: bool
    status: str = "normal"
    blocks: dict = field(default_factory=dict)
    created: float = field(default_factory=time.time)


@dataclass
class Download:
    """One download session: rows as they were when it began."""

    session_id: str
    columns: list
    pieces: list
    table: object = None
    values: tuple = ()
    part: object = None
    instants_as_struct: bool = False
    polls: int = 0
    created: float = field(default_factory=time.time)

    @property
    def rows(self):
        """Number of rows."""
        return sum(piece.num_rows for piece in self.pieces)


def json_columns(columns):
    """Columns as the service describes them."""
    return [
        {
            "name": column.name,
            "type": render(column.tree),
            "comment": column.comment,
            "label": "",
            "isNullable": column.nullable,
        }
        for column in columns
    ]


def partition_values(table, spec):
    """Values of a partition's text (``zone=x0001,level=2``), in the order of the table's keys."""
    if not table.keys:
        if spec:
            raise OdpsError("InvalidPartitionSpec", f"table {table.name} has no partitions")
        return ()
    if not spec:
        raise OdpsError(
            "MissingPartitionSpec",
            "You need to specify a partitionspec along with the specified table",
        )
    pairs = dict(re.findall(r"\s*(\w+)\s*=\s*'?\"?([^,/'\"]*)'?\"?\s*[,/]?", spec))
    if list(pairs) != [key.name for key in table.keys]:
        raise OdpsError("InvalidPartitionSpec", f"The specified partitionspec is not valid: {spec}")
    return tuple(pairs.values())
