"""A small SOCKS5 client of the tests' own (RFC 1928, 1929), blocking, also for what others lack.

That is BIND and UDP ASSOCIATE. It shares no code with the program under test.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from types import TracebackType

Place = tuple[str, int]

CONNECT, BIND, ASSOCIATE = 1, 2, 3


class SocksError(OSError):
    """The proxy said no; `code` is its reply."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the proxy answered {code}")
        self.code = code


def connect(proxy: Place, target: Place, login: tuple[str, str] | None = None) -> socket.socket:
    """A connection to the target, by way of the proxy."""
    sock = _greeted(proxy, login)
    try:
        _asked(sock, CONNECT, target)
    except BaseException:
        sock.close()
        raise
    return sock


def bind(
    proxy: Place, peer: Place, login: tuple[str, str] | None = None
) -> tuple[socket.socket, Place]:
    """Borrow a port for one connection from `peer`; see `accepted`."""
    sock = _greeted(proxy, login)
    try:
        host, port = _asked(sock, BIND, peer)
    except BaseException:
        sock.close()
        raise
    return sock, (_meant(host, sock), port)


def accepted(sock: socket.socket) -> Place:
    """Wait for the second reply of BIND: who connected."""
    return _answer(sock)


class UdpSocket:
    """A UDP socket whose packets go by way of the proxy."""

    def __init__(self, proxy: Place, login: tuple[str, str] | None = None) -> None:
        self.control = _greeted(proxy, login)
        try:
            host, port = _asked(self.control, ASSOCIATE, ("0.0.0.0", 0))
            self.relay = (_meant(host, self.control), port)
            self.packets = socket.socket(self.control.family, socket.SOCK_DGRAM)
            self.packets.settimeout(10)
        except BaseException:
            self.control.close()
            raise

    def send(self, data: bytes, target: Place) -> None:
        """Send one packet to the target."""
        self.packets.sendto(wrapped(data, target), self.relay)

    def receive(self) -> tuple[bytes, Place]:
        """One packet, and who sent it."""
        return unwrapped(self.packets.recv(65536))

    def close(self) -> None:
        """End the association."""
        self.packets.close()
        self.control.close()

    def __enter__(self) -> UdpSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wrapped(data: bytes, target: Place) -> bytes:
    """A packet with the UDP request header (RFC 1928 section 7)."""
    return b"\0\0\0" + _address(target) + data


def unwrapped(packet: bytes) -> tuple[bytes, Place]:
    """A packet without its header, and the address the header names."""
    assert packet[:3] == b"\0\0\0"
    cursor = _Bytes(packet[3:])
    place = _place(cursor)
    return cursor.rest(), place


@dataclass(slots=True)
class _Bytes:
    """Bytes read from the front."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.data[self.at :]


@dataclass(slots=True)
class _Socket:
    """A socket read in exact pieces."""

    sock: socket.socket

    def take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError(f"the proxy closed the connection after {data!r}")
            data += more
        return data


def _greeted(proxy: Place, login: tuple[str, str] | None) -> socket.socket:
    sock = socket.create_connection(proxy, timeout=15)
    try:
        cursor = _Socket(sock)
        method = 0 if login is None else 2
        sock.sendall(bytes((5, 1, method)))
        if (reply := cursor.take(2)) != bytes((5, method)):
            raise SocksError(reply[1])
        if login is not None:
            name, password = (text.encode() for text in login)
            sock.sendall(bytes((1, len(name))) + name + bytes((len(password),)) + password)
            if cursor.take(2)[1] != 0:
                raise SocksError(-1)
    except BaseException:
        sock.close()
        raise
    return sock


def _asked(sock: socket.socket, command: int, target: Place) -> Place:
    sock.sendall(bytes((5, command, 0)) + _address(target))
    return _answer(sock)


def _answer(sock: socket.socket) -> Place:
    cursor = _Socket(sock)
    version, code, _ = cursor.take(3)
    assert version == 5
    place = _place(cursor)
    if code:
        raise SocksError(code)
    return place


def _place(cursor: _Bytes | _Socket) -> Place:
    kind = cursor.take(1)[0]
    if kind == 3:
        host = cursor.take(cursor.take(1)[0]).decode("ascii")
    else:
        host = str(ipaddress.ip_address(cursor.take({1: 4, 4: 16}[kind])))
    return host, struct.unpack("!H", cursor.take(2))[0]


def _address(place: Place) -> bytes:
    host, port = place
    try:
        packed = ipaddress.ip_address(host).packed
    except ValueError:
        name = host.encode("ascii")
        return bytes((3, len(name))) + name + struct.pack("!H", port)
    return (b"\1" if len(packed) == 4 else b"\4") + packed + struct.pack("!H", port)


def _meant(host: str, sock: socket.socket) -> str:
    """All zeros in a reply mean the address the client used to reach the proxy."""
    return str(sock.getpeername()[0]) if host in {"0.0.0.0", "::"} else host
