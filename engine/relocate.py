"""After a warehouse folder was moved or copied: make its tables point to where their files are.

Iceberg stores absolute paths: in the catalog, in a table's metadata, in its manifest lists and in
its manifests. All of them are written anew beside the old ones; data files are not touched. The
catalog is changed last, so that an interrupted relocation can simply be started again.
"""

import json
import os
import uuid
from copy import copy

from pyiceberg.avro.codecs import AvroCompressionCodec
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    ManifestFile,
    read_manifest_list,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy import text

from geoquarry.engine.catalog import NAMESPACE
from geoquarry.engine.files import is_uri
from geoquarry.engine.warehouse import Warehouse
from geoquarry.schemas.errors import TableError, UsageError

CODEC: AvroCompressionCodec = "deflate"
FILE_PATH = 1
MANIFEST_PATH = 0
"""Places of the paths in pyiceberg's records (fixed by the order of the Iceberg specification)."""


def relocate(warehouse: Warehouse) -> list[str]:
    """Rewrite the paths of all tables whose files now lie in this warehouse's folder.

    Parameters
    ----------
    warehouse : Warehouse
        Opened at its new place. No other process may use it meanwhile.

    Returns
    -------
    tables : list of str
        Names of the tables that were rewritten; their snapshots keep their ids.

    Raises
    ------
    UsageError
        The warehouse is a URI.
    TableError
        A table's metadata is not below the folder: some files were left behind.
    """
    if is_uri(warehouse.location):
        raise UsageError(
            f"Warehouse {warehouse.location} is a URI; relocate mends folders. To move it, "
            "download its tables, or let another Iceberg program rewrite their paths."
        )
    with warehouse.catalog.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT table_name, metadata_location FROM iceberg_tables "
                "WHERE table_namespace = :n"
            ),
            {"n": NAMESPACE},
        ).all()
    moved = []
    for name, recorded in rows:
        location = os.path.join(warehouse.location, "tables", name)
        if not recorded.startswith(location + os.sep):
            new = _relocate_table(name, location, recorded)
            _point_catalog_to(warehouse, name, recorded, new)
            moved.append(name)
    return sorted(moved)


def _point_catalog_to(warehouse: Warehouse, name: str, old: str, new: str) -> None:
    statement = text(
        "UPDATE iceberg_tables SET metadata_location = :new, previous_metadata_location = NULL "
        "WHERE table_namespace = :n AND table_name = :name AND metadata_location = :old"
    )
    with warehouse.catalog.engine.begin() as connection:
        connection.execute(statement, {"new": new, "old": old, "n": NAMESPACE, "name": name})


def _relocate_table(name: str, location: str, recorded: str) -> str:
    """Write metadata, lists and manifests with the new paths; the path of the new metadata."""
    io = PyArrowFileIO()
    here = f"{location}/metadata/{os.path.basename(recorded)}"
    if not os.path.exists(here):
        raise TableError(
            f"Table {name!r}: {here} is missing, so the folder was not moved as a whole. "
            "Copy the rest of the old warehouse, then relocate again."
        )
    metadata = FromInputFile.table_metadata(io.new_input(here))
    old = str(metadata.location)
    said = json.loads(metadata.model_dump_json(by_alias=True, exclude_none=True))
    done: dict[str, ManifestFile] = {}
    for snapshot, plain in zip(metadata.snapshots, said.get("snapshots", []), strict=True):
        manifests = [
            _manifest(io, manifest, metadata, old, location, done)
            for manifest in read_manifest_list(
                io.new_input(_moved(snapshot.manifest_list, old, location))
            )
        ]
        path = f"{location}/metadata/snap-{snapshot.snapshot_id}-0-{uuid.uuid4()}.avro"
        with write_manifest_list(
            format_version=metadata.format_version,
            output_file=io.new_output(path),
            snapshot_id=snapshot.snapshot_id,
            parent_snapshot_id=snapshot.parent_snapshot_id,
            sequence_number=snapshot.sequence_number,
            avro_compression=CODEC,
        ) as writer:
            writer.add_manifests(manifests)
        plain["manifest-list"] = path
    said["location"] = location
    said["metadata-log"] = []
    version = int(os.path.basename(recorded).split("-")[0]) + 1
    target = f"{location}/metadata/{version:05d}-{uuid.uuid4()}.metadata.json"
    with io.new_output(target).create() as stream:
        stream.write(json.dumps(said).encode())
    return target


def _manifest(
    io: FileIO,
    manifest: ManifestFile,
    metadata: TableMetadata,
    old: str,
    location: str,
    done: dict[str, ManifestFile],
) -> ManifestFile:
    """A manifest whose entries have the new paths; the same one for every list it stands in."""
    recorded = manifest.manifest_path
    if recorded in done:
        return done[recorded]
    here = copy(manifest)
    here[MANIFEST_PATH] = _moved(recorded, old, location)
    entries = here.fetch_manifest_entry(io, discard_deleted=False)
    path = f"{location}/metadata/{uuid.uuid4()}-m0.avro"
    with write_manifest(
        format_version=metadata.format_version,
        spec=metadata.specs()[manifest.partition_spec_id],
        schema=metadata.schema(),
        output_file=io.new_output(path),
        snapshot_id=manifest.added_snapshot_id or 0,
        avro_compression=CODEC,
    ) as writer:
        for entry in entries:
            entry.data_file[FILE_PATH] = _moved(entry.data_file.file_path, old, location)
            writer.add_entry(entry)
    here[MANIFEST_PATH] = path
    here[MANIFEST_PATH + 1] = writer.to_manifest_file().manifest_length
    done[recorded] = here
    return here


def _moved(path: str, old: str, location: str) -> str:
    if not path.startswith(f"{old}/"):
        raise TableError(f"{path} does not lie below the table's old place {old}.")
    return location + path.removeprefix(old)
