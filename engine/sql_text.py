"""SQL text from outside to trees: the one place where sqlglot reads, with its limits."""

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from geoquarry.schemas.errors import UsageError

MAX_LENGTH = 100_000
"""Characters of a statement; sqlglot reads some 50,000 a second."""
NEAR_WORDS, NEAR_LENGTH = 3, 80
"""How much an error quotes of the place where reading stopped."""
LET_OUT = (SqlglotError, RecursionError, ValueError, LookupError, TypeError, AttributeError)
"""What sqlglot answers to text it cannot read: its own errors, and slips of its own code."""


def read_trees(text: str, dialect: str, what: str, *, before: str = "") -> list[exp.Expression]:
    """The statements of a text as trees; empty ones are left out.

    Parameters
    ----------
    text : str
    dialect : str
        Of sqlglot: whose words they are.
    what : str
        How errors call the text, e.g. ``the condition 'x <'``.
    before : str
        Words of ours that are read before the text; no error quotes them.

    Raises
    ------
    UsageError
        Unreadable, longer than `MAX_LENGTH`, or nested too deeply.

    Examples
    --------
    >>> read_trees("SELECT 1;; SELECT 2", "duckdb", "the SQL")[1].sql()
    'SELECT 2'
    >>> read_trees("SELECT (", "duckdb", "the SQL")
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: Cannot read the SQL: ... missing ... at 'SELECT ('.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(
            f"Cannot read {what}: {len(text)} characters are over the limit of {MAX_LENGTH}."
        )
    try:
        found = sqlglot.parse(before + text, dialect=dialect)
    except LET_OUT as error:
        raise UsageError(f"Cannot read {what}: {_unread(error, before)}") from error
    trees: list[exp.Expression] = [tree for tree in found if isinstance(tree, exp.Expression)]
    return trees


def first_word(text: str, dialect: str) -> str:
    """The first word in upper case, comments left out; empty where the text has no words at all.

    >>> first_word("/* now */ insert into t", "spark")
    'INSERT'
    """
    try:
        words = sqlglot.tokenize(text, dialect=dialect) if len(text) <= MAX_LENGTH else []
    except LET_OUT:
        return ""
    return words[0].text.upper() if words else ""


def written(tree: exp.Expression, dialect: str, what: str) -> str:
    """A tree as text of a dialect.

    Raises
    ------
    UsageError
        It cannot be written, e.g. nested too deeply.
    """
    try:
        return str(tree.sql(dialect=dialect, normalize_functions="upper", comments=False))
    except LET_OUT as error:
        raise UsageError(f"Cannot write {what} as {dialect} SQL: {reason(error)}") from error


def _unread(error: BaseException, before: str) -> str:
    """What sqlglot could not read, by the last words before it; its own classes mean nothing here.

    It counts columns of a text that nobody wrote, so its places are left out.
    """
    if not isinstance(error, ParseError) or not error.errors:
        return reason(error)
    first = error.errors[0]
    read = f"{first.get('start_context') or ''}{first.get('highlight') or ''}"
    near = " ".join(read.removeprefix(before).split()[-NEAR_WORDS:])[-NEAR_LENGTH:]
    what = str(first.get("description") or "")
    if "<class" in what or not what:
        what = "something is missing or misspelt"
    return f"{what} at {near!r}."


def reason(error: BaseException) -> str:
    """The first line of an error: the others draw into the terminal."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
