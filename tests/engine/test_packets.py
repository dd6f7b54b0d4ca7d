"""Packets that wait for a verdict can be read meanwhile, and are still there to be sent."""

from __future__ import annotations

import asyncio
import socket

from byway.engine import Engine
from byway.flow import Target


async def test_what_waits_can_be_read() -> None:
    engine = Engine(1)
    try:
        listener = engine.listen_packets(Target.of("127.0.0.1", 0), Target.of("192.0.2.1", 9))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((listener.address.host, listener.address.port))
            client.send(b"one")
            async with asyncio.timeout(10):
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
