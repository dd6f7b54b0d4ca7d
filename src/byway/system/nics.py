"""The links of this host: what each is, and what its driver does. By netlink and ethtool."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_ETHTOOL = 0x8946  # SIOCETHTOOL
_GET_TSO = 0x1E  # ETHTOOL_GTSO


@dataclass(frozen=True, slots=True)
class Nic:
    """A link; its kind is empty for hardware. `joins_tcp`: TCP goes to it in large pieces."""

    name: str
    kind: str
    mtu: int
    is_up: bool
    joins_tcp: bool


def nics() -> Sequence[Nic]:
    """All of them; none where netlink is not allowed."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ip:
            links = list(ip.get_links())
    except (OSError, NetlinkError):
        return ()
    found = []
    for link in links:
        name, info = link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info is not None else ""
        if not kind and link["ifi_type"] == _PPP:
            kind = "ppp"
        mtu, up = link.get_attr("IFLA_MTU") or 0, bool(link["flags"] & 1)
        found.append(Nic(name, kind or "", mtu, up, _joins_tcp(name)))
    return found


_PPP = 512  # ARPHRD_PPP


def _joins_tcp(name: str) -> bool:
    asked = array.array("B", struct.pack("=II", _GET_TSO, 0))
    address, _ = asked.buffer_info()
    request = struct.pack("16sP16x", name.encode()[:15], address)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _ETHTOOL, request)
    except OSError:
        return False
    return bool(struct.unpack("=II", asked)[1])
