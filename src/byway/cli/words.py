"""The words of the command line: links hold passwords, and everybody on a host can read the words.

They are read once and then overwritten, for as long as the process lives; `-` and `@FILE` keep them
out of sight from the start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

MOST_BYTES = 1024 * 1024
_MARK = b"://"
_ARGUMENTS_START = 45  # the field of proc_pid_stat(5), counted from behind the program's name


def hide_links(process: str = "/proc/self") -> bool:
    """Overwrite what follows `://` in the arguments of this process, where others see them. False
    where the system has no way to."""
    try:
        with open(f"{process}/cmdline", "rb") as file:
            words = file.read()
        if _MARK not in words:
            return True
        with open(f"{process}/stat", "rb") as file:
            start = int(file.read().rpartition(b")")[2].split()[_ARGUMENTS_START])
        at = 0
        with open(f"{process}/mem", "r+b", buffering=0) as memory:
            for word in words.split(b"\0"):
                before, mark, secret = word.partition(_MARK)
                if mark:
                    memory.seek(start + at + len(before) + len(mark))
                    memory.write(b"***"[: len(secret)].ljust(len(secret)))
                at += len(word) + 1
    except (OSError, ValueError, IndexError):
        return False
    return True


def with_links_read(words: Iterable[str]) -> list[str]:
    """The links that words stand for: `-` for those on standard input, `@FILE` for those in a file
    (one a line, `#` begins a comment), any other for itself. Raises OSError or ValueError."""
    found: list[str] = []
    for word in words:
        if word == "-":
            found += _lines(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input")
        elif word.startswith("@"):
            with open(word[1:], "rb") as file:
                found += _lines(file.read(MOST_BYTES + 1), os.fspath(word[1:]))
        else:
            found.append(word)
    return found


def _lines(content: bytes, name: str) -> list[str]:
    if len(content) > MOST_BYTES:
        raise ValueError(f"{name} is larger than {MOST_BYTES} bytes")
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError(f"there is not a link in {name}")
    return found
