"""The sockets of this host, as the kernel has them: sock_diag(7), or /proc/net without netlink.

Linux only. What is asked for is the end of a program: `source` is its own address, `end` where its
connection or its packets go. Two connections may share `source`, so only both together are exact.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from byway.flow import Network, Target
from byway.system.own import OwnAddresses, is_near

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST, _DUMP = 0x1, 0x300
_DONE, _ERROR = 3, 2
_BYTECODE = 1  # INET_DIAG_REQ_BYTECODE
_S_GE, _S_LE = 2, 3
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBB2s2s16s16sI8sIIIII")  # inet_diag_msg
_ANY_COOKIE = b"\xff" * 8
_MAPPED = bytes(10) + b"\xff\xff"
_PROTOCOLS = {Network.TCP: socket.IPPROTO_TCP, Network.UDP: socket.IPPROTO_UDP}
_MOST_LINES = 100_000  # of one table in /proc/net


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket: its two ends (v4-mapped addresses as IPv4 ones), its user, and its file's number.
    An end with an address of zeros is bound to none; a remote port of 0 is not connected."""

    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    uid: int
    inode: int


def socket_of(source: Target, network: Network, end: Target | None) -> Socket | None:
    """The socket that a flow came from. None where there is none, or where more than one would do
    (which happens only where `end` is not known). Raises OSError."""
    packed = source.packed
    if packed is None:
        return None
    if end is not None and end.packed is not None and len(end.packed) == len(packed):
        found = _exact(packed, source.port, network, end.packed, end.port)
        if found is not None and _fits(found, source, network, end):
            return found
    best, rank = set[Socket](), 0
    for one in sockets_at(source.port, network, len(packed) == 4):
        if (fit := _fits(one, source, network, end)) >= max(rank, 1):
            best = {one} if fit > rank else best | {one}
            rank = fit
    return best.pop() if len({one.inode for one in best}) == 1 else None


def _fits(one: Socket, source: Target, network: Network, end: Target | None) -> int:
    """How well a socket fits: 0 is not at all; of UDP, one that is connected fits best."""
    packed = source.packed
    assert packed is not None
    (local, port), (remote, remote_port) = one.local, one.remote
    if not one.inode or port != source.port:
        return 0
    if any(local):
        if local != packed:
            return 0
    elif network is Network.TCP or not _is_own(packed):  # else it may be another host's
        return 0
    if not remote_port:
        return 0 if network is Network.TCP else 1 + any(local)
    if end is not None:
        if remote_port != end.port:
            return 0
        if end.packed is not None and any(end.packed) and remote != end.packed:
            return 0
    return 3


def _is_own(packed: bytes) -> bool:
    return is_near(packed) or OwnAddresses().holds(packed)


def _exact(
    packed: bytes, port: int, network: Network, remote: bytes, remote_port: int
) -> Socket | None:
    """The kernel's own look-up. Of UDP it wants the ends as a packet to this socket has them."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    ends = [(packed, port), (remote, remote_port)]
    if network is Network.UDP:
        ends.reverse()
    (first, first_port), (second, second_port) = ends
    body = struct.pack("=BBBBI", family, _PROTOCOLS[network], 0, 0, 0xFFFFFFFF)
    body += struct.pack("!HH16s16s", first_port, second_port, first, second)
    body += struct.pack("=I", 0) + _ANY_COOKIE
    try:
        for one in _asked(body, 0):
            return one
    except OSError:
        pass  # the whole table may still be had
    return None


def sockets_at(port: int, network: Network, four: bool) -> Iterator[Socket]:
    """All sockets with this local port; with `four` those that IPv4 flows come from, too."""
    for family in (socket.AF_INET, socket.AF_INET6) if four else (socket.AF_INET6,):
        try:
            yield from _dump(family, network, port)
        except OSError:
            yield from _listed(family, network, port)


def _dump(family: int, network: Network, port: int) -> list[Socket]:
    # Two comparisons of two words each; whoever fails one jumps behind the end.
    code = struct.pack("=BBHHH", _S_GE, 8, 20, 0, port) + struct.pack(
        "=BBHHH", _S_LE, 8, 12, 0, port
    )
    body = struct.pack("=BBBBI48s", family, _PROTOCOLS[network], 0, 0, 0xFFFFFFFF, bytes(48))
    body += struct.pack("=HH", 4 + len(code), _BYTECODE) + code
    return [one for one in _asked(body, _DUMP) if one.local[1] == port]


def _asked(body: bytes, flags: int) -> Iterator[Socket]:
    """The answers to a request. Raises OSError, with what the kernel said."""
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1)
        netlink.send(head + body)
        while True:
            data = netlink.recv(65536)
            while len(data) >= _HEADER.size:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                if answer == _DONE or length < _HEADER.size:
                    return
                if answer == _ERROR:
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    if code:
                        raise OSError(-code, "sock_diag")
                    return
                if length >= _HEADER.size + _MESSAGE.size:
                    yield _socket(_MESSAGE.unpack_from(data, _HEADER.size))
                    if not flags:
                        return
                data = data[(length + 3) & ~3 :]
            if not data and not flags:
                return


def _socket(fields: Sequence[Any]) -> Socket:
    family, _, _, _, port, remote_port, local, remote, _, _, _, _, _, uid, inode = fields
    size = 4 if family == socket.AF_INET else 16
    return Socket(
        (_plain(local[:size]), int.from_bytes(port)),
        (_plain(remote[:size]), int.from_bytes(remote_port)),
        uid,
        inode,
    )


def _plain(packed: bytes) -> bytes:
    return packed[12:] if packed[:12] == _MAPPED else packed


def _listed(family: int, network: Network, port: int) -> Iterator[Socket]:
    """The same from /proc/net, whose lines are `sl local remote state queues timer retries uid
    timeout inode`, with addresses in words of the host's order."""
    name = network.value + ("6" if family == socket.AF_INET6 else "")
    wanted = f":{port:04X}"
    try:
        with open(f"/proc/self/net/{name}", encoding="ascii") as file:
            next(file, None)
            for _, line in zip(range(_MOST_LINES), file, strict=False):
                words = line.split()
                if len(words) > 9 and words[1].endswith(wanted):
                    yield Socket(_read(words[1]), _read(words[2]), int(words[7]), int(words[9]))
    except OSError as error:
        if error.errno != errno.ENOENT:  # of a family that this host does not have
            raise


def _read(text: str) -> tuple[bytes, int]:
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    return _plain(struct.pack(f"={len(words)}I", *words)), int(port, 16)
