"""An export in the ledger: its id, and which files of one that was cut off are as it left them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoquarry.engine.ledger import Ledger, Record, Unit
from geoquarry.jobs.version import package_version

SHA256 = "sha256 "
"""What the ledger says of a file that is complete; the digest of its bytes follows."""


def recorded(
    ledger: Ledger, request: Mapping[str, Any], about: Mapping[str, Any], retries: str
) -> Record:
    """The page of the ledger: under the commit id of the same export that was cut off, or anew.

    Parameters
    ----------
    ledger : Ledger
    request : mapping
        What was asked for.
    about : mapping
        The table as `Engine.describe` tells of it.
    retries : str
        Commit id of the export of which this one tries again what failed.
    """
    content = [request, about["uuid"], request["as_of"] or about["snapshot_id"], package_version()]
    job_id = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    return ledger.job(
        "export",
        job_id=job_id,
        resume=ledger.unfinished("export", job_id),
        method=request["format"],
        source=request["table"],
        target=request["out_dir"],
        package_version=package_version(),
        request={**request, "retries": retries},
    )


def written_before(ledger: Ledger, record: Record, out: Path) -> set[Unit]:
    """Files of an export that was cut off, if their bytes are those that it wrote.

    The id of the job holds the snapshot and all that was asked for, so the same bytes are what
    this export would write.
    """
    found: set[Unit] = set()
    if not record.resumed:
        return found
    for said in ledger.units(record.commit_id, ("done",)):
        path = out / said["item"]
        if not said["error_class"] and path.is_file() and said["reason"] == told_of(path):
            tile = None if said["tile_x"] is None else (said["tile_x"], said["tile_y"])
            found.add(Unit(said["item"], tile))
    return found


def told_of(path: Path) -> str:
    """What the ledger says of a file that is complete."""
    with open(path, "rb") as file:
        return SHA256 + hashlib.file_digest(file, "sha256").hexdigest()
