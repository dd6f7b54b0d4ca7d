"""Groups under load: members die, come back and change, and not one flow is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from byway.app import App
from byway.config import load_text
from byway.flow import Network, State, Target
from tests.roads import clients
from tests.roads.conftest import RunRoad

CLIENTS = 8
ENOUGH = 60  # flows in each part of the play

UP = "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
KINDS = ["fastest", "fallback", "balance", "balance, by: hash", "balance, by: sticky"]


class Upstream:
    """A proxy of the test's own: it can be slow, and it can die, for good or for a while."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.flows = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self, at_once: bool) -> None:
        """Take no more connections; those that there are end now, or by themselves."""
        assert self._server is not None
        self._server.close()
        if at_once:
            for task in tuple(self._talks):
                task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._served(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self._talks.discard(task)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS5 CONNECT (RFC 1928) to an IPv4 address."""
        await reader.readexactly(3)
        writer.write(b"\5\0")
        request = await reader.readexactly(10)
        await asyncio.sleep(self.pause)
        host = ".".join(map(str, request[4:8]))
        far_reader, far_writer = await asyncio.open_connection(
            host, int.from_bytes(request[8:10], "big")
        )
        self.flows += 1
        try:
            writer.write(b"\5\0\0\1" + bytes(6))

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
                sink.write_eof()

            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, far_writer))
                both.create_task(pump(far_reader, writer))
        except* (ConnectionError, OSError):
            pass
        finally:
            far_writer.transport.abort()


@asynccontextmanager
async def upstreams(count: int) -> AsyncIterator[list[Upstream]]:
    made = [Upstream() for _ in range(count)]
    for one in made:
        await one.start()
    try:
        yield made
    finally:
        for one in made:
            await one.die(at_once=True)
        await asyncio.sleep(0)


class Load:
    """Clients that open flow after flow; each must say hello and hear it."""

    def __init__(self, door: Target, far: Target) -> None:
        self.door = door
        self.far = far
        self.done = 0
        self.lost: list[str] = []
        self._over = False

    async def client(self) -> None:
        while not self._over:
            link = await clients.linked(self.door)
            try:
                code = await clients.socks5(link, self.far)
                if code == 0 and await clients.said(link, b"hello") == b"hello":
                    self.done += 1
                else:
                    self.lost.append(f"refused: {code}")
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.lost.append(f"broke: {error!r}")
            await clients.left(link)

    async def more(self, flows: int = ENOUGH) -> None:
        """Wait for so many more flows."""
        until = self.done + flows
        while self.done < until and not self.lost:
            await asyncio.sleep(0.001)

    def stop(self) -> None:
        self._over = True


def config(ups: list[Upstream], kind: str, more: str = "") -> str:
    ways = ", ".join(f"up{at}: 'socks5://127.0.0.1:{up.port}'" for at, up in enumerate(ups))
    members = ", ".join(["dead", *(f"up{at}" for at in range(len(ups)))])
    return (
        f"inbounds: {{in: {{type: mixed, listen: '127.0.0.1:0'}}}}\n"
        f"outbounds: {{dead: 'socks5://{clients.closed_port()}', {ways}}}\n"
        f"groups: {{g: {{type: {kind}, members: [{members}], probe: {{url: off}}}}}}\n"
        f"rules: [{more}{{otherwise: g}}]\n"
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_not_one_flow_is_lost_while_members_die(
    road: RunRoad, echo: Target, kind: str
) -> None:
    async with upstreams(3) as ups, road(config(ups, kind)) as run, asyncio.timeout(60):
        ups[2].pause = 0.05
        load = Load(run.place("in"), echo)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(load.client())
            await load.more()
            await ups[0].die(at_once=False)  # its flows end by themselves, no new ones are taken
            await load.more()
            await ups[1].die(at_once=False)
            await load.more()  # only the slow one is left
            await ups[0].start()
            await ups[2].die(at_once=False)
            await load.more()
            load.stop()
        assert load.lost == []
        assert run.app.ledger.failed == 0
        assert all(up.flows for up in ups)
        tried = [s for flow in run.app.ledger.past for s in flow.steps if s.failed]
        assert {step.member for step in tried} <= {"dead", "up0", "up1", "up2"}
        assert len(tried) < load.done / 2


async def test_what_dies_midway_takes_only_its_own_flows(road: RunRoad, echo: Target) -> None:
    async with upstreams(2) as ups, road(config(ups, "balance")) as run, asyncio.timeout(60):
        load = Load(run.place("in"), echo)
        held = []
        for _ in range(8):
            link = await clients.linked(run.place("in"))
            assert await clients.socks5(link, echo) == 0
            held.append(link)
        chains = [flow.chain[-1] for flow in run.app.ledger.live]
        assert Counter(chains) == {"up0": 4, "up1": 4}
        await ups[0].die(at_once=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.client())
            await load.more()
            load.stop()
        assert load.lost == []
        alive = 0
        for link in held:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                alive += await clients.said(link, b"still here") == b"still here"
            await clients.left(link)
        assert alive == 4
        now = run.app.now.roster.healths["up0"].clock()
        assert run.app.now.roster.healths["up0"].rank(Network.TCP, now).state is not State.WELL


async def test_not_one_flow_is_lost_while_the_config_turns(tmp_path: Path, echo: Target) -> None:
    """Members come and go, types and tolerances change, all under load."""
    async with AsyncExitStack() as stack:
        ups = await stack.enter_async_context(upstreams(3))
        head = f"log: {{file: {tmp_path}/log}}\n"
        turns = [
            config(ups, "fastest"),
            config(ups[:2], "fastest"),
            config(ups[1:], "balance"),
            config(ups, "balance, by: sticky", "{port: 1, to: reject}, "),
            config(ups[::-1], "fallback"),
        ]
        app = await stack.enter_async_context(App(load_text(head + turns[0], "x.yaml")))
        await stack.enter_async_context(asyncio.timeout(60))
        place = Target.parse(app.addresses["in"][0])
        load = Load(place, echo)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(load.client())
            for turn in range(12):
                await load.more(20)
                await app.reload(load_text(head + turns[turn % len(turns)], "x.yaml"))
            await load.more()
            load.stop()
        assert load.lost == []
        assert app.ledger.failed == 0
        assert app.reloads == 12


async def test_requests_of_a_kept_connection_go_where_the_group_goes(road: RunRoad) -> None:
    """A connection that is kept to the origin belongs to the way that it was made by."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    origin = await asyncio.start_server(talk, "127.0.0.1", 0)
    at = f"127.0.0.1:{origin.sockets[0].getsockname()[1]}"
    async with upstreams(2) as ups, asyncio.timeout(20):
        ways = ", ".join(f"up{n}: 'socks5://127.0.0.1:{up.port}'" for n, up in enumerate(ups))
        text = (
            "inbounds: {in: {type: mixed, listen: '127.0.0.1:0'}}\n"
            f"outbounds: {{{ways}}}\n"
            "groups:\n"
            "  both: {type: fallback, members: [up0, up1], probe: {url: off}}\n"
            "  mine: {type: select, members: [both, up0, up1]}\n"
            "rules: [{otherwise: mine}]\n"
        )
        async with road(text) as run:
            link = await clients.linked(run.place("in"))

            async def got() -> tuple[str, ...]:
                before = len(run.app.ledger.past)
                link[1].write(f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
                answer = await link[0].readuntil(b"\r\n\r\n") + await link[0].readexactly(2)
                assert answer.startswith(b"HTTP/1.1 200 OK")
                await run.settled(before + 1)
                return run.app.ledger.past[-1].chain

            assert await got() == await got() == ("mine", "both", "up0")
            assert ups[0].flows == 1  # it was kept
            await run.app.select("mine", "up1")
            assert await got() == ("mine", "up1")
            await run.app.select("mine", "both")
            assert await got() == ("mine", "both", "up0")
            assert (ups[0].flows, ups[1].flows) == (1, 1)
            await ups[0].die(at_once=True)
            assert await got() == ("mine", "both", "up1")
            await clients.left(link)
        assert run.app.ledger.failed == 0
    origin.close()
    await origin.wait_closed()
