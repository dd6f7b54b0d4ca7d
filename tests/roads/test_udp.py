"""Packets: SOCKS associations and forwarded ports, by each outbound that carries UDP; and BIND."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from byway.flow import Target
from tests.roads import clients
from tests.roads.conftest import RunRoad

pytestmark = pytest.mark.usefixtures("nowhere")

SOCKS = "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"


class Packets(asyncio.DatagramProtocol):
    """A UDP socket that queues what it gets."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.put_nowait(data)

    async def next(self) -> bytes:
        async with asyncio.timeout(60):
            return await self.got.get()


@contextlib.asynccontextmanager
async def packets(toward: Target) -> AsyncIterator[Packets]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        Packets, remote_addr=(toward.host, toward.port)
    )
    try:
        yield protocol
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def associated(place: Target) -> AsyncIterator[tuple[Packets, clients.Link]]:
    """A SOCKS5 association: its packets and its control stream."""
    link = await clients.linked(place)
    code, relay = await clients.socks5_asked(link, 3, Target.of("0.0.0.0", 0))
    assert code == 0
    assert relay is not None
    async with packets(relay) as sock:
        yield sock, link
    await clients.left(link)


def wrapped(target: Target, payload: bytes) -> bytes:
    return b"\0\0\0" + clients.packed(target) + payload


@pytest.mark.parametrize("form", ["address", "name"])
async def test_associate_echoes(road: RunRoad, udp_echo: Target, form: str) -> None:
    target = udp_echo if form == "address" else Target.of("localhost", udp_echo.port)
    async with road(SOCKS) as run:
        async with associated(run.place("in")) as (sock, _):
            for payload in (b"one", b"two" * 400):
                sock.transport.sendto(wrapped(target, payload))
                assert (await sock.next()).endswith(payload)
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert (passage.up, passage.down) == (1203, 1203)
        assert passage.flow.network.value == "udp"


async def test_the_association_ends_with_its_control_stream(
    road: RunRoad, udp_echo: Target
) -> None:
    async with road(SOCKS) as run:
        async with associated(run.place("in")) as (sock, link):
            sock.transport.sendto(wrapped(udp_echo, b"x"))
            await sock.next()
            await clients.left(link)
            await run.settled(1)
        assert run.ended() == ["the client ended its association"]
        assert not run.app.ledger.live


@pytest.mark.parametrize(
    ("host", "declared"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "client.example"),
        ("::1", "::1"),
        ("::1", "::"),
        ("::1", "0.0.0.0"),
    ],
)
async def test_packets_come_from_the_declared_port_alone(
    road: RunRoad, udp_echo: Target, host: str, declared: str
) -> None:
    loop = asyncio.get_running_loop()
    transport, mine = await loop.create_datagram_endpoint(Packets, (host, 0))
    port = transport.get_extra_info("sockname")[1]
    async with road(SOCKS.replace("'127.0.0.1:0'", "['127.0.0.1:0', '[::1]:0']")) as run:
        place = run.place("in", 1 if ":" in host else 0)
        link = await clients.linked(place)
        code, relay = await clients.socks5_asked(link, 3, Target.of(declared, port))
        assert code == 0
        assert relay is not None
        async with packets(relay) as other:
            other.transport.sendto(wrapped(udp_echo, b"not mine"))
            mine.transport.sendto(wrapped(udp_echo, b"mine"), (relay.host, relay.port))
            assert await mine.next() == wrapped(udp_echo, b"mine")
            assert other.got.empty()
        await clients.left(link)
        await run.settled(1)
        assert [(p.up, p.down) for p in run.app.ledger.past] == [(4, 4)]
    transport.close()


@pytest.mark.parametrize("declared", ["127.0.0.1:0", "0.0.0.0:0", "192.0.2.7:9", "[2001:db8::7]:9"])
async def test_who_declares_no_port_that_we_could_see_has_the_first_one(
    road: RunRoad, udp_echo: Target, declared: str
) -> None:
    """Behind a NAT a client sees another address and port of its own than we do."""
    async with road(SOCKS) as run:
        link = await clients.linked(run.place("in"))
        code, relay = await clients.socks5_asked(link, 3, Target.parse(declared))
        assert code == 0
        assert relay is not None
        async with packets(relay) as mine, packets(relay) as other:
            mine.transport.sendto(wrapped(udp_echo, b"first"))
            assert await mine.next() == wrapped(udp_echo, b"first")
            other.transport.sendto(wrapped(udp_echo, b"late"))
            mine.transport.sendto(wrapped(udp_echo, b"again"))
            assert await mine.next() == wrapped(udp_echo, b"again")
            assert other.got.empty()
        await clients.left(link)


async def test_a_cold_burst_arrives_whole(road: RunRoad) -> None:
    """What a client sends at once while its session is opened: here while a name is resolved."""
    loop = asyncio.get_running_loop()
    transport, target = await loop.create_datagram_endpoint(Packets, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with road(SOCKS) as run, associated(run.place("in")) as (sock, _):
        sent = [b"%d" % number * 300 for number in range(100)]
        for payload in sent:
            sock.transport.sendto(wrapped(Target.of("localhost", port), payload))
        assert [await target.next() for _ in sent] == sent
    transport.close()


async def test_names_in_utf_8_are_judged_in_ascii(road: RunRoad, udp_echo: Target) -> None:
    text = SOCKS + "rules: [{domain: xn--bcher-kva.example, to: reject}, {otherwise: direct}]"
    async with road(text) as run, associated(run.place("in")) as (sock, _):
        for name in ("bücher.example", "ß.example", "é..example"):
            sock.transport.sendto(wrapped(Target(name, 53), b"x"))
        await run.settled(1)
        sock.transport.sendto(wrapped(udp_echo, b"after"))
        assert await sock.next() == wrapped(udp_echo, b"after")
        assert run.ended() == ["rejected by a rule"]  # those that no host can have are no flows
        hosts = {p.flow.target.host for p in (*run.app.ledger.past, *run.app.ledger.live)}
        assert hosts == {"xn--bcher-kva.example", udp_echo.host}


async def test_one_session_has_many_targets(road: RunRoad, udp_echo: Target) -> None:
    loop = asyncio.get_running_loop()
    transport, other = await loop.create_datagram_endpoint(Packets, ("127.0.0.1", 0))
    name = transport.get_extra_info("sockname")
    async with road(SOCKS) as run, associated(run.place("in")) as (sock, _):
        sock.transport.sendto(wrapped(udp_echo, b"a"))
        assert await sock.next() == wrapped(udp_echo, b"a")
        sock.transport.sendto(wrapped(Target.of(name[0], name[1]), b"b"))
        assert await other.next() == b"b"
        assert len(run.app.ledger.live) == 2
    transport.close()


async def test_rejected_packets_go_nowhere(road: RunRoad, udp_echo: Target) -> None:
    text = SOCKS + "rules: [{network: udp, port: 9, to: reject}, {otherwise: direct}]"
    async with road(text) as run, associated(run.place("in")) as (sock, _):
        sock.transport.sendto(wrapped(Target.of("127.0.0.1", 9), b"no"))
        await run.settled(1)
        sock.transport.sendto(wrapped(udp_echo, b"yes"))
        assert await sock.next() == wrapped(udp_echo, b"yes")
        assert run.ended() == ["rejected by a rule"]


@pytest.mark.parametrize("form", ["address", "name"])
@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_packets_through_socks(road: RunRoad, udp_echo: Target, hops: int, form: str) -> None:
    target = udp_echo if form == "address" else Target.of("localhost", udp_echo.port)
    async with road(SOCKS) as far:
        ways, before = [], ""
        for at in range(hops):
            ways.append(f"h{at}: {{type: socks, server: '{far.place('in')}'{before}}}")
            before = f", via: h{at}"
        text = f"{SOCKS}outbounds: {{{', '.join(ways)}}}\nrules: [{{otherwise: h{hops - 1}}}]"
        async with road(text) as run, associated(run.place("in")) as (sock, _):
            for payload in (b"one", b"two"):
                sock.transport.sendto(wrapped(target, payload))
                assert (await sock.next()).endswith(payload)


async def test_http_carries_no_packets(road: RunRoad, udp_echo: Target) -> None:
    text = SOCKS + "outbounds: {h: {type: http, server: '127.0.0.1:9'}}\nrules: [{otherwise: h}]"
    async with road(text) as run, associated(run.place("in")) as (sock, _):
        sock.transport.sendto(wrapped(udp_echo, b"x"))
        await run.settled(1)
        assert run.ended() == ["outbound h does not support UDP"]


async def test_forwards_packets(road: RunRoad, udp_echo: Target) -> None:
    text = (
        "inbounds: {door: {type: forward, listen: '127.0.0.1:0', "
        f"target: 'localhost:{udp_echo.port}', network: udp}}}}"
    )
    async with road(text) as run:
        place = run.place("door")
        async with packets(place) as one, packets(place) as two:
            one.transport.sendto(b"one")
            two.transport.sendto(b"two")
            assert await one.next() == b"one"
            assert await two.next() == b"two"
            assert len(run.app.ledger.live) == 2


async def test_a_guarded_association_keeps_off_this_host(road: RunRoad, udp_echo: Target) -> None:
    text = "inbounds: {in: {type: socks, listen: '127.0.0.1:0', allow_local: false}}\n"
    async with road(text) as run, associated(run.place("in")) as (sock, _):
        for host in ("127.0.0.1", "localhost"):
            sock.transport.sendto(wrapped(Target.of(host, udp_echo.port), b"x"))
        await run.settled(2)
        assert all("this host" in why or "loopback" in why for why in run.ended())


async def test_bind_lends_a_port(road: RunRoad) -> None:
    async with road(SOCKS) as run:
        link = await clients.linked(run.place("in"))
        code, lent = await clients.socks5_asked(link, 2, Target.of("127.0.0.1", 9))
        assert code == 0
        assert lent is not None
        peer = await clients.linked(lent)
        assert (await clients.socks5_reply(link))[0] == 0
        peer[1].write(b"from the peer")
        assert await link[0].readexactly(13) == b"from the peer"
        link[1].write(b"answer")
        assert await peer[0].readexactly(6) == b"answer"
        await clients.left(peer)
        await clients.left(link)


async def test_a_guarded_lent_port_is_closed_to_this_host_itself(road: RunRoad) -> None:
    text = "inbounds: {in: {type: socks, listen: '127.0.0.1:0', allow_local: false}}\n"
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        code, lent = await clients.socks5_asked(link, 2, Target.of("0.0.0.0", 0))
        assert code == 0
        assert lent is not None
        peer = await clients.linked(Target.of("127.0.0.1", lent.port))
        with contextlib.suppress(ConnectionResetError):
            assert await peer[0].read() == b""
        await clients.left(peer)
        link[1].write_eof()
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert passage.relay is None
        assert "no peer connected" in passage.reason
        await clients.left(link)


async def test_bind_through_socks(road: RunRoad) -> None:
    async with road(SOCKS) as far:
        text = f"{SOCKS}outbounds: {{a: {{type: socks, server: '{far.place('in')}'}}}}\n"
        async with road(text + "rules: [{otherwise: a}]") as run:
            link = await clients.linked(run.place("in"))
            code, lent = await clients.socks5_asked(link, 2, Target.of("127.0.0.1", 9))
            assert code == 0
            assert lent is not None
            peer = await clients.linked(lent)
            assert (await clients.socks5_reply(link))[0] == 0
            assert await clients.said(peer, b"") == b""
            peer[1].write(b"hi")
            assert await link[0].readexactly(2) == b"hi"
            await clients.left(peer)
            await clients.left(link)


async def test_a_client_that_leaves_its_lent_port(road: RunRoad) -> None:
    async with road(SOCKS) as run:
        link = await clients.linked(run.place("in"))
        code, lent = await clients.socks5_asked(link, 2, Target.of("0.0.0.0", 0))
        assert code == 0
        await clients.left(link)
        await run.settled(1)
        assert "the client disconnected" in run.ended()[0]
        assert lent is not None
        with pytest.raises(ConnectionError):
            await clients.linked(lent)
