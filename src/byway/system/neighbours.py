"""The devices on this host's links, as its neighbour tables know them (rtnetlink(7), ARP, NDP)."""

from __future__ import annotations

import socket
import struct

_NETLINK_ROUTE = 0
_NEW, _GET, _DONE, _ERROR = 28, 30, 3, 2
_REQUEST_DUMP = 0x1 | 0x300
_HEADER = struct.Struct("=IHHII")
_NEIGHBOUR = struct.Struct("=BBHiHBB")  # ndmsg: family, padding, interface, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")
_ADDRESS, _LINK_ADDRESS = 1, 2  # NDA_DST, NDA_LLADDR
_MAC = 6


def mac_of(packed: bytes) -> str:
    """The MAC address of the device with this address, in lower case with colons; empty where no
    link of this host knows one, as for devices behind another router. Blocks for a moment.
    """
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0, 0)
    head = _HEADER.pack(_HEADER.size + len(body), _GET, _REQUEST_DUMP, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
    ) as netlink:
        netlink.settimeout(1)
        netlink.send(head + body)
        while True:
            data = netlink.recv(65536)
            while len(data) >= _HEADER.size:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                if answer in (_DONE, _ERROR) or length < _HEADER.size:
                    return ""
                found = _attributes(data[_HEADER.size + _NEIGHBOUR.size : length])
                mac = found.get(_LINK_ADDRESS, b"")
                if answer == _NEW and found.get(_ADDRESS) == packed and len(mac) == _MAC:
                    return mac.hex(":")
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found
