"""The one place that touches pyiceberg's snapshot machinery: an overwrite that stays small."""

import logging
from collections.abc import Mapping, Sequence

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile, ManifestContent, ManifestFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation

# pyiceberg merges manifests only when it appends (0.12). Without merging every commit leaves one
# or two more: after 120 commits one more took 0.36 s instead of 0.05 s. These two names are not
# public, so they are used here only and tests/engine/test_commit.py watches them.
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles

from geoquarry.engine.failpoint import failpoint

MANIFESTS = 20
"""A commit that would leave more manifests than this merges them."""
MANIFEST_BYTES = 8 * 1024 * 1024

logging.getLogger("pyiceberg.table").setLevel(logging.ERROR)  # it warns of every single retry


class _Transaction(Transaction):
    """Looks at the table's metadata without copying it.

    The original copies it deeply about 18 times per commit, also before there is any update; at
    150 snapshots that was 60 % of a commit.
    """

    @property
    def table_metadata(self) -> TableMetadata:
        return super().table_metadata if self._updates else self._table.metadata


class _Swap(_OverwriteFiles):
    """Explicit files out, explicit files in, few manifests."""

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        kept = [
            manifest
            for manifest in manifests
            if manifest.added_snapshot_id == self.snapshot_id
            or manifest.has_added_files()
            or manifest.has_existing_files()
        ]
        merger = _ManifestMergeManager(
            target_size_bytes=MANIFEST_BYTES,
            min_count_to_merge=MANIFESTS,
            merge_enabled=True,
            snapshot_producer=self,
        )
        data = [manifest for manifest in kept if manifest.content == ManifestContent.DATA]
        rest = [manifest for manifest in kept if manifest.content != ManifestContent.DATA]
        return merger.merge_manifests(data) + rest


def swap_files(
    iceberg: IcebergTable,
    *,
    add: Sequence[DataFile],
    remove: Sequence[DataFile],
    conflicts: BooleanExpression,
    properties: Mapping[str, str],
) -> None:
    """Replace whole data files in one snapshot.

    Parameters
    ----------
    iceberg : pyiceberg Table
        At the state on which ``add`` and ``remove`` were planned.
    add, remove : sequence of DataFile
    conflicts : BooleanExpression
        If another writer added or removed files in this range meanwhile, nothing is committed;
        changes outside it are no obstacle (pyiceberg puts this snapshot on top of them).
    properties : mapping
        Stored in the snapshot's summary.

    Raises
    ------
    ValidationException, CommitFailedException
        From pyiceberg: plan again and come back.
    """
    head = iceberg.current_snapshot()
    with _Transaction(iceberg) as transaction:
        swap = _Swap(
            operation=Operation.APPEND if head is None else Operation.OVERWRITE,
            transaction=transaction,
            io=iceberg.io,
            snapshot_properties=dict(properties),
        )
        swap.delete_by_predicate(conflicts)
        for file in remove:
            swap.delete_data_file(file)
        for file in add:
            swap.append_data_file(file)
        swap.commit()
        failpoint("commit.manifests")
