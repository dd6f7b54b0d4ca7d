"""Where the kernel would send a packet, as its rules and routes are now (RTM_GETROUTE). Nothing is
sent."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

LOCAL, ANYCAST = 2, 4
"""Kinds of routes that end on this host."""

_NETLINK_ROUTE = 0
_GET_ROUTE, _NEW_ROUTE, _ERROR = 26, 24, 2
_REQUEST = 0x1
_DESTINATION, _LINK, _METRICS, _MARK, _PROTOCOL, _PORT = 1, 4, 8, 16, 27, 29  # RTA_DST and so on
_MTU = 2  # RTAX_MTU
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg; the eighth is the route's type


@dataclass(frozen=True, slots=True)
class Path:
    """A route: its kind, the name of its link ("" where it has none), and its own MTU (0: the
    link's)."""

    kind: int
    link: str = ""
    mtu: int = 0

    @property
    def ends_here(self) -> bool:
        """Whether such a packet does not leave this host."""
        return self.kind in (LOCAL, ANYCAST)


def path_to(packed: bytes, port: int = 0, mark: int = 0) -> Path:
    """The route to an address, and of UDP to this port, for a packet of this host with this mark.
    Raises OSError with the kernel's number where there is none."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(packed), _DESTINATION) + packed
    if port:
        body += struct.pack("=HHBxxx", 5, _PROTOCOL, socket.IPPROTO_UDP)
        body += struct.pack("=HH", 6, _PORT) + struct.pack("!Hxx", port)
    if mark:
        body += struct.pack("=HHI", 8, _MARK, mark)
    head = _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
    ) as netlink:
        netlink.settimeout(1)
        netlink.send(head + body)
        data = netlink.recv(8192)
    length, answer, _, _, _ = _HEADER.unpack_from(data)
    if answer == _ERROR:
        (code,) = struct.unpack_from("=i", data, _HEADER.size)
        raise OSError(-code, "no route")
    if answer != _NEW_ROUTE:
        raise OSError(errno.EPROTO, "no answer from netlink")
    start = _HEADER.size
    kind = int(_ROUTE.unpack_from(data, start)[7])
    said = dict(_attributes(data[start + _ROUTE.size : length]))
    link = said.get(_LINK)
    metrics = dict(_attributes(said.get(_METRICS, b"")))
    return Path(kind, "" if link is None else _name(link), _number(metrics.get(_MTU)))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _name(link: bytes) -> str:
    try:
        return socket.if_indextoname(_number(link))
    except OSError:
        return ""


def _number(data: bytes | None) -> int:
    return int(struct.unpack("=I", data[:4])[0]) if data is not None and len(data) >= 4 else 0
