"""The `byway` command: verbs, no logic. Each verb imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Sequence

MISUSED = 2
INTERRUPTED = 130  # the shells' status for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. No error of the system ends in a traceback."""
    _fill_standard_descriptors()
    _prepare_output()
    try:
        try:
            status = _main(arguments)
        except SystemExit as end:  # of the command line's own, which printed a help or an error
            status = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()  # its reader (`| head`) has closed it
        return 1
    except OSError as error:
        return _failed(error)


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and any("://" in word for word in given):
        from byway.cli.words import hide_links

        if not hide_links():
            hint = "links are visible in the list of processes; - reads them from standard input"
            print(f"byway: {hint}", file=sys.stderr)
    if given in (["--version"], ["-V"]):
        from byway.api.version import version

        print(f"byway {version()}")
        return 0
    from byway.cli.verbs import parser, verbs_of

    known = parser()
    if not given:
        known.print_help()
        return MISUSED
    if not given[0].startswith("-") and given[0] not in (verbs := verbs_of(known)):
        return _unknown(given[0], verbs)
    options = known.words(given)
    del known
    gc.collect()  # half a megabyte of parsers, in circles, that what follows can use
    status = options.verb(options)
    assert isinstance(status, int)
    return status


def _unknown(word: str, verbs: Sequence[str]) -> int:
    """A word that is not a verb: what may have been meant."""
    from byway.ledger.log import escaped
    from byway.values.problems import nearest

    is_file = word.endswith((".yaml", ".yml", ".json")) or os.path.isfile(word)
    if is_file or "://" in word:
        hint = f"byway run {word if is_file else 'LINK'}"
        word = word if is_file else "a link"
    else:
        near = nearest(word, verbs)
        hint = f"did you mean {near}? " if near else ""
        hint += f"verbs: {', '.join(verbs)}"
    print(f"byway: {escaped(word)} is not a verb\n  hint: {escaped(hint)}", file=sys.stderr)
    return MISUSED


def _failed(error: OSError) -> int:
    """Say in a line what went wrong: most often, a disk that is full."""
    from byway.errors import in_words
    from byway.ledger.log import escaped

    _give_up_output()
    with contextlib.suppress(OSError):
        print(f"byway: {escaped(in_words(error))}", file=sys.stderr, flush=True)
    return 1


def _give_up_output() -> None:
    """Python flushes once more at exit; what cannot be written then must not fail again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _prepare_output() -> None:
    """Show characters that the terminal's encoding lacks by number; ignore a closed output."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fill_standard_descriptors() -> None:
    """Keep the log out of a flow that gets descriptor 2, after a start with `2>&-`."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
