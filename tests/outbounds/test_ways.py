"""Ways of outbounds: what is equal, what is remembered, and whose fault a failed dial was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import pytest

from byway.app import App
from byway.config import load_text
from byway.errors import BywayError
from byway.flow import Dial, Flow, Network, State, Target
from byway.interfaces import Way
from byway.outbounds.own import Own
from tests.roads import clients

DOOR = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"


def flow(host: str = "www.example.com", network: Network = Network.TCP) -> Flow:
    return Flow(1, network, "in", Target.of("192.0.2.1", 5), Target.of(host, 443))


@asynccontextmanager
async def babbling() -> AsyncIterator[Target]:
    """A server that speaks no protocol of a proxy."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"who are you?")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield Target.of(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


async def test_an_outbound_without_a_choice_has_one_way_for_all() -> None:
    text = "outbounds: {a: 'socks5://127.0.0.1:9', b: {type: http, server: 'b.example:1', via: a}}"
    async with App(load_text(DOOR + text, "x.yaml")) as app:
        for name, chain in (("direct", ("direct",)), ("a", ("a",)), ("b", ("a", "b"))):
            outbound = app.now.outbounds[name]
            (way,) = outbound.ways(flow())
            assert way is outbound.only
            assert (way.chain, way.steps) == (chain, ())
            (again,) = outbound.ways(flow("other.example", Network.UDP))
            assert again is way


async def test_equal_ways_are_found_again_and_others_are_not() -> None:
    text = (
        "outbounds: {a: 'socks5://127.0.0.1:9', b: 'socks5://127.0.0.1:8',"
        " far: {type: socks, server: 'far.example:1', via: near}}\n"
        "groups: {near: {type: balance, members: [a, b], by: hash},"
        " top: {type: fallback, members: [far, a]}}"
    )
    async with App(load_text(DOOR + text, "x.yaml")) as app:

        def ways(name: str, host: str = "www.example.com") -> list[Way]:
            found = []
            for way in app.now.outbounds[name].ways(flow(host)):
                found.append(way)
                if len(found) == 2:
                    break
                assert way.failed(TimeoutError("late"))
            return found

        first, second = ways("top"), ways("top")
        assert [way.chain for way in first] == [
            ("top", "near", *first[0].chain[2:3], "far"),
            first[1].chain,
        ]
        assert first[0] == second[0]
        assert hash(first[0]) == hash(second[0])
        assert first[0] is not second[0]
        assert first[0] != first[1]
        assert ways("near")[0] != first[0]
        # The group under `via` chooses for the server, and not for the target.
        assert len({ways("far", f"site{n}.example")[0] for n in range(20)}) == 1
        assert len({ways("near", f"site{n}.example")[0] for n in range(20)}) == 2


async def test_a_peek_remembers_nothing() -> None:
    text = "groups: {g: {type: balance, members: ['socks5://127.0.0.1:9#a', direct]}}"
    async with App(load_text(DOOR + text, "x.yaml")) as app:
        group = app.now.outbounds["g"]

        def first(peek: bool) -> tuple[str, ...]:
            (way,) = islice(group.ways(flow(), peek=peek), 1)
            return way.chain

        assert [first(peek=True) for _ in range(3)] == [("g", "a")] * 3
        assert app.now.roster.choosers["g"].used is None
        assert [first(peek=False) for _ in range(3)] == [("g", "a"), ("g", "direct"), ("g", "a")]
        assert app.now.roster.choosers["g"].used is not None


async def test_a_hop_is_not_blamed_for_what_fails_beyond_it() -> None:
    async with babbling() as odd, App(load_text(DOOR, "up.yaml")) as up:
        text = (
            f"outbounds: {{hop: 'socks5://{up.addresses['in'][0]}',"
            f" far: {{type: socks, server: '{odd}', via: near}}}}\n"
            "groups: {near: {type: fallback, members: [hop], probe: {url: off}},"
            " top: {type: fallback, members: [far], probe: {url: off}}}"
        )
        async with App(load_text(DOOR + text, "x.yaml")) as app:
            with pytest.raises(BywayError, match=r"^far: "):
                await Own(app.now.outbounds["top"]).connect(Dial(Target.of("192.0.2.1", 1)))
            hop, far = (app.now.roster.healths[name] for name in ("hop", "far"))
            assert hop.rank(Network.TCP, hop.clock()).state is State.WELL
            assert hop.score(Network.TCP).went == 1
            assert far.rank(Network.TCP, far.clock()).state is State.OUT


async def test_a_dead_hop_is_to_blame_and_so_is_what_goes_by_it() -> None:
    dead = clients.closed_port()
    text = (
        f"outbounds: {{hop: 'socks5://{dead}',"
        " far: {type: socks, server: 'far.example:1', via: hop}}\n"
        "groups: {g: {type: fallback, members: [hop, far], probe: {url: off}}}"
    )
    async with App(load_text(DOOR + text, "x.yaml")) as app:
        with pytest.raises(BywayError, match="all members failed"):
            await Own(app.now.outbounds["g"]).connect(Dial(Target.of("192.0.2.1", 1)))
        for name in ("hop", "far"):
            score = app.now.roster.healths[name].score(Network.TCP)
            assert str(dead) in score.why


async def test_a_full_limit_sends_a_flow_on_and_is_nobodys_fault() -> None:
    async with App(load_text(DOOR, "up.yaml")) as up:
        place = up.addresses["in"][0]
        text = (
            f"outbounds: {{a: {{type: socks, server: '{place}', limit: {{flows: 1}}}}}}\n"
            "groups: {g: {type: fallback, members: [a, direct], probe: {url: off}}}\n"
            "rules: [{otherwise: g}]"
        )
        echo = await asyncio.start_server(clients_echo, "127.0.0.1", 0)
        async with echo, App(load_text(DOOR + text, "x.yaml")) as app:
            target = Target.of(*echo.sockets[0].getsockname())
            links = []
            for chain in (("g", "a"), ("g", "direct")):
                link = await clients.linked(Target.parse(app.addresses["in"][0]))
                assert await clients.socks5(link, target) == 0
                links.append(link)
                assert list(app.ledger.live)[-1].chain == chain
            failed = [step for step in list(app.ledger.live)[-1].steps if step.failed]
            assert [step.member for step in failed] == ["a"]
            assert app.now.roster.healths["a"].score(Network.TCP).failed == 0
            for link in links:
                await clients.left(link)


async def clients_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_packets_inside_a_stream_leave_by_a_group_without_packets() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        async with App(load_text(DOOR, "up.yaml")) as up:
            place = up.addresses["in"][0]
            text = (
                f"outbounds: {{web: 'http://{place}',"
                f" far: {{type: socks, server: '{place}', via: near, udp_over_tcp: true}}}}\n"
                "groups: {near: {type: select, members: web}}"
            )
            async with App(load_text(DOOR + text, "x.yaml")) as app:
                assert app.now.outbounds["near"].networks == {Network.TCP}
                target = Target.of(*server.getsockname())
                far, located = await Own(app.now.outbounds["far"]).packets(Dial(target))
                assert located == target
                far.close()
