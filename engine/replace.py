"""Which files go when new rows come: whole units, or single keys within a unit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from geoquarry.engine.commit import Change
from geoquarry.engine.datafile import RowWriter, WrittenFile, safe_name
from geoquarry.engine.index import read_index
from geoquarry.engine.layout import Layout
from geoquarry.engine.plan import RowRef
from geoquarry.engine.rows import read_batches
from geoquarry.engine.table import Table

Unit = tuple[Any, ...]
"""Values of `Layout.unit`: a granule, or a tile."""
Rest = tuple[Any, ...]
"""Values of the other key columns."""


@dataclass
class Replacement:
    """Finished files and what they replace.

    Attributes
    ----------
    files : list of WrittenFile
    replaced : dict of unit -> keys within the unit, or None for the whole unit
    """

    files: list[WrittenFile] = field(default_factory=list)
    replaced: dict[Unit, set[Rest] | None] = field(default_factory=dict)
    kept: dict[str, WrittenFile] = field(default_factory=dict)

    def change(self, table: Table, commit_id: str) -> Change:
        """Which files to swap at the table's newest state.

        A file of which only some rows are replaced is copied without them; the copy is reused
        when the commit has to be planned again.
        """
        layout = table.layout
        rest = [name for name in layout.key if name not in layout.unit]
        change = Change(add=list(self.files))
        for file in table.files():
            unit = table.unit_of(file)
            if unit not in self.replaced:
                continue
            gone = self.replaced[unit]
            if gone is None or not rest:
                change.remove.append(file)
                continue
            index = read_index(layout, file.file_path)
            keys = list(zip(*(index.column(name).to_pylist() for name in rest), strict=True))
            stay = [place for place, key in enumerate(keys) if key not in gone]
            if len(stay) == len(keys):
                continue
            change.remove.append(file)
            if stay:
                if file.file_path not in self.kept:
                    self.kept[file.file_path] = copy_rows(
                        layout, file.file_path, stay, commit_id, unit
                    )
                change.add.append(self.kept[file.file_path])
        return change


def copy_rows(
    layout: Layout, path: str, places: Sequence[int], commit_id: str, unit: Unit
) -> WrittenFile:
    """Some row groups of a data file as a new one, one row in memory at a time."""
    file = path.removeprefix(f"{layout.location}/data/")
    number = safe_name(path)[-8:]
    name = f"{unit_name(layout, unit)}-kept-{number}"
    writer = RowWriter(layout, layout.data_path(commit_id, name))
    try:
        refs = (RowRef(file, place, "", "", 0) for place in places)
        for batch in read_batches(layout, refs, layout.schema.names):
            writer.add(batch)
        return writer.close()
    except BaseException:
        writer.abort()
        raise


def unit_name(layout: Layout, unit: Unit) -> str:
    """File name of a unit: its granule, or its tile."""
    said = dict(zip(layout.unit, unit, strict=True))
    if "granule_id" in said:
        return safe_name(str(said["granule_id"]))
    if "tile_x" in said and "tile_y" in said:
        return f"x{said['tile_x']}_y{said['tile_y']}"
    return safe_name("_".join(str(value) for value in unit))
