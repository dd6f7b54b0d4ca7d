"""`byway link` and `byway password`: what two people tell each other so that one gets through."""

from __future__ import annotations

import base64
import secrets
import sys

from byway.config import Config, invitations, write_link
from byway.protocols.shadowsocks import method_named
from byway.protocols.shadowsocks2022 import new_key

SECRET_BYTES = 24  # of a password that is no key; 192 bits cannot be guessed


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


def password(method: str) -> int:
    """Print a new password for a shadowsocks method, or for `trojan`."""
    try:
        found = None if method == "trojan" else method_named(method)
    except ValueError as error:
        words, _, hint = str(error).rpartition("; ")
        more = ", trojan" if hint.startswith("known: ") else ""
        print(f"byway: {words}\n  hint: {hint}{more}", file=sys.stderr)
        return 1
    if found is not None and found.is_2022:
        print(new_key(found, secrets.token_bytes(found.size)))
    else:
        print(base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii"))
    return 0


def _draw(text: str) -> None:
    import segno

    segno.make_qr(text, error="l").terminal(sys.stdout, compact=True)
