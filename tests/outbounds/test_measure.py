"""Measuring several ways at once: what is found, what is bounded, what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from byway.app import App
from byway.config import load_text
from byway.flow import Network
from byway.interfaces import Outbound, Stream
from byway.outbounds.measure import Measure, Plan, measured
from byway.outbounds.probe import Asking
from byway.protocols.web_address import WebAddress
from tests.roads import clients


@asynccontextmanager
async def web() -> AsyncIterator[str]:
    """A web server: /small answers 204, /big sends a megabyte, /endless no end, /cut hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1]
            if path == b"/small":
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            elif path == b"/big":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(10**6))
            elif path == b"/cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def unsecured(stream: Stream, name: str) -> Stream:
    raise AssertionError(name)


def plan(base: str, load: str | None, most: int = 10**7, seconds: float = 5.0) -> Plan:
    place = None if load is None else WebAddress.parse(base + load)
    return Plan(Asking(WebAddress.parse(f"{base}/small")), place, 2, most, seconds)


async def found(ways: dict[str, Outbound], asked: Plan) -> dict[str, Measure]:
    last: dict[str, Measure] = {}
    async with contextlib.aclosing(measured(ways, asked, unsecured)) as news:
        async for measure in news:
            last[measure.name] = measure
    assert all(measure.done for measure in last.values())
    return last


UP = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}"


async def test_ways_are_measured_side_by_side() -> None:
    async with web() as base, App(load_text(UP, "x.yaml")) as up:
        dead = clients.closed_port()
        text = (
            f"outbounds: {{up: 'socks5://{up.addresses['in'][0]}', dead: 'socks5://{dead}',"
            " far: {type: http, server: 'h.example:1', via: dead}}\n"
            "groups: {g: {type: select, members: up}}\n"
            "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}"
        )
        async with App(load_text(text, "x.yaml")) as app:
            ways = dict(app.now.outbounds)
            got = await found(ways, plan(base, "/big"))
            assert set(got) == {"up", "dead", "far", "direct", "g"}
            for name in ("up", "direct", "g"):
                one = got[name]
                assert one.error == ""
                assert one.dial
                assert one.answer
                assert one.moved == 10**6
                assert one.rate
            assert got["dead"].hop == "dead"
            assert got["far"].hop == "dead"
            assert str(dead) in got["far"].error
            assert got["far"].dial is None
            # members learn from it
            assert app.now.roster.healths["up"].score(Network.TCP).answer is not None


async def test_bytes_and_time_are_bounded() -> None:
    async with web() as base, App(load_text(UP, "x.yaml")) as app:
        ways: dict[str, Outbound] = {"direct": app.now.outbounds["direct"]}
        got = await found(ways, plan(base, "/endless", most=300_000))
        assert 300_000 <= got["direct"].moved < 10**6
        async with asyncio.timeout(60):
            got = await found(ways, plan(base, "/endless", most=10**12, seconds=0.2))
        assert got["direct"].error == ""
        assert got["direct"].rate
        got = await found(ways, plan(base, None))
        assert (got["direct"].moved, got["direct"].rate) == (0, None)
        got = await found(ways, plan(base, "/cut"))
        assert got["direct"].error.endswith("closed the connection after 1000 bytes")
        assert got["direct"].dial


async def test_who_looks_away_ends_it() -> None:
    async with web() as base, App(load_text(UP, "x.yaml")) as app:
        ways: dict[str, Outbound] = {"direct": app.now.outbounds["direct"]}
        async with asyncio.timeout(60):
            news = measured(ways, plan(base, "/endless", most=10**12, seconds=60.0), unsecured)
            async for measure in news:
                if measure.phase == "load":
                    break
            await news.aclose()
