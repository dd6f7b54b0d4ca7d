"""UDP over TCP, as sing's programs speak it: packets inside a stream that any proxy carries.

Source: the udp-over-tcp document of sing-box, and its behaviour. A client asks its proxy for a
connection to a host that does not exist; a server that knows the host's name takes packets from
the stream. Version 2 begins with

    connected (00, or 01: all packets are for the target) | target in SOCKS5's address form

which the server does not answer; version 1 begins with the packets. How packets look is the
engine's affair.
"""

from __future__ import annotations

from byway.errors import PeerError
from byway.flow import Target
from byway.interfaces import Stream
from byway.protocols import address

HOSTS = {"sp.udp-over-tcp.arpa": 1, "sp.v2.udp-over-tcp.arpa": 2}
"""The hosts that stand for it, and the version that each asks for."""

SERVER = Target("sp.v2.udp-over-tcp.arpa", 0)
"""What a client asks its proxy for. The port means nothing, and is zero as sing's is."""

EACH = b"\x00"
"""How a client's request begins whose packets tell their targets. The address behind it is the
first packet's: servers that route by it can then carry names."""


def is_asked(target: Target) -> bool:
    """Whether a connection to this target is to carry packets."""
    return target.host in HOSTS


async def accept(stream: Stream, target: Target) -> Target | None:
    """Read the request of a client that asked for `target`, one of `HOSTS`.

    The target of all its packets, or None where each tells its own. Raises PeerError, EOFError.
    """
    if HOSTS[target.host] == 1:
        return None
    data = await stream.read_exactly(3)  # the flag, the type, and a name's length
    connected = data[0]
    if connected > 1:
        raise PeerError(f"UDP over TCP began with {connected:#04x} (known: 0, 1)")
    missing = {address.IPV4: 5, address.IPV6: 17, address.NAME: data[2] + 2}.get(data[1])
    if missing is not None:
        data += await stream.read_exactly(missing)
    found = address.unpack(data, 1)  # raises PeerError for a type it does not know
    assert found is not None
    asked, _ = found
    if not connected:
        return None
    if asked.port == 0:
        raise PeerError(f"UDP over TCP cannot be connected to {asked}: port 0")
    return asked
