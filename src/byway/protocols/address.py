"""The address form of SOCKS5 (RFC 1928 section 5), which shadowsocks and trojan share.

One type byte, the address, a big-endian port: `01` and 4 bytes, `04` and 16 bytes, or `03`, a
length byte and a name.
"""

from __future__ import annotations

from byway.errors import PeerError
from byway.flow import Target

IPV4, NAME, IPV6 = 1, 3, 4
LONGEST = 1 + 1 + 255 + 2

UNSPECIFIED = Target("0.0.0.0", 0, bytes(4))  # noqa: S104  (a value on the wire, not a bind)


def pack(target: Target) -> bytes:
    """Write a target in the address form; never fails for a Target built by its own makers."""
    packed = target.packed
    port = target.port.to_bytes(2)
    if packed is None:
        name = target.full.encode("ascii")
        return b"\x03%c%b%b" % (len(name), name, port)
    if len(packed) == 4:
        return b"\x01" + packed + port
    return b"\x04" + packed + port


def unpack(data: bytes, at: int = 0) -> tuple[Target, int] | None:
    """Read the address form at `data[at:]`: the target and where it ends, or None if cut short.

    Raises PeerError for an unknown type and for a name that no host can have. A name that is an
    address literal becomes that address.
    """
    if at >= len(data):
        return None
    kind = data[at]
    if kind == IPV4:
        end = at + 7
        if end > len(data):
            return None
        return Target.from_packed(data[at + 1 : at + 5], data[at + 5] << 8 | data[at + 6]), end
    if kind == NAME:
        if at + 1 >= len(data):
            return None
        stop = at + 2 + data[at + 1]
        if stop + 2 > len(data):
            return None
        port = data[stop] << 8 | data[stop + 1]
        return _named(data[at + 2 : stop], port), stop + 2
    if kind == IPV6:
        end = at + 19
        if end > len(data):
            return None
        return Target.from_packed(data[at + 1 : at + 17], data[at + 17] << 8 | data[at + 18]), end
    raise PeerError(f"the other side sent an unknown address type {kind:#04x} (known: 1, 3, 4)")


def _named(name: bytes, port: int) -> Target:
    try:
        return Target.from_name(name, port)
    except ValueError as error:  # UnicodeDecodeError is one
        raise PeerError(f"the other side sent a bad host name {name[:80]!r}") from error
