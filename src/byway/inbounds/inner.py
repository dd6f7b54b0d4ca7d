"""Connections to reserved host names, by which a client asks for a session of many flows.

UDP over TCP is one such, at every inbound; a mux is another, at those that have one.
"""

from __future__ import annotations

from byway.flow import Target
from byway.inbounds.entry import Entry, Inner
from byway.inbounds.framed import OverTcp
from byway.protocols import uot


def inner(entry: Entry, target: Target) -> Inner | None:
    """The server of a connection to this target, if it is one of those hosts."""
    if uot.is_asked(target):
        return OverTcp
    return entry.inner.get(target.host) if entry.inner else None
