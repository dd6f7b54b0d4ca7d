"""Probes: when they are due, what they ask, what is made of it. By a real server and a clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from byway.app import App
from byway.config import load_text
from byway.engine import Engine
from byway.errors import Unreachable
from byway.flow import Dial, Network, State, Target
from byway.interfaces import Stream
from byway.outbounds.chooser import Chooser, Fallback, Fastest, Select
from byway.outbounds.direct import Direct
from byway.outbounds.health import Health
from byway.outbounds.own import Own
from byway.outbounds.probe import Asking, Mute, probed
from byway.outbounds.prober import Probing, due, leaves
from byway.protocols.web_address import WebAddress

EVERY = 60.0


def made(kind: type[Fallback] | type[Fastest]) -> tuple[Probing, Health, list[float]]:
    """A group with one member, and its clock."""
    now = [1000.0]

    def clock() -> float:
        return now[0]

    health = Health("a", clock)
    carries = {Network.TCP: [health], Network.UDP: []}
    mind: Chooser
    if kind is Fastest:
        mind = Fastest("g", carries, 0.05, False, clock)
    else:
        mind = Fallback("g", carries, False, clock)
    asking = Asking(WebAddress.parse("http://www.example/"))
    return Probing(mind, asking, EVERY), health, now


@pytest.mark.parametrize("kind", [Fallback, Fastest])
def test_nothing_is_due_while_the_group_is_out_of_use(kind: type[Fallback]) -> None:
    probing, health, now = made(kind)
    assert due(probing, health, now[0]) is None
    probing.chooser.use(now[0])
    assert due(probing, health, now[0]) == now[0]
    now[0] += EVERY
    assert due(probing, health, now[0]) is None


def test_a_member_that_flows_test_is_not_probed() -> None:
    probing, health, now = made(Fallback)
    probing.chooser.use(now[0])
    for _ in range(100):
        now[0] += EVERY / 2
        probing.chooser.use(now[0])
        health.succeeded(Network.TCP, now[0] - 0.1)
        assert due(probing, health, now[0]) == now[0] + EVERY
    began = now[0]
    now[0] += EVERY
    probing.chooser.use(now[0])
    assert due(probing, health, now[0]) == began + EVERY


def test_a_member_that_is_out_is_probed_when_it_may_come_back() -> None:
    probing, health, now = made(Fallback)
    probing.chooser.use(now[0])
    health.failed(Network.TCP, now[0] - 1, "broken")
    back = health.score(Network.TCP).out
    assert due(probing, health, now[0]) == back
    now[0] = back + 1
    probing.chooser.use(now[0])
    assert due(probing, health, now[0]) == now[0]


def test_who_compares_asks_once_also_those_that_flows_test() -> None:
    probing, health, now = made(Fastest)
    probing.chooser.use(now[0])
    health.succeeded(Network.TCP, now[0] - 0.1)
    assert due(probing, health, now[0]) == now[0]
    health.probed = now[0]
    health.answered(0.2)
    assert due(probing, health, now[0]) == now[0] + EVERY


def test_a_group_in_a_group_is_probed_by_its_first_member() -> None:
    healths = [Health("a"), Health("b")]
    carries = {Network.TCP: healths, Network.UDP: []}
    inner = Select("inner", carries, "b")
    outer = Fallback("outer", {Network.TCP: [healths[0], inner], Network.UDP: []})
    assert [health.name for health in leaves(outer)] == ["a", "b"]


class Names:
    async def resolve(self, name: str) -> list[bytes]:
        return []


async def plain(stream: Stream, name: str) -> Stream:
    raise AssertionError(name)


@asynccontextmanager
async def web(answer: Callable[[], bytes]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A web server that answers so; its address, and the requests it got."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if said := answer():
                writer.write(said)
                await writer.drain()
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/here?q=1", asked
    finally:
        server.close()
        await server.wait_closed()


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "said 503"),
        (b"SSH-2.0-x\r\n\r\n", "127.0.0.1:"),
        (b"HTTP/1.1 204", "end of stream"),
        (b"", "did not answer within 0.3 s"),
    ],
)
async def test_a_wrong_answer_is_told(answer: bytes, told: str) -> None:
    engine = Engine()
    async with web(lambda: answer) as (url, _):
        asking = Asking(WebAddress.parse(url), timeout=0.3)
        with pytest.raises(Mute, match=told):
            await probed(Direct("direct", engine, Names()), asking, plain)
    await engine.close()


async def test_an_answer_is_timed_and_the_status_counts() -> None:
    engine = Engine()
    way = Direct("direct", engine, Names())
    async with web(lambda: NO_CONTENT) as (url, asked):
        found = await probed(way, Asking(WebAddress.parse(url)), plain)
        found.stream.close()
        assert found.dial > 0
        assert found.answer > 0
        assert asked[0].startswith(b"GET /here?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")
        with pytest.raises(Mute, match="said 204"):
            await probed(way, Asking(WebAddress.parse(url), expect=(200,)), plain)
    with pytest.raises(Unreachable):
        await probed(way, Asking(WebAddress.parse(url)), plain)
    await engine.close()


CONFIG = """
log: {{file: {folder}/log}}
inbounds: {{in: {{type: socks, listen: "127.0.0.1:0"}}}}
outbounds: {{dead: "socks5://127.0.0.1:{dead}"}}
groups:
  g: {{type: fastest, members: [dead, direct], probe: {{url: "{url}", every: 5s, timeout: 1s}}}}
rules: [{{otherwise: g}}]
"""


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_byway_probes_what_is_used_and_nothing_else(tmp_path: Path) -> None:
    dead = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = dead.sockets[0].getsockname()[1]
    async with web(lambda: NO_CONTENT) as (url, asked):
        text = CONFIG.format(folder=tmp_path, dead=port, url=url)
        async with App(load_text(text, "x.yaml")) as app:
            await app.reload(load_text(text.replace("5s", "6s"), "x.yaml"))
            healths = app.now.roster.healths
            assert app.keepers.prober is not None
            assert app.keepers.prober.probes == 0
            at = Own(app.now.outbounds["g"])
            address = WebAddress.parse(url)
            stream = await at.connect(Dial(Target.of(address.host, address.port)))
            stream.close()
            await until(lambda: len(asked) >= 1)
            await until(lambda: healths["direct"].score(Network.TCP).answer is not None)
            assert healths["dead"].rank(Network.TCP, healths["dead"].clock()).state is State.OUT
            assert app.keepers.prober.probes >= 1
        count = len(asked)
    dead.close()
    await dead.wait_closed()
    assert count <= 3
