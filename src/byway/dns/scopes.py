"""Who shares answers: a number for each inbound, or for each client of one. Pure."""

from __future__ import annotations

from hashlib import blake2b

from byway.flow import Target, source_key


def scope_of(inbound: str, client: Target | None = None) -> int:
    """The number of an inbound's clients, or of one of them."""
    key = b"" if client is None else b"\0" + (source_key(client) or b"")
    return int.from_bytes(blake2b(inbound.encode() + key, digest_size=8).digest())
