"""A table handle: snapshots and data files of one Iceberg table."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import PrimitiveType

from geoquarry.engine.layout import layout_of
from geoquarry.schemas.errors import GeoquarryError, TableError, UnknownName
from geoquarry.schemas.tables import described_columns
from geoquarry.schemas.tables import facts as facts_of

if TYPE_CHECKING:
    from geoquarry.engine.warehouse import Warehouse

COMMIT_ID = "geoquarry.commit-id"
KIND = "geoquarry.kind"
JOB_ID = "geoquarry.job-id"
MANIFESTS_KEPT = 4096
_manifests: "OrderedDict[str, list[DataFile]]" = OrderedDict()


class Table:
    """One table at one moment; `refresh` moves it to the newest.

    Parameters
    ----------
    name : str
    iceberg : pyiceberg Table
    warehouse : Warehouse

    Attributes
    ----------
    layout : Layout
        What workers need.
    """

    def __init__(self, name: str, iceberg: IcebergTable, warehouse: "Warehouse") -> None:
        self.name = name
        self.iceberg = iceberg
        self.warehouse = warehouse
        self.layout = layout_of(name, iceberg)

    def refresh(self) -> "Table":
        """Look at the newest snapshot."""
        self.iceberg = self.warehouse.table(self.name).iceberg
        self.layout = layout_of(self.name, self.iceberg)
        return self

    @property
    def uuid(self) -> str:
        """Identity of the table: a dropped and remade table has another."""
        return str(self.iceberg.metadata.table_uuid)

    @property
    def location(self) -> str:
        """The table's folder."""
        return str(self.iceberg.metadata.location)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema as given at creation, later columns added."""
        return self.layout.schema

    @property
    def facts(self) -> dict[str, Any]:
        """Kind, sensor, grid; for results also method and bands."""
        return facts_of(self.schema)

    @property
    def snapshot_id(self) -> int | None:
        """The current snapshot; None while the table is empty and new."""
        snapshot = self.iceberg.current_snapshot()
        return snapshot.snapshot_id if snapshot else None

    def snapshots(self) -> list[Snapshot]:
        """All snapshots that still exist, oldest first."""
        return sorted(self.iceberg.metadata.snapshots, key=lambda found: found.sequence_number or 0)

    def find_commit(self, commit_id: str) -> int | None:
        """The snapshot that a commit id made, if it did."""
        for snapshot in self.iceberg.metadata.snapshots:
            summary = snapshot.summary
            if summary and summary.additional_properties.get(COMMIT_ID) == commit_id:
                return snapshot.snapshot_id
        return None

    def files(self, snapshot_id: int | None = None) -> list[DataFile]:
        """Data files of a snapshot (default: the current one).

        Raises
        ------
        UnknownName
            No such snapshot.
        TableError
            The table carries delete files: another program deleted single rows. Or a file that
            lists them is damaged.
        """
        snapshot = self.iceberg.current_snapshot()
        if snapshot_id is not None:
            snapshot = self.iceberg.snapshot_by_id(snapshot_id)
            if snapshot is None:
                raise UnknownName(
                    f"Table {self.name!r} has no snapshot {snapshot_id}: never made, or expired "
                    "by vacuum. `history` lists those that exist."
                )
        if snapshot is None:
            return []
        found: list[DataFile] = []
        for manifest in self.manifests(snapshot):
            if not (manifest.has_added_files() or manifest.has_existing_files()):
                continue
            if manifest.content != ManifestContent.DATA:
                raise TableError(
                    f"Table {self.name!r} carries delete files, which geoquarry does not read: "
                    "another program deleted single rows. Rewrite the table there (compact it)."
                )
            files = _manifests.get(manifest.manifest_path)
            if files is None:
                with undamaged(self.name, manifest.manifest_path):
                    entries = manifest.fetch_manifest_entry(self.iceberg.io, discard_deleted=True)
                files = [entry.data_file for entry in entries]
                _manifests[manifest.manifest_path] = files  # a manifest never changes
                while len(_manifests) > MANIFESTS_KEPT:
                    _manifests.popitem(last=False)
            found.extend(files)
        return found

    def manifests(self, snapshot: Snapshot) -> list[ManifestFile]:
        """The manifests of a snapshot."""
        with undamaged(self.name, snapshot.manifest_list):
            return snapshot.manifests(self.iceberg.io)

    def unit_of(self, file: DataFile) -> tuple[Any, ...]:
        """The unit (granule, or tile) whose rows a data file holds.

        Raises
        ------
        TableError
            The file mixes units: it was not written by geoquarry.
        """
        bounds = self.bounds(file, self.layout.unit)
        if any(low != high for low, high in bounds):
            raise TableError(
                f"Table {self.name!r}: {file.file_path} mixes {' and '.join(self.layout.unit)}; "
                "it was not written by geoquarry."
            )
        return tuple(low for low, _ in bounds)

    def bounds(self, file: DataFile, columns: Sequence[str]) -> list[tuple[Any, Any]]:
        """Smallest and largest value of key columns in a data file."""
        found = []
        schema = self.iceberg.schema()
        for column in columns:
            field = schema.find_field(column)
            assert isinstance(field.field_type, PrimitiveType)
            try:
                low = from_bytes(field.field_type, file.lower_bounds[field.field_id])
                high = from_bytes(field.field_type, file.upper_bounds[field.field_id])
            except (KeyError, TypeError) as error:
                raise TableError(
                    f"Table {self.name!r}: {file.file_path} has no bounds of {column!r}; "
                    "it was not written by geoquarry."
                ) from error
            found.append((low, high))
        return found

    def describe(self) -> dict[str, Any]:
        """What the table is; see `engine.local.Engine.describe`."""
        files = self.files()
        return {
            "name": self.name,
            "facts": self.facts,
            "columns": described_columns(self.schema),
            "rows": sum(file.record_count for file in files),
            "files": len(files),
            "nbytes": sum(file.file_size_in_bytes for file in files),
            "snapshot_id": self.snapshot_id,
            "uuid": self.uuid,
            "location": self.location,
        }

    def history(self) -> list[dict[str, Any]]:
        """Snapshots, oldest first, as plain dictionaries."""
        rows = []
        for snapshot in self.snapshots():
            said = dict(snapshot.summary.additional_properties) if snapshot.summary else {}
            rows.append(
                {
                    "snapshot_id": snapshot.snapshot_id,
                    "committed": datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
                    "kind": said.get(KIND, ""),
                    "commit_id": said.get(COMMIT_ID, ""),
                    "job_id": said.get(JOB_ID, ""),
                    "added_rows": int(said.get("added-records", 0)),
                    "removed_rows": int(said.get("deleted-records", 0)),
                    "rows": int(said.get("total-records", 0)),
                    "files": int(said.get("total-data-files", 0)),
                    "properties": {
                        name.removeprefix("geoquarry."): value
                        for name, value in said.items()
                        if name.startswith("geoquarry.")
                    },
                }
            )
        return rows


@contextmanager
def undamaged(table: str, path: str) -> Iterator[None]:
    """Say of what a parser of metadata raises which file is damaged, and what to do.

    A file that is missing is no damage here: a vacuum may have taken it, see `commit`.

    Raises
    ------
    TableError
        In place of everything but errors of the storage.
    """
    try:
        yield
    except (OSError, GeoquarryError):
        raise
    except Exception as error:
        raise TableError(
            f"Table {table!r}: {path} is damaged ({type(error).__name__}). Restore it from a copy, "
            "or drop the table and make it again."
        ) from error
