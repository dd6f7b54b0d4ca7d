"""A mux over the real engine, Byway at both ends, inside every protocol that has a stream."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from byway.config import load_text
from byway.errors import ConfigError
from byway.flow import Network, Target
from byway.muxes import client as muxed
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad, echoing
from tests.roads.test_framed_packets import by, carries
from tests.roads.test_udp import associated

pytestmark = pytest.mark.usefixtures("nowhere")

MUX = ", mux: {type: sing-mux}"
PROXY = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'%s}}\n"
SECRET = "method: 2022-blake3-aes-128-gcm, password: 'AQEBAQEBAQEBAQEBAQEBAQ=='"
SEALED = f"inbounds: {{in: {{type: shadowsocks, listen: '127.0.0.1:0', {SECRET}%s}}}}\n"


def socks(place: Target, more: str = MUX) -> str:
    return by(f"{{type: socks, server: '{place}'{more}}}")


async def said(here: Road, target: Target, data: bytes = b"ball" * 30_000) -> None:
    link = await clients.linked(here.place("in"))
    assert await clients.socks5(link, target) == 0
    assert await clients.said(link, data) == data
    await clients.left(link)


@pytest.mark.parametrize("kind", ["socks", "http", "shadowsocks"])
async def test_every_protocol_carries_one(
    kind: str, road: RunRoad, echo: Target, echo6: Target
) -> None:
    server = SEALED % (", network: tcp" + MUX) if kind == "shadowsocks" else PROXY % MUX
    secret = f", {SECRET}" if kind == "shadowsocks" else ""
    async with road(server) as there:
        way = f"{{type: {kind}, server: '{there.place('in')}'{secret}{MUX}}}"
        async with road(by(way)) as here:
            for target in (echo, echo6, Target("localhost", echo.port)):
                await said(here, target)
            await there.settled(3)
            assert len({p.flow.source for p in there.app.ledger.past}) == 1, "one connection"
        async with road(by(way)) as here, road(server):
            there.app.ledger.past.clear()
            await carries(here, there)


async def test_many_flows_share_few_connections(road: RunRoad, echo: Target) -> None:
    more = ", mux: {type: sing-mux, max_connections: 2, min_streams: 3}"
    async with road(PROXY % MUX) as there, road(socks(there.place("in"), more)) as here:
        links = [await clients.linked(here.place("in")) for _ in range(20)]
        codes = await asyncio.gather(*(clients.socks5(link, echo) for link in links))
        assert codes == [0] * 20
        answers = await asyncio.gather(*(clients.said(link, b"x" * 9000) for link in links))
        assert all(answer == b"x" * 9000 for answer in answers)
        assert len({flow.flow.source for flow in there.app.ledger.live}) == 2
        assert there.app.ledger.room.taken == 20
        for link in links:
            await clients.left(link)
        await there.settled(20)


async def test_no_more_flows_than_a_connection_may_have(road: RunRoad, echo: Target) -> None:
    more = ", mux: {type: sing-mux, max_streams: 5}"
    async with road(PROXY % MUX) as there, road(socks(there.place("in"), more)) as here:
        links = []
        for _ in range(12):
            links.append(await clients.linked(here.place("in")))
            assert await clients.socks5(links[-1], echo) == 0
            assert await clients.said(links[-1], b"x") == b"x"
        assert len({flow.flow.source for flow in there.app.ledger.live}) == 3
        for link in links:
            await clients.left(link)


async def test_a_stalled_flow_stops_no_other(road: RunRoad, echo: Target) -> None:
    more = ", mux: {type: sing-mux, max_connections: 1}"
    async with road(PROXY % MUX) as there, road(socks(there.place("in"), more)) as here:
        stalled = await clients.linked(here.place("in"))
        assert await clients.socks5(stalled, echo) == 0
        stalled[0]._transport.pause_reading()  # type: ignore[attr-defined]
        stalled[1].write(bytes(30_000_000))
        await said(here, echo, b"y" * 3_000_000)
        stalled[1].transport.abort()


async def test_a_target_that_is_not_there(road: RunRoad, echo: Target) -> None:
    async with road(PROXY % MUX) as there, road(socks(there.place("in"))) as here:
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, clients.closed_port()) == 0
        link[1].write(b"anybody?")
        with pytest.raises(ConnectionResetError):
            await link[0].read()
        await clients.left(link)
        await here.settled(1)
        assert here.ended() == ["far side: connection refused"]
        await said(here, echo)  # the connection goes on


async def test_a_server_without_one_knows_no_such_host(road: RunRoad, echo: Target) -> None:
    async with road(PROXY % "") as there, road(socks(there.place("in"))) as here:
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) != 0
        await clients.left(link)


async def test_a_server_that_comes_back(road: RunRoad, echo: Target) -> None:
    async with AsyncExitStack() as stack:
        async with road(PROXY % MUX) as there:
            place = there.place("in")
            here = await stack.enter_async_context(road(socks(place)))
            await said(here, echo)
        async with road((PROXY % MUX).replace("127.0.0.1:0", str(place))):
            await said(here, echo)


async def test_an_idle_connection_is_given_up(
    road: RunRoad, echo: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muxed, "IDLE", 0.01)
    async with road(PROXY % MUX) as there, road(socks(there.place("in"))) as here:
        await said(here, echo)
        async with asyncio.timeout(60):
            while "a mux ended" not in there.log.read_text():
                await asyncio.sleep(0.01)
        await said(here, echo)


async def test_a_user_and_the_source_are_those_of_the_connection(
    road: RunRoad, echo: Target
) -> None:
    users = ", users: [{name: ann, password: secret}]" + MUX
    more = ", username: ann, password: secret" + MUX
    async with road(PROXY % users) as there, road(socks(there.place("in"), more)) as here:
        await said(here, echo)
        async with echoing("127.0.0.1") as four, associated(here.place("in")) as (sock, _):
            sock.transport.sendto(b"\0\0\0" + clients.packed(four) + b"hey")
            assert (await sock.next()).endswith(b"hey")
        await there.settled(2)
        past = there.app.ledger.past
        assert {p.flow.user for p in past} == {"ann"}
        assert {p.flow.network for p in past} == {Network.TCP, Network.UDP}


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("type: socks, version: 4, mux: {type: sing-mux}", "SOCKS4 does not support names"),
        ("type: http, udp_over_tcp: true, mux: {type: sing-mux}", "carries UDP by itself"),
        ("type: http, mux: {type: sing}", "unknown mux 'sing'"),
        ("type: http, mux: {type: sing-mux, protocol: smux}", "protocol"),
        ("type: http, mux: {type: sing-mux, streams: 3}", "did you mean"),
    ],
)
def test_what_does_not_fit_together(way: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_text(f"outbounds: {{a: {{server: 'proxy.example:1', {way}}}}}")
    assert why in str(refused.value)
