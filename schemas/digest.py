"""Digests: which rows changed (`row_digest`), and do two engines agree (`parity_digest`)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from geoquarry.schemas.blob import decode

NOT_CONTENT = frozenset({"ingest_id", "input_digest", "provenance"})
"""Columns that name a run or a version rather than what was measured or computed."""


def row_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 of one row as stored, without the columns that only name a run.

    Two ingests of the same scene with the same ancillary data give the same digest, so nothing
    downstream is computed again.

    >>> row_digest({"a": 1, "ingest_id": "x"}) == row_digest({"a": 1, "ingest_id": "y"})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(set(row) - NOT_CONTENT):
        _add(digest, name, row[name])
    return digest.hexdigest()


def input_digest(rows: Iterable[str], **parameters: Any) -> str:
    """Digest of everything that decides a tile's result: its rows' digests and the parameters.

    >>> input_digest(["b", "a"], method="mosaic") == input_digest(["a", "b"], method="mosaic")
    True
    """
    content = json.dumps([sorted(rows), parameters], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def parity_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of rows in any order: decoded rasters (dtype, shape, C order) and other columns.

    Equal tables give equal digests whatever codec, engine or file layout holds them.
    """
    parts = []
    for row in rows:
        digest = hashlib.sha256()
        for name in sorted(set(row) - NOT_CONTENT):
            value = row[name]
            if isinstance(value, bytes | memoryview):
                array = np.ascontiguousarray(decode(value))
                _add(digest, name, f"{array.dtype.name}{array.shape}")
                digest.update(array.tobytes())
            else:
                _add(digest, name, value)
        parts.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def _add(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, bytes | memoryview):
        data = bytes(value)
    elif isinstance(value, datetime):
        data = value.isoformat().encode()
    else:
        data = json.dumps(value, sort_keys=True, default=_plain).encode()
    digest.update(f"{name}:{len(data)}:".encode())
    digest.update(data)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Cannot digest a {type(value).__name__}.")
