"""The engine as a value: dialling, listening, relaying, and what a cancel leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byway.engine import DialOptions, Engine, EngineStream, ListenOptions
from byway.errors import EngineError
from byway.flow import Target
from tests.machine import LOOPBACKS


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(2)
    yield engine
    await engine.close()


async def connected(engine: Engine, host: str = "127.0.0.1") -> tuple[EngineStream, EngineStream]:
    """A TCP connection: the dialled end and the accepted one."""
    listener = engine.listen(Target.of(host, 0), ListenOptions(first=0))
    assert listener.address is not None
    near = await engine.connect([listener.address])
    (far,) = await listener.accept()
    listener.close()
    return near, far


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_addresses_are_seen_from_both_ends(engine: Engine, host: str) -> None:
    near, far = await connected(engine, host)
    assert near.info.local == far.info.remote
    assert near.info.remote == far.info.local
    assert near.info.remote is not None
    assert near.info.remote.host == host


async def test_a_refused_dial_is_a_refused_connection(engine: Engine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await engine.connect([Target.of("127.0.0.1", unused.getsockname()[1])])


async def test_dialling_goes_on_to_the_next_address_at_once(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert listener.address is not None
    with socket.socket() as unused:
        unused.bind(("127.0.0.2", 0))
        dead = Target.of("127.0.0.2", unused.getsockname()[1])
        stream = await engine.connect([dead, dead, listener.address], DialOptions(stagger=3600))
    assert stream.info.remote == listener.address


async def test_a_full_backlog_times_out(engine: Engine) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        target = Target.of("127.0.0.1", full.getsockname()[1])
        filling = [await engine.connect([target])]
        with pytest.raises(TimeoutError):  # noqa: PT012
            while len(filling) < 9:
                filling += [await engine.connect([target], DialOptions(timeout=0.2))]


async def test_silent_addresses_take_few_sockets(engine: Engine) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        target = Target.of("127.0.0.1", port)
        filling = [await engine.connect([target])]
        with contextlib.suppress(TimeoutError):
            while len(filling) < 9:
                filling += [await engine.connect([target], DialOptions(timeout=0.2))]
        most = 0
        many = asyncio.ensure_future(
            engine.connect([target] * 16, DialOptions(timeout=2, stagger=0.02))
        )
        while not many.done():
            most = max(most, _dialling(port))
            await asyncio.sleep(0.005)
        with pytest.raises(TimeoutError):
            await many
        assert 0 < most <= 3
        listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
        assert listener.address is not None
        stream = await engine.connect(
            [target] * 15 + [listener.address], DialOptions(stagger=0.001)
        )
        assert stream.info.remote == listener.address


def _dialling(port: int) -> int:
    """How many sockets of this host wait for an answer of a loopback port."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    remote, syn_sent = f"0100007F:{port:04X}", "02"
    return sum(line.split()[2:4] == [remote, syn_sent] for line in lines)


async def test_dialling_from_a_chosen_address(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert listener.address is not None
    stream = await engine.connect([listener.address], DialOptions(bind="127.0.0.9"))
    assert stream.info.local is not None
    assert stream.info.local.host == "127.0.0.9"


async def test_dialling_by_a_device_that_is_not_there(engine: Engine) -> None:
    target = Target.of("127.0.0.1", 9)
    with pytest.raises(OSError, match=r".+"):
        await engine.connect([target], DialOptions(interface="no-such-dev"))


async def test_an_address_in_use_is_said_so(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0))
    assert listener.address is not None
    with pytest.raises(OSError, match="in use"):
        engine.listen(listener.address)


async def test_a_silent_connection_is_dropped_unseen(engine: Engine) -> None:
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0.05))
    assert listener.address is not None
    silent = await engine.connect([listener.address])
    with pytest.raises(EOFError):
        await silent.read()
    speaking = await engine.connect([listener.address])
    await speaking.write(b"x")
    (arrived,) = await listener.accept()
    assert await arrived.read() == b"x"


async def test_limits_turn_callers_away(engine: Engine) -> None:
    options = ListenOptions(first=0, per_source=1, total=2)
    listener = engine.listen(Target.of("127.0.0.1", 0), options)
    assert listener.address is not None
    first = await engine.connect([listener.address])
    (accepted,) = await listener.accept()
    second = await engine.connect([listener.address])
    with pytest.raises((EOFError, ConnectionResetError)):
        await second.read()
    assert listener.counts == (1, 1)
    accepted.close()
    third = await engine.connect([listener.address])
    (again,) = await listener.accept()
    await again.write(b"in")
    assert await third.read() == b"in"
    first.close()


async def test_a_unix_socket_file_comes_and_goes(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "door"
    listener = engine.listen_unix(str(path), ListenOptions(first=0))
    assert path.stat().st_mode & 0o777 == 0o600
    stream = await engine.connect_unix(str(path))
    (far,) = await listener.accept()
    await stream.write(b"hello")
    assert await far.read() == b"hello"
    assert far.info.remote is None
    with pytest.raises(OSError, match="in use"):
        engine.listen_unix(str(path))
    listener.close()
    assert not path.exists()


async def test_a_dead_socket_file_is_replaced_and_another_file_is_not(
    engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    engine.listen_unix(str(path)).close()
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        engine.listen_unix(str(path))
    assert path.read_text() == "precious"


async def test_cancelling_a_dial_closes_it(engine: Engine) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        target = Target.of("127.0.0.1", full.getsockname()[1])
        filling = [await engine.connect([target], DialOptions(timeout=1))]
        try:
            async with asyncio.timeout(0.3):
                while True:
                    filling.append(await engine.connect([target]))
        except TimeoutError:
            pass
    assert engine.stats()["waiting"] == 0


async def test_a_wait_given_up_leaves_nothing_behind(engine: Engine) -> None:
    near, far = await connected(engine)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await near.read()
    await far.write(b"kept")
    assert await near.read() == b"kept"
    near.close()
    far.close()
    assert engine.stats()["waiting"] == 0


async def test_a_closed_stream_refuses_work(engine: Engine) -> None:
    near, _far = await connected(engine)
    near.close()
    near.close()
    with pytest.raises(EngineError):
        await near.read()
    with pytest.raises(EngineError):
        await near.write(b"x")


async def test_a_panic_ends_its_own_flow_alone(
    engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EngineError, match="rehearsed"):
        await engine.rehearse_panic()
    near, far = await connected(engine)
    await near.write(b"alive")
    assert await far.read() == b"alive"
    assert "rehearsed" in capfd.readouterr().err


async def test_a_fork_cannot_use_the_engine(engine: Engine) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            engine.pair()
            verdict = b"worked"
        except EngineError:
            verdict = b"refused"
        os.write(writer, verdict)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) == b"refused"
    os.close(reader)
    os.close(writer)


async def test_engine_threads_take_no_signals(engine: Engine) -> None:
    mine = threading.get_native_id()
    blocked = {}
    for thread in os.listdir("/proc/self/task"):
        status = Path(f"/proc/self/task/{thread}/status").read_text()
        name = status.split("\n", 1)[0].split()[1]
        mask = int(status.split("SigBlk:")[1].split()[0], 16)
        blocked[name] = mask
        assert int(thread) != mine or not mask >> (signal.SIGINT - 1) & 1
    for name in ("byway-0", "byway-1"):
        assert blocked[name] >> (signal.SIGINT - 1) & 1
        assert blocked[name] >> (signal.SIGTERM - 1) & 1


async def test_closing_the_engine_gives_up_the_pipes_of_first_steps() -> None:
    engine = Engine(1)
    (client, near), (far, server) = engine.pair(), engine.pair()
    text = bytes(190_000)  # more than two reads, so that the relay's first step comes to splicing
    await client.write(text)
    assert await near.read(1) == b"\0"  # by now it is known to be readable
    relay = engine.relay(near, far)
    assert len(await server.read_exactly(len(text) - 1)) == len(text) - 1
    assert engine.held()["pipes"] > 0
    relay.cut("enough")
    await relay.wait()
    await engine.close()
    assert engine.held()["pipes"] == 0


async def test_closing_the_engine_fails_what_waits() -> None:
    engine = Engine(1)
    near, far = await connected(engine)
    relay = engine.relay(*engine.pair())
    reading = asyncio.ensure_future(near.read())
    waiting = asyncio.ensure_future(relay.wait())
    await asyncio.sleep(0)
    await engine.close()
    await engine.close()
    with pytest.raises(EngineError):
        await reading
    with pytest.raises(EngineError):
        await waiting
    with pytest.raises(EngineError):
        engine.pair()
    far.close()


async def test_a_closed_engine_holds_no_descriptors() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    engine = Engine(2)
    near, far = await connected(engine)
    await near.write(b"x")
    assert await far.read() == b"x"
    near.close()
    far.close()
    await engine.close()
    while opened() > before:  # what the last drain handed out still names a loop
        await asyncio.sleep(0.001)
    with pytest.raises(EngineError):
        engine.listen(Target.of("127.0.0.1", 0))
    await engine.close()


async def test_several_engines_live_in_one_process(engine: Engine) -> None:
    other = Engine(1)
    near, far = await connected(other)
    await near.write(b"x")
    assert await far.read() == b"x"
    await other.close()
    near, far = await connected(engine)
    await near.write(b"y")
    assert await far.read() == b"y"


async def test_a_flow_crosses_at_most_a_few_times(engine: Engine) -> None:
    """The budget: the arrival, one wait for the request, the dial, the end of the relay."""
    server = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    listener = engine.listen(Target.of("127.0.0.1", 0))
    assert server.address is not None
    assert listener.address is not None
    client = await engine.connect([listener.address])
    before = engine.stats()["crossings"]
    await client.write(b"hello")
    (near,) = await listener.accept()
    assert await near.read() == b"hello"
    await client.write(b"request")
    assert await near.read() == b"request"
    far = await engine.connect([server.address])
    relay = engine.relay(near, far)
    started = engine.stats()["crossings"]
    assert started - before <= 4  # arrival here, accept at the server, request, dial
    (served,) = await server.accept()
    moved = 4 << 20
    quiet = engine.stats()["crossings"]
    with_client = asyncio.create_task(client.write(bytes(moved)))
    await served.read_exactly(moved)
    await with_client
    await client.end()
    with pytest.raises(EOFError):
        await served.read()
    await served.end()
    assert await relay.wait() == "closed"
    assert (relay.up, relay.down) == (moved, 0)
    assert quiet >= started


async def test_moving_bytes_crosses_not_once() -> None:
    engine, outside = Engine(1), Engine(1)
    try:
        near, client = await connected(outside)
        listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
        assert listener.address is not None
        one = await outside.connect([listener.address])
        other = await outside.connect([listener.address])
        accepted = list(await listener.accept())
        while len(accepted) < 2:
            accepted += await listener.accept()
        relay = engine.relay(accepted[0], accepted[1])
        before = engine.stats()["crossings"]
        for _ in range(64):
            await one.write(bytes(65536))
            await other.read_exactly(65536)
        assert engine.stats()["crossings"] == before
        await asyncio.gather(one.end(), other.end())
        await relay.wait()
        assert relay.up + relay.down == 64 * 65536
        near.close()
        client.close()
    finally:
        await outside.close()
        await engine.close()


class TestRelay:
    async def pairs(self, engine: Engine) -> tuple[EngineStream, ...]:
        near, inner_near = await connected(engine)
        inner_far, far = await connected(engine)
        return near, inner_near, inner_far, far

    async def test_what_was_unread_and_held_goes_first(self, engine: Engine) -> None:
        near, a, b, far = await self.pairs(engine)
        await near.write(b"after")
        await a.peek(5, 1)
        a.unread(b"before ")
        b.hold(b"head:")
        relay = engine.relay(a, b)
        assert await far.read_exactly(17) == b"head:before after"
        await far.write(b"answer")
        assert await near.read() == b"answer"
        await near.end()
        await far.end()
        await relay.wait()
        assert (relay.up, relay.down) == (12, 6)

    async def test_held_bytes_go_alone_after_a_while(self, engine: Engine) -> None:
        _near, a, b, far = await self.pairs(engine)
        b.hold(b"alone")
        relay = engine.relay(a, b)
        assert await far.read() == b"alone"
        relay.cut("enough")
        assert await relay.wait() == "enough"

    async def test_half_close_passes_through(self, engine: Engine) -> None:
        near, a, b, far = await self.pairs(engine)
        relay = engine.relay(a, b)
        await near.end()
        with pytest.raises(EOFError):
            await far.read()
        await far.write(b"still here")
        await far.end()
        assert await near.read() == b"still here"
        assert await relay.wait() == "closed"

    async def test_a_reset_is_passed_on(self, engine: Engine) -> None:
        near, a, b, far = await self.pairs(engine)
        relay = engine.relay(a, b)
        await near.write(b"x")
        await far.read()
        near.abort()
        with pytest.raises(ConnectionResetError):
            await far.read()
        assert await relay.wait() == "near side: connection reset"

    @pytest.mark.parametrize("side", ["near side", "far side"])
    async def test_a_reset_of_a_side_that_had_ended_is_noticed(
        self, engine: Engine, side: str
    ) -> None:
        near, a, b, far = await self.pairs(engine)
        relay = engine.relay(a, b)
        silent, other = (near, far) if side == "near side" else (far, near)
        await silent.end()
        with pytest.raises(EOFError):
            await other.read()
        silent.abort()  # and the other side says nothing
        assert await relay.wait() == f"{side}: connection reset"
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012  (told, not left waiting)
            while True:  # a busy kernel may take its time to say so
                await other.write(b"x")
                await asyncio.sleep(0)

    async def test_the_last_words_of_one_who_takes_no_more_are_heard(self, engine: Engine) -> None:
        near, a, b, far = await self.pairs(engine)
        relay = engine.relay(a, b)
        await near.write(bytes(1 << 20))
        await far.read(1)
        await far.write(b"too large")
        far.close()  # with bytes unread: a reset follows the words
        sending = asyncio.ensure_future(near.write(bytes(64 << 20)))
        assert await near.read_exactly(9) == b"too large"
        near.close()
        await asyncio.gather(sending, return_exceptions=True)
        assert (await relay.wait()).startswith("far side: ")

    async def test_idle(self, engine: Engine) -> None:
        near, a, b, _far = await self.pairs(engine)
        relay = engine.relay(a, b, idle=0.05)
        assert await relay.wait() == "idle for too long"
        with pytest.raises((EOFError, ConnectionResetError)):
            await near.read()

    async def test_a_cancelled_wait_closes_both_sides(self, engine: Engine) -> None:
        near, a, b, far = await self.pairs(engine)
        waiting = asyncio.ensure_future(engine.relay(a, b).wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for end in (near, far):
            with pytest.raises((EOFError, ConnectionResetError)):
                await end.read()
        assert engine.stats()["waiting"] == 0

    async def test_consumed_streams_refuse_work(self, engine: Engine) -> None:
        _near, a, b, _far = await self.pairs(engine)
        engine.relay(a, b)
        with pytest.raises(EngineError):
            await a.read()
        with pytest.raises(EngineError):
            engine.relay(a, b)

    @pytest.mark.parametrize("size", [1, 65535, 65536, 65537, 20_000_000])
    async def test_every_byte_arrives_in_order(self, engine: Engine, size: int) -> None:
        near, a, b, far = await self.pairs(engine)
        relay = engine.relay(a, b)
        data = os.urandom(size)
        sent = asyncio.gather(near.write(data), far.write(data[::-1]))
        assert await far.read_exactly(size) == data
        assert await near.read_exactly(size) == data[::-1]
        await sent
        await asyncio.gather(near.end(), far.end())
        await relay.wait()
        assert (relay.up, relay.down) == (size, size)
