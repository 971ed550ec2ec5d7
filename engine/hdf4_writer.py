"""Write HDF4 files with HDF-EOS2 objects (through pyhdf): the counterpart of `hdf4`.

The content is the same on every run; the bytes differ with the length of the path, which the HDF
library stores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyhdf import VS, V  # noqa: F401  registers the V and VS interfaces
from pyhdf.HDF import HC, HDF
from pyhdf.SD import SD, SDC

TYPES: dict[str, tuple[str, str]] = {
    "uint8": ("UINT8", "DFNT_UINT8"),
    "int16": ("INT16", "DFNT_INT16"),
    "uint16": ("UINT16", "DFNT_UINT16"),
    "float64": ("FLOAT64", "DFNT_FLOAT64"),
}
"""NumPy dtype -> pyhdf's constant, HDF-EOS name."""
DATASET_TAG = 720
"""DFTAG_NDG: what a vgroup calls a dataset."""


@dataclass(frozen=True)
class Field:
    """One dataset.

    Attributes
    ----------
    name : str
    data : array
        Of a dtype in ``TYPES``.
    dimensions : tuple of str
        Without the swath's or grid's name.
    section : str
        Vgroup it belongs to: ``Data Fields`` or ``Geolocation Fields``.
    attributes : mapping
        str -> int, float, or a tuple of them.
    """

    name: str
    data: NDArray[Any]
    dimensions: tuple[str, ...]
    section: str = "Data Fields"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Structure:
    """A swath or a grid: its name, vgroup class (``SWATH``, ``GRID``), sections, and fields."""

    name: str
    kind: str
    sections: tuple[str, ...]
    fields: Sequence[Field]


def write(
    path: Path,
    structures: Sequence[Structure],
    texts: Mapping[str, str],
    *,
    compress: bool = False,
) -> Path:
    """Write one file; an existing one is replaced.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    structures : sequence of Structure
    texts : mapping of str -> str
        Global attributes, in order.
    compress : bool
        Deflate datasets.

    Returns
    -------
    path : Path
    """
    path.unlink(missing_ok=True)
    members: dict[tuple[str, str], list[int]] = {}
    sd = SD(str(path), SDC.WRITE | SDC.CREATE)
    try:
        for name, text in texts.items():
            sd.attr(name).set(SDC.CHAR8, text)
        for structure in structures:
            for item in structure.fields:
                ref = _dataset(sd, item, structure.name, compress=compress)
                members.setdefault((structure.name, item.section), []).append(ref)
    finally:
        sd.end()
    hdf = HDF(str(path), HC.WRITE)
    try:
        groups = hdf.vgstart()
        for structure in structures:
            _vgroups(groups, structure, members)
        groups.end()
    finally:
        hdf.close()
    return path


def _dataset(sd: Any, item: Field, owner: str, *, compress: bool) -> int:
    code = getattr(SDC, TYPES[str(item.data.dtype)][0])
    dataset = sd.create(item.name, code, item.data.shape)
    try:
        for axis, dimension in enumerate(item.dimensions):
            dataset.dim(axis).setname(f"{dimension}:{owner}")
        for name, value in item.attributes.items():
            _attribute(dataset, name, value, code)
        if compress:
            dataset.setcompress(SDC.COMP_DEFLATE, 4)
        dataset[:] = np.ascontiguousarray(item.data)
        return int(dataset.ref())
    finally:
        dataset.endaccess()


def _attribute(dataset: Any, name: str, value: Any, code: int) -> None:
    if isinstance(value, str):
        dataset.attr(name).set(SDC.CHAR8, value)
    elif isinstance(value, float):
        dataset.attr(name).set(SDC.FLOAT64, value)
    else:  # counts are of the dataset's own type
        dataset.attr(name).set(code, list(value) if isinstance(value, tuple) else value)


def _vgroups(
    groups: Any, structure: Structure, members: Mapping[tuple[str, str], list[int]]
) -> None:
    top = groups.attach(-1, 1)
    top._name, top._class = structure.name, structure.kind
    for section in structure.sections:
        child = groups.attach(-1, 1)
        child._name, child._class = section, f"{structure.kind} Vgroup"
        for ref in members.get((structure.name, section), []):
            child.add(DATASET_TAG, ref)
        top.insert(child)
        child.detach()
    top.detach()
