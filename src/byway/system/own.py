"""Which addresses are this host's own, as the kernel's routes have it."""

from __future__ import annotations

import errno
import socket
import time

from byway.system.paths import path_to

KEPT = 10.0  # seconds: addresses of a host come and go
MOST = 4096

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL})


class OwnAddresses:
    """Tells whether packets to an address end on this host; asks the kernel now and then."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bool, float]] = {}

    def holds(self, packed: bytes) -> bool:
        """Whether the address is this host's (an answer is kept for ten seconds)."""
        now = time.monotonic()
        if (known := self._known.get(packed)) is not None and known[1] > now:
            return known[0]
        if len(self._known) >= MOST:
            self._known.clear()
        answer = _ends_here(packed)
        self._known[packed] = (answer, now + KEPT)
        return answer


def is_near(packed: bytes) -> bool:
    """Whether an address is loopback, or the unspecified one, which the kernel takes for it."""
    if len(packed) == 4:
        return packed[0] == 127 or not any(packed)
    return not any(packed[:15]) and packed[15] < 2


def _ends_here(packed: bytes) -> bool:
    """Whether the route to an address is a local one (rtnetlink(7), RTM_GETROUTE).

    What can be bound to would not tell: with `ip_nonlocal_bind` that is everything.
    """
    try:
        return path_to(packed).ends_here
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return False
        return _can_bind(packed)  # no netlink in this sandbox


def _can_bind(packed: bytes) -> bool:
    """The second best answer. When it errs, it calls too much our own, and that is refused."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind((socket.inet_ntop(family, packed), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
