"""Clients of Byway as a DNS server: over a stream (RFC 7766), or in packets inside one.

A bounded number of queries is answered at once for each client. A stream waits then; of packets the
further ones are dropped, and their client asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, TypeVar

from byway.errors import BywayError
from byway.flow import Flow
from byway.interfaces import Stream
from byway.protocols import address

T = TypeVar("T")

AT_ONCE = 64  # queries of one client
QUIET = 30.0  # seconds without a query, after which a connection is closed (RFC 7766, 6.2.3)


class Answers(Protocol):
    """Whoever answers queries, and runs what serves their clients."""

    async def answer(self, wire: bytes, flow: Flow, streamed: bool) -> bytes | None:
        """The message that answers a query; None: nothing does."""

    def start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T | None]:
        """Run something until it ends."""


async def serve_stream(stream: Stream, flow: Flow, answers: Answers) -> None:
    """Answer the queries in a stream until its other side ends it, or is silent for long."""
    writing = asyncio.Lock()

    async def told(wire: bytes) -> None:
        said = await answers.answer(wire, flow, True)
        if said is not None:
            async with writing:
                await stream.write(len(said).to_bytes(2) + said)

    async def heard() -> bytes:
        size = int.from_bytes(await stream.read_exactly(2))
        return await stream.read_exactly(size)

    await _served(stream, heard, told, waits=True)


async def serve_packets(stream: Stream, flow: Flow, answers: Answers) -> None:
    """Answer the packets that an engine's `framed` way puts into this stream, each behind the
    address that it went to and its length: the answer comes from that address."""
    writing = asyncio.Lock()
    begun = False

    async def told(frame: bytes) -> None:
        _, at = address.unpack(frame) or (None, 0)
        said = await answers.answer(frame[at:], flow, False)
        if said is not None:
            async with writing:
                await stream.write(frame[:at] + len(said).to_bytes(2) + said)

    async def heard() -> bytes:
        nonlocal begun
        if not begun:  # what a server would be asked for; each packet has its own
            await _address(stream)
            begun = True
        place = await _address(stream)
        size = int.from_bytes(await stream.read_exactly(2))
        return place + await stream.read_exactly(size)

    await _served(stream, heard, told, waits=False)


async def _address(stream: Stream) -> bytes:
    """One address in SOCKS5's form."""
    kind = await stream.read_exactly(2)
    if kind[0] == address.NAME:
        return kind + await stream.read_exactly(kind[1] + 2)
    return kind + await stream.read_exactly(5 if kind[0] == address.IPV4 else 17)


async def _served(
    stream: Stream,
    heard: Callable[[], Awaitable[bytes]],
    told: Callable[[bytes], Coroutine[None, None, None]],
    waits: bool,
) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(query: bytes) -> None:
        try:
            await told(query)
        except (OSError, EOFError, BywayError):
            stream.close()
        finally:
            free.release()

    try:
        async with asyncio.TaskGroup() as queries:
            while True:
                async with asyncio.timeout(QUIET):
                    query = await heard()
                if free.locked() and not waits:
                    continue
                await free.acquire()
                queries.create_task(one(query))
    except* (OSError, EOFError, BywayError):
        pass  # it is over
    finally:
        stream.close()
