"""Files that appear whole or not at all."""

import errno
import os
import secrets
import shutil
import stat
from pathlib import Path

__all__ = ["write"]


def write(path: Path, content: bytes | str) -> Path:
    """Write `content`, text as UTF-8, to a file beside `path` that then takes its place; return `path`.

    A link is followed, and a file that was there passes on its permissions. Raises OSError for a folder, device or
    pipe.
    """
    target = Path(os.path.realpath(path))
    try:
        there = stat.S_ISREG(os.stat(target).st_mode)
        if not there:
            raise OSError(errno.EINVAL, "expected a file, got a folder, device or pipe", str(path))
    except FileNotFoundError:
        there = False
    part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:  # a new file: no planted link is followed
            if there:
                shutil.copymode(target, part)
            file.write(content.encode() if isinstance(content, str) else content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return path
