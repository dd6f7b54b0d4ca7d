"""`byway import`: another program's config, or a subscription, made into Byway's."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byway.cli.live import Verbs
    from byway.importing import Imported

RULES_LEFT_OUT = 3
"""The exit status when rules are left out, so that flows may go another way than in the source."""
_MOST_WAYS = 12  # that lost rules are counted by


def add_verb(verbs: Verbs) -> None:
    """Add it to the command line."""
    text = "convert a config of another program, or a subscription"
    verb = verbs.add_parser("import", help=text, description=f"{text[0].upper()}{text[1:]}.")
    verb.add_argument(
        "source", metavar="FILE|URL|LINK|-", help="the file or URL to read; - is standard input"
    )
    verb.add_argument(
        "-o", "--output", metavar="FILE", help="the file to write (default: standard output)"
    )
    verb.add_argument("--force", action="store_true", help="replace an existing file")
    verb.add_argument(
        "--via",
        action="append",
        default=[],
        metavar="LINK",
        help="fetch the URL through this outbound",
    )
    verb.add_argument(
        "--user-agent", metavar="TEXT", help="the User-Agent for the URL's server (byway)"
    )
    verb.add_argument(
        "--strict", action="store_true", help="write nothing if a rule cannot be converted"
    )
    verb.add_argument("--country", metavar="FILE", help="the .mmdb file of countries")
    verb.add_argument("--asn", metavar="FILE", help="the .mmdb file of networks")
    verb.set_defaults(verb=_import)


def _import(options: argparse.Namespace) -> int:
    import os

    from byway.errors import BywayError, in_words
    from byway.importing import import_text
    from byway.ledger.log import escaped

    if options.output and os.path.lexists(options.output) and not options.force:
        print(f"byway: {escaped(options.output)} exists; --force replaces it", file=sys.stderr)
        return 1
    geo = {
        key: os.path.abspath(path)
        for key in ("country", "asn")
        if (path := getattr(options, key)) is not None
    }
    try:
        data, name, folder = _read(options)
        made = import_text(data, name, folder, geo)
        refused = options.strict and made.left_out
        if options.output and not refused:
            _write(options.output, made.text, options.force)
    except (BywayError, OSError, EOFError, ValueError) as error:
        for line in in_words(error).split("\n"):
            print(f"byway: {escaped(line)}", file=sys.stderr)
        return 1
    if not options.output and not refused:
        print(made.text, end="")
    for line in [*_notes(made, name), *_summary(made)]:
        print(escaped(line), file=sys.stderr)
    if refused:
        print(
            "byway: nothing is written: some rules cannot be converted (--strict)", file=sys.stderr
        )
        return 1
    return RULES_LEFT_OUT if made.left_out else 0


def _notes(made: Imported, name: str) -> list[str]:
    """The notes with their places; then what is missing most."""
    from byway.importing import grouped, missing_most

    places = ((f"{name}:{note.line}" if note.line else name, note) for note in grouped(made.notes))
    lines = [f"{place}: {note.what}: {note.why}" for place, note in places]
    return [*lines, *missing_most(made.notes)]


def _summary(made: Imported) -> list[str]:
    kept = made.config
    lines = [
        f"{odd.key}: {odd.message}: {odd.hint}"
        for odd in kept.warnings
        if odd.key.endswith(".plugin")
    ]
    counts = {
        "inbound": len(kept.inbounds),
        "outbound": len(kept.outbounds),
        "group": len(kept.groups),
        "set": len(kept.sets),
        "rule": len(kept.rules),
    }
    parts = ", ".join(map(_counted, counts.values(), counts))
    lines.append(f"{parts}; {_counted(len(made.notes), 'thing')} not converted exactly")
    if left_out := made.left_out:
        ways = Counter(rule.to for rule in left_out)
        to = ", ".join(f"{count} to {way}" for way, count in ways.most_common(_MOST_WAYS))
        more = len(ways) - _MOST_WAYS
        to += f" and {more} other ways" if more > 0 else ""
        partly = sum(rule.part for rule in left_out)
        of = f" ({partly} in part)" if partly else ""
        what = _counted(len(left_out), "rule")
        lines.append(f"LEFT OUT: {what}{of}: {to}. Their flows now reach the rules after them")
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _read(options: argparse.Namespace) -> tuple[bytes, str, str | None]:
    """The bytes, what to call them (no secret of a URL in it), and the folder they are of."""
    import asyncio
    import os

    from byway.importing import MOST_BYTES

    source = options.source
    if source == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1), "(standard input)", None
    scheme, separator, _ = source.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        return source.encode(), "(link)", None
    if separator:
        from byway.app.fetching import fetched
        from byway.protocols.web_address import WebAddress

        address = WebAddress.parse(source)
        data = asyncio.run(fetched(address, options.via, options.user_agent))
        return data, f"{address.scheme}://{address.authority}", None
    with open(source, "rb") as file:
        return file.read(MOST_BYTES + 1), source, os.path.dirname(os.path.abspath(source))


def _write(path: str, text: str, force: bool) -> None:
    """Whole or not at all, for this user's eyes alone: it may hold passwords. Raises OSError."""
    import contextlib
    import os
    import tempfile

    descriptor, part = tempfile.mkstemp(".part", ".byway-", os.path.dirname(path) or ".")  # 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            os.rename(part, path)
        else:
            os.link(part, path)  # as a rename, and refuses where something is
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
