"""Limits of the engine: bytes are counted, waits are counted, no test reads a clock."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from byway.engine import Body, Bucket, Engine, EngineStream, ListenOptions, Meter, PacketOptions
from byway.errors import Refused
from byway.flow import Target


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(2)
    yield engine
    await engine.close()


async def connected(engine: Engine) -> tuple[EngineStream, EngineStream]:
    """A TCP connection: the dialled end and the accepted one."""
    listener = engine.listen(Target.of("127.0.0.1", 0), ListenOptions(first=0))
    assert listener.address is not None
    near = await engine.connect([listener.address])
    (far,) = await listener.accept()
    listener.close()
    return near, far


async def drained(stream: EngineStream) -> int:
    """How many bytes came, until the end or a break."""
    count = 0
    with contextlib.suppress(EOFError, OSError):
        while True:
            count += len(await stream.read(1 << 20))
    return count


async def pour(stream: EngineStream, size: int) -> None:
    """Write so much, or until the other side has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(size >> 16):
            await stream.write(bytes(1 << 16))
        await stream.write(bytes(size & 0xFFFF))
        await stream.end()


@pytest.mark.parametrize("quota", [1, 65_536, 3_000_001])
async def test_a_quota_cuts_at_its_last_byte(engine: Engine, quota: int) -> None:
    """Long enough that the relay takes to splicing."""
    bucket = Bucket(0, 0, quota, 0)
    client, near = await connected(engine)
    far, server = await connected(engine)
    relay = engine.relay(near, far, buckets=[bucket])
    pouring = asyncio.create_task(pour(client, 4_000_000))
    draining = asyncio.create_task(drained(server))
    reason = await relay.wait()
    await asyncio.gather(pouring, draining)
    assert reason == "quota"
    assert (relay.up, relay.down) == (quota, 0)
    assert bucket.spent
    assert bucket.used == quota
    assert bucket.seen()[:2] == (quota, 0)


async def test_a_quota_counts_both_ways_and_all_flows(engine: Engine) -> None:
    bucket = Bucket(0, 0, 100_000, 0)
    relays, tasks = [], []
    for _ in range(4):
        client, near = engine.pair()
        far, server = engine.pair()
        relays.append(engine.relay(near, far, buckets=[bucket]))
        for stream in (client, server):
            tasks += [
                asyncio.create_task(pour(stream, 200_000)),
                asyncio.create_task(drained(stream)),
            ]
    reasons = [await relay.wait() for relay in relays]
    await asyncio.gather(*tasks)
    assert reasons == ["quota"] * 4
    assert sum(relay.up + relay.down for relay in relays) == 100_000
    assert bucket.used == 100_000


async def test_what_came_before_the_relay_counts(engine: Engine) -> None:
    bucket = Bucket(0, 0, 10, 0)
    client, near = engine.pair()
    far, server = engine.pair()
    await client.write(b"0123456789abcdef")
    near.unread(await near.read_exactly(16))
    far.hold(b"a header, which is nobody's")
    relay = engine.relay(near, far, buckets=[bucket])
    assert (await relay.wait(), relay.up) == ("quota", 10)
    assert await server.read_exactly(37) == b"a header, which is nobody's0123456789"
    client.close()


async def test_a_flow_within_its_quota_ends_by_itself(engine: Engine) -> None:
    bucket = Bucket(0, 0, 10, 0)
    client, near = engine.pair()
    far, server = engine.pair()
    relay = engine.relay(near, far, buckets=[bucket])
    await client.write(b"hello")
    await client.end()
    assert await server.read_exactly(5) == b"hello"
    await server.end()
    reason = await relay.wait()
    assert (reason, relay.up) == ("closed", 5)
    assert bucket.used == 5
    assert not bucket.spent


@pytest.mark.parametrize("rate", [400_000, 20_000_000])
async def test_a_rate_makes_flows_wait_and_loses_nothing(engine: Engine, rate: int) -> None:
    bucket, wide = Bucket(rate, 0, None, 0), Bucket(rate * 4, 0, None, 0)
    client, near = await connected(engine)
    far, server = await connected(engine)
    relay = engine.relay(near, far, buckets=[bucket, wide])
    moved = rate // 4
    pouring = asyncio.create_task(pour(client, moved))
    assert await drained(server) == moved
    await pouring
    await server.end()
    reason = await relay.wait()
    assert (reason, relay.up) == ("closed", moved)
    up, down, waits, dropped = bucket.seen()
    assert (up, down, dropped) == (moved, 0, 0)
    # The burst is a twentieth of a second, a turn a sixty-fourth: the rest had to wait.
    assert waits >= 64 // 4 - 64 // 20 - 6
    assert wide.seen()[0] == moved


async def test_a_flow_that_waits_can_be_cut_and_owes_nothing(engine: Engine) -> None:
    bucket = Bucket(1000, 0, None, 0)
    bucket.charge(True, 1 << 20)  # a quarter of an hour ahead
    client, near = engine.pair()
    far, server = engine.pair()
    relay = engine.relay(near, far, buckets=[bucket])
    await client.write(b"hello")
    while bucket.seen()[2] == 0:
        await asyncio.sleep(0)
    relay.cut("enough")
    reason = await relay.wait()
    assert (reason, relay.up) == ("enough", 0)
    while bucket.seen()[0] > 1 << 20:
        await asyncio.sleep(0)
    assert await drained(server) == 0
    client.close()


async def test_waiting_is_not_idling(engine: Engine) -> None:
    bucket = Bucket(2000, 0, None, 0)
    bucket.charge(True, 600)  # a wait of some fifth of a second
    client, near = engine.pair()
    far, server = engine.pair()
    relay = engine.relay(near, far, idle=0.01, buckets=[bucket])
    await client.write(b"hello")
    assert await server.read_exactly(5) == b"hello"
    await relay.wait()
    assert relay.up == 5
    client.close()


class TestBodies:
    async def test_a_quota_ends_a_body(self, engine: Engine) -> None:
        bucket, meter = Bucket(0, 0, 70_000, 0), Meter()
        client, source = engine.pair()
        sink, server = engine.pair()
        pouring = asyncio.create_task(pour(client, 100_000))
        draining = asyncio.create_task(drained(server))
        with pytest.raises(Refused, match="quota"):
            await engine.send_body(
                source, sink, Body(length=100_000), meter=meter, buckets=[bucket], rising=True
            )
        assert meter.count == bucket.used == 70_000
        assert bucket.seen()[:2] == (70_000, 0)
        source.close()
        sink.close()
        await pouring
        assert await draining <= 70_000

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_a_rate_makes_a_body_wait(self, engine: Engine, chunked: bool) -> None:
        bucket = Bucket(0, 400_000, None, 0)
        client, source = engine.pair()
        sink, server = engine.pair()
        payload = bytes(60_000)
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload) if chunked else payload
        writing = asyncio.create_task(client.write(sent))
        body = Body(chunked=True) if chunked else Body(length=60_000)
        draining = asyncio.create_task(drained(server))
        assert await engine.send_body(source, sink, body, idle=0.01, buckets=[bucket]) == 60_000
        await writing
        await sink.end()
        assert await draining >= 60_000
        up, down, waits, _ = bucket.seen()
        assert (up, down) == (0, 60_000)
        assert waits >= 1


class TestPackets:
    @contextlib.asynccontextmanager
    async def carried(
        self, engine: Engine, bucket: Bucket
    ) -> AsyncIterator[tuple[socket.socket, socket.socket, asyncio.Task[tuple[str, int, int]]]]:
        """A client, a server, and the relay between them."""
        with socket.socket(type=socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            target = Target.of(*server.getsockname())
            listener = engine.listen_packets(Target.of("127.0.0.1", 0), target, PacketOptions())
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.connect((listener.address.host, listener.address.port))
                client.setblocking(False)
                client.send(b"first")
                (ask,) = await listener.accept()
                far = engine.datagrams()
                relay = ask.relay(far, target, [bucket])

                async def over() -> tuple[str, int, int]:
                    return await relay.wait(), relay.up, relay.down

                waiting = asyncio.create_task(over())
                try:
                    yield client, server, waiting
                finally:
                    relay.cut("done")
                    await waiting
                    far.close()
                    listener.close()

    async def test_a_quota_ends_a_flow_before_the_packet_that_does_not_fit(
        self, engine: Engine
    ) -> None:
        bucket = Bucket(0, 0, 2105, 0)
        loop = asyncio.get_running_loop()
        async with self.carried(engine, bucket) as (client, server, over):
            assert await loop.sock_recv(server, 99) == b"first"
            for _ in range(3):
                client.send(bytes(1000))
            assert await over == ("quota", 2005, 0)
            assert bucket.used == 2005
            assert bucket.spent
            for _ in range(2):
                assert len(await loop.sock_recv(server, 2000)) == 1000

    async def test_packets_beyond_a_rate_are_dropped_and_counted(self, engine: Engine) -> None:
        bucket = Bucket(0, 10_000, None, 0)
        loop = asyncio.get_running_loop()
        async with self.carried(engine, bucket) as (client, server, _):
            _, near = await loop.sock_recvfrom(server, 99)
            for _ in range(50):
                server.sendto(bytes(1000), near)
            while bucket.seen()[3] + bucket.seen()[1] // 1000 < 50:
                await asyncio.sleep(0)
            _, down, _, dropped = bucket.seen()
            assert down + 1000 * dropped == 50_000
            assert dropped > 40
            for _ in range(down // 1000):
                assert len(await loop.sock_recv(client, 2000)) == 1000


async def test_limits_change_while_flows_run(engine: Engine) -> None:
    bucket = Bucket(0, 0, 1000, 900)
    assert not bucket.spent
    bucket.charge(False, 100)
    assert bucket.spent
    bucket.set(0, 0, 2000)
    assert not bucket.spent
    assert bucket.used == 1000
    bucket.set(0, 0, 500)
    assert bucket.spent
    bucket.renew()
    assert not bucket.spent
    assert bucket.used == 0


async def test_only_the_engines_own_buckets_serve(engine: Engine) -> None:
    class Other:
        spent = False

        def charge(self, rising: bool, count: int) -> None:
            raise AssertionError

    near, far = engine.pair()
    with pytest.raises(TypeError, match="not a bucket"):
        engine.relay(near, far, buckets=[Other()])
