"""What every program here shares: output that no encoding and no closed pipe stops, and errors on one line."""

import errno
import os
import sys
from collections.abc import Callable

__all__ = ["run", "say"]

NOBODY_READS = (errno.EPIPE, errno.EINVAL)  # the second is what Windows calls it


def say(text: str = "", end: str = "\n") -> None:
    """Print at once.

    Characters that the output's encoding lacks are escaped. If nobody reads it any longer, as after ``| head``, it is
    dropped: a training goes on, and files are written all the same. Raises OSError for a full disk, once.
    """
    try:
        print(text, end=end, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered, and comes later
        if problem.errno not in NOBODY_READS:
            raise


def run(name: str, main: Callable[[], int | None]) -> int:
    """Run a program. Return its exit code; an error is one line on stderr."""
    try:
        try:
            return main() or 0
        finally:
            say(end="")  # what argparse has printed as help may have no reader, either
    except (OSError, ValueError, FloatingPointError) as problem:  # no data, no room, a loss of nan: it says what to do
        print(f"{name}: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
