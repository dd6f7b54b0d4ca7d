"""The guard: keeps flows that came from beyond this host away from what only it should reach."""

from __future__ import annotations

import socket
from collections.abc import Callable

from byway.errors import Reason, Refused
from byway.flow import Target

Own = Callable[[bytes], bool]

_MAPPED = bytes(10) + b"\xff\xff"
_METADATA = frozenset(
    {
        bytes((169, 254, 169, 254)),  # the clouds' instance metadata
        bytes.fromhex("fd000ec2000000000000000000000254"),
        bytes((100, 100, 100, 200)),
        bytes((192, 0, 0, 192)),
    }
)


def why_closed(packed: bytes, own: Own) -> str | None:
    """Why an address is closed to guarded flows, in a word; None when it is open.

    Closed are: loopback (RFC 1122 3.2.1.3, RFC 4291 2.5.3), unspecified and the rest of 0/8,
    link-local, multicast, broadcast, the clouds' metadata services, and addresses of this host.
    IPv6 forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4) are judged by it too.
    """
    if packed in _METADATA:
        return "a metadata address"
    if len(packed) == 4:
        return _closed_v4(packed) or ("this host's own address" if own(packed) else None)
    if packed == bytes(16):
        return "the unspecified address"
    if packed == bytes(15) + b"\x01":
        return "a loopback address"
    if packed[0] == 0xFF:
        return "a multicast address"
    if packed[0] == 0xFE and packed[1] & 0x80:  # fe80::/10 and the old site-local fec0::/10
        return "a link-local address"
    if (inner := _carried_v4(packed)) is not None and (why := why_closed(inner, own)) is not None:
        return why
    return "this host's own address" if own(packed) else None


def check(target: Target, own: Own) -> None:
    """Raise Refused (RULES) when a target that is an address is closed; names pass.

    127.1, 0x7f000001 and the like are names to us, but addresses to whoever resolves them.
    """
    packed = target.packed or _old_spelling(target.host)
    if packed is not None and (why := why_closed(packed, own)) is not None:
        raise Refused(
            f"{target.host} is {why}", Reason.RULES, "set allow_local on the inbound to allow it"
        )


def _old_spelling(host: str) -> bytes | None:
    """The address that inet_aton(3), and so nearly every resolver, reads in a host."""
    try:
        return socket.inet_aton(host)
    except OSError:
        return None


def _closed_v4(packed: bytes) -> str | None:
    first = packed[0]
    if first == 127:
        return "a loopback address"
    if first == 0:
        return "the unspecified address"
    if first == 169 and packed[1] == 254:
        return "a link-local address"
    if 224 <= first < 240:
        return "a multicast address"
    if packed == b"\xff\xff\xff\xff":
        return "the broadcast address"
    return None


def _carried_v4(packed: bytes) -> bytes | None:
    if packed[:12] in (bytes(12), _MAPPED):
        return packed[12:]
    if packed[:12] == bytes.fromhex("0064ff9b0000000000000000"):
        return packed[12:]
    if packed[:2] == b"\x20\x02":
        return packed[2:6]
    return None
