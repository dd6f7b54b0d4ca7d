"""HTTP heads, CONNECT and Basic at both ends, played from lists of bytes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.errors import PeerError, Reason, Refused
from byway.flow import Target
from byway.protocols import http
from byway.protocols.credentials import Verify, verifier
from byway.protocols.http import HeadError, HttpOptions, Request, RequestHead, ResponseHead
from byway.streams.memory import MemoryStream, pair, play, scripted
from tests.protocols.targets import targets

USERS = verifier({"u": "p:w"})
CONNECT = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n"
GET = b"GET http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\n"
EXAMPLE = Target.of("example.com", 443)


def accepted(wire: bytes, verify: Verify | None = None) -> Request:
    """The request that a client's bytes make."""
    return play(http.accept(scripted(wire)[0], verify))


def refused(wire: bytes, verify: Verify | None = None) -> tuple[Exception, bytes]:
    """The error that a client's bytes make, and what it was sent."""
    near, client = scripted(wire)
    with pytest.raises((PeerError, Refused)) as caught:
        play(http.accept(near, verify))
    return caught.value, client.read_nowait()


class TestRequest:
    """What a client of a proxy may ask."""

    def test_connect(self) -> None:
        near, client = scripted(CONNECT + b"\r\n\x16\x03\x01")
        request = play(http.accept(near))
        assert request.is_connect
        assert request.target == EXAMPLE
        play(http.grant(near, request))
        assert client.read_nowait() == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert _rest(near) == b"\x16\x03\x01"

    @pytest.mark.parametrize(
        ("authority", "target"),
        [
            (b"192.0.2.1:22", Target.of("192.0.2.1", 22)),
            (b"[2001:db8::1]:443", Target.of("2001:db8::1", 443)),
            (b"EXAMPLE.com.:1", Target.of("example.com", 1)),
            ("Bücher.example:1".encode(), Target.of("xn--bcher-kva.example", 1)),
        ],
    )
    def test_connect_targets(self, authority: bytes, target: Target) -> None:
        assert accepted(b"CONNECT %b HTTP/1.0\r\n\r\n" % authority).target == target

    @pytest.mark.parametrize(
        "authority",
        [b"example.com", b"example.com:", b":443", b"2001:db8::1:443", b"a:65536", b"a:+1",
         b"a:1/x",         b"http://a:1", b"u@a:1", b"[a]:1", b"[192.0.2.1]:1", b"a%20:1",
         b"b\xfccher:1", "straße.example:1".encode(), "u@bücher:1".encode()],
    )  # fmt: skip
    def test_bad_connect_targets(self, authority: bytes) -> None:
        error, sent = refused(b"CONNECT %b HTTP/1.1\r\n\r\n" % authority)
        assert isinstance(error, HeadError)
        assert error.status == 400
        assert sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")

    @pytest.mark.parametrize(
        ("uri", "target", "authority", "path"),
        [
            (b"http://example.com/a?b", Target.of("example.com", 80), "example.com", "/a?b"),
            (b"http://example.com", Target.of("example.com", 80), "example.com", "/"),
            (
                b"HTTP://Example.com:8080?q",
                Target.of("example.com", 8080),
                "Example.com:8080",
                "/?q",
            ),
            (b"http://example.com:/x", Target.of("example.com", 80), "example.com:", "/x"),
            (b"http://[2001:db8::1]/", Target.of("2001:db8::1", 80), "[2001:db8::1]", "/"),
            (b"http://[::1]:8080/", Target.of("::1", 8080), "[::1]:8080", "/"),
            (b"http://a/\xc3\xbc", Target.of("a", 80), "a", "/\xc3\xbc"),
            (
                "http://bücher.example:8/ü".encode(),
                Target.of("xn--bcher-kva.example", 8),
                "xn--bcher-kva.example:8",
                "/Ã¼",
            ),
            (b"http://a//b/../c", Target.of("a", 80), "a", "//b/../c"),
        ],
    )
    def test_absolute_form(self, uri: bytes, target: Target, authority: str, path: str) -> None:
        request = accepted(b"GET %b HTTP/1.1\r\nHost: other.example\r\n\r\n" % uri)
        assert (request.target, request.authority, request.path) == (target, authority, path)
        assert not request.is_connect

    def test_options_of_a_whole_server(self) -> None:
        assert accepted(b"OPTIONS http://a HTTP/1.1\r\n\r\n").path == "*"
        assert accepted(b"OPTIONS http://a/ HTTP/1.1\r\n\r\n").path == "/"

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            (b"GET / HTTP/1.1", 400),
            (b"OPTIONS * HTTP/1.1", 400),
            (b"GET https://a/ HTTP/1.1", 501),
            (b"GET ftp://a/ HTTP/1.1", 501),
            (b"GET http:///x HTTP/1.1", 400),
            (b"GET http://u:p@a/ HTTP/1.1", 400),
            (b"GET http://a/#f HTTP/1.1", 400),
            (b"GET http://a\\b/ HTTP/1.1", 400),
            (b"GET http://a:b/ HTTP/1.1", 400),
            (b"GET http://::1/ HTTP/1.1", 400),
            (b"GET http://a/ HTTP/2.0", 505),
            (b"PRI * HTTP/2.0", 505),
            (b"GET http://a/", 400),
            (b"GET  http://a/ HTTP/1.1", 400),
            (b"GET http://a/ b HTTP/1.1", 400),
            (b"GET http://a/ HTTP/1.1 ", 400),
            (b"GET\thttp://a/ HTTP/1.1", 400),
            (b"GET http://a/\x7f HTTP/1.1", 400),
            (b"G(T http://a/ HTTP/1.1", 400),
            (b" GET http://a/ HTTP/1.1", 400),
            (b"GET http://a/ http/1.1", 400),
            (b"GET http://a/ HTTP/1.11", 400),
        ],
    )
    def test_bad_request_lines(self, line: bytes, status: int) -> None:
        error, sent = refused(line + b"\r\nHost: a\r\n\r\n")
        assert isinstance(error, HeadError)
        assert error.status == status
        assert sent.startswith(b"HTTP/1.1 %d " % status)

    def test_two_hosts_are_one_too_many(self) -> None:
        error, _ = refused(GET + b"host: b\r\n\r\n")
        assert "more than one Host" in str(error)


class TestHeads:
    """Heads keep their bytes, and are read strictly."""

    def test_names_and_values_keep_their_bytes(self) -> None:
        head = http.parse_request(b"GET / HTTP/1.1\r\nX-oDD:\t caf\xe9  \r\nx-odd:\r\nA: b: c")
        assert head.fields == ((b"X-oDD", b"caf\xe9"), (b"x-odd", b""), (b"A", b"b: c"))
        assert http.values(head.fields, b"x-odd") == [b"caf\xe9", b""]

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET http://ann:s3cr3t@a/ HTTP/1.1\r\n\r\n",
            b"GET http://s3cr3t@a:80/ HTTP/1.1\r\n\r\n",
            b"CONNECT ann:s3cr3t@a:80 HTTP/1.1\r\n\r\n",
            b"GET http://a/?key=s3cr3t HTTP/1.1 \r\n\r\n",
            GET + b"Proxy-Authorization Basic s3cr3t\r\n\r\n",
            GET + b"Proxy-Authorization : Basic s3cr3t\r\n\r\n",
            GET + b"Proxy-Authorization:\r\n Basic s3cr3t\r\n\r\n",
            b"s3cr3t",
            b"\x01s3cr3t\r\n\r\n",
            b"s3cr3t\r\n\r\n",
        ],
    )
    def test_errors_tell_no_secret(self, sent: bytes) -> None:
        error, answer = refused(sent)
        assert "s3cr3t" not in str(error)
        assert b"s3cr3t" not in answer

    @pytest.mark.parametrize(
        ("field", "message"),
        [
            (b"A : b", "space before the colon"),
            (b"A\t: b", "space before the colon"),
            (b"A: b\r\n c", "folded"),
            (b"A: b\r\n\tc", "folded"),
            (b" A: b", "folded"),
            (b": b", "bad field line"),
            (b"A", "bad field line"),
            (b"A b: c", "bad field line"),
            (b"A\xc3: c", "bad field line"),
            (b"A: b\nC: d", "bare CR or LF"),
            (b"A: b\rC: d", "bare CR or LF"),
            (b"A: b\r\r\nC: d", "bare CR or LF"),
            (b"A: b\0c", "NUL"),
        ],
    )
    def test_bad_fields(self, field: bytes, message: str) -> None:
        near, _ = scripted(b"GET / HTTP/1.1\r\n" + field + b"\r\n\r\n")
        with pytest.raises(HeadError, match=f"the client sent .*{message}") as caught:
            play(http.read_request(near))
        assert caught.value.status == 400
        near, _ = scripted(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n")
        with pytest.raises(HeadError, match=f"the server sent .*{message}") as caught:
            play(http.read_response(near))
        assert caught.value.status == 502

    @pytest.mark.parametrize(
        "start",
        [
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"{}",
            b"GET / HTTP/1.1\r\nA\rb",
        ],
    )
    def test_what_can_be_no_head_is_refused_before_its_end(self, start: bytes) -> None:
        near, _ = scripted(start, end=False)
        with pytest.raises(HeadError, match="the client sent"):
            play(http.read_request(near))

    def test_empty_lines_before_a_request_are_skipped(self) -> None:
        near, _ = scripted(b"\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n")
        assert play(http.read_request(near)) == RequestHead("GET", "/")

    def test_endless_empty_lines_reach_the_limit(self) -> None:
        near, _ = scripted(*[b"\r\n" * 100] * 3 + [b"GET / HTTP/1.1\r\n\r\n"])
        with pytest.raises(HeadError) as caught:
            play(http.read_request(near, limit=200))
        assert caught.value.status == 431

    def test_the_limit_counts_the_whole_head(self) -> None:
        head = b"GET / HTTP/1.1\r\nA: " + b"x" * 5000 + b"\r\n\r\n"
        for chunks in ([head], [head[i : i + 7] for i in range(0, len(head), 7)]):
            assert play(http.read_request(scripted(*chunks)[0], len(head))).fields
            with pytest.raises(HeadError, match="more than") as caught:
                play(http.read_request(scripted(*chunks)[0], len(head) - 1))
            assert caught.value.status == 431

    def test_cut_at_every_length(self) -> None:
        data = GET + b"A: b\r\n\r\n"
        whole = play(http.read_request(scripted(data)[0]))
        with pytest.raises(EOFError):
            play(http.read_request(scripted()[0]))
        for cut in range(1, len(data)):
            near, _ = scripted(data[:cut])
            with pytest.raises(HeadError, match="half a head"):
                play(http.read_request(near))
            near, _ = scripted(data[:cut], data[cut:] + b"body")
            assert play(http.read_request(near)) == whole
            assert _rest(near) == b"body"
            near, _ = scripted(data[cut:])
            assert play(http.read_request(near, begun=data[:cut])) == whole

    @pytest.mark.parametrize(
        ("line", "head"),
        [
            (b"HTTP/1.1 200 OK", ResponseHead(200, b"OK")),
            (b"HTTP/1.0 404 Not  Found\xe9", ResponseHead(404, b"Not  Found\xe9", (), 0)),
            (b"HTTP/1.1 204 ", ResponseHead(204)),
            (b"HTTP/1.1 204", ResponseHead(204)),
            (b"HTTP/1.7 999 x", ResponseHead(999, b"x")),
        ],
    )
    def test_status_lines(self, line: bytes, head: ResponseHead) -> None:
        assert http.parse_response(line) == head

    @pytest.mark.parametrize(
        "line", [b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000", b"ICY 200 OK",
                 b"HTTP/1.1  200",                 b"HTTP/1.1 099 x", b"http/1.1 200 OK", b""]
    )  # fmt: skip
    def test_bad_status_lines(self, line: bytes) -> None:
        with pytest.raises(HeadError, match="bad status line"):
            http.parse_response(line)

    @given(
        st.from_regex(r"[A-Z]{1,10}", fullmatch=True),
        st.from_regex(r"[!-~]{1,40}", fullmatch=True),
        st.lists(
            st.tuples(
                st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True),
                st.binary(max_size=30).map(
                    lambda value: value.translate(None, b"\r\n\0").strip(b" \t")
                ),
            ),
            max_size=8,
        ),
        st.integers(0, 1),
    )
    def test_round_trip(
        self, method: str, uri: str, fields: list[tuple[bytes, bytes]], minor: int
    ) -> None:
        head = RequestHead(method, uri, tuple(fields), minor)
        near, _ = scripted(head.encode() + b"rest")
        assert play(http.read_request(near)) == head
        assert _rest(near) == b"rest"
        answer = ResponseHead(200, uri.encode(), tuple(fields), minor)
        assert play(http.read_response(scripted(answer.encode())[0])) == answer

    @given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.booleans())
    def test_any_bytes(self, chunks: list[bytes], is_request: bool) -> None:
        near, _ = scripted(
            *(chunks if not is_request else [b"GET http://a/ HTTP/1.1\r\n", *chunks])
        )
        try:
            if is_request:
                play(http.accept(near))
            else:
                play(http.read_response(near))
        except HeadError:
            return
        except EOFError:
            assert not b"".join(chunks).replace(b"\r\n", b"")


class TestAuthentication:
    """Basic, both ends."""

    def test_vector(self) -> None:
        assert http.basic("u", "p:w") == b"Basic dTpwOnc="
        assert accepted(CONNECT + b"Proxy-Authorization: Basic dTpwOnc=\r\n\r\n", USERS).user == "u"

    def test_rfc_7617_example(self) -> None:
        assert http.basic("test", "123£") == b"Basic dGVzdDoxMjPCow=="

    @pytest.mark.parametrize("value", [b"basic dTpwOnc=", b"BASIC  dTpwOnc=  "])
    def test_the_scheme_has_no_case(self, value: bytes) -> None:
        assert accepted(GET + b"proxy-authorization: " + value + b"\r\n\r\n", USERS).user == "u"

    def test_nothing_is_verified_without_users(self) -> None:
        assert accepted(GET + b"Proxy-Authorization: Basic dTpwOnc=\r\n\r\n").user is None

    @pytest.mark.parametrize(
        "field",
        [
            b"",
            b"Authorization: Basic dTpwOnc=\r\n",
            b"Proxy-Authorization: Basic dTpw\r\n",
            b"Proxy-Authorization: Basic\r\n",
            b"Proxy-Authorization: Basic dTpwOnc\r\n",
            b"Proxy-Authorization: Basic d*TpwOnc=\r\n",
            b"Proxy-Authorization: Basic /w==\r\n",
            b"Proxy-Authorization: Bearer dTpwOnc=\r\n",
            b"Proxy-Authorization: Basic dQ==\r\n",
            b"Proxy-Authorization: Basic dTpwOnc=\r\nProxy-Authorization: Basic dTpwOnc=\r\n",
        ],
    )
    def test_refused(self, field: bytes) -> None:
        error, sent = refused(CONNECT + field + b"\r\n", USERS)
        assert isinstance(error, Refused)
        assert error.reason is Reason.CREDENTIALS
        head, _, body = sent.partition(b"\r\n\r\n")
        answer = http.parse_response(head)
        assert answer.status == 407
        assert http.values(answer.fields, b"proxy-authenticate") == [
            b'Basic realm="byway", charset="UTF-8"'
        ]
        assert http.values(answer.fields, b"content-length") == [b"%d" % len(body)]
        assert http.values(answer.fields, b"connection") == [b"close"]

    def test_options(self) -> None:
        assert "secret" not in repr(HttpOptions("ann", "secret"))
        for username, password in ((None, "x"), ("a:b", "x"), ("a\n", "x"), ("a", "x\r")):
            with pytest.raises(ValueError, match="proxy"):
                HttpOptions(username, password)


class TestAnswers:
    """Refusals say why, in bytes that can do no harm."""

    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            (Reason.RULES, 403),
            (Reason.CREDENTIALS, 502),
            (Reason.CONNECTION_REFUSED, 502),
            (Reason.NAME_UNKNOWN, 502),
            (Reason.TIMED_OUT, 504),
            (Reason.NOT_SUPPORTED, 501),
            (Reason.LIMIT, 503),
        ],
    )
    def test_deny(self, reason: Reason, status: int) -> None:
        near, client = scripted(GET + b"\r\n")
        request = play(http.accept(near))
        play(http.deny(near, request, reason))
        head, _, body = client.read_nowait().partition(b"\r\n\r\n")
        answer = http.parse_response(head)
        assert answer.status == status
        assert http.values(answer.fields, b"content-length") == [b"%d" % len(body)]
        assert reason.value.encode() in body

    def test_the_answer_to_head_has_no_body(self) -> None:
        near, client = scripted(GET.replace(b"GET", b"HEAD") + b"\r\n")
        request = play(http.accept(near))
        play(http.deny(near, request, Reason.RULES))
        assert client.read_nowait().endswith(b"\r\n\r\n")

    def test_text_cannot_leave_its_line(self) -> None:
        sent = http.answer(400, "a\r\n\r\nHTTP/1.1 200 OK\x1b[31m\x9b\ud800")
        head, _, body = sent.partition(b"\r\n\r\n")
        assert body.count(b"\n") == 1
        assert b"\x1b" not in body
        assert b"Content-Length: %d" % len(body) in head
        assert b"nosniff" in head


class TestClient:
    """The client's end of CONNECT."""

    def test_connect(self) -> None:
        near, proxy = scripted(
            b"HTTP/1.0 200 Sure\r\nProxy-agent: x\r\nContent-Length: 5\r\n\r\nSSH-2"
        )
        assert play(http.connect(near, EXAMPLE)) is near
        assert proxy.read_nowait() == CONNECT + b"\r\n"
        assert _rest(near) == b"SSH-2"

    def test_connect_with_credentials_to_ipv6(self) -> None:
        near, proxy = scripted(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204\r\n\r\n")
        play(http.connect(near, Target.of("2001:db8::1", 80), HttpOptions("u", "p:w")))
        assert proxy.read_nowait() == (
            b"CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"
            b"Proxy-Authorization: Basic dTpwOnc=\r\n\r\n"
        )

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (407, Reason.CREDENTIALS),
            (403, Reason.RULES),
            (502, Reason.HOST_UNREACHABLE),
            (503, Reason.HOST_UNREACHABLE),
            (504, Reason.TIMED_OUT),
            (500, Reason.FAILURE),
            (302, Reason.FAILURE),
        ],
    )
    def test_no(self, status: int, reason: Reason) -> None:
        near, _ = scripted(b"HTTP/1.1 %d bad\x1b[2J\r\n\r\n" % status)
        with pytest.raises(Refused, match=rf"the HTTP proxy refused: {status} bad\?\[2J") as caught:
            play(http.connect(near, EXAMPLE))
        assert caught.value.reason is reason
        assert bool(caught.value.hint) == (status == 407)

    def test_broken_proxies(self) -> None:
        for said, message in (
            ([], "closed the connection without an answer"),
            ([b"HTTP/1.1 200"], "half a head"),
            ([b"SSH-2.0-x\r\n\r\n"], "bad status line"),
            ([b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"], "space before"),
            ([b"HTTP/1.1 100 Continue\r\n\r\n"] * 9, "only 1xx responses"),
        ):
            near, _ = scripted(*said)
            with pytest.raises(PeerError, match=message):
                play(http.connect(near, EXAMPLE))

    @given(targets(), st.text("abc/+= é", min_size=1, max_size=9), st.text("ab:é", max_size=9))
    def test_both_ends_understand_each_other(
        self, target: Target, user: str, password: str
    ) -> None:
        async def serve(stream: MemoryStream) -> Request:
            request = await http.accept(stream, lambda *given: given == (user, password))
            await http.grant(stream, request)
            return request

        async def meet() -> Request:
            near, far = pair()
            connecting = http.connect(near, target, HttpOptions(user, password))
            async with asyncio.timeout(60):
                return (await asyncio.gather(connecting, serve(far)))[1]

        request = asyncio.run(meet())
        assert (request.target, request.user) == (target, user)


def _rest(stream: MemoryStream) -> bytes:
    try:
        return stream.read_nowait()
    except EOFError:
        return b""


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_head_may_come_in_pieces_of_any_size(size: int) -> None:
    data = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX: y\r\n\r\n"
    stream, _ = scripted(*(data[at : at + size] for at in range(0, len(data), size)))

    assert play(http.read_request(stream)).uri == "http://a.example/"


def test_a_head_may_come_line_by_line() -> None:
    lines = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX: y\r\n\r\n"
    stream, _ = scripted(*lines.splitlines(keepends=True))

    assert len(play(http.read_request(stream)).fields) == 2
