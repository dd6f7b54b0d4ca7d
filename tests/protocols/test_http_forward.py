"""Forwarding rules: what goes on, what comes back, where bodies end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.protocols import http, http_forward
from byway.protocols.http import BodyLength, HeadError, Request, ResponseHead
from byway.protocols.http_forward import Incoming, Outgoing
from byway.streams.memory import play, scripted

EMPTY = BodyLength(length=0)


def asked(fields: str = "", line: str = "GET http://example.com/ HTTP/1.1") -> Request:
    """A client's request with these fields."""
    head = "\r\n".join([line, *fields.split("\n")] if fields else [line])
    near, _ = scripted(head.encode("latin-1") + b"\r\n\r\n")
    return play(http.accept(near))


def sent(fields: str = "", line: str = "GET http://example.com/ HTTP/1.1") -> Outgoing:
    """What goes on of it."""
    return http_forward.outgoing(asked(fields, line), via=None)


def answered(fields: str = "", line: str = "HTTP/1.1 200 OK") -> ResponseHead:
    """An origin's response with these fields."""
    head = "\r\n".join([line, *fields.split("\n")] if fields else [line])
    return http.parse_response(head.encode("latin-1"))


def back(
    fields: str = "", line: str = "HTTP/1.1 200 OK", request: Request | None = None
) -> Incoming:
    """What comes back of it."""
    request = request or asked()
    return http_forward.incoming(answered(fields, line), request, keep_near=True, via=None)


class TestOutgoing:
    """Requests on their way to the origin."""

    def test_the_whole_head(self) -> None:
        request = asked(
            "User-Agent: x\nHost: wrong.example\nProxy-Connection: keep-alive\nacCept: */*",
            "POST http://Example.com:8080/a?b HTTP/1.1",
        )
        assert http_forward.outgoing(request).head == (
            b"POST /a?b HTTP/1.1\r\nHost: Example.com:8080\r\nUser-Agent: x\r\nacCept: */*\r\n"
            b"Via: 1.1 byway\r\n\r\n"
        )

    def test_fields_of_this_hop_stay_here(self) -> None:
        gone = (
            "Connection: X-Foo, keep-alive\nX-Foo: 1\nKeep-Alive: timeout=5\nTE: trailers\n"
            "Trailer: X\nProxy-Authorization: Basic dTpw\nProxy-Connection: close\nUpgrade: h3\n"
            "HTTP2-Settings: x\nAuthorization: Basic dTpw\nX-Bar: 2"
        )
        assert sent(gone).head == (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nAuthorization: Basic dTpw\r\nX-Bar: 2\r\n\r\n"
        )

    @pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
    def test_forwards_are_counted_down(self, method: str) -> None:
        line = f"{method} http://example.com/ HTTP/1.1"
        assert sent("MAX-forwards: 3", line).head.endswith(b"\r\nMax-Forwards: 2\r\n\r\n")
        for fields, status in (
            ("Max-Forwards: 0", 405),
            ("Max-Forwards: -1", 400),
            ("Max-Forwards: 1\nMax-Forwards: 2", 400),
        ):
            with pytest.raises(HeadError) as caught:
                sent(fields, line)
            assert caught.value.status == status

    def test_forwards_of_other_methods_are_not_ours_to_count(self) -> None:
        assert b"\r\nMax-Forwards: 0\r\n" in sent("Max-Forwards: 0").head

    def test_connection_cannot_take_away_what_frames(self) -> None:
        got = sent("Connection: Host, Content-Length\nContent-Length: 3")
        assert got.head == b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\n"
        assert got.body == BodyLength(length=3)

    def test_expect_goes_on(self) -> None:
        got = sent("Expect: 100-continue\nContent-Length: 3")
        assert b"\r\nExpect: 100-continue\r\n" in got.head

    def test_bodies(self) -> None:
        assert sent().body == EMPTY
        assert b"Content-Length" not in sent().head
        assert b"\r\nContent-Length: 0\r\n" in sent("content-length: 0").head
        assert sent("Content-Length: 5\nContent-Length: 5").head.count(b"Content-Length: 5") == 1
        assert sent("Content-Length: 5, 5").body == BodyLength(length=5)
        chunked = sent("Transfer-Encoding: Chunked")
        assert chunked.body == BodyLength(chunked=True)
        assert chunked.head.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ("Content-Length: 5\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: chunked\nContent-Length: 0", 400),
            ("Content-Length: 5\nContent-Length: 6", 400),
            ("Content-Length: 5, 6", 400),
            ("Content-Length: +5", 400),
            ("Content-Length: -5", 400),
            ("Content-Length: 0x5", 400),
            ("Content-Length: 5_0", 400),
            ("Content-Length: 5 0", 400),
            ("Content-Length:", 400),
            ("Content-Length: 5,", 400),
            ("Content-Length: \xb2", 400),
            ("Content-Length: " + "9" * 19, 400),
            ("Transfer-Encoding: gzip", 400),
            ("Transfer-Encoding: chunked, gzip", 400),
            ("Transfer-Encoding: chunked, chunked", 400),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: chunked\nTransfer-Encoding: identity", 400),
            ("Transfer-Encoding: xchunked", 400),
            ("Transfer-Encoding: \x0bchunked", 400),
            ("Transfer-Encoding:", 400),
            ("Transfer-Encoding: gzip, chunked", 501),
        ],
    )
    def test_smuggling_shapes_are_refused(self, fields: str, status: int) -> None:
        with pytest.raises(HeadError, match="the client sent") as caught:
            sent(fields)
        assert caught.value.status == status

    def test_http_1_0_knows_no_chunks(self) -> None:
        with pytest.raises(HeadError, match=r"HTTP/1\.0"):
            sent("Transfer-Encoding: chunked", "POST http://a/ HTTP/1.0")

    @pytest.mark.parametrize(
        ("fields", "minor", "keep"),
        [
            ("", 1, True),
            ("Connection: close", 1, False),
            ("Connection: x, CLOSE", 1, False),
            ("Proxy-Connection: close", 1, False),
            ("Proxy-Connection: keep-alive", 1, True),
            ("", 0, False),
            ("Connection: keep-alive", 0, False),  # RFC 9112 section 9.3
        ],
    )
    def test_the_clients_persistence(self, fields: str, minor: int, keep: bool) -> None:
        assert sent(fields, f"GET http://a/ HTTP/1.{minor}").keep is keep

    def test_the_origins_persistence(self) -> None:
        assert b"Connection" not in http_forward.outgoing(asked()).head
        closing = http_forward.outgoing(asked(), keep_far=False).head
        assert b"\r\nConnection: close\r\n" in closing

    def test_via_names_the_version_received(self) -> None:
        request = asked("Via: 1.0 fred", "GET http://a/ HTTP/1.0")
        head = http_forward.outgoing(request, via="me").head
        assert head.startswith(b"GET / HTTP/1.1\r\n")
        assert head.endswith(b"\r\nVia: 1.0 fred\r\nVia: 1.0 me\r\n\r\n")


class TestIncoming:
    """Responses on their way to the client."""

    def test_the_whole_head(self) -> None:
        got = http_forward.incoming(
            answered(
                "Server: x\nConnection: X-Foo\nX-Foo: 1\nKeep-Alive: timeout=5\n"
                "Content-Length: 3\nProxy-Authenticate: Basic\nSet-Cookie: a\nSet-Cookie: b"
            ),
            asked(),
            keep_near=True,
        )
        assert got == Incoming(
            b"HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
            b"Content-Length: 3\r\nVia: 1.1 byway\r\n\r\n",
            BodyLength(length=3),
            keep_near=True,
            keep_far=True,
        )

    def test_chunked(self) -> None:
        got = back("Transfer-Encoding: chunked\nTrailer: X")
        assert got.head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (got.body, got.keep_near, got.keep_far) == (BodyLength(chunked=True), True, True)

    def test_chunked_to_an_old_client(self) -> None:
        got = back("Transfer-Encoding: chunked", request=asked(line="GET http://a/ HTTP/1.0"))
        assert got.head == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        assert got.body == BodyLength(chunked=True, dechunk=True)
        assert (got.keep_near, got.keep_far) == (False, True)

    def test_until_the_end(self) -> None:
        got = back("Content-Type: x")
        assert got.head == b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nConnection: close\r\n\r\n"
        assert (got.body, got.keep_near, got.keep_far) == (BodyLength(), False, False)

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]
    )
    @pytest.mark.parametrize("fields", ["", "Content-Length: 9", "Transfer-Encoding: chunked"])
    def test_no_body(self, method: str, status: int, fields: str) -> None:
        request = asked(line=f"{method} http://a/ HTTP/1.1")
        got = back(fields, f"HTTP/1.1 {status} x", request)
        assert (got.body, got.keep_near, got.keep_far) == (EMPTY, True, True)
        kept = fields.startswith("Content") and status != 204
        assert (b"Content-Length: 9" in got.head) is kept
        assert b"Transfer-Encoding" not in got.head

    @pytest.mark.parametrize(
        ("fields", "minor", "keep"),
        [
            ("", 1, True),
            ("Connection: close", 1, False),
            ("", 0, False),
            ("Connection: keep-alive", 0, True),
        ],
    )
    def test_the_origins_persistence(self, fields: str, minor: int, keep: bool) -> None:
        lines = "Content-Length: 0" + ("\n" + fields if fields else "")
        got = back(lines, f"HTTP/1.{minor} 200 OK")
        assert (got.keep_far, got.keep_near) == (keep, True)
        assert got.head.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_the_servers_own_wish_to_close(self) -> None:
        response = answered("Content-Length: 0")
        got = http_forward.incoming(response, asked(), keep_near=False, via=None)
        assert (got.keep_near, got.keep_far) == (False, True)
        assert b"Connection: close" in got.head

    @pytest.mark.parametrize("status", [100, 102, 103])
    def test_interim(self, status: int) -> None:
        got = back("Link: x\nConnection: close", f"HTTP/1.1 {status} x")
        assert got.is_interim
        assert got.head == b"HTTP/1.1 %d x\r\nLink: x\r\n\r\n" % status
        old = back("", f"HTTP/1.1 {status} x", asked(line="GET http://a/ HTTP/1.0"))
        assert (old.is_interim, old.head) == (True, b"")

    @pytest.mark.parametrize(
        "fields",
        [
            "Content-Length: 5\nTransfer-Encoding: chunked",
            "Content-Length: 5\nContent-Length: 6",
            "Content-Length: x",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_doubtful_lengths_are_refused(self, fields: str, method: str) -> None:
        with pytest.raises(HeadError, match="the server sent") as caught:
            back(fields, request=asked(line=f"{method} http://a/ HTTP/1.1"))
        assert caught.value.status == 502

    def test_chunks_in_http_1_0_are_refused(self) -> None:
        with pytest.raises(HeadError, match=r"HTTP/1\.0"):
            back("Transfer-Encoding: chunked", "HTTP/1.0 200 OK")


class TestUpgrade:
    """WebSocket through a plain proxy."""

    ASKED = "Connection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: x"

    def test_request(self) -> None:
        got = sent(self.ASKED)
        assert got.upgrade == b"websocket"
        assert got.head == (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nSec-WebSocket-Key: x\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )

    def test_switched(self) -> None:
        got = back(
            "Connection: upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: y",
            "HTTP/1.1 101 Switching Protocols",
            asked(self.ASKED),
        )
        assert got.is_switched
        assert got.head == (
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )

    def test_not_switched(self) -> None:
        got = back("Content-Length: 2", "HTTP/1.1 426 Upgrade Required", asked(self.ASKED))
        assert (got.is_switched, got.body) == (False, BodyLength(length=2))

    @pytest.mark.parametrize(
        "fields",
        [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: x",
            "Connection: Upgrade\nUpgrade: a\nUpgrade: b",
        ],
    )
    def test_what_is_not_passed_on(self, fields: str) -> None:
        got = sent(fields)
        assert got.upgrade is None
        assert got.head == b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
        with pytest.raises(HeadError, match="did not ask"):
            back("Connection: Upgrade\nUpgrade: x", "HTTP/1.1 101 x", asked(fields))

    def test_an_old_client_cannot_switch(self) -> None:
        assert sent(self.ASKED, "GET http://a/ HTTP/1.0").upgrade is None


FIELDS = st.lists(
    st.sampled_from(
        [
            "Content-Length: 5",
            "Content-Length: 6",
            "Content-Length: x",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Connection: close",
            "Connection: upgrade, te",
            "Upgrade: x",
            "Keep-Alive: 1",
            "Proxy-Connection: close",
            "X: y",
        ]
    ),
    max_size=6,
)


@given(FIELDS, FIELDS, st.integers(0, 1), st.integers(0, 1), st.sampled_from([100, 101, 200, 204]))
def test_what_goes_on_is_never_in_doubt(
    up: list[str], down: list[str], minor: int, far_minor: int, status: int
) -> None:
    """Whatever comes, each head sent is a good one that frames its body in one way only."""
    request = asked("\n".join(up), f"POST http://a/ HTTP/1.{minor}")
    try:
        forth = http_forward.outgoing(request)
        response = answered("\n".join(down), f"HTTP/1.{far_minor} {status} x")
        answer = http_forward.incoming(response, request, keep_near=forth.keep)
    except HeadError:
        return
    head = play(http.read_request(scripted(forth.head)[0]))
    assert http_forward.request_length(head) == forth.body
    assert len(http.values(head.fields, b"host")) == 1
    if answer.head:
        reply = play(http.read_response(scripted(answer.head)[0]))
        if not (answer.body.dechunk or answer.is_switched or answer.is_interim):
            assert http_forward.response_length(reply, "POST") == answer.body
        if answer.keep_near:
            assert answer.body.length is not None or answer.body.chunked
            assert b"close" not in http.values(reply.fields, b"connection")
