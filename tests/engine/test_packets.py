"""Packet sessions: what waits for a verdict, what a close frees, callers without a socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

from byway.engine import Engine, PacketCaller
from byway.errors import EngineError
from byway.flow import Target


async def test_what_waits_can_be_read() -> None:
    engine = Engine(1)
    try:
        listener = engine.listen_packets(Target.of("127.0.0.1", 0), Target.of("192.0.2.1", 9))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((listener.address.host, listener.address.port))
            client.send(b"one")
            async with asyncio.timeout(60):
                (ask,) = await listener.accept()
                assert ask.waiting()[0] == b"one"
                client.send(b"two")
                while len(ask.waiting()) < 2:
                    await asyncio.sleep(0)
            assert ask.waiting() == [b"one", b"two"]
            ask.refuse()
            assert ask.waiting() == []
        listener.close()
    finally:
        await engine.close()


async def test_a_closed_listener_gives_up_its_port_without_further_packets() -> None:
    engine = Engine(1)
    loop = asyncio.get_running_loop()
    udp = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*udp) as server, socket.socket(*udp) as client, socket.socket(*udp) as next_:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        client.setblocking(False)
        target = Target.of("127.0.0.1", server.getsockname()[1])
        try:
            listener = engine.listen_packets(Target.of("127.0.0.1", 0), target)
            place = (listener.address.host, listener.address.port)
            async with asyncio.timeout(60):
                client.connect(place)
                client.send(b"there")
                (ask,) = await listener.accept()
                relay = ask.relay(engine.datagrams(), target)
                source = (await loop.sock_recvfrom(server, 9))[1]
                await loop.sock_sendto(server, b"back", source)
                assert await loop.sock_recv(client, 9) == b"back"
                listener.close()
                await relay.wait()
                await _bound(next_, place)
        finally:
            await engine.close()


async def _bound(sock: socket.socket, place: tuple[str, int]) -> None:
    """The port is given up by the engine's thread, a moment after the close."""
    while True:
        try:
            return sock.bind(place)
        except OSError:
            await asyncio.sleep(0)


async def test_a_caller_in_this_process_needs_no_socket() -> None:
    engine = Engine(1)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        target = Target.of("127.0.0.1", server.getsockname()[1])
        listener, caller = engine.packet_pair(target)
        try:
            async with asyncio.timeout(60):
                assert caller.send(b"one")
                assert not caller.send(bytes(65_536))
                (ask,) = await listener.accept()
                assert (ask.target, ask.user, ask.waiting()) == (target, None, [b"one"])
                relay = ask.relay(engine.datagrams(), target)
                packet, mapped = await loop.sock_recvfrom(server, 9)
                assert packet == b"one"
                # A cancelled wait loses nothing, and another may begin.
                waiting = asyncio.create_task(_listed(caller))
                await asyncio.sleep(0)
                with pytest.raises(EngineError):
                    await caller.receive()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                for word in (b"two", b"", b"three"):
                    await loop.sock_sendto(server, word, mapped)
                got: list[bytes] = []
                while len(got) < 3:
                    got += await caller.receive()
                assert got == [b"two", b"", b"three"]
                assert (relay.up, relay.down) == (3, 8)
                caller.close()
                assert "near side" in await relay.wait()
                assert not caller.send(b"more")
                with pytest.raises(EngineError):
                    await caller.receive()
        finally:
            await engine.close()


async def test_a_caller_learns_of_its_listener_s_end() -> None:
    engine = Engine(1)
    listener, caller = engine.packet_pair(Target.of("192.0.2.1", 9))
    try:
        async with asyncio.timeout(60):
            waiting = asyncio.create_task(_listed(caller))
            await asyncio.sleep(0)
            listener.close()
            with pytest.raises(EOFError):
                await waiting
            with pytest.raises(EOFError):
                await caller.receive()
    finally:
        await engine.close()


async def _listed(caller: PacketCaller) -> list[bytes]:
    return list(await caller.receive())
