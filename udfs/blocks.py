"""Row blocks: work on as many rows at a time as stay in a core's cache."""

from collections.abc import Iterator

BLOCK_PIXELS = 16384
"""Pixels per block: 16 rows of 1024; nine float32 bands of it are 0.6 MB, within a 1 MB L2."""


def rows_per_block(width: int) -> int:
    """Rows of one block for rasters of this width, at least 1.

    >>> rows_per_block(1024), rows_per_block(1_000_000)
    (16, 1)
    """
    return max(1, BLOCK_PIXELS // max(width, 1))


def row_blocks(height: int, width: int) -> Iterator[slice]:
    """Row ranges that cover a raster from top to bottom.

    >>> list(row_blocks(20, 1024))
    [slice(0, 16, None), slice(16, 20, None)]
    """
    step = rows_per_block(width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
