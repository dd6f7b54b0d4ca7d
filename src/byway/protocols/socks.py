"""SOCKS 4, 4a and 5: both ends of the handshake.

Sources: RFC 1928 (version 5), RFC 1929 (user and password), the SOCKS4 and SOCKS4a memos.

Each end reads whole chunks and puts back what lies beyond its message, because a handshake's cost
is its awaits. Cancelling a handshake leaves a stream that is good for nothing but closing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target, frozen
from byway.interfaces import Stream
from byway.protocols import address
from byway.protocols.credentials import Verify


class Command(Enum):
    """What a client asks for (RFC 1928 section 4)."""

    CONNECT = 1
    BIND = 2
    ASSOCIATE = 3


@frozen
class Request:
    """What a client asked. `user` is set only when the server verified it; `version` is 4 or 5.

    For ASSOCIATE the target is where the client says its packets come from, mostly all zero; a name
    that no host can have stands as all zero, with its port.
    """

    version: int
    command: Command
    target: Target
    user: str | None = None


@dataclass(frozen=True, slots=True)
class SocksOptions:
    """How to speak to a SOCKS server. Raises ValueError for what the version cannot carry."""

    version: Literal["5", "4a", "4"] = "5"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.version not in ("5", "4a", "4"):
            raise ValueError(f"SOCKS version {self.version!r} is not 5, 4a or 4")
        if self.password is not None and self.username is None:
            raise ValueError("a SOCKS password needs a username")
        if self.version != "5" and self.password:
            raise ValueError(f"SOCKS{self.version} has no password, only a username")
        for what, text in (("username", self.username), ("password", self.password)):
            if text is not None and len(text.encode()) > _LONGEST_TEXT:
                raise ValueError(f"the SOCKS {what} is longer than {_LONGEST_TEXT} bytes")
        if self.username is not None:
            if not self.username:
                raise ValueError("the SOCKS username is empty")
            if self.version != "5" and "\0" in self.username:
                raise ValueError("a SOCKS4 username cannot hold a NUL")


# The server's end.


async def accept(stream: Stream, verify: Verify | None = None, begun: bytes = b"") -> Request:
    """Read a client's request, up to the point where `grant` or `deny` answers it.

    `verify` tells whether a user and password are right; without it no credentials are asked for.
    A SOCKS4 client has no password, so it passes only as a user whose password is empty. `begun`
    is what the caller has read of the stream already. What the client sent beyond its request
    stays readable.

    Raises Refused (CREDENTIALS) and PeerError with the client already told no, so that closing is
    all that is left to do; EOFError when the client said nothing at all.
    """
    data = begun or await stream.read(_CHUNK)
    if data[0] == 5:
        return await _accept_5(stream, verify, data)
    if data[0] == 4:
        return await _accept_4(stream, verify, data)
    raise PeerError(f"the client does not speak SOCKS: its first byte is {data[0]:#04x}")


async def grant(stream: Stream, request: Request, bound: Target | None = None) -> None:
    """Answer yes. `bound` is the address lent or connected from; None when it does not matter.

    BIND is granted twice: with the address that listens, then with the peer that came.
    """
    await stream.write(_reply(request.version, 0, bound))


async def deny(stream: Stream, request: Request, reason: Reason) -> None:
    """Answer no, with the code that comes nearest to the reason; the caller then closes."""
    await stream.write(_reply(request.version, _CODES[reason], None))


# The client's end.


async def connect(stream: Stream, target: Target, options: SocksOptions = SocksOptions()) -> Stream:
    """Ask the server on `stream` for a connection to `target`; the same stream then carries it.

    Raises Refused when the server says no or its version cannot carry the target, PeerError when
    it breaks the protocol or hangs up.
    """
    await _ask(stream, Command.CONNECT, target, options)
    return stream


async def bind(
    stream: Stream,
    target: Target,
    options: SocksOptions = SocksOptions(),
    server: Target | None = None,
) -> Target:
    """Borrow a port for one connection from `target`: the address it listens on.

    `server` is how the server was reached: it stands in for an all-zero address in the answer.
    Then wait with `bound_peer`. Raises as `connect` does.
    """
    return _filled(await _ask(stream, Command.BIND, target, options), server, "lends a port")


async def bound_peer(stream: Stream, options: SocksOptions = SocksOptions()) -> Target:
    """Wait for the peer after `bind`: its address. The stream then carries the connection.

    Raises as `connect` does.
    """
    peer = await (_read_5(stream) if options.version == "5" else _read_4(stream))
    return peer or address.UNSPECIFIED


async def associate(
    stream: Stream, options: SocksOptions = SocksOptions(), server: Target | None = None
) -> Target:
    """Open a UDP association, which lives as long as the stream: where to send the packets.

    `server` is how the server was reached: it stands in for an all-zero address in the answer.
    Raises as `connect` does; Refused (NOT_SUPPORTED) for SOCKS4, which has no UDP.
    """
    if options.version != "5":
        raise Refused(
            f"SOCKS{options.version} does not support UDP",
            Reason.NOT_SUPPORTED,
            "use SOCKS version 5",
        )
    bound = await _ask(stream, Command.ASSOCIATE, address.UNSPECIFIED, options)
    return _filled(bound, server, "takes packets")


# The server's helpers.


async def _accept_5(stream: Stream, verify: Verify | None, data: bytes) -> Request:
    what = "SOCKS5 greeting"
    if len(data) < 2:
        data = await _fill(stream, data, 2, what)
    end = 2 + data[1]
    if len(data) < end:
        data = await _fill(stream, data, end, what)
    wanted = _NO_AUTH if verify is None else _PASSWORD
    if wanted not in data[2:end]:
        await stream.write(b"\x05\xff")
        offered = data[2:end].hex(" ") or "none"
        needed = "no authentication" if verify is None else "user and password"
        raise Refused(
            f"the SOCKS5 client does not offer {needed} (it offers methods: {offered})",
            Reason.CREDENTIALS,
        )
    data = data[end:]
    user = None
    if verify is None:
        await stream.write(b"\x05\x00")
    else:
        await stream.write(b"\x05\x02")
        user, data = await _authenticate(stream, verify, data)
    return await _request_5(stream, data, user)


async def _authenticate(stream: Stream, verify: Verify, data: bytes) -> tuple[str, bytes]:
    """Read and answer the RFC 1929 exchange: the user, and what came after it."""
    what = "SOCKS5 user and password"
    if len(data) < 2:
        data = await _fill(stream, data, 2, what)
    if data[0] != 1:
        await stream.write(b"\x01\x01")
        raise PeerError(f"the SOCKS5 client sent authentication version {data[0]}, not 1")
    middle = 2 + data[1]
    if len(data) <= middle:
        data = await _fill(stream, data, middle + 1, what)
    end = middle + 1 + data[middle]
    if len(data) < end:
        data = await _fill(stream, data, end, what)
    try:
        user, password = data[2:middle].decode(), data[middle + 1 : end].decode()
        right = verify(user, password)
    except UnicodeDecodeError:
        right = False
    if not right:
        await stream.write(b"\x01\x01")
        raise Refused("wrong user or password from the SOCKS5 client", Reason.CREDENTIALS)
    await stream.write(b"\x01\x00")
    return user, data[end:]


async def _request_5(stream: Stream, data: bytes, user: str | None) -> Request:
    what = "SOCKS5 request"
    if len(data) < 5:
        data = await _fill(stream, data, 5, what)
    kind = data[3]
    size = _size_5(data)
    if len(data) < size:
        data = await _fill(stream, data, size, what)
    command = _COMMANDS.get(data[1])
    try:
        if data[0] != 5:
            raise _Bad(1, f"version {data[0]} in a SOCKS5 request")
        if command is None:
            raise _Bad(7, f"the unknown command {data[1]:#04x}")
        if size == 4:
            raise _Bad(8, f"the unknown address type {kind:#04x}")
        target = _address_5(data[:size])
        if target is None and command is Command.ASSOCIATE:
            target = _unspecified(data[:size])  # it does not know yet, or says it in its own way
        if target is None:
            raise PeerError(f"the SOCKS5 client sent a bad host name {data[5 : size - 2][:80]!r}")
    except _Bad as bad:
        await stream.write(_reply(5, bad.code, None))
        raise PeerError(f"the SOCKS5 client sent {bad}") from None
    except PeerError:
        await stream.write(_reply(5, 1, None))
        raise
    if len(data) > size:
        stream.unread(data[size:])
    return Request(5, command, target, user)


async def _accept_4(stream: Stream, verify: Verify | None, data: bytes) -> Request:
    what = "SOCKS4 request"
    if len(data) < 9:
        data = await _fill(stream, data, 9, what)
    data, end = await _text_4(stream, data, 8, "user")
    userid = data[8 : end - 1]
    packed = data[4:8]
    port = data[2] << 8 | data[3]
    command = _COMMANDS.get(data[1])
    try:
        if command is None or command is Command.ASSOCIATE:
            raise _Bad(1, f"the unknown command {data[1]:#04x}")
        if packed[:3] == b"\0\0\0" and packed[3]:
            start = end
            data, end = await _text_4(stream, data, start, "host name")
            name = data[start : end - 1]
            try:
                target = Target.from_name(name, port)
            except ValueError:
                raise _Bad(1, f"a bad host name {name[:80]!r}") from None
        else:
            target = Target.from_packed(packed, port)
    except _Bad as bad:
        await stream.write(_reply(4, bad.code, None))
        raise PeerError(f"the SOCKS4 client sent {bad}") from None
    user = None
    if verify is not None:
        try:
            user = userid.decode()
            right = verify(user, "")
        except UnicodeDecodeError:
            right = False
        if not right:
            await stream.write(_REJECTED_USER_4)
            raise Refused(
                "the SOCKS4 client is not a user without a password",
                Reason.CREDENTIALS,
                "SOCKS4 cannot carry a password; use SOCKS5",
            )
    if len(data) > end:
        stream.unread(data[end:])
    return Request(4, command, target, user)


async def _text_4(stream: Stream, data: bytes, start: int, what: str) -> tuple[bytes, int]:
    """Find the NUL-ended text at `start`, reading on as needed: the data, and where it ends."""
    while (nul := data.find(0, start, start + _LONGEST_TEXT + 1)) < 0:
        if len(data) > start + _LONGEST_TEXT:
            await stream.write(_reply(4, 1, None))
            raise PeerError(f"the SOCKS4 client sent a {what} longer than {_LONGEST_TEXT} bytes")
        data = await _fill(stream, data, len(data) + 1, f"SOCKS4 {what}")
    return data, nul + 1


async def _fill(stream: Stream, data: bytes, size: int, what: str) -> bytes:
    """Read on until there are `size` bytes."""
    while len(data) < size:
        try:
            data += await stream.read(_CHUNK)
        except EOFError:
            raise PeerError(
                f"the other side closed the connection in the middle of its {what}"
            ) from None
    return data


def _size_5(data: bytes) -> int:
    """The bytes of a request or reply that begins so (5 are enough); 4 for an unknown address."""
    size = _SIZES.get(data[3])
    if size is not None:
        return size
    return 7 + data[4] if data[3] == address.NAME else 4


def _address_5(message: bytes) -> Target | None:
    """The address in a whole request or reply of a known type; None for a name that cannot be."""
    try:
        parsed = address.unpack(message, 3)
    except PeerError:
        return None
    assert parsed is not None
    return parsed[0]


def _unspecified(message: bytes) -> Target:
    """All zero, with the port of a whole request or reply."""
    return Target.from_packed(bytes(4), int.from_bytes(message[-2:]))


def _reply(version: int, code: int, bound: Target | None) -> bytes:
    if version == 5:
        return b"\x05%c\x00%b" % (code, _NOWHERE if bound is None else address.pack(bound))
    status = _GRANTED_4 if code == 0 else _REJECTED_4
    if bound is None or bound.packed is None or len(bound.packed) != 4:
        return b"\x00%c\x00\x00\x00\x00\x00\x00" % status
    return b"\x00%c%b%b" % (status, bound.port.to_bytes(2), bound.packed)


class _Bad(Exception):  # noqa: N818  (never leaves this file)
    """A request that gets the reply `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


# The client's helpers.


async def _ask(
    stream: Stream, command: Command, target: Target, options: SocksOptions
) -> Target | None:
    """Send a request and read its first answer: the bound address in it, as `_read_5` has it."""
    if options.version != "5":
        await stream.write(_request_4(command, target, options))
        return await _read_4(stream)
    await _introduce(stream, options)
    await stream.write(b"\x05%c\x00%b" % (command.value, address.pack(target)))
    return await _read_5(stream)


async def _introduce(stream: Stream, options: SocksOptions) -> None:
    """Agree on a method and log in. Not pipelined: some servers drop what follows a greeting."""
    has_user = options.username is not None
    await stream.write(b"\x05\x02\x00\x02" if has_user else b"\x05\x01\x00")
    data = await _fill(stream, b"", 2, "SOCKS5 method choice")
    if data[0] != 5:
        raise PeerError(f"the server does not speak SOCKS5: its first byte is {data[0]:#04x}")
    method = data[1]
    if method == 0xFF:
        if has_user:
            raise Refused("the SOCKS5 server accepts none of our methods", Reason.CREDENTIALS)
        raise Refused(
            "the SOCKS5 server requires authentication",
            Reason.CREDENTIALS,
            "add username and password to the outbound",
        )
    if len(data) > 2:
        stream.unread(data[2:])
    if method == _PASSWORD and has_user:
        await _log_in(stream, options)
    elif method != _NO_AUTH:
        raise PeerError(f"the SOCKS5 server chose method {method:#04x}, which was not offered")


async def _log_in(stream: Stream, options: SocksOptions) -> None:
    user, password = (options.username or "").encode(), (options.password or "").encode()
    await stream.write(b"\x01%c%b%c%b" % (len(user), user, len(password), password))
    data = await _fill(stream, b"", 2, "SOCKS5 login answer")
    # The version byte is not checked: some servers answer 05 here. Failures differ in their code.
    if data[1] != 0:
        raise Refused("the SOCKS5 server refused the user or password", Reason.CREDENTIALS)
    if len(data) > 2:
        stream.unread(data[2:])


async def _read_5(stream: Stream) -> Target | None:
    """Read a reply: its address. A failure is one as soon as its code is here.

    None for a name that no host can have: whoever only wants to know that it worked reads past it.
    An empty name is an address that does not matter, as all zero is.
    """
    what = "SOCKS5 reply"
    data = await _fill(stream, b"", 2, what)
    if data[0] != 5:
        raise PeerError(f"the SOCKS5 server sent a reply of version {data[0]}")
    if data[1] != 0:
        text, reason = _REPLIES.get(data[1], (f"code {data[1]:#04x}", Reason.FAILURE))
        raise Refused(f"the SOCKS5 server refused: {text}", reason)
    if len(data) < 5:
        data = await _fill(stream, data, 5, what)
    size = _size_5(data)
    if size == 4:
        raise PeerError(f"the SOCKS5 server sent an unknown address type {data[3]:#04x}")
    if len(data) < size:
        data = await _fill(stream, data, size, what)
    if len(data) > size:
        stream.unread(data[size:])
    if data[3] == address.NAME and data[4] == 0:
        return _unspecified(data[:size])
    return _address_5(data[:size])


def _request_4(command: Command, target: Target, options: SocksOptions) -> bytes:
    user = (options.username or "").encode()
    head = b"\x04%c%b" % (command.value, target.port.to_bytes(2))
    packed = target.packed
    # 0.0.0.x is how 4a marks a name, so as an address it cannot be sent (as a name it can).
    if packed is not None and len(packed) == 4 and (any(packed[:3]) or not packed[3]):
        return head + packed + user + b"\0"
    if options.version == "4":
        raise Refused(
            f"SOCKS4 cannot carry {target}: only IPv4 addresses outside 0.0.0.0/24",
            Reason.NOT_SUPPORTED,
            "use version 4a or 5",
        )
    return head + b"\0\0\0\x01" + user + b"\0" + target.full.encode("ascii") + b"\0"


async def _read_4(stream: Stream) -> Target:
    """Read a reply: its address. Some servers send only half a failure, so its code is enough."""
    what = "SOCKS4 reply"
    data = await _fill(stream, b"", 2, what)
    if data[0] not in (0, 4):
        raise PeerError(f"the server does not speak SOCKS4: its first byte is {data[0]:#04x}")
    if data[1] != _GRANTED_4:
        text, reason = _REPLIES_4.get(data[1], (f"code {data[1]:#04x}", Reason.FAILURE))
        raise Refused(f"the SOCKS4 server refused: {text}", reason)
    if len(data) < 8:
        data = await _fill(stream, data, 8, what)
    if len(data) > 8:
        stream.unread(data[8:])
    return Target.from_packed(data[4:8], data[2] << 8 | data[3])


def _filled(bound: Target | None, server: Target | None, what: str) -> Target:
    """The bound address, with the server's own in place of "the address you reached me by"."""
    if bound is None:
        raise PeerError(f"the SOCKS server {what} at an invalid host")
    if server is not None and bound.packed is not None and not any(bound.packed):
        return replace(server, port=bound.port)
    return bound


_CHUNK = 512  # of a handshake; what comes after it is put back, so not much more than one
_LONGEST_TEXT = 255
_NO_AUTH, _PASSWORD = 0, 2
_GRANTED_4, _REJECTED_4 = 0x5A, 0x5B
_REJECTED_USER_4 = b"\x00\x5d\x00\x00\x00\x00\x00\x00"
_NOWHERE = address.pack(address.UNSPECIFIED)
_SIZES = {address.IPV4: 10, address.IPV6: 22}
_COMMANDS = {command.value: command for command in Command}
_CODES = {
    Reason.RULES: 2,
    Reason.CREDENTIALS: 1,  # of an upstream: nothing the client could mend
    Reason.CONNECTION_REFUSED: 5,
    Reason.NETWORK_UNREACHABLE: 3,
    Reason.HOST_UNREACHABLE: 4,
    Reason.NAME_UNKNOWN: 4,
    Reason.TIMED_OUT: 6,
    Reason.NOT_SUPPORTED: 7,
    Reason.LIMIT: 1,
    Reason.FAILURE: 1,
}
_REPLIES = {
    1: ("general failure", Reason.FAILURE),
    2: ("not allowed by its rules", Reason.RULES),
    3: ("network unreachable", Reason.NETWORK_UNREACHABLE),
    4: ("host unreachable", Reason.HOST_UNREACHABLE),
    5: ("connection refused", Reason.CONNECTION_REFUSED),
    6: ("timed out (TTL expired)", Reason.TIMED_OUT),
    7: ("command not supported", Reason.NOT_SUPPORTED),
    8: ("address type not supported", Reason.NOT_SUPPORTED),
}
_REPLIES_4 = {
    0x5B: ("rejected or failed", Reason.FAILURE),
    0x5C: ("it cannot reach our identd", Reason.CREDENTIALS),
    0x5D: ("our identd reports another user", Reason.CREDENTIALS),
}
