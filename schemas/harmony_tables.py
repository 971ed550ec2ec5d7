"""Tables between two phases of a job: sums per tile, gains per granule, the balance field."""

from dataclasses import asdict

import pyarrow as pa

from geoquarry.schemas.tables import (
    PER_BAND,
    OutputBand,
    answer_columns,
    column,
    key_columns,
    with_facts,
)

METHOD = "sums"
SUMS_SUFFIX, GAINS_SUFFIX, FIELD_SUFFIX = "_sums", "_gains", "_field"
"""What is added to the name of the results table."""
SUMS = (
    OutputBand("pairs", "granules compared: places in `granules`, shape (pair, 2)", "int32"),
    OutputBand("pair_sums", "sums over common ground, shape (pair, band x 6)", "int64"),
    OutputBand("node_area", "pixels of the overview around a node, shape (n + 1, n + 1)", "int64"),
    OutputBand(
        "node_sums",
        "pixels, reflectance x 1e4 and reference x 1e4 around a node, shape (granule x (1 + band "
        "+ group), node)",
        "int64",
    ),
)


def sums_schema(sensor_name: str, grid_name: str) -> pa.Schema:
    """Schema of the table of sums: what the first phase of a job says about each tile.

    >>> sums_schema("aster_l1t", "res-30_tilesize-96").field("pairs").type
    DataType(binary)
    """
    fields = [
        *answer_columns(),
        column("node_skipped", pa.string(), "why there is nothing to balance with; empty if not"),
    ]
    fields += [column(band.name, pa.binary(), band.description) for band in SUMS]
    about = {"kind": "sums", "sensor": sensor_name, "grid": grid_name, "method": METHOD}
    return with_facts(pa.schema(fields), {**about, "bands": [asdict(band) for band in SUMS]})


def gains_schema(sensor_name: str, grid_name: str) -> pa.Schema:
    """Schema of the table of gains: what makes the granules of a map agree.

    >>> gains_schema("aster_l1t", "res-30_tilesize-96").names[:3]
    ['grid', 'granule_id', 'harmony_gain']
    """
    fields = [
        column("grid", pa.string(), "grid name", key=True),
        column("granule_id", pa.string(), "product identity", key=True),
        column("harmony_gain", PER_BAND, "reflectance = gain x reflectance + offset, per band"),
        column("harmony_offset", PER_BAND, "reflectance = gain x reflectance + offset, per band"),
        column("component", pa.int32(), "number of the connected set of granules"),
        column("pixels", pa.int64(), "overview pixels compared with other granules"),
    ]
    about = {"kind": "gains", "sensor": sensor_name, "grid": grid_name, "unit": ["grid"]}
    return with_facts(pa.schema(fields), about)


def field_schema(sensor_name: str, grid_name: str) -> pa.Schema:
    """Schema of the balance field: gains at the nodes of each tile and one ring around it.

    Nodes on tile edges are shared: neighbours hold the same numbers there.
    """
    fields = [
        *key_columns(),
        column(
            "balance_nodes",
            pa.list_(pa.float32()),
            "gains, shape (group, n + 3, n + 3): nodes -1 to n + 1; null if there is no balance",
        ),
        column("balance_skipped", pa.string(), "why there is none"),
    ]
    about = {"kind": "field", "sensor": sensor_name, "grid": grid_name, "unit": ["grid"]}
    return with_facts(pa.schema(fields), about)
