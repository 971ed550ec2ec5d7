"""Where the command line begins: Ctrl-C is answered in one line while libraries are loaded, too."""

import os
import signal
import sys
from types import FrameType

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> int:
    """Load the command line, which takes seconds, and run it."""
    if sys.argv[1:] == ["--version"]:  # needs none of that
        from geoquarry.jobs.version import package_version

        print(package_version())
        return 0
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # not, for example, ignored by a script
        # An exception in the middle of an import may come out as another one, or not at all.
        signal.signal(signal.SIGINT, _stop)
    from geoquarry.jobs import __main__ as command_line

    try:
        if heard is signal.default_int_handler:
            signal.signal(signal.SIGINT, heard)
        return command_line.main()
    except KeyboardInterrupt:
        print("geoquarry: stopped.", file=sys.stderr)
        return STOPPED


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave at once: nothing was begun."""
    os.write(2, b"geoquarry: stopped.\n")
    os._exit(STOPPED)
