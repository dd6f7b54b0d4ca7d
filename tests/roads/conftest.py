"""Servers to reach, and whole roads over the real engine, all on loopback."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from byway.app import App
from byway.config import load_text
from byway.flow import Target
from tests.machine import HAS_IPV6, NO_IPV6


@dataclass
class Road:
    """A running App and what it logged."""

    app: App
    log: Path

    def place(self, inbound: str, at: int = 0) -> Target:
        """Where an inbound listens (its at-th address)."""
        return Target.parse(self.app.addresses[inbound][at].removesuffix("/udp"))

    def ended(self) -> list[str]:
        """Why the past flows ended, the oldest first."""
        return [passage.reason for passage in self.app.ledger.past]

    async def settled(self, flows: int) -> None:
        """Wait until so many flows are over."""
        async with asyncio.timeout(60):
            while len(self.app.ledger.past) < flows:
                await asyncio.sleep(0.001)

    async def logged(self, words: str) -> None:
        """Wait until the log, which a thread writes, has these words."""
        async with asyncio.timeout(60):
            while words not in self.log.read_text():
                await asyncio.sleep(0.001)


RunRoad = Callable[[str], AbstractAsyncContextManager[Road]]


@pytest.fixture
def road(tmp_path: Path) -> RunRoad:
    """Runs a config; its log goes to a file."""
    count = 0

    @asynccontextmanager
    async def run(text: str) -> AsyncIterator[Road]:
        nonlocal count
        count += 1
        log = tmp_path / f"byway-{count}.log"
        config = load_text(f"log: {{file: {log}}}\n" + textwrap.dedent(text))
        async with App(config) as app:
            yield Road(app, log)

    return run


@asynccontextmanager
async def served(answer: Callable[[bytes], bytes | None], host: str) -> AsyncIterator[Target]:
    """A TCP server that answers what it reads; it half-closes when its client does."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                said = answer(data)
                if said is None:
                    break
                writer.write(said)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    if ":" in host and not HAS_IPV6:
        pytest.skip(NO_IPV6)
    server = await asyncio.start_server(talk, host, 0)
    try:
        name = server.sockets[0].getsockname()
        yield Target.of(name[0], name[1])
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[Target]:
    """An echo server on 127.0.0.1."""
    async with served(lambda data: data, "127.0.0.1") as target:
        yield target


@pytest.fixture
async def echo6() -> AsyncIterator[Target]:
    """An echo server on ::1."""
    async with served(lambda data: data, "::1") as target:
        yield target


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


@asynccontextmanager
async def echoing(host: str) -> AsyncIterator[Target]:
    """A UDP echo."""
    if ":" in host and not HAS_IPV6:
        pytest.skip(NO_IPV6)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Echo, (host, 0))
    name = transport.get_extra_info("sockname")
    try:
        yield Target.of(name[0], name[1])
    finally:
        transport.close()


@pytest.fixture
async def udp_echo() -> AsyncIterator[Target]:
    """A UDP echo on 127.0.0.1."""
    async with echoing("127.0.0.1") as target:
        yield target
