"""Groups on real roads: who is taken, who is tried next, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from byway.api import groups as asked
from byway.api.why import inquire, recall
from byway.app import App
from byway.app.naming import alone
from byway.config import judge_of, load_text
from byway.facts.finder import Finder
from byway.flow import Flow, Network, Target
from byway.outbounds.chooser import Select
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad

UPSTREAM = "inbounds: {mixed: {type: mixed, listen: '127.0.0.1:0'}}\n"
KINDS = ["{type: select", "{type: fastest", "{type: fallback"]
KINDS += [f"{{type: balance, by: {by}" for by in ("round-robin", "hash", "sticky")]


def through(outbounds: str, groups: str, last: str, more: str = "") -> str:
    """A config whose groups are not probed."""
    groups = re.sub("type: (fastest|fallback|balance)", r"type: \1, probe: {url: off}", groups)
    return (
        f"inbounds: {{in: {{type: mixed, listen: '127.0.0.1:0'{more}}}}}\n"
        f"outbounds: {{{outbounds}}}\n"
        f"groups: {{{groups}}}\n"
        f"rules: [{{otherwise: {last}}}]\n"
    )


def asked_of(app: App, flow: Flow, outbound: str) -> Mapping[str, dict[str, object]]:
    now = app.now
    return asked.choices(now.roster.choosers, flow, now.outbounds[outbound])


async def passed(run: Road, target: Target) -> tuple[str, ...]:
    """One flow through the road that says hello and ends; its chain."""
    before = len(run.app.ledger.past)
    link = await clients.linked(run.place("in"))
    assert await clients.socks5(link, target) == 0
    assert await clients.said(link, b"hello") == b"hello"
    await clients.left(link)
    await run.settled(before + 1)
    return run.app.ledger.past[-1].chain


@asynccontextmanager
async def silent() -> AsyncIterator[Target]:
    """A server that takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield Target.of(host, port)
    finally:
        server.close()
        for writer in held:
            writer.close()
        await server.wait_closed()


@pytest.mark.parametrize("kind", KINDS)
async def test_each_type_carries_and_its_chain_tells_the_member(
    road: RunRoad, echo: Target, kind: str
) -> None:
    async with road(UPSTREAM) as up:
        way = f"up: 'socks5://{up.place('mixed')}'"
        async with road(through(way, f"g: {kind}, members: up}}", "g")) as run:
            assert await passed(run, echo) == ("g", "up")
            assert "chain=g>up" in run.app.log.recent[-1]


@pytest.mark.parametrize("kind", KINDS[1:])
async def test_the_next_member_is_tried_in_the_same_flow(
    road: RunRoad, echo: Target, kind: str
) -> None:
    dead = clients.closed_port()
    ways = f"dead: 'socks5://{dead}'"
    async with road(through(ways, f"g: {kind}, members: [dead, direct]}}", "g")) as run:
        for _ in range(4):
            assert await passed(run, echo) == ("g", "direct")
        assert run.app.ledger.failed == 0
        steps = [step for flow in run.app.ledger.past for step in flow.steps]
        (failure,) = [step for step in steps if step.failed]  # once, and then it is out
        assert (failure.group, failure.member) == ("g", "dead")
        assert str(dead) in failure.why


async def test_select_tries_nothing_but_the_choice(road: RunRoad, echo: Target) -> None:
    ways = f"dead: 'socks5://{clients.closed_port()}'"
    async with road(through(ways, "g: {type: select, members: [dead, direct]}", "g")) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) != 0
        await clients.left(link)
        await run.settled(1)
        assert run.app.ledger.past[0].failed
        await run.app.select("g", "direct")
        assert await passed(run, echo) == ("g", "direct")
        with pytest.raises(ValueError, match="has no member nobody"):
            await run.app.select("g", "nobody")


async def test_groups_in_groups_and_under_via(road: RunRoad, echo: Target) -> None:
    dead = clients.closed_port()
    async with road(UPSTREAM) as one, road(UPSTREAM) as two:
        ways = (
            f"dead: 'socks5://{dead}', hop: 'http://{one.place('mixed')}', "
            f"far: {{type: socks, server: '{two.place('mixed')}', via: near}}"
        )
        groups = (
            "near: {type: fallback, members: [dead, hop]}, "
            "top: {type: fallback, members: [dead, inner]}, "
            "inner: {type: select, members: [far]}"
        )
        async with road(through(ways, groups, "top")) as run:
            assert await passed(run, echo) == ("top", "inner", "near", "hop", "far")
            told = [(s.group, s.member, s.failed) for s in run.app.ledger.past[0].steps]
            assert told == [
                ("top", "dead", False),
                ("top", "dead", True),
                ("top", "inner", False),
                ("inner", "far", False),
                ("near", "hop", False),  # the outer group learned already that it is dead
            ]
            assert (one.app.ledger.carried, two.app.ledger.carried) == (1, 1)


async def test_what_a_group_would_do_is_what_it_does(road: RunRoad, echo: Target) -> None:
    async with road(UPSTREAM) as up:
        ways = f"dead: 'socks5://{clients.closed_port()}', up: 'socks5://{up.place('mixed')}'"
        groups = (
            "a: {type: fallback, members: [dead, up]}, b: {type: balance, members: [a, direct]}, "
            "c: {type: select, members: [b, up]}"
        )
        text = through(ways, groups, "c")
        async with road(text) as run, alone(run.app.now.config) as it:
            app, names = run.app, Finder(run.app.names)  # the same resolver
            for _ in range(6):
                await passed(run, echo)
                flow = app.ledger.past[-1].flow
                live = partial(asked_of, app, flow)
                judge = app.now.judge
                why = await inquire(it.ways, judge, names, flow, live)
                chain = await passed(run, echo)
                assert [hop["name"] for hop in why["chain"]] == list(chain)  # type: ignore[attr-defined]
                past = recall(app.now.config, app.ledger.past[-1], judge)
                assert [hop["name"] for hop in past["chain"]] == list(chain)  # type: ignore[attr-defined]
                taken = [s for s in past["groups"] if not s["failed"]]  # type: ignore[attr-defined]
                assert [(s["group"], s["member"]) for s in taken][-1][1] == chain[-1]


async def test_why_without_a_running_byway_tells_what_would_be_first() -> None:
    ways = "a: 'socks5://127.0.0.1:9', b: 'http://127.0.0.1:9'"
    text = through(ways, "g: {type: fastest, members: [b, a]}", "g")
    config = load_text(text, "x.yaml")

    class Names:
        async def resolve(self, name: str) -> list[bytes]:
            return []

    for network, first in ((Network.TCP, "b"), (Network.UDP, "a")):
        flow = Flow(0, network, "in", None, Target.of("192.0.2.1", 443))
        async with alone(config) as it:
            why = await inquire(it.ways, judge_of(config), Finder(Names()), flow)
        assert [hop["name"] for hop in why["chain"]] == ["g", first]  # type: ignore[attr-defined]
        assert "no running Byway uses" in str(why["note"])


async def test_packets_leave_by_members_that_carry_them(road: RunRoad, udp_echo: Target) -> None:
    text = (
        "inbounds: {in: {type: forward, listen: '127.0.0.1:0', network: udp, target: '%s'}}\n"
        "outbounds: {web: 'http://127.0.0.1:9', dead: 'socks5://%s'}\n"
        "groups: {g: {type: fallback, members: [web, dead, direct], probe: {url: off}},\n"
        "  w: {type: select, members: web}}\n"
        "rules: [{otherwise: g}]\n"
    )

    class Said(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.heard.set_result(data)

    async with road(text % (udp_echo, clients.closed_port())) as run, asyncio.timeout(60):
        assert run.app.now.outbounds["w"].networks == {Network.TCP}
        place = run.place("in")
        transport, said = await asyncio.get_running_loop().create_datagram_endpoint(
            Said, remote_addr=(place.host, place.port)
        )
        transport.sendto(b"hello")
        assert await said.heard == b"hello"
        transport.close()
        (flow,) = run.app.ledger.live
        assert flow.chain == ("g", "direct")
        tried = [(step.member, step.failed) for step in flow.steps]
        assert tried == [("dead", False), ("dead", True), ("direct", False)]


async def test_a_guarded_flow_is_guarded_in_a_group(road: RunRoad, echo: Target) -> None:
    groups = "g: {type: fallback, members: [direct]}"
    async with road(through("", groups, "g", ", allow_local: false")) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 2  # not allowed by rules
        await clients.left(link)
        assert run.app.now.roster.healths["direct"].rank(Network.TCP, 0.0).failures == 0


async def test_a_member_that_says_nothing_gives_way_in_time(road: RunRoad, echo: Target) -> None:
    async with silent() as mute:
        text = through(
            f"mute: 'socks5://{mute}'", "g: {type: fallback, members: [mute, direct]}", "g"
        )
        async with road("limits: {dial: 1s}\n" + text) as run, asyncio.timeout(60):
            assert await passed(run, echo) == ("g", "direct")
            failure = run.app.ledger.past[0].steps[1]
            assert failure.failed
            assert "no answer within 0.5 s" in failure.why


async def test_when_all_fail_the_error_tells_of_each(road: RunRoad, echo: Target) -> None:
    one, two = clients.closed_port(), clients.closed_port()
    ways = f"a: 'socks5://{one}', b: 'http://{two}'"
    async with road(through(ways, "g: {type: fallback, members: [a, b]}", "g")) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) != 0
        await clients.left(link)
        await run.settled(1)
        (reason,) = run.ended()
        assert reason.startswith("g: all members failed: a: ")
        assert str(one) in reason
        assert str(two) in reason


async def test_a_choice_outlives_restarts_and_reloads(tmp_path: Path) -> None:
    head = (
        f"log: {{file: {tmp_path}/log}}\ninbounds: {{in: {{type: socks, listen: '127.0.0.1:0'}}}}\n"
    )
    members = "groups: {g: {type: select, members: [%s], default: direct}}\n"
    both = load_text(head + members % "direct, 'socks5://127.0.0.1:9#far'", "x.yaml")
    alone = load_text(head + members % "direct", "x.yaml")

    def taken(app: App) -> tuple[str, str | None]:
        chooser = app.now.roster.choosers["g"]
        assert isinstance(chooser, Select)
        return chooser.selected, chooser.choice

    async with App(both, memory=tmp_path / "memory") as app:
        assert taken(app) == ("direct", None)
        assert await app.select("g", "far") == ""
        await app.reload(load_text(head + members % "'socks5://127.0.0.1:9#far', direct", "x.yaml"))
        assert taken(app) == ("far", "far")
    assert json.loads((tmp_path / "memory" / "choices.json").read_text()) == {
        "choices": {"g": "far"}
    }
    async with App(both, memory=tmp_path / "memory") as app:
        assert taken(app) == ("far", "far")
        await app.reload(alone)
        assert taken(app) == ("direct", "far")
        assert any("the selected member is gone" in line for line in app.log.recent)
        await app.reload(both)
        assert taken(app) == ("far", "far")


async def test_a_reload_keeps_the_health_of_what_is_the_same(tmp_path: Path) -> None:
    def config(a: int, tolerance: str, more: str = "") -> str:
        return (
            f"log: {{file: {tmp_path}/log}}\n"
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            f"outbounds: {{a: 'socks5://127.0.0.1:{a}', b: 'socks5://127.0.0.1:9'{more}}}\n"
            f"groups: {{g: {{type: fastest, members: [a, b], tolerance: {tolerance}}},\n"
            " h: {type: fallback, members: [g, direct]}}\n"
        )

    async with App(load_text(config(1, "5ms"), "x.yaml")) as app:
        healths, groups = dict(app.now.roster.healths), dict(app.now.outbounds)
        await app.reload(load_text(config(1, "5ms", ", c: 'socks5://127.0.0.1:7'"), "x.yaml"))
        assert app.now.outbounds["h"] is groups["h"]
        assert app.now.outbounds["g"] is groups["g"]
        await app.reload(load_text(config(1, "6ms"), "x.yaml"))
        assert app.now.outbounds["g"] is not groups["g"]
        assert app.now.outbounds["h"] is not groups["h"]  # it leaves through g
        assert app.now.roster.healths == healths
        await app.reload(load_text(config(2, "6ms"), "x.yaml"))
        assert app.now.roster.healths["a"] is not healths["a"]
        assert app.now.roster.healths["b"] is healths["b"]


async def test_what_never_answers_is_out_after_a_few_flows(road: RunRoad, echo: Target) -> None:
    """A shadowsocks dial succeeds with whoever takes the connection; what comes back tells more."""
    async with silent() as mute:
        ways = f"ss: 'ss://YWVzLTEyOC1nY206cHc@{mute}'"
        text = through(ways, "g: {type: fallback, members: [ss, direct]}", "g")
        async with road(text) as run, asyncio.timeout(60):
            for flows in range(1, 4):
                link = await clients.linked(run.place("in"))
                assert await clients.socks5(link, echo) == 0
                link[1].write(b"hello")
                await link[1].drain()
                while not any(flow.up for flow in run.app.ledger.live):
                    await asyncio.sleep(0.001)
                await clients.left(link)
                run.app.ledger.cut(flows)
                await run.settled(flows)
                assert run.app.ledger.past[-1].chain == ("g", "ss")
            assert await passed(run, echo) == ("g", "direct")
            told = run.app.ledger.past[-1].steps[0].ranking[0]
            assert (told.member, told.why) == ("ss", "sent data got no response")


async def test_why_asks_a_group_under_via_for_the_server_it_leads_to(
    road: RunRoad, echo: Target
) -> None:
    async with road(UPSTREAM) as one, road(UPSTREAM) as two:
        ways = (
            f"a: 'socks5://{one.place('mixed')}', b: 'http://{two.place('mixed')}', "
            f"far: {{type: socks, server: '{one.place('mixed')}', via: near}}"
        )
        text = through(ways, "near: {type: balance, by: hash, members: [a, b]}", "far")
        async with road(text) as run, alone(run.app.now.config) as it:
            chain = await passed(run, echo)
            app, members = run.app, set()
            for number in range(20):
                flow = Flow(0, Network.TCP, "in", None, Target.of(f"site{number}.example", 443))
                finder, judge = Finder(app.names), app.now.judge
                why = await inquire(it.ways, judge, finder, flow, partial(asked_of, app, flow))
                assert [hop["name"] for hop in why["chain"]] == list(chain)  # type: ignore[attr-defined]
                members.add(asked.choices(app.now.roster.choosers, flow)["near"]["member"])
            assert members == {"a", "b"}  # for those targets themselves it would be either
