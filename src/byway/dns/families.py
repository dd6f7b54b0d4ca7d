"""IPv4 and IPv6: which addresses are asked for, and which come first."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Literal

from byway.engine import Families

Order = Literal["auto", "ipv4", "ipv6", "ipv4-first", "ipv6-first"]

LOOKED = 30.0  # seconds that is remembered whether IPv6 leads anywhere

_FAMILIES: dict[str, Families] = {"ipv4": 4, "ipv6": 6, "ipv4-first": 46, "ipv6-first": 64}
_SOMEWHERE = "2001:500:200::b"  # b.root-servers.net: any address of the internet would do


class Reach:
    """Knows whether this host has a way to IPv6 addresses; looks again now and then."""

    def __init__(self) -> None:
        self._until = 0.0
        self._reaches = False

    def families(self, order: Order) -> Families:
        """What to ask for, in the order wanted. `auto`: IPv6 first (RFC 6724), if it leads out."""
        if order != "auto":
            return _FAMILIES[order]
        if (now := time.monotonic()) >= self._until:
            self._reaches, self._until = _leads_out(), now + LOOKED
        return 64 if self._reaches else 4


def arranged(addresses: Sequence[bytes], order: Order) -> tuple[bytes, ...]:
    """Addresses from elsewhere in this order; `auto` leaves them as they are."""
    v4 = [packed for packed in addresses if len(packed) == 4]
    v6 = [packed for packed in addresses if len(packed) != 4]
    match order:
        case "ipv4":
            return tuple(v4)
        case "ipv6":
            return tuple(v6)
        case "ipv4-first":
            return (*v4, *v6)
        case "ipv6-first":
            return (*v6, *v4)
    return tuple(addresses)


def _leads_out() -> bool:
    """Whether the routes know a way to an address of the internet. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((_SOMEWHERE, 9))
    except OSError:
        return False
    return True
