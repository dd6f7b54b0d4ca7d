"""Opening files by the paths that a config names, in folders that others may write, too."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import PurePath

MODE = 0o640  # of a file that is made


def open_to_append(path: str) -> int:
    """A descriptor that appends to a file, which is made if it is not there. Raises OSError.

    In a folder that others may write, no link is followed, also none to a folder, and what is there
    must be a plain file of root or of this user, under this one name: else they would choose what
    Byway writes to, and who reads it.
    """
    parts = PurePath(path).parts
    folder = os.open("/" if parts[0] == "/" else ".", _FOLDER)
    try:
        for part in parts[1:-1] if parts[0] == "/" else parts[:-1]:
            inner = _opened(part, _FOLDER, folder, path)
            os.close(folder)
            folder = inner
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        if not _is_shared(folder):
            return os.open(parts[-1], flags, MODE, dir_fd=folder)
        file = _opened(parts[-1], flags | os.O_NONBLOCK, folder, path)  # a pipe may have no reader
    except OSError as error:
        if error.filename is not None:
            error.filename = path
        raise
    finally:
        os.close(folder)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        why = "is not a regular file"
    elif status.st_uid not in (0, os.geteuid()):
        why = "belongs to another user"
    elif status.st_nlink > 1:
        why = "has another name as well"
    else:
        os.set_blocking(file, True)
        return file
    os.close(file)
    raise OSError(errno.EPERM, f"{why}, in a folder that other users can write to", path)


def _opened(name: str, flags: int, folder: int, path: str) -> int:
    """Something in a folder; not by a link where others may write the folder."""
    shared = _is_shared(folder)
    try:
        return os.open(name, flags | (os.O_NOFOLLOW if shared else 0), MODE, dir_fd=folder)
    except OSError:
        if shared and _is_link(name, folder):
            why = f"{name} is a link in a folder that other users can write to"
            raise OSError(errno.ELOOP, why, path) from None
        raise


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
    except OSError:
        return False


def _is_shared(folder: int) -> bool:
    status = os.fstat(folder)
    others = stat.S_IWGRP | stat.S_IWOTH
    return bool(status.st_mode & others) or status.st_uid not in (0, os.geteuid())


# A folder need not be readable to lead further.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
