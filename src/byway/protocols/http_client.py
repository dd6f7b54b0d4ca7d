"""HTTP/1.1 toward a web server: one request after the other on a stream, bodies within a bound.

For what Byway itself wants from the web (lists, names over HTTPS), whatever the stream rides on.
Source: RFC 9112. Redirects, TLS, proxies and time are the caller's. A stream on which anything
went wrong, or was cancelled, is good for nothing but closing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from byway.errors import PeerError
from byway.interfaces import Stream
from byway.protocols.http import (
    HEAD_LIMIT,
    BodyLength,
    RequestHead,
    ResponseHead,
    indexed,
    listed,
    read_response,
    values,
)
from byway.protocols.http_forward import response_length

_MOST_INTERIM = 8  # 1xx responses before the answer
_CHUNK_LINE = 4096  # of a chunk's size, its extensions included, and of a trailer's line
_MOST_TRAILERS = 64


class TooLarge(PeerError):  # noqa: N818 - says of a body what it is
    """A body past the bound that was set for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer, and where its body, still to be read, will end."""

    head: ResponseHead
    body: BodyLength

    @property
    def status(self) -> int:
        """The three digits."""
        return self.head.status

    def field(self, name: bytes) -> str:
        """The first value of a field (its name in lower case), "" where there is none."""
        found = values(self.head.fields, name)
        return found[0].decode("latin-1") if found else ""

    @property
    def keeps(self) -> bool:
        """Whether the stream is good for another request once the body is read."""
        if self.body.length is None and not self.body.chunked:
            return False
        options = listed(indexed(self.head.fields), b"connection")
        return b"close" not in options and (self.head.minor >= 1 or b"keep-alive" in options)


async def ask(
    stream: Stream, request: RequestHead, body: bytes = b"", limit: int = HEAD_LIMIT
) -> Answer:
    """Send a request and read the head of its answer; `request` has Host and what else it needs.

    Content-Length is added where there is a body. Raises HeadError, PeerError, OSError, EOFError
    when the server closed the connection without a word.
    """
    head = request
    if body:
        length = (b"Content-Length", b"%d" % len(body))
        head = RequestHead(request.method, request.uri, (*request.fields, length), request.minor)
    await stream.write(head.encode() + body)
    for _ in range(_MOST_INTERIM):
        response = await read_response(stream, limit)
        if response.status == 101:
            raise PeerError("the web server speaks another protocol than HTTP/1.1")
        if response.status >= 200:
            return Answer(response, response_length(response, request.method))
    raise PeerError("the web server sent only 1xx responses")


async def parts(stream: Stream, answer: Answer, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, chunks undone. Raises TooLarge past `limit` bytes (before any is read
    when the server says so itself), PeerError for bad chunks or a body cut short, OSError."""
    body = answer.body
    if body.length is not None and body.length > limit:
        raise TooLarge(f"the answer has {body.length} bytes, more than {limit}")
    source = _chunks(stream) if body.chunked else _plain(stream, body.length)
    count = 0
    async for part in source:
        count += len(part)
        if count > limit:
            raise TooLarge(f"the answer has more than {limit} bytes")
        yield part


async def whole(stream: Stream, answer: Answer, limit: int) -> bytes:
    """The body in one piece. Raises as `parts` does."""
    return b"".join([part async for part in parts(stream, answer, limit)])


async def _plain(stream: Stream, length: int | None) -> AsyncIterator[bytes]:
    left = length
    while left is None or left > 0:
        try:
            part = await stream.read(65536 if left is None else min(left, 65536))
        except EOFError:
            if left is None:
                return
            raise PeerError(f"the answer ends {left} bytes before its end") from None
        if left is not None:
            left -= len(part)
        yield part


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    """RFC 9112 section 7.1."""
    try:
        while (size := _size_of(await _line(stream))) > 0:
            left = size
            while left:
                part = await stream.read(min(left, 65536))
                left -= len(part)
                yield part
            if await stream.read_exactly(2) != b"\r\n":
                raise PeerError("a chunk of the answer has a wrong end")
        for _ in range(_MOST_TRAILERS):
            if await _line(stream) == b"":
                return
    except EOFError:
        raise PeerError("the answer ends in the middle of its chunks") from None
    raise PeerError("the answer has too many trailer fields")


async def _line(stream: Stream) -> bytes:
    try:
        return (await stream.read_until(b"\r\n", _CHUNK_LINE))[:-2]
    except ValueError:
        raise PeerError("the answer has a line of chunked coding without an end") from None


def _size_of(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
        raise PeerError("the answer has a chunk without a size")
    return int(digits, 16)
