"""What ends before its end looks torn to the client: a reset, never a plain close."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from byway.flow import Target
from tests.roads import clients
from tests.roads.conftest import RunRoad

MIXED = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdeab"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nabcdeab\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nabcdeab"
ENDS = {
    "length": (LENGTH, False),
    "length-reset": (LENGTH, True),
    "chunked": (CHUNKED, False),
    "chunked-reset": (CHUNKED, True),
    "within-a-chunk": (CHUNKED + b"9\r\nabc", False),
    "bad-chunk": (CHUNKED + b"zz\r\nabc", False),
    "no-last-chunk": (CHUNKED + b"0\r\n", False),
    "until-close-reset": (UNTIL_CLOSE, True),
    "head-alone-reset": (b"HTTP/1.1 200 OK\r\n\r\n", True),
    "old-server-reset": (UNTIL_CLOSE.replace(b"/1.1", b"/1.0"), True),
}


def broken_off(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(frozen=True)
class Server:
    """Where it listens, and what is set once the client has what it said."""

    target: Target
    heard: asyncio.Event


@asynccontextmanager
async def saying(
    words: bytes, *, then: Callable[[asyncio.StreamWriter], object] | None
) -> AsyncIterator[Server]:
    """A server that answers a first request with these words, and then does this, or nothing."""
    heard = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(words)
            await writer.drain()
            if then is not None:
                await asyncio.wait_for(heard.wait(), 10)  # else the reset overtakes the words
                then(writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield Server(Target.of("127.0.0.1", server.sockets[0].getsockname()[1]), heard)
    finally:
        server.close()
        await server.wait_closed()


def request(target: Target, minor: int = 1) -> bytes:
    return f"GET http://{target}/ HTTP/1.{minor}\r\nHost: {target}\r\n\r\n".encode()


async def torn(link: clients.Link, last: bytes, server: Server | None = None) -> bool:
    """Whether the client's connection is reset after these words."""
    if last:
        await link[0].readuntil(last)
    if server is not None:
        server.heard.set()
    try:
        while await link[0].read(4096):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("minor", [1, 0], ids=["http11", "http10"])
@pytest.mark.parametrize("end", ENDS)
async def test_a_response_that_broke_off(road: RunRoad, end: str, minor: int) -> None:
    words, reset = ENDS[end]
    last = b"abcdeab" if b"abcdeab" in words else b"\r\n\r\n"
    then = broken_off if reset else asyncio.StreamWriter.close
    async with saying(words, then=then) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request(server.target, minor))
        assert await torn(link, last, server)
        await clients.left(link)
        await run.settled(1)


@pytest.mark.parametrize("words", [LENGTH, CHUNKED, UNTIL_CLOSE], ids=["length", "chunked", "end"])
async def test_a_response_that_we_cut(road: RunRoad, words: bytes) -> None:
    async with saying(words, then=None) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request(server.target))
        await link[0].readuntil(b"abcdeab")
        (passage,) = run.app.ledger.live
        assert run.app.ledger.cut(passage.flow.id)
        assert await torn(link, b"")
        await clients.left(link)


async def test_a_response_that_idles_too_long(road: RunRoad) -> None:
    async with saying(UNTIL_CLOSE, then=None) as server, road(MIXED + "limits: {idle: 1s}") as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request(server.target))
        assert await torn(link, b"abcdeab", server)
        await clients.left(link)


async def test_a_response_when_byway_stops(road: RunRoad) -> None:
    async with saying(UNTIL_CLOSE, then=None) as server:
        async with road(MIXED) as run:
            link = await clients.linked(run.place("in"))
            link[1].write(request(server.target))
            await link[0].readuntil(b"abcdeab")
        assert await torn(link, b"")
        await clients.left(link)


async def test_a_response_by_way_of_a_proxy_that_broke(road: RunRoad) -> None:
    async with saying(UNTIL_CLOSE, then=None) as server, road(MIXED) as far:
        ways = f"outbounds: {{a: {{type: socks, server: '{far.place('in')}'}}}}\n"
        async with road(MIXED + ways + "rules: [{otherwise: a}]") as run:
            link = await clients.linked(run.place("in"))
            link[1].write(request(server.target))
            await link[0].readuntil(b"abcdeab")
            (passage,) = far.app.ledger.live
            far.app.ledger.cut(passage.flow.id)
            assert await torn(link, b"")
            await clients.left(link)


async def test_a_whole_response_ends_plainly(road: RunRoad) -> None:
    async with saying(UNTIL_CLOSE, then=asyncio.StreamWriter.close) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request(server.target))
        assert not await torn(link, b"abcdeab", server)
        await clients.left(link)


async def test_what_fails_after_an_interim_response_is_told(road: RunRoad) -> None:
    words = b"HTTP/1.1 103 Early Hints\r\n\r\nnonsense\r\n\r\n"
    async with saying(words, then=None) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(request(server.target))
        await link[0].readuntil(b"\r\n\r\n")
        assert (await link[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
        await clients.left(link)


@pytest.mark.parametrize("ask", [clients.socks5, clients.socks4a, clients.http])
@pytest.mark.parametrize("ended", [False, True], ids=["open", "half-closed"])
async def test_a_tunnel_whose_far_side_broke_off(
    road: RunRoad, ask: clients.Ask, ended: bool
) -> None:
    async with saying(b"abcdeab", then=broken_off) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        assert await ask(link, server.target) == 0
        link[1].write(b"\r\n\r\n")
        if ended:
            link[1].write_eof()
        assert await torn(link, b"abcdeab", server)
        await clients.left(link)


async def test_a_tunnel_that_idles_too_long_ends_plainly(road: RunRoad) -> None:
    limit = "limits: {idle: 1s}"
    async with saying(b"abcdeab", then=None) as server, road(MIXED + limit) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, server.target) == 0
        link[1].write(b"\r\n\r\n")
        assert not await torn(link, b"abcdeab")
        await clients.left(link)
        async with asyncio.timeout(10):
            while not run.ended():  # the client may see the end before the log does
                await asyncio.sleep(0)
        assert run.ended() == ["idle for too long"]


def timers(port: int) -> set[str]:
    """Which timers run for the sockets of a local port that are connected (proc(5), tcp)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    ends = f":{port:04X}"
    return {row[5][:2] for row in rows if row[3] == "01" and (row[1] + row[2]).find(ends) >= 0}


async def test_quiet_tunnels_are_asked_whether_they_live(road: RunRoad) -> None:
    """No idle limit by default; a keep-alive timer (02) runs on both sides instead."""
    async with saying(b"abcdeab", then=None) as server, road(MIXED) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, server.target) == 0
        link[1].write(b"\r\n\r\n")
        await link[0].readuntil(b"abcdeab")
        for port in (run.place("in").port, server.target.port):
            async with asyncio.timeout(10):  # until what was sent is acknowledged
                while "02" not in timers(port):
                    await asyncio.sleep(0.01)
        (passage,) = run.app.ledger.live
        assert run.app.ledger.cut(passage.flow.id)
        await clients.left(link)
