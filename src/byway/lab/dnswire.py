"""As much of DNS messages (RFC 1035 section 4) as a lab's resolver and its wall need."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

A, AAAA = 1, 28
NO_ERROR, NAME_ERROR, NOT_IMPLEMENTED = 0, 3, 4
_QR, _AA, _RD, _RA, _TC = 0x8000, 0x0400, 0x0100, 0x0080, 0x0200


@dataclass(frozen=True, slots=True)
class Question:
    """A query: its id, the name in lower case without a trailing dot, the type, and it in bytes."""

    id: int
    name: str
    kind: int
    raw: bytes
    recursion: bool


def parse_query(message: bytes) -> Question | None:
    """Read a query with one question; None for anything else."""
    if len(message) < 17:
        return None
    ident, flags, questions = struct.unpack_from("!HHH", message)
    if flags & _QR or flags & 0x7800 or questions != 1:
        return None
    labels, at = [], 12
    while at < len(message) and (n := message[at]):
        if n > 63 or at + 1 + n > len(message):
            return None
        labels.append(message[at + 1 : at + 1 + n].decode("latin-1").lower())
        at += 1 + n
    if at + 5 > len(message):
        return None
    kind, klass = struct.unpack_from("!HH", message, at + 1)
    if klass != 1:
        return None
    return Question(ident, ".".join(labels), kind, message[12 : at + 5], bool(flags & _RD))


def answer(
    question: Question, addresses: Sequence[str] | None, *, ttl: int = 60, limit: int = 65535
) -> bytes:
    """The response: those addresses that fit the type; None says the name does not exist.

    Where it would be longer than `limit` it is cut and says so (TC), to be asked for again by TCP.
    """
    code = NAME_ERROR if addresses is None else NO_ERROR
    records = []
    for ip in map(ip_address, addresses or ()):
        if _kind(ip) == question.kind:
            head = struct.pack("!HHHIH", 0xC00C, question.kind, 1, ttl, len(ip.packed))
            records.append(head + ip.packed)
    flags = _QR | _AA | _RA | (_RD if question.recursion else 0) | code
    if 12 + len(question.raw) + sum(map(len, records)) > limit:
        flags, records = flags | _TC, []
    head = struct.pack("!HHHHHH", question.id, flags, 1, len(records), 0, 0)
    return head + question.raw + b"".join(records)


def _kind(ip: IPv4Address | IPv6Address) -> int:
    return A if ip.version == 4 else AAAA
