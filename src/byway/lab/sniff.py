"""What the first bytes of a stream give away: the name a TLS or HTTP client asks for. Pure."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field

from byway.lab.dnswire import parse_query
from byway.lab.packets import SYN, Packet

ENOUGH = 16384  # of a stream's first bytes, to find a name in or to give up
_FLOWS = 4096
_METHOD = re.compile(rb"[A-Z]{3,10} ")
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)


class Unfinished(Exception):  # noqa: N818 - a turn of events, no error
    """More bytes may still tell."""


def name_in(data: bytes, port: int) -> str | None:
    """The name asked for; None when there is none. Raises Unfinished while it may still come."""
    if not data:
        raise Unfinished
    if data[0] == 0x16:
        return server_name(data)
    if port == 53:
        if len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            raise Unfinished
        question = parse_query(data[2:])
        return question.name if question else None
    if _METHOD.match(data):
        return host_header(data)
    if len(data) < 10 and data.isalpha() and data.isupper():
        raise Unfinished
    return None


def host_header(data: bytes) -> str | None:
    """The name in the Host header of a request (RFC 9110 section 7.2), without its port."""
    found = _HOST.search(data)
    if found:
        host = found[1].decode("latin-1").strip().lower()
        return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if b"\r\n\r\n" in data:
        return None
    raise Unfinished


def server_name(data: bytes) -> str | None:
    """The server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3)."""
    hello = b""
    at = 0
    while len(hello) < 4 or len(hello) < 4 + int.from_bytes(hello[1:4], "big"):
        if at + 5 > len(data):
            raise Unfinished
        if data[at] != 0x16:
            return None
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if at + 5 + size > len(data):
            raise Unfinished
        hello += data[at + 5 : at + 5 + size]
        at += 5 + size
    try:
        return _extension_name(hello) if hello[0] == 1 else None
    except IndexError:
        return None


def _extension_name(hello: bytes) -> str | None:
    def sized(at: int, width: int) -> tuple[int, int]:
        if at + width > len(hello):
            raise IndexError
        start = at + width
        return start, start + int.from_bytes(hello[at:start], "big")

    _, at = sized(4 + 2 + 32, 1)  # session id
    _, at = sized(at, 2)  # cipher suites
    _, at = sized(at, 1)  # compression
    at, end = sized(at, 2)
    while at + 4 <= end:
        kind = int.from_bytes(hello[at : at + 2], "big")
        start, at = sized(at + 2, 2)
        if kind == 0 and hello[start + 2] == 0:
            start, stop = sized(start + 3, 2)
            return hello[start:stop].decode("latin-1").lower()
    return None


@dataclass
class _Stream:
    """One direction of a TCP flow while its name is unknown."""

    next: int
    data: bytearray = field(default_factory=bytearray)
    later: dict[int, bytes] = field(default_factory=dict)

    def add(self, seq: int, payload: bytes) -> None:
        """Put a segment where it belongs; what was there already is not replaced."""
        if len(self.later) < 64:
            self.later.setdefault(seq, payload)
        moved = True
        while moved:
            moved = False
            for at in sorted(self.later):
                gap = (self.next - at) & 0xFFFFFFFF
                if gap > 0x7FFFFFFF:
                    continue  # not its turn yet
                piece = self.later.pop(at)[gap:]
                self.data += piece
                self.next = (self.next + len(piece)) & 0xFFFFFFFF
                moved = True


class Streams:
    """Puts the first bytes of every TCP flow together, bounded, and tells names as they show."""

    def __init__(self) -> None:
        self._open: OrderedDict[object, _Stream | None] = OrderedDict()

    def name(self, packet: Packet) -> str | None:
        """The name that this packet completes, if it does."""
        key = packet.flow
        if packet.flags & SYN:
            self._open[key] = _Stream((packet.seq + 1) & 0xFFFFFFFF)
        if not packet.payload:
            return None
        if key not in self._open:
            self._open[key] = _Stream(packet.seq)
        while len(self._open) > _FLOWS:
            self._open.popitem(last=False)
        stream = self._open[key]
        if stream is None:
            return None
        stream.add(packet.seq + bool(packet.flags & SYN), packet.payload)
        try:
            found = name_in(bytes(stream.data), packet.dport)
        except Unfinished:
            if len(stream.data) <= ENOUGH:
                return None
            found = None
        self._open[key] = None  # decided: its bytes are let go
        return found
