"""Each inbound by each outbound: TCP, by every kind of target, in chains, and what goes wrong."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from byway.flow import Target
from tests.machine import needs_ipv6
from tests.roads import clients
from tests.roads.conftest import RunRoad, served

pytestmark = pytest.mark.usefixtures("nowhere")

ASKS = {"socks5": clients.socks5, "socks4a": clients.socks4a, "http": clients.http}

PLAIN = "inbounds: {in: {type: %s, listen: '127.0.0.1:0'}}\n"
UPSTREAMS = """
inbounds:
  mixed: {type: mixed, listen: "127.0.0.1:0"}
  locked: {type: mixed, listen: "127.0.0.1:0", users: {name: ann, password: "p:w"}}
"""


def through(ways: str, last: str) -> str:
    return (
        "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
        f"outbounds: {{{ways}}}\n"
        f"rules: [{{otherwise: {last}}}]\n"
    )


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("form", ["address", "name"])
async def test_mixed_carries_each_protocol(
    road: RunRoad, echo: Target, ask: str, form: str
) -> None:
    target = echo if form == "address" else Target.of("localhost", echo.port)
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, target) == 0
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert (passage.up, passage.down) == (5, 5)
        assert passage.chain == ("direct",)
        assert str(passage.flow.target) == str(target)


@pytest.mark.parametrize("ask", ["socks5", "http"])
async def test_reaches_ipv6(road: RunRoad, echo6: Target, ask: str) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, echo6) == 0
        assert await clients.said(link, b"six") == b"six"
        await clients.left(link)


@pytest.mark.parametrize(("kind", "wrong"), [("socks", "http"), ("http", "socks5")])
async def test_single_protocol_inbounds_refuse_the_other(
    road: RunRoad, echo: Target, kind: str, wrong: str
) -> None:
    right = {"socks": "socks5", "http": "http"}[kind]
    async with road(PLAIN % kind) as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[right](link, echo) == 0
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        link = await clients.linked(run.place("in"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, KeyError, IndexError)):
            await ASKS[wrong](link, echo)
        await clients.left(link)


@needs_ipv6
async def test_listens_on_several_addresses(road: RunRoad, echo: Target, tmp_path: Path) -> None:
    path = tmp_path / "byway.sock"
    text = f'inbounds: {{in: {{type: mixed, listen: ["127.0.0.1:0", "[::1]:0", "unix:{path}"]}}}}'
    async with road(text) as run:
        for place in (run.place("in", 0), run.place("in", 1), str(path)):
            link = await clients.linked(place)
            assert await clients.socks5(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
    assert not path.exists()


async def test_forward_goes_to_its_target(road: RunRoad, echo: Target) -> None:
    async with road(
        f"inbounds: {{door: {{type: forward, listen: '127.0.0.1:0', target: '{echo}'}}}}"
    ) as run:
        link = await clients.linked(run.place("door"))
        assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)


async def test_forward_lets_the_server_talk_first(road: RunRoad) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with road(
        f"inbounds: {{door: {{type: forward, listen: '127.0.0.1:0', target: '127.0.0.1:{port}'}}}}"
    ) as run:
        link = await clients.linked(run.place("door"))
        assert await link[0].read() == b"220 hello"
        await clients.left(link)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("kind", ["socks", "http"])
@pytest.mark.parametrize("inbound", ["mixed", "locked"])
async def test_leaves_through_a_proxy(road: RunRoad, echo: Target, kind: str, inbound: str) -> None:
    async with road(UPSTREAMS) as far:
        login = ", username: ann, password: 'p:w'" if inbound == "locked" else ""
        ways = f"a: {{type: {kind}, server: '{far.place(inbound)}'{login}}}"
        async with road(through(ways, "a")) as run:
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, Target.of("localhost", echo.port)) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
            await run.settled(1)
            assert run.app.ledger.past[0].chain == ("a",)
        await far.settled(1)
        assert far.app.ledger.past[0].flow.user == ("ann" if login else None)


@pytest.mark.parametrize("version", ["4", "4a"])
async def test_leaves_through_old_socks(road: RunRoad, echo: Target, version: str) -> None:
    async with road(UPSTREAMS) as far:
        ways = f"a: {{type: socks, version: '{version}', server: '{far.place('mixed')}'}}"
        async with road(through(ways, "a")) as run:
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, Target.of("localhost", echo.port)) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
        await far.settled(1)
        assert far.app.ledger.past[0].flow.target.is_name == (version == "4a")


@pytest.mark.parametrize("kinds", [("socks", "http"), ("http", "socks"), ("http", "socks", "http")])
async def test_chains(road: RunRoad, echo: Target, kinds: tuple[str, ...]) -> None:
    async with road(UPSTREAMS) as far:
        server = far.place("mixed")
        ways, before = [], ""
        for at, kind in enumerate(kinds):
            ways.append(f"hop{at}: {{type: {kind}, server: '{server}'{before}}}")
            before = f", via: hop{at}"
        async with road(through(", ".join(ways), f"hop{len(kinds) - 1}")) as run:
            link = await clients.linked(run.place("in"))
            assert await clients.http(link, echo) == 0
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
            await run.settled(1)
            assert run.app.ledger.past[0].chain == tuple(f"hop{at}" for at in range(len(kinds)))
        await far.settled(len(kinds))


@pytest.mark.parametrize(("ask", "code"), [("socks5", 5), ("socks4a", 0x5B), ("http", 502)])
async def test_says_that_the_target_refuses(road: RunRoad, ask: str, code: int) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, clients.closed_port()) == code
        await clients.left(link)
        await run.settled(1)
        assert run.ended()[0].endswith("connection refused")


@pytest.mark.parametrize(("ask", "code"), [("socks5", 4), ("http", 502)])
async def test_says_that_the_name_is_unknown(road: RunRoad, ask: str, code: int) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, Target.of("no-such-host.invalid", 80)) == code
        await clients.left(link)


@pytest.mark.parametrize(("ask", "code"), [("socks5", 1), ("http", 502)])
async def test_says_that_the_proxy_is_down(road: RunRoad, ask: str, code: int) -> None:
    ways = f"a: {{type: socks, server: '{clients.closed_port()}'}}"
    async with road(through(ways, "a")) as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, Target.of("example.com", 80)) == code
        await clients.left(link)
        await run.settled(1)
        assert "a: cannot reach its server" in run.ended()[0]


async def test_says_that_the_name_of_the_proxy_is_unknown(road: RunRoad) -> None:
    ways = (
        "a: {type: socks, server: 'no-such-host.invalid:1'}, b: {type: http, server: 'h:1', via: a}"
    )
    async with road(through(ways, "b")) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.http(link, Target.of("example.com", 80)) == 502
        await clients.left(link)
        await run.settled(1)
        assert run.ended()[0].startswith("a: cannot reach its server no-such-host.invalid:1")


@pytest.mark.parametrize("kind", ["socks", "http"])
async def test_gives_up_on_a_silent_proxy(road: RunRoad, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        ways = f"a: {{type: {kind}, server: '{where}'}}, b: {{type: http, server: 'h:1', via: a}}"
        async with road("limits: {dial: 200ms}\n" + through(ways, "b")) as run:
            link = await clients.linked(run.place("in"))
            assert await clients.http(link, Target.of("example.com", 80)) == 504
            await clients.left(link)
            await run.settled(1)
            why = f"dialling took too long (limits.dial); a at {where} did not answer"
            assert run.ended() == [why]


async def test_a_wrong_password_upstream_is_told(road: RunRoad, echo: Target) -> None:
    async with road(UPSTREAMS) as far:
        ways = f"a: {{type: socks, server: '{far.place('locked')}', username: ann, password: no}}"
        async with road(through(ways, "a")) as run:
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, echo) == 1
            await clients.left(link)
            await run.settled(1)
            assert "user or password" in run.ended()[0]
            assert "no" not in run.log.read_text().split("password")[-1].split()


@pytest.mark.parametrize("login", [None, ("ann", "wrong"), ("bob", "p:w")])
async def test_users_are_asked_for(
    road: RunRoad, echo: Target, login: tuple[str, str] | None
) -> None:
    async with road(UPSTREAMS) as run:
        for ask, codes in ((clients.socks5, {0xFE, 0xFF}), (clients.http, {407})):
            link = await clients.linked(run.place("locked"))
            assert await ask(link, echo, login) in codes
            await clients.left(link)
            link = await clients.linked(run.place("locked"))
            assert await ask(link, echo, ("ann", "p:w")) == 0
            assert await clients.said(link, b"in") == b"in"
            await clients.left(link)


@pytest.mark.parametrize(("ask", "code"), [("socks5", 2), ("socks4a", 0x5B), ("http", 403)])
async def test_reject_says_no(road: RunRoad, echo: Target, ask: str, code: int) -> None:
    text = PLAIN % "mixed" + "rules: [{otherwise: reject}]"
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        assert await ASKS[ask](link, echo) == code
        await clients.left(link)


@pytest.mark.parametrize("ask", ASKS)
async def test_drop_says_nothing(road: RunRoad, echo: Target, ask: str) -> None:
    text = PLAIN % "mixed" + "rules: [{otherwise: drop}]\nlimits: {drop: off}"
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ASKS[ask](link, echo)
        await clients.left(link)


@pytest.mark.parametrize("ask", ASKS)
async def test_drop_holds_the_connection_open(road: RunRoad, echo: Target, ask: str) -> None:
    text = PLAIN % "mixed" + "rules: [{otherwise: drop}]\nlimits: {drop: 1s}"
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ASKS[ask](link, echo)
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert passage.duration >= 1
        assert passage.reason == "dropped by a rule"
        await clients.left(link)


async def test_one_who_leaves_a_drop_is_let_go_and_so_is_all_at_the_end(
    road: RunRoad, echo: Target
) -> None:
    text = PLAIN % "mixed" + "rules: [{otherwise: drop}]\nlimits: {drop: 10m}"
    async with road(text) as run:
        leaving, staying = [await clients.linked(run.place("in")) for _ in range(2)]
        for link in (leaving, staying):
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(echo).encode())
        await clients.left(leaving)
        await run.settled(1)
        while [one.reason for one in run.app.ledger.live] != ["dropped by a rule"]:
            await asyncio.sleep(0.001)  # a request that nobody has read makes a reset of the end
        await run.app.drain()
        assert await staying[0].read() == b""
        await clients.left(staying)


async def test_no_more_than_so_many_are_held(road: RunRoad, echo: Target) -> None:
    text = PLAIN % "mixed" + "rules: [{otherwise: drop}]\nlimits: {drop: 10m, flows: 40}"
    async with road(text) as run:
        links = [await clients.linked(run.place("in")) for _ in range(18)]
        for link in links:
            link[1].write(b"GET http://%b/ HTTP/1.1\r\n\r\n" % str(echo).encode())
        await run.settled(2)  # of 18: sixteen wait
        assert len(run.app.ledger.live) == 16
        for link in links:
            await clients.left(link)
        await run.settled(18)


async def test_a_rule_about_addresses_resolves_names(road: RunRoad, echo: Target) -> None:
    text = PLAIN % "mixed" + "rules: [{ip: [127.0.0.0/8, '::1'], to: reject}, {otherwise: direct}]"
    async with road(text) as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, Target.of("localhost", echo.port)) == 2
        await clients.left(link)


async def test_a_guarded_inbound_keeps_off_this_host(road: RunRoad, echo: Target) -> None:
    text = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0', allow_local: false}}"
    async with road(text) as run:
        for host in ("127.0.0.1", "localhost", "::1", "169.254.169.254", "0.0.0.0", "127.1"):
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, Target.of(host, echo.port)) == 2, host
            await clients.left(link)


async def test_half_closes_pass(road: RunRoad) -> None:
    whole = b"".join(b"%d" % n for n in range(1000))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, Target.of("127.0.0.1", port)) == 0
        link[1].write(whole)
        link[1].write_eof()
        assert await link[0].read() == whole
        await clients.left(link)
    server.close()
    await server.wait_closed()


async def test_early_data_is_not_lost(road: RunRoad, echo: Target) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        link[1].write(b"\5\1\0" + b"\5\1\0" + clients.packed(echo) + b"early")
        assert await link[0].readexactly(2 + 10 + 5) == (
            b"\5\0" + b"\5\0\0\1" + bytes(6) + b"early"
        )
        await clients.left(link)


async def test_one_bad_client_harms_no_other(road: RunRoad, echo: Target) -> None:
    async with road(PLAIN % "mixed") as run:
        good = await clients.linked(run.place("in"))
        assert await clients.socks5(good, echo) == 0
        bads = (
            b"\5",
            b"\5\0",
            b"\4\1",
            b"\x16\x03\x01" + bytes(40),
            b"GET / HTTP/1.1\r\n\r\n",
        )
        for bad in bads:
            link = await clients.linked(run.place("in"))
            link[1].write(bad)
            link[1].write_eof()
            await link[0].read()
            await clients.left(link)
        assert await clients.said(good, b"still") == b"still"
        await clients.left(good)
    lines = [line for line in run.log.read_text().splitlines() if "handshake failed" in line]
    assert len(lines) == len(bads)
    assert all(" source=127.0.0.1:" in line for line in lines)


async def test_a_client_that_says_half_is_given_up(road: RunRoad) -> None:
    text = "limits: {handshake: 200ms}\n" + PLAIN % "mixed"
    async with road(text) as run:
        for half in (b"\5\1", b"CONNECT a:1 HT"):
            link = await clients.linked(run.place("in"))
            link[1].write(half)
            await link[0].read()
            await clients.left(link)


async def test_sources_are_limited(road: RunRoad, echo: Target) -> None:
    text = "limits: {flows_per_source: 2}\n" + PLAIN % "mixed"
    async with road(text) as run:
        links = []
        for _ in range(2):
            links.append(await clients.linked(run.place("in")))
            assert await clients.socks5(links[-1], echo) == 0
        third = await clients.linked(run.place("in"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, AssertionError)):
            assert await clients.socks5(third, echo) == 0
        for link in (*links, third):
            await clients.left(link)


async def test_a_live_flow_can_be_cut(road: RunRoad, echo: Target) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        assert await clients.said(link, b"on") == b"on"
        (passage,) = run.app.ledger.live
        assert run.app.ledger.cut(passage.flow.id)
        with pytest.raises(ConnectionResetError):
            await link[0].read()
        await clients.left(link)
        await run.settled(1)
        assert run.ended() == ["cut by a user"]
        assert not run.app.ledger.cut(passage.flow.id)


async def test_drains(road: RunRoad, echo: Target) -> None:
    async with road(PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        draining = asyncio.ensure_future(run.app.drain())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await clients.linked(run.place("in"))
        assert await clients.said(link, b"last") == b"last"
        await clients.left(link)
        await asyncio.wait_for(draining, 2)
        assert run.ended() == ["closed"]


async def test_stops_in_the_middle(road: RunRoad, echo: Target) -> None:
    async with road("limits: {drain: 0s}\n" + PLAIN % "mixed") as run:
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo) == 0
        await run.app.drain()
    with pytest.raises(ConnectionResetError):
        await link[0].read()
    await clients.left(link)
    assert run.ended() == ["Byway stopped"]
    assert 'end="Byway stopped"' in run.log.read_text()


async def test_many_at_once(road: RunRoad) -> None:
    async with served(lambda data: data, "127.0.0.1") as target, road(PLAIN % "mixed") as run:

        async def one(number: int) -> None:
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, target) == 0
            data = b"%d" % number * 100
            assert await clients.said(link, data) == data
            await clients.left(link)

        await asyncio.gather(*(one(number) for number in range(200)))
        await run.settled(200)
        assert not run.app.ledger.live
