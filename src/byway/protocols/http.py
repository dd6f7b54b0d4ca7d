"""HTTP/1.1 as a proxy speaks it: heads, CONNECT, Basic authentication, refusals. Both ends.

Sources: RFC 9110 (semantics), RFC 9112 (messages), RFC 7617 (Basic). Plain forwarding, which
rewrites heads instead of opening a tunnel, is in `http_forward`.

Heads are read strictly, because what two parsers read differently is how requests are smuggled:
no bare CR or LF, no NUL, no folded lines, no space before a colon. Names and values keep their
bytes. Errors quote no line of a head, since any may hold a secret. Cancelling a handshake leaves a
stream that is good for nothing but closing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target, frozen, punycode
from byway.interfaces import Stream
from byway.protocols.credentials import Verify

HEAD_LIMIT = 65536
"""Bytes of a head, empty line and all; browsers and servers stay below 64 KiB."""

STRANGERS_LIMIT = 16384
"""The same, as long as nobody has logged in where users are asked for."""

Fields = tuple[tuple[bytes, bytes], ...]
"""Names and values in their order, bytes as they came, less the space around values."""


Index = Mapping[bytes, Sequence[bytes]]
"""Fields by name in lower case."""


class Answered(Exception):  # noqa: N818
    """The client wanted a page of the proxy's own, and has it."""


class HeadError(PeerError):
    """A message that cannot be taken; `status` is what to answer, or to tell the near side.

    `bodiless`: it is a HEAD that is refused, so the answer has no content (RFC 9110 section 9.3.2).
    """

    def __init__(self, status: int, message: str, *, bodiless: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.bodiless = bodiless


@frozen
class RequestHead:
    """A request line and its fields. `uri` is the request target in latin-1; HTTP/1.`minor`."""

    method: str
    uri: str
    fields: Fields = ()
    minor: int = 1

    def encode(self) -> bytes:
        """The head as it goes on the wire."""
        line = f"{self.method} {self.uri} HTTP/1.{self.minor}".encode("latin-1")
        return _encoded(line, self.fields)


@frozen
class ResponseHead:
    """A status line and its fields; HTTP/1.`minor`."""

    status: int
    phrase: bytes = b""
    fields: Fields = ()
    minor: int = 1

    def encode(self) -> bytes:
        """The head as it goes on the wire."""
        return _encoded(b"HTTP/1.%d %d %b" % (self.minor, self.status, self.phrase), self.fields)


Page = Callable[[RequestHead], bytes | None]
"""A whole response of our own to a request in origin form, or None where there is no such page."""


@frozen
class BodyLength:
    """Where a body ends: after `length` bytes, with its last chunk, or (neither) with the stream.

    `dechunk`: the receiver is to get the payload of the chunks only. `without`: trailers of these
    names (in lower case) are of this hop.
    """

    length: int | None = None
    chunked: bool = False
    dechunk: bool = False
    without: tuple[bytes, ...] = field(default=(), compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is no body at all."""
        return self.length == 0


@frozen
class Request:
    """What a client asked of the proxy: a tunnel (`is_connect`), or to forward `head`.

    `path` is the request target in the form an origin wants, "" for a tunnel; `authority` is the
    host and port as the client wrote them; `user` is set only when the server verified it.
    """

    head: RequestHead
    target: Target
    authority: str
    path: str
    user: str | None = None

    @property
    def is_connect(self) -> bool:
        """Whether a tunnel is asked for."""
        return self.head.method == "CONNECT"


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to speak to an HTTP proxy. Raises ValueError for what Basic cannot carry."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.username is None:
            if self.password is not None:
                raise ValueError("a proxy password needs a username")
            return
        if ":" in self.username:
            raise ValueError("a proxy username cannot hold a colon (RFC 7617)")
        if _CONTROL.search(self.username + (self.password or "")):
            raise ValueError("a proxy username or password cannot hold control characters")


# The server's end.


async def accept(
    stream: Stream,
    verify: Verify | None = None,
    limit: int = HEAD_LIMIT,
    begun: bytes = b"",
    own: Page | None = None,
) -> Request:
    """Read a client's request, up to the point where it is granted, forwarded or denied.

    `verify` tells whether a user and password are right; without it no credentials are asked for.
    `begun` is what the caller has read of the stream already. The body, or what the client sent
    ahead into its tunnel, stays readable. `own` may have a page of the proxy's own to answer with.

    Raises HeadError, and Refused (CREDENTIALS), with the client already told no, so that closing is
    all that is left to do; Answered in the same way after a page; EOFError when the client said
    nothing at all.
    """
    bodiless = False
    try:
        head = await read_request(stream, limit, begun)
        bodiless = head.method == "HEAD"
        if own is not None and head.uri[:1] == "/" and (page := own(head)) is not None:
            await stream.write(page)
            raise Answered
        authority, path = _destination(head)
        target = _target(authority, None if head.method == "CONNECT" else 80)
    except HeadError as bad:
        await stream.write(answer(bad.status, str(bad), bodiless=bodiless or bad.bodiless))
        raise
    if verify is None:
        return Request(head, target, authority, path)
    user = _verified(head, verify)
    if user is None:
        text = "this proxy requires a user and a password"
        await stream.write(answer(407, text, bodiless=bodiless))
        raise Refused("wrong or missing user and password from the client", Reason.CREDENTIALS)
    return Request(head, target, authority, path, user)


async def grant(stream: Stream, request: Request) -> None:
    """Tell a client that its tunnel is open; what follows on the stream is the tunnel's."""
    await stream.write(b"HTTP/1.1 200 Connection established\r\n\r\n")


async def deny(stream: Stream, request: Request, reason: Reason, text: str = "") -> None:
    """Answer no, with the status that comes nearest to the reason; the caller then closes."""
    bodiless = request.head.method == "HEAD"
    await stream.write(answer(STATUSES[reason], text or reason.value, bodiless=bodiless))


def answer(status: int, text: str, *, bodiless: bool = False) -> bytes:
    """A whole response of our own that ends the connection, with `text` said in plain."""
    phrase = _PHRASES.get(status, "Error")
    body = f"{status} {phrase}: {_CONTROL.sub('?', text)}\n".encode("utf-8", "backslashreplace")
    extra = {
        405: b"Allow: \r\n",
        407: b'Proxy-Authenticate: Basic realm="byway", charset="UTF-8"\r\n',
    }
    head = (
        b"HTTP/1.1 %d %b\r\n%b"
        b"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n"
    ) % (status, phrase.encode(), extra.get(status, b""), len(body))
    return head if bodiless else head + body


# The client's end.


async def connect(stream: Stream, target: Target, options: HttpOptions = HttpOptions()) -> Stream:
    """Ask the proxy on `stream` for a tunnel to `target`; the same stream is then the tunnel.

    Some proxies say yes before they dial: a tunnel that ends without a byte may be a failed dial.
    Raises Refused when the proxy says no, PeerError when it breaks the protocol or hangs up.
    """
    where = str(target).encode()
    credentials = b""
    if options.username is not None:
        credentials = b"Proxy-Authorization: %b\r\n" % basic(options.username, options.password)
    await stream.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (where, where, credentials))
    for _ in range(_MOST_INTERIM):
        try:
            head = await read_response(stream)
        except EOFError:
            raise PeerError("the HTTP proxy closed the connection without an answer") from None
        if head.status >= 200:
            break
    else:
        raise PeerError("the HTTP proxy sent only 1xx responses")
    if 200 <= head.status < 300:
        return stream
    said = _CONTROL.sub("?", head.phrase.decode("latin-1"))[:80]
    hint = ""
    if head.status == 407:
        hint = "check" if options.username is not None else "give"
        hint += " the outbound's username and password"
    reason = _REASONS.get(head.status, Reason.FAILURE)
    raise Refused(f"the HTTP proxy refused: {head.status} {said}".rstrip(), reason, hint)


def basic(username: str, password: str | None) -> bytes:
    """The value of an Authorization field for Basic (RFC 7617), in UTF-8."""
    return b"Basic " + base64.b64encode(f"{username}:{password or ''}".encode())


# Heads.


async def read_request(stream: Stream, limit: int = HEAD_LIMIT, begun: bytes = b"") -> RequestHead:
    """Read a request head; what follows it stays readable.

    Raises HeadError, with the status to answer; EOFError when nothing came at all.
    """
    try:
        return parse_request(await _read_head(stream, limit, begun))
    except _TooLarge as error:
        raise HeadError(431, f"the client sent {error}", bodiless=error.is_head) from None
    except _Broken as error:
        raise HeadError(400, f"the client sent {error}", bodiless=error.is_head) from None


async def read_response(stream: Stream, limit: int = HEAD_LIMIT) -> ResponseHead:
    """Read a response head; what follows it stays readable.

    Raises HeadError, with the status to tell the near side; EOFError when nothing came at all.
    """
    try:
        return parse_response(await _read_head(stream, limit, b""))
    except _Broken as error:
        raise HeadError(502, f"the server sent {error}") from None


def parse_request(data: bytes) -> RequestHead:
    """Parse a request head without its empty line. Raises HeadError, with the status to answer."""
    line, _, rest = data.partition(b"\r\n")
    bodiless = data.startswith(_HEAD)
    match = _REQUEST_LINE.fullmatch(line)
    try:
        _check(data)
        if match is None:
            raise _Broken("a bad request line")
        fields = _fields(rest)
    except _Broken as error:
        raise HeadError(400, f"the client sent {error}", bodiless=bodiless) from None
    method, uri, major, minor = match.groups()
    if major != b"1":
        text = f"the client speaks HTTP/{major.decode()}, not HTTP/1.1"
        raise HeadError(505, text, bodiless=bodiless)
    return RequestHead(method.decode(), uri.decode("latin-1"), fields, 0 if minor == b"0" else 1)


def parse_response(data: bytes) -> ResponseHead:
    """Parse a response head without its empty line. Raises HeadError (502)."""
    line, _, rest = data.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    try:
        _check(data)
        if match is None:
            raise _Broken("a bad status line")
        fields = _fields(rest)
    except _Broken as error:
        raise HeadError(502, f"the server sent {error}") from None
    minor, status, phrase = match.groups()
    return ResponseHead(int(status), phrase or b"", fields, 0 if minor == b"0" else 1)


def indexed(fields: Fields) -> Index:
    """The values of each field by its name in lower case, in order: for several look-ups."""
    index: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        index.setdefault(name.lower(), []).append(value)
    return index


def values(fields: Fields, name: bytes) -> list[bytes]:
    """The values of all fields of this name (given in lower case), in order."""
    return [value for key, value in fields if key.lower() == name]


def listed(index: Index, name: bytes) -> list[bytes]:
    """The members of a comma-separated field, in lower case, over all its lines."""
    if name not in index:
        return []
    members = b",".join(index[name]).lower().split(b",")
    return [member for part in members if (member := part.strip(b" \t"))]


def _fields(block: bytes) -> Fields:
    """The fields of a checked head; every line of it must be one."""
    if not block:
        return ()
    block += b"\r\n"
    found = _FIELD.findall(block)
    if len(found) != block.count(b"\n"):
        for number, line in enumerate(block[:-2].split(b"\r\n"), start=1):
            _check_field(line, number)
    return tuple([(name, value.strip(b" \t")) for name, value in found])


def _check_field(line: bytes, number: int) -> None:
    """Say what is wrong with a line, if it is no field; not in its words, which may be secret."""
    name, colon, _ = line.partition(b":")
    if colon and _TOKEN.fullmatch(name):
        return
    if line[:1] in (b" ", b"\t"):
        raise _Broken(f"a folded field line (field {number})")
    if name.rstrip(b" \t") != name:
        raise _Broken(f"space before the colon of a field (field {number})")
    raise _Broken(f"a bad field line (field {number})")


def _encoded(line: bytes, fields: Fields) -> bytes:
    lines = [line, *(b"%b: %b" % pair for pair in fields), b"", b""]
    return b"\r\n".join(lines)


async def _read_head(stream: Stream, limit: int, begun: bytes) -> bytes:
    """Read up to the empty line; the head without it. The rest is put back.

    Reading by chunks, not up to a mark, shows at once what can never become a head.
    """
    data = begun or await stream.read(_CHUNK)
    while empty := _EMPTY_LINES.match(data):  # RFC 9112 section 2.2: skipped before a message
        limit -= empty.end()
        if limit <= 0:
            raise _TooLarge("only empty lines, no head")
        data = data[empty.end() :] or await stream.read(_CHUNK)
    end = data.find(b"\r\n\r\n")
    if end < 0:
        data, end = await _read_on(stream, limit, data)
    if end + 4 > limit:
        raise _TooLarge(f"a head of more than {limit} bytes", data)
    if len(data) > end + 4:
        stream.unread(data[end + 4 :])
    return data[:end]


async def _read_on(stream: Stream, limit: int, begun: bytes) -> tuple[bytes, int]:
    """Read on until the empty line is there: what was read, and where the head ends."""
    data = bytearray(begun)
    seen = 0  # what was checked; a CR at the end waits for its LF
    while (end := data.find(b"\r\n\r\n", max(0, seen - 3))) < 0:
        if len(data) >= limit:
            raise _TooLarge(f"a head of more than {limit} bytes", data)
        there = len(data) - (data[-1] == _CR)
        _check(data[seen:there], data)
        if not _TOKEN.match(data):
            raise _Broken(f"no HTTP, but {bytes(data[:4])!r}")
        seen = there
        try:
            data += await stream.read(_CHUNK)
        except EOFError:
            raise _Broken("half a head, then end of stream", data) from None
    return bytes(data), end


def _check(part: bytes | bytearray, head: bytes | bytearray = b"") -> None:
    """Refuse what could end a line for one reader and not for another (RFC 9112 section 2.2).

    `head` is what the part is of."""
    lines = part.count(b"\r\n")
    if part.count(b"\n") != lines or part.count(b"\r") != lines:
        raise _Broken("a bare CR or LF in a head", head)
    if b"\0" in part:
        raise _Broken("a NUL in a head", head)


class _Broken(Exception):  # noqa: N818  (never leaves this file)
    """Bytes that are no head; the message goes on after "the client sent"."""

    def __init__(self, message: str, begun: bytes | bytearray = b"") -> None:
        super().__init__(message)
        self.is_head = begun.startswith(_HEAD)


class _TooLarge(_Broken):
    """A head past its limit."""


# What a client asks for, and who it is.


def _destination(head: RequestHead) -> tuple[str, str]:
    """The authority and the path of a request to a proxy (RFC 9112 sections 3.2.2 and 3.2.3)."""
    if len(values(head.fields, b"host")) > 1:
        raise HeadError(400, "the client sent more than one Host")
    if head.method == "CONNECT":
        return _in_ascii(head.uri), ""
    scheme, mark, rest = head.uri.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        raise HeadError(
            400, "this is a proxy, and the request target is not an absolute http:// URL"
        )
    if scheme.lower() != "http":
        raise HeadError(501, f"this proxy forwards http:// only, not {scheme[:20].lower()}://")
    if "#" in rest:
        raise HeadError(400, "the client sent a fragment in its request target")
    split = _AUTHORITY_END.search(rest)
    authority = rest[: split.start()] if split else rest
    path = rest[split.start() :] if split else ""
    if not path:
        path = "*" if head.method == "OPTIONS" else "/"
    elif path[0] == "?":
        path = "/" + path
    return _in_ascii(authority), path


def _in_ascii(authority: str) -> str:
    """With a name in UTF-8, as programs without IDNA send it, in punycode."""
    if authority.isascii():
        return authority
    host, colon, port = authority.partition(":")
    try:
        return punycode(host.encode("latin-1").decode()) + colon + port
    except ValueError:
        raise HeadError(400, "the client asked for a host that is no name") from None


def _target(authority: str, default_port: int | None) -> Target:
    if "@" in authority:  # RFC 9110 section 4.2.4: an error; and not to be said again anywhere
        raise HeadError(400, "the client sent a user or password in its request target")
    text = authority
    if default_port is not None:
        bare = text.rpartition("]")[2] if text.startswith("[") else text
        if ":" not in bare:
            text = f"{text}:{default_port}"
        elif bare.endswith(":"):
            text = f"{text}{default_port}"
    try:
        return Target.parse(text)
    except ValueError as error:
        raise HeadError(400, f"the client requested a bad address: {error}") from None


def _verified(head: RequestHead, verify: Verify) -> str | None:
    """The user that the client proved to be, or None."""
    given = values(head.fields, b"proxy-authorization")
    if len(given) != 1:
        return None
    scheme, _, token = given[0].partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(token.strip(b" "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return user if colon and verify(user, password) else None


_HEAD = b"HEAD "
_CHUNK = 4096
_CR = 13
_MOST_INTERIM = 8  # 1xx responses borne before the answer to a CONNECT; one is already rare
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r\n]*)\r\n", re.MULTILINE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_AUTHORITY_END = re.compile(r"[/?]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Bytes over 0x7f in a request target are no HTTP, yet clients send them, and no reader of ours
# takes them for a delimiter; they pass as they are.
_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])"
)
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: (.*))?", re.DOTALL)
_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
STATUSES = {
    Reason.RULES: 403,
    Reason.CREDENTIALS: 502,  # of an upstream: nothing the client could mend; ours is a 407
    Reason.CONNECTION_REFUSED: 502,
    Reason.NETWORK_UNREACHABLE: 502,
    Reason.HOST_UNREACHABLE: 502,
    Reason.NAME_UNKNOWN: 502,
    Reason.TIMED_OUT: 504,
    Reason.NOT_SUPPORTED: 501,
    Reason.LIMIT: 503,
    Reason.FAILURE: 502,
}
"""What to answer for each reason."""
_REASONS = {
    403: Reason.RULES,
    407: Reason.CREDENTIALS,
    429: Reason.LIMIT,
    501: Reason.NOT_SUPPORTED,
    502: Reason.HOST_UNREACHABLE,
    503: Reason.HOST_UNREACHABLE,
    504: Reason.TIMED_OUT,
}
