"""The engine's own streams keep the contract: TCP by both families, unix sockets, socket pairs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byway.engine import Engine
from byway.flow import Target
from byway.interfaces import Listener, Stream
from tests.streams.conformance import LIMIT, StreamConformance


class EngineConformance(StreamConformance):
    """The suite with an engine of one thread beneath it."""

    @pytest.fixture(autouse=True)
    async def _engine(self, tmp_path: Path) -> AsyncIterator[None]:
        self.engine = Engine(1)
        self.path = str(tmp_path / "socket")
        yield
        await self.engine.close()

    async def dial(self, address: str) -> list[Stream]:
        """Both ends of a TCP connection over loopback."""
        try:
            listener = self.engine.listen(Target.of(address, 0))
        except OSError as error:
            pytest.skip(f"cannot listen on {address}: {error}")
        assert listener.address is not None
        return await joined(await self.engine.connect([listener.address]), listener)


class TestTcpOverIpv4(EngineConformance):
    """TCP by 127.0.0.1."""

    async def make(self) -> list[Stream]:
        return await self.dial("127.0.0.1")


class TestTcpOverIpv6(EngineConformance):
    """TCP by ::1."""

    async def make(self) -> list[Stream]:
        return await self.dial("::1")


class TestUnix(EngineConformance):
    """A unix socket with a path."""

    async def make(self) -> list[Stream]:
        listener = self.engine.listen_unix(self.path)
        return await joined(await self.engine.connect_unix(self.path), listener)


class TestPair(EngineConformance):
    """A unix socket pair."""

    async def make(self) -> list[Stream]:
        return list(self.engine.pair())


async def joined(connecting: Stream, listener: Listener) -> list[Stream]:
    """Both ends. A listener hands over no connection before its first byte, so one is sent."""
    async with asyncio.timeout(LIMIT):
        await connecting.write(b"!")
        accepted = (await listener.accept())[0]
        await accepted.read_exactly(1)
    listener.close()
    return [connecting, accepted]
