"""The `byway` command: verbs, no logic. Each verb imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130  # the shells' status for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _fill_standard_descriptors()
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from byway.cli.version import version

        print(f"byway {version()}")
        return 0
    from byway.cli.verbs import parser

    options = parser().parse_args(given)
    verb = options.verb
    try:
        status = verb(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough. Python flushes once more at exit,
        # and that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    assert isinstance(status, int)
    return status


def _fill_standard_descriptors() -> None:
    """Who starts us with `2>&-` must not have our log written into a flow that got the number 2."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
