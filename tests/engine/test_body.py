"""HTTP bodies moved in Rust between streams that live on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from byway.engine import Body, Engine, EngineStream, Meter
from byway.errors import EngineError, PeerError


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(2)
    yield engine
    await engine.close()


class TestBody:
    async def move(self, engine: Engine, sent: bytes, body: Body) -> tuple[int, bytes, bytes]:
        """What the move returned, what came out, and what stayed behind it in the source."""
        writer, source = engine.pair()
        sink, reader = engine.pair()
        await writer.write(sent)
        await writer.end()
        count = await engine.send_body(source, sink, body)
        await sink.end()
        return count, await rest(reader), await rest(source)

    async def test_a_length(self, engine: Engine) -> None:
        assert await self.move(engine, b"12345GET", Body(length=5)) == (5, b"12345", b"GET")
        assert await self.move(engine, b"GET", Body(length=0)) == (0, b"", b"GET")

    async def test_until_the_end(self, engine: Engine) -> None:
        assert await self.move(engine, b"12345", Body()) == (5, b"12345", b"")

    async def test_chunks_are_framed_anew(self, engine: Engine) -> None:
        sent = b"5;x=y\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET"
        out = b"5\r\nhello\r\na\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
        assert await self.move(engine, sent, Body(chunked=True)) == (15, out, b"GET")
        plain = await self.move(engine, sent, Body(chunked=True, dechunk=True))
        assert plain == (15, b"hello0123456789", b"GET")

    async def test_trailers_of_this_hop_and_credentials_stay_here(self, engine: Engine) -> None:
        sent = (
            b"0\r\nX-Sum: 1\r\nProxy-Authorization: Basic x\r\nCOOKIE: a\r\nte: x\r\n"
            b"Transfer-Encoding: gzip\r\nContent-Length: 9\r\nX-Mine: 1\r\nX-Last: 2\r\n\r\n"
        )
        out = b"0\r\nX-Sum: 1\r\nX-Last: 2\r\n\r\n"
        body = Body(chunked=True, without=(b"x-mine",))
        assert await self.move(engine, sent, body) == (0, out, b"")

    @pytest.mark.parametrize(
        "sent",
        [
            b"x\r\n",
            b"-1\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"1;" + b"x" * 5000 + b"\r\na\r\n0\r\n\r\n",
        ],
    )
    async def test_bad_chunks_are_the_peers_fault(self, engine: Engine, sent: bytes) -> None:
        with pytest.raises((PeerError, EOFError)):
            await self.move(engine, sent, Body(chunked=True))

    async def test_a_short_body_is_not_taken_for_a_whole_one(self, engine: Engine) -> None:
        with pytest.raises(EOFError):
            await self.move(engine, b"123", Body(length=5))
        with pytest.raises(EOFError):
            await self.move(engine, b"5\r\nhel", Body(chunked=True))

    async def test_a_large_body_waits_for_a_slow_sink(self, engine: Engine) -> None:
        writer, source = engine.pair()
        sink, reader = engine.pair()
        data = os.urandom(8_000_000)
        moving = asyncio.gather(
            writer.write(data), engine.send_body(source, sink, Body(length=len(data)))
        )
        assert await reader.read_exactly(len(data)) == data
        assert (await moving)[1] == len(data)

    async def test_a_stalled_body_times_out(self, engine: Engine) -> None:
        writer, source = engine.pair()
        sink, _reader = engine.pair()
        await writer.write(b"12")
        with pytest.raises(TimeoutError):
            await engine.send_body(source, sink, Body(length=5), idle=0.1)

    async def test_what_has_moved_can_be_read_while_it_moves(self, engine: Engine) -> None:
        writer, source = engine.pair()
        sink, reader = engine.pair()
        meter = Meter()
        await writer.write(b"12")
        moving = asyncio.ensure_future(engine.send_body(source, sink, Body(length=5), meter=meter))
        assert await reader.read_exactly(2) == b"12"
        while meter.count < 2:
            await asyncio.sleep(0)
        await writer.write(b"345")
        assert await moving == meter.count == 5

    async def test_bodies_cross_between_the_same_streams(self, engine: Engine) -> None:
        client, near = engine.pair()
        far, server = engine.pair()
        up, down = os.urandom(3_000_000), os.urandom(3_000_000)
        moving = asyncio.gather(
            client.write(up),
            server.write(down),
            engine.send_body(near, far, Body(length=len(up))),
            engine.send_body(far, near, Body(length=len(down))),
        )
        got = await asyncio.gather(server.read_exactly(len(up)), client.read_exactly(len(down)))
        assert list(got) == [up, down]
        await moving

    async def test_the_sink_can_be_read_meanwhile(self, engine: Engine) -> None:
        writer, source = engine.pair()
        sink, reader = engine.pair()
        moving = asyncio.ensure_future(engine.send_body(source, sink, Body(length=5)))
        await reader.write(b"early answer")
        assert await sink.read() == b"early answer"
        await writer.write(b"12345")
        assert await moving == 5

    async def test_closing_the_source_ends_it(self, engine: Engine) -> None:
        _writer, source = engine.pair()
        sink, _reader = engine.pair()
        moving = asyncio.ensure_future(engine.send_body(source, sink, Body(length=5)))
        await asyncio.sleep(0)
        source.close()
        with pytest.raises(EngineError):
            await moving
        assert engine.stats()["waiting"] == 0

    async def test_closing_the_sink_ends_it(self, engine: Engine) -> None:
        _writer, source = engine.pair()
        sink, _reader = engine.pair()
        moving = asyncio.ensure_future(engine.send_body(source, sink, Body(length=5)))
        await asyncio.sleep(0)
        sink.close()
        with pytest.raises(EngineError):
            await moving
        assert engine.stats()["waiting"] == 0

    async def test_a_body_after_another_takes_its_place(self, engine: Engine) -> None:
        writer, source = engine.pair()
        sink, reader = engine.pair()
        for _ in range(3):
            await writer.write(b"hello")
            assert await engine.send_body(source, sink, Body(length=5)) == 5
            assert await reader.read_exactly(5) == b"hello"
        assert engine.stats()["waiting"] == 0

    async def test_a_cancel_ends_it(self, engine: Engine) -> None:
        _writer, source = engine.pair()
        sink, _reader = engine.pair()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await engine.send_body(source, sink, Body(length=5))
        assert engine.stats()["waiting"] == 0


async def rest(stream: EngineStream) -> bytes:
    """All until the end."""
    parts = []
    try:
        while True:
            parts.append(await stream.read())
    except EOFError:
        return b"".join(parts)
