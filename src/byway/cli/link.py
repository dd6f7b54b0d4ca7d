"""`byway link` and `byway password`: what two people tell each other so that one gets through."""

from __future__ import annotations

import sys

from byway import dialects
from byway.config import Config, invitations, write_link


def link(config: Config, name: str, host: str | None, qr: bool) -> int:
    """Print the links of an outbound or an inbound, each with a QR code if asked to."""
    try:
        if name in config.inbounds:
            links = invitations(name, config.inbounds[name], host)
        elif name in config.outbounds:
            links = [(name, write_link(config.outbounds[name], name))]
        else:
            known = ", ".join([*config.inbounds, *config.outbounds])
            print(f"byway: there is no {name!r}\n  hint: known here: {known}", file=sys.stderr)
            return 1
    except ValueError as error:
        print(f"byway: {name}: {error}", file=sys.stderr)
        return 1
    for label, text in links:
        if len(links) > 1:
            print(f"{label}:")
        print(text)
        if qr:
            _draw(text)
    return 0


def password(word: str) -> int:
    """Print a new password or key for a word that some protocol has passwords for."""
    known: list[str] = []
    for name in dialects.TABLE:
        card = dialects.card(name)
        known += card.secrets
        try:
            made = None if card.secret is None else card.secret(word)
        except ValueError as error:
            words, _, hint = str(error).rpartition("; ")
            print(f"byway: {words}\n  hint: {hint}", file=sys.stderr)
            return 1
        if made is not None:
            print(made)
            return 0
    hint = f"known: {', '.join(known)}"
    print(f"byway: unknown method {word[:40]!r}\n  hint: {hint}", file=sys.stderr)
    return 1


def _draw(text: str) -> None:
    import segno

    segno.make_qr(text, error="l").terminal(sys.stdout, compact=True)
