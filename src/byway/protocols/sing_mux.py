"""sing-mux: the flows of sing's programs inside one connection of any protocol.

Source: sing-mux, and the behaviour of sing-box. A client asks its proxy for a connection to a host
that does not exist, and says in it

    version (00, or 01) | session protocol (00 smux, 01 yamux, 02 h2mux) | in version 01: padding

Then the session protocol is spoken. Each of its streams begins with a request, which is answered by
one byte before the first of the target's: `00`, or `01` with a length (a varint) and why not.

    flags (bit 0: packets, bit 1: each with its address) | target in SOCKS5's address form
"""

from __future__ import annotations

from dataclasses import dataclass

from byway.errors import PeerError
from byway.flow import Network, Target
from byway.interfaces import Stream
from byway.protocols import address

HOST = "sp.mux.sing-box.arpa"
SERVER = Target(HOST, 444)
"""What a client asks its proxy for."""

SESSIONS = ("smux", "yamux", "h2mux")
"""Session protocols by the byte that stands for each."""

GRANTED = b"\0"
_PACKETS, _ADDRESSED = 1, 2
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class Request:
    """What a stream is for. Without a target of their own, packets each have theirs."""

    network: Network
    target: Target | None


def hello(session: str) -> bytes:
    """What a client begins with."""
    return b"\0%c" % SESSIONS.index(session)


async def accept(stream: Stream) -> str:
    """Read how a client begins: the session protocol that it speaks. Raises PeerError, EOFError."""
    version, session = await stream.read_exactly(2)
    if version > 1:
        raise PeerError(f"sing-mux of version {version} (known: 0, 1)")
    if session >= len(SESSIONS):
        raise PeerError(f"sing-mux with session protocol {session} (known: 0, 1, 2)")
    if version == 1 and await stream.read_exactly(1) != b"\0":
        raise PeerError("the client pads its mux, which is not supported")
    return SESSIONS[session]


def connect(target: Target) -> bytes:
    """The request of a connection."""
    return b"\0\0" + address.pack(target)


def associate() -> bytes:
    """How the request of packets begins, each of which tells its target. An address follows that
    means nothing."""
    return b"\0%c" % (_PACKETS | _ADDRESSED)


async def accept_stream(stream: Stream) -> Request:
    """Read the request of a stream. Raises PeerError, EOFError."""
    data = await stream.read_exactly(4)  # the flags, the type, and a name's length
    flags = int.from_bytes(data[:2])
    size = {address.IPV4: 5, address.IPV6: 17, address.NAME: data[3] + 2}.get(data[2])
    if size is not None:
        data += await stream.read_exactly(size)
    found = address.unpack(data, 2)  # raises PeerError for a type it does not know
    assert found is not None
    if flags & ~(_PACKETS | _ADDRESSED):
        raise PeerError(f"a stream of the mux has unknown flags {flags:#06x}")
    if not flags & _PACKETS:
        return Request(Network.TCP, found[0])
    return Request(Network.UDP, None if flags & _ADDRESSED else found[0])


def denied(why: str) -> bytes:
    """The answer to a stream whose target was not reached."""
    words = why.encode()[:_MOST_WORDS]
    return b"\1%b%b" % (_varint(len(words)), words)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7)
