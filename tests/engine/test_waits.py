"""Waits that meet each other, a cancel, a close or a fork: none hangs, none loses a byte."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from byway.engine import Engine, EngineStream, ListenOptions
from byway.errors import EngineError
from byway.flow import Target

LARGE = b"x" * (16 << 20)  # more than two sockets ever buffer


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(1)
    yield engine
    await engine.close()


async def swallow(stream: EngineStream, size: int) -> bytes:
    """The first `size` bytes of a stream."""
    got = bytearray()
    while len(got) < size:
        got += await stream.read()
    return bytes(got)


async def test_held_bytes_do_not_displace_the_write_that_carries_them(engine: Engine) -> None:
    near, far = engine.pair()
    near.hold(b"held")
    async with asyncio.timeout(60):
        writing = asyncio.create_task(near.write(LARGE))
        await asyncio.wait([writing], timeout=0.05)  # the time to send held bytes alone passes
        assert await swallow(far, 4 + len(LARGE)) == b"held" + LARGE
        await writing
    assert engine.stats()["waiting"] == 0


async def test_bytes_held_while_a_write_waits_go_out_with_it(engine: Engine) -> None:
    near, far = engine.pair()
    async with asyncio.timeout(60):
        writing = asyncio.create_task(near.write(LARGE))
        await asyncio.sleep(0)
        near.hold(b"held")
        await asyncio.wait([writing], timeout=0.05)
        assert await swallow(far, len(LARGE) + 4) == LARGE + b"held"
        await writing


async def test_a_second_reader_ends_the_first_with_an_error(engine: Engine) -> None:
    near, far = engine.pair()
    first = asyncio.create_task(near.read())
    await asyncio.sleep(0)
    second = asyncio.create_task(near.read())
    async with asyncio.timeout(60):
        with pytest.raises(EngineError, match="place"):
            await first
        await far.write(b"for the second")
        assert await second == b"for the second"


async def test_a_cancel_that_meets_the_bytes_loses_none(engine: Engine) -> None:
    one, other_one = engine.pair()
    two, other_two = engine.pair()
    for round_ in range(100):
        reading = asyncio.create_task(two.read_exactly(3))

        async def first(task: asyncio.Task[bytes] = reading) -> None:
            await one.read()
            task.cancel()

        cancelling = asyncio.create_task(first())
        await asyncio.sleep(0)
        await other_one.write(b"go")
        await other_two.write(b"%03d" % round_)
        async with asyncio.timeout(60):
            await cancelling
            try:
                got = await reading
            except asyncio.CancelledError:
                got = await two.read_exactly(3)
        assert got == b"%03d" % round_


async def test_a_mark_is_sought_from_the_start_after_a_cancel(engine: Engine) -> None:
    near, far = engine.pair()
    await far.write(b"a line\nand half a head")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await near.read_until(b"\r\n\r\n", 1000)
    async with asyncio.timeout(60):
        await far.write(b"\n")
        assert await near.read_until(b"\n", 1000) == b"a line\n"


async def test_marks_across_the_borders_of_what_arrives(engine: Engine) -> None:
    near, far = engine.pair()
    async with asyncio.timeout(60):
        for text in (b"ab\r\n\r\n", b"\r\r\n\r\r\n\r\n", b"\r\n\r\r\n\r\n"):
            reading = asyncio.create_task(near.read_until(b"\r\n\r\n", 100))
            for byte in text:
                await far.write(bytes([byte]))
                await asyncio.wait([reading], timeout=0.001)
            assert await reading == text


async def test_who_speaks_after_the_listener_closed_is_closed(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0))
    assert listener.address is not None
    speaking = await engine.connect([listener.address])
    other = await engine.connect([listener.address])
    await other.write(b"accepted, so the one before it was too")
    (accepted,) = await listener.accept()
    listener.close()
    await speaking.write(b"late")
    with suppress(ConnectionError):
        async with asyncio.timeout(60):
            with pytest.raises(EOFError):
                await speaking.read()
    accepted.close()


async def test_a_listener_dropped_unclosed_leaves_no_place_taken(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0))
    del listener
    assert engine.stats()["waiting"] == 0


async def test_a_busy_unix_socket_is_live(engine: Engine, tmp_path: Path) -> None:
    path = str(tmp_path / "busy")
    callers: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        with suppress(BlockingIOError):
            while len(callers) < 16:
                callers.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                callers[-1].setblocking(False)
                callers[-1].connect(path)
        with pytest.raises(OSError, match="in use"):
            engine.listen_unix(path, ListenOptions(first=0))
    for caller in callers:
        caller.close()


async def test_a_fork_that_drops_a_stream_does_not_deafen_its_owner(engine: Engine) -> None:
    near, far = engine.pair()
    reading = asyncio.create_task(near.read())
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        near.close()
        os._exit(0)
    os.waitpid(child, 0)
    await far.write(b"still heard")
    async with asyncio.timeout(60):
        assert await reading == b"still heard"


async def test_a_fork_cannot_read_its_owners_bytes(engine: Engine) -> None:
    near, far = engine.pair()
    await far.write(b"mine")
    child = os.fork()
    if child == 0:
        try:
            near.raw.read(10)
        except EngineError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert await near.read() == b"mine"


async def test_closing_the_engine_closes_relays_that_had_no_time_to_start() -> None:
    engine = Engine(1)
    before = len(os.listdir("/proc/self/fd"))
    relays = [engine.relay(*engine.pair()) for _ in range(50)]
    await engine.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(relays) == 50
