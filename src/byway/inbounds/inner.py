"""What becomes of a connection to a host that does not exist, by which a client asks for more.

UDP over TCP is one such, at every inbound; a mux is another, at those that have one.
"""

from __future__ import annotations

from byway.flow import Target
from byway.inbounds.entry import Entry, Inner
from byway.inbounds.framed import OverTcp
from byway.protocols import uot


def inner(entry: Entry, target: Target) -> Inner | None:
    """What serves a connection to this target, if it is one of those hosts."""
    if uot.is_asked(target):
        return OverTcp
    return entry.inner.get(target.host) if entry.inner else None
