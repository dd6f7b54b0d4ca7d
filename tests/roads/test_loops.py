"""Loops that no check of the config could see: noticed, stopped, and named."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from byway.app import App
from byway.config import load_text
from byway.flow import Target
from tests.roads import clients
from tests.roads.conftest import echoing, served
from tests.roads.test_udp import packets

pytestmark = pytest.mark.usefixtures("nowhere")


class Here:
    """Says that every name is this host."""

    async def resolve(self, name: str) -> Sequence[bytes]:
        return [b"\x7f\0\0\1"]


@asynccontextmanager
async def running(text: str) -> AsyncIterator[App]:
    config = load_text("log: {level: error}\n" + textwrap.dedent(text))
    async with App(config, Here()) as app:
        yield app


async def ended(app: App, count: int) -> list[str]:
    """Why the flows ended, once so many have."""
    async with asyncio.timeout(10):
        while len(app.ledger.past) < count or app.ledger.live:
            await asyncio.sleep(0.01)
    return [passage.reason for passage in app.ledger.past]


async def test_a_connection_to_itself() -> None:
    forward = "{type: forward, listen: '127.0.0.1:5353', target: 'me.example:5353'}"
    async with running(f"inbounds: {{f: {forward}}}") as app:
        link = await clients.linked(Target.of("127.0.0.1", 5353))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await clients.said(link, b"hello")
        await clients.left(link)
        reasons = await ended(app, 9)
        assert len(reasons) == 9
        assert any("loop: this flow left from here" in reason for reason in reasons)


async def test_one_packet_makes_no_thousand_sessions() -> None:
    forward = "{type: forward, network: udp, listen: '127.0.0.1:5353', target: 'me.example:5353'}"
    async with running(f"inbounds: {{f: {forward}}}\nlimits: {{udp_idle: 1s}}") as app:
        async with packets(Target.of("127.0.0.1", 5353)) as sock:
            sock.transport.sendto(b"hello")
            reasons = await ended(app, 9)
        assert len(reasons) == 9
        assert any("loop" in reason and "inbound f" in reason for reason in reasons)


@pytest.mark.parametrize("wide", [False, True])
async def test_a_proxy_that_is_this_byway(wide: bool) -> None:
    listen = "'0.0.0.0:1080', open: true, allow_local: true" if wide else "'127.0.0.1:1080'"
    async with (
        served(lambda data: data, "127.0.0.1") as echo,
        running(f"""
            inbounds: {{home: {{type: mixed, listen: {listen}}}}}
            outbounds: {{out: {{type: socks, server: 'me.example:1080'}}}}
            rules: [{{otherwise: out}}]
            """) as app,
    ):
        link = await clients.linked(Target.of("127.0.0.1", 1080))
        assert await clients.socks5(link, echo) != 0
        await clients.left(link)
        reasons = await ended(app, 9)
        assert len(reasons) == 9
        assert any("loop: this flow left from here" in reason for reason in reasons)


async def test_a_circle_of_two() -> None:
    async with running("""
        inbounds:
          a: {type: forward, listen: '127.0.0.1:1', target: 'b.example:2', network: [tcp, udp]}
          b: {type: forward, listen: '127.0.0.1:2', target: 'a.example:1', network: [tcp, udp]}
        limits: {udp_idle: 1s}
        """) as app:
        link = await clients.linked(Target.of("127.0.0.1", 1))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await clients.said(link, b"hello")
        await clients.left(link)
        async with packets(Target.of("127.0.0.1", 1)) as sock:
            sock.transport.sendto(b"hello")
            assert len(await ended(app, 18)) == 18


async def test_two_that_are_not_a_circle() -> None:
    async with (
        served(lambda data: data, "127.0.0.1") as echo,
        echoing("127.0.0.1") as udp,
        running(f"""
            inbounds:
              a:
                type: forward
                listen: '127.0.0.1:1'
                target: 'b.example:2'
                network: [tcp, udp]
              b: {{type: forward, listen: '127.0.0.1:2', target: 'c.example:{echo.port}'}}
              c:
                type: forward
                listen: '127.0.0.1:2'
                target: 'c.example:{udp.port}'
                network: udp
            """),
    ):
        link = await clients.linked(Target.of("127.0.0.1", 1))
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        async with packets(Target.of("127.0.0.1", 1)) as sock:
            sock.transport.sendto(b"hello")
            assert await sock.next() == b"hello"
