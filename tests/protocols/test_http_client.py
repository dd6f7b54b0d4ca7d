"""HTTP/1.1 toward a web server: ciphers, bounds, and servers that do not keep to them."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError
from byway.protocols.http import HeadError, RequestHead
from byway.protocols.http_client import Answer, TooLarge, ask, whole
from byway.streams.memory import play, scripted

GET = RequestHead("GET", "/list", ((b"Host", b"web.example"),))


def got(*chunks: bytes, limit: int = 1000, request: RequestHead = GET) -> tuple[Answer, bytes]:
    """The answer and body that these bytes of a server are."""

    async def fetch() -> tuple[Answer, bytes]:
        stream, _ = scripted(*chunks)
        answer = await ask(stream, request)
        return answer, await whole(stream, answer, limit)

    return play(fetch())


def test_a_request_goes_out_as_it_is_and_with_the_length_of_its_body() -> None:
    near, far = scripted(b"HTTP/1.1 204 No Content\r\n\r\n")
    post = RequestHead("POST", "/q", ((b"Host", b"a"),))

    answer = play(ask(near, post, b"hello"))

    assert answer.status == 204
    near.close()
    assert play(far.read()) == (b"POST /q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    ("said", "body", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore", b"hello", True),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: v\r\n\r\n", b"hello", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
         b"x", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"a\"\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    ],
)  # fmt: skip
def test_a_body_ends_where_its_length_says(said: bytes, body: bytes, keeps: bool) -> None:
    answer, found = got(said)

    assert (found, answer.keeps) == (body, keeps)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", TooLarge, "1001 bytes, more than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, TooLarge, "more than 1000"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, TooLarge,
         "more than 1000"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", PeerError, "4 bytes before its end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", PeerError, "middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello", PeerError, "wrong"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhe", PeerError, "a size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, PeerError, "line"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: v\r\n" * 99,
         PeerError, "trailer"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", PeerError, "another protocol"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 9, PeerError, "only 1xx responses"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HeadError, "the server sent"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
         HeadError, "Length"),
    ],
)  # fmt: skip
def test_what_a_server_does_wrong_is_told(said: bytes, error: type[PeerError], words: str) -> None:
    with pytest.raises(error, match=words):
        got(said)


def test_a_silent_end_is_an_end() -> None:
    with pytest.raises(EOFError):
        got()


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=12), st.data())
def test_chunks_are_put_together_however_they_come(
    body: bytes, sizes: list[int], data: st.DataObject
) -> None:
    wire, at = bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 0
    for size in (*sizes, len(body)):
        if part := body[at : at + size]:
            wire += b"%X\r\n%b\r\n" % (len(part), part)
            at += size
    wire += b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [bytes(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    _, found = got(*filter(None, pieces))

    assert found == body


def test_a_field_is_found_without_regard_to_case() -> None:
    packed = gzip.compress(b"x")
    answer, found = got(b"HTTP/1.1 200 OK\r\nCONTENT-encoding: gzip\r\n\r\n" + packed)

    assert answer.field(b"content-encoding") == "gzip"
    assert answer.field(b"etag") == ""
    assert gzip.decompress(found) == b"x"
