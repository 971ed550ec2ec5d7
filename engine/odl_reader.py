"""Read ODL text into nested blocks: one pass over its words, no recovery, no guessing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

MAX_DEPTH = 40
"""Blocks within blocks, and lists within lists. HDF-EOS files have five."""
WORD = re.compile(
    r"""\s+ | /\*.*?\*/                     # nothing
    | "(?P<text>[^"]*)" | '(?P<symbol>[^']*)'
    | <(?P<unit>[^<>]*)>
    | (?P<mark>[=(){},;])
    | (?!/\*)(?P<bare>[^\s=(){},;"'<>]+)""",
    re.VERBOSE | re.DOTALL,
)
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
FLOAT = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
CONSTANTS = {"null": None, "true": True, "false": False}
BEGINS = {"group": "group", "object": "object", "begin_group": "group", "begin_object": "object"}
ENDS = {"end_group": "group", "end_object": "object"}
Word = tuple[str, str, int]
"""Kind (a group of `WORD`, or ``end`` after the last), content, and where it stands."""


class OdlError(ValueError):
    """The text is no ODL; says what was found in which line."""


class Block(Mapping[str, Any]):
    """Statements of a group or object: a name gives its first value, ``pairs`` has them all.

    Attributes
    ----------
    pairs : list of (str, value)
        In file order; a value is a text, a number, a bool, None, a list of those, or a Block.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[str, Any]] = []
        self._first: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """One more statement."""
        self.pairs.append((name, value))
        self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> Any:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)


def read_odl(text: str) -> Block:
    """All statements of an ODL text, up to END or its last word.

    Parameters
    ----------
    text : str

    Raises
    ------
    OdlError
        No ODL, or it ends inside a block or a list.

    Examples
    --------
    >>> tree = read_odl('GROUP = A\\n  SIZE = (3, 4.5)\\n  UNIT = "m"\\nEND_GROUP = A\\nEND\\n')
    >>> dict(tree["A"])
    {'SIZE': [3, 4.5], 'UNIT': 'm'}
    """
    return _Reader(text).block("", 0)


class _Reader:
    """The words of a text, one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = self._split()
        self._next = next(self._words)

    def _split(self) -> Iterator[Word]:
        at = 0
        while at < len(self._text):
            found = WORD.match(self._text, at)
            if found is None:
                self._refuse(f"{self._text[at : at + 20]!r}", at)
            if found.lastgroup is not None:
                yield found.lastgroup, found[found.lastgroup], at
            at = found.end()
        while True:
            yield "end", "the end of the text", at

    def _take(self) -> Word:
        word, self._next = self._next, next(self._words)
        return word

    def _refuse(self, found: str, at: int) -> NoReturn:
        line = self._text.count("\n", 0, at) + 1
        raise OdlError(f"{found} in line {line} is out of place")

    def _expect(self, kind: str, content: str | None = None) -> str:
        found, text, at = self._take()
        if found != kind or (content is not None and text != content):
            self._refuse(repr(text[:40]), at)
        return text

    def block(self, kind: str, depth: int) -> Block:
        """Statements up to the END of this kind of block; of the text where ``kind`` is empty."""
        found = Block()
        while True:
            word, name, at = self._take()
            plain = name.lower() if word == "bare" else ""
            if word == "mark" and name == ";":
                continue
            if not kind and (word == "end" or plain == "end"):
                return found
            if kind and ENDS.get(plain) == kind:
                self._next_name(found, at)
                return found
            if word != "bare" or plain in ENDS or plain == "end" or depth > MAX_DEPTH:
                self._refuse(repr(name[:40]), at)
            self._expect("mark", "=")
            if plain in BEGINS:
                own = self._expect("bare")
                inner = self.block(BEGINS[plain], depth + 1)
                if self._closing not in ("", own):
                    self._refuse(f"the end of {self._closing[:40]!r} in {own[:40]!r}", at)
                found.add(own, inner)
            else:
                found.add(name, self._value(0))

    def _next_name(self, block: Block, at: int) -> None:
        """The name that may stand behind END_GROUP, which must be that of the block."""
        self._closing = ""
        if self._next[:2] == ("mark", "="):
            self._take()
            self._closing = self._expect("bare")

    def _value(self, depth: int) -> Any:
        kind, text, at = self._take()
        if kind == "mark" and text in "({" and depth < MAX_DEPTH:
            value: Any = self._list(")" if text == "(" else "}", depth)
        elif kind in ("text", "symbol"):
            value = " ".join(re.sub(r"-[\r\n\f]\s*", "", text).split())
        elif kind == "bare" and text.lower() not in {*BEGINS, *ENDS, "end"}:
            value = _plain(text)
        else:
            self._refuse(repr(text[:40]), at)
        if self._next[0] == "unit":
            self._take()
        return value

    def _list(self, close: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while self._next[:2] != ("mark", close):
            if found:
                self._expect("mark", ",")
            found.append(self._value(depth + 1))
        self._take()
        return sorted(found, key=str) if close == "}" else found


def _plain(text: str) -> Any:
    if INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    return CONSTANTS.get(text.lower(), text)
