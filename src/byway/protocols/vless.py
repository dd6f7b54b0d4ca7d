"""VLESS (Xray, V2Fly), both ends: who asks, and for what, inside somebody else's encryption.

    00 | UUID 16 | addons n, n bytes | command | port u16 | type | address | payload

The answer, `00 | n | n bytes`, stands before the target's first bytes and says nothing more; on
the client's side the engine takes it off. UDP is `u16 length | packet`, all for one target, or
XUDP, where each packet has its address: a mux (command 3) of one session.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from uuid import UUID, uuid5

from byway.errors import PeerError
from byway.flow import Target, frozen
from byway.interfaces import Stream

PATIENCE = 5.0
"""Seconds that a request may stop in its middle before it is taken for somebody else's."""

ANSWER = b"\0\0"
"""What a server puts before the target's first bytes."""

VISION = "xtls-rprx-vision"

_CHUNK = 4096
_MOST_READS = 16  # of one request that comes in pieces
_NOBODY = UUID(int=0)
_IPV4, _NAME, _IPV6 = 1, 2, 3


class Command(Enum):
    """What is asked for."""

    CONNECT = 1
    ASSOCIATE = 2
    MUX = 3


@frozen
class Request:
    """What a client asked for; a mux has no target. `flow` is what it wants done to the bytes."""

    command: Command
    target: Target | None
    user: str
    flow: str = ""


def id_of(text: str) -> bytes:
    """The 16 bytes of a UUID; of another text, as Xray makes them of it (UUIDv5)."""
    try:
        return UUID(text).bytes if len(text) in (32, 36) else uuid5(_NOBODY, text).bytes
    except ValueError:
        return uuid5(_NOBODY, text).bytes


class Users:
    """Who is known, by id."""

    __slots__ = ("_names",)

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._names = {id_of(text): name for name, text in ids.items()}

    def named(self, key: bytes) -> str | None:
        """Whose id it is."""
        return self._names.get(key)


def request(user: bytes, command: Command, target: Target | None = None) -> bytes:
    """A request as it goes on the wire; only a mux has no target."""
    head = b"\0" + user + b"\0" + bytes([command.value])
    return head if target is None else head + pack(target)


async def connect(stream: Stream, target: Target, user: bytes) -> Stream:
    """Ask the server on `stream` for `target`; the same stream then leads there. Nothing is sent
    yet: the request goes out with the first payload, or alone after a few milliseconds."""
    stream.hold(request(user, Command.CONNECT, target))
    return stream


async def accept(stream: Stream, users: Users, patience: float = PATIENCE) -> Request | None:
    """Read a client's request; what lies behind it stays readable.

    None when it is no request of a user: then nothing was answered, and all of it can be read
    again. Raises EOFError when nothing came at all, PeerError for a user's request that is wrong.
    """
    data = await stream.read(_CHUNK)
    for _ in range(_MOST_READS):
        parsed = parse(data, users)
        if not isinstance(parsed, More):
            break
        try:
            more = await stream.peek(1, patience)
        except EOFError:
            more = b""
        if not more:
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


class More:
    """It may yet become a request."""


def parse(data: bytes, users: Users) -> tuple[Request, int] | More | None:
    """The request at the front of `data`, and where it ends. Raises PeerError."""
    if not data.startswith(b"\0"):
        return None
    if len(data) < 18:
        return More() if len(data) < 17 or users.named(data[1:17]) else None
    user = users.named(data[1:17])
    if user is None:
        return None
    at = 18 + data[17]
    if len(data) <= at:
        return More()
    flow = _flow(data[18:at])
    try:
        command = Command(data[at])
    except ValueError:
        raise PeerError(f"the client sent an unknown VLESS command ({data[at]})") from None
    if command is Command.MUX:
        return Request(command, None, user, flow), at + 1
    found = unpack(data, at + 1)
    if found is None:
        return More()
    target, end = found
    return Request(command, target, user, flow), end


def pack(target: Target) -> bytes:
    """`port | type | address`, as VMess has it, too."""
    port, packed = target.port.to_bytes(2), target.packed
    if packed is None:
        name = target.full.encode("ascii")
        return b"%b\2%c%b" % (port, len(name), name)
    return port + (b"\1" if len(packed) == 4 else b"\3") + packed


def unpack(data: bytes, at: int = 0) -> tuple[Target, int] | None:
    """The target at `at` and where it ends; None when it is cut short. Raises PeerError for an
    unknown type and for a name that no host can have."""
    if len(data) < at + 4:
        return None
    port, kind = int.from_bytes(data[at : at + 2]), data[at + 2]
    begin = at + 3 + (kind == _NAME)
    size = {_IPV4: 4, _NAME: data[at + 3], _IPV6: 16}.get(kind)
    if size is None:
        raise PeerError(f"the other side sent an unknown address type {kind:#04x}")
    form, end = data[begin : begin + size], begin + size
    if len(data) < end:
        return None
    if kind != _NAME:
        return Target.from_packed(form, port), end
    try:
        return Target.from_name(form, port), end
    except ValueError as error:  # UnicodeDecodeError is one
        raise PeerError(f"the other side sent a bad host name {form[:80]!r}") from error


def _flow(addons: bytes) -> str:
    """The flow of the addons, a protobuf message whose first field it is."""
    if len(addons) >= 2 and addons[0] == 0x0A and len(addons) >= 2 + addons[1]:
        return addons[2 : 2 + addons[1]].decode("latin-1")
    return ""
