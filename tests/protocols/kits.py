"""What the shadowsocks handshakes are lent in tests: pure ciphers, chosen salts, a chosen time."""

from __future__ import annotations

from collections.abc import Callable

from byway.protocols.shadowsocks import Kit
from byway.streams.ciphers import PureCiphers

NOON = 1_700_000_000.0


def kit(*drawn: bytes, now: Callable[[], float] = lambda: NOON) -> Kit:
    """A kit whose random bytes are these, in order; then zeros, ones, twos and so on."""
    waiting = list(drawn)
    count = 0

    def entropy(size: int) -> bytes:
        nonlocal count
        if waiting:
            given = waiting.pop(0)
            assert len(given) == size
            return given
        count += 1
        return bytes([count % 256]) * size

    return Kit(PureCiphers(now), entropy, now)
