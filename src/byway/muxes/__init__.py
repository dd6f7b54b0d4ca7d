"""One card per mux: what carries many flows inside one connection of a protocol.

A mux is a module with a `CARD`, whose sections make both ends, and a line in the table. It is
loaded when a config names it. On config time.
"""

from __future__ import annotations

from importlib import import_module

from byway.muxes.card import MuxCard

TABLE: dict[str, str] = {"sing-mux": "byway.muxes.sing"}
"""The modules of the muxes by the word that `type:` has for them."""


def card(name: str) -> MuxCard:
    """The card of a mux in the table. Raises KeyError."""
    found: MuxCard = import_module(TABLE[name]).CARD
    return found
