"""Read an index formula as text into a small program; nothing is ever evaluated as Python.

The reader knows ``+ - * /``, parentheses, numbers and the bands it is told about, and refuses
everything else.
"""

import ast
from collections.abc import Collection
from typing import TypeAlias

from geoquarry.schemas.errors import FormulaError

Program: TypeAlias = "tuple[str, Program, Program] | str | float"
SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
MAX_LENGTH = 500
MAX_DEPTH = 30


def parse(formula: str, bands: Collection[str]) -> Program:
    """Turn a formula into nested tuples, which any engine can send to its workers.

    Parameters
    ----------
    formula : str
        For example ``(b05 + b07) / b06``.
    bands : collection of str
        Names that may occur.

    Returns
    -------
    program : nested tuple
        ``(symbol, left, right)``, a band name, or a number.

    Raises
    ------
    FormulaError
        Anything outside the allow-list, a formula over 500 characters or nested over 30 deep.

    Examples
    --------
    >>> parse("(nir - red) / (nir + red)", {"nir", "red"})
    ('/', ('-', 'nir', 'red'), ('+', 'nir', 'red'))
    """
    if len(formula) > MAX_LENGTH:
        raise FormulaError(f"Formula of {len(formula)} characters; at most {MAX_LENGTH} are read.")

    def read(node: ast.expr, depth: int) -> Program:
        if depth > MAX_DEPTH:
            raise FormulaError(f"Formula {formula!r} is nested deeper than {MAX_DEPTH}.")
        if isinstance(node, ast.BinOp) and type(node.op) in SYMBOLS:
            symbol = SYMBOLS[type(node.op)]
            return symbol, read(node.left, depth + 1), read(node.right, depth + 1)
        if isinstance(node, ast.Name) and node.id in bands:
            return node.id
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, int | float)
            and not isinstance(node.value, bool)
            and abs(node.value) < 1e9  # float32 holds it; inf cannot be written this way
        ):
            return float(node.value)
        raise FormulaError(
            f"Cannot read {ast.unparse(node)!r} in {formula!r}. "
            f"Use + - * / ( ), numbers, and the bands {', '.join(sorted(bands))}."
        )

    try:
        tree = ast.parse(formula.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(f"Cannot read the formula {formula!r}: {error}") from error
    return read(tree.body, 0)


def bands_of(program: Program) -> list[str]:
    """Band names in a program, sorted, each once.

    >>> bands_of(("/", "b05", ("+", "b06", "b05")))
    ['b05', 'b06']
    """
    return sorted(set(_names(program)))


def denominators(program: Program) -> list[str]:
    """Band names that occur in any denominator, sorted.

    >>> denominators(("+", ("/", "b05", "b3n"), ("/", "b01", "b02")))
    ['b02', 'b3n']
    """
    if not isinstance(program, tuple):
        return []
    symbol, left, right = program
    found = set(denominators(left)) | set(denominators(right))
    if symbol == "/":
        found |= set(_names(right))
    return sorted(found)


def _names(program: Program) -> list[str]:
    if isinstance(program, tuple):
        return _names(program[1]) + _names(program[2])
    return [program] if isinstance(program, str) else []
