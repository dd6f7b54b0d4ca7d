"""What turns a request to a web server into a stream: WebSocket's handshake, and HTTPUpgrade's.

Both ends. RFC 6455, section 4, gives a WebSocket, whose frames are the engine's; the same request
without a key (HTTPUpgrade, as V2Fly, sing-box and Xray have it) gives the bare connection. A
server leaves untouched what is no such request, so that a web server can answer it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from byway.errors import PeerError
from byway.flow import frozen
from byway.interfaces import Stream
from byway.protocols.http import (
    Fields,
    HeadError,
    Index,
    RequestHead,
    ResponseHead,
    indexed,
    listed,
    parse_request,
    read_response,
    values,
)

PATIENCE = 5.0
"""Seconds that a request may stop in its middle before it is taken for somebody else's."""

HEAD_LIMIT = 16384
"""Bytes of a request, early data included; clients send 2 KiB of that, in base64."""

PROTOCOL = "Sec-WebSocket-Protocol"
"""The field that usually has early data."""

KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WORD = b"websocket"
_CHUNK = 4096


@frozen
class Wanted:
    """What a server's clients ask for. `host` "": any. Early data is looked for in the field
    `early`; "": behind the path."""

    path: str = "/"
    host: str = ""
    early: str = PROTOCOL
    keyed: bool = True
    """Whether it is a WebSocket; if not, only the upgrade is asked for."""


def accept_of(key: bytes) -> bytes:
    """The server's proof that it read the key (in base64)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


async def connect(
    stream: Stream, path: str, host: str, fields: Fields = (), key: bytes | None = None
) -> None:
    """Ask for `path`: for a WebSocket with a key of `KEY_BYTES` random bytes, else for the bare
    connection. `fields` go along, instead of those of ours that have the same name.

    Raises PeerError for an answer that is no yes, EOFError, OSError.
    """
    encoded = b"" if key is None else base64.b64encode(key)
    own: list[tuple[bytes, bytes]] = [
        (b"Host", host.encode("latin-1")),
        (b"User-Agent", b"Mozilla/5.0"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", _WORD),
    ]
    if encoded:
        own += [(b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", encoded)]
    given = {name.lower() for name, _ in fields}
    head = (*(one for one in own if one[0].lower() not in given), *fields)
    await stream.write(RequestHead("GET", path, head).encode())
    response = await read_response(stream, HEAD_LIMIT)
    if response.status != 101:
        raise PeerError(f"the web server answers {response.status} and not 101: check the path")
    index = indexed(response.fields)
    if not _upgrades(index):
        raise PeerError("the web server agrees to another protocol than WebSocket")
    if encoded and values(response.fields, b"sec-websocket-accept") != [accept_of(encoded)]:
        raise PeerError("the web server did not read the key of the WebSocket")


async def accept(stream: Stream, wanted: Wanted, patience: float = PATIENCE) -> bytes | None:
    """Read a request and say yes to it: the early data that came with it.

    None when it is not what is wanted: then nothing was answered, and all of it can be read again.
    Raises EOFError when nothing came at all, OSError.
    """
    raw = await _head(stream, patience)
    if raw is None:
        return None
    try:
        head = parse_request(raw[:-4])
    except HeadError:
        head = None
    early = None if head is None else _early(head, wanted)
    if head is None or early is None:
        stream.unread(raw)
        return None
    fields: list[tuple[bytes, bytes]] = [(b"Connection", b"Upgrade"), (b"Upgrade", _WORD)]
    if wanted.keyed:
        (key,) = values(head.fields, b"sec-websocket-key")
        fields.append((b"Sec-WebSocket-Accept", accept_of(key)))
        # Whoever offers protocols expects that one is chosen.
        offered = values(head.fields, PROTOCOL.lower().encode())
        if offered:
            fields.append((PROTOCOL.encode(), offered[0]))
    await stream.write(ResponseHead(101, b"Switching Protocols", tuple(fields)).encode())
    return early


async def _head(stream: Stream, patience: float) -> bytes | None:
    """A request's head with its empty line; what follows stays readable. None for what is none:
    then all of it stays."""
    data = b""
    while True:
        data += await stream.read(_CHUNK)
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4:
            if len(data) > end:
                stream.unread(data[end:])
            return data[:end]
        hopeful = b"GET ".startswith(data[:4]) and len(data) <= HEAD_LIMIT
        try:
            if hopeful and await stream.peek(1, patience):
                continue
        except EOFError:
            pass
        stream.unread(data)
        return None


def _early(head: RequestHead, wanted: Wanted) -> bytes | None:
    """The early data of a request that is wanted; None for another one."""
    index = indexed(head.fields)
    if head.method != "GET" or head.minor != 1 or not _upgrades(index):
        return None
    hosts, keys = values(head.fields, b"host"), values(head.fields, b"sec-websocket-key")
    if len(hosts) != 1 or (wanted.host and _bare(hosts[0].decode("latin-1")) != wanted.host):
        return None
    if wanted.keyed:
        version = values(head.fields, b"sec-websocket-version")
        if version != [b"13"] or len(keys) != 1 or not _is_key(keys[0]):
            return None
    elif keys:
        return None
    if wanted.early:
        if head.uri != wanted.path:
            return None
        found = values(head.fields, wanted.early.lower().encode("latin-1"))
        return (_decoded(found[0]) or b"") if found else b""
    if not head.uri.startswith(wanted.path):
        return None
    return _decoded(head.uri[len(wanted.path) :].encode("latin-1"))


def _upgrades(index: Index) -> bool:
    return b"upgrade" in listed(index, b"connection") and listed(index, b"upgrade") == [_WORD]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


def _decoded(text: bytes) -> bytes | None:
    """What is written in base64url without padding; None for what is not."""
    try:
        padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
        return base64.b64decode(padded.translate(_STANDARD), validate=True)
    except binascii.Error:
        return None


def _bare(host: str) -> str:
    """A Host field without its port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


_STANDARD = bytes.maketrans(b"-_", b"+/")
