"""`byway import`: another program's config, or a subscription, made into Byway's."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byway.cli.live import Verbs


def add_verb(verbs: Verbs) -> None:
    """Add it to the command line."""
    told = "make a config of another program's, or of a subscription"
    verb = verbs.add_parser("import", help=told, description=f"{told[0].upper()}{told[1:]}.")
    verb.add_argument("source", metavar="FILE|URL|-", help="what to read; - is standard input")
    verb.add_argument("-o", "--output", metavar="FILE", help="where to write (standard output)")
    verb.add_argument("--force", action="store_true", help="replace the file that is there")
    verb.add_argument(
        "--via", action="append", default=[], metavar="LINK", help="fetch the URL by this way"
    )
    verb.add_argument("--country", metavar="FILE", help="the .mmdb that knows countries")
    verb.add_argument("--asn", metavar="FILE", help="the .mmdb that knows networks")
    verb.set_defaults(verb=_import)


def _import(options: argparse.Namespace) -> int:
    import os

    from byway.errors import BywayError
    from byway.importing import import_text
    from byway.log import escaped

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
        if options.output:
            _write(options.output, made.text, options.force)
    except (BywayError, OSError, EOFError, ValueError) as error:
        for line in str(error).split("\n"):
            print(f"byway: {escaped(line)}", file=sys.stderr)
        return 1
    if not options.output:
        print(made.text, end="")
    for note in made.notes:
        place = f"{name}:{note.line}" if note.line else name
        print(escaped(f"{place}: {note.what}: {note.why}"), file=sys.stderr)
    kept = made.config
    for odd in kept.warnings:
        if odd.key.endswith(".plugin"):
            print(escaped(f"{odd.key}: {odd.message}: {odd.hint}"), file=sys.stderr)
    counts = {
        "inbound": len(kept.inbounds),
        "outbound": len(kept.outbounds),
        "group": len(kept.groups),
        "set": len(kept.sets),
        "rule": len(kept.rules),
    }
    told = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items())
    many = len(made.notes)
    print(f"{told}; {many} thing{'' if many == 1 else 's'} not as in the source", file=sys.stderr)
    return 0


def _read(options: argparse.Namespace) -> tuple[bytes, str, str | None]:
    """The bytes, what to call them (no secret of a URL in it), and the folder they are of."""
    import asyncio
    import os

    from byway.importing import MOST_BYTES

    source = options.source
    if source == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1), "(standard input)", None
    if source.startswith(("http://", "https://")):
        from byway.importing.fetching import fetched
        from byway.protocols.web_address import WebAddress

        address = WebAddress.parse(source)
        data = asyncio.run(fetched(address, options.via))
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
