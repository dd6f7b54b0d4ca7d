"""Connections to a name server, byte by byte: what many share, what ends them, who is harmed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.dns.message import Failed
from byway.dns.pipe import MOST_ASKED, Pipe
from byway.dns.server import MOST_CONNECTIONS, Connection, Connections
from byway.dns.start import Start
from byway.dns.web import Http1, Http2, Resource
from byway.errors import PeerError
from byway.interfaces import Stream
from byway.streams.memory import MemoryStream, pair
from tests.dns.authority import Asked

pytestmark = pytest.mark.usefixtures("nowhere")

T = TypeVar("T")
BOX = Resource("dns.example", "/dns-query")
ONE = b"\xc0\0\2\1"


@asynccontextmanager
async def starting() -> AsyncIterator[Start]:
    """Owns what connections start, and ends it."""
    tasks: list[asyncio.Task[object]] = []
    async with asyncio.TaskGroup() as group:

        def start(work: Coroutine[None, None, T]) -> asyncio.Task[T | None]:
            task = group.create_task(work)
            tasks.append(task)
            return task

        try:
            yield start
        finally:
            for task in tasks:
                task.cancel()


async def heard(far: Stream) -> Asked:
    size = int.from_bytes(await far.read_exactly(2))
    return Asked(await far.read_exactly(size), "tcp")


async def say(far: Stream, wire: bytes) -> None:
    await far.write(len(wire).to_bytes(2) + wire)


class Web:
    """The server's end of HTTP/2."""

    def __init__(self, far: MemoryStream) -> None:
        self._far = far
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.asked: list[tuple[int, dict[str, str]]] = []

    async def flush(self) -> None:
        await self._far.write(self.h2.data_to_send())

    async def hear(self, count: int) -> None:
        while len(self.asked) < count:
            for event in self.h2.receive_data(await self._far.read()):
                if isinstance(event, h2.events.RequestReceived):
                    headers = {
                        (k if isinstance(k, str) else k.decode()): (
                            v if isinstance(v, str) else v.decode()
                        )
                        for k, v in event.headers
                    }
                    self.asked.append((event.stream_id, headers))
            await self.flush()

    async def answer(
        self, number: int, body: bytes, status: str = "200", kind: str = "application/dns-message"
    ) -> None:
        self.h2.send_headers(number, [(":status", status), ("content-type", kind)])
        self.h2.send_data(number, body, end_stream=True)
        await self.flush()


def wire_of(headers: dict[str, str]) -> Asked:
    text = headers[":path"].partition("dns=")[2]
    return Asked(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "https")


async def test_many_questions_on_one_pipe_whatever_the_order_of_the_answers() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        pipe = Pipe(near, start, padded=True)
        asking = [group.create_task(pipe.ask(f"n{at}.example", 4)) for at in range(3)]
        asked = [await heard(far) for _ in asking]
        assert len({one.wire[:2] for one in asked}) == 3
        assert {len(one.wire) for one in asked} == {128}
        assert pipe.room == MOST_ASKED - 3
        await say(far, b"garbage")
        for one in reversed(asked):
            await say(far, one.reply(f"192.0.2.{one.name[1]}"))
        for at, task in enumerate(asking):
            assert (await task).addresses == (b"\xc0\0\2" + bytes([at]),)
        pipe.close()


async def test_who_leaves_a_pipe_harms_no_other() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        pipe = Pipe(near, start, padded=False)
        leaving = group.create_task(pipe.ask("a.example", 4))
        staying = group.create_task(pipe.ask("b.example", 4))
        first, second = await heard(far), await heard(far)
        leaving.cancel()
        await say(far, first.reply("192.0.2.1"))
        await say(far, second.reply("192.0.2.1"))
        assert (await staying).addresses == (ONE,)
        pipe.close()


async def test_the_end_of_a_pipe_is_told_to_all_who_wait() -> None:
    near, far = pair()
    async with starting() as start:
        pipe = Pipe(near, start, padded=False)
        asking = [asyncio.ensure_future(pipe.ask("a.example", 4)) for _ in range(2)]
        await heard(far)
        await heard(far)
        far.close()
        for told in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(told, EOFError)
        assert (pipe.room, pipe.is_open) == (0, False)
        with pytest.raises(EOFError):
            await pipe.ask("b.example", 4)


async def test_a_cut_answer_over_a_stream_is_a_failure() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        pipe = Pipe(near, start, padded=False)
        asking = group.create_task(_failing(pipe))
        asked = await heard(far)
        await say(far, asked.reply(cut=True))
        assert "truncated its answer" in await asking
        pipe.close()


async def _failing(connection: Connection) -> str:
    try:
        await connection.ask("a.example", 4)
    except (PeerError, EOFError) as error:
        return str(error)
    return ""


async def test_many_questions_over_http2() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        web, link = Web(far), Http2(near, BOX, start)
        await web.flush()
        asking = [group.create_task(link.ask(f"n{at}.example", 4)) for at in range(3)]
        await web.hear(3)
        for number, headers in reversed(web.asked):
            assert headers[":authority"] == "dns.example"
            asked = wire_of(headers)
            assert asked.wire[:2] == b"\0\0"  # RFC 8484, section 4.1
            await web.answer(number, asked.reply(f"192.0.2.{asked.name[1]}"))
        for at, task in enumerate(asking):
            assert (await task).addresses == (b"\xc0\0\2" + bytes([at]),)
        assert link.room > 0
        link.close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "told"),
    [
        ("404", "application/dns-message", b"", "HTTP status 404"),
        ("200", "text/html", b"<html>", "not a DNS message"),
        ("200", "application/dns-message", b"\0" * 16384, "does not answer the query"),
        ("200", "application/dns-message", b"", "does not answer the query"),
    ],
)
async def test_pages_that_are_no_answers(status: str, kind: str, body: bytes, told: str) -> None:
    near, far = pair(capacity=1 << 20)
    async with starting() as start, asyncio.TaskGroup() as group:
        web, link = Web(far), Http2(near, BOX, start)
        await web.flush()
        asking = group.create_task(_failing(link))
        await web.hear(1)
        await web.answer(web.asked[0][0], body, status, kind)
        assert told in await asking
        assert link.is_open
        link.close()


async def test_a_server_that_goes_away_answers_what_it_has() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        web, link = Web(far), Http2(near, BOX, start)
        await web.flush()
        asking = group.create_task(link.ask("a.example", 4))
        await web.hear(1)
        number, headers = web.asked[0]
        web.h2.send_headers(
            number, [(":status", "200"), ("content-type", "application/dns-message")]
        )
        web.h2.send_data(number, wire_of(headers).reply("192.0.2.1"), end_stream=True)
        web.h2.close_connection()
        await web.flush()
        assert (await asking).addresses == (ONE,)
        assert not link.is_open
        assert link.room == 0


async def test_a_stream_taken_back_is_asked_again_elsewhere() -> None:
    near, far = pair()
    async with starting() as start, asyncio.TaskGroup() as group:
        web, link = Web(far), Http2(near, BOX, start)
        await web.flush()
        asking = group.create_task(_failing(link))
        await web.hear(1)
        web.h2.reset_stream(web.asked[0][0])
        await web.flush()
        assert "reset the stream" in await asking
        link.close()


async def test_http1_is_kept_as_the_server_says() -> None:
    near, far = pair()
    async with starting(), asyncio.TaskGroup() as group:
        link = Http1(near, BOX)
        for last in (False, True):
            asking = group.create_task(link.ask("a.example", 4))
            head = await far.read_until(b"\r\n\r\n", 4096)
            assert link.room == 0
            path = head.split(b" ")[1].decode()
            body = wire_of({":path": path}).reply("192.0.2.1")
            far.write_nowait(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message; charset=x\r\n"
                + (b"Connection: close\r\n" if last else b"")
                + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            )
            assert (await asking).addresses == (ONE,)
            assert link.is_open is not last


kinds = st.sampled_from(["pipe", "http1", "http2"])


@settings(max_examples=60)
@given(kinds, st.binary(max_size=300), st.booleans())
def test_any_bytes_of_a_server_end_in_the_known_errors(kind: str, data: bytes, good: bool) -> None:
    async def play() -> None:
        near, far = pair(capacity=1 << 20)
        async with starting() as start:
            link: Connection
            if kind == "pipe":
                link = Pipe(near, start, padded=False)
            elif kind == "http1":
                link = Http1(near, BOX)
            else:
                link = Http2(near, BOX, start)
            if kind == "http2" and good:
                web = Web(far)
                far.write_nowait(web.h2.data_to_send())
            elif kind == "http1" and good:
                far.write_nowait(b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n")
            far.write_nowait(data)
            far.end_nowait()
            with pytest.raises((PeerError, EOFError, OSError)):
                async with asyncio.timeout(60):
                    await link.ask("a.example", 4)
            link.close()

    asyncio.run(play())


class Slots:
    """A connection that answers when it is let."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.is_open = True
        self.let = asyncio.Event()
        self.most = 0
        self._now = 0
        self.dies = False

    async def ask(self, name: str, family: int) -> object:
        self._now += 1
        self.room -= 1
        self.most = max(self.most, self._now)
        try:
            await self.let.wait()
            if self.dies:
                self.is_open = False
                raise EOFError("the connection ended")
            return name
        finally:
            self._now -= 1
            self.room += 1

    def close(self) -> None:
        self.is_open = False
        self.let.set()


async def test_connections_are_few_and_full_before_another_is_opened() -> None:
    made: list[Slots] = []

    async def connect() -> Connection:
        made.append(Slots(2))
        return made[-1]  # type: ignore[return-value]

    pool = Connections(connect)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(pool.ask(f"n{at}", 4)) for at in range(20)]
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(made) == MOST_CONNECTIONS == pool.count
        assert not any(task.done() for task in asking)
        for one in made:
            one.let.set()
    assert [await task for task in asking] == [f"n{at}" for at in range(20)]  # type: ignore[comparison-overlap]
    assert all(one.most == 2 for one in made)


async def test_what_a_kept_connection_fails_at_is_asked_on_a_new_one() -> None:
    made: list[Slots] = []

    async def connect() -> Connection:
        made.append(Slots(9))
        made[-1].let.set()
        return made[-1]  # type: ignore[return-value]

    pool = Connections(connect)
    await pool.ask("a", 4)
    made[0].dies = True
    assert await pool.ask("b", 4) == "b"  # type: ignore[comparison-overlap]
    assert len(made) == 2
    made[1].dies = True

    async def broken() -> Connection:
        raise ConnectionRefusedError("nobody is there")

    pool = Connections(broken)
    with pytest.raises(ConnectionRefusedError):
        await pool.ask("c", 4)
    assert isinstance(Failed("x"), PeerError)
