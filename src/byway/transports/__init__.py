"""One card per transport: what wraps a stream between TLS and the protocol.

A transport is a module with a `Transport` section, which makes both ends, and a line in the table.
It is loaded when a config names it. On config time.
"""

from __future__ import annotations

from importlib import import_module

from byway.transports.card import Transport

TABLE: dict[str, str] = {
    "ws": "byway.transports.ws",
    "httpupgrade": "byway.transports.httpupgrade",
}
"""The modules of the transports by the word that `type:` has for them."""


def transport(name: str) -> type[Transport]:
    """The section of a transport in the table. Raises KeyError."""
    found: type[Transport] = import_module(TABLE[name]).TRANSPORT
    return found
