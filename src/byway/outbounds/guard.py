"""The guard: keeps flows that came from beyond this host away from what only it should reach."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from byway.errors import Reason, Refused
from byway.flow import Target

Own = Callable[[bytes], bool]

_METADATA = frozenset(
    socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    for text in (
        "169.254.169.254",  # the clouds' instance metadata
        "168.63.129.16",  # Azure's agent, which hands out certificates and secrets
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle, of old
        "fd00:c1::a9fe:a9fe",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, credentials of containers
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
    )
)

# Prefixes of IPv6 addresses that carry an IPv4 address.
_BEFORE = (
    bytes(12),  # compatible (RFC 4291 2.5.5.1)
    bytes(10) + b"\xff\xff",  # mapped (2.5.5.2)
    bytes(8) + b"\xff\xff\0\0",  # translated (RFC 2765 2.1)
    bytes.fromhex("0064ff9b0000000000000000"),  # NAT64 (RFC 6052 2.1)
)
_NAT64_HERE = bytes.fromhex("0064ff9b0001")  # of a network's own (RFC 8215)
_6TO4 = b"\x20\x02"  # RFC 3056 2
_TEREDO = bytes.fromhex("20010000")  # RFC 4380 4
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))  # RFC 5214 6.1


def why_closed(packed: bytes, own: Own) -> str | None:
    """Why an address is closed to guarded flows, in a word; None when it is open.

    Closed are: loopback (RFC 1122 3.2.1.3, RFC 4291 2.5.3), unspecified and the rest of 0/8,
    link-local, multicast, broadcast, the clouds' metadata services, and addresses of this host.
    IPv6 forms that carry an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo,
    ISATAP) are judged by it too.
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
    for inner in _carried_v4(packed):
        if (why := why_closed(inner, own)) is not None:
            return why
    return "this host's own address" if own(packed) else None


def check(target: Target, own: Own) -> None:
    """Raise Refused (RULES) when a target that is an address is closed; names pass.

    127.1, 0x7f000001 and the like are names to us, but addresses to many resolvers.
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


def _carried_v4(packed: bytes) -> Sequence[bytes]:
    """The IPv4 addresses to which a forwarder of this IPv6 address may send."""
    if packed[:12] in _BEFORE:
        return (packed[12:],)
    if packed[:6] == _NAT64_HERE:
        return _translated_here(packed)
    if packed[:2] == _6TO4:
        return (packed[2:6],)
    if packed[:4] == _TEREDO:  # the server, and the client with all its bits turned
        return (packed[4:8], bytes(byte ^ 0xFF for byte in packed[12:]))
    return (packed[12:],) if packed[8:12] in _ISATAP else ()


def _translated_here(packed: bytes) -> Sequence[bytes]:
    """Each address that can stand in a prefix of 48, 56, 64 or 96 bits (RFC 6052 2.2).

    Which of them a network uses is not known. The others are made of the zeros around it, so that
    what begins with zero counts only where nothing else is there.
    """
    found = (
        packed[6:8] + packed[9:11],
        packed[7:8] + packed[9:12],
        packed[9:13],
        packed[12:],
    )
    return [inner for inner in found if inner[0]] or found
