"""Trojan: both ends of its request, inside TLS.

Source: the protocol document of trojan-gfw. A request is

    hex SHA-224 of the password (56 bytes) | CRLF | command | address | CRLF | payload

and has no answer. Whoever sends anything else is not told no: the caller hands the stream, with
all its bytes unread, to a real web server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum

from byway.errors import PeerError
from byway.flow import Target, frozen
from byway.interfaces import Stream
from byway.protocols import address

CRLF = b"\r\n"
PATIENCE = 0.3
"""Seconds that the rest of a request may take to come. A web server waits longer for the rest of
its own, so handing over early shows nothing; and what trojan's clients send comes in one piece."""


class Command(Enum):
    """What a client asks for."""

    CONNECT = 1
    ASSOCIATE = 3


@frozen
class Request:
    """What a client with a known password asked for; of ASSOCIATE the target is mostly all zero."""

    command: Command
    target: Target
    user: str


class Users:
    """Who may pass, by the hash of each one's password.

    A hash is found by its own keyed hash, so how long that takes tells nothing of those that are
    nearly right.
    """

    __slots__ = ("_names",)

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._names = {hash_of(password): name for name, password in passwords.items()}

    def named(self, hashed: bytes) -> str | None:
        """The user whose password has this hash."""
        return self._names.get(hashed)


def hash_of(password: str) -> bytes:
    """The 56 bytes that stand for a password."""
    return hashlib.sha224(password.encode()).hexdigest().encode("ascii")


def request(password: str, command: Command, target: Target) -> bytes:
    """A client's request, to be sent in one piece, best with the first payload behind it."""
    return head(password, command) + address.pack(target) + CRLF


def head(password: str, command: Command) -> bytes:
    """What goes before the address of a request. For ASSOCIATE that of the first packet does best:
    some servers route the whole association by it."""
    return hash_of(password) + CRLF + bytes([command.value])


async def connect(stream: Stream, target: Target, password: str) -> Stream:
    """Ask the server on `stream` for `target`; the same stream then leads there.

    Nothing is sent yet: the request goes out with the first payload, or alone after a few
    milliseconds. The server never says no; a refusal looks like a web page, or an early end.
    """
    stream.hold(request(password, Command.CONNECT, target))
    return stream


async def accept(stream: Stream, users: Users, patience: float = PATIENCE) -> Request | None:
    """Read a client's request; what lies behind it stays readable.

    None when it is no request of a user: then nothing was answered, and all of it can be read
    again. Raises EOFError when nothing came at all.
    """
    data = await stream.read(_CHUNK)
    for _ in range(_MOST_READS):
        parsed = _parsed(data, users)
        if not isinstance(parsed, _More):
            break
        if not await stream.peek(1, patience):
            parsed = None
            break
        data += await stream.read(_CHUNK)
    else:
        parsed = None
    if parsed is None:
        stream.unread(data)
        return None
    found, end = parsed
    if len(data) > end:
        stream.unread(data[end:])
    return found


class _More:
    """It may yet become a request."""


def _parsed(data: bytes, users: Users) -> tuple[Request, int] | _More | None:
    """The request at the front of `data`, and where it ends."""
    if len(data) < _HEAD:
        hopeful = _HEX.issuperset(data[:56]) and CRLF.startswith(data[56:])
        return _More() if hopeful else None
    user = users.named(data[:56])
    if user is None or data[56:_HEAD] != CRLF:
        return None
    if len(data) == _HEAD:
        return _More()
    command = _COMMANDS.get(data[_HEAD])
    if command is None:
        return None
    try:
        found = address.unpack(data, _HEAD + 1)
    except PeerError:
        return None
    if found is None:
        return _More()
    target, end = found
    if not CRLF.startswith(data[end : end + 2]):
        return None
    if len(data) < end + 2:
        return _More()
    return Request(command, target, user), end + 2


_HEAD = 58
_HEX = frozenset(b"0123456789abcdef")
_COMMANDS = {command.value: command for command in Command}
_CHUNK = 4096
_MOST_READS = 16  # of one request that comes in pieces
