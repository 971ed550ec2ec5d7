"""ODL metadata of HDF-EOS files: ECS objects with class and value, and grid structures.

Repeated objects stay apart, pieces that were split over ``name.0``, ``name.1`` are joined again,
and a damaged text is one clear error.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geoquarry.engine.odl_reader import Block, OdlError, read_odl
from geoquarry.schemas.errors import InputError

_MISSING = object()


def parse(text: str, where: str) -> Block:
    """Read one ODL text into nested groups; repeated names are kept.

    Parameters
    ----------
    text : str
        May end in NUL padding, as HDF-EOS attributes of 32,000 characters do.
    where : str
        File and attribute, for the message.

    Returns
    -------
    tree : Block
        Groups and objects in file order.

    Raises
    ------
    InputError
        The text is not ODL, or ends in the middle.

    Examples
    --------
    >>> parse("GROUP = A\\n  SIZE = 3\\nEND_GROUP = A\\nEND\\n", "here")["A"]["SIZE"]
    3
    """
    try:
        return read_odl(text.rstrip("\0 \t\r\n"))
    except OdlError as error:
        raise InputError(
            f"{where}: damaged ODL metadata: {error}. Fetch the file again."
        ) from error


@dataclass(frozen=True)
class Metadata:
    """Values of all ODL objects of a file, by name and class.

    Attributes
    ----------
    where : str
        The file, for messages.
    items : dict of str -> list of (str, value)
        In file order; the class is ``""`` where the object has none.
    """

    where: str
    items: dict[str, list[tuple[str, Any]]]

    def __contains__(self, name: str) -> bool:
        return name in self.items

    def value(self, name: str, default: Any = _MISSING) -> Any:
        """The first value of a name: text, number, or list.

        Raises
        ------
        InputError
            The name is absent and no default was given.
        """
        if name in self.items:
            return self.items[name][0][1]
        if default is _MISSING:
            raise InputError(f"{self.where}: metadata key {name} is missing.")
        return default

    def values(self, name: str) -> dict[str, Any]:
        """All values of a repeated name, class -> value, in file order.

        Objects without a class, or with one seen before, are told apart by a running number.
        """
        found: dict[str, Any] = {}
        for class_, value in self.items.get(name, []):
            key = class_ or str(len(found) + 1)
            while key in found:
                key += "'"
            found[key] = value
        return found

    def number(self, name: str, default: Any = _MISSING) -> float:
        """The first value of a name as a finite float.

        Raises
        ------
        InputError
            Absent, or not a number.
        """
        value = self.value(name, default)
        try:
            return _finite(value)
        except (TypeError, ValueError):
            raise InputError(
                f"{self.where}: metadata key {name} should be a number, found {value!r:.60}."
            ) from None

    def numbers(self, name: str, count: int) -> list[float]:
        """The first value of a name as a list of that many floats.

        Raises
        ------
        InputError
            Absent, another length, or not numbers.
        """
        value = self.value(name)
        try:
            numbers = [_finite(x) for x in value]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != count:
            raise InputError(
                f"{self.where}: metadata key {name} should be {count} numbers, found {value!r:.60}."
            )
        return numbers


def pieces(attributes: Mapping[str, Any], family: str, suffix: str = r"\w+") -> dict[str, str]:
    """ODL texts of one family of global attributes, split pieces joined.

    A text longer than 32,000 characters is cut anywhere and goes on in the next number; ASTER on
    the other hand numbers whole texts. A piece that closes with END is whole.

    Parameters
    ----------
    attributes : mapping of str -> value
        Global attributes of a file.
    family : str
        Name before the dot, e.g. ``productmetadata``; upper and lower case are the same.
    suffix : str
        Pattern of what may follow the dot.

    Returns
    -------
    texts : dict of str -> str
        Name of the first piece -> text.

    Examples
    --------
    >>> pieces({"core.1": "B = 2 END", "core.0": "A = 1 ", "core.v": "C=3\\nEND\\0"}, "core")
    {'core.0': 'A = 1 B = 2 END', 'core.v': 'C=3\\nEND'}
    """
    pattern = re.compile(rf"{re.escape(family)}\.({suffix})", re.IGNORECASE)
    found = {name: match[1] for name in attributes if (match := pattern.fullmatch(name))}
    order = sorted(found, key=lambda n: (not found[n].isdigit(), found[n].zfill(4)))
    texts: dict[str, str] = {}
    opened = ""
    for name in order:
        text = str(attributes[name]).rstrip("\0")
        numbered = found[name].isdigit()
        if opened and numbered:
            texts[opened] += text
        else:
            texts[name] = text
        start = opened if opened and numbered else name
        opened = "" if re.search(r"\bEND\s*$", texts[start]) or not numbered else start
    return texts


def read(attributes: Mapping[str, Any], families: tuple[str, ...], where: str) -> Metadata:
    r"""Collect the ECS objects of several attribute families.

    Parameters
    ----------
    attributes : mapping of str -> value
        Global attributes of a file.
    families : tuple of str
        Names, each with an optional pattern for the part behind the dot: ``coremetadata``,
        ``productmetadata.[01vs]``.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        None of the families exists, or one is damaged.

    Examples
    --------
    >>> text = 'OBJECT=GAIN\n CLASS="1"\n VALUE=("01","HGH")\nEND_OBJECT=GAIN\n'
    >>> read({"core.0": text + text.replace("1", "2") + "END"}, ("core",), "a").values("GAIN")
    {'1': ['01', 'HGH'], '2': ['02', 'HGH']}
    """
    items: dict[str, list[tuple[str, Any]]] = {}
    texts: dict[str, str] = {}
    for family in families:
        name, _, suffix = family.partition(".")
        texts |= pieces(attributes, name, suffix or r"\w+")
    if not texts:
        names = " or ".join(family.partition(".")[0] for family in families)
        raise InputError(f"{where}: no metadata attribute {names}. Is it another product?")
    for name, text in texts.items():
        for key, class_, value in _objects(parse(text, f"{where} ({name})"), ""):
            items.setdefault(key.upper(), []).append((class_, value))
    return Metadata(where, items)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _objects(tree: Block, class_: str) -> Iterator[tuple[str, str, Any]]:
    """Walk the tree; an object's class is its own, else that of the container around it."""
    for name, node in tree.pairs:
        if not isinstance(node, Block):
            continue
        own = str(node.get("CLASS", class_))
        if "VALUE" in node:
            yield name, own, node["VALUE"]
        else:
            yield from _objects(node, own)
