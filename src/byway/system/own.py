"""Which addresses are this host's own, as the kernel sees it."""

from __future__ import annotations

import errno
import socket
import time

KEPT = 10.0  # seconds: addresses of a host come and go
MOST = 4096


class OwnAddresses:
    """Tells whether an interface of this host has an address; asks the kernel now and then."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bool, float]] = {}

    def holds(self, packed: bytes) -> bool:
        """Whether the address is this host's (an answer is kept for ten seconds)."""
        now = time.monotonic()
        if (known := self._known.get(packed)) is not None and known[1] > now:
            return known[0]
        if len(self._known) >= MOST:
            self._known.clear()
        answer = _can_bind(packed)
        self._known[packed] = (answer, now + KEPT)
        return answer


def _can_bind(packed: bytes) -> bool:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind((socket.inet_ntop(family, packed), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
