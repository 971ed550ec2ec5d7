"""What a failed instance says, made readable: the last words of a Python traceback."""

import re

from geoquarry.engine.maxcompute_errors import InstanceFailed
from geoquarry.schemas.errors import GeoquarryError, UdfError

LINES = 6
"""Of the traceback, counted from its end."""
MEMORY = ("SIGKILL", "OutOfMemory", "out of memory", "MemoryError", "exceed memory")


def readable(error: InstanceFailed, logview: str = "") -> GeoquarryError:
    """An error for people.

    Parameters
    ----------
    error : InstanceFailed
    logview : str
        Where the service shows the instance.

    Returns
    -------
    error : UdfError or InstanceFailed
        A failure of our function with its reason; any other as it was.
    """
    where = f" Logview: {logview}" if logview else ""
    trace = last_words(error.text)
    if trace:
        hint = ""
        if "ModuleNotFoundError" in trace or "ImportError" in trace:
            hint = (
                " The job's Python or image lacks it: --image names another (scipy has NumPy and "
                "SciPy for Python 3.11)."
            )
        return UdfError(
            f"The function failed on MaxCompute (instance {error.instance_id}), nothing was "
            f"committed: {trace}{hint}{where}"
        )
    if any(word in error.text for word in MEMORY):
        return UdfError(
            f"{error} It ran out of memory: use the plan udtf, a stricter condition or a grid of "
            f"smaller tiles.{where}"
        )
    return error


def last_words(text: str) -> str:
    r"""The end of a Python traceback as one line, innermost last; empty if there is none.

    >>> last_words('ODPS-0123055: x\nTraceback (most recent call last):\n'
    ...     '  File "a.py", line 3, in f\n    import numpy\nModuleNotFoundError: No numpy')
    'File "a.py", line 3, in f | import numpy | ModuleNotFoundError: No numpy'
    """
    _, found, trace = text.rpartition("Traceback (most recent call last):")
    if not found:
        return ""
    lines = [line.strip() for line in re.split(r"\r?\n|\\n", trace) if line.strip()]
    return " | ".join(lines[-LINES:])[:1500]
