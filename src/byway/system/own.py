"""Which addresses are this host's own, as the kernel's routes have it."""

from __future__ import annotations

import errno
import socket
import struct
import time

KEPT = 10.0  # seconds: addresses of a host come and go
MOST = 4096

_NETLINK_ROUTE = 0
_GET_ROUTE, _NEW_ROUTE, _ERROR = 26, 24, 2
_REQUEST = 0x1
_DESTINATION = 1  # RTA_DST
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg; the eighth is the route's type
_LOCAL, _ANYCAST = 2, 4
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
        kind = _route_kind(packed)
    except OSError as error:
        if error.errno in _NO_ROUTE:
            return False
        return _can_bind(packed)  # no netlink in this sandbox
    return kind in (_LOCAL, _ANYCAST)


def _route_kind(packed: bytes) -> int:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), _DESTINATION) + packed
    head = _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
    ) as netlink:
        netlink.settimeout(1)
        netlink.send(head + body)
        data = netlink.recv(8192)
    _, answer, _, _, _ = _HEADER.unpack_from(data)
    if answer == _ERROR:
        (code,) = struct.unpack_from("=i", data, _HEADER.size)
        raise OSError(-code, "no route")
    if answer != _NEW_ROUTE:
        raise OSError(errno.EPROTO, "no answer from netlink")
    return int(_ROUTE.unpack_from(data, _HEADER.size)[7])


def _can_bind(packed: bytes) -> bool:
    """The second best answer. When it errs, it calls too much our own, and that is refused."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind((socket.inet_ntop(family, packed), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
