"""The limit on open files, which bounds how many flows there can be."""

from __future__ import annotations

import resource

PER_FLOW = 2  # its two sockets; splice pipes are pooled and taken only while bytes move
SPARE = 512  # pipes, listeners, the loop, the log, the interpreter, clients between requests
PIPES = 16  # open files for each splice pipe there may be, which is two of them


def open_files() -> int:
    """The soft limit on open files."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # the kernel's own ceiling is lower than the hard limit; what we have must do
    return soft


def pipes_for(open_files: int) -> int:
    """How many splice pipes may take their part of a limit on open files."""
    if open_files == resource.RLIM_INFINITY:
        return 65536
    return max(8, open_files // PIPES)


def flows_for(open_files: int) -> int:
    """How many flows fit under a limit on open files."""
    if open_files == resource.RLIM_INFINITY:
        return 1_000_000
    return max(16, (open_files - SPARE) // PER_FLOW)
