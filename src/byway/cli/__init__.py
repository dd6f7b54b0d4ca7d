"""The `byway` command: verbs, no logic. Each verb imports what it needs when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from byway.cli.version import version

        print(f"byway {version()}")
        return 0
    from byway.cli.verbs import parser

    options = parser().parse_args(given)
    verb = options.verb
    status = verb(options)
    assert isinstance(status, int)
    return status
