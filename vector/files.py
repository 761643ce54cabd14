"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat


def write(path: str | os.PathLike[str], content: bytes, fresh: bool = False) -> None:
    """Put the bytes into a file, whole or not at all, and onto the disk.

    They go to a new file beside it, which then takes its place. A link is followed, and a file that was there passes on
    its permissions; with `fresh`, the link itself is replaced, and the permissions are those of any new file. A process
    that dies while it writes leaves a file `*.tmp`, which may be removed. Raises OSError naming the path when it cannot
    be written, or is a folder, device or pipe.
    """
    target = os.fspath(path) if fresh else os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f"{name[:40]}.{secrets.token_hex(8)}.tmp")  # nobody can foresee it
    try:
        write_new(temporary, content, None if fresh else find_file(target))
        os.replace(temporary, target)
        if os.name != "nt":  # there, folders cannot be opened
            sync_folder(folder or os.curdir)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)


def find_file(path: str) -> os.stat_result | None:
    """Return the status of the file, None if there is none. Raises OSError for a folder, device or pipe."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "expected a file, got a folder, device or pipe")
    return status


def write_new(path: str, content: bytes, like: os.stat_result | None) -> None:
    """Write a file that is not there yet, with the owner and permissions of `like`, if given, and sync it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # exclusive: follows no link
    descriptor = os.open(path, flags, 0o666 if like is None else 0o600)  # less the umask
    try:
        if like is not None and os.name != "nt":
            with contextlib.suppress(OSError):  # only root may give files away
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o777)
        left = memoryview(content)
        while left:  # the system may take less than it is given
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Sync a folder to the disk. Otherwise a rename is lost when the power fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that sync no folders say so
            raise
    finally:
        os.close(descriptor)
