"""ODL text as HDF-EOS files carry it: the counterpart of `odl`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STRUCT_LENGTH = 32000
"""HDF-EOS pads its structure metadata to this many characters."""


def group(name: str, objects: Iterable[tuple[str, str, Any]]) -> str:
    """One ECS metadata group of objects with a value and perhaps a class.

    Parameters
    ----------
    name : str
    objects : iterable of (name, class, value)
        Class ``""`` = none; a value is a number, a text, or a tuple of them.

    Returns
    -------
    text : str

    Examples
    --------
    >>> print(group("SCENE", [("GAIN", "1", ("01", "HGH"))]))
    GROUP = SCENE
      OBJECT = GAIN
        CLASS = "1"
        NUM_VAL = 2
        VALUE = ("01", "HGH")
      END_OBJECT = GAIN
    END_GROUP = SCENE
    <BLANKLINE>
    """
    lines = [f"GROUP = {name}"]
    for key, class_, value in objects:
        count = len(value) if isinstance(value, tuple) else 1
        lines.append(f"  OBJECT = {key}")
        if class_:
            lines.append(f'    CLASS = "{class_}"')
        lines += [f"    NUM_VAL = {count}", f"    VALUE = {_text(value)}", f"  END_OBJECT = {key}"]
    return "\n".join([*lines, f"END_GROUP = {name}", ""])


def close(*groups: str) -> str:
    """Groups as one complete text.

    >>> close("GROUP = A\\nEND_GROUP = A\\n").endswith("END\\n")
    True
    """
    return "\n".join([*groups, "END", ""])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_text(part) for part in value) + ")"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def structure(
    *, swaths: Sequence[Mapping[str, Any]] = (), grids: Sequence[Mapping[str, Any]] = ()
) -> str:
    """``StructMetadata.0``: which datasets belong to which swath or grid.

    Parameters
    ----------
    swaths : sequence of mapping
        ``name``; ``dimensions`` (name -> size); ``maps`` (list of geo dimension, data dimension,
        increment); ``geo_fields`` and ``fields`` (list of name, type, dimensions).
    grids : sequence of mapping
        ``name``, ``columns``, ``rows``, ``upper_left``, ``lower_right`` [m], ``dimensions``,
        ``fields``; always the MODIS sinusoidal projection.

    Returns
    -------
    text : str
        Padded with blanks to ``STRUCT_LENGTH``.
    """
    lines = ["GROUP=SwathStructure"]
    for place, swath in enumerate(swaths, start=1):
        maps = [
            (
                f"DimensionMap_{i}",
                [
                    f'GeoDimension="{geo}"',
                    f'DataDimension="{data}"',
                    "Offset=0",
                    f"Increment={increment}",
                ],
            )
            for i, (geo, data, increment) in enumerate(swath["maps"], start=1)
        ]
        lines += [
            f"\tGROUP=SWATH_{place}",
            f'\t\tSwathName="{swath["name"]}"',
            *_block("Dimension", _dimensions(swath["dimensions"])),
            *_block("DimensionMap", maps),
            *_block("IndexDimensionMap", []),
            *_block("GeoField", _fields("GeoField", swath["geo_fields"])),
            *_block("DataField", _fields("DataField", swath["fields"])),
            *_block("MergedFields", []),
            f"\tEND_GROUP=SWATH_{place}",
        ]
    lines += ["END_GROUP=SwathStructure", "GROUP=GridStructure"]
    for place, grid in enumerate(grids, start=1):
        lines += [
            f"\tGROUP=GRID_{place}",
            f'\t\tGridName="{grid["name"]}"',
            f"\t\tXDim={grid['columns']}",
            f"\t\tYDim={grid['rows']}",
            "\t\tUpperLeftPointMtrs=({:.6f},{:.6f})".format(*grid["upper_left"]),
            "\t\tLowerRightMtrs=({:.6f},{:.6f})".format(*grid["lower_right"]),
            "\t\tProjection=GCTP_SNSOID",
            "\t\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)",
            "\t\tSphereCode=-1",
            *_block("Dimension", _dimensions(grid["dimensions"])),
            *_block("DataField", _fields("DataField", grid["fields"])),
            *_block("MergedFields", []),
            f"\tEND_GROUP=GRID_{place}",
        ]
    lines += ["END_GROUP=GridStructure", "GROUP=PointStructure", "END_GROUP=PointStructure", "END"]
    return ("\n".join(lines) + "\n").ljust(STRUCT_LENGTH)


_Objects = list[tuple[str, list[str]]]


def _dimensions(sizes: Mapping[str, int]) -> _Objects:
    return [
        (f"Dimension_{i}", [f'DimensionName="{name}"', f"Size={size}"])
        for i, (name, size) in enumerate(sizes.items(), start=1)
    ]


def _fields(kind: str, fields: Sequence[tuple[str, str, Sequence[str]]]) -> _Objects:
    return [
        (
            f"{kind}_{i}",
            [
                f'{kind}Name="{name}"',
                f"DataType={type_}",
                "DimList=(" + ",".join(f'"{d}"' for d in dimensions) + ")",
            ],
        )
        for i, (name, type_, dimensions) in enumerate(fields, start=1)
    ]


def _block(name: str, objects: _Objects) -> list[str]:
    lines = [f"\t\tGROUP={name}"]
    for key, content in objects:
        lines += [f"\t\t\tOBJECT={key}", *(f"\t\t\t\t{line}" for line in content)]
        lines.append(f"\t\t\tEND_OBJECT={key}")
    return [*lines, f"\t\tEND_GROUP={name}"]
