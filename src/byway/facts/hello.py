"""The ClientHello of TLS: which name a client asks for (RFC 8446 section 4.1.2, RFC 6066).

Pure: bytes in, answers out. Extensions that nobody knows (GREASE, encrypted ClientHello) are passed
over; of an encrypted one the outer name counts, the only one there is to see.
"""

from __future__ import annotations

from byway.flow import Target

CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0


class Malformed(ValueError):  # noqa: N818 - says of bytes what they are
    """The bytes are not what they would have to be."""


class Cursor:
    """Reads fields one after the other. Raises Malformed where there is too little."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left:
            raise Malformed("too short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        """The next number of so many bytes."""
        return int.from_bytes(self.take(size))

    def pass_zeros(self) -> None:
        """Go on behind all zero bytes that come next."""
        rest = self._data[self._at :]
        self._at += len(rest) - len(rest.lstrip(b"\0"))

    def vector(self, size: int) -> bytes:
        """Bytes behind their length, which is of so many bytes."""
        return self.take(self.number(size))


def message_length(begun: bytes) -> int | None:
    """How long a handshake message is, its head included; None while too little of it is there.

    Raises Malformed for what is not a ClientHello.
    """
    if begun and begun[0] != CLIENT_HELLO:
        raise Malformed("not a ClientHello")
    return None if len(begun) < 4 else 4 + int.from_bytes(begun[1:4])


def server_name(message: bytes) -> str:
    """The name that a whole ClientHello asks for; empty when there is none. Raises Malformed."""
    fields = Cursor(message)
    if fields.number(1) != CLIENT_HELLO:
        raise Malformed("not a ClientHello")
    hello = Cursor(fields.vector(3))
    if hello.number(1) != 3:
        raise Malformed("not of a version of TLS")
    hello.take(1 + 32)
    hello.vector(1)  # the session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compressions
    if not hello.left:
        return ""
    extensions = Cursor(hello.vector(2))
    while extensions.left:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            return _listed(Cursor(Cursor(content).vector(2)))
    return ""


def host_name(text: bytes) -> str:
    """A name as targets have it; empty for what is none, as an address is."""
    try:
        target = Target.of(text.decode("ascii"), 0)
    except ValueError:
        return ""
    return target.host if target.is_name else ""


def _listed(names: Cursor) -> str:
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            return host_name(name)
    return ""
