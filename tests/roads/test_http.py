"""Plain HTTP requests through the proxy, byte by byte: what goes on, what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from byway.flow import Target
from tests.roads import clients
from tests.roads.conftest import RunRoad

PLAIN = "inbounds: {in: {type: http, listen: '127.0.0.1:0'}}\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


class Origin:
    """A scripted server: it answers each request head (and its fixed body) from a list."""

    def __init__(self, answers: list[bytes], body: int = 0, close: bool = False) -> None:
        self.answers = answers
        self.seen: list[bytes] = []
        self.connections = 0
        self.body = body
        self._close = close

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                self.seen.append(head + await reader.readexactly(self.body))
                writer.write(self.answers.pop(0))
                await writer.drain()
                if self._close:
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(origin: Origin) -> AsyncIterator[Target]:
    server = await asyncio.start_server(origin.talk, "127.0.0.1", 0)
    try:
        yield Target.of("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def response(link: clients.Link) -> tuple[int, bytes, bytes]:
    """Status, head, and the body by its Content-Length."""
    head = await link[0].readuntil(b"\r\n\r\n")
    size = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0
    )
    return int(head.split()[1]), head, await link[0].readexactly(size)


async def test_forwards_in_origin_form(road: RunRoad) -> None:
    origin = Origin([OK])
    async with serving(origin) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(
            b"GET http://%b/path?q=1 HTTP/1.1\r\nHost: wrong.example\r\n"
            b"Proxy-Connection: keep-alive\r\nConnection: X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n\r\n"
            % str(target).encode()
        )
        assert (await response(link))[::2] == (200, b"ok")
        await clients.left(link)
    head = origin.seen[0]
    assert head.startswith(b"GET /path?q=1 HTTP/1.1\r\nHost: %b\r\n" % str(target).encode())
    assert b"X-Bar: 2" in head
    assert b"X-Foo" not in head
    assert b"Proxy-" not in head


async def test_keeps_both_connections(road: RunRoad) -> None:
    origin = Origin([OK, OK, OK])
    async with serving(origin) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        for _ in range(3):
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
            assert (await response(link))[0] == 200
        await clients.left(link)
        await run.settled(3)
        assert run.ended() == ["done"] * 3
    assert origin.connections == 1


async def test_judges_each_request(road: RunRoad) -> None:
    origin = Origin([OK, OK])
    async with serving(origin) as target:
        rules = f"rules: [{{port: [{target.port}], to: direct}}, {{otherwise: reject}}]"
        async with road(PLAIN + rules) as run:
            link = await clients.linked(run.place("in"))
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
            assert (await response(link))[0] == 200
            link[1].write(b"GET http://other.example/ HTTP/1.1\r\n\r\n")
            assert (await response(link))[0] == 403
            await clients.left(link)


async def test_a_kept_connection_that_died_is_replaced(road: RunRoad) -> None:
    origin = Origin([OK, OK], close=True)  # closes without having said so
    async with serving(origin) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        for _ in range(2):
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
            assert (await response(link))[0] == 200
        await clients.left(link)
    assert origin.connections == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_carries_bodies_both_ways(road: RunRoad, chunked: bool) -> None:
    body = bytes(range(256)) * 1000
    wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    field = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    origin = Origin([b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (field, wire)], body=len(wire))
    async with serving(origin) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        head = b"POST http://%b/ HTTP/1.1\r\n%b\r\n\r\n" % (str(target).encode(), field)
        link[1].write(head + wire)
        got = await link[0].readuntil(b"\r\n\r\n")
        assert field in got
        assert await link[0].readexactly(len(wire)) == wire
        await clients.left(link)
    assert origin.seen[0].endswith(wire)


async def test_passes_100_continue_on(road: RunRoad) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(
            b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n" % port
        )
        assert (await response(link))[0] == 100
        link[1].write(b"hello")
        assert (await response(link))[::2] == (200, b"hello")
        await clients.left(link)
    server.close()
    await server.wait_closed()


async def test_upgrades_become_tunnels(road: RunRoad) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nfirst")
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(
            b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" % port
        )
        assert (await response(link))[0] == 101
        link[1].write(b"ping")
        assert await link[0].read() == b"firstping"
        await clients.left(link)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    ],
)
async def test_an_old_client_gets_plain_bodies(
    road: RunRoad, answer: bytes, expected: bytes
) -> None:
    async with serving(Origin([answer], close=True)) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(b"GET http://%b/ HTTP/1.0\r\n\r\n" % str(target).encode())
        await link[0].readuntil(b"\r\n\r\n")
        assert await link[0].read() == expected
        await clients.left(link)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\n\r\n", 501),
        (b"garbage\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n", 431),
        (
            b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST http://a/ HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", 400),
    ],
)
async def test_bad_requests_are_told(road: RunRoad, request_: bytes, status: int) -> None:
    async with road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request_)
        assert (await response(link))[0] == status
        assert await link[0].read() == b""
        await clients.left(link)


GUARDED = PLAIN.replace("}}", ", users: [{name: ann, password: sesame}]}}")
NOBODY = b"HEAD http://{nobody}/ HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("config", "request_", "status"),
    [
        (GUARDED, b"HEAD http://a/ HTTP/1.1\r\n\r\n", 407),
        (PLAIN, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (PLAIN, b"HEAD http://a@b/ HTTP/1.1\r\n\r\n", 400),
        (PLAIN, b"HEAD http://a/ HTTP/1.1\r\nbad line\r\n\r\n", 400),
        (PLAIN, b"HEAD http://a/ HTTP/1.1\nHost: a\r\n\r\n", 400),
        (PLAIN, b"HEAD http://a/ HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (PLAIN, b"HEAD ftp://a/ HTTP/1.1\r\n\r\n", 501),
        (PLAIN, b"HEAD http://a/ HTTP/2.0\r\n\r\n", 505),
        (PLAIN, b"HEAD http://a/ HTTP/1.1\r\nX: " + b"y" * 70000 + b"\r\n\r\n", 431),
        (PLAIN + "rules: [{otherwise: reject}]", b"HEAD http://a/ HTTP/1.1\r\n\r\n", 403),
        (PLAIN, NOBODY + b"\r\n", 502),
    ],
)
async def test_its_own_answer_to_head_has_no_content(
    road: RunRoad, config: str, request_: bytes, status: int
) -> None:
    nobody = str(clients.closed_port()).encode()
    async with road(config) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request_.replace(b"{nobody}", nobody))
        head = await link[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert await link[0].read() == b""
        await clients.left(link)


async def test_a_stranger_may_send_a_smaller_head_than_who_has_logged_in(road: RunRoad) -> None:
    big = b"Cookie: " + b"c" * 20000 + b"\r\n"
    login = b"Proxy-Authorization: Basic YW5uOnNlc2FtZQ==\r\n"
    async with serving(Origin([OK, OK])) as target, road(GUARDED) as run:
        ask = b"GET http://%b/ HTTP/1.1\r\n%b%b\r\n"
        stranger = await clients.linked(run.place("in"))
        stranger[1].write(ask % (str(target).encode(), b"", big))
        assert (await response(stranger))[0] == 431
        await clients.left(stranger)
        known = await clients.linked(run.place("in"))
        for fields in (b"", big):
            known[1].write(ask % (str(target).encode(), login, fields))
            assert (await response(known))[0] == 200
        await clients.left(known)


async def test_a_bad_answer_to_head_is_told_without_content(road: RunRoad) -> None:
    async with serving(Origin([b"nonsense\r\n\r\n"], close=True)) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(b"HEAD http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
        assert (await link[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
        assert await link[0].read() == b""
        await clients.left(link)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"",
    ],
)
async def test_bad_answers_are_told(road: RunRoad, answer: bytes) -> None:
    async with serving(Origin([answer], close=True)) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
        assert (await response(link))[0] == 502
        await clients.left(link)


async def test_a_broken_request_body_ends_it(road: RunRoad) -> None:
    async with serving(Origin([OK], body=100)) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(
            b"POST http://%b/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            % str(target).encode()
        )
        assert (await response(link))[0] == 400
        await clients.left(link)


async def test_an_early_answer_is_passed_on(road: RunRoad) -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    async with serving(Origin([answer], close=True)) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(
            b"POST http://%b/ HTTP/1.1\r\nContent-Length: 10000000\r\n\r\nsome"
            % str(target).encode()
        )
        assert (await response(link))[::2] == (413, b"no")
        await clients.left(link)


async def test_forwards_through_a_proxy(road: RunRoad) -> None:
    async with serving(Origin([OK, OK])) as target, road(PLAIN) as far:
        ways = f"outbounds: {{a: {{type: http, server: '{far.place('in')}'}}}}\n"
        async with road(PLAIN + ways + "rules: [{otherwise: a}]") as run:
            link = await clients.linked(run.place("in"))
            for _ in range(2):
                link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
                assert (await response(link))[0] == 200
            await clients.left(link)
            await run.settled(2)
        await far.settled(1)


async def test_trailers_named_by_connection_stay_here(road: RunRoad) -> None:
    chunks = b"1\r\na\r\n0\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\nX-Sum: 1\r\n\r\n"
    fields = b"Transfer-Encoding: chunked\r\nConnection: X-Hop\r\n\r\n"
    origin = Origin([b"HTTP/1.1 200 OK\r\n" + fields + chunks], body=len(chunks))
    async with serving(origin) as target, road(PLAIN) as run:
        link = await clients.linked(run.place("in"))
        passed = b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
        origin.body = len(passed)
        link[1].write(b"POST http://%b/ HTTP/1.1\r\n" % str(target).encode() + fields + chunks)
        await link[0].readuntil(b"\r\n\r\n")
        assert await link[0].readexactly(len(passed)) == passed
        await clients.left(link)
    assert origin.seen[0].endswith(b"\r\n\r\n" + passed)


async def test_kept_connections_give_their_places_to_flows(road: RunRoad) -> None:
    origins = [Origin([OK, OK]) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        targets = [await stack.enter_async_context(serving(origin)) for origin in origins]
        run = await stack.enter_async_context(road(PLAIN + "limits: {flows: 2}"))
        link = await clients.linked(run.place("in"))
        for target in [*targets, targets[2], targets[0]]:
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(target).encode())
            assert (await response(link))[0] == 200
            assert run.app.ledger.room.kept <= 2
        await clients.left(link)
        await run.settled(5)
    assert [origin.connections for origin in origins] == [2, 1, 1]
    assert run.app.ledger.room.taken == run.app.ledger.room.kept == 0
