"""A rule that asks for the first bytes: the near side is heard before the far side is dialled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from byway.flow import Sniffed, Target
from tests.facts.test_sniffing import HELLO, STREAMS, question
from tests.roads import certificates, clients
from tests.roads.conftest import Road, RunRoad
from tests.roads.test_encrypted import at_client, at_server
from tests.roads.test_udp import associated, packets, wrapped

pytestmark = pytest.mark.usefixtures("nowhere")

RULES = """\
rules:
  - {sniffed: {domain_suffix: example.com}, to: reject}
  - {sniffed: {protocol: [ssh, dns]}, to: drop}
  - otherwise: direct
"""
SOCKS = "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
MIXED = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"


async def ended(link: clients.Link) -> bytes:
    """What still comes until the connection is closed or reset."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            return await link[0].read()
    return b""


def heard(road: Road) -> list[Sniffed | None]:
    return [passage.facts.sniffed for passage in road.app.ledger.past]


@pytest.mark.parametrize("ask", [clients.socks5, clients.socks4a, clients.http])
async def test_the_client_is_told_yes_first_and_judged_by_what_it_says(
    ask: clients.Ask, road: RunRoad, echo: Target
) -> None:
    async with road(MIXED + "limits: {drop: off}\n" + RULES) as run:
        for data, expected in STREAMS:
            link = await clients.linked(run.place("in"))
            assert await ask(link, echo) == 0
            rejected = expected.name.endswith("example.com")
            if rejected or expected.protocol in ("ssh", "dns"):
                link[1].write(data)
                assert await ended(link) == b""
            else:
                assert await clients.said(link, data) == data
                assert await clients.said(link, b"and on") == b"and on"
            await clients.left(link)
        await run.settled(len(STREAMS))
        assert sorted(map(str, heard(run))) == sorted(str(one) for _, one in STREAMS)
        assert {passage.verdict is not None for passage in run.app.ledger.past} == {True}


async def test_a_hello_that_comes_in_pieces_is_heard_out(road: RunRoad, echo: Target) -> None:
    async with road(SOCKS + "limits: {sniff: 10s}\n" + RULES) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        for at in range(0, len(HELLO), 100):
            link[1].write(HELLO[at : at + 100])
            await link[1].drain()
            await asyncio.sleep(0)
        assert await ended(link) == b""
        await clients.left(link)
        await run.settled(1)
        assert heard(run) == [Sniffed("tls", "www.example.com")]
    assert 'sniffed="tls www.example.com"' in run.log.read_text()


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that talks first."""
    writer.write(b"220 ready\r\n")
    with contextlib.suppress(ConnectionError):
        writer.write(await reader.read(100))
    writer.close()


@pytest.fixture
async def mail() -> AsyncIterator[Target]:
    server = await asyncio.start_server(greeting, "127.0.0.1", 0)
    yield Target.of(*server.sockets[0].getsockname())
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("inbound", ["socks", "forward"])
async def test_a_server_that_talks_first_is_waited_for_no_longer_than_said(
    road: RunRoad, mail: Target, inbound: str
) -> None:
    door = SOCKS if inbound == "socks" else (
        f"inbounds: {{in: {{type: forward, listen: '127.0.0.1:0', target: '{mail}'}}}}\n"
    )  # fmt: skip
    async with road(door + "limits: {sniff: 20ms}\n" + RULES) as run:
        link = await clients.linked(run.place("in"))
        if inbound == "socks":
            assert await clients.socks5(link, mail) == 0
        async with asyncio.timeout(60):
            assert await link[0].readline() == b"220 ready\r\n"
        assert await clients.said(link, b"EHLO") == b"EHLO"
        await clients.left(link)
        await run.settled(1)
        assert heard(run) == [Sniffed()]


async def test_a_failure_after_the_yes_is_a_close(road: RunRoad) -> None:
    async with road(MIXED + RULES) as run:
        for ask in (clients.socks5, clients.http):
            link = await clients.linked(run.place("in"))
            assert await ask(link, clients.closed_port()) == 0
            link[1].write(b"hello, nobody")
            assert await ended(link) == b""
            await clients.left(link)
        await run.settled(2)
        assert all(passage.failed for passage in run.app.ledger.past)


async def test_who_is_not_asked_for_it_is_not_told_yes_early(road: RunRoad, echo: Target) -> None:
    rules = "rules:\n  - {port: 1, sniffed: {protocol: tls}, to: reject}\n  - otherwise: direct\n"
    async with road(SOCKS + rules) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, clients.closed_port()) == 5
        await clients.left(link)
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        assert await clients.said(link, HELLO) == HELLO
        await clients.left(link)
        await run.settled(2)
        assert heard(run) == [None, None]


async def test_a_plain_request_is_known_by_its_head(road: RunRoad, echo: Target) -> None:
    rules = "rules:\n  - {sniffed: {domain: a.example}, to: reject}\n  - otherwise: direct\n"
    async with road(MIXED + rules) as run:
        link = await clients.linked(run.place("in"))
        link[1].write(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert (await link[0].readline()).split()[1] == b"403"
        await clients.left(link)
        await run.settled(1)
        assert heard(run) == [Sniffed("http", "a.example")]


@pytest.mark.parametrize("method", ["aes-128-gcm", "2022-blake3-aes-128-gcm"])
async def test_inside_shadowsocks(road: RunRoad, echo: Target, method: str) -> None:
    async with (
        road(at_server(method) + RULES) as there,
        road(at_client(method, there.place("in"))) as here,
    ):
        await through(here, there, echo)


async def test_inside_trojan(road: RunRoad, echo: Target, tmp_path: Path) -> None:
    certificates.write(tmp_path)
    server = (
        "inbounds: {in: {type: trojan, listen: '127.0.0.1:0', users: [{name: a, password: p}],"
        f" tls: {{cert: {tmp_path}/chain.pem, key: {tmp_path}/key.pem}},"
        f" fallback: '{clients.closed_port()}'}}}}\n"
    )
    async with road(server + RULES) as there:
        client = (
            SOCKS + f"outbounds: {{out: {{type: trojan, server: '{there.place('in')}',"
            " password: p, tls: {insecure: true}}}\nrules: [{otherwise: out}]\n"
        )
        async with road(client) as here:
            await through(here, there, echo)


async def through(here: Road, there: Road, echo: Target) -> None:
    """One flow that the server carries, and one that it rejects by its name."""
    link = await clients.linked(here.place("in"))
    assert await clients.socks5(link, echo) == 0
    request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    assert await clients.said(link, request) == request
    await clients.left(link)
    link = await clients.linked(here.place("in"))
    assert await clients.socks5(link, echo) == 0
    link[1].write(HELLO)
    assert await ended(link) == b""
    await clients.left(link)
    await there.settled(2)
    assert sorted(map(str, heard(there))) == sorted(
        str(one) for one in (Sniffed("http", "a.example"), Sniffed("tls", "www.example.com"))
    )


def hello_of_quic(name: str) -> list[bytes]:
    client = QuicConnection(configuration=QuicConfiguration(server_name=name))
    client.connect(("192.0.2.1", 443), now=0.0)
    return [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]


async def test_packets_are_judged_by_the_first_of_them(road: RunRoad, udp_echo: Target) -> None:
    async with road(SOCKS + RULES) as run:
        for expected, sent in (
            (Sniffed("quic", "a.example"), hello_of_quic("a.example")),
            (Sniffed(), [b"one", b"two"]),
            (Sniffed("quic", "example.com"), hello_of_quic("example.com")),
            (Sniffed("dns"), [question("a.example")]),
        ):
            run.app.ledger.past.clear()
            async with associated(run.place("in")) as (sock, link):
                for packet in sent:
                    sock.transport.sendto(wrapped(udp_echo, packet))
                if expected.name == "a.example" or not expected.protocol:
                    assert [(await sock.next())[-len(packet) :] for packet in sent] == sent
                    await clients.left(link)
                await run.settled(1)
            assert heard(run) == [expected]


def forwarding(target: Target) -> str:
    where = f"listen: '127.0.0.1:0', target: '{target}'"
    return f"inbounds: {{in: {{type: forward, network: udp, {where}}}}}\n"


async def test_a_hello_over_two_datagrams_is_waited_for(road: RunRoad, udp_echo: Target) -> None:
    from tests.facts.test_quic import FRAME, HELLO, V1, initial, varint

    first = initial(V1, b"\6\0" + varint(100) + HELLO[:100], 0)
    second = initial(V1, b"\6" + varint(100) + varint(len(HELLO) - 100) + HELLO[100:], 1)
    assert len(FRAME) > 200
    door = forwarding(udp_echo)
    async with road(door + "limits: {sniff: 10s}\n" + RULES) as run:
        async with packets(run.place("in")) as sock:
            sock.transport.sendto(first)
            await asyncio.sleep(0)
            sock.transport.sendto(second)
            await run.settled(1)
        assert heard(run) == [Sniffed("quic", "example.com")]


async def test_packets_that_stay_unfinished_are_carried_after_the_time(
    road: RunRoad, udp_echo: Target
) -> None:
    from tests.facts.test_quic import HELLO, V1, initial, varint

    first = initial(V1, b"\6\0" + varint(100) + HELLO[:100], 0)
    door = forwarding(udp_echo)
    async with road(door + "limits: {sniff: 30ms}\n" + RULES) as run:
        async with packets(run.place("in")) as sock:
            sock.transport.sendto(first)
            assert await sock.next() == first
        (passage,) = run.app.ledger.live
        assert passage.facts.sniffed == Sniffed("quic")
