"""FETCH: downloads one document over HTTP through any outbound.

Comes in: an address and a dialer. Goes out: the document, or that it has not changed. Bounded in
size, time and redirects, whatever the server does; on config time.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

from byway.errors import PeerError, Reason, Refused
from byway.flow import Dial
from byway.interfaces import Dialer, Stream
from byway.protocols import http_client
from byway.protocols.http import Fields, RequestHead, basic
from byway.protocols.http_client import Answer, TooLarge
from byway.protocols.web_address import WebAddress

MOST_REDIRECTS = 5
AGENT = "Byway"
"""The default User-Agent."""


Secure = Callable[[Stream, str], Awaitable[Stream]]
"""Puts TLS on a stream to a server of this name, which its certificate must have."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a fetch may take, in seconds."""

    reach: float = 30.0  # until the head of the answer, for each redirect
    silence: float = 30.0  # without a byte of the body
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class Document:
    """A fetched body, with the validators of its server."""

    body: bytes = field(repr=False)
    etag: str = ""
    modified: str = ""


class Denied(Refused):
    """The web server said no; it may want to be left alone for so many seconds."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


BOUNDS = Bounds()


async def fetch(
    address: WebAddress,
    way: Dialer,
    secure: Secure,
    limit: int,
    known: Document | None = None,
    bounds: Bounds = BOUNDS,
    agent: str = AGENT,
) -> Document | None:
    """The document, unpacked, of at most `limit` bytes; None when it is still the `known` one.
    `agent` is the User-Agent: visible ASCII.

    Raises Denied for any answer but yes, PeerError (TooLarge among them), TimeoutError, and what
    dialling raises. A cancel closes the connection. A server elsewhere cannot redirect to what the
    guard closes: only a person's own address, or a server that is there itself, leads there.
    """
    dialler = _Dialler(way)
    try:
        async with asyncio.timeout(bounds.total) as clock:
            for _ in range(MOST_REDIRECTS + 1):
                found = await _visit(address, dialler, secure, limit, known, bounds, agent)
                if not isinstance(found, WebAddress):
                    return found
                address = found
    except EOFError:
        raise PeerError(f"{address.authority} closed the connection") from None
    except TimeoutError:
        if clock.expired():
            raise TimeoutError(f"{address.authority} took over {bounds.total:g}s") from None
        raise
    raise PeerError(f"more than {MOST_REDIRECTS} redirects")


class _Dialler:
    """Dials each address of a fetch, behind the guard from the first one that is elsewhere."""

    def __init__(self, way: Dialer) -> None:
        self._way = way
        self._trusted = True  # a redirect may lead to this host itself

    async def connect(self, address: WebAddress) -> Stream:
        try:
            stream = await self._way.connect(Dial(address.target, guarded=True))
        except Refused as error:
            if error.reason is not Reason.RULES:
                raise
            if not self._trusted:
                raise PeerError(f"a server elsewhere redirects to {address}: {error}") from error
            return await self._way.connect(Dial(address.target))
        self._trusted = False
        return stream


async def _visit(
    address: WebAddress,
    dialler: _Dialler,
    secure: Secure,
    limit: int,
    known: Document | None,
    bounds: Bounds,
    agent: str,
) -> Document | WebAddress | None:
    """One request: the document, or where it is instead."""
    stream: Stream | None = None
    try:
        try:
            async with asyncio.timeout(bounds.reach):
                stream = await dialler.connect(address)
                if address.scheme == "https":
                    stream = await secure(stream, address.host)
                request = RequestHead("GET", address.path, _fields(address, known, agent))
                answer = await http_client.ask(stream, request)
        except TimeoutError as error:
            if str(error):
                raise
            raise TimeoutError(f"{address.authority} did not answer in {bounds.reach:g}s") from None
        match answer.status:
            case 200:
                body = await _body(stream, answer, limit, bounds.silence, address.authority)
                etag, modified = answer.field(b"etag"), answer.field(b"last-modified")
                return Document(body, etag[:1024], modified[:128])
            case 304 if known is not None:
                return None
            case 301 | 302 | 303 | 307 | 308:
                return _elsewhere(address, answer.field(b"location"))
            case status:
                phrase = answer.head.phrase.decode("latin-1")[:80]
                after = answer.field(b"retry-after")
                seconds = float(after) if after.isascii() and after.isdigit() else 0.0
                raise Denied(f"{address.authority} said {status} {phrase}".rstrip(), seconds)
    finally:
        if stream is not None:
            stream.close()


def _fields(address: WebAddress, known: Document | None, agent: str) -> Fields:
    fields = [
        (b"Host", address.authority.encode()),
        (b"User-Agent", agent.encode("ascii")),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"gzip"),
        (b"Connection", b"close"),
    ]
    if address.user is not None:
        fields.append((b"Authorization", basic(address.user, address.password)))
    if known is not None and known.etag:
        fields.append((b"If-None-Match", known.etag.encode("latin-1")))
    if known is not None and known.modified:
        fields.append((b"If-Modified-Since", known.modified.encode("latin-1")))
    return tuple(fields)


def _elsewhere(address: WebAddress, location: str) -> WebAddress:
    """Where a redirect leads. What was encrypted stays so, and no password goes along."""
    if not location:
        raise PeerError(f"{address.authority} redirects without a location")
    base = f"{address.scheme}://{address.authority}{address.path}"
    try:
        found = WebAddress.parse(urljoin(base, location.partition("#")[0]))
    except (ValueError, UnicodeError):
        raise PeerError(f"{address.authority} redirects to an invalid URL") from None
    if address.scheme == "https" and found.scheme != "https":
        raise PeerError(f"{address.authority} redirects from https to http")
    if (found.scheme, found.target) == (address.scheme, address.target):
        return replace(found, user=address.user, password=address.password)
    return replace(found, user=None, password="")


async def _body(stream: Stream, answer: Answer, limit: int, silence: float, who: str) -> bytes:
    coding = answer.field(b"content-encoding").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise PeerError(f"{who} sent a coding that was not requested ({coding[:40]!r})")
    body = bytearray()
    parts = _in_time(http_client.parts(stream, answer, limit), silence, who)
    if coding not in ("", "identity"):
        parts = _unpacked(parts, limit)
    first = True
    async for part in parts:
        if first and coding in ("", "identity") and part[:3] == b"\x1f\x8b\x08":
            # a file that is packed itself, as some lists are
            parts = _unpacked(_again(part, parts), limit)
            body += b"".join([piece async for piece in parts])
            break
        first = False
        body += part
    return bytes(body)


async def _again(part: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield part
    async for another in rest:
        yield another


async def _in_time(parts: AsyncIterator[bytes], silence: float, who: str) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(silence):
                part = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TimeoutError(f"{who} sent nothing for {silence:g}s") from None
        yield part


async def _unpacked(parts: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """gzip undone (RFC 1952), never more than a piece at a time, however much it would become."""
    count, unzip, begun = 0, zlib.decompressobj(wbits=31), False
    async for part in parts:
        data, piece = part, b""
        while data or len(piece) == _PIECE:
            if unzip.eof:  # several members are one file, and zeros may fill up its end
                if not data.strip(b"\0"):
                    break
                unzip = zlib.decompressobj(wbits=31)
            try:
                piece = unzip.decompress(data, _PIECE)
            except zlib.error:
                raise PeerError("the response is not gzip") from None
            begun = True
            count += len(piece)
            if count > limit:
                raise TooLarge(f"the response decompresses to more than {limit} bytes")
            if piece:
                yield piece
            await asyncio.sleep(0)  # a bomb takes its turns like everybody
            data = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
    if begun and not unzip.eof:
        raise PeerError("the gzip of the response is truncated")


_PIECE = 256 * 1024
